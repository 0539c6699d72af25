"""File names from a template: valid on every system, and always inside the output directory."""

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
_PLACEHOLDER = r"\{(date|time|slug|input|seed|backend|ext|index)\}"
_FORBIDDEN = frozenset('<>:"|?*')
"""Windows allows these in no file name; a colon there opens a drive or a hidden stream."""
_PORTS = frozenset(f"{port}{n}" for port in ("com", "lpt") for n in "123456789¹²³")
_RESERVED = _PORTS | {"con", "prn", "aux", "nul", "conin$", "conout$"}
"""Devices on Windows, with any extension."""
_SLUG_CHARACTERS = 40
_STEM_BYTES = 200
"""File systems allow 255 bytes; a number, the extension and the sidecar's `.json` are added."""
_SUFFIX_BYTES = 16


def check_output_settings(settings: OutputSettings) -> None:
    """Raise ConfigError for an invalid name template, and OutputError if the installed Pillow
    cannot write the configured format."""
    if settings.format in ("webp", "avif"):  # every Pillow can write the others
        from imagen.outputs.convert import refuse_unwritable_format

        refuse_unwritable_format(settings.format)
    fault = template_fault(settings.name)
    if fault:
        raise ConfigError(fault, remedy="It must be the name of a file below output.directory.")


def template_fault(template: str) -> str:
    """What is wrong with this template, as a sentence; "" if it is valid."""
    shown = repr(one_line(template))
    bad = next(
        (c for c in template if c in _FORBIDDEN or unicodedata.category(c) in ("Cc", "Cs")), ""
    )
    parts = _split_path(template)
    if template.startswith(("/", "\\")) or template[1:2] == ":":
        return f"output.name {shown} is an absolute path, outside the output directory."
    if bad:
        return f"output.name {shown} contains {bad!r}, which file names must not contain."
    if ".." in (part.strip(" ") for part in parts):
        return f"output.name {shown} contains '..', which leads out of the output directory."
    if not parts[-1].strip(". "):
        return f"output.name {shown} has no file name."
    return ""


def render_name(template: str, values: Mapping[str, str]) -> tuple[str, ...]:
    """The folders and the file name that a valid template gives for these values.

    An unknown placeholder stays as it is; the extension is appended if the name has none.
    """
    text = re.sub(_PLACEHOLDER, lambda match: values[match[1]], template)
    *folders, name = (part for part in _split_path(text) if part.strip(". "))
    extension = "." + values["ext"]
    if "{ext}" not in _split_path(template)[-1] and not name.lower().endswith(extension):
        name += extension
    parts = []
    for part in (*folders, name):
        stem, suffix = splitext(part)
        if len(suffix.encode()) > _SUFFIX_BYTES:
            stem, suffix = part, ""
        short = stem.encode()[:_STEM_BYTES].decode(errors="ignore")
        valid = (short + suffix).rstrip(". ")
        is_reserved = valid.split(".")[0].rstrip().lower() in _RESERVED
        parts.append(f"_{valid}" if is_reserved else valid)
    return tuple(parts)


def numbered_names(name: str) -> Iterator[str]:
    """`fox.png`, `fox-2.png`, `fox-3.png`, …"""
    stem, suffix = splitext(name)
    return chain((name,), (f"{stem}-{n}{suffix}" for n in count(2)))


def slugify(text: str, *, empty: str = "untitled") -> str:
    """The words of `text` in any script, in lower case, joined by hyphens; up to 40 characters."""
    # A prompt may be very long, and its beginning identifies it.
    plain = unicodedata.normalize("NFKC", text[:2000]).lower()
    letters: list[str] = []
    within_word = False
    for character in unicodedata.normalize("NFC", plain):
        # Vowel signs and accents, but not variation selectors, which belong to emoji.
        is_mark = unicodedata.category(character) in ("Mn", "Mc")
        is_mark = is_mark and not "\ufe00" <= character <= "\ufe0f"
        within_word = character.isalnum() or (within_word and is_mark)
        letters.append(character if within_word else " ")
    joined = "-".join("".join(letters).split())
    short = joined[:_SLUG_CHARACTERS]
    if len(short) < len(joined) and joined[len(short)] != "-" and "-" in short[20:]:
        short = short[: short.rindex("-")]
    return short.strip("-") or empty


def request_slug(asked: Request) -> str:
    """The slug of the prompt, or else of the first input image."""
    return slugify(asked.prompt or _input_stem(asked))


def input_name(asked: Request) -> str:
    """The name of the first input image without its extension, as it is where files allow that."""
    stem = _input_stem(asked)
    valid = (
        "_" if one in _FORBIDDEN or unicodedata.category(one) in ("Cc", "Cs") else one
        for one in stem
    )
    return "".join(valid).strip(". ") or "noinput"


def _input_stem(asked: Request) -> str:
    controls = (control.image for control in asked.controls)
    paths = (path for path in (asked.image, *asked.references, *controls) if path)
    return PureWindowsPath(next(paths, "")).stem


def _split_path(path: str) -> list[str]:
    """At the separators of every system."""
    return path.replace("\\", "/").split("/")
