"""Run many requests as jobs of the queue: check, submit, run them here or leave them to workers."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from imagen.cli.generation import submit_options
from imagen.cli.library_common import count_noun
from imagen.cli.output import estimate_lines, format_compute
from imagen.cli.progress import show_status
from imagen.cli.queue_options import print_submission
from imagen.cli.terminal import echo
from imagen.core.json_values import as_mapping, as_text
from imagen.core.text import format_duration, one_line
from imagen.errors import Cancelled, ImagenError, LibraryUnreachable, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from imagen.batch.keys import KnownRows
    from imagen.cli.options import RunOptions
    from imagen.config import Settings
    from imagen.core.ticket import Ticket
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.jobs.submit import JobRequest, RefusedRows, Submission
    from imagen.jobs.worker import StopRequest

_FAILED_EXIT_CODE = 4
_POLL_SECONDS = 0.2
_EVENTS_AT_ONCE = 1000
_SHOWN_ROWS = 5
_LONGEST_REMEDY = 3
_LONGEST_MESSAGE = 400


def run_rows(
    rows: Sequence[JobRequest],
    run: RunOptions,
    *,
    name: str,
    places: Sequence[str] | None = None,
    faults: Sequence[tuple[str, str]] = (),
) -> int:
    """Submit requests as one batch and, unless detached, run them and wait; the exit code.

    Each has a key. All are checked first: if some are wrong, RequestError lists them by their
    `places`, and nothing is submitted; with --keep-going the others are. `faults` are known
    already, each with its place. A request that was
    submitted before with its key is not made again: its job is continued, or tried again if it
    failed.
    """
    from imagen.backends import available
    from imagen.batch.keys import find_known_rows
    from imagen.delivery.background import sync_afterwards
    from imagen.jobs.sql_store import open_job_store
    from imagen.jobs.submit import Submission

    places = places or [row.label or f"request {n}" for n, row in enumerate(rows, 1)]
    if faults:
        _report_faults(faults, rows, places, run)
    if run.dry_run:
        return _print_plan(rows, places, run)
    with open_job_store(run.settings) as store:
        seq = store.last_event()
        known = find_known_rows(rows, store)
        new = [rows[n]._replace(key=key) for n, key in known.new.items()]
        submission = _submit(new, [places[n] for n in known.new], run, name, store)
        for id in known.ended.values():
            store.retry(id)
        jobs = [*known.waiting.values(), *known.ended.values()]
        if submission is not None:
            jobs += submission.ids
        _print_known(known, run)
        if run.queue.is_detached:
            if submission is None:  # all of them are in the queue already, or done
                first = store.read(jobs[0]) if jobs else None
                id = "" if first is None else first.parent or first.id
                submission = Submission(id=id, ids=jobs, jobs=len(jobs))
            print_submission(submission, as_json=run.as_json, quiet=run.quiet)
            return 0
        for sentence in submission.warnings if submission and not run.quiet else ():
            echo(sentence, err=True)
        watch = BatchWatch(store, jobs, seq, run)
        members = {member for row in rows for member in run.settings.members(row.backend)}
        with sync_afterwards(run.settings):
            watch.run_worker(sorted(members & available(run.settings.backends)))
        return watch.report(known, submission)


def _report_faults(
    faults: Sequence[tuple[str, str]],
    rows: Sequence[JobRequest],
    places: Sequence[str],
    run: RunOptions,
) -> None:
    """Print faults with --keep-going; otherwise raise them, with what backends refuse."""
    from imagen.batch.prompt_files import list_faults, refuse_faults
    from imagen.jobs.submit import RefusedRows, plan_requests

    if rows and run.keep_going:
        for line in list_faults(faults):
            echo(line, err=True)
        return
    try:
        if rows:
            plan_requests(rows, run.settings, submit_options(rows[0].request, run))
    except RefusedRows as refused:
        faults = [*faults, *((places[row], error.message) for row, error in refused.rows)]
    except ImagenError:
        pass  # of all together, once each is right
    refuse_faults(faults)


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
    options = replace(options, is_served=not run.queue.is_detached)
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
        from imagen.config import load_settings
        from imagen.jobs.worker import run_worker, stop_on_signals

        if not self._open:
            return
        faults: list[ImagenError] = []
        settings = self._run.settings
        if self._run.over_budget:  # that holds for these jobs, and not for others
            budgets = load_settings(settings.source).budgets
            settings = settings.model_copy(update={"budgets": budgets})

        def work(stop: StopRequest) -> None:
            try:
                run_worker(settings, backends=backends, stop=stop)
            except ImagenError as error:
                faults.append(error)

        started = time.monotonic()
        with stop_on_signals() as stop, show_status(quiet=self._run.quiet) as show:
            worker = threading.Thread(target=work, args=(stop,))
            worker.start()
            try:
                while self._open and worker.is_alive():
                    with suppress(LibraryUnreachable):  # the worker waits for it too
                        self.read_events(show)
                    ended = self._total - len(self._open)
                    status = f"{ended} of {self._total} jobs"
                    if self._failures:
                        status += f", {len(self._failures)} failed"
                    if ended and self._open:
                        left = (time.monotonic() - started) / ended * len(self._open)
                        status += f", about {format_duration(left)} left"
                    show(status)
                    worker.join(_POLL_SECONDS)
            finally:
                if not stop.is_set:
                    stop.set()
                worker.join()
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

    def add(self, jobs: Sequence[str]) -> None:
        """Report these jobs too."""
        self._open |= {*jobs}
        self._total += len(jobs)

    def read_events(self, show: Callable[[str], None] = lambda _: None) -> None:
        """Report the jobs that have ended since the last look."""
        from imagen.jobs.model import ENDED
        from imagen.library import paths_of

        while events := self._store.events_after(self._seq, limit=_EVENTS_AT_ONCE):
            self._seq = events[-1].seq
            for event in events:
                state = as_text(event.data.get("state"))
                if event.job not in self._open or event.kind != "state" or state not in ENDED:
                    continue
                self._open.discard(event.job)
                job = self._store.read(event.job)
                if state == "done":
                    found = paths_of(self._store.library, [job.ticket_id])[job.ticket_id]
                    self._images += [place.path for place in found]
                    show("")
                    for place in () if self._run.as_json else found:
                        click.echo(str(place.path))
                    continue
                message = as_text(as_mapping(job.error).get("message")) or f"It was {state}."
                self._failures.append((job.id, one_line(message, limit=_LONGEST_MESSAGE)))
                if not self._run.quiet:
                    show("")
                    echo(f"Job {job.id} {state}: {self._failures[-1][1]}", err=True, hanging=2)


# --- dry runs ---


def _print_plan(rows: Sequence[JobRequest], places: Sequence[str], run: RunOptions) -> int:
    """Print what would be submitted, what it would cost, and the first requests."""
    from imagen.core.ticket import total_compute
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
    seconds = estimate_batch(rows, plans, run.settings)
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
            "usual_seconds": seconds,
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


def estimate_batch(
    rows: Sequence[JobRequest], plans: Sequence[Sequence[Ticket]], settings: Settings
) -> float | None:
    """How long the jobs usually take; None if that is unknown.

    Backends work side by side, and those of a pool share its jobs.
    """
    from imagen.comparison.plan import estimate_seconds

    jobs = [(row.backend, ticket) for row, plan in zip(rows, plans, strict=True) for ticket in plan]
    usual = estimate_seconds([ticket for _, ticket in jobs], settings)
    busy: dict[str, float] = defaultdict(float)
    for (backend, _), seconds in zip(jobs, usual, strict=True):
        if seconds is None:
            return None
        busy[backend] += seconds / len(settings.members(backend))
    return max(busy.values(), default=None)
