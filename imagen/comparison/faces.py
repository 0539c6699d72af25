"""Faces of type: Pillow's own, and those of the system for characters that it lacks."""

from __future__ import annotations

import os
import sys
from functools import cache, cached_property
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ImageFont, features

from imagen.comparison import coverage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SUFFIXES = {".ttf", ".otf", ".ttc", ".otc"}
_MOST_FILES = 20_000
_MEANINGLESS = ("lastresort", "adobeblank", "redacted", "tofu", "notdef")
"""Fonts that have a sign for everything and a meaning for nothing."""
_PLAIN = ("regular", "notosans", "dejavusans", "arial", "segoeui", "unicode", "pingfang")
_FANCY = (
    *("bold", "italic", "oblique", "mono", "cond", "serif", "light", "thin", "black", "medium"),
    *("math", "narrow", "heavy", "emoji", "symbol", "cjk"),
)
_FIRST_EMOJI = 0x1F000
_STRIKES = (109, 136, 128, 160, 96, 64, 72, 32, 20, 16)
"""The sizes in which fonts of coloured bitmaps come."""


class Font:
    """One font, in any size."""

    def __init__(self, font: ImageFont.FreeTypeFont, characters: coverage.Coverage) -> None:
        self._font = font
        self._characters = characters
        self._sizes: dict[float, ImageFont.FreeTypeFont] = {}

    def has(self, text: str) -> bool:
        """Whether it has a glyph for each of these characters."""
        return all(self._characters.has(character) for character in text)

    def at(self, size: float) -> ImageFont.FreeTypeFont:
        """The font in this size; one of bitmaps in the only size it has."""
        if size not in self._sizes:
            self._sizes[size] = self._font if self.strike else self._font.font_variant(size=size)
        return self._sizes[size]

    @cached_property
    def strike(self) -> float | None:
        """The only size of a font of bitmaps; None for outlines, which have any."""
        try:
            self._font.font_variant(size=self._font.size + 1)
        except OSError:
            return self._font.size
        return None


class FontSet:
    """The faces there are, best first; those of the system are looked at only when needed."""

    def __init__(self, folders: Sequence[Path], *, shaping: bool) -> None:
        self.shaping = shaping
        """Whether letters are joined and put in order as right-to-left scripts need."""
        self._engine = ImageFont.Layout.RAQM if shaping else ImageFont.Layout.BASIC
        self._folders = folders
        self._chosen: dict[str, Font | None] = {}
        self._opened: dict[Path, Font | None] = {}
        self.own = _own()

    def covering(self, text: str) -> Font | None:
        """The first face that has all of `text`, a character with what belongs to it."""
        if text not in self._chosen:
            self._chosen[text] = self.own if self.own.has(text) else self._of_system(text)
        return self._chosen[text]

    def _of_system(self, text: str) -> Font | None:
        for path in self._order(text):
            if _coverage(path).has(text[0]) and (face := self._open(path)) and face.has(text):
                return face
        return None

    def _order(self, text: str) -> Iterator[Path]:
        if ord(text[0]) < _FIRST_EMOJI:
            return iter(self._files)
        emoji = [path for path in self._files if "emoji" in path.name.lower()]
        return chain(emoji, self._files)

    @cached_property
    def _files(self) -> list[Path]:
        found = (path for folder in self._folders for path in _fonts_in(folder))
        return sorted(dict.fromkeys(found), key=_preference)

    def _open(self, path: Path) -> Font | None:
        if path not in self._opened:
            font = next(_readable(path, self._engine), None)
            self._opened[path] = Font(font, _coverage(path)) if font else None
        return self._opened[path]


@cache
def system_fonts() -> FontSet:
    """Pillow's own face and those of this system."""
    return FontSet(tuple(_system_folders()), shaping=features.check("raqm") is True)


def _own() -> Font:
    """The face that comes with Pillow: the letters of English, which need no shaping."""
    font = ImageFont.load_default(20)
    if not isinstance(font, ImageFont.FreeTypeFont):  # pragma: no cover
        raise TypeError("Pillow was built without FreeType")
    plain = font.font_variant(layout_engine=ImageFont.Layout.BASIC)
    return Font(plain, coverage.read(BytesIO(_bytes(font))))


def _bytes(font: ImageFont.FreeTypeFont) -> bytes:
    source = font.path
    if isinstance(source, BytesIO):
        return source.getvalue()
    return Path(os.fsdecode(source)).read_bytes() if isinstance(source, str | bytes) else b""


def _system_folders() -> Iterator[Path]:
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"
        yield home / "AppData/Local/Microsoft/Windows/Fonts"
    elif sys.platform == "darwin":
        yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts")
    else:
        data = os.environ.get("XDG_DATA_HOME")
        yield from (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".fonts")
        yield (Path(data) if data else home / ".local/share") / "fonts"


def _fonts_in(folder: Path) -> Iterator[Path]:
    """The font files below `folder`; none where it can't be read."""
    left = _MOST_FILES
    for where, folders, names in os.walk(folder):
        folders.sort()
        left -= len(names)
        if left < 0:
            return
        yield from (Path(where, n) for n in names if os.path.splitext(n)[1].lower() in _SUFFIXES)


def _preference(path: Path) -> tuple[int, str]:
    """Plain sans-serif faces before all others."""
    name = path.name.lower().replace("-", "").replace(" ", "")
    plain, fancy = (sum(word in name for word in words) for words in (_PLAIN, _FANCY))
    return 2 * fancy - plain, name


@cache
def _coverage(path: Path) -> coverage.Coverage:
    if any(word in path.name.lower().replace("-", "") for word in _MEANINGLESS):
        return coverage.NONE
    try:
        with path.open("rb") as file:
            return coverage.read(file)
    except OSError:
        return coverage.NONE


def _readable(path: Path, engine: ImageFont.Layout) -> Iterator[ImageFont.FreeTypeFont]:
    """The font, in a size it has; nothing for a file that FreeType can't read."""
    for size in (20, *_STRIKES):
        try:
            yield ImageFont.truetype(str(path), size, layout_engine=engine)
        except OSError:
            continue
