"""imagen library: add existing images, and compare the library with the disk."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Group, usage_error
from imagen.cli.library_common import (
    confirm,
    count_noun,
    find_images,
    images_argument,
    open_library,
    require_terminal,
)
from imagen.cli.options import config_option, json_option, quiet_option, settings_from_options
from imagen.cli.parsing import PATH
from imagen.cli.terminal import echo
from imagen.core.text import one_line
from imagen.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen.library import ConsistencyReport, Library, LibraryImage
    from imagen.library.consistency import Inconsistency

_MAX_LINES = 20
_TOOLS = {
    "": "unknown tools",
    "a1111": "A1111",
    "civitai": "Civitai",
    "comfyui": "ComfyUI",
    "drawthings": "Draw Things",
    "easydiffusion": "Easy Diffusion",
    "fooocus": "Fooocus",
    "invokeai": "InvokeAI",
    "novelai": "NovelAI",
    "ruinedfooocus": "RuinedFooocus",
    "sd.next": "SD.Next",
    "swarmui": "SwarmUI",
    "tensorart": "TensorArt",
}
_FINDINGS = {
    "missing": "missing: {path}",
    "forgotten": "forgotten: {path}",
    "moved": "moved: {path} is now {now}",
    "changed": "changed: {path}",
    "returned": "found again: {path}",
    "untrashed": "in the trash, but not moved: {path}",
    "sidecars": "sidecar missing: {path}",
}


@click.group(cls=Group)
def library() -> None:
    """Add existing images, and compare the library with the disk."""


@library.command()
@click.argument("folders", nargs=-1, required=True, type=PATH, metavar="DIR...")
@click.option("--dry-run", is_flag=True, help="Show what would be added, and add nothing.")
@json_option
@quiet_option
@config_option
def add(
    folders: tuple[Path, ...], dry_run: bool, as_json: bool, quiet: bool, config_path: Path | None
) -> None:
    """Add the images in a folder and its subfolders.

    PNG, JPEG, WebP and AVIF files are added, with the settings that imagen or another program wrote
    into them. The files stay where they are. An image that the library has already is skipped.
    """
    from imagen.cli.progress import count_progress
    from imagen.library import add_files

    with open_library(config_path) as opened, count_progress("adding", quiet=quiet) as on_progress:
        added = add_files(opened, folders, on_progress=on_progress, is_dry=dry_run)
    if as_json:
        from imagen.views.library import AddedFilesView

        click.echo(json.dumps(AddedFilesView.of(added).as_data(), indent=2))
        return
    by_tool = Counter(_TOOLS.get(one.tool, one.tool) for one in added.added)
    of_each = ", ".join(f"{number} by {tool}" for tool, number in by_tool.most_common())
    verb = "Would add" if dry_run else "Added"
    lines = [f"{verb} {count_noun(len(added.added))}" + (f": {of_each}." if of_each else ".")]
    if added.known:
        are = "is" if added.known == 1 else "are"
        lines.append(f"{count_noun(added.known)} {are} already in the library.")
    if added.moved:
        have = "has" if len(added.moved) == 1 else "have"
        lines.append(f"{count_noun(len(added.moved))} {have} moved; the library has the new path.")
    lines += _shorten([f"Not added: {one_line(one.what, limit=300)}" for one in added.problems])
    _print(lines)


@library.command()
@click.option("--fix", is_flag=True, help="Note new paths and missing files; rewrite sidecars.")
@click.option(
    "--forget-missing", "forgets", is_flag=True, help="Remove missing images from the library."
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask first.")
@json_option
@quiet_option
@config_option
def check(
    fix: bool, forgets: bool, yes: bool, as_json: bool, quiet: bool, config_path: Path | None
) -> int:
    """Compare the library with the disk: missing, moved and changed images.

    Moved images are found by their content, in the folders that the library knows. No file is ever
    deleted. --fix also finishes moves to the trash that were interrupted. The exit code is 2 if a
    problem remains.
    """
    from imagen.cli.progress import count_progress
    from imagen.library import check_consistency, forget_missing

    if forgets and not yes:
        require_terminal("--forget-missing removes images from the library")
    with open_library(config_path) as opened:
        with count_progress("checking", quiet=quiet) as on_progress:
            report = check_consistency(opened, fix=fix, on_progress=on_progress)
        if forgets and report.missing:
            if not yes:
                _print(_finding_lines("missing", report), err=True)
                question = f"Forget {count_noun(len(report.missing), 'missing image')}?"
                confirm(f"{question} No file is deleted.", declined="Nothing was forgotten.")
            forget_missing(opened, report)
    if as_json:
        from imagen.views.library import ConsistencyView

        click.echo(json.dumps(ConsistencyView.of(report).as_data(), indent=2))
    else:
        _print(_report_lines(report))
    return 0 if report.is_ok else 2


@library.command()
@images_argument(required=False)
@click.option("--all", "fetches_all", is_flag=True, help="Fetch every image of other machines.")
@click.option(
    "--output", "-o", type=PATH, metavar="DIR", help="Folder for the copies; created if missing."
)
@json_option
@quiet_option
@config_option
def fetch(
    words: tuple[str, ...],
    fetches_all: bool,
    output: Path | None,
    as_json: bool,
    quiet: bool,
    config_path: Path | None,
) -> int:
    """Copy images that were generated on other machines to this one.

    By default they are copied into the output folder, with their sidecars. Images that are on this
    machine already are not copied. The exit code is 5 if there is no copy of an image.
    """
    from imagen.cli.progress import count_progress
    from imagen.jobs.image_files import copy_image, is_here
    from imagen.pipeline.record import open_library_synced

    if bool(words) == fetches_all:
        raise usage_error("Name images by ID or file, or give --all.")
    settings = settings_from_options(config_path)
    folder = output or settings.output.directory
    copied: list[tuple[LibraryImage, Path]] = []
    problems: list[str] = []
    with open_library_synced(settings) as opened:
        chosen = list(_iterate_images(opened)) if fetches_all else find_images(opened, words)
        missing = [image for image in chosen if not is_here(image)]
        with count_progress("copying", quiet=quiet) as on_progress:
            for done, image in enumerate(missing):
                on_progress(done, len(missing))
                try:
                    copied.append((image, copy_image(image, folder, opened, settings)))
                except OutputError as error:
                    problems.append(error.message)
    if as_json:
        from imagen.views.library import CopiedImagesView

        view = CopiedImagesView.of(copied, len(chosen) - len(missing), problems)
        click.echo(json.dumps(view.as_data(), indent=2))
    else:
        _print(str(path) for _, path in copied)
        _print(_shorten([one_line(text, limit=400) for text in problems]), err=True)
        if not missing:
            echo("Every image is on this machine already.")
    return OutputError.exit_code if problems else 0


def _iterate_images(library: Library) -> Iterator[LibraryImage]:
    """Every image that is not in the trash, newest first."""
    from imagen.library import Query, search_images

    after: int | None = None
    while True:
        page = search_images(library, Query(), after, limit=500)
        yield from page.images
        if page.after is None:
            return
        after = page.after


def _report_lines(report: ConsistencyReport) -> Iterator[str]:
    yield f"Checked {count_noun(report.checked)}."
    if report.elsewhere:
        yield f"Not checked: {count_noun(report.elsewhere)} on other machines."
    for name in _FINDINGS:
        yield from _finding_lines(name, report)
    if report.thumbnails:
        yield f"{count_noun(report.thumbnails, 'thumbnail')} without an image."
    if report.is_ok:
        yield "No problems found."
    elif report.is_fixable:
        yield "Fix what can be fixed with: imagen library check --fix"
    if report.missing:
        yield "Remove missing images from the library with: imagen library check --forget-missing"


def _finding_lines(name: str, report: ConsistencyReport) -> Iterator[str]:
    found: list[Inconsistency] = getattr(report, name)
    lines = []
    for one in found:
        line = _FINDINGS[name].format(path=one.path, now=one.now)
        lines.append(one_line(f"{line} (fixed)" if one.is_fixed else line, limit=400))
    return _shorten(lines)


def _shorten(lines: Sequence[str]) -> Iterator[str]:
    """The first lines, and how many more there are; the JSON has all."""
    yield from lines[:_MAX_LINES]
    if len(lines) > _MAX_LINES:
        yield f"… and {len(lines) - _MAX_LINES} more; --json lists them all."


def _print(lines: Iterable[str], *, err: bool = False) -> None:
    for line in lines:
        echo(line, err=err, hanging=2)
