"""Says how a file was made: from its sidecar, or from the texts inside the picture."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import file_digest
from typing import TYPE_CHECKING, Any, Literal

from imagen.errors import OutputError
from imagen.outputs import invokeai, metadata, parameters
from imagen.outputs.files import sidecar_of
from imagen.outputs.record import FORMAT
from imagen.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

Source = Literal["sidecar", "imagen", "parameters", "invokeai", "prompt"]
Values = dict[str, Any]

_LARGEST = 512 * 2**20
_LARGEST_JSON = 64 * 2**20
_FIRST_BYTES = 16
_REMEDY = "imagen show reads PNG, JPEG and WebP pictures, and the JSON files beside them."
_PARTS = ("request", "resolved", "receipt", "facts", "graph")
_OF_FILE = ("file", "sha256", "media_type", "created", "seed", "index", "ticket")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a file tells of how it was made; JSON throughout, and nothing of it is trusted."""

    source: Source
    """Which of its texts told: the best there is, in this order."""
    backend: str = ""
    request: Values = field(default_factory=dict)
    """As it was asked."""
    resolved: Values = field(default_factory=dict)
    """Complete: every value that was used, as far as it is known."""
    receipt: Values = field(default_factory=dict)
    facts: Values = field(default_factory=dict)
    graph: Values = field(default_factory=dict)
    """What the engine was sent: for ComfyUI the bound graph."""
    inputs: tuple[Values, ...] = ()
    """The pictures it was made of: to each its parameter, name, sha256, width and height."""
    file: Values = field(default_factory=dict)
    """Of the picture: seed and index; from a sidecar also sha256, media type, time and ticket."""


def read(path: Path) -> Record:
    """What is known of how the picture at `path` was made; a sidecar's path is as good.

    The texts in the picture tell, else its sidecar. Raises OutputError for a file that is not
    there, is cut short or damaged, or says nothing.
    """
    found = _told(path)
    if found is None:
        raise OutputError(f"{path} does not say how it was made.", remedy=_REMEDY)
    return found


def read_fully(path: Path) -> Record | None:
    """The most that is known of how the picture at `path` was made; None where it says nothing.

    A sidecar tells most, but only of the very picture that it was written for; then the texts in
    the picture tell. Raises OutputError as `read` does.
    """
    beside = sidecar_of(path)
    if os.path.isfile(beside):
        with suppress(OutputError):  # then the picture itself is asked
            record = _from_json(beside)
            if record is not None and record.file.get("sha256") == _digest(path):
                return record
    return _told(path)


def _told(path: Path) -> Record | None:
    head = _bytes(path, _FIRST_BYTES)
    if metadata.kind(head):
        found = _from_picture(path)
    else:
        found = _from_json(path) if head.lstrip()[:1] == b"{" else None
    beside = sidecar_of(path)
    if found is None and os.path.isfile(beside):
        return _from_json(beside)
    return found


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError as error:
        raise OutputError(f"There is no file {path}.{_near(path)}") from error
    except OSError as error:
        raise OutputError(f"{path} can't be read: {error.strerror or error}.") from error


def _near(path: Path) -> str:
    folder = path.parent
    return (
        did_you_mean(path.name, (p.name for p in folder.iterdir())) if os.path.isdir(folder) else ""
    )


def _whole(path: Path, most: int) -> bytes:
    data = _bytes(path, most + 1)
    if len(data) > most:
        raise OutputError(f"{path} is larger than the {most >> 20} MB that imagen reads.")
    return data


def texts(path: Path, wanted: Collection[str]) -> dict[str, str] | None:
    """The texts of these names inside the picture at `path`; None for a file that is no picture.

    Raises OutputError for a file that is not there, or is cut short or damaged.
    """
    if not metadata.kind(_bytes(path, _FIRST_BYTES)):
        return None
    try:
        return metadata.texts(_whole(path, _LARGEST), wanted)
    except OutputError as error:
        raise OutputError(f"{path} can't be read: {error.message}.", remedy=_REMEDY) from error


def _from_picture(path: Path) -> Record | None:
    found = texts(path, metadata.WANTED) or {}
    graph = _object(found.get("prompt", ""))
    entry = _object(found.get("imagen", ""))
    if _is_ours(entry):
        return _record("imagen", entry | {"graph": graph}, path)
    if "parameters" in found:
        values, others = parameters.parse(found["parameters"])
        return Record(source="parameters", resolved=values, facts=dict(others), graph=graph)
    if invoked := _object(found.get("invokeai_metadata", "")):
        values, facts = invokeai.parse(invoked)
        return Record(source="invokeai", resolved=values, facts=facts)
    return Record(source="prompt", graph=graph) if graph else None


def _from_json(path: Path) -> Record | None:
    entry = _object(_whole(path, _LARGEST_JSON).decode("utf-8", "replace"))
    return _record("sidecar", entry, path) if _is_ours(entry) else None


def _object(text: str) -> dict[str, Any]:
    """The JSON object in `text`; an empty one where there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("imagen"), int)


def _record(source: Source, entry: Mapping[str, Any], path: Path) -> Record:
    if entry["imagen"] > FORMAT:
        raise OutputError(
            f"{path} was written by a newer imagen: its format is {entry['imagen']}, and this one "
            f"reads up to {FORMAT}.",
            remedy="Update imagen.",
        )
    parts: dict[str, Any] = {name: _mapping(entry.get(name)) for name in _PARTS}
    if source == "imagen":
        parts["facts"] = {name: entry[name] for name in ("model", "models") if entry.get(name)}
    inputs = entry.get("inputs")
    parts["inputs"] = tuple(map(_mapping, inputs)) if isinstance(inputs, list) else ()
    file = {name: entry[name] for name in _OF_FILE if name in entry}
    return Record(source=source, backend=str(entry.get("backend", "")), file=file, **parts)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
