"""Says how a file was made: from its sidecar, or from the texts inside the picture."""

from __future__ import annotations

import math
import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from imagen.core.filesystem import file_sha256, read_at_most
from imagen.core.json_values import parse_json
from imagen.core.request import LARGEST_SEED
from imagen.core.text import did_you_mean
from imagen.errors import OutputError
from imagen.outputs import metadata
from imagen.outputs.files import sidecar_path
from imagen.outputs.metadata import a1111, invokeai, json_settings
from imagen.outputs.sidecar import SIDECAR_FORMAT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

Source = Literal["sidecar", "imagen", "parameters", "invokeai", "settings", "prompt"]
Values = dict[str, Any]

_LARGEST = 512 * 2**20
_LARGEST_JSON = 16 * 2**20
_LARGEST_PARSED = 2 * 2**20
"""Of a text within an image."""
_JSON = re.compile(r"\s{0,99}[\[{]\s{0,99}(?:[\"\[\]{}0-9-]|$)")
"""How JSON begins that is not a number or a text; a prompt may begin with a brace or bracket."""
_LONGEST_NAME = 100
"""Of a backend or a workflow."""
_MOST_VALUES = 200_000
"""Of one such text, or of a sidecar: an image of a few kilobytes may claim any number."""
_FIRST_BYTES = 16
_REMEDY = "imagen show reads PNG, JPEG, WebP and AVIF images, and the JSON files beside them."
_PARTS = ("request", "resolved", "receipt", "facts", "graph")
_OF_FILE = (*("file", "sha256", "media_type", "converted", "created", "seed", "index", "ticket"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """What a file tells of how it was made; JSON throughout, and nothing of it is trusted."""

    source: Source
    """Which of its texts told: the best there is, in this order."""
    backend: str = ""
    workflow: str = ""
    """The name of the ComfyUI workflow."""
    request: Values = field(default_factory=dict)
    """As it was asked."""
    resolved: Values = field(default_factory=dict)
    """Complete: every value that was used, as far as it is known."""
    receipt: Values = field(default_factory=dict)
    facts: Values = field(default_factory=dict)
    tool: str = ""
    """Of `settings`, the program that wrote them; "" is unknown."""
    graph: Values = field(default_factory=dict)
    """What the engine was sent: for ComfyUI the bound graph."""
    inputs: tuple[Values, ...] = ()
    """The pictures it was made of: to each its parameter, name, sha256, width and height."""
    file: Values = field(default_factory=dict)
    """Of the picture: seed and index; from a sidecar also sha256, media type, time and ticket."""


def read_record(path: Path) -> ImageRecord:
    """What is known of how the picture at `path` was made; a sidecar's path is as good.

    The texts in the picture tell, else its sidecar. Raises OutputError for a file that is not
    there, is cut short or damaged, or says nothing.
    """
    found = _told(path)
    if found is None:
        raise OutputError(f"{path} does not say how it was made.", remedy=_REMEDY)
    return found


def read_full_record(path: Path) -> ImageRecord | None:
    """The most that is known of how the picture at `path` was made; None where it says nothing.

    A sidecar tells most, but only of the very picture that it was written for; then the texts in
    the picture tell. Raises OutputError as `read` does.
    """
    beside = sidecar_path(path)
    if os.path.isfile(beside):
        with suppress(OutputError, OSError):  # then the picture itself is asked
            record = _from_json(beside)
            if record is not None and record.file.get("sha256") == file_sha256(path):
                return record
    return _told(path)


def _told(path: Path) -> ImageRecord | None:
    head = _bytes(path, _FIRST_BYTES)
    if metadata.kind(head):
        found = _from_picture(path)
    else:
        found = _from_json(path) if head.lstrip()[:1] == b"{" else None
    beside = sidecar_path(path)
    if found is None and os.path.isfile(beside):
        return _from_json(beside)
    return found


def _bytes(path: Path, most: int) -> bytes:
    try:
        return read_at_most(path, most)
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


def read_image_bytes(path: Path) -> bytes:
    """All of an image's file; raises OutputError for one that is not there, or is too large."""
    return _whole(path, _LARGEST)


def texts(path: Path, wanted: Collection[str]) -> dict[str, str] | None:
    """The texts of these names inside the picture at `path`; None for a file that is no picture.

    Raises OutputError for a file that is not there, or is cut short or damaged.
    """
    if not metadata.kind(_bytes(path, _FIRST_BYTES)):
        return None
    with _naming(path):
        return metadata.texts(_whole(path, _LARGEST), wanted)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """What is wrong within an image becomes an error that names its file."""
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{path} can't be read: {error.message}.", remedy=_REMEDY) from error


def _from_picture(path: Path) -> ImageRecord | None:
    data = _whole(path, _LARGEST)
    with _naming(path):
        found = metadata.texts(data, largest=_LARGEST_PARSED)
        entry = _object(found, "imagen")
        graph = _object(found, "prompt")
    if _is_ours(entry):
        return _record("imagen", entry | {"graph": graph}, path)
    with _naming(path):
        graph = graph if json_settings.is_graph(graph) else {}
        is_png = metadata.kind(data) == "png"
        return _of_texts(found, graph, is_png=is_png) or _of_hidden_text(data)


def _of_hidden_text(data: bytes) -> ImageRecord | None:
    if metadata.kind(data) in ("jpeg", "avif"):
        return None
    from imagen.outputs.metadata import stealth  # Pillow; asked last

    return _of_texts({"parameters": stealth.read_hidden_text(data)}, {}, is_png=False)


def _of_texts(found: Mapping[str, str], graph: Values, *, is_png: bool) -> ImageRecord | None:
    """The best record in these texts; a comment may be from any program."""
    for name in ("parameters", "comment", "Comment"):
        record = _of_comment(found, name, graph)
        if record is not None:
            return record
    if data := _object(found, "generation_data"):
        read_data = json_settings.parse_settings(data)
        if graph and read_data:  # the graph has the seed, and the service's names for models
            return _of_graph(graph, read_data)
        if read_data:
            return _of_settings(read_data)
    if invoked := _object(found, "invokeai_metadata"):
        values, facts = invokeai.parse_metadata(invoked)
        return ImageRecord(source="invokeai", resolved=values, facts=facts)
    if old := json_settings.parse_settings(_object(found, "sd-metadata")):
        return ImageRecord(source="invokeai", resolved=old.values, facts=old.others)
    dream = invokeai.parse_dream(found.get("Dream", ""))
    if any(map(a1111.is_setting, dream)):
        return ImageRecord(source="invokeai", resolved=dream)
    if found.keys() & {"use_stable_diffusion_model", "Stable Diffusion model"}:
        each = json_settings.parse_settings(found)
        return _of_settings(each) if each else None
    if graph:
        return ImageRecord(source="prompt", graph=graph)
    if is_png and "parameters" in found and not _JSON.match(found["parameters"]):
        return ImageRecord(source="parameters", resolved={"prompt": found["parameters"].strip()})
    return None


def _of_comment(found: Mapping[str, str], name: str, graph: Values) -> ImageRecord | None:
    """What one text says that may be of any program; None where it is not about an image."""
    if name == "Comment" and found.get("Software") == "NovelAI":
        read_text = json_settings.parse_settings(found)
        return _of_settings(read_text) if read_text else None
    document = _object(found, name)
    if not document and _JSON.match(found.get(name, "")):
        return None
    if not document:
        values, others = a1111.parse_parameters(found.get(name, ""))
        is_empty = graph and values["prompt"] == "unknown"  # of a saver without links
        if is_empty or not any(map(a1111.is_setting, values)):
            return None
        return ImageRecord(source="parameters", resolved=values, facts=others, graph=graph)
    if json_settings.is_graph(document):
        inner = _object(document, "extraMetadata")
        nodes = {key: node for key, node in document.items() if isinstance(node, dict)}
        return _of_graph(
            {key: node for key, node in nodes.items() if "class_type" in node},
            json_settings.parse_settings(inner),
        )
    own = document.get("prompt")
    own = own if isinstance(own, dict) else _object(document, "prompt")
    if json_settings.is_graph(own):
        return ImageRecord(source="prompt", graph=own)
    read_text = json_settings.parse_settings(document)
    return _of_settings(read_text, graph) if read_text else None


def _of_settings(said: json_settings.ForeignSettings, graph: Values | None = None) -> ImageRecord:
    return ImageRecord(
        source="settings",
        tool=said.tool,
        resolved=said.values,
        facts=said.others,
        graph=graph or {},
    )


def _of_graph(graph: Values, said: json_settings.ForeignSettings | None) -> ImageRecord:
    """A graph, and what a service says beside it."""
    if said is None:
        return ImageRecord(source="prompt", graph=graph)
    return ImageRecord(
        source="prompt",
        tool=said.tool or "civitai",
        resolved=said.values,
        facts=said.others,
        graph=graph,
    )


def _from_json(path: Path) -> ImageRecord | None:
    text = _whole(path, _LARGEST_JSON).decode("utf-8", "replace")
    with _naming(path):
        entry = _object({"JSON": text}, "JSON")
    return _record("sidecar", entry, path) if _is_ours(entry) else None


def _object(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The JSON object in the text of this name; an empty one where there is none.

    Raises OutputError for one that is nested too deep, or holds too much.
    """
    text = found.get(name, "")
    text = text.strip(" \t\r\n\0\ufeff") if isinstance(text, str) else ""
    head, colon, rest = text[:10].partition(":")
    if colon and head.strip().lower() == "prompt" and rest.lstrip().startswith("{"):
        text = text.partition(":")[2]
    if not text.lstrip().startswith("{"):
        return {}
    try:
        value = parse_json(text, max_values=_MOST_VALUES, strict_numbers=False)
    except ValueError as error:
        if str(error).startswith("is not valid JSON"):
            return {}
        raise OutputError(f"the text {name!r} in it {error}") from error
    return _finite(value) if isinstance(value, dict) else {}


def _finite(value: Any) -> Any:
    """The same with None for the numbers that JSON has no words for: NaN and infinities."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("imagen"), int)


def _record(source: Source, entry: Mapping[str, Any], path: Path) -> ImageRecord:
    if entry["imagen"] > SIDECAR_FORMAT:
        raise OutputError(
            f"{path} was written by a newer imagen: its format is {entry['imagen']}, and this one "
            f"reads up to {SIDECAR_FORMAT}.",
            remedy="Update imagen.",
        )
    parts: dict[str, Any] = {name: _mapping(entry.get(name)) for name in _PARTS}
    if source == "imagen":
        parts["facts"] = {name: entry[name] for name in ("model", "models") if entry.get(name)}
    inputs = entry.get("inputs")
    parts["inputs"] = tuple(map(_mapping, inputs)) if isinstance(inputs, list) else ()
    file = {name: entry[name] for name in _OF_FILE if name in entry}
    if not _is_seed(file.get("seed")):
        file.pop("seed", None)
    backend, workflow = (
        str(entry.get(name, ""))[:_LONGEST_NAME] for name in ("backend", "workflow")
    )
    return ImageRecord(source=source, backend=backend, workflow=workflow, file=file, **parts)


def _is_seed(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_SEED


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
