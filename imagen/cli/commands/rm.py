"""imagen rm: pictures into the trash, out of it again, or gone for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.library_common import (
    confirm,
    find_images,
    images_argument,
    open_library,
    print_images,
    reload_images,
    require_terminal,
)
from imagen.cli.options import config_option, json_option
from imagen.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen.library import Library, LibraryImage

_PAGE = 1000


@click.command(cls=Command)
@images_argument(required=False)
@click.option("--restore", is_flag=True, help="Out of the trash again.")
@click.option("--purge", is_flag=True, help="Delete for good, with their files.")
@click.option("--all-trashed", is_flag=True, help="With --purge: all that is in the trash.")
@click.option("--yes", "-y", is_flag=True, help="Don't ask before that.")
@json_option
@config_option
def rm(
    words: tuple[str, ...],
    restore: bool,
    purge: bool,
    all_trashed: bool,
    yes: bool,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Put pictures into the trash; their files stay where they are.

    What is in the trash is listed by `imagen history --trash` alone. With --purge pictures and
    their sidecars are deleted; what they did cost stays in the ledger.
    """
    _refuse_nonsense(words, restore=restore, purge=purge, all_trashed=all_trashed)
    with open_library(config_path) as library:
        pictures = _trashed_here(library) if all_trashed else find_images(library, words)
        if purge:
            _purge(library, pictures, asks=not yes, as_json=as_json)
        else:
            _move(library, pictures, restore=restore, as_json=as_json)


def _refuse_nonsense(
    words: tuple[str, ...], *, restore: bool, purge: bool, all_trashed: bool
) -> None:
    if restore and purge:
        raise usage_error("--restore and --purge can't go together.")
    if all_trashed and (words or not purge):
        raise usage_error("--all-trashed goes with --purge, and without any ID.")
    if not words and not all_trashed:
        raise usage_error("Missing argument 'ID|FILE...'.")


def _trashed_here(library: Library) -> list[LibraryImage]:
    """All that is in the trash and can be deleted on this machine."""
    from imagen.library.tags import is_here

    trashed = list(_trashed(library))
    here = [picture for picture in trashed if is_here(picture)]
    if len(here) < len(trashed):
        number = _pictures(len(trashed) - len(here))
        echo(f"Left in the trash, as they lie on other machines: {number}.", err=True)
    return here


def _trashed(library: Library) -> Iterator[LibraryImage]:
    from imagen.library import Query, search_images

    after: int | None = None
    while True:
        found, after = search_images(library, Query(in_trash=True), after, _PAGE)
        yield from found
        if after is None:
            return


def _move(
    library: Library, pictures: Sequence[LibraryImage], *, restore: bool, as_json: bool
) -> None:
    from imagen.library.tags import trash, untrash

    (untrash if restore else trash)(library, pictures)
    pictures = reload_images(library, pictures)
    print_images(pictures, lambda picture: str(picture.path), heading="path", as_json=as_json)
    ids = " ".join(picture.id for picture in pictures)
    where = "Out of" if restore else "Into"
    back = "" if restore else f" Back with: imagen rm --restore {ids}"
    echo(f"{where} the trash: {_pictures(len(pictures))}.{back}", err=True)


def _purge(library: Library, pictures: list[LibraryImage], *, asks: bool, as_json: bool) -> None:
    from imagen.library.tags import purge, trash

    if asks and pictures:
        _ask(pictures)
    trash(library, [picture for picture in pictures if not picture.is_trashed])
    pictures = reload_images(library, pictures)
    left = purge(library, pictures)
    print_images(
        pictures,
        lambda picture: str(picture.path),
        heading="path",
        as_json=as_json,
        left=[str(path) for path in left],
    )
    for sentence in _purged(pictures, left):
        echo(sentence, err=True)


def _ask(pictures: Sequence[LibraryImage]) -> None:
    require_terminal("--purge deletes for good")
    question = f"Delete {_pictures(len(pictures))}, {_bytes(pictures)}, for good?"
    confirm(question, declined="Nothing was deleted.")


def _purged(pictures: Sequence[LibraryImage], left: Iterable[Path]) -> Iterator[str]:
    told = f", {_bytes(pictures)}" if pictures else ""
    yield f"Deleted for good: {_pictures(len(pictures))}{told}."
    for path in left:
        yield f"{path} was left: it holds something else by now, or is another picture's too."


def _pictures(number: int) -> str:
    return "1 picture" if number == 1 else f"{number} pictures"


def _bytes(pictures: Iterable[LibraryImage]) -> str:
    """`12 KB`, `3.1 MB`: of all together."""
    total = sum(picture.size_bytes for picture in pictures)
    return f"{total / 1e6:.1f} MB" if total >= 1e6 else f"{max(1, round(total / 1e3))} KB"
