"""Read how an image was made: from its sidecar, or from the texts in the file."""

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
from imagen.outputs.metadata import a1111, invokeai, json_settings
from imagen.outputs.save import sidecar_path
from imagen.outputs.sidecar import SIDECAR_FORMAT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

Source = Literal["sidecar", "imagen", "parameters", "invokeai", "settings", "prompt"]
Values = dict[str, Any]

_LARGEST_IMAGE = 512 * 2**20
_LARGEST_JSON = 16 * 2**20
_LARGEST_TEXT = 2 * 2**20
"""Of a text within an image."""
_MOST_VALUES = 200_000
"""In the JSON of such a text or sidecar: an image of a few kilobytes may hold any number."""
_JSON_START = re.compile(r"\s{0,99}[\[{]\s{0,99}(?:[\"\[\]{}0-9-]|$)")
"""An object or an array; a prompt may start with a brace or bracket too."""
_LONGEST_NAME = 100
"""Of a backend or a workflow."""
_FIRST_BYTES = 16
_REMEDY = "imagen show reads PNG, JPEG, WebP and AVIF images, and the JSON files beside them."
_PARTS = ("request", "resolved", "receipt", "facts", "graph")
_FILE_FIELDS = (
    *("file", "sha256", "media_type", "converted", "created", "seed", "index", "ticket"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """What a file says about how it was made: JSON throughout, and not validated."""

    source: Source
    """Where it was found: the best source there is, in this order."""
    backend: str = ""
    workflow: str = ""
    """The name of the ComfyUI workflow."""
    request: Values = field(default_factory=dict)
    """As it was given."""
    resolved: Values = field(default_factory=dict)
    """Complete: every value that was used, as far as it is known."""
    receipt: Values = field(default_factory=dict)
    facts: Values = field(default_factory=dict)
    tool: str = ""
    """The program that wrote the `settings`; "" is unknown."""
    graph: Values = field(default_factory=dict)
    """What the engine got: for ComfyUI the bound graph."""
    inputs: tuple[Values, ...] = ()
    """The input images: parameter, name, sha256, width and height of each."""
    file: Values = field(default_factory=dict)
    """About the image: seed and index; in a sidecar also sha256, media type, time and ticket."""


def read_record(path: Path) -> ImageRecord:
    """How the image at `path` was made; `path` may also be a sidecar.

    Reads the texts in the image, or else its sidecar. Raises OutputError for a file that is
    missing, truncated or damaged, or says nothing.
    """
    record = _find_record(path)
    if record is None:
        raise OutputError(f"{path} does not say how it was made.", remedy=_REMEDY)
    return record


def read_full_record(path: Path) -> ImageRecord | None:
    """All that is known about how the image at `path` was made; None if it says nothing.

    A sidecar says most, if it was written for this very image; else the texts in the image count.
    Raises OutputError as `read_record` does.
    """
    sidecar = sidecar_path(path)
    if os.path.isfile(sidecar):
        with suppress(OutputError, OSError):  # then read the image itself
            record = _read_sidecar(sidecar)
            if record is not None and record.file.get("sha256") == file_sha256(path):
                return record
    return _find_record(path)


def read_texts(path: Path, wanted: Collection[str]) -> dict[str, str] | None:
    """The texts of these names in the image at `path`; None for a file that is not an image.

    Raises OutputError for a file that is missing, truncated or damaged.
    """
    if not metadata.kind(_read_bytes(path, _FIRST_BYTES)):
        return None
    with _errors_name(path):
        return metadata.read_texts(read_image_bytes(path), wanted)


def read_image_bytes(path: Path) -> bytes:
    """The whole file. Raises OutputError if it is missing or too large."""
    return _read_whole(path, _LARGEST_IMAGE)


def _find_record(path: Path) -> ImageRecord | None:
    head = _read_bytes(path, _FIRST_BYTES)
    record = None
    if metadata.kind(head):
        record = _read_image(path)
    elif head.lstrip()[:1] == b"{":
        record = _read_sidecar(path)
    sidecar = sidecar_path(path)
    if record is None and os.path.isfile(sidecar):
        return _read_sidecar(sidecar)
    return record


def _read_bytes(path: Path, most: int) -> bytes:
    try:
        return read_at_most(path, most)
    except FileNotFoundError as error:
        folder = path.parent
        names = [p.name for p in folder.iterdir()] if os.path.isdir(folder) else []
        raise OutputError(f"There is no file {path}.{did_you_mean(path.name, names)}") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read_whole(path: Path, most: int) -> bytes:
    data = _read_bytes(path, most + 1)
    if len(data) > most:
        raise OutputError(f"{path} is larger than the {most >> 20} MB that imagen reads.")
    return data


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Add the name of the file to errors about its content."""
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{path} cannot be read: {error.message}.", remedy=_REMEDY) from error


def _read_sidecar(path: Path) -> ImageRecord | None:
    text = _read_whole(path, _LARGEST_JSON).decode("utf-8", "replace")
    with _errors_name(path):
        entry = _parse_object({"JSON": text}, "JSON")
    return _build_record("sidecar", entry, path) if isinstance(entry.get("imagen"), int) else None


def _read_image(path: Path) -> ImageRecord | None:
    data = read_image_bytes(path)
    with _errors_name(path):
        texts = metadata.read_texts(data, largest=_LARGEST_TEXT)
        entry = _parse_object(texts, "imagen")
        graph = _parse_object(texts, "prompt")
    if isinstance(entry.get("imagen"), int):
        return _build_record("imagen", entry | {"graph": graph}, path)
    with _errors_name(path):
        graph = graph if json_settings.is_graph(graph) else {}
        is_png = metadata.kind(data) == "png"
        record = _read_foreign(texts, graph, is_png=is_png)
        if record is not None or metadata.kind(data) in ("jpeg", "avif"):
            return record
        from imagen.outputs.metadata import stealth  # needs Pillow, so it is tried last

        return _read_foreign({"parameters": stealth.read_hidden_text(data)}, {}, is_png=False)


def _build_record(source: Source, entry: Mapping[str, Any], path: Path) -> ImageRecord:
    if isinstance(entry.get("cells"), list):
        raise OutputError(
            f"{path} is the record of a comparison, not of one image.",
            remedy="Name one of its images. To use its request: imagen generate --from-json FILE",
        )
    if entry["imagen"] > SIDECAR_FORMAT:
        raise OutputError(
            f"{path} was written by a newer imagen: its format is {entry['imagen']}, and this one "
            f"reads up to {SIDECAR_FORMAT}.",
            remedy="Update imagen.",
        )

    def part(name: str) -> Values:
        value = entry.get(name)
        return value if isinstance(value, dict) else {}

    parts: dict[str, Any] = {name: part(name) for name in _PARTS}
    if source == "imagen":
        parts["facts"] = {name: entry[name] for name in ("model", "models") if entry.get(name)}
    inputs = entry.get("inputs")
    if isinstance(inputs, list):
        parts["inputs"] = tuple(image if isinstance(image, dict) else {} for image in inputs)
    file = {name: entry[name] for name in _FILE_FIELDS if name in entry}
    seed = file.get("seed")
    if type(seed) is not int or not 0 <= seed <= LARGEST_SEED:
        file.pop("seed", None)
    backend, workflow = (
        str(entry.get(name, ""))[:_LONGEST_NAME] for name in ("backend", "workflow")
    )
    return ImageRecord(source=source, backend=backend, workflow=workflow, file=file, **parts)


def _read_foreign(texts: Mapping[str, str], graph: Values, *, is_png: bool) -> ImageRecord | None:
    """The best record in the texts of other programs."""
    for name in ("parameters", "comment", "Comment"):
        record = _read_comment(texts, name, graph)
        if record is not None:
            return record
    if data := _parse_object(texts, "generation_data"):
        settings = json_settings.parse_settings(data)
        if graph and settings:  # the graph has the seed, and the service's names for models
            return _graph_record(graph, settings)
        if settings:
            return _settings_record(settings)
    if invoke := _parse_object(texts, "invokeai_metadata"):
        values, facts = invokeai.parse_metadata(invoke)
        return ImageRecord(source="invokeai", resolved=values, facts=facts)
    if old := json_settings.parse_settings(_parse_object(texts, "sd-metadata")):
        return ImageRecord(source="invokeai", resolved=old.values, facts=old.others)
    dream = invokeai.parse_dream(texts.get("Dream", ""))
    if any(map(a1111.is_setting, dream)):
        return ImageRecord(source="invokeai", resolved=dream)
    if texts.keys() & {"use_stable_diffusion_model", "Stable Diffusion model"}:
        settings = json_settings.parse_settings(texts)
        return _settings_record(settings) if settings else None
    if graph:
        return ImageRecord(source="prompt", graph=graph)
    if is_png and "parameters" in texts and not _JSON_START.match(texts["parameters"]):
        return ImageRecord(source="parameters", resolved={"prompt": texts["parameters"].strip()})
    return None


def _read_comment(texts: Mapping[str, str], name: str, graph: Values) -> ImageRecord | None:
    """A text that may be from any program; None if it is not about generating an image."""
    if name == "Comment" and texts.get("Software") == "NovelAI":
        settings = json_settings.parse_settings(texts)
        return _settings_record(settings) if settings else None
    document = _parse_object(texts, name)
    if not document and _JSON_START.match(texts.get(name, "")):
        return None
    if not document:
        values, others = a1111.parse_parameters(texts.get(name, ""))
        is_empty = graph and values["prompt"] == "unknown"  # of a saver without links
        if is_empty or not any(map(a1111.is_setting, values)):
            return None
        return ImageRecord(source="parameters", resolved=values, facts=others, graph=graph)
    if json_settings.is_graph(document):
        nodes = {
            key: node
            for key, node in document.items()
            if isinstance(node, dict) and "class_type" in node
        }
        inner = _parse_object(document, "extraMetadata")
        return _graph_record(nodes, json_settings.parse_settings(inner))
    own = document.get("prompt")
    own = own if isinstance(own, dict) else _parse_object(document, "prompt")
    if json_settings.is_graph(own):
        return ImageRecord(source="prompt", graph=own)
    settings = json_settings.parse_settings(document)
    return _settings_record(settings, graph) if settings else None


def _settings_record(
    settings: json_settings.ForeignSettings, graph: Values | None = None
) -> ImageRecord:
    return ImageRecord(
        source="settings",
        tool=settings.tool,
        resolved=settings.values,
        facts=settings.others,
        graph=graph or {},
    )


def _graph_record(graph: Values, settings: json_settings.ForeignSettings | None) -> ImageRecord:
    """A graph, and what a service records beside it."""
    if settings is None:
        return ImageRecord(source="prompt", graph=graph)
    return ImageRecord(
        source="prompt",
        tool=settings.tool or "civitai",
        resolved=settings.values,
        facts=settings.others,
        graph=graph,
    )


def _parse_object(texts: Mapping[str, object], name: str) -> Values:
    """The JSON object in the text of this name; empty if there is none.

    Raises OutputError if it is nested too deep, or has too many values.
    """
    value = texts.get(name, "")
    text = value.strip(" \t\r\n\0\ufeff") if isinstance(value, str) else ""
    head, colon, rest = text[:10].partition(":")
    if colon and head.strip().lower() == "prompt" and rest.lstrip().startswith("{"):
        text = text.partition(":")[2]
    if not text.lstrip().startswith("{"):
        return {}
    try:
        parsed = parse_json(text, max_values=_MOST_VALUES, strict_numbers=False)
    except ValueError as error:
        if str(error).startswith("is not valid JSON"):
            return {}
        raise OutputError(f"the text {name!r} in it {error}") from error
    finite = _replace_nan(parsed)
    return finite if isinstance(finite, dict) else {}


def _replace_nan(value: object) -> object:
    """None in place of NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _replace_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
