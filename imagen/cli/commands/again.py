"""imagen again: regenerate an image and report what changed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command
from imagen.cli.completers import complete_images_and_files
from imagen.cli.generation import generate_and_report, plan_request
from imagen.cli.options import (
    ALL_REQUEST_OPTIONS,
    keep_going_option,
    request_options,
    run_options,
)
from imagen.cli.parsing import FILE, read_prompt
from imagen.cli.terminal import echo
from imagen.errors import ImagenError, RequestError, UnknownBackend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.cli.options import RunOptions
    from imagen.core.request import Request
    from imagen.core.ticket import Ticket
    from imagen.outputs import SavedImage
    from imagen.pipeline.generate import Generation
    from imagen.reproduce import Drift, ImageSource, Reproduction, Similarity

_IMAGE_FIELDS = ("image", "mask", "references", "controls")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reproduction:
    """An image, and how it is regenerated."""

    source: ImageSource
    remake: Reproduction
    request: Request
    """The original request with the user's changes."""
    original: Request
    changes: dict[str, object]
    run: RunOptions
    backend: str
    kind: str
    uses_own_graph: bool
    has_other_model: bool = False
    """Whether the user asked for another model."""


@click.command(cls=Command)
@click.argument("source", type=FILE, shell_complete=complete_images_and_files, metavar="FILE|ID")
@click.option("--prompt", metavar="TEXT", help="Use another prompt.")
@click.option(
    "--graph",
    "uses_own_graph",
    is_flag=True,
    help="Send the graph that is stored in the image (ComfyUI).",
)
@request_options(*ALL_REQUEST_OPTIONS)
@keep_going_option
@run_options
def again(
    source: str,
    prompt: str | None,
    uses_own_graph: bool,
    values: dict[str, object],
    run: RunOptions,
) -> None:
    """Regenerate an image and report what changed.

    FILE is an image or its sidecar, by imagen or by another program that `imagen show` reads; ID is
    an image of the library. The backend that generated it is used unless --backend names another;
    other options replace the original values.
    """
    from imagen.reproduce import with_recorded_workflow

    changes = ({} if prompt is None else {"prompt": read_prompt(prompt)}) | values
    try:
        reproduction = _prepare(source, changes, run, uses_own_graph=uses_own_graph)
        record = reproduction.source.record
        may_choose = (
            run.workflow is None and not uses_own_graph and reproduction.backend == record.backend
        )
        tickets = []
        try:
            tickets = plan_request(reproduction.request, reproduction.run)
        except RequestError:  # the backend's workflow may need more than the recorded one
            if not may_choose:
                raise
        if may_choose and (not tickets or tickets[0].workflow != record.workflow):
            settings = with_recorded_workflow(
                reproduction.run.settings, reproduction.backend, record
            )
            reproduction = replace(reproduction, run=replace(reproduction.run, settings=settings))
            tickets = plan_request(reproduction.request, reproduction.run)
    except UnknownBackend as error:
        if run.backend is not None:
            raise
        remedy = f"It generated {source}. Choose another with --backend. {error.remedy}"
        raise error.replace(remedy=remedy) from error
    seed = tickets[0].request.seed
    if (
        reproduction.request.draws_seed and seed is not None
    ):  # draw it once: for the plan and the image
        reproduction = replace(
            reproduction, request=reproduction.request.with_values({"seed": seed})
        )
    is_other, drifts = _predict_drift(reproduction, tickets[0])
    reproduction = replace(reproduction, has_other_model=is_other)
    if not run.as_json:
        lines = [*_batch_lines(reproduction), *(f"drift: {drift.sentence}" for drift in drifts)]
        for line in lines if drifts else [*lines, "No changes since then are known."]:
            echo(line, err=not run.dry_run)  # with --dry-run this is the output
    generations = generate_and_report(
        reproduction.request, reproduction.run, more=partial(_json, reproduction, drifts)
    )
    if generations and not run.as_json:
        _print_result(reproduction, drifts, generations)


def _predict_drift(reproduction: _Reproduction, ticket: Ticket) -> tuple[bool, list[Drift]]:
    """Whether the user's changes choose another model, and what will differ besides them."""
    from imagen.reproduce import ReproductionTarget, has_other_model, predict_drift

    original = ticket
    if reproduction.changes:
        with suppress(ImagenError):  # the changes may repair what was wrong with it
            run = replace(reproduction.run, strict=False)
            original = plan_request(reproduction.original, run)[0]
    target = ReproductionTarget(
        backend=reproduction.backend,
        kind=reproduction.kind,
        changed=frozenset(reproduction.changes),
        is_graph_own=reproduction.uses_own_graph,
    )
    record, remake = reproduction.source.record, reproduction.remake
    drifts = predict_drift(record, remake, ticket, target, original)
    return has_other_model(ticket, original), drifts


def _prepare(
    source: str, changes: dict[str, object], run: RunOptions, *, uses_own_graph: bool
) -> _Reproduction:
    from imagen.inputs import locate_images
    from imagen.reproduce import (
        find_input_places,
        find_source,
        refuse_without_content,
        reproduce_graph,
        reproduce_request,
        with_recorded_graph,
        with_recorded_workflow,
    )

    origin = find_source(source, run.settings)
    record, settings = origin.record, run.settings
    name = run.backend or record.backend or settings.default_backend
    if uses_own_graph:
        settings = with_recorded_graph(settings, name, record.graph)
        remake = reproduce_graph(record)
        original = remake.request
    else:
        if run.workflow is None and name not in settings.backends and name == record.backend:
            settings = with_recorded_workflow(settings, name, record)
        remake = reproduce_request(record, elsewhere=record.backend not in ("", name))
        folders = find_input_places(origin, run.settings) if record.inputs else []
        original = locate_images(
            remake.request, record.inputs, origin.folder, folders, replaced=changes
        ).with_values({field: changes[field] for field in _IMAGE_FIELDS if field in changes})
        refuse_without_content(source, original, original.with_values(changes))
    return _Reproduction(
        source=origin,
        remake=remake,
        request=original.with_values(changes),
        original=original,
        changes=changes,
        run=replace(run, backend=name, settings=settings),
        backend=name,
        kind=str(settings.backends.get(name, {}).get("type", name)),
        uses_own_graph=uses_own_graph,
    )


def _batch_lines(reproduction: _Reproduction) -> Iterator[str]:
    remake, index = reproduction.remake, reproduction.source.record.file.get("index")
    if remake.batch_then < 2 or type(index) is not int:
        return
    number = f"This was image {index + 1} of a batch of {remake.batch_then}"
    if remake.batch > 1:
        yield f"{number}, generated together: all {remake.batch} are regenerated."
    elif not remake.shares_noise:
        yield f"{number}, each with its own seed: only this one is regenerated."


def _print_result(
    reproduction: _Reproduction, before: Sequence[Drift], generations: Sequence[Generation]
) -> None:
    for drift in _detect_drift(reproduction, before, generations):
        echo(f"drift: {drift.sentence}", err=True)
    new = _find_new_image(reproduction, generations)
    likeness = _compare(reproduction, new)
    if new is not None and reproduction.remake.batch > 1:
        echo(f"The image is {new.path}.", err=True)
    if likeness is not None:
        echo(likeness.sentence, err=True)
    elif reproduction.source.image is None and not reproduction.changes:
        echo("The original image was not found, so the new one was not compared with it.", err=True)


def _detect_drift(
    reproduction: _Reproduction, before: Sequence[Drift], generations: Sequence[Generation]
) -> list[Drift]:
    from imagen.reproduce import detect_drift

    drifts = detect_drift(
        reproduction.source.record, generations[-1].result.facts, reproduction.kind, before
    )
    return [
        drift for drift in drifts if not (reproduction.has_other_model and drift.what == "model")
    ]


def _find_new_image(
    reproduction: _Reproduction, generations: Sequence[Generation]
) -> SavedImage | None:
    """The image of the batch that corresponds to the original."""
    kind = str(reproduction.source.record.file.get("media_type", "image/")).partition("/")[0]
    files = [
        file
        for file in generations[-1].saved
        if file.media_type.startswith(f"{kind}/") and file.index == reproduction.remake.index
    ]
    original = reproduction.source.image
    if len(files) < 2 or original is None:
        return files[0] if files else None
    # Several output nodes have an image of this index, and the record does not name the node.
    from imagen.reproduce import measure_similarity

    likeness = [measure_similarity(original, file.path) for file in files]
    differences = [1.0 if each is None else each.difference for each in likeness]
    return files[differences.index(min(differences))]


def _compare(reproduction: _Reproduction, new: SavedImage | None) -> Similarity | None:
    """Compare with the original, if it exists and the user changed nothing."""
    from imagen.reproduce import measure_similarity

    old = reproduction.source.image
    return (
        None
        if reproduction.changes or old is None or new is None
        else measure_similarity(old, new.path)
    )


def _json(
    reproduction: _Reproduction, before: Sequence[Drift], generations: Sequence[Generation]
) -> dict[str, object]:
    """The documented JSON fields that only this command has."""
    new = _find_new_image(reproduction, generations) if generations else None
    likeness = _compare(reproduction, new)
    drifts = [*before, *(_detect_drift(reproduction, before, generations) if generations else ())]
    old = reproduction.source.image
    return {
        "again": {
            "source": reproduction.source.told_by,
            "image": str(old) if old else None,
            "batch": reproduction.remake.batch,
            "index": reproduction.remake.index,
            "path": str(new.path) if new else None,
            "identical": (likeness.identical or "no") if likeness else None,
            "difference": likeness.difference if likeness else None,
        },
        "drift": [
            {
                name: getattr(drift, name)
                for name in ("what", "name", "then", "now", "why", "sentence")
            }
            for drift in drifts
        ],
    }
