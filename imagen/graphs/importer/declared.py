"""What a server's catalogue says of a node's inputs, in the order the editor shows them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.graphs.catalogue import InputSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONTROLS = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
"""What the editor does to a seed after each run; no server is told."""
PLAIN = frozenset(("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"))
DYNAMIC = "COMFY_DYNAMICCOMBO_V3"
_SHOWN = frozenset(
    (
        "COLOR",
        "CURVE",
        "RANGE",
        "BOUNDING_BOX",
        "MARKDOWN",
        "IMAGECOMPARE",
        "WEBCAM",
        "LOAD_3D",
        "LOAD_3D_ANIMATION",
        "AUDIO_RECORD",
        "AUDIO_UI",
        "AUTOCOMPLETE_TEXT_LORAS",
        "LORAS",
        "LORA_POOL_CONFIG",
        "RANDOMIZER_CONFIG",
        "CYCLER_CONFIG",
    )
)
"""Further types that the editor, or the script of LoraManager, has a widget of its own for."""
SEEDS = ("seed", "noise_seed")
_UPLOADS = ("image_upload", "video_upload", "audio_upload", "file_upload", "animated_image_upload")
_ZERO = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One input as the catalogue declares it."""

    name: str
    type: str
    """INT, FLOAT, …; COMBO for a choice however it is written."""
    options: Mapping[str, Any]
    choices: tuple[Any, ...]
    required: bool

    @property
    def has_widget(self) -> bool:
        """Whether the editor shows a widget for it, and keeps its value."""
        if self.options.get("forceInput"):
            return False
        shown = self.options.get("socketless") or self.options.get("widgetType")
        return self.type in PLAIN or self.type in _SHOWN or self.type == DYNAMIC or bool(shown)

    @property
    def has_control(self) -> bool:
        """Whether the editor keeps beside it what to do to its value after each run.

        For a seed it may have done so also where the class asks it not to: older ones did not ask.
        """
        by_name = self.type in ("INT", "FLOAT") and self.name.rpartition(".")[2] in SEEDS
        return bool(self.options.get("control_after_generate")) or by_name

    @property
    def uploads(self) -> bool:
        """Whether the editor puts a button for a file's upload below it."""
        return any(map(self.options.get, _UPLOADS))

    @property
    def default(self) -> Any:
        """What a fresh node has there, in the editor."""
        if "default" in self.options:
            return self.options["default"]
        if self.type in ("COMBO", DYNAMIC):
            return self.choices[0] if self.choices else None
        return _ZERO.get(self.type)

    @property
    def spec(self) -> InputSpec:
        """What a literal for it may be, by type alone: no range, and no choices."""
        return InputSpec(type=self.type, required=self.required)

    def number(self, name: str) -> int | float | None:
        """The option `min`, `max` or `step`."""
        value = self.options.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if is_number else None


def declared(said: Mapping[str, Any]) -> list[Declared]:
    """The inputs of one class of the catalogue, required ones first, each in the shown order."""
    inputs, order = _mapping(said.get("input")), _mapping(said.get("input_order"))
    found = []
    for section in ("required", "optional"):
        own = _mapping(inputs.get(section))
        listed = order.get(section)
        told = listed if isinstance(listed, list) else []
        names = [name for name in told if isinstance(name, str) and name in own]
        for name in dict.fromkeys([*names, *own]):
            found.append(_declared(name, own[name], required=section == "required"))
    return found


def below(choice: Declared, selected: Any) -> list[Declared]:
    """The inputs that a dynamic choice brings with the option that is selected: `mode.width`."""
    listed = choice.options.get("options")
    options = listed if isinstance(listed, list) else []
    keyed = (item for item in options if isinstance(item, dict))
    chosen = next((item for item in keyed if item.get("key") == selected), {})
    return list(_prefixed(choice.name, chosen))


def _prefixed(name: str, option: Mapping[str, Any]) -> Iterator[Declared]:
    inputs = _mapping(option.get("inputs"))
    for section in ("required", "optional"):
        for inner, said in _mapping(inputs.get(section)).items():
            yield _declared(f"{name}.{inner}", said, required=section == "required")


def _declared(name: str, said: Any, *, required: bool) -> Declared:
    """Both encodings of a choice: `[["a", "b"], {…}]` and `["COMBO", {"options": ["a", "b"]}]`."""
    kind, options = _parts(said)
    listed = kind if isinstance(kind, list) else options.get("options")
    values = listed if isinstance(listed, list) else []
    if kind == DYNAMIC:
        values = [item.get("key") for item in values if isinstance(item, dict)]
    return Declared(
        name=name,
        type="COMBO" if isinstance(kind, list) else kind if isinstance(kind, str) else "",
        options=options,
        choices=tuple(values),
        required=required,
    )


def _parts(said: Any) -> tuple[Any, Mapping[str, Any]]:
    if not isinstance(said, list) or not said:
        return "", {}
    return said[0], _mapping(said[1]) if len(said) > 1 else {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
