"""A server's node catalog (`/object_info`): what each node class takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imagen.core.json_values import as_list, as_mapping

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

PLAIN_TYPES = frozenset(("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"))
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
EDITOR_TYPE_PREFIX = "COMFY_"
"""How types begin whose rules only the editor knows."""
# A server does not check these against its list: it looks for the file when the graph is sent.
_UNLISTED = ("image_upload", "video_upload", "audio_upload", "file_upload", "remote", "multiselect")
# https://github.com/comfyanonymous/ComfyUI/tree/master/comfy_extras imports these at its top.
_NEEDED_PACKAGES: Mapping[str, str] = {
    **dict.fromkeys(("Canny", "Morphology", "ImageRGBToYUV", "ImageYUVToRGB"), "kornia"),
    **dict.fromkeys(("UpscaleModelLoader", "ImageUpscaleWithModel"), "spandrel"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """What one input takes."""

    name: str
    type: str
    """INT, FLOAT, BOOLEAN, STRING, COMBO, or the type of a link; "" if it is unknown."""
    required: bool
    options: Mapping[str, object]
    listed: tuple[object, ...] = ()
    """The values that the catalog lists."""
    choices: tuple[object, ...] | None = None
    """The same, if the server accepts no others."""

    def number(self, option: str) -> int | float | None:
        """The option `min`, `max` or `step`."""
        value = self.options.get(option)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return value

    def type_only(self) -> InputSpec:
        """The same without range and choices."""
        return replace(self, options={}, listed=(), choices=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """What one node class takes and gives."""

    inputs: Mapping[str, InputSpec]
    """By name: the required ones first, each group in the order in which the editor shows it."""
    outputs: tuple[str, ...] = ()
    """The type of each output; "" if it is unknown."""
    output_names: tuple[str, ...] = ()
    is_output: bool = False
    display_name: str = ""


class NodeCatalog(Mapping[str, NodeSpec]):
    """The node classes of a server by name; each is parsed on first use, for there are thousands.

    Malformed parts of the answer are ignored.
    """

    def __init__(self, object_info: Mapping[str, object]) -> None:
        self._object_info = {k: v for k, v in object_info.items() if isinstance(v, dict)}
        self._parsed: dict[str, NodeSpec] = {}

    def __getitem__(self, name: str) -> NodeSpec:
        if name not in self._parsed:
            value = self._object_info[name]
            inputs, order = as_mapping(value.get("input")), as_mapping(value.get("input_order"))
            specs: dict[str, InputSpec] = {}
            for section in ("required", "optional"):
                declared = as_mapping(inputs.get(section))
                listed = (one for one in as_list(order.get(section)) if isinstance(one, str))
                shown = [one for one in listed if one in declared]
                for one in dict.fromkeys([*shown, *declared]):
                    spec = parse_input(one, declared[one], required=section == "required")
                    specs.setdefault(one, spec)
            self._parsed[name] = NodeSpec(
                inputs=specs,
                outputs=tuple(map(_type_name, as_list(value.get("output")))),
                output_names=tuple(map(str, as_list(value.get("output_name")))),
                is_output=value.get("output_node") is True,
                display_name=str(value.get("display_name") or ""),
            )
        return self._parsed[name]

    def __contains__(self, name: object) -> bool:
        return name in self._object_info

    def __iter__(self) -> Iterator[str]:
        return iter(self._object_info)

    def __len__(self) -> int:
        return len(self._object_info)


def read_catalog(object_info: Mapping[str, object]) -> NodeCatalog:
    """The catalog in a server's answer to `/object_info`."""
    return NodeCatalog(object_info)


def parse_input(name: str, value: object, *, required: bool) -> InputSpec:
    """One declared input: `["INT", {…}]`, `[["a", "b"], {…}]` or `["COMBO", {"options": […]}]`."""
    parts = as_list(value)
    kind = parts[0] if parts else ""
    options = as_mapping(parts[1]) if len(parts) > 1 else {}
    values = kind if isinstance(kind, list) else options.get("options")
    listed = tuple(as_list(values))
    if kind == DYNAMIC_COMBO:
        listed = tuple(item.get("key") for item in listed if isinstance(item, dict))
    type_name = _type_name(kind)
    is_fixed = type_name == "COMBO" and isinstance(values, list)
    return InputSpec(
        name=name,
        type=type_name,
        required=required,
        options=options,
        listed=listed,
        choices=listed if is_fixed and not any(map(options.get, _UNLISTED)) else None,
    )


def missing_package_remedy(classes: Collection[str]) -> str:
    """What to do if one of ComfyUI's own classes is missing, or "" for other classes.

    ComfyUI leaves these out if a Python package that they need is not installed.
    """
    kind = next((kind for kind in classes if kind in _NEEDED_PACKAGES), None)
    if kind is None:
        return ""
    return (
        f"{kind} belongs to ComfyUI and needs the package {_NEEDED_PACKAGES[kind]}. In ComfyUI's "
        "folder, run with its Python: pip install -r requirements.txt. Then restart ComfyUI; if "
        "that does not help, update it."
    )


def _type_name(value: object) -> str:
    """The name of a type. A list of choices is an older way to declare a COMBO."""
    return value if isinstance(value, str) else "COMBO" if isinstance(value, list) else ""
