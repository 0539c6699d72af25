"""Upload images to Supabase: each as an object of a bucket and a row that describes it."""

from __future__ import annotations

import json
import re
import unicodedata
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from imagen import delivery as targets
from imagen.config.paths import host_name
from imagen.core.filesystem import read_at_most
from imagen.core.json_values import json_safe
from imagen.errors import OutputError, Rejected
from imagen.outputs.naming import numbered_names, request_slug

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.config import Settings
    from imagen.delivery.supabase import SupabaseBucket, SupabaseClient
    from imagen.library.records import Delivery, GenerationRecord, StoredImage
    from imagen.outputs.redact import RedactionPolicy

_ROW_IDS = UUID("6f0f4f4e-6b1a-5d0c-9c3e-1d7a2b9c4e10")
"""The namespace of the ids of rows."""
_MAX_SIDECAR_BYTES = 64 * 2**20
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_LETTERS = str.maketrans(
    {"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"}
)
"""Latin letters that Unicode does not decompose."""
_HASH_DIGITS = 12
_MAX_NUMBER = 20


class _Upload(BaseModel):
    """The payload of a delivery."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    file: Path
    sidecar: Path | None
    sha256: str
    media_type: str
    date: str
    slug: str
    seed: str
    row: dict[str, Any]
    owner: str = ""
    """By default `owner_user_id` at the time of sending."""

    @property
    def id(self) -> str:
        return str(self.row["id"])


def is_enabled(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether images are uploaded. Raises ConfigError if they must be and a setting is missing."""
    return targets.is_switch_on(
        settings.output.cloud_sync, "output.cloud_sync", settings, environ, owned=True
    )


def deliveries(
    record: GenerationRecord, settings: Settings, environ: Mapping[str, str]
) -> list[Delivery]:
    """One for each image of a generation that imagen made."""
    if record.state != "done" or record.source != "imagen":
        return []
    switch = settings.output.cloud_sync
    is_owned = not record.owner
    if not targets.is_switch_on(switch, "output.cloud_sync", settings, environ, owned=is_owned):
        return []
    from imagen.library.records import Delivery

    return [
        Delivery(
            kind="cloud",
            generation=record.id,
            part=number,
            payload={
                "file": str(image.path),
                "sidecar": str(image.sidecar) if image.sidecar else None,
                "host": host_name(),
                "sha256": image.sha256,
                "media_type": image.media_type,
                "date": f"{record.created_at.astimezone():%Y-%m-%d}",
                "slug": ascii_slug(request_slug(record.request)),
                "seed": "noseed" if image.seed is None else str(image.seed),
                "row": _build_row(record, image, number),
                **({"owner": record.owner} if record.owner else {}),
            },
        )
        for number, image in enumerate(record.images)
        if image.media_type.startswith("image/")
    ]


def _build_row(record: GenerationRecord, image: StoredImage, number: int) -> dict[str, Any]:
    request, facts, estimate = record.ticket.request, record.facts, record.ticket.estimate
    cost = record.cost_usd
    if cost is None and estimate is not None:
        cost = estimate.usd
    row: dict[str, Any] = {
        "id": str(uuid5(_ROW_IDS, f"{record.id}/{number}")),
        "prompt": request.prompt,
        "prompt_sha256": record.prompt_sha256,
        "backend": record.backend,
        "model": record.model,
        "seed": image.seed,
        "steps": request.steps if facts.get("steps") is None else facts["steps"],
        "width": image.width,
        "height": image.height,
        "latency_seconds": facts.get("latency_seconds"),
        "cost_usd": None if cost is None else cost / max(1, len(record.images)),
        "tags": [],
        "created_at": record.created_at.isoformat(),
    }
    return dict(json_safe(row, keep_nul=False))


def send(
    delivery: Delivery,
    settings: Settings,
    environ: Mapping[str, str],
    _notes: dict[str, str],
) -> dict[str, object]:
    """Upload the image and insert its row. Returns its bucket, path and row id."""
    from imagen.delivery.supabase import connect

    targets.require_switch(settings.output.cloud_sync, "output.cloud_sync")
    upload = _Upload.model_validate(delivery.payload)
    data = _read_unchanged(upload)
    with connect(settings, environ, owned=not upload.owner) as client:
        bucket = client.bucket(settings.cloud.bucket)
        place = {
            "bucket": bucket.name,
            "path": _upload_object(client, bucket, upload, data, settings),
        }
        row = {
            **_shared_row(upload, settings),
            **place,
            "owner_user_id": upload.owner or settings.owner_user_id,
        }
        client.insert(settings.cloud.db_schema, settings.cloud.db_table, row)
    return {**place, "id": upload.id}


def signed_url(
    settings: Settings, environ: Mapping[str, str], *, bucket: str, path: str, seconds: int
) -> str:
    """A URL at which anyone can see an uploaded image for that long."""
    from imagen.delivery.supabase import connect

    with connect(settings, environ) as client:
        return client.sign(bucket, path, seconds=seconds)


def _read_unchanged(upload: _Upload) -> bytes:
    """The file as it was saved: another image must not be uploaded with this row."""
    try:
        data = upload.file.read_bytes()
    except OSError as error:
        raise OutputError(
            f"{upload.file} cannot be read: {error.strerror or error}.",
            remedy="Put the file back, then run: imagen sync --retry",
        ) from error
    if sha256(data).hexdigest() != upload.sha256:
        raise OutputError(
            f"{upload.file} was not uploaded: it changed after it was saved.",
            remedy="`imagen library check` lists changed files.",
        )
    return data


def _upload_object(
    client: SupabaseClient,
    bucket: SupabaseBucket,
    upload: _Upload,
    data: bytes,
    settings: Settings,
) -> str:
    """Upload the image under the first free path, or the one it already has; returns the path."""
    from imagen.outputs.redact import redact_file

    policy: RedactionPolicy
    if settings.cloud.metadata == "auto":
        policy = "no_prompt" if bucket.is_public else "full"
    else:
        policy = settings.cloud.metadata
    redacted = redact_file(data, policy)
    _check_limits(redacted, upload, bucket)
    name = upload.slug if policy == "full" else hash_name(redacted)
    stem = f"{upload.date}/{name}-{upload.seed}"
    for path in candidate_paths(stem, upload.file.suffix, upload.id):
        if client.upload(bucket.name, path, redacted, upload.media_type, owner=upload.id):
            return path
    raise Rejected(f"No free path for {upload.file.name} in the bucket {bucket.name}.")


def _check_limits(data: bytes, upload: _Upload, bucket: SupabaseBucket) -> None:
    """Check before uploading: Storage may just drop the connection of a file it does not take."""
    if bucket.max_bytes is not None and len(data) > bucket.max_bytes:
        raise Rejected(
            f"{upload.file.name} has {len(data)} bytes; the bucket {bucket.name} accepts at most "
            f"{bucket.max_bytes}.",
            remedy="Raise the limit in the settings of the bucket.",
        )
    if bucket.media_types is not None and upload.media_type not in bucket.media_types:
        raise Rejected(
            f"{upload.file.name} is {upload.media_type}, which the bucket {bucket.name} does not "
            "accept.",
            remedy="Allow this media type in the settings of the bucket.",
        )


def _shared_row(upload: _Upload, settings: Settings) -> dict[str, Any]:
    """The row. Only its owner can read it, so it is complete unless the settings say otherwise."""
    from imagen.outputs.redact import redact_record

    chosen = settings.cloud.metadata
    policy: RedactionPolicy = "full" if chosen == "auto" else chosen
    omitted = {"full": (), "no_prompt": ("prompt",), "none": ("prompt", "prompt_sha256")}[policy]
    sidecar = json_safe(redact_record(_read_record(upload), policy), keep_nul=False)
    return {**upload.row, **dict.fromkeys(omitted), "sidecar": sidecar}


def _read_record(upload: _Upload) -> dict[str, Any]:
    """The sidecar, else the record inside the image, else nothing."""
    from imagen.outputs import read_texts

    text = b""
    if upload.sidecar:
        try:
            text = read_at_most(upload.sidecar, _MAX_SIDECAR_BYTES)
        except OSError:
            text = b""
    return _parse_object(text.decode("utf-8", "replace")) or _parse_object(
        (read_texts(upload.file, ("imagen",)) or {}).get("imagen", "")
    )


def _parse_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def ascii_slug(slug: str) -> str:
    """`fuchse-im-schnee` for `füchse-im-schnee`; a hash if no letter of it is Latin."""
    decomposed = unicodedata.normalize("NFKD", slug.translate(_LETTERS))
    ascii_only = decomposed.encode("ascii", "ignore").decode()
    words = [word for word in re.split(r"[^A-Za-z0-9]+", ascii_only) if word]
    return "-".join(words) or hash_name(slug.encode())


def hash_name(data: bytes) -> str:
    """The first twelve digits of the SHA-256."""
    return sha256(data).hexdigest()[:_HASH_DIGITS]


def candidate_paths(stem: str, suffix: str, id: str) -> Iterator[str]:
    """The paths to try: the plain one, `-2` to `-20`, and one with the id, which is unique."""
    ending = suffix.lower() if _SUFFIX.fullmatch(suffix) else ".bin"
    yield from islice(numbered_names(f"{stem}{ending}"), _MAX_NUMBER)
    yield f"{stem}-{id}{ending}"
