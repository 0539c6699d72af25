"""Makes the pictures of one request, as every command does that makes any."""

from __future__ import annotations

import os
import sys
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from imagen.cli.command_table import usage_error
from imagen.cli.terminal import echo
from imagen.delivery.background import sync_afterwards
from imagen.errors import ImagenError, OutputError, OverBudget, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from imagen.cli.options import Run
    from imagen.cli.output import More
    from imagen.config import OutputSettings, Settings
    from imagen.core.request import Request, Task
    from imagen.core.ticket import Ticket
    from imagen.outputs import SavedImage
    from imagen.pipeline.generate import Generation
    from imagen.preview import PreviewPlan


INTERPOLATION = "interpolation"
"""Stands where a backend's name would, for what needs none."""


def make(request: Request, run: Run, *, more: More | None = None) -> list[Generation]:
    """Make the pictures and tell of them; or with --dry-run tell what would be sent.

    `more` says what is to stand in the JSON besides; it is given what was made.
    """
    if run.is_stdout and (request.count or 1) > 1:
        raise usage_error(f"--output - writes one image, and --count asks for {request.count}.")
    if run.dry_run:
        _tell_plan(plan(request, run), run, more)
        return []
    with sync_afterwards(run.settings):
        return _make(request, run, more)


def _tell_plan(tickets: list[Ticket], run: Run, more: More | None) -> None:
    from imagen.cli.output import tell_plan  # with pydantic, which no help needs

    budgets = said_of_budgets(tickets, run.settings)
    tell_plan(tickets, as_json=run.as_json, more=more, budgets=budgets)


def _make(request: Request, run: Run, more: More | None) -> list[Generation]:
    from imagen.cli.output import tell

    name = run.backend or run.settings.default_backend
    made: list[Generation] = []
    preview = planned(run.settings.output, run.preview, as_json=run.as_json, quiet=run.quiet)
    failure: ImagenError | None = None
    try:
        with (
            _others_named(request, name, run.settings),
            nothing_on_stdout() if run.is_stdout else nullcontext(),
        ):
            _generate(request, run, name, made.append)
    except ImagenError as error:
        if run.as_json or not made:
            raise
        shown = sum(len(one.saved) for one in made)
        failure = error.replace(kept=error.kept[shown:])
    asked = request.asked().keys()
    tell(made, as_json=run.as_json, asked=asked, more=more, is_stdout=run.is_stdout)
    if not (run.as_json or run.quiet):
        say_painted([one.ticket.backend for one in made], run.settings)
    show_made(preview, [(one, request) for one in made])
    if failure is not None:
        raise failure
    if run.is_stdout:
        write_image(made[-1].saved)
    return made


def say_painted(backends: Sequence[str], settings: Settings) -> None:
    """On a terminal, that the mock's images are placeholders, and how to get real ones.

    Says nothing where one of these backends has another engine.
    """
    kinds = {name: block.get("type", name) for name, block in settings.backends.items()}
    if not sys.stderr.isatty() or {kinds.get(name, name) for name in backends} != {"mock"}:
        return
    sentence = "The mock paints placeholders, without a model."
    if set(kinds.values()) <= {"mock"}:
        sentence += " To set up your engines: imagen config init --detect --write"
    echo(sentence, err=True)


@contextmanager
def nothing_on_stdout() -> Iterator[None]:
    """Has an error name on stderr the images that were saved all the same."""
    try:
        yield
    except ImagenError as error:
        remedy = "\n".join((error.remedy, *map(str, error.kept))).strip()
        raise error.replace(remedy=remedy, kept=()) from error


def write_image(saved: Sequence[SavedImage]) -> None:
    """Write the bytes of the one image to standard output; its file stays.

    Raises OutputError where it is not exactly one.
    """
    images = [one.path for one in saved if one.media_type.startswith("image/")]
    if len(images) != 1:
        raise OutputError(
            f"--output - writes one image to standard output, and this run made {len(images)}.",
            remedy="Nothing is lost: every file is saved, as named above.",
        )
    sys.stdout.buffer.write(images[0].read_bytes())
    sys.stdout.buffer.flush()


def said_of_budgets(tickets: Sequence[Ticket], settings: Settings) -> list[str]:
    """What the budgets would have to say of this plan."""
    from imagen.pipeline.budgets import refuse_over_budget

    try:
        return refuse_over_budget(tickets, settings)
    except OverBudget as error:
        return [error.message]


def plan(request: Request, run: Run) -> list[Ticket]:
    """What would be sent."""
    name = run.backend or run.settings.default_backend
    with _others_named(request, name, run.settings):
        return _planned(request, run, name)


def _planned(request: Request, run: Run, name: str) -> list[Ticket]:
    from imagen.pipeline.generate import open_named, prepare, with_local_images

    request = with_local_images(request, run.settings)
    if _is_arithmetic(request, name, run.settings):
        return [_arithmetic(request, strict=run.strict)]
    with closing(open_named(name, run.settings)) as engine:
        return prepare(engine, request, run.settings, strict=run.strict)


def _generate(request: Request, run: Run, name: str, on_made: Callable[[Generation], None]) -> None:
    from imagen.cli.progress import shown
    from imagen.pipeline.generate import generate, upscale_locally

    if _is_arithmetic(request, name, run.settings):
        on_made(upscale_locally(request, run.settings, strict=run.strict)[0])
        return
    with shown(name, quiet=run.quiet) as on_progress:
        generate(
            request,
            run.settings,
            backend=name,
            strict=run.strict,
            keep_going=run.keep_going,
            on_progress=on_progress,
            on_made=on_made,
        )


def _is_arithmetic(request: Request, name: str, settings: Settings) -> bool:
    """Whether no engine is needed: so says the method, or the sidecar of what needed none."""
    from imagen.pipeline.generate import is_interpolation

    is_named = name == INTERPOLATION and name not in settings.backends
    return is_interpolation(request) or (is_named and request.task == "upscale")


def _arithmetic(request: Request, *, strict: bool) -> Ticket:
    from imagen.inputs.upscale import run_interpolation
    from imagen.pipeline.prepare import refuse_unhonoured

    ticket, _ = run_interpolation(request)
    if strict:
        refuse_unhonoured(ticket)
    return ticket


@contextmanager
def _others_named(request: Request, name: str, settings: Settings) -> Iterator[None]:
    """A task that this backend can't do may be one that another can."""
    try:
        yield
    except RequestError as error:
        task = _task(request)
        if not _is_arithmetic(request, name, settings) and not _can(name, task, settings):
            raise error.with_remedy(_others(task, settings)) from error
        raise


def _task(request: Request) -> Task:
    """What the request comes to, as far as it makes sense."""
    from imagen.inputs import check_request

    try:
        return check_request(request)[0].task
    except RequestError:
        return request.task


def _others(task: Task, settings: Settings) -> str:
    """Of the mock nothing is said: it can do everything, and nothing in earnest."""
    able = [name for name in sorted(settings.backends) if _can(name, task, settings)]
    earnest = [name for name in able if settings.backends[name].get("type", name) != "mock"]
    return f"These can: {', '.join(earnest)}." if earnest else "No other backend of yours can."


def _can(name: str, task: Task, settings: Settings) -> bool:
    """Whether this backend can do it, as far as it can be opened."""
    from imagen.pipeline.generate import open_named

    with suppress(ImagenError), closing(open_named(name, settings)) as engine:
        tasks = engine.capabilities(task).tasks
        return task in tasks or (task == "outpaint" and "inpaint" in tasks)
    return False


def planned(
    settings: OutputSettings, asked: bool | None, *, as_json: bool = False, quiet: bool = False
) -> PreviewPlan | None:
    """How pictures will be shown; None where they won't.

    Raises ConfigError where they must be shown and can't be. JSON is for programs: with it the
    terminal itself shows no picture.
    """
    is_tty = sys.stdout.isatty() and not as_json
    if asked is None and settings.preview == "auto" and not is_tty:
        return None  # without loading anything for it
    from imagen.preview import plan_preview, supports_sixel

    return plan_preview(
        settings,
        environ=os.environ,
        is_tty=is_tty,
        asked=asked,
        quiet=quiet,
        ask_terminal=supports_sixel,
    )


def show_made(preview: PreviewPlan | None, made: Iterable[tuple[Generation, Request]]) -> None:
    """Show the pictures of these runs, each with what was asked for."""
    pictures = {
        saved.path: asked
        for run, asked in made
        for saved in run.saved
        if saved.media_type.startswith("image/")
    }
    show_files(preview, pictures)


def show_files(preview: PreviewPlan | None, pictures: Mapping[Path, Request]) -> None:
    """Show these pictures, of what was asked for each; what fails is told on stderr."""
    if preview is None or not pictures:
        return
    from imagen.outputs.naming import request_slug
    from imagen.preview import show_images

    for sentence in show_images(
        preview, {path: request_slug(asked) for path, asked in pictures.items()}
    ):
        echo(sentence, err=True)
