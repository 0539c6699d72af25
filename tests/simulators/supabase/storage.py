"""The Storage of the simulated Supabase: buckets, objects and signed URLs."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from hashlib import md5
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote
from uuid import uuid4

from imagen.testing.http_server import HttpAnswer, json_answer
from simulators.supabase import tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from simulators.supabase.request import SupabaseRequest

_VALID_KEY = re.compile(r"[\w/!.*'() &$@=;:+,?-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One bucket."""

    name: str
    public: bool = False
    file_size_limit: int | None = None
    allowed_mime_types: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
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
    """Answers requests below /storage/v1."""

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self.buckets = {bucket.name: bucket for bucket in buckets}
        self.objects: dict[tuple[str, str], StoredObject] = {}
        self.forgets_metadata = False

    def answer(self, request: SupabaseRequest) -> HttpAnswer:
        for method, pattern, needs_key, route in _ROUTES:
            match = re.fullmatch(pattern, request.below)
            if method == request.method and match is not None:
                refused = _refuse_key(request) if needs_key else None
                return refused or route(self, request, *map(unquote, match.groups()))
        return no_route(request.method, request.below)

    def get_bucket(self, _: SupabaseRequest, name: str) -> HttpAnswer:
        bucket = self.buckets.get(name)
        if bucket is None:
            return _no_bucket()
        return json_answer(
            {
                "id": name,
                "name": name,
                "owner": "",
                "public": bucket.public,
                "file_size_limit": bucket.file_size_limit,
                "allowed_mime_types": bucket.allowed_mime_types,
                "created_at": _format_time(0),
                "updated_at": _format_time(0),
            }
        )

    def create_bucket(self, request: SupabaseRequest) -> HttpAnswer:
        body = json.loads(request.body)
        if body["id"] in self.buckets:
            return _duplicate("BucketAlreadyExists")
        kinds = body.get("allowed_mime_types")
        self.buckets[body["id"]] = Bucket(
            name=body["id"],
            public=body.get("public", False),
            file_size_limit=body.get("file_size_limit"),
            allowed_mime_types=None if kinds is None else tuple(kinds),
        )
        return json_answer({"name": body["id"]})

    def upload(self, request: SupabaseRequest, bucket: str, path: str) -> HttpAnswer:
        refused = self._refuse_upload(request, bucket, path)
        if refused is not None:
            return refused
        before = self.objects.get((bucket, path))
        if before and request.method == "POST" and request.headers.get("x-upsert") != "true":
            return _duplicate("KeyAlreadyExists")
        metadata = "" if self.forgets_metadata else request.headers.get("x-metadata", "")
        stored = StoredObject(
            data=request.body,
            media_type=request.headers.get("content-type", "application/octet-stream"),
            metadata=tokens.decode_metadata(metadata),
            id=before.id if before else str(uuid4()),
        )
        self.objects[bucket, path] = stored
        return json_answer({"Key": f"{bucket}/{path}", "Id": stored.id})

    def update(self, request: SupabaseRequest, bucket: str, path: str) -> HttpAnswer:
        if (bucket, path) not in self.objects:
            return _no_object()
        return self.upload(request, bucket, path)

    def download(self, _: SupabaseRequest, bucket: str, path: str) -> HttpAnswer:
        return self._answer_with(bucket, path, _as_file)

    def download_public(self, _: SupabaseRequest, bucket: str, path: str) -> HttpAnswer:
        known = self.buckets.get(bucket)
        if known is None or not known.public:
            return _no_bucket()
        return self._answer_with(bucket, path, _as_file)

    def get_info(self, _: SupabaseRequest, bucket: str, path: str) -> HttpAnswer:
        def describe(stored: StoredObject) -> HttpAnswer:
            content = {
                "id": stored.id,
                "name": path,
                "version": stored.id,
                "bucket_id": bucket,
                "size": len(stored.data),
                "content_type": stored.media_type,
                "cache_control": "no-cache",
                "etag": stored.etag,
                "metadata": dict(stored.metadata),
                "last_modified": _format_time(stored.created),
                "created_at": _format_time(stored.created),
            }
            return json_answer(content, ETag=stored.etag)

        return self._answer_with(bucket, path, describe)

    def delete(self, _: SupabaseRequest, bucket: str, path: str) -> HttpAnswer:
        deleted = self.objects.pop((bucket, path), None)
        return json_answer({"message": "Successfully deleted"}) if deleted else _no_object()

    def sign(self, request: SupabaseRequest, bucket: str, path: str) -> HttpAnswer:
        seconds = json.loads(request.body).get("expiresIn")
        if seconds is None:
            return _invalid_request("body must have required property 'expiresIn'")
        if seconds < 1:
            return _invalid_request("body/expiresIn must be >= 1")
        place = f"{bucket}/{path}"
        token = tokens.signed({"url": place, "exp": time.time() + seconds})
        link = {"signedURL": f"/object/sign/{quote(place)}?token={token}"}
        return self._answer_with(bucket, path, lambda _: json_answer(link))

    def download_signed(self, request: SupabaseRequest, bucket: str, path: str) -> HttpAnswer:
        query = parse_qs(request.query)
        try:
            claims = tokens.claims(query.get("token", [""])[0])
        except tokens.TokenError as error:
            return _refusal(400, "InvalidJWT", str(error), "InvalidJWT")
        if claims.get("url") != f"{bucket}/{path}":
            return _refusal(400, "InvalidJWT", "signature verification failed", "InvalidJWT")
        name = query.get("download", [""])[0]
        return self._answer_with(bucket, path, lambda stored: _as_file(stored, name))

    def _answer_with(
        self, bucket: str, path: str, answer: Callable[[StoredObject], HttpAnswer]
    ) -> HttpAnswer:
        if bucket not in self.buckets:
            return _no_bucket()
        stored = self.objects.get((bucket, path))
        return _no_object() if stored is None else answer(stored)

    def _refuse_upload(self, request: SupabaseRequest, bucket: str, path: str) -> HttpAnswer | None:
        known = self.buckets.get(bucket)
        kind = request.headers.get("content-type", "")
        if known is None:
            return _no_bucket()
        if ".." in path.split("/"):
            message = f"Invalid key: {bucket}/{path} contains dot path segment"
            return _refusal(400, "InvalidKey", message, "InvalidKey")
        if _VALID_KEY.fullmatch(path) is None:
            return _refusal(400, "InvalidKey", f"Invalid key: {path}", "InvalidKey")
        if known.allowed_mime_types is not None and kind not in known.allowed_mime_types:
            message = f"mime type {kind} is not supported"
            return _refusal(415, "invalid_mime_type", message, "InvalidMimeType")
        if known.file_size_limit is not None and len(request.body) > known.file_size_limit:
            message = "The object exceeded the maximum allowed size"
            return _refusal(413, "Payload too large", message, "EntityTooLarge")
        return None


def _refuse_key(request: SupabaseRequest) -> HttpAnswer | None:
    """The answer to a request without the service key; None with it."""
    if not request.headers.get("authorization"):
        if request.method in ("GET", "HEAD"):
            return _no_bucket()
        return _invalid_request("headers must have required property 'authorization'")
    try:
        role = tokens.claims(request.token).get("role")
    except tokens.TokenError as error:
        return _refusal(403, "Unauthorized", str(error), "AccessDenied")
    if role == "service_role":
        return None
    message = "new row violates row-level security policy"
    return _refusal(403, "Unauthorized", message, "AccessDenied")


def _refusal(status: int, error: str, message: str, code: str) -> HttpAnswer:
    """A refusal of Storage, which is always sent as status 400."""
    content = {"statusCode": str(status), "error": error, "message": message, "code": code}
    return json_answer(content, 400)


def _no_bucket() -> HttpAnswer:
    return _refusal(404, "Bucket not found", "Bucket not found", "NoSuchBucket")


def _no_object() -> HttpAnswer:
    return _refusal(404, "not_found", "Object not found", "NoSuchKey")


def _duplicate(code: str) -> HttpAnswer:
    return _refusal(409, "Duplicate", "The resource already exists", code)


def _invalid_request(message: str) -> HttpAnswer:
    return _refusal(400, "Error", message, "InvalidRequest")


def no_route(method: str, path: str) -> HttpAnswer:
    message = f"Route {method}:{path} not found"
    return json_answer({"message": message, "error": "Not Found", "statusCode": 404}, 404)


def _as_file(stored: StoredObject, name: str = "") -> HttpAnswer:
    headers = {
        "Content-Type": stored.media_type,
        "ETag": stored.etag,
        "X-Robots-Tag": "none",
        "Cache-Control": "no-cache",
    }
    if name:
        attachment = f"attachment; filename={quote(name)}; filename*=UTF-8''{quote(name)}"
        headers["Content-Disposition"] = attachment
    return HttpAnswer(body=stored.data, headers=headers)


def _format_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


_PLACE = "([^/]+)/(.+)"
_ROUTES: tuple[tuple[str, str, bool, Callable[..., HttpAnswer]], ...] = (
    ("POST", "/bucket", True, Storage.create_bucket),
    ("GET", "/bucket/([^/]+)", True, Storage.get_bucket),
    ("GET", f"/object/sign/{_PLACE}", False, Storage.download_signed),
    ("POST", f"/object/sign/{_PLACE}", True, Storage.sign),
    ("GET", f"/object/info/{_PLACE}", True, Storage.get_info),
    ("GET", f"/object/public/{_PLACE}", False, Storage.download_public),
    ("GET", f"/object/authenticated/{_PLACE}", True, Storage.download),
    ("GET", f"/object/{_PLACE}", True, Storage.download),
    ("HEAD", f"/object/{_PLACE}", True, Storage.download),
    ("POST", f"/object/{_PLACE}", True, Storage.upload),
    ("PUT", f"/object/{_PLACE}", True, Storage.update),
    ("DELETE", f"/object/{_PLACE}", True, Storage.delete),
)
"""Method, path, whether it needs the service key, and the route."""
