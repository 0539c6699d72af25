"""A server's catalogue of nodes (`/object_info`), read into what each input and output may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# The server does not hold these to its list: the file is looked for when the graph is sent.
_UPLOADS = ("image_upload", "video_upload", "audio_upload", "file_upload", "remote", "multiselect")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """What one input takes."""

    type: str
    """INT, FLOAT, BOOLEAN, STRING, COMBO, or the type of a link; "" where it can't be told."""
    required: bool
    choices: tuple[Any, ...] | None = None
    """The only values, where the server gives a list and holds to it."""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """What one class of node takes and gives."""

    inputs: Mapping[str, InputSpec]
    outputs: tuple[str, ...]
    """The type of each output; "" for one that can't be told."""
    is_output: bool


def read_catalogue(object_info: Mapping[str, Any]) -> dict[str, NodeSpec]:
    """Every class of node in a server's answer; what is malformed in it is left unsaid."""
    return {name: _node(said) for name, said in object_info.items() if isinstance(said, dict)}


def _node(said: Mapping[str, Any]) -> NodeSpec:
    inputs = _dict(said.get("input"))
    specs = {
        name: _input(declared, required=section == "required")
        for section in ("optional", "required")
        for name, declared in _dict(inputs.get(section)).items()
    }
    given = said.get("output")
    return NodeSpec(
        inputs=specs,
        outputs=tuple(_type(one) for one in given) if isinstance(given, list) else (),
        is_output=said.get("output_node") is True,
    )


def _input(declared: Any, *, required: bool) -> InputSpec:
    """Both encodings of a choice: `[["a", "b"], {…}]` and `["COMBO", {"options": ["a", "b"]}]`."""
    kind, options = _parts(declared)
    listed = kind if isinstance(kind, list) else options.get("options")
    is_choice = isinstance(kind, list) or kind == "COMBO"
    held = isinstance(listed, list) and is_choice and not any(map(options.get, _UPLOADS))
    return InputSpec(
        type="COMBO" if is_choice else _type(kind),
        required=required,
        choices=tuple(listed) if held and isinstance(listed, list) else None,
        low=_number(options.get("min")),
        high=_number(options.get("max")),
    )


def _parts(declared: Any) -> tuple[Any, Mapping[str, Any]]:
    if not isinstance(declared, list) or not declared:
        return "", {}
    return declared[0], _dict(declared[1]) if len(declared) > 1 else {}


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _type(value: Any) -> str:
    """A type that is not text is a list of choices: an older way to declare an output."""
    return value if isinstance(value, str) else "COMBO" if isinstance(value, list) else ""


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
