"""Fonts for a contact sheet: Pillow's own, and the system's for characters that it lacks."""

from __future__ import annotations

import logging
import os
import sys
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ImageFont, features

from imagen.core.image_file import DECODE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_BUILT_IN = frozenset((*map(chr, range(0x20, 0x7F)), *"©«°±´·»‘’“”…‹›⁄™"))
"""The characters of the font that comes with Pillow; to look them up takes 40 ms."""
_EXTENSIONS = {".ttf", ".otf", ".ttc", ".otc"}
_MOST_FILES = 20_000
_PLACEHOLDER_FONTS = ("lastresort", "adobeblank", "redacted", "tofu", "notdef")
"""Fonts that have a glyph for every character and show none of them."""
_PLAIN = ("regular", "notosans", "dejavusans", "arial", "segoeui", "unicode", "pingfang")
_FANCY = (
    *("bold", "italic", "oblique", "mono", "cond", "serif", "light", "thin", "black", "medium"),
    *("math", "narrow", "heavy", "emoji", "symbol", "cjk"),
)
_FIRST_EMOJI = 0x1F000
_BITMAP_SIZES = (109, 136, 128, 160, 96, 64, 72, 32, 20, 16)
"""The sizes that fonts of coloured bitmaps have."""


class Font:
    """One font, in any size."""

    def __init__(self, font: ImageFont.FreeTypeFont, characters: Collection[str]) -> None:
        self._font = font
        self._characters = characters
        self._sizes: dict[float, ImageFont.FreeTypeFont] = {}

    def has(self, text: str) -> bool:
        """Whether it has a glyph for each of these characters."""
        return all(character in self._characters for character in text)

    def at(self, size: float) -> ImageFont.FreeTypeFont:
        """The font in this size; a bitmap font in the only size it has."""
        if size not in self._sizes:
            is_bitmap = self.bitmap_size is not None
            self._sizes[size] = self._font if is_bitmap else self._font.font_variant(size=size)
        return self._sizes[size]

    @cached_property
    def bitmap_size(self) -> float | None:
        """The only size of a bitmap font; None for outlines, which have any size."""
        try:
            self._font.font_variant(size=self._font.size + 1)
        except OSError:
            return self._font.size
        return None


class FontSet:
    """The available fonts; those of the system are read only when they are needed."""

    def __init__(self, folders: Sequence[Path], *, shaping: bool) -> None:
        self.shaping = shaping
        """Whether Pillow joins and orders letters (raqm), as Arabic and Hindi need."""
        own = ImageFont.load_default(20)
        if not isinstance(own, ImageFont.FreeTypeFont):  # pragma: no cover
            raise TypeError("Pillow was built without FreeType")
        self.own = Font(own.font_variant(layout_engine=ImageFont.Layout.BASIC), _BUILT_IN)
        self._engine = ImageFont.Layout.RAQM if shaping else ImageFont.Layout.BASIC
        self._folders = folders
        self._chosen: dict[str, Font | None] = {}
        self._opened: dict[Path, Font | None] = {}

    def find(self, text: str) -> Font | None:
        """The first font that has all of `text`, a character with its marks."""
        if self.own.has(text):
            return self.own
        if text not in self._chosen:
            self._chosen[text] = None
            paths = self._files
            if ord(text[0]) >= _FIRST_EMOJI:
                paths = [*(p for p in self._files if "emoji" in p.name.lower()), *self._files]
            for path in paths:
                font = self._open(path) if text[0] in _read_characters(path) else None
                if font is not None and font.has(text):
                    self._chosen[text] = font
                    break
        return self._chosen[text]

    @cached_property
    def _files(self) -> list[Path]:
        paths: dict[Path, None] = {}
        for root in self._folders:
            left = _MOST_FILES
            for where, folders, names in os.walk(root):
                folders.sort()
                left -= len(names)
                if left < 0:
                    break
                for name in names:
                    if os.path.splitext(name)[1].lower() in _EXTENSIONS:
                        paths[Path(where, name)] = None

        def rank(path: Path) -> tuple[int, str]:
            """Plain sans-serif fonts first."""
            name = path.name.lower().replace("-", "").replace(" ", "")
            plain, fancy = (sum(word in name for word in words) for words in (_PLAIN, _FANCY))
            return 2 * fancy - plain, name

        return sorted(paths, key=rank)

    def _open(self, path: Path) -> Font | None:
        if path not in self._opened:
            self._opened[path] = None
            for size in (20, *_BITMAP_SIZES):
                try:
                    font = ImageFont.truetype(str(path), size, layout_engine=self._engine)
                except OSError:  # not a font, or a bitmap font without this size
                    continue
                self._opened[path] = Font(font, _read_characters(path))
                break
        return self._opened[path]


@cache
def system_fonts() -> FontSet:
    """Pillow's own font and those of this system."""
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        folders = [
            Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts",
            home / "AppData/Local/Microsoft/Windows/Fonts",
        ]
    elif sys.platform == "darwin":
        folders = [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    else:
        data = os.environ.get("XDG_DATA_HOME")
        folders = [
            *(Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".fonts"),
            (Path(data) if data else home / ".local/share") / "fonts",
        ]
    return FontSet(folders, shaping=features.check("raqm") is True)


@cache
def _read_characters(path: Path) -> Collection[str]:
    """The characters of a font file, or of the first font of a collection; none if it is broken."""
    if any(word in path.name.lower().replace("-", "") for word in _PLACEHOLDER_FONTS):
        return frozenset()
    from fontTools.ttLib import TTFont, TTLibError  # takes 40 ms; English does without

    logging.getLogger("fontTools").addHandler(logging.NullHandler())  # remarks on odd fonts
    try:
        with path.open("rb") as file, TTFont(file, fontNumber=0, lazy=True) as font:
            return frozenset(map(chr, font.getBestCmap() or ()))
    except (TTLibError, AssertionError, AttributeError, *DECODE_ERRORS):
        return frozenset()
