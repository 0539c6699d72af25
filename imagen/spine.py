"""The spine: resolve, open, prepare, submit, collect, save; all else is built on it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen import outputs, tickets
from imagen.errors import ImagenError
from imagen.inputs import sound
from imagen.preparing import (
    capabilities_for,
    open_named,
    prepare,
    refuse_unhonoured,
    to_preprocess,
)
from imagen.request import INTERPOLATIONS, Request, Upscale
from imagen.resolve import styled
from imagen.result import ignore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.backends import Backend
    from imagen.config import OutputSettings, Settings
    from imagen.outputs import Saved
    from imagen.request import Control
    from imagen.result import OnProgress, Progress, Result
    from imagen.ticket import Ticket


__all__ = [
    "Made",
    "enlarge",
    "generate",
    "is_interpolation",
    "make",
    "open_named",
    "prepare",
    "ready",
    "resume",
]


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

    There are several runs where the backend can't make as many pictures at once as were asked, and
    where control pictures had to be made first: these come first.
    Raises any ImagenError; with `strict`, a RequestError where a parameter can't be honoured.
    """
    if is_interpolation(request):
        return enlarge(request, settings, strict=strict)
    with closing(open_named(backend or settings.backend, settings)) as engine:
        plan = prepare(engine, request, settings, strict=strict)
        tickets, made = ready(engine, plan, request, settings, on_progress)
        with _naming(made):
            for ticket in tickets:
                made.append(make(engine, ticket, request, settings, on_progress))
        return made


def is_interpolation(request: Request) -> bool:
    """Whether all that is asked for is arithmetic, which no engine needs to do."""
    method = request.upscale.method if request.upscale else None
    return request.task == "upscale" and method in INTERPOLATIONS


@contextmanager
def _naming(made: Sequence[Made]) -> Iterator[None]:
    """Runs before the one that failed left pictures, which nobody would find otherwise."""
    try:
        yield
    except ImagenError as error:
        paths = [str(saved.path) for run in made for saved in run.saved]
        if paths:
            error.remedy = "\n".join([error.remedy, "Made before that:", *paths]).strip()
        raise


def ready(
    engine: Backend,
    plan: Sequence[Ticket],
    request: Request,
    settings: Settings,
    on_progress: OnProgress,
    known: dict[tuple[str, str], str] | None = None,
) -> tuple[Sequence[Ticket], list[Made]]:
    """The tickets of a plan, and the control pictures that had to be made for them first.

    `known` holds, by kind and file, the control pictures that are there; new ones are put into it.
    """
    pictures = {} if known is None else known
    capabilities = capabilities_for(engine, request, settings)
    made: list[Made] = []
    controls = list(request.controls)
    for number, control in to_preprocess(engine, request, capabilities, settings):
        key = control.kind, control.image
        if key not in pictures:
            with _naming(made):
                made.append(_preprocess(engine, control, settings, on_progress))
            pictures[key] = str(made[-1].saved[0].path)
        values = {"image": pictures[key], "preprocess": False}
        controls[number] = control.model_copy(update=values)
    if tuple(controls) == request.controls:
        return plan, made
    steered = request.model_copy(update={"controls": tuple(controls)})
    prepared = prepare(engine, steered, settings)
    return [_in_the_words_of(plan[0], ticket) for ticket in prepared], made


def _in_the_words_of(plan: Ticket, ticket: Ticket) -> Ticket:
    """The ticket telling of the user's own pictures, as the plan does."""
    asked = plan.receipt["controls"].asked
    controls = ticket.receipt["controls"].model_copy(update={"asked": asked})
    receipt = ticket.receipt | {"controls": controls}
    return ticket.model_copy(update={"inputs": plan.inputs, "receipt": receipt})


def _preprocess(
    engine: Backend, control: Control, settings: Settings, on_progress: OnProgress
) -> Made:
    """Make one control picture, and keep it beside the results under a name that tells its kind."""
    asked = Request(image=control.image, preprocess=control.kind)
    name = f"{settings.output.name}-{control.kind}"
    output = settings.output.model_copy(update={"name": name})
    settings = settings.model_copy(update={"output": output})
    (ticket,) = prepare(engine, asked, settings)
    return make(engine, ticket, asked, settings, on_progress)


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
        result = replace(result, warnings=(*ticket.warnings, *result.warnings))
        saved = _saved(result, used, asked, settings)
    return Made(ticket=used, result=result, saved=saved)


def _saved(result: Result, ticket: Ticket, asked: Request, settings: Settings) -> tuple[Saved, ...]:
    return tuple(
        outputs.save(
            result,
            ticket,
            settings.output,
            asked=asked,
            now=datetime.now().astimezone(),
            rescue=settings.state_dir / "rescued",
        )
    )


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


def enlarge(request: Request, settings: Settings, *, strict: bool = False) -> list[Made]:
    """Enlarge the initial image by interpolation, which needs no engine, and keep it.

    Its ticket and sidecar name the backend `interpolation`. Raises RequestError for a method that
    is none, and with `strict` where the request holds more than can be honoured.
    """
    from imagen.interpolation import interpolated  # only ever needed here

    outputs.check(settings.output)
    outputs.refuse_unwritable(settings.output.directory)
    whole = styled(request, settings).with_values({"upscale": request.upscale or Upscale()})
    ticket, result = interpolated(sound(whole)[0])
    if strict:
        refuse_unhonoured(ticket)
    saved = _saved(result, ticket, request, settings)
    return [Made(ticket=ticket, result=result, saved=saved)]
