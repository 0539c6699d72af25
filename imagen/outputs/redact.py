"""Remove private metadata from files and records before they leave this machine.

A policy discloses everything, everything but the prompt, or nothing. What the pixels contain stays:
a watermark, and a text that is hidden in their lowest bits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Literal

from imagen.core.json_values import as_mapping
from imagen.errors import OutputError
from imagen.outputs import metadata
from imagen.outputs.metadata.a1111 import format_parameters, parse_parameters
from imagen.outputs.sidecar import bare_name, is_absolute_path

if TYPE_CHECKING:
    from collections.abc import Collection

RedactionPolicy = Literal["full", "no_prompt", "none"]

_PROMPTS = frozenset(("prompt", "negative", "prompt_2", "negative_2", "text"))
"""Under these names a text was written by the user, even if it looks like a path."""
_SENTENCES = frozenset(("warnings", "why", "message", "remedy", "budgets", "not_honoured"))
_FILE_FIELDS = (
    *("imagen", "sha256", "media_type", "converted", "created", "seed", "index", "backend"),
    "ticket",
)
"""The fields of a record that do not reveal what the image shows; the file name may."""
_MODELS = ("model", "models")
_JSON_TEXTS = ("imagen", "prompt", "workflow")
"""imagen's own text, and ComfyUI's: the graph, and the workflow of its editor."""
_FACTS = frozenset(
    (
        *("seed", "steps", "cfg", "sampler", "scheduler", "width", "height", "cached"),
        *("latency_seconds", "queued_seconds", "executing_seconds", "cost_usd"),
    )
)
_ENGINE_WORDS = frozenset(("sampler", "scheduler", "preprocess", "model"))
"""Parameters whose value is a word of the engine, and never one of the user."""
_ENGINE_WORDS_WITHIN: Mapping[str, Collection[str]] = {
    "loras": ("name",),
    "controls": ("kind",),
    "upscale": ("method",),
    "restore": ("model",),
}

_USED = (
    *("steps", "cfg", "guidance", "strength", "feather", "variation_seed", "variation_strength"),
    "seed",
)
_REMEDY = "It was not sent. Allow all metadata for this target, or convert the file: imagen convert"
_ROOT = r"(?:file:/{0,2})?(?:~|[A-Za-z]:)?[\\/]"
_QUOTED_FOLDERS = re.compile(rf"""(?<=['"]){_ROOT}[^'"\n]*[\\/](?=[^'"\\/\n]+['"])""")
"""Between quotes a folder may have spaces in its name."""
_FOLDERS = re.compile(rf"""(?<![\w/:.]){_ROOT}(?:[^\s\\/'"<>|]+[\\/])+(?=[^\s\\/])""")


def redact_file(data: bytes, policy: RedactionPolicy) -> bytes:
    """The file as this policy allows; its pixels are never changed.

    Under `full` everything stays except GPS data and local folders. Raises OutputError if it is
    uncertain what the file would disclose.
    """
    try:
        if policy == "full":
            # Without GPS data, and without local folders in the texts.
            try:
                image = metadata.strip_gps(data)
            except OutputError:  # a file that imagen cannot read was not written by imagen
                return data
            try:
                texts = metadata.read_texts(image, ("parameters", *_JSON_TEXTS))
            except OutputError:
                return image
            changed: dict[str, str] = {}
            for name in _JSON_TEXTS:
                try:
                    entry = json.loads(texts.get(name, ""))
                    located = _without_folders(entry)
                except RecursionError:  # nested too deep to be examined
                    changed[name] = "{}"
                except ValueError:
                    continue
                else:
                    if located != entry:
                        changed[name] = _dump_json(located)
            if not changed:
                return image
            if metadata.kind(image) == "png":
                return metadata.embed(image, changed)[0]
            # ComfyUI's texts in an EXIF block cannot be changed.
            if changed.keys() - {"imagen"}:
                image = metadata.strip_metadata(image)
            return metadata.embed(image, {"imagen": "", "parameters": "", **texts, **changed})[0]
        image = metadata.strip_metadata(data)
        return image if policy == "none" else _with_redacted_texts(image, data)
    except OutputError as error:
        raise OutputError(
            f"The metadata of this file cannot be removed: {error.message}.", remedy=_REMEDY
        ) from error


def redact_record(record: Mapping[str, object], policy: RedactionPolicy) -> dict[str, object]:
    """A sidecar, or the record in an image, as this policy allows; {} for `none`."""
    if policy == "none":
        return {}
    located = as_mapping(_without_folders(record))
    return located if policy == "full" else _without_prompts(located)


def strip_paths(sentence: str) -> str:
    """A sentence with file names in place of paths."""
    try:
        home = Path.home()
    except RuntimeError:  # a user that the system does not know
        home = Path()
    if home.name:
        sentence = sentence.replace(str(home), "~")
    return _FOLDERS.sub("", _QUOTED_FOLDERS.sub("", sentence))


def _with_redacted_texts(image: bytes, data: bytes) -> bytes:
    """The bare image with its texts without prompts; without any if imagen did not write them."""
    texts = metadata.read_texts(data, ("imagen", "parameters"))
    try:
        record = as_mapping(json.loads(texts.get("imagen", "")))
    except (ValueError, RecursionError):
        return image
    entry = redact_record(record, "no_prompt")
    if not entry:
        return image
    # The last line of `parameters`: its numbers, and the words that the record has too.
    found, others = parse_parameters(texts.get("parameters", ""))
    resolved = as_mapping(entry.get("resolved"))
    model = PureWindowsPath(str(entry.get("model", ""))).stem
    values: dict[str, object] = {
        name: found[name] for name in _USED if isinstance(found.get(name), int | float)
    }
    for name in ("sampler", "scheduler"):
        if found.get(name) == resolved.get(name):
            values[name] = resolved.get(name)
    values["size"] = f"{found['width']}x{found['height']}" if "width" in found else None
    values["model"] = model if others.get("Model") == model else None
    values |= {"backend": entry.get("backend"), "version": "imagen"}
    line = format_parameters("", "", values)
    return metadata.embed(image, {"imagen": _dump_json(entry), "parameters": line})[0]


def _without_prompts(record: Mapping[str, object]) -> dict[str, object]:
    """The record without any text that the user wrote."""
    kept = {name: record[name] for name in (*_FILE_FIELDS, *_MODELS) if name in record}
    for name in ("request", "resolved"):
        if isinstance(record.get(name), Mapping):
            kept[name] = {
                field: _without_texts(value, _ENGINE_WORDS_WITHIN.get(field, ()))
                for field, value in as_mapping(record[name]).items()
                if field in _ENGINE_WORDS or not _has_text(value)
            }
    if isinstance(record.get("receipt"), Mapping):
        receipt: dict[str, object] = {}
        for name, outcome in as_mapping(record["receipt"]).items():
            # Of the values only numbers, and words of the engine.
            shown = ("asked", "used") if name in _ENGINE_WORDS else ()
            plain = {
                key: value
                for key, value in as_mapping(outcome).items()
                if not isinstance(value, Mapping | list | tuple)
            }
            receipt[name] = _without_texts(plain, ("outcome", *shown))
        kept["receipt"] = receipt
    if isinstance(record.get("facts"), Mapping):
        facts = as_mapping(record["facts"])
        kept["facts"] = {name: facts[name] for name in _MODELS if name in facts} | {
            name: value
            for name, value in facts.items()
            if name in _FACTS and (name in _ENGINE_WORDS or not _has_text(value))
        }
    inputs = record.get("inputs")
    if isinstance(inputs, list):
        images = (image for image in inputs if isinstance(image, Mapping))
        kept["inputs"] = [_without_texts(image, ("parameter",)) for image in images]
    return kept


def _without_texts(value: object, words: Collection[str]) -> object:
    """Numbers at any depth; texts only under these names."""
    if isinstance(value, Mapping):
        return {
            name: _without_texts(item, words)
            for name, item in value.items()
            if name in words or not _has_text(item)
        }
    if isinstance(value, list | tuple):
        return [_without_texts(item, words) for item in value if not _has_text(item)]
    return value


def _has_text(value: object) -> bool:
    """Whether it is a text, or a list with texts."""
    if isinstance(value, list | tuple):
        return any(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _without_folders(value: object, name: str = "") -> object:
    """`value` with file names in place of paths."""
    if isinstance(value, Mapping):
        return {key: _without_folders(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(item, name) for item in value]
    if not isinstance(value, str) or name in _PROMPTS:
        return value
    if name in _SENTENCES:
        return strip_paths(value)
    is_path = is_absolute_path(value) or value.startswith(("~/", "~\\", "file:/"))
    return bare_name(value) if is_path else value


def _dump_json(entry: object) -> str:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
