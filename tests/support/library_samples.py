"""Generation records, images and deliveries to put into a library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen import Request
from imagen.config import LibrarySettings, Settings
from imagen.core.request import Lora
from imagen.core.ticket import Estimate, Ticket
from imagen.library import record_generation
from imagen.library.records import Delivery, GenerationRecord, StoredImage
from imagen.library.trash import delete_for_good, move_to_trash

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagen.library import Library, LibraryImage
    from imagen.library.records import DeliveryKind

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def settings_at(url: str, **values: Any) -> Settings:
    """Settings with the library at this URL."""
    return Settings(library=LibrarySettings(url=url), **values)


def uuid_of(number: int) -> str:
    """`00000007-0000-4000-8000-000000000000`, a generation's id."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def make_record(number: int = 1, prompt: str = "a fox", **values: Any) -> GenerationRecord:
    """The generation of this number, with one image unless `images` are given."""
    usd = values.pop("estimated_usd", None)
    is_paid = values.pop("is_paid", usd is not None)
    seed = values.pop("seed", 7)
    began = values.pop("began", NOON)
    loras = tuple(Lora(name=name) for name in values.pop("loras", ()))
    ticket = Ticket(
        id=uuid_of(number),
        backend=values.get("backend", "studio"),
        request=Request(prompt=prompt, width=64, height=48, seed=seed, loras=loras),
        receipt={},
        estimate=Estimate(usd=usd, basis="by the run") if is_paid else None,
    )
    known: dict[str, Any] = {
        "id": ticket.id,
        "backend": ticket.backend,
        "kind": "comfyui",
        "ticket": ticket,
        "request": Request(prompt=prompt),
        "facts": {"model": "dream.safetensors", "latency_seconds": 2.0, "seed": seed},
        "created_at": began,
        "ended_at": began + timedelta(seconds=2),
        "caller": "ada",
        "images": (make_image(number),),
    }
    return GenerationRecord(**known | values)


def record_all(library: Library, entries: Iterable[GenerationRecord]) -> None:
    """Record them one after another."""
    for each in entries:
        record_generation(library, each)


def make_failure(number: int = 1, **values: Any) -> GenerationRecord:
    """The same generation as a failure."""
    error = {"code": "failed", "message": "Out of memory."}
    return make_record(number, state="failed", error=error, images=(), **values)


def make_image(number: int = 1, index: int = 0, path: Path | None = None) -> StoredImage:
    """An image: the file at `path`, or a file that does not exist."""
    data = path.read_bytes() if path else f"{number}.{index}".encode()
    return StoredImage(
        path=path or Path(f"/images/{number}-{index}.png").absolute(),
        index=index,
        media_type="image/png",
        width=64,
        height=48,
        seed=7 + index,
        sha256=sha256(data).hexdigest(),
        size_bytes=len(data),
    )


def make_delivery(
    number: int = 1, kind: DeliveryKind = "webhook", part: int = 0, **payload: Any
) -> Delivery:
    """A delivery of the generation of this number."""
    return Delivery(kind=kind, generation=uuid_of(number), part=part, payload=payload)


def trash_images(library: Library, images: Iterable[LibraryImage]) -> None:
    """Move these images to the trash."""
    for image in images:
        move_to_trash(library, image)


def delete_images(library: Library, images: Iterable[LibraryImage]) -> list[Path]:
    """Delete these images of the trash for good; returns the files that stay."""
    left = [delete_for_good(library, image) for image in images]
    return [path for path in left if path is not None]
