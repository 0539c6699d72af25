"""The Storage of a simulated Supabase: buckets, the objects in them, and signed addresses."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from hashlib import md5
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote
from uuid import uuid4

from imagen.testing.answer import Answer, as_json
from simulators.supabase import refusals, tokens
from simulators.supabase.tokens import TokenError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulators.supabase.seen import Seen

_GOOD_KEY = re.compile(r"[\w/!.*'() &$@=;:+,?-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One bucket, as it was made."""

    name: str
    public: bool = False
    file_size_limit: int | None = None
    allowed_mime_types: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One object of a bucket."""

    data: bytes
    media_type: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    created: float = field(default_factory=time.time)

    @property
    def etag(self) -> str:
        return f'"{md5(self.data, usedforsecurity=False).hexdigest()}"'


class Storage:
    """Answers what comes below /storage/v1."""

    def __init__(self, buckets: tuple[Bucket, ...]) -> None:
        self.buckets = {bucket.name: bucket for bucket in buckets}
        self.objects: dict[tuple[str, str], Stored] = {}
        self.forgets_metadata = False

    def answer(self, seen: Seen) -> Answer:
        """What this request is answered."""
        for verb, pattern, needs_key, act in _ROUTES:
            found = re.fullmatch(pattern, seen.below)
            if verb == seen.method and found is not None:
                refused = _refused(seen) if needs_key else None
                return refused or act(self, seen, *map(unquote, found.groups()))
        return refusals.no_route(seen.method, seen.below)

    def bucket(self, _: Seen, name: str) -> Answer:
        bucket = self.buckets.get(name)
        if bucket is None:
            return refusals.no_bucket()
        return as_json(
            {
                "id": name,
                "name": name,
                "owner": "",
                "public": bucket.public,
                "file_size_limit": bucket.file_size_limit,
                "allowed_mime_types": bucket.allowed_mime_types,
                "created_at": _iso(0),
                "updated_at": _iso(0),
            }
        )

    def create_bucket(self, seen: Seen) -> Answer:
        asked = json.loads(seen.body)
        if asked["id"] in self.buckets:
            return refusals.duplicate("BucketAlreadyExists")
        kinds = asked.get("allowed_mime_types")
        self.buckets[asked["id"]] = Bucket(
            name=asked["id"],
            public=asked.get("public", False),
            file_size_limit=asked.get("file_size_limit"),
            allowed_mime_types=None if kinds is None else tuple(kinds),
        )
        return as_json({"name": asked["id"]})

    def upload(self, seen: Seen, bucket: str, path: str) -> Answer:
        refused = self._no_upload(seen, bucket, path)
        if refused is not None:
            return refused
        before = self.objects.get((bucket, path))
        if before and seen.method == "POST" and seen.headers.get("x-upsert") != "true":
            return refusals.duplicate("KeyAlreadyExists")
        told = "" if self.forgets_metadata else seen.headers.get("x-metadata", "")
        kept = Stored(
            data=seen.body,
            media_type=seen.headers.get("content-type", "application/octet-stream"),
            metadata=tokens.metadata(told),
            id=before.id if before else str(uuid4()),
        )
        self.objects[bucket, path] = kept
        return as_json({"Key": f"{bucket}/{path}", "Id": kept.id})

    def update(self, seen: Seen, bucket: str, path: str) -> Answer:
        if (bucket, path) not in self.objects:
            return refusals.no_object()
        return self.upload(seen, bucket, path)

    def download(self, _: Seen, bucket: str, path: str) -> Answer:
        return self._found(bucket, path, _as_file)

    def download_public(self, _: Seen, bucket: str, path: str) -> Answer:
        known = self.buckets.get(bucket)
        if known is None or not known.public:
            return refusals.no_bucket()
        return self._found(bucket, path, _as_file)

    def info(self, _: Seen, bucket: str, path: str) -> Answer:
        return self._found(bucket, path, lambda stored: _told(stored, bucket, path))

    def delete(self, _: Seen, bucket: str, path: str) -> Answer:
        gone = self.objects.pop((bucket, path), None)
        return as_json({"message": "Successfully deleted"}) if gone else refusals.no_object()

    def sign(self, seen: Seen, bucket: str, path: str) -> Answer:
        seconds = json.loads(seen.body).get("expiresIn")
        if seconds is None:
            return refusals.invalid_request("body must have required property 'expiresIn'")
        if seconds < 1:
            return refusals.invalid_request("body/expiresIn must be >= 1")
        place = f"{bucket}/{path}"
        token = tokens.signed({"url": place, "exp": time.time() + seconds})
        link = {"signedURL": f"/object/sign/{quote(place)}?token={token}"}
        return self._found(bucket, path, lambda _: as_json(link))

    def signed(self, seen: Seen, bucket: str, path: str) -> Answer:
        asked = parse_qs(seen.query)
        try:
            claims = tokens.claims(asked.get("token", [""])[0])
        except TokenError as error:
            return refusals.invalid_token(str(error))
        if claims.get("url") != f"{bucket}/{path}":
            return refusals.invalid_token("signature verification failed")
        name = asked.get("download", [""])[0]
        return self._found(bucket, path, lambda stored: _as_file(stored, name))

    def _found(self, bucket: str, path: str, shown: Callable[[Stored], Answer]) -> Answer:
        if bucket not in self.buckets:
            return refusals.no_bucket()
        stored = self.objects.get((bucket, path))
        return refusals.no_object() if stored is None else shown(stored)

    def _no_upload(self, seen: Seen, bucket: str, path: str) -> Answer | None:
        known = self.buckets.get(bucket)
        kind = seen.headers.get("content-type", "")
        if known is None:
            return refusals.no_bucket()
        if ".." in path.split("/"):
            return refusals.invalid_key(f"{bucket}/{path} contains dot path segment")
        if _GOOD_KEY.fullmatch(path) is None:
            return refusals.invalid_key(path)
        if known.allowed_mime_types is not None and kind not in known.allowed_mime_types:
            return refusals.unsupported(kind)
        if known.file_size_limit is not None and len(seen.body) > known.file_size_limit:
            return refusals.too_large()
        return None


def _refused(seen: Seen) -> Answer | None:
    """What anyone is told who is not the service."""
    if not seen.headers.get("authorization"):
        if seen.method in ("GET", "HEAD"):
            return refusals.no_bucket()
        return refusals.invalid_request("headers must have required property 'authorization'")
    try:
        role = tokens.claims(seen.token).get("role")
    except TokenError as error:
        return refusals.denied(str(error))
    if role == "service_role":
        return None
    return refusals.denied("new row violates row-level security policy")


def _as_file(stored: Stored, name: str = "") -> Answer:
    headers = {
        "Content-Type": stored.media_type,
        "ETag": stored.etag,
        "X-Robots-Tag": "none",
        "Cache-Control": "no-cache",
    }
    if name:
        attached = f"attachment; filename={quote(name)}; filename*=UTF-8''{quote(name)}"
        headers["Content-Disposition"] = attached
    return Answer(body=stored.data, headers=headers)


def _told(stored: Stored, bucket: str, path: str) -> Answer:
    said = {
        "id": stored.id,
        "name": path,
        "version": stored.id,
        "bucket_id": bucket,
        "size": len(stored.data),
        "content_type": stored.media_type,
        "cache_control": "no-cache",
        "etag": stored.etag,
        "metadata": dict(stored.metadata),
        "last_modified": _iso(stored.created),
        "created_at": _iso(stored.created),
    }
    return as_json(said, ETag=stored.etag)


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))


_PLACE = "([^/]+)/(.+)"
_ROUTES: tuple[tuple[str, str, bool, Callable[..., Answer]], ...] = (
    ("POST", "/bucket", True, Storage.create_bucket),
    ("GET", "/bucket/([^/]+)", True, Storage.bucket),
    ("GET", f"/object/sign/{_PLACE}", False, Storage.signed),
    ("POST", f"/object/sign/{_PLACE}", True, Storage.sign),
    ("GET", f"/object/info/{_PLACE}", True, Storage.info),
    ("GET", f"/object/public/{_PLACE}", False, Storage.download_public),
    ("GET", f"/object/authenticated/{_PLACE}", True, Storage.download),
    ("GET", f"/object/{_PLACE}", True, Storage.download),
    ("HEAD", f"/object/{_PLACE}", True, Storage.download),
    ("POST", f"/object/{_PLACE}", True, Storage.upload),
    ("PUT", f"/object/{_PLACE}", True, Storage.update),
    ("DELETE", f"/object/{_PLACE}", True, Storage.delete),
)
