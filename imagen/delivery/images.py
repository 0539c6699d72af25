"""Pictures into the cloud: each as an object of a bucket, and a row that tells of it."""

from __future__ import annotations

import json
import platform
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from imagen.core.filesystem import read_at_most
from imagen.delivery import keys, project
from imagen.delivery.places import storable
from imagen.errors import OutputError, Rejected
from imagen.outputs.naming import request_slug

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.config import Settings
    from imagen.delivery.supabase import Bucket, Supabase
    from imagen.library.records import Delivery, GenerationRecord, StoredImage
    from imagen.outputs.redact import RedactionPolicy

_OURS = UUID("6f0f4f4e-6b1a-5d0c-9c3e-1d7a2b9c4e10")
"""The namespace of the ids of rows."""
_LARGEST_SIDECAR = 64 * 2**20


class _Meant(BaseModel):
    """What a delivery says of one picture."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    file: Path
    sidecar: Path | None
    sha256: str
    media_type: str
    date: str
    slug: str
    seed: str
    row: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.row["id"])


def is_on(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether pictures go there; raises ConfigError where they must and something is missing."""
    return project.is_on(
        settings.output.cloud_sync, "output.cloud_sync", settings, environ, owned=True
    )


cloud_is_on = is_on


def deliveries(
    entry: GenerationRecord, settings: Settings, environ: Mapping[str, str]
) -> list[Delivery]:
    """One for each picture that was made here; none for what is no picture."""
    if entry.state != "done" or entry.source != "imagen" or not is_on(settings, environ):
        return []
    from imagen.library.records import Delivery

    return [
        Delivery(
            kind="cloud", generation=entry.id, part=number, payload=_payload(entry, kept, number)
        )
        for number, kept in enumerate(entry.pictures)
        if kept.media_type.startswith("image/")
    ]


def _payload(entry: GenerationRecord, kept: StoredImage, number: int) -> dict[str, Any]:
    return {
        "file": str(kept.path),
        "sidecar": str(kept.sidecar) if kept.sidecar else None,
        "host": platform.node(),
        "sha256": kept.sha256,
        "media_type": kept.media_type,
        "date": f"{entry.created_at.astimezone():%Y-%m-%d}",
        "slug": keys.in_ascii(request_slug(entry.asked)),
        "seed": "noseed" if kept.seed is None else str(kept.seed),
        "row": _row(entry, kept, number),
    }


def _row(entry: GenerationRecord, kept: StoredImage, number: int) -> dict[str, Any]:
    request, facts = entry.ticket.request, entry.facts
    row: dict[str, Any] = {
        "id": str(uuid5(_OURS, f"{entry.id}/{number}")),
        "prompt": request.prompt,
        "prompt_sha256": entry.prompt_sha256,
        "backend": entry.backend,
        "model": entry.model,
        "seed": kept.seed,
        "steps": request.steps if facts.get("steps") is None else facts["steps"],
        "width": kept.width,
        "height": kept.height,
        "latency_seconds": facts.get("latency_seconds"),
        "cost_usd": _share(entry),
        "tags": [],
        "created_at": entry.created_at.isoformat(),
    }
    return dict(storable(row))


def _share(entry: GenerationRecord) -> float | None:
    """What this one picture cost, as far as is known; what a run costs is all its pictures'."""
    estimate = entry.ticket.estimate
    whole = entry.cost_usd if entry.cost_usd is not None else estimate.usd if estimate else None
    return None if whole is None else whole / max(1, len(entry.pictures))


def send(
    delivery: Delivery,
    settings: Settings,
    environ: Mapping[str, str],
    _notes: dict[str, str],
) -> dict[str, Any]:
    """Upload the picture and insert its row; says where it lies."""
    project.refuse_off(settings.output.cloud_sync, "output.cloud_sync")
    meant = _Meant.model_validate(delivery.payload)
    data = _bytes(meant)
    with project.opened(settings, environ, owned=True) as cloud:
        bucket = cloud.bucket(settings.cloud.bucket)
        path = _uploaded(cloud, bucket, meant, data, _policy(settings, bucket))
        place = {"bucket": bucket.name, "path": path}
        row = {**_told(meant, settings), **place, "owner_user_id": settings.owner_user_id}
        cloud.insert(settings.cloud.db_schema, settings.cloud.db_table, row)
    return place | {"id": meant.id}


def signed_url(
    settings: Settings, environ: Mapping[str, str], *, bucket: str, path: str, seconds: int
) -> str:
    """An address at which everybody can see a picture of the cloud for so long."""
    with project.opened(settings, environ) as cloud:
        return cloud.sign(bucket, path, seconds=seconds)


def bucket_of(settings: Settings, environ: Mapping[str, str]) -> Bucket:
    """The bucket that the settings name, as the project knows it."""
    with project.opened(settings, environ) as cloud:
        return cloud.bucket(settings.cloud.bucket)


def _policy(settings: Settings, bucket: Bucket) -> RedactionPolicy:
    """What the picture itself may tell."""
    if settings.cloud.metadata == "auto":
        return "no_prompt" if bucket.is_public else "full"
    return settings.cloud.metadata


def _bytes(meant: _Meant) -> bytes:
    """The file as it was saved; another's words may not go under its record."""
    try:
        data = meant.file.read_bytes()
    except OSError as error:
        raise OutputError(
            f"{meant.file} can't be read: {error.strerror or error}.",
            remedy="Put it back where it was, then run: imagen sync --retry",
        ) from error
    if sha256(data).hexdigest() != meant.sha256:
        raise OutputError(
            f"{meant.file} is not as it was made, and was not sent.",
            remedy="`imagen library check` says which files have changed.",
        )
    return data


def _uploaded(
    cloud: Supabase, bucket: Bucket, meant: _Meant, data: bytes, policy: RedactionPolicy
) -> str:
    """The path at which the picture lies now: the first that is free, or its own already."""
    from imagen.outputs.redact import redact_file

    shown = redact_file(data, policy)
    _refuse_unfit(shown, meant, bucket)
    name = meant.slug if policy == "full" else keys.hashed(shown)
    stem = f"{meant.date}/{name}-{meant.seed}"
    for path in keys.candidates(stem, meant.file.suffix, meant.id):
        if cloud.upload(bucket.name, path, shown, meant.media_type, owner=meant.id):
            return path
    raise Rejected(f"Every path for {meant.file.name} is taken in the bucket {bucket.name}.")


def _refuse_unfit(data: bytes, meant: _Meant, bucket: Bucket) -> None:
    """Where a bucket would refuse, it may just cut the line; so it is said beforehand."""
    if bucket.largest is not None and len(data) > bucket.largest:
        raise Rejected(
            f"{meant.file.name} has {len(data)} bytes, and the bucket {bucket.name} takes no more "
            f"than {bucket.largest}.",
            remedy="Raise the limit in the settings of the bucket.",
        )
    if bucket.media_types is not None and meant.media_type not in bucket.media_types:
        raise Rejected(
            f"{meant.file.name} is {meant.media_type}, and the bucket {bucket.name} does not take "
            "that.",
            remedy="Allow this type of file in the settings of the bucket.",
        )


def _told(meant: _Meant, settings: Settings) -> dict[str, Any]:
    """The row, which only its owner can read: whole, unless the settings say otherwise."""
    from imagen.outputs.redact import redact_record

    chosen = settings.cloud.metadata
    policy: RedactionPolicy = "full" if chosen == "auto" else chosen
    untold = {"full": (), "no_prompt": ("prompt",), "none": ("prompt", "prompt_sha256")}[policy]
    row = meant.row | dict.fromkeys(untold)
    return row | {"sidecar": storable(redact_record(_sidecar(meant), policy))}


def _sidecar(meant: _Meant) -> dict[str, Any]:
    """The file beside the picture, else what stands in the picture, else nothing."""
    found = _json(_text(meant.sidecar)) if meant.sidecar else {}
    if found:
        return found
    from imagen.outputs import texts

    return _json((texts(meant.file, ("imagen",)) or {}).get("imagen", ""))


def _text(path: Path) -> str:
    try:
        return read_at_most(path, _LARGEST_SIDECAR).decode("utf-8", "replace")
    except OSError:
        return ""


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
