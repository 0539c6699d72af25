"""Generate the images of one request, show previews, and report the result."""

from __future__ import annotations

import os
import sys
from contextlib import closing, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from imagen.cli.command_table import usage_error
from imagen.cli.queue_options import print_submission
from imagen.cli.terminal import echo
from imagen.errors import ImagenError, OutputError, OverBudget, RequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from imagen.cli.options import RunOptions
    from imagen.cli.output import MoreJson
    from imagen.config import OutputSettings, Settings
    from imagen.core.request import Request, Task
    from imagen.core.ticket import Ticket
    from imagen.jobs.submit import SubmitOptions
    from imagen.outputs import SavedImage
    from imagen.pipeline.generate import Generation
    from imagen.preview import PreviewPlan

INTERPOLATION = "interpolation"
"""The backend name of images that are upscaled without an engine."""

_RECORDED: ContextVar[list[tuple[Request, RunOptions]] | None] = ContextVar(
    "recorded", default=None
)
"""While requests are recorded, those so far."""


@contextmanager
def record_requests() -> Iterator[list[tuple[Request, RunOptions]]]:
    """A list that gets the requests of commands in the block, which are then not run."""
    recorded: list[tuple[Request, RunOptions]] = []
    token = _RECORDED.set(recorded)
    try:
        yield recorded
    finally:
        _RECORDED.reset(token)


def is_recording() -> bool:
    """Whether the requests of commands are recorded, and not run."""
    return _RECORDED.get() is not None


def generate_and_report(
    request: Request | Sequence[Request], run: RunOptions, *, more: MoreJson | None = None
) -> list[Generation]:
    """Generate the images and print the result; with --dry-run print the plan.

    Several requests are for one backend and one task, and are one result. `more` adds fields to the
    JSON; it gets the generations.
    """
    requests = tuple(request) if isinstance(request, list | tuple) else (request,)
    if (recorded := _RECORDED.get()) is not None:
        recorded += ((one, run) for one in requests)
        return []
    images = sum(one.count or 1 for one in requests)
    if run.is_stdout and images > 1:
        raise usage_error(f"--output - writes one image, but these are {images}.")
    if run.dry_run:
        from imagen.cli.output import print_plan  # imports pydantic, which --help does not need

        tickets = [ticket for one in requests for ticket in plan_request(one, run)]
        budgets = describe_budgets(tickets, run.settings)
        print_plan(tickets, as_json=run.as_json, more=more, budgets=budgets)
        return []
    if run.queue.is_detached:
        submit_and_report(requests, run)
        return []
    from imagen.delivery.background import sync_afterwards

    with sync_afterwards(run.settings):
        return _generate(requests, run, more)


def _generate(
    requests: Sequence[Request], run: RunOptions, more: MoreJson | None
) -> list[Generation]:
    from imagen.cli.output import print_generations
    from imagen.cli.progress import show_progress
    from imagen.pipeline.generate import generate, upscale_locally

    generations: list[Generation] = []
    previews = plan_previews(run.settings.output, run.preview, as_json=run.as_json, quiet=run.quiet)
    failure: ImagenError | None = None
    try:
        with (
            _suggest_backends(requests[0], run),
            images_on_stderr() if run.is_stdout else nullcontext(),
        ):
            if _needs_no_engine(requests[0], run):
                for one in requests:
                    generations += upscale_locally(one, run.settings, strict=run.strict)
            else:
                name = _backend_name(run)
                with show_progress(name, quiet=run.quiet) as on_progress:
                    generate(
                        requests,
                        run.settings,
                        backend=name,
                        strict=run.strict,
                        keep_going=run.keep_going,
                        on_progress=on_progress,
                        on_made=generations.append,
                    )
    except ImagenError as error:
        if run.as_json or not generations:
            raise
        shown = sum(len(each.saved) for each in generations)
        failure = error.replace(kept=error.kept[shown:])
    print_generations(
        generations,
        as_json=run.as_json,
        requested=requests[0].asked().keys(),
        more=more,
        is_stdout=run.is_stdout,
    )
    if not (run.as_json or run.quiet):
        explain_placeholders([each.ticket.backend for each in generations], run.settings)
    is_one = len(requests) == 1
    show_previews(previews, [(g, requests[0] if is_one else g.ticket.request) for g in generations])
    if failure is not None:
        raise failure
    if run.is_stdout:
        write_image(generations[-1].saved)
    return generations


def submit_and_report(requests: Sequence[Request], run: RunOptions) -> None:
    """Submit the requests to the queue and print the ID of their job."""
    from imagen.jobs.submit import submit_request

    options = submit_options(requests[0], run)
    with _suggest_backends(requests[0], run):
        submission = submit_request(requests, run.settings, options)
    print_submission(submission, as_json=run.as_json, quiet=run.quiet)


def submit_options(request: Request, run: RunOptions) -> SubmitOptions:
    """How a command would submit this request to the queue."""
    name = _backend_name(run)
    has_workflow = run.workflow is not None
    return run.queue.as_submit_options(
        INTERPOLATION if _needs_no_engine(request, run) else name,
        strict=run.strict,
        over_budget=run.over_budget,
        workflow=str(run.settings.backends[name]["workflow"]) if has_workflow else "",
    )


def expand_prompts(
    request: Request,
    settings: Settings,
    *,
    literal: bool = False,
    combinatorial: bool = False,
    finished: Collection[str] = (),
) -> list[Request]:
    """The requests that a request with wildcards in its prompts stands for.

    Each image has its own seed and so its own prompt; `combinatorial` requests every combination.
    Texts that are `finished` have no wildcards. Raises RequestError for a fault in a wildcard.
    """
    if combinatorial and literal:
        raise usage_error("--combinatorial and --literal exclude each other. Use one of them.")
    if literal:
        return [request]
    from imagen.batch.expand import combine_request, count_combinations, expand_request
    from imagen.batch.wildcards import Wildcards
    from imagen.core.request import LARGEST_COUNT

    wildcards = Wildcards(settings.wildcard_dirs)
    if not combinatorial:
        return expand_request(request, wildcards, settings, finished=finished)
    images = count_combinations(request, wildcards, finished) * (request.count or 1)
    if images > LARGEST_COUNT:
        raise RequestError(
            f"The combinations are {images:,} images, and one command generates {LARGEST_COUNT:,}.",
            remedy="Write the prompt into a file, and use: imagen batch FILE --combinatorial",
        )
    return list(combine_request(request, wildcards, settings, finished=finished))


def plan_request(request: Request, run: RunOptions) -> list[Ticket]:
    """The tickets that would be sent."""
    from imagen.pipeline.generate import open_named, prepare, with_local_images
    from imagen.pipeline.prepare import refuse_unhonoured

    with _suggest_backends(request, run):
        request = with_local_images(request, run.settings)
        if not _needs_no_engine(request, run):
            with closing(open_named(_backend_name(run), run.settings)) as engine:
                return prepare(engine, request, run.settings, strict=run.strict)
        from imagen.inputs.upscale import run_interpolation

        ticket, _ = run_interpolation(request)
        if run.strict:
            refuse_unhonoured(ticket)
        return [ticket]


def describe_budgets(tickets: Sequence[Ticket], settings: Settings) -> list[str]:
    """What the budgets would say about these tickets."""
    from imagen.pipeline.budgets import refuse_over_budget

    try:
        return refuse_over_budget(tickets, settings)
    except OverBudget as error:
        return [error.message]


def explain_placeholders(backends: Sequence[str], settings: Settings) -> None:
    """On a terminal, say that the mock's images are placeholders, and how to get real ones.

    Nothing is said if one of these backends has another engine.
    """
    kinds = {name: block.get("type", name) for name, block in settings.backends.items()}
    if not sys.stderr.isatty() or {kinds.get(name, name) for name in backends} != {"mock"}:
        return
    sentence = "The mock backend paints placeholders; it runs no model."
    if set(kinds.values()) <= {"mock"}:
        sentence += " To set up your engines: imagen config init --detect --write"
    echo(sentence, err=True)


# --- an image on standard output ---


@contextmanager
def images_on_stderr() -> Iterator[None]:
    """Make an error list the images that were saved on stderr instead of stdout."""
    try:
        yield
    except ImagenError as error:
        remedy = "\n".join((error.remedy, *map(str, error.kept))).strip()
        raise error.replace(remedy=remedy, kept=()) from error


def write_image(saved: Sequence[SavedImage]) -> None:
    """Write the one image to standard output; raises OutputError if there is not exactly one."""
    images = [one.path for one in saved if one.media_type.startswith("image/")]
    if len(images) != 1:
        raise OutputError(
            f"--output - writes one image to standard output, but {len(images)} were generated.",
            remedy="Nothing is lost: all files were saved, as listed above.",
        )
    sys.stdout.buffer.write(images[0].read_bytes())
    sys.stdout.buffer.flush()


# --- previews ---


def plan_previews(
    settings: OutputSettings, preview: bool | None, *, as_json: bool = False, quiet: bool = False
) -> PreviewPlan | None:
    """How images will be shown; None if they will not be.

    Raises ConfigError if they have to be shown and cannot be. With --json, which programs read, the
    terminal itself shows no images.
    """
    is_tty = sys.stdout.isatty() and not as_json
    if preview is None and settings.preview == "auto" and not is_tty:
        return None  # without importing anything
    from imagen.preview import plan_preview, supports_sixel

    return plan_preview(
        settings,
        environ=os.environ,
        is_tty=is_tty,
        asked=preview,
        quiet=quiet,
        ask_terminal=supports_sixel,
    )


def show_previews(
    previews: PreviewPlan | None, generations: Iterable[tuple[Generation, Request]]
) -> None:
    """Show the images of these generations, each labelled by its request."""
    images = {
        saved.path: request
        for each, request in generations
        for saved in each.saved
        if saved.media_type.startswith("image/")
    }
    show_files(previews, images)


def show_files(previews: PreviewPlan | None, images: Mapping[Path, Request]) -> None:
    """Show these images, each labelled by its request; problems are reported on stderr."""
    if previews is None or not images:
        return
    from imagen.outputs.naming import request_slug
    from imagen.preview import show_images

    labels = {path: request_slug(request) for path, request in images.items()}
    for sentence in show_images(previews, labels):
        echo(sentence, err=True)


# --- which backend ---


def _backend_name(run: RunOptions) -> str:
    return run.backend or run.settings.default_backend


def _needs_no_engine(request: Request, run: RunOptions) -> bool:
    """Whether this is interpolation, by its method or by the sidecar it comes from."""
    from imagen.pipeline.generate import is_interpolation

    name = _backend_name(run)
    is_named = name == INTERPOLATION and name not in run.settings.backends
    return is_interpolation(request) or (is_named and request.task == "upscale")


@contextmanager
def _suggest_backends(request: Request, run: RunOptions) -> Iterator[None]:
    """If the backend cannot do the task, name the backends that can."""
    try:
        yield
    except RequestError as error:
        from imagen.inputs import check_request

        task = request.task
        with suppress(RequestError):
            task = check_request(request)[0].task
        settings = run.settings
        if _needs_no_engine(request, run) or _can_do(_backend_name(run), task, settings):
            raise
        able = [
            name
            for name, block in sorted(settings.backends.items())
            if block.get("type", name) != "mock" and _can_do(name, task, settings)
        ]
        remedy = f"Backends that can do it: {', '.join(able)}."
        remedy = remedy if able else "No other configured backend can do it."
        raise error.with_remedy(remedy) from error


def _can_do(name: str, task: Task, settings: Settings) -> bool:
    """Whether this backend can do the task; False if it cannot be opened."""
    from imagen.pipeline.generate import open_named

    with suppress(ImagenError), closing(open_named(name, settings)) as engine:
        tasks = engine.capabilities(task).tasks
        return task in tasks or (task == "outpaint" and "inpaint" in tasks)
    return False
