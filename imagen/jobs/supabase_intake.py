"""Jobs from a Supabase project: take in the rows of its table, and write back what became of them.

Each step compares the rows that have not ended with their jobs in the queue, and reports what
differs: a report that was lost is repeated by the next step.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

from sqlalchemy import select

from imagen import delivery
from imagen.backends import available
from imagen.core.prompt_syntax import lora_tags
from imagen.core.request import INTERPOLATIONS, Request
from imagen.core.text import did_you_mean, one_line
from imagen.delivery.supabase import SupabaseClient, connect, is_valid_path
from imagen.delivery.supabase_jobs import (
    JobReport,
    RestSupabaseJobs,
    SqlSupabaseJobs,
    is_in_library,
)
from imagen.delivery.worker import sync_alone
from imagen.errors import ConfigError, ImagenError, Rejected, RequestError
from imagen.inputs import cache_image
from imagen.jobs.model import ENDED, INTERPOLATION, PARENTS
from imagen.jobs.open_queue import library_id
from imagen.jobs.submit import SubmitOptions, submit_request
from imagen.library.schema import images, outbox
from imagen.outputs.redact import strip_paths
from imagen.pipeline.generate import is_interpolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pydantic import JsonValue

    from imagen.config import Settings
    from imagen.delivery.supabase_jobs import (
        OpenSupabaseJob,
        RowState,
        SupabaseJob,
        SupabaseJobs,
    )
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.sql_store import SqlJobStore

    Say = Callable[[str], None]

_MOST_OPEN = 16
"""Rows that a library holds at once: the others can be taken by other libraries."""
_ACTIVE_SECONDS, _IDLE_SECONDS = 0.5, 2.0
_PAUSES = (2.0, 4.0, 8.0, 16.0, 30.0)
_UPLOAD_SECONDS = 2.0
"""For uploads between two steps."""
_LAST_SECONDS = 30.0
"""For writing back what has ended, when the worker stops."""
_MOST_INPUTS = 16
_FIELDS = frozenset(Request.model_fields) - {"extra", "template"}
_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://\S+", re.IGNORECASE)
_MESSAGES = {
    "over_budget": "The spending limit of this service is reached.",
    "unavailable": "The engine cannot be reached.",
    "rate_limited": "The engine is too busy.",
    "timed_out": "The job took too long.",
    "lost": "The engine lost the job.",
    "poison": "The job failed several times without an answer.",
}
"""By code, where the message itself is about this machine and not about the request."""
_QUOTED = ("request", "missing_prompt", "rejected", "failed")
"""Codes of errors whose message is about the request."""


@contextmanager
def take_supabase_jobs(settings: Settings, store: SqlJobStore, *, say: Say) -> Iterator[None]:
    """Take jobs from Supabase into the queue during the block, in a thread.

    The first are taken before the block, and what has ended is written back after it. Raises
    ConfigError if a setting is missing, and other ImagenErrors if the table cannot be used.
    """
    check_intake_settings(settings, os.environ)
    schema, library = settings.cloud.db_schema, library_id(store.library)
    with connect(settings, os.environ) as client:
        rows: SupabaseJobs = RestSupabaseJobs(client, schema, library)
        if is_in_library(store.library, schema):
            rows = SqlSupabaseJobs(store.library, schema, library)
        intake = SupabaseIntake(rows, client, store, settings, say)
        intake.step()
        stop = threading.Event()
        thread = threading.Thread(target=intake.run, args=(stop,), name="supabase", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(_LAST_SECONDS)
            if not thread.is_alive():
                intake.finish(time.monotonic() + _LAST_SECONDS)


def check_intake_settings(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raises ConfigError if jobs cannot be taken from Supabase, or their images not delivered."""
    jobs = settings.cloud.jobs
    if missing := delivery.missing_settings(settings, environ, owned=False):
        raise ConfigError(
            f"Jobs cannot be taken from Supabase: {delivery.describe_missing(missing)}."
        )
    if not jobs.backends:
        raise ConfigError(
            "Jobs cannot be taken from Supabase: cloud.jobs.backends is empty.",
            remedy="List the backends and pools that users may have jobs run on.",
        )
    known = (*available(settings.backends), *settings.pools)
    for name in jobs.backends:
        if name not in known:
            raise ConfigError(
                f"cloud.jobs.backends: unknown backend {name!r}.{did_you_mean(name, known)}"
            )
    if settings.output.cloud_sync == "off":
        raise ConfigError(
            "Jobs cannot be taken from Supabase: output.cloud_sync is off, so that no user would "
            "get an image.",
            remedy="Set it to auto.",
        )


class SupabaseIntake:
    """The rows of one library, and the queue into which they are taken."""

    def __init__(
        self,
        rows: SupabaseJobs,
        client: SupabaseClient,
        store: SqlJobStore,
        settings: Settings,
        say: Say,
    ) -> None:
        self._rows, self._client, self._store = rows, client, store
        self._settings, self._say = settings, say
        self._open: list[OpenSupabaseJob] | None = None
        """The rows that have not ended; None before the first step."""
        self._written: dict[str, JobReport] = {}
        """The last report about each open row that was certainly written."""
        self._told: set[str] = set()
        """What was said before."""

    def run(self, stop: threading.Event) -> None:
        """Step after step until `stop` is set. Failures are reported once, and tried again."""
        failures = 0
        while not stop.is_set():
            pause = _ACTIVE_SECONDS if self._open else _IDLE_SECONDS
            if failures:
                pause = _PAUSES[min(failures, len(_PAUSES)) - 1]
            if stop.wait(pause):
                return
            try:
                self.step()
                failures = 0
            except ImagenError as error:
                if not failures:
                    self._say(f"Supabase: {error.message} Trying again.")
                failures += 1

    def step(self) -> bool:
        """Take in what waits, report what has changed, and pass on what was cancelled.

        Returns whether anything was reported.
        """
        if self._open is None:
            self._open = self._rows.report([])
        room = max(0, _MOST_OPEN - len(self._open))
        reports = [self._take_in(row) for row in self._rows.claim(room)]
        reports += [self._describe(row) for row in self._open]
        new = [one for one in reports if one is not None and self._written.get(one.id) != one]
        self._open = self._rows.report(new)
        open_ids = {row.id for row in self._open}
        self._written |= {one.id: one for one in new}
        self._written = {id: one for id, one in self._written.items() if id in open_ids}
        for row in self._open:
            job = self._store.find_key(row.key) if row.cancel else None
            if job is not None and job.state not in ENDED:
                self._store.cancel(job.id)
        return bool(new)

    def finish(self, deadline: float) -> None:
        """Write back what has ended, until the deadline."""
        with suppress(ImagenError):
            while self.step() and time.monotonic() < deadline:
                pass

    # --- rows to jobs ---

    def _take_in(self, row: SupabaseJob) -> JobReport | None:
        """Submit the job of a row; None if that has to be tried again."""
        bucket = self._settings.cloud.jobs.bucket

        def download(parameter: str, owner: str, name: str) -> str:
            """The local file of an image in the folder of its owner."""
            if not is_valid_path(name):
                raise RequestError(
                    f"{parameter}: {one_line(name, limit=80)!r} is not the name of an image in the "
                    f"bucket {bucket}."
                )
            try:
                data = self._client.download(bucket, f"{owner}/{name}")
            except Rejected as error:
                raise RequestError(
                    f"{parameter}: there is no {name} in your folder of the bucket {bucket}."
                ) from error
            folder = self._settings.state_dir / "inputs"
            return str(cache_image(data, name.rpartition("/")[2], folder))

        try:
            request, backend = parse_row(row, self._settings, download)
            options = SubmitOptions(
                backend=backend,
                priority=row.priority,
                key=row.key,
                caller=row.owner_user_id,
                owner=row.owner_user_id,
            )
            submit_request(request, self._settings, options, store=self._store)
        except ImagenError as error:
            if error.retryable:
                self._say_once(f"Supabase: job {row.id} is not queued yet: {error.message}")
                return None
            self._say_once(f"Supabase: job {row.id} is refused: {error.message}")
            shown = describe_error(error.code, error.message)
        except Exception as error:  # noqa: BLE001 - one row must not stop those of other users
            self._say_once(f"Supabase: job {row.id} is refused: {type(error).__name__}: {error}")
            shown = describe_error("error", "")
        else:
            return JobReport(id=row.id, state="queued")
        return JobReport(id=row.id, state="failed", error=shown)

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._say(one_line(sentence, limit=400))

    # --- jobs to rows ---

    def _describe(self, row: OpenSupabaseJob) -> JobReport | None:
        """What is to be reported about a row; None if nothing is known of its job."""
        job = self._store.find_key(row.key)
        if job is None:
            if row.state == "taken":  # the next claim returns it
                return None
            error = describe_error("lost", "")
            return JobReport(id=row.id, state="failed", error=error)
        if job.state in ENDED:
            return self._describe_ended(row, job)
        if job.kind in PARENTS:
            counts = self._store.children_counts([job.id]).get(job.id, {})
            ended = sum(counts.get(state, 0) for state in ENDED)
            fraction = ended / max(1, sum(counts.values()))
            is_waiting = not counts.keys() - {"held", "queued"}
            stage: JsonValue = "running"
        else:
            known = job.progress or {}
            share = known.get("fraction")
            fraction = share if isinstance(share, int | float) else 0.0
            is_waiting = job.state in ("held", "queued")
            stage = known.get("stage") or "queued"
        state: RowState = "queued" if is_waiting else "running"
        progress = {"stage": "queued" if is_waiting else stage, "fraction": round(fraction, 3)}
        return JobReport(id=row.id, state=state, progress=progress)

    def _describe_ended(self, row: OpenSupabaseJob, job: QueuedJob) -> JobReport:
        made = self._store.list_jobs(parent=job.id, limit=1024) if job.kind in PARENTS else [job]
        uploads, unsent = self._list_uploads([one.ticket_id for one in made])
        if waiting := unsent["waiting"]:
            progress: dict[str, JsonValue] = {"stage": "uploading", "waiting": waiting}
            return JobReport(id=row.id, state="running", progress=progress)
        failed = next((one for one in made if one.state not in ("done", "cancelled")), None)
        if job.state == "cancelled":
            return JobReport(id=row.id, state="cancelled", images=uploads)
        if failed is not None or job.state != "done":
            error = (failed or job).error or {"code": failed.state if failed else "failed"}
            shown = describe_error(str(error.get("code", "")), str(error.get("message", "")))
            return JobReport(id=row.id, state="failed", error=shown, images=uploads)
        if unsent["stuck"] or not uploads:
            error = {"code": "upload", "message": "Not all images could be uploaded."}
            return JobReport(id=row.id, state="failed", error=error, images=uploads)
        return JobReport(id=row.id, state="done", images=uploads)

    def _list_uploads(
        self, generations: Sequence[str]
    ) -> tuple[list[dict[str, JsonValue]], Counter[str]]:
        """The uploaded images of these generations, and how many others are in which state."""
        library = self._store.library
        its = outbox.c.kind == "cloud", outbox.c.generation.in_(generations)
        unsent = select(outbox.c.state).where(*its, outbox.c.state != "sent")
        with library.reading() as connection:
            is_waiting = "waiting" in connection.scalars(unsent).all()
        if is_waiting:
            deadline = time.monotonic() + _UPLOAD_SECONDS
            sync_alone(
                library,
                self._settings,
                unless_running=True,
                is_stopped=lambda: time.monotonic() > deadline,
            )
        made = select(images).where(
            images.c.generation.in_(generations), images.c.cloud.is_not(None)
        )
        with library.reading() as connection:
            states = Counter(connection.scalars(unsent).all())
            rows = connection.execute(made.order_by(images.c.id)).all()
        uploads: list[dict[str, JsonValue]] = [
            {
                "id": row.cloud.get("id"),
                "bucket": row.cloud.get("bucket"),
                "path": row.cloud.get("path"),
                "width": row.width,
                "height": row.height,
                "seed": row.seed,
            }
            for row in rows
        ]
        return uploads, states


# --- a stranger's request ---


def parse_row(
    row: SupabaseJob, settings: Settings, download: Callable[[str, str, str], str]
) -> tuple[Request, str]:
    """The request of a row, with local files for its images, and its backend or pool.

    `download` gets the parameter, the owner and the name of an image. Raises RequestError for what
    users may not ask for.
    """
    jobs = settings.cloud.jobs
    backend = row.backend or jobs.backends[0]
    if backend not in jobs.backends:
        raise RequestError(
            f"backend: there is no {one_line(backend, limit=80)!r}."
            f"{did_you_mean(backend, jobs.backends)} Use one of: {', '.join(jobs.backends)}."
        )
    for name in row.request:
        if name not in _FIELDS:
            raise RequestError(
                f"{one_line(name, limit=80)!r} is not a parameter.{did_you_mean(name, _FIELDS)}"
            )
    request = Request.of(cast("dict[str, object]", row.request))
    if (request.count or 1) > jobs.most_images:
        raise RequestError(f"count: at most {jobs.most_images}.")
    _refuse_models(request, (*jobs.models, *INTERPOLATIONS))
    if len(request.references) + len(request.controls) > _MOST_INPUTS:
        raise RequestError(f"At most {_MOST_INPUTS} reference and control images.")

    def local(parameter: str, name: str) -> str:
        return download(parameter, row.owner_user_id, name)

    values: dict[str, object] = {
        name: local(name, path) for name in ("image", "mask") if (path := getattr(request, name))
    }
    values["references"] = tuple(
        local(f"references.{n}", path) for n, path in enumerate(request.references)
    )
    values["controls"] = tuple(
        control.model_copy(update={"image": local(f"controls.{n}", control.image)})
        for n, control in enumerate(request.controls)
    )
    is_local = is_interpolation(request)  # needs no engine
    return request.with_values(values), INTERPOLATION if is_local else backend


def _refuse_models(request: Request, allowed: Sequence[str]) -> None:
    """Raises RequestError for a model that is not allowed: its name may be a path or a download."""
    texts = request.prompt, request.prompt_2, request.negative, request.negative_2
    named: dict[str, list[str | None]] = {
        "model": [request.model],
        "loras": [lora.name for lora in request.loras],
        "upscale": [request.upscale.method if request.upscale else None],
        "restore": [request.restore.model if request.restore else None],
        "prompt": [tag.name for tag in lora_tags(" ".join(filter(None, texts)))],
    }
    for parameter, names in named.items():
        for name in names:
            if name is not None and name not in allowed:
                raise RequestError(
                    f"{parameter}: there is no model {one_line(name, limit=80)!r}."
                    f"{did_you_mean(name, allowed)}"
                )


def describe_error(code: str, message: str) -> dict[str, JsonValue]:
    """An error for the user of a web application: nothing about the machines of its operator."""
    if code in _QUOTED:
        sentence = one_line(_URL.sub("the engine", strip_paths(message)), limit=300)
    else:
        sentence = _MESSAGES.get(code, "The job failed at the service.")
    return {"code": code or "failed", "message": sentence}
