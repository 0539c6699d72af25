"""The report of a comparison: one HTML page beside the images, which needs nothing else."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import quote

from PIL import Image

from imagen.comparison.axes import BACKEND_AXIS, describe_value
from imagen.comparison.sheet import describe_request, title_of
from imagen.core.capabilities import format_value
from imagen.core.filesystem import write_whole
from imagen.core.image_file import DECODE_ERRORS
from imagen.core.text import format_duration, format_usd, one_line, printable
from imagen.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.comparison.record import Comparison, ComparisonCell

REPORT_NAME = "compare.html"
_LONGEST_VALUE = 300
_EMBEDDED_QUALITY = 90
_UNSAFE_IN_HTML = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}
"""JSON with these escapes cannot end the element that it is in."""
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def write_report(comparison: Comparison, folder: Path, *, note: str = "") -> Path:
    """Write the page of all cells so far. Raises OutputError if it cannot be written."""
    path = folder / REPORT_NAME
    try:
        write_whole(path, build_report(comparison, note=note).encode())
    except OSError as error:
        raise OutputError(
            f"The report cannot be written to {path}: {error.strerror or error}.",
            remedy="The images are saved; run the same command again to write the report.",
        ) from error
    return path


def build_report(comparison: Comparison, *, note: str = "", folder: Path | None = None) -> str:
    """The page. It may load only images beside it, and runs no other script than its own.

    With the `folder` of the images, they are in the page itself, so that it can be sent.
    """
    own = files(__package__)
    style, script, page = (
        (own / f"report.{kind}").read_text("utf-8") for kind in ("css", "js", "html")
    )
    images = "'self' file:" if folder is None else "data:"
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src {images}; "
        f"style-src '{_csp_hash(style)}'; script-src '{_csp_hash(script)}'"
    )
    data = json.dumps(_report_data(comparison, folder), ensure_ascii=False, separators=(",", ":"))
    title = printable(title_of(comparison))
    parts = {
        "policy": policy,
        "title": escape(title),
        "notes": escape(" · ".join(filter(None, (note, *describe_request(comparison))))),
        "style": style,
        "data": data.translate(_UNSAFE_IN_HTML),
        "script": script,
    }
    return _PLACEHOLDER.sub(lambda match: parts[match[1]], page)


def _csp_hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _report_data(comparison: Comparison, folder: Path | None) -> dict[str, object]:
    """What the script draws: the axes, and each cell with the numbers of its values."""
    several = len(comparison.models) > 1 or not comparison.axes
    models = [{"text": name, "sort": name} for name in comparison.models]
    backends: dict[str, object] = {"name": BACKEND_AXIS, "parameters": [], "values": models}
    axes: list[dict[str, object]] = [backends] * several
    for axis in comparison.axes:
        known = []
        for value in axis.values:
            text = describe_value(axis.name, value) if isinstance(value, dict) else str(value)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            known.append({"text": printable(text), "sort": value if is_number else text})
        axes.append({"name": axis.name, "parameters": [*axis.parameters], "values": known})
    values = [*([comparison.models] if several else []), *(a.values for a in comparison.axes)]
    numbers = [{repr(value): number for number, value in enumerate(each)} for each in values]
    cells = []
    for cell in comparison.cells:
        own = [cell.model] * several + [cell.values[axis.name] for axis in comparison.axes]
        place = [each[repr(value)] for each, value in zip(numbers, own, strict=True)]
        cells.append(_cell_data(cell, folder) | {"place": place})
    return {"axes": axes, "cells": cells}


def _data_url(path: Path) -> str:
    """The image as WebP in an address; empty if the file is gone or unreadable."""
    data = BytesIO()
    try:
        with Image.open(path) as image:
            image.save(data, "WEBP", quality=_EMBEDDED_QUALITY)
    except (*DECODE_ERRORS, Image.DecompressionBombError):
        return ""
    return f"data:image/webp;base64,{b64encode(data.getvalue()).decode()}"


def _cell_data(cell: ComparisonCell, folder: Path | None) -> dict[str, object]:
    failure = cell.error
    summary = (
        "" if cell.seed is None else f"seed {cell.seed}",
        "" if cell.seconds is None else format_duration(cell.seconds),
        format_usd(cell.cost_usd) if cell.cost_usd else "",
        cell.workflow if cell.workflow != cell.model else "",
    )
    receipt = [
        outcome.sentence(name)
        for name, outcome in cell.receipt.items()
        if outcome.outcome != "applied" or outcome.why
    ]
    return {
        "images": [
            {
                "src": _data_url(folder / file.path) if folder else "./" + quote(file.path),
                "name": file.path,
                "width": file.width,
                "height": file.height,
            }
            for file in cell.files
        ],
        "summary": " · ".join(filter(None, summary)),
        "parameters": {
            name: one_line(
                value if isinstance(value, str) else format_value(value), limit=_LONGEST_VALUE
            )
            for name, value in cell.parameters.items()
            if value not in (None, "", [], {})
        },
        "notes": [printable(sentence) for sentence in (*receipt, *cell.warnings)],
        "error": printable(f"{failure.message}\n{failure.remedy}".strip()) if failure else "",
    }
