"""What a picture and its record may tell at a destination: all, nothing of the prompt, or nothing.

What pixels tell by themselves stays: a watermark, and a text that was hidden in their lowest bits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal

from imagen.errors import OutputError
from imagen.outputs import metadata
from imagen.outputs.metadata import a1111
from imagen.outputs.sentences import strip_paths
from imagen.outputs.sidecar import bare_name, is_absolute_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

RedactionPolicy = Literal["full", "no_prompt", "none"]

_PROMPTS = frozenset(("prompt", "negative", "prompt_2", "negative_2", "text"))
"""Under these names a text is what somebody wrote, even if it looks like a path."""
_SENTENCES = frozenset(("warnings", "why"))
_OF_FILE = (
    *("imagen", "sha256", "media_type", "converted", "created", "seed", "index", "backend"),
    "ticket",
)
"""What a record says of a picture that says nothing of what is on it; a file's name does."""
_MODELS = ("model", "models")
_JSON_TEXTS = ("imagen", "prompt", "workflow")
"""Our own, and ComfyUI's: the graph, and the workflow as its editor shows it."""
_FACTS = frozenset(
    (
        *("seed", "steps", "cfg", "sampler", "scheduler", "width", "height", "cached"),
        *("latency_seconds", "queued_seconds", "executing_seconds", "cost_usd"),
    )
)
_WORDS = frozenset(("sampler", "scheduler", "preprocess", "model"))
"""Parameters that hold a word of the engine's, and never one of the user's."""
_WORDS_WITHIN: Mapping[str, Collection[str]] = {
    "loras": ("name",),
    "controls": ("kind",),
    "upscale": ("method",),
    "restore": ("model",),
}
_USED = ("steps", "cfg", "guidance", "strength", "feather", "variation_seed", "variation_strength")
_REMEDY = "It stays here. Let the destination have all metadata, or convert it: imagen convert"


def redact_file(data: bytes, policy: RedactionPolicy) -> bytes:
    """The file as a destination of this policy may have it; its pixels are never touched.

    Under `full` all stays but the place on earth where a picture was taken, and where files lie on
    this machine. Raises OutputError where it can't be known that a file tells no more than it may.
    """
    try:
        if policy == "full":
            return _whole(data)
        picture = metadata.strip_metadata(data)
        return picture if policy == "none" else _with_reduced_texts(picture, data)
    except OutputError as error:
        wrong = f"What this file tells can't be taken out of it: {error.message}."
        raise OutputError(wrong, remedy=_REMEDY) from error


def redact_record(record: Mapping[str, Any], policy: RedactionPolicy) -> dict[str, Any]:
    """The same for a sidecar, or for the entry in a picture: JSON in and out; {} for `none`."""
    if policy == "none":
        return {}
    located = _without_folders(record)
    return dict(located if policy == "full" else _reduced(located))


def _whole(data: bytes) -> bytes:
    try:
        picture = metadata.strip_gps(data)
    except OutputError:  # a file that can't be read by us was not written by us
        return data
    try:
        texts = metadata.texts(picture, ("parameters", *_JSON_TEXTS))
    except OutputError:
        return picture
    told = dict(_without_folders_in(texts))
    return _with_texts(picture, texts, told) if told else picture


def _with_texts(picture: bytes, texts: Mapping[str, str], told: Mapping[str, str]) -> bytes:
    """The picture with those told in place of its own."""
    if metadata.kind(picture) == "png":
        return metadata.embed(picture, told)[0]
    if told.keys() - {"imagen"}:  # ComfyUI's: in the EXIF block of other files they can't change
        picture = metadata.strip_metadata(picture)
    return metadata.embed(picture, {"imagen": "", "parameters": "", **texts, **told})[0]


def _without_folders_in(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Those of these texts that named files by where they lie; without that."""
    for name in _JSON_TEXTS:
        told = _told_in(texts.get(name, ""))
        if told is not None:
            yield name, told


def _told_in(text: str) -> str | None:
    """The text where it must change; one that is nested too deep to be looked through is empty."""
    try:
        entry = json.loads(text)
        located = _without_folders(entry)
        return None if located == entry else _json(located)
    except RecursionError:
        return "{}"
    except ValueError:
        return None


def _with_reduced_texts(picture: bytes, data: bytes) -> bytes:
    """The bare picture with what its texts may tell; nothing of a picture that is not ours."""
    texts = metadata.texts(data, ("imagen", "parameters"))
    entry = redact_record(_object(texts.get("imagen", "")), "no_prompt")
    if not entry:
        return picture
    line = _pairs_line(texts.get("parameters", ""), entry)
    reduced = {"imagen": _json(entry), "parameters": line}
    return metadata.embed(picture, reduced)[0]


def _pairs_line(text: str, entry: Mapping[str, Any]) -> str:
    """The last line of `parameters`: its numbers, and the words that stand in the entry too."""
    found, others = a1111.parse_parameters(text)
    resolved = entry.get("resolved", {})
    words = {name: resolved.get(name) for name in ("sampler", "scheduler")}
    model = PureWindowsPath(str(entry.get("model", ""))).stem
    numbers = {n: found[n] for n in (*_USED, "seed") if isinstance(found.get(n), int | float)}
    size = f"{found['width']}x{found['height']}" if "width" in found else None
    values = numbers | {name: word for name, word in words.items() if found.get(name) == word}
    values |= {"size": size, "model": model if others.get("Model") == model else None}
    return a1111.format_parameters(
        "", "", values | {"backend": entry.get("backend"), "version": "imagen"}
    )


def _reduced(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record without a word that the user wrote."""
    told = {name: record[name] for name in (*_OF_FILE, *_MODELS) if name in record}
    for name in ("request", "resolved"):
        if isinstance(record.get(name), Mapping):
            told[name] = _reduced_request(record[name])
    if isinstance(record.get("receipt"), Mapping):
        told["receipt"] = {n: _reduced_fate(n, fate) for n, fate in record["receipt"].items()}
    if isinstance(record.get("facts"), Mapping):
        told["facts"] = _reduced_facts(record["facts"])
    if isinstance(record.get("inputs"), list):
        inputs = (known for known in record["inputs"] if isinstance(known, Mapping))
        told["inputs"] = [_reduced_values(known, ("parameter",)) for known in inputs]
    return told


def _reduced_request(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _reduced_values(value, _WORDS_WITHIN.get(name, ()))
        for name, value in values.items()
        if name in _WORDS or not _is_wordy(value)
    }


def _reduced_fate(name: str, fate: Any) -> Any:
    """What became of one parameter; of what was asked, a number or a word of the engine's."""
    if not isinstance(fate, Mapping):
        return {}
    shown = ("asked", "used") if name in _WORDS else ()
    plain = {n: v for n, v in fate.items() if not isinstance(v, Mapping | list | tuple)}
    return _reduced_values(plain, ("outcome", *shown))


def _reduced_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    models = {name: facts[name] for name in _MODELS if name in facts}
    known = {n: v for n, v in facts.items() if n in _FACTS and (n in _WORDS or not _is_wordy(v))}
    return models | known


def _reduced_values(value: Any, words: Collection[str]) -> Any:
    """Numbers, however deep; and texts only under these names."""
    if isinstance(value, Mapping):
        return {
            name: _reduced_values(item, words)
            for name, item in value.items()
            if name in words or not _is_wordy(item)
        }
    if isinstance(value, list | tuple):
        return [_reduced_values(item, words) for item in value if not _is_wordy(item)]
    return value


def _is_wordy(value: Any) -> bool:
    """Whether it is a text, or a list with texts in it."""
    if isinstance(value, list | tuple):
        return any(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _without_folders(value: Any, name: str = "") -> Any:
    """`value` with the bare name of each file that is named by where it lies."""
    if isinstance(value, Mapping):
        return {key: _without_folders(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(item, name) for item in value]
    if not isinstance(value, str) or name in _PROMPTS:
        return value
    if name in _SENTENCES:
        return strip_paths(value)
    return bare_name(value) if _is_place(value) else value


def _is_place(text: str) -> bool:
    return is_absolute_path(text) or text.startswith(("~/", "~\\", "file:/"))


def _object(text: str) -> dict[str, Any]:
    """The JSON object in `text`; an empty one where there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _json(entry: Any) -> str:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
