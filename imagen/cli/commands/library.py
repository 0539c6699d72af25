"""imagen library: take pictures in, and compare the library with the disk."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Group
from imagen.cli.library_common import confirm, require_terminal
from imagen.cli.options import config_option, json_option, quiet_option, settings_from_options
from imagen.cli.parsing import PATH
from imagen.cli.terminal import echo
from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from imagen.library import AddedFiles, ConsistencyReport, Library
    from imagen.library.consistency import Inconsistency

_MOST_SAID = 20


@click.group(cls=Group)
def library() -> None:
    """Take pictures in, and compare the library with the disk."""


@library.command()
@click.argument("folders", nargs=-1, required=True, type=PATH, metavar="DIR...")
@click.option("--dry-run", is_flag=True, help="Tell what would be taken in, and take in nothing.")
@json_option
@quiet_option
@config_option
def add(
    folders: tuple[Path, ...], dry_run: bool, as_json: bool, quiet: bool, config_path: Path | None
) -> None:
    """Take in the pictures that lie below a folder.

    It adds PNG, JPEG, WebP and AVIF images: with their settings if imagen or another program wrote
    them, else as files alone. The files stay where they are; each is added once.
    """
    from imagen.cli.progress import count_progress
    from imagen.library import add_files as add_to

    with _open(config_path) as opened, count_progress("taking in", quiet=quiet) as on_progress:
        added = add_to(opened, folders, on_progress=on_progress, is_dry=dry_run)
    if as_json:
        click.echo(json.dumps(_added(added), indent=2))
        return
    _say(_added_lines(added, is_dry=dry_run))


@library.command()
@click.option("--mend", is_flag=True, help="Note what moved or is gone; rewrite lost sidecars.")
@click.option("--forget-missing", "forgets", is_flag=True, help="Take out what is missing.")
@click.option("--yes", "-y", is_flag=True, help="Don't ask before that.")
@json_option
@quiet_option
@config_option
def check(
    mend: bool, forgets: bool, yes: bool, as_json: bool, quiet: bool, config_path: Path | None
) -> int:
    """Compare the library with the disk: what is missing, moved or changed.

    Moved pictures are found by their content, in the folders that the library knows. No picture is
    ever deleted. The exit code is 2 where something is wrong and was not mended.
    """
    from imagen.cli.progress import count_progress
    from imagen.library import check_consistency as compare

    if forgets and not yes:
        require_terminal("--forget-missing takes pictures out of the library")
    with _open(config_path) as opened:
        with count_progress("checking", quiet=quiet) as on_progress:
            report = compare(opened, mend=mend, on_progress=on_progress)
        if forgets and report.missing:
            _forget(opened, report, asks=not yes)
    if as_json:
        click.echo(json.dumps(_report(report), indent=2))
    else:
        _say(_report_lines(report))
    return 0 if report.is_sound else 2


def _forget(opened: Library, report: ConsistencyReport, *, asks: bool) -> None:
    from imagen.library import forget_missing

    if asks:
        _say(_listed("missing", report), err=True)
        number = len(report.missing)
        are = "that is" if number == 1 else "that are"
        question = f"Forget {_pictures(number)} {are} not there? No file is deleted."
        confirm(question, declined="Nothing was forgotten.")
    forget_missing(opened, report)


@contextmanager
def _open(config_path: Path | None) -> Iterator[Library]:
    from imagen.pipeline.record import open_library_synced

    with open_library_synced(settings_from_options(config_path)) as opened:
        yield opened


def _say(lines: Iterable[str], *, err: bool = False) -> None:
    for line in lines:
        echo(line, err=err, hanging=2)


_TOOLS = {
    "": "unknown",
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


def _added_lines(added: AddedFiles, *, is_dry: bool) -> Iterator[str]:
    by_tool = Counter(_TOOLS.get(one.tool, one.tool) for one in added.taken)
    of_each = ", ".join(f"{number} of {tool}" for tool, number in by_tool.most_common())
    would = "Would take in" if is_dry else "Took in"
    yield f"{would} {_pictures(len(added.taken))}" + (f": {of_each}." if of_each else ".")
    if added.known:
        yield f"{_pictures(added.known)} known already."
    if added.moved:
        yield f"{_pictures(len(added.moved))} moved since; the library knows their new places."
    yield from _some(added.troubles, lambda one: f"Not taken in: {one_line(one.what, limit=300)}")


def _pictures(number: int) -> str:
    return "1 picture" if number == 1 else f"{number} pictures"


def _some(found: Iterable[Any], said: Callable[[Any], str]) -> Iterator[str]:
    """The first lines, and how many more there are: all of them stand in the JSON."""
    listed = list(found)
    yield from map(said, listed[:_MOST_SAID])
    if len(listed) > _MOST_SAID:
        yield f"… and {len(listed) - _MOST_SAID} more; --json lists them all."


def _added(added: AddedFiles) -> dict[str, Any]:
    return {
        "taken": [
            {"path": str(path), "id": id, "tool": tool, "has_settings": tells}
            for path, id, tool, tells in added.taken
        ],
        "known": added.known,
        "moved": [str(path) for path in added.moved],
        "troubles": [{"path": str(path), "what": what} for path, what in added.troubles],
        "skipped": added.skipped,
    }


_FINDINGS = ("missing", "forgotten", "moved", "changed", "returned", "sidecars")
_SAYS = {
    "missing": "missing: {path}",
    "forgotten": "forgotten: {path}",
    "moved": "moved: {path} is now {now}",
    "changed": "changed: {path}",
    "returned": "there again: {path}",
    "sidecars": "sidecar lost: of {path}",
}


def _report_lines(report: ConsistencyReport) -> Iterator[str]:
    yield f"{_pictures(report.checked)} looked at."
    if report.elsewhere:
        yield f"{_pictures(report.elsewhere)} on other machines, not looked at."
    for name in _FINDINGS:
        yield from _listed(name, report)
    if report.thumbnails:
        yield f"{report.thumbnails} thumbnails of no picture."
    if report.is_sound:
        yield "All is as it should be."
    elif report.is_mendable:
        yield "Note new places and rewrite sidecars with: imagen library check --mend"
    if report.missing:
        yield "Be rid of what is missing with: imagen library check --forget-missing"


def _listed(name: str, report: ConsistencyReport) -> Iterator[str]:
    return _some(getattr(report, name), partial(_finding_line, name))


def _finding_line(name: str, one: Inconsistency) -> str:
    line = _SAYS[name].format(path=one.path, now=one.now)
    return one_line(f"{line} (mended)" if one.is_mended else line, limit=400)


def _report(report: ConsistencyReport) -> dict[str, Any]:
    found = {name: [_finding(one) for one in getattr(report, name)] for name in _FINDINGS}
    return {
        "ok": report.is_sound,
        "checked": report.checked,
        "elsewhere": report.elsewhere,
        **found,
        "thumbnails": report.thumbnails,
    }


def _finding(one: Inconsistency) -> dict[str, Any]:
    now = str(one.now) if one.now else None
    return {"id": one.id, "path": str(one.path), "now": now, "is_mended": one.is_mended}
