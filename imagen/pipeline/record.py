"""Brings what was made into the library, and has those told who are to be told."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

from imagen import delivery
from imagen.errors import (
    BackendError,
    ConfigError,
    Failed,
    ImagenError,
    Lost,
    Rejected,
    TimedOut,
)
from imagen.jobs import file_store
from imagen.library.records import GenerationRecord, StoredImage
from imagen.outputs import metadata
from imagen.outputs.files import sidecar_path
from imagen.outputs.provenance import sent_models
from imagen.outputs.sidecar import find_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imagen.config import Settings
    from imagen.core.result import Output, Result
    from imagen.core.ticket import Ticket
    from imagen.jobs.file_store import Job
    from imagen.library import Library
    from imagen.outputs import SavedImage


def preload_library(settings: Settings) -> None:
    """Load what the library needs while an engine works: it takes as long as a small picture."""
    if settings.library.enabled:
        Thread(target=_load, args=(settings.library.url or "",), daemon=True).start()


def _load(url: str) -> None:
    database = "postgresql" if "://" in url else "sqlite"
    needed = ("imagen.library.write", "imagen.library.database", f"sqlalchemy.dialects.{database}")
    for module in needed:
        import_module(module)


def build_record(job: Job, result: Result, pictures: Sequence[StoredImage]) -> GenerationRecord:
    """What the library is to keep of a job that came to a good end."""
    return GenerationRecord(
        id=job.id,
        backend=job.ticket.backend,
        kind=job.kind,
        ticket=job.ticket,
        request=job.asked,
        facts=asdict(result.facts),
        warnings=result.warnings,
        created_at=job.began,
        ended_at=datetime.now().astimezone(),
        caller=job.caller,
        images=tuple(pictures),
    )


def build_failure(job: Job, error: ImagenError) -> GenerationRecord:
    """The same of one that came to a bad end."""
    return GenerationRecord(
        id=job.id,
        backend=job.ticket.backend,
        kind=job.kind,
        state="failed",
        ticket=job.ticket,
        request=job.asked,
        facts={"models": sent_models(job.ticket.payload)},
        created_at=job.began,
        ended_at=datetime.now().astimezone(),
        caller=job.caller,
        error={"code": error.code, "message": error.message},
    )


def recorded_error(entry: GenerationRecord) -> ImagenError:
    """The error in which a generation came to its bad end."""
    told = entry.error or {}
    kinds = {kind.code: kind for kind in (Failed, Lost, Rejected, TimedOut)}
    return kinds.get(told.get("code", ""), BackendError)(told.get("message", ""))


def stored_image(saved: SavedImage) -> StoredImage:
    """A picture that lies where it belongs."""
    return StoredImage(
        path=saved.path.absolute(),
        sidecar=saved.sidecar and saved.sidecar.absolute(),
        index=saved.index,
        media_type=saved.media_type,
        width=saved.width,
        height=saved.height,
        seed=saved.seed,
        sha256=saved.sha256,
        size_bytes=saved.path.stat().st_size,
    )


def stored_copies(paths: Sequence[Path], result: Result, ticket: Ticket) -> list[StoredImage]:
    """All the pictures of a run of which not each could be put where it belongs."""
    together = zip(paths, result.outputs, strict=True)
    return [_kept_at(path, output, find_seed(output, result, ticket)) for path, output in together]


def _kept_at(path: Path, output: Output, seed: int | None) -> StoredImage:
    data = path.read_bytes()
    sidecar = sidecar_path(path.absolute())
    width, height = metadata.size(data)
    return StoredImage(
        path=path.absolute(),
        sidecar=sidecar if sidecar.is_file() else None,
        index=output.index,
        media_type=f"image/{metadata.kind(data)}" if metadata.kind(data) else "",
        width=width,
        height=height,
        seed=seed,
        sha256=sha256(data).hexdigest(),
        size_bytes=len(data),
    )


def record(
    entry: GenerationRecord, settings: Settings, environ: Mapping[str, str] = os.environ
) -> str:
    """Take it into the library, and forget its job; a sentence where that did not work.

    Then the job waits in the state folder until the library can be used. Nothing is lost.
    """
    if not settings.library.enabled:
        file_store.forget(entry.id, settings.state_dir)
        return ""
    from imagen.library import open_library

    try:
        with open_library(settings, environ=environ) as library:
            _take_in(library, entry, settings, environ)
    except ImagenError as error:
        return (
            f"The library does not have it yet: {error.message} "
            "It waits in the state folder, and is taken in once that is mended."
        )
    return ""


def _take_in(
    library: Library, entry: GenerationRecord, settings: Settings, environ: Mapping[str, str]
) -> None:
    from imagen.library import record_generation

    told = delivery.deliveries_of(entry, settings, environ) if entry.source == "imagen" else ()
    record_generation(library, entry, told, costs=settings.usage)
    file_store.forget(entry.id, settings.state_dir)


def open_library_synced(settings: Settings, environ: Mapping[str, str] = os.environ) -> Library:
    """The library, with all in it that came to its end in processes which were killed.

    Raises ConfigError where the library is switched off; LibraryError.
    """
    if not settings.library.enabled:
        raise ConfigError(
            "The library is switched off: library.enabled is false.",
            remedy="Set it to true, or leave it out of imagen.yaml.",
        )
    from imagen.library import open_library

    library = open_library(settings, environ=environ)
    try:
        record_pending(library, settings, environ)
    except BaseException:
        library.close()
        raise
    return library


def with_job_settings(settings: Settings, job: Job) -> Settings:
    """What was to stay here, when it was made, stays here."""
    if job.output.get("cloud_sync") != "off":
        return settings
    output = settings.output.model_copy(update={"cloud_sync": "off"})
    return settings.model_copy(update={"output": output})


def record_pending(
    library: Library, settings: Settings, environ: Mapping[str, str] = os.environ
) -> None:
    """Take in the jobs that came to their end without the library knowing.

    The others are not even taken in hand for that: who brings them to their end would find them
    busy.
    """
    for id in file_store.pending(settings.state_dir):
        with suppress(ImagenError):
            if file_store.read(id, settings.state_dir).entry is not None:
                _take_up(library, id, settings, environ)


def _take_up(library: Library, id: str, settings: Settings, environ: Mapping[str, str]) -> None:
    with file_store.claim(id, settings.state_dir) as job:
        if job is not None and job.entry is not None:
            _take_in(library, job.entry, with_job_settings(settings, job), environ)
