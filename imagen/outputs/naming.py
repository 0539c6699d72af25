"""File names by template: safe on every system, and never outside the output directory."""

from __future__ import annotations

import re
import unicodedata
from itertools import chain, count
from os.path import splitext
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING

from imagen.core.text import one_line
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.config import OutputSettings
    from imagen.core.request import Request

DEFAULT_TEMPLATE = "{date}-{time}-{slug}-{seed}"
_PLACEHOLDER = r"\{(date|time|slug|seed|backend|ext|index)\}"
_FORBIDDEN = frozenset('<>:"|?*')
"""What Windows allows in no file name; a colon there opens a drive or a hidden stream."""
_UNWRITABLE = frozenset(("Cc", "Cs"))
_PORTS = frozenset(f"{port}{n}" for port in ("com", "lpt") for n in "123456789¹²³")
_RESERVED = _PORTS | {"con", "prn", "aux", "nul", "conin$", "conout$"}
"""Devices on Windows, whatever extension follows."""
_SLUG_CHARACTERS = 40
_STEM_BYTES = 200
"""File systems take 255 bytes; a number, the extension and the sidecar's `.json` come on top."""
_SUFFIX_BYTES = 16


def check_output_settings(settings: OutputSettings) -> None:
    """Raises ConfigError where the template of the names can't be used, OutputError where no image
    can be written in the format of the settings."""
    if settings.format in ("webp", "avif"):  # all others every Pillow can write
        from imagen.outputs.convert import refuse_unwritable_format

        refuse_unwritable_format(settings.format)
    wrong = template_fault(settings.name)
    if wrong:
        raise ConfigError(wrong, remedy="It is the name of a file below output.directory.")


def template_fault(template: str) -> str:
    """What is wrong with this template, as a sentence; "" where nothing is."""
    shown = repr(one_line(template))
    bad = next((c for c in template if _never_in_a_name(c)), "")
    parts = _split(template)
    if template.startswith(("/", "\\")) or template[1:2] == ":":
        return f"output.name {shown} is an absolute path, and would leave the output directory."
    if bad:
        return f"output.name {shown} holds {bad!r}, which can't stand in a file's name everywhere."
    if ".." in (part.strip(" ") for part in parts):
        return f"output.name {shown} holds '..', and would leave the output directory."
    if not parts[-1].strip(". "):
        return f"output.name {shown} names no file."
    return ""


def render_name(template: str, values: Mapping[str, str]) -> tuple[str, ...]:
    """The folders and the file's name that a template without fault gives for these values.

    A placeholder of no value stays as it is; the extension is appended where the name has none.
    """
    text = re.sub(_PLACEHOLDER, lambda match: values[match[1]], template)
    *folders, name = (part for part in _split(text) if part.strip(". "))
    has_extension = "{ext}" in _split(template)[-1]
    ending = "." + values["ext"]
    if not has_extension and not name.lower().endswith(ending):
        name += ending
    return tuple(_component(part) for part in (*folders, name))


def numbered_names(name: str) -> Iterator[str]:
    """`fox.png`, `fox-2.png`, `fox-3.png`, and on."""
    stem, suffix = splitext(name)
    return chain((name,), (f"{stem}-{n}{suffix}" for n in count(2)))


def slugify(text: str, *, empty: str = "untitled") -> str:
    """The words of `text` in any script, lower-case, joined by hyphens; at most 40 characters."""
    # A prompt may be very long, and its beginning is enough to know it by.
    plain = unicodedata.normalize("NFKC", text[:2000]).lower()
    words = "".join(_letters(unicodedata.normalize("NFC", plain))).split()
    joined = "-".join(words)
    short = joined[:_SLUG_CHARACTERS]
    if len(short) < len(joined) and joined[len(short)] != "-" and "-" in short[20:]:
        short = short[: short.rindex("-")]
    return short.strip("-") or empty


def request_slug(asked: Request) -> str:
    """The slug of what was asked for: of its prompt, else of the first picture it is made from."""
    steering = (control.image for control in asked.controls)
    given = (path for path in (asked.image, *asked.references, *steering) if path)
    return slugify(asked.prompt or PureWindowsPath(next(given, "")).stem)


def _split(path: str) -> list[str]:
    """At the separators of every system."""
    return path.replace("\\", "/").split("/")


def _never_in_a_name(character: str) -> bool:
    return character in _FORBIDDEN or unicodedata.category(character) in _UNWRITABLE


def _letters(text: str) -> Iterator[str]:
    """Letters, digits and the marks upon them; a space for all else."""
    within = False
    for character in text:
        within = character.isalnum() or (within and _is_mark(character))
        yield character if within else " "


def _is_mark(character: str) -> bool:
    """Vowel signs and accents, but no variation selectors: these belong to emoji."""
    is_selector = "\ufe00" <= character <= "\ufe0f"
    return unicodedata.category(character) in ("Mn", "Mc") and not is_selector


def _component(text: str) -> str:
    """`text` as one folder's or file's name that every system takes."""
    stem, suffix = splitext(text)
    if len(suffix.encode()) > _SUFFIX_BYTES:
        stem, suffix = text, ""
    name = (_cut(stem, _STEM_BYTES) + suffix).rstrip(". ")
    return f"_{name}" if name.split(".")[0].rstrip().lower() in _RESERVED else name


def _cut(text: str, limit: int) -> str:
    """At most `limit` bytes of `text`, and no character in halves."""
    return text.encode()[:limit].decode(errors="ignore")
