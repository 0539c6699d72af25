"""The spine: resolve, open, prepare, submit, collect, save; all else is built on it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen import outputs, tickets
from imagen.backends import open_backend
from imagen.capabilities import Fate, unhonoured
from imagen.errors import ImagenError, RequestError
from imagen.resolve import allow, resolve, runs
from imagen.result import ignore

if TYPE_CHECKING:
    from imagen.backends import Backend
    from imagen.config import OutputSettings, Settings
    from imagen.outputs import Saved
    from imagen.request import Request
    from imagen.result import OnProgress, Progress, Result
    from imagen.ticket import Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One run that came to its end: what was used, what came back, and where it lies."""

    ticket: Ticket
    result: Result
    saved: tuple[Saved, ...]


def generate(
    request: Request,
    settings: Settings,
    *,
    backend: str | None = None,
    strict: bool = False,
    on_progress: OnProgress = ignore,
) -> list[Made]:
    """Make the pictures of one request with the backend of this name, and keep them.

    There are several runs only where the backend can't make as many pictures at once as were asked.
    Raises any ImagenError; with `strict`, a RequestError where a parameter can't be honoured.
    """
    with closing(open_named(backend or settings.backend, settings)) as engine:
        made: list[Made] = []
        try:
            for ticket in prepare(engine, request, settings, strict=strict):
                made.append(make(engine, ticket, request, settings, on_progress))
        except ImagenError as error:
            _name_what_was_made(error, made)
            raise
        return made


def _name_what_was_made(error: ImagenError, made: list[Made]) -> None:
    """Runs before the one that failed left pictures, which nobody would find otherwise."""
    paths = [str(saved.path) for run in made for saved in run.saved]
    if paths:
        error.remedy = "\n".join([error.remedy, "Made before that:", *paths]).strip()


def open_named(name: str, settings: Settings) -> Backend:
    """Open the backend configured under this name."""
    return open_backend(name, settings.backends, settings.shared())


def prepare(
    engine: Backend, request: Request, settings: Settings, *, strict: bool = False
) -> list[Ticket]:
    """A ticket for each run that the request needs; nothing is submitted."""
    outputs.check(settings.output)
    capabilities = engine.capabilities(request.task)
    complete = resolve(request, settings, capabilities)
    prepared = [engine.prepare(run) for run in runs(complete, capabilities)]
    for ticket in prepared:
        allow(ticket.request, settings.limits)  # a backend may have rounded up
    if len(prepared) > 1:
        prepared = [_told_of_split(ticket, complete.count, len(prepared)) for ticket in prepared]
    if strict:
        _refuse(prepared[0])
    return prepared


def make(
    engine: Backend, ticket: Ticket, asked: Request, settings: Settings, on_progress: OnProgress
) -> Made:
    """Submit one ticket (or find it again), wait for its pictures and save them.

    The ticket lies on disk from before the submission until the pictures do.
    """
    used = ticket
    output = _from_anywhere(settings.output)
    with tickets.written(ticket, asked, settings.state_dir, output) as write:

        def tell(progress: Progress) -> None:
            nonlocal used
            if progress.ticket is not None:
                used = progress.ticket
                write(used)
            on_progress(progress)

        result = engine.collect(ticket, tell)
        saved = outputs.save(
            result,
            used,
            settings.output,
            asked=asked,
            now=datetime.now().astimezone(),
            rescue=settings.state_dir / "rescued",
        )
    return Made(ticket=used, result=result, saved=tuple(saved))


def resume(
    id: str,
    settings: Settings,
    on_progress: OnProgress = ignore,
    *,
    output: OutputSettings | None = None,
) -> Made:
    """Fetch what a job left behind when its process died; `id` is its ticket's.

    The pictures go where they were to go, or where `output` says. Raises Lost where the engine no
    longer knows the job.
    """
    ticket, asked = tickets.read(id, settings.state_dir)
    meant = tickets.output_of(id, settings.state_dir)
    output = output or settings.output.model_copy(update=_output(meant))
    settings = settings.model_copy(update={"output": output})
    with closing(open_named(ticket.backend, settings)) as engine:
        return make(engine, ticket, asked, settings, on_progress)


def _from_anywhere(output: OutputSettings) -> dict[str, Any]:
    """The settings of the output as JSON that means the same in any working directory."""
    whole = output.model_dump(mode="json")
    return whole | {"directory": str(output.directory.absolute())}


def _output(meant: dict[str, Any]) -> dict[str, Any]:
    return meant | ({"directory": Path(meant["directory"])} if "directory" in meant else {})


def _told_of_split(ticket: Ticket, count: int | None, among: int) -> Ticket:
    fate = Fate(
        outcome="mapped", asked=count, used=f"{among} runs, each with the seed that follows"
    )
    return ticket.model_copy(update={"receipt": ticket.receipt | {"count": fate}})


def _refuse(ticket: Ticket) -> None:
    faults = unhonoured(ticket.receipt)
    if faults:
        raise RequestError(
            f"Refused under --strict, since {ticket.backend} can't honour all of the request:\n"
            + "\n".join(faults),
            remedy="Leave these out, or leave --strict out to go on without them.",
        )
