"""Record finished generations in the library and queue their deliveries.

A finished job may also stay as its file: loading the library takes longer than a small image. Then
the next command that opens the library records it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

from imagen import delivery
from imagen.core.text import one_line
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
from imagen.outputs.provenance import sent_models
from imagen.outputs.save import sidecar_path
from imagen.outputs.sidecar import find_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imagen.config import Settings, UsageSettings
    from imagen.core.result import Result
    from imagen.core.ticket import Ticket
    from imagen.jobs.model import Job
    from imagen.library import Library
    from imagen.outputs import SavedImage

_PRELOAD_AFTER_SECONDS = 0.3
"""How long an engine must work until it is likely to work for as long as the library loads."""
MOST_DEFERRED = 50
"""How many finished jobs may wait for another command to record them."""
_LONGEST_CALLER = 200
_TMUX_SECONDS = 1.0
_preload: Thread | None = None


def preload_library(settings: Settings, worked_seconds: float) -> None:
    """Load the library in a thread, once an engine has worked for so long that it pays."""
    global _preload
    if _preload is None and settings.library.enabled and worked_seconds > _PRELOAD_AFTER_SECONDS:
        modules = _modules(settings.library.url or "")
        _preload = Thread(target=lambda: [*map(import_module, modules)], daemon=True)
        _preload.start()


def _modules(url: str) -> tuple[str, ...]:
    database = "postgresql" if "://" in url else "sqlite"
    return (
        "imagen.library.write",
        "imagen.library.database",
        f"sqlalchemy.dialects.{database}",
    )


def is_library_loaded(settings: Settings) -> bool:
    """Whether what the library needs is imported, so that recording takes no time."""
    is_loading = _preload is not None and _preload.is_alive()
    return not is_loading and all(m in sys.modules for m in _modules(settings.library.url or ""))


def build_record(job: Job, result: Result, images: Sequence[StoredImage]) -> GenerationRecord:
    """What the library records of a job that succeeded."""
    return GenerationRecord(
        id=job.id,
        backend=job.ticket.backend,
        kind=job.kind,
        ticket=job.ticket,
        request=job.request,
        facts=asdict(result.facts),
        warnings=result.warnings,
        created_at=job.began,
        ended_at=datetime.now().astimezone(),
        caller=job.caller,
        images=tuple(images),
    )


def build_failure(job: Job, error: ImagenError) -> GenerationRecord:
    """What the library records of a job that failed."""
    return GenerationRecord(
        id=job.id,
        backend=job.ticket.backend,
        kind=job.kind,
        state="failed",
        ticket=job.ticket,
        request=job.request,
        facts={"models": sent_models(job.ticket.payload)},
        created_at=job.began,
        ended_at=datetime.now().astimezone(),
        caller=job.caller,
        error={"code": error.code, "message": error.message},
    )


def recorded_error(record: GenerationRecord) -> ImagenError:
    """The error with which a recorded generation failed."""
    recorded = record.error or {}
    kinds = {kind.code: kind for kind in (Failed, Lost, Rejected, TimedOut)}
    return kinds.get(recorded.get("code", ""), BackendError)(recorded.get("message", ""))


def stored_image(saved: SavedImage) -> StoredImage:
    """The record of an image that was saved in the output folder."""
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
    """The records of all images of a job, some of which could not be saved in the output folder."""
    stored: list[StoredImage] = []
    for path, output in zip(paths, result.outputs, strict=True):
        data = path.read_bytes()
        sidecar = sidecar_path(path.absolute())
        width, height = metadata.size(data)
        kind = metadata.kind(data)
        stored.append(
            StoredImage(
                path=path.absolute(),
                sidecar=sidecar if sidecar.is_file() else None,
                index=output.index,
                media_type=f"image/{kind}" if kind else "",
                width=width,
                height=height,
                seed=find_seed(output, result, ticket),
                sha256=sha256(data).hexdigest(),
                size_bytes=len(data),
            )
        )
    return stored


def record(
    generation: GenerationRecord, settings: Settings, environ: Mapping[str, str] = os.environ
) -> str:
    """Record a generation in the library and forget its job; a sentence if that failed.

    After a failure the job stays in the state directory until the library works again.
    """
    if not settings.library.enabled:
        file_store.forget(generation.id, settings.state_dir)
        return ""
    from imagen.library import open_library

    try:
        with open_library(settings, environ=environ) as library:
            _record(library, generation, settings, environ)
            if len(file_store.pending(settings.state_dir)) > MOST_DEFERRED:
                record_pending(library, settings, environ)
    except ImagenError as error:
        return (
            f"The library could not record it: {error.message} "
            "It is saved in the state directory and will be recorded when the library works again."
        )
    return ""


def _record(
    library: Library,
    generation: GenerationRecord,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    is_delivered: bool = True,
) -> None:
    from imagen.library import record_generation

    is_delivered = is_delivered and generation.source == "imagen"
    deliveries = delivery.deliveries_of(generation, settings, environ) if is_delivered else ()
    record_generation(library, generation, deliveries, costs=settings.usage)
    file_store.forget(generation.id, settings.state_dir)


def open_library_synced(settings: Settings, environ: Mapping[str, str] = os.environ) -> Library:
    """Open the library and record every finished job that it lacks.

    Raises ConfigError if the library is switched off; LibraryError.
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
    """The settings for a job of an earlier command, which may have kept its images local."""
    if job.output.get("cloud_sync") != "off":
        return settings
    output = settings.output.model_copy(update={"cloud_sync": "off"})
    return settings.model_copy(update={"output": output})


def record_pending(
    library: Library, settings: Settings, environ: Mapping[str, str] = os.environ
) -> None:
    """Record the finished jobs of other commands, in the order in which they began.

    Unfinished jobs are not even locked: a command that resumes one would find it busy.
    """
    finished: list[Job] = []
    of_this_library = "", os.path.abspath(settings.library_at)
    for id in file_store.pending(settings.state_dir):
        with suppress(ImagenError):
            job = file_store.read(id, settings.state_dir)
            if job.record is not None and job.deferred_to in of_this_library:
                finished.append(job)
    for job in sorted(finished, key=lambda job: job.began):
        with (
            suppress(ImagenError),
            file_store.claim(job.id, settings.state_dir) as claimed,
        ):
            if claimed is not None and claimed.record is not None:
                # A job is deferred only where nothing was to be delivered.
                _record(
                    library,
                    claimed.record,
                    with_job_settings(settings, claimed),
                    environ,
                    is_delivered=not claimed.deferred_to,
                )


def find_caller(usage: UsageSettings, environ: Mapping[str, str] = os.environ) -> str:
    """Who asked for an image, in the ledger: the first variable that is set, else the option of
    the tmux pane, else ""."""
    named = next((environ[name] for name in usage.caller_env if environ.get(name)), None)
    pane = environ.get("TMUX_PANE", "")
    if named is None and usage.caller_tmux_option and pane and environ.get("TMUX"):
        import subprocess

        option = f"#{{{usage.caller_tmux_option}}}"
        words = ["tmux", "display-message", "-p", "-t", pane, option]
        with suppress(OSError, subprocess.TimeoutExpired):
            ran = subprocess.run(
                words, env=dict(environ), capture_output=True, timeout=_TMUX_SECONDS, check=False
            )
            if ran.returncode == 0:
                named = ran.stdout.decode("utf-8", "replace")
    return one_line(named or "", limit=_LONGEST_CALLER)
