"""imagen again: make a picture again, and tell what is not as it was."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command
from imagen.cli.completers import complete_images_and_files
from imagen.cli.generation import make, plan
from imagen.cli.options import EVERYTHING, asking, keep_going_option, run_options
from imagen.cli.parsing import FILE, prompt_text
from imagen.cli.terminal import echo
from imagen.errors import ImagenError, UnknownBackend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.cli.options import Run
    from imagen.core.request import Request
    from imagen.core.ticket import Ticket
    from imagen.outputs import SavedImage
    from imagen.pipeline.generate import Generation
    from imagen.reproduce import Drift, Found, Likeness, Remake


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A picture, and how it is to be made again."""

    found: Found
    remake: Remake
    request: Request
    """With what the user wants otherwise."""
    unchanged: Request
    run: Run
    backend: str
    kind: str
    over: dict[str, Any]
    is_graph_own: bool
    is_model_asked: bool = False
    """Whether it is another model that the user wants."""


@click.command(cls=Command)
@click.argument("picture", type=FILE, shell_complete=complete_images_and_files, metavar="FILE|ID")
@click.option("--prompt", metavar="TEXT", help="What to show instead.")
@click.option(
    "--graph", "is_graph_own", is_flag=True, help="Send the graph that made it (ComfyUI)."
)
@asking(*EVERYTHING)
@keep_going_option
@run_options
def again(
    picture: str, prompt: str | None, is_graph_own: bool, asked: dict[str, Any], run: Run
) -> None:
    """Make a picture again, and tell what is not as it was.

    FILE is an image or its sidecar, by imagen or by another program that `imagen show` reads; ID
    is one of the library. The backend that made it makes it again, unless another is named; flags
    replace the values used then.
    """
    from imagen.reproduce import is_other_model

    over = ({} if prompt is None else {"prompt": prompt_text(prompt)}) | asked
    with _its_backend_named(picture, run):
        work = _work(picture, over, run, is_graph_own=is_graph_own)
        tickets = plan(work.request, work.run)
        if _has_other_workflow(work, tickets[0]):
            work = _with_its_workflow(work)
            tickets = plan(work.request, work.run)
    work = _with_its_seed(work, tickets[0])
    unchanged = _unchanged(work, tickets[0])
    work = replace(work, is_model_asked=is_other_model(tickets[0], unchanged))
    drifts = _foreseen(work, tickets[0], unchanged)
    if not run.as_json:
        _tell_before(work, drifts)
    made = make(work.request, work.run, more=partial(_data, work, drifts))
    if made and not run.as_json:
        _tell_after(work, drifts, made)


@contextmanager
def _its_backend_named(picture: str, run: Run) -> Iterator[None]:
    """A backend that is gone was the picture's choice, not the user's."""
    try:
        yield
    except UnknownBackend as error:
        if run.backend is not None:
            raise
        remedy = f"{picture} was made by it; name another with --backend. {error.remedy}"
        raise error.replace(remedy=remedy) from error


def _work(picture: str, over: dict[str, Any], run: Run, *, is_graph_own: bool) -> _Work:
    from imagen.reproduce import (
        of_its_graph,
        refuse_untold,
        remade,
        source_of,
        with_its_workflow,
        with_own_graph,
    )

    found = source_of(picture, run.settings)
    record, settings = found.record, run.settings
    name = run.backend or record.backend or settings.default_backend
    if is_graph_own:
        settings = with_own_graph(settings, name, record.graph)
        remake = of_its_graph(record)
        unchanged = remake.request
    else:
        if run.workflow is None and name not in settings.backends and name == record.backend:
            settings = with_its_workflow(settings, name, record)
        remake = remade(record, elsewhere=record.backend not in ("", name))
        unchanged = _with_pictures(remake.request, found, over, run)
        refuse_untold(picture, unchanged, unchanged.with_values(over))
    return _Work(
        found=found,
        remake=remake,
        request=unchanged.with_values(over),
        unchanged=unchanged,
        run=replace(run, backend=name, settings=settings),
        backend=name,
        kind=str(settings.backends.get(name, {}).get("type", name)),
        over=over,
        is_graph_own=is_graph_own,
    )


def _with_pictures(request: Request, found: Found, over: dict[str, Any], run: Run) -> Request:
    """A record knows its pictures by name and hash; those that are given anew are not needed."""
    from imagen.inputs import locate_images
    from imagen.reproduce import other_places

    inputs = found.record.inputs
    given = {name: value for name, value in over.items() if name in _PICTURES}
    also = other_places(found, run.settings) if inputs else []
    return locate_images(request, inputs, found.folder, also, replaced=over).with_values(given)


_PICTURES = ("image", "mask", "references", "controls")


def _has_other_workflow(work: _Work, ticket: Ticket) -> bool:
    """Whether its backend would now run another workflow than made the image."""
    record = work.found.record
    is_open = work.run.workflow is None and not work.is_graph_own
    return is_open and work.backend == record.backend and ticket.workflow != record.workflow


def _with_its_workflow(work: _Work) -> _Work:
    from imagen.reproduce import with_its_workflow

    settings = with_its_workflow(work.run.settings, work.backend, work.found.record)
    return replace(work, run=replace(work.run, settings=settings))


def _with_its_seed(work: _Work, ticket: Ticket) -> _Work:
    """A seed that had to be drawn is drawn once: for the plan, and for the picture."""
    if not work.request.draws_seed or ticket.request.seed is None:
        return work
    return replace(work, request=work.request.with_values({"seed": ticket.request.seed}))


def _unchanged(work: _Work, ticket: Ticket) -> Ticket:
    """The ticket as it would be without what the user wants otherwise."""
    if work.over:
        with suppress(ImagenError):  # what was wrong with it may be why it is to be otherwise
            return plan(work.unchanged, replace(work.run, strict=False))[0]
    return ticket


def _foreseen(work: _Work, ticket: Ticket, unchanged: Ticket) -> list[Drift]:
    from imagen.reproduce import Chosen, foreseen

    chosen = Chosen(
        backend=work.backend,
        kind=work.kind,
        changed=frozenset(work.over),
        is_graph_own=work.is_graph_own,
    )
    return foreseen(work.found.record, work.remake, ticket, chosen, unchanged)


def _tell_before(work: _Work, drifts: Sequence[Drift]) -> None:
    """On stderr; with --dry-run it is part of what was asked for."""
    lines = [*_of_batch(work), *(f"drift: {one.sentence}" for one in drifts)]
    for line in lines if drifts else [*lines, "Nothing is known to have changed since."]:
        echo(line, err=not work.run.dry_run)


def _of_batch(work: _Work) -> Iterator[str]:
    remake, index = work.remake, work.found.record.file.get("index")
    if remake.batch_then < 2 or type(index) is not int:
        return
    number = f"It was image {index + 1} of a batch of {remake.batch_then}"
    if remake.batch > 1:
        yield f"{number}, made together: all {remake.batch} are made again."
    elif not remake.shares_noise:
        yield f"{number}, each with a seed of its own: it is made alone."


def _tell_after(work: _Work, before: Sequence[Drift], made: Sequence[Generation]) -> None:
    for drift in _seen(work, before, made):
        echo(f"drift: {drift.sentence}", err=True)
    new = _the_one(work, made)
    like = _likeness(work, new)
    if new is not None and work.remake.batch > 1:
        echo(f"The picture is {new.path}.", err=True)
    if like is not None:
        echo(like.sentence, err=True)
    elif work.found.picture is None and not work.over:
        echo(_NOT_COMPARED, err=True)


_NOT_COMPARED = "The old picture is not there, so the new one was not compared with it."


def _seen(work: _Work, before: Sequence[Drift], made: Sequence[Generation]) -> list[Drift]:
    from imagen.reproduce import seen

    found = seen(work.found.record, made[-1].result.facts, work.kind, before)
    return [one for one in found if not (work.is_model_asked and one.what == "model")]


def _the_one(work: _Work, made: Sequence[Generation]) -> SavedImage | None:
    """The picture that is meant, of those that were made."""
    last = made[-1].saved
    return next((saved for saved in last if saved.index == work.remake.index), None)


def _likeness(work: _Work, new: SavedImage | None) -> Likeness | None:
    """Compared where the old picture is there, and nothing was asked to be otherwise."""
    from imagen.reproduce import likeness

    old = work.found.picture
    return None if work.over or old is None or new is None else likeness(old, new.path)


def _data(work: _Work, before: Sequence[Drift], made: Sequence[Generation]) -> dict[str, Any]:
    """What the documented JSON has beside what every command tells that makes pictures."""
    new = _the_one(work, made) if made else None
    like = _likeness(work, new)
    drifts = [*before, *(_seen(work, before, made) if made else ())]
    old = work.found.picture
    return {
        "again": {
            "source": work.found.told_by,
            "image": str(old) if old else None,
            "batch": work.remake.batch,
            "index": work.remake.index,
            "path": str(new.path) if new else None,
            "identical": (like.identical or "no") if like else None,
            "difference": like.difference if like else None,
        },
        "drift": [_drift(one) for one in drifts],
    }


def _drift(drift: Drift) -> dict[str, Any]:
    named = {name: getattr(drift, name) for name in ("what", "name", "then", "now", "why")}
    return named | {"sentence": drift.sentence}
