"""Run many requests as jobs of the queue: check, submit, run them here or leave them to workers."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import click

from imagen.cli.generation import submit_options
from imagen.cli.library_common import count_noun
from imagen.cli.output import estimate_lines, format_compute, total_compute
from imagen.cli.progress import show_status
from imagen.cli.queue_options import print_submission
from imagen.cli.terminal import echo
from imagen.core.json_values import as_mapping, as_text
from imagen.core.text import format_duration, one_line
from imagen.errors import Cancelled, ImagenError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from imagen.batch.keys import KnownRows
    from imagen.cli.options import RunOptions
    from imagen.config import Settings
    from imagen.core.ticket import Ticket
    from imagen.jobs.model import JobEvent
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.jobs.submit import JobRequest, RefusedRows, Submission
    from imagen.jobs.worker import StopRequest

_FAILED_EXIT_CODE = 4
_POLL_SECONDS = 0.2
_EVENTS_AT_ONCE = 1000
_SHOWN_ROWS = 5
_LONGEST_REMEDY = 3


def run_rows(
    rows: Sequence[JobRequest], run: RunOptions, *, name: str, places: Sequence[str] | None = None
) -> int:
    """Submit requests as one batch and, unless detached, run them and wait; the exit code.

    Each has a key. All are checked first: if some are wrong, RequestError lists them by their
    `places`, and nothing is submitted; with --keep-going the others are. A request that was
    submitted before with its key is not made again: its job is continued, or tried again if it
    failed.
    """
    from imagen.backends import available
    from imagen.batch.keys import find_known
    from imagen.delivery.background import sync_afterwards
    from imagen.jobs.sql_store import open_job_store

    places = places or [row.label or f"request {n}" for n, row in enumerate(rows, 1)]
    if run.dry_run:
        return _print_plan(rows, places, run)
    with open_job_store(run.settings) as store:
        seq = store.last_event()
        known = find_known(rows, store)
        new = [rows[n]._replace(key=key) for n, key in known.new.items()]
        submission = _submit(new, [places[n] for n in known.new], run, name, store)
        for id in known.ended.values():
            store.retry(id)
        jobs = [*known.waiting.values(), *known.ended.values()]
        if submission is not None:
            jobs += submission.ids
        _print_known(known, run)
        if run.queue.is_detached:
            _print_submitted(submission, jobs, store, run)
            return 0
        watch = BatchWatch(store, jobs, seq, run)
        members = {member for row in rows for member in run.settings.members(row.backend)}
        with sync_afterwards(run.settings):
            watch.run_worker(sorted(members & available(run.settings.backends)))
        return watch.report(known, submission)


def _submit(
    rows: Sequence[JobRequest],
    places: Sequence[str],
    run: RunOptions,
    name: str,
    store: SqlJobStore,
) -> Submission | None:
    """Submit new requests; None if there are none. Raises RequestError for wrong ones."""
    from imagen.jobs.submit import RefusedRows, submit_requests

    if not rows:
        return None
    options = submit_options(rows[0].request, run)
    try:
        return submit_requests(rows, run.settings, options, kind="batch", name=name, store=store)
    except RefusedRows as refused:
        good = _refuse_rows(refused, places, run)
    return _submit([rows[n] for n in good], [places[n] for n in good], run, name, store)


def _refuse_rows(refused: RefusedRows, places: Sequence[str], run: RunOptions) -> list[int]:
    """The other rows, with --keep-going; otherwise raises RequestError with all faults."""
    from imagen.batch.prompt_files import list_faults

    lines = list_faults([(places[row], error.message) for row, error in refused.rows])
    if not run.keep_going:
        remedies = refused.remedy.splitlines()[:_LONGEST_REMEDY]
        raise RequestError(
            "\n".join(lines), remedy="\n".join(["Nothing was submitted.", *remedies])
        ) from refused
    for line in lines:
        echo(line, err=True)
    wrong = {row for row, _ in refused.rows}
    return [n for n in range(len(places)) if n not in wrong]


def _print_known(known: KnownRows, run: RunOptions) -> None:
    """Say what is not submitted, since it was before."""
    if run.quiet:
        return
    for jobs, what in (
        (known.done, "made already"),
        (known.waiting, "submitted already"),
        (known.ended, "tried again"),
    ):
        if jobs:
            echo(f"{count_noun(len(jobs), 'request')} {what}.", err=True)
    for id in known.lost.values():
        echo(f"Job {id} may have run and cost money. To run it again: ", err=True)
        echo(f"  imagen jobs retry {id} --resubmit", err=True)


def _print_submitted(
    submission: Submission | None, jobs: Sequence[str], store: SqlJobStore, run: RunOptions
) -> None:
    if submission is None:
        from imagen.jobs.submit import Submission

        first = store.read(jobs[0]) if jobs else None
        id = "" if first is None else first.parent or first.id
        submission = Submission(id=id, ids=list(jobs), jobs=len(jobs))
    print_submission(submission, as_json=run.as_json, quiet=run.quiet)


class BatchWatch:
    """Runs a worker in this process until some jobs have ended, and reports each of them."""

    def __init__(self, store: SqlJobStore, jobs: Sequence[str], seq: int, run: RunOptions) -> None:
        self._store = store
        self._run = run
        self._seq = seq
        self._open = set(jobs)
        self._total = len(self._open)
        self._images: list[Path] = []
        self._failures: list[tuple[str, str]] = []
        """Jobs that ended without success, and why."""

    def run_worker(self, backends: Sequence[str]) -> None:
        """Run the jobs; raises Cancelled after Ctrl-C, and what makes a worker impossible.

        Other workers may run some of them; this one also runs other jobs of these backends.
        """
        from imagen.jobs.worker import run_worker, stop_on_signals

        if not self._open:
            return
        faults: list[ImagenError] = []

        def work(stop: StopRequest) -> None:
            try:
                run_worker(self._worker_settings(), backends=backends, stop=stop)
            except ImagenError as error:
                faults.append(error)

        started = time.monotonic()
        with stop_on_signals() as stop, show_status(quiet=self._run.quiet) as show:
            worker = threading.Thread(target=work, args=(stop,))
            worker.start()
            while worker.is_alive():
                self.read_events(show)
                show(self._describe(time.monotonic() - started))
                if not self._open and not stop.is_set:
                    stop.set()
                worker.join(_POLL_SECONDS)
            self.read_events(show)
        if faults:
            raise faults[0]
        if self._open:
            raise Cancelled(
                f"Stopped. {count_noun(len(self._open), 'job')} of the batch "
                f"{'is' if len(self._open) == 1 else 'are'} still in the queue.",
                remedy="Go on with: imagen worker --drain\n"
                "Or run the same command again; what is done is not made again.",
            )

    def report(self, known: KnownRows, submission: Submission | None) -> int:
        """Print how it ended; the exit code."""
        failed = len(self._failures) + len(known.lost)
        earlier = [path for paths in known.done.values() for path in paths]
        if self._run.as_json:
            body = {
                "job": submission and submission.id,
                "images": list(map(str, self._images)),
                "earlier_images": list(map(str, earlier)),
                "done": self._total - len(self._failures),
                "done_earlier": len(known.done),
                "failed": [{"job": id, "message": message} for id, message in self._failures]
                + [{"job": id, "message": "It may have run."} for id in known.lost.values()],
            }
            click.echo(json.dumps(body, indent=2))
        elif not self._run.quiet:
            made = self._total - len(self._failures)
            end = f", {failed} failed. To try them again, run the same command." if failed else "."
            echo(f"{count_noun(made, 'job')} done{end}", err=True)
        return _FAILED_EXIT_CODE if failed else 0

    def _worker_settings(self) -> Settings:
        """The settings for all jobs, with the budgets that --over-budget lifts only for these."""
        from imagen.config import load_settings

        settings = self._run.settings
        if not self._run.over_budget:
            return settings
        return settings.model_copy(update={"budgets": load_settings(settings.source).budgets})

    def add(self, jobs: Sequence[str]) -> None:
        """Report these jobs too."""
        self._open |= {*jobs}
        self._total += len(jobs)

    def read_events(self, show: Callable[[str], None] = lambda _: None) -> None:
        """Report the jobs that have ended by now."""
        while events := self._store.events_after(self._seq, limit=_EVENTS_AT_ONCE):
            self._seq = events[-1].seq
            for event in events:
                if event.job in self._open and event.kind == "state":
                    self._take_event(event, show)

    def _take_event(self, event: JobEvent, show: Callable[[str], None]) -> None:
        """Report a job that has ended."""
        from imagen.jobs.model import ENDED
        from imagen.library import paths_of

        state = as_text(event.data.get("state"))
        if state not in ENDED:
            return
        self._open.discard(event.job)
        if state == "done":
            id = self._store.read(event.job).ticket_id
            for place in paths_of(self._store.library, [id])[id]:
                self._images.append(place.path)
                if not self._run.as_json:
                    show("")
                    click.echo(str(place.path))
            return
        error = as_mapping(self._store.read(event.job).error)
        message = one_line(as_text(error.get("message")) or f"It was {state}.", limit=400)
        self._failures.append((event.job, message))
        if not self._run.quiet:
            show("")
            echo(f"Job {event.job} {state}: {message}", err=True, hanging=2)

    def _describe(self, elapsed: float) -> str:
        ended = self._total - len(self._open)
        text = f"{ended} of {self._total} jobs"
        if self._failures:
            text += f", {len(self._failures)} failed"
        if ended and self._open:
            text += f", about {format_duration(elapsed / ended * len(self._open))} left"
        return text


# --- dry runs ---


def _print_plan(rows: Sequence[JobRequest], places: Sequence[str], run: RunOptions) -> int:
    """Print what would be submitted, what it would cost, and the first requests."""
    from imagen.jobs.submit import RefusedRows, plan_requests

    options = submit_options(rows[0].request, run)
    try:
        plans, warnings = plan_requests(rows, run.settings, options)
    except RefusedRows as refused:
        good = _refuse_rows(refused, places, run)
        rows, places = [rows[n] for n in good], [places[n] for n in good]
        plans, warnings = plan_requests(rows, run.settings, options)
    tickets = [ticket for plan in plans for ticket in plan]
    without_engine = sum(not plan for plan in plans)
    images = sum(ticket.images for ticket in tickets) + without_engine
    seconds = estimate_seconds(rows, plans, run)
    if run.as_json:
        costs = [ticket.estimate for ticket in tickets if ticket.estimate is not None]
        body = {
            "requests": len(rows),
            "jobs": len(tickets) + without_engine,
            "images": images,
            "backends": sorted({row.backend for row in rows}),
            "folder": str(run.settings.output.directory),
            "compute": total_compute(tickets),
            "cost_usd": sum(cost.usd for cost in costs if cost.usd is not None),
            "unknown_costs": sum(cost.usd is None for cost in costs),
            "seconds": seconds,
            "warnings": warnings,
            "rows": [
                {
                    "place": place,
                    "backend": row.backend,
                    "output": row.output_name,
                    "request": row.request.model_dump(mode="json", exclude_defaults=True),
                }
                for row, place in zip(rows, places, strict=True)
            ],
        }
        click.echo(json.dumps(body, indent=2))
        return 0
    for row, place in list(zip(rows, places, strict=True))[:_SHOWN_ROWS]:
        seed = "" if row.request.draws_seed else f", seed {row.request.seed}"
        prompt = one_line(row.request.prompt or row.request.task, limit=200)
        echo(f"{place}: {prompt} ({row.backend}{seed})", hanging=2)
    if len(rows) > _SHOWN_ROWS:
        echo(f"And {count_noun(len(rows) - _SHOWN_ROWS, 'more request')}.")
    time_ = f" Time: about {format_duration(seconds)}." if seconds is not None else ""
    for line in (
        f"Requests: {len(rows)}. Jobs: {len(tickets) + without_engine}. Images: {images}.{time_}",
        f"Compute: {format_compute(tickets)} (megapixels × steps).",
        *estimate_lines(tickets),
        *warnings,
    ):
        echo(line, hanging=2)
    return 0


def estimate_seconds(
    rows: Sequence[JobRequest], plans: Sequence[Sequence[Ticket]], run: RunOptions
) -> float | None:
    """How long the jobs take, from what earlier ones took; None if that is unknown.

    The backends work side by side, and those of a pool share its jobs.
    """
    from imagen.jobs.sql_store import open_job_store
    from imagen.jobs.submit import affinity_of

    jobs: dict[tuple[str, str], int] = {}
    for row, plan in zip(rows, plans, strict=True):
        key = row.backend, affinity_of(row.request, row.backend, run.settings)
        jobs[key] = jobs.get(key, 0) + len(plan)
    try:
        with open_job_store(run.settings) as store:
            speeds = store.speeds({m for name, _ in jobs for m in run.settings.members(name)})
    except ImagenError:
        return None
    busy: dict[str, float] = {}
    for (name, affinity), count in jobs.items():
        members = run.settings.members(name)
        found = [speeds.get((member, affinity)) for member in members]
        known = [speed.seconds for speed in found if speed is not None]
        if not known:
            return None
        busy[name] = busy.get(name, 0.0) + count / sum(1 / max(each, 0.001) for each in known)
    return max(busy.values(), default=None)
