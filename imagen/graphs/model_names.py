"""Names of model files: the same file may go by another folder, separator or case on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.graphs.catalogue import read_catalogue
from imagen.graphs.tokens import inputs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FOLDERS: Mapping[str, str] = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
    "clip_name": "text_encoders",
    "lora_name": "loras",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
}
"""Where the files of an input are, below models/; a number may follow its name."""
_NAMES_FILES = {*FOLDERS, "model_name"}
_MODELS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".sft", ".onnx")


def is_model_file(value: Any) -> bool:
    """Whether `value` is the name of a model's file."""
    return isinstance(value, str) and value.lower().endswith(_MODELS)


def names_file(value: Any, input_name: str) -> bool:
    """Whether `value` means a model's file, as what it is or as what the input takes."""
    takes_files = input_name.rstrip("0123456789") in _NAMES_FILES
    return is_model_file(value) or (takes_files and isinstance(value, str))


def bare_name(name: str) -> str:
    """The file's name without the ending that models have."""
    return next((name[: -len(end)] for end in _MODELS if name.lower().endswith(end)), name)


def base_name(name: str) -> str:
    """The file's name without folders, whichever way they are separated."""
    return _slashed(name).rpartition("/")[2]


def spellings(value: str, choices: Sequence[Any]) -> list[str]:
    """What a server calls the file `value`: one name, several that it could be, or none.

    The nearest kind of likeness wins: as written; with the other separator; the same file in
    some folder; the same without its ending, if `value` has none; and each of these whatever the
    case.
    """
    names = [choice for choice in choices if isinstance(choice, str)]
    kinds: tuple[Callable[[str], str], ...] = (str, _slashed, base_name)
    if not is_model_file(value):
        kinds += (lambda name: bare_name(_slashed(name)), lambda name: bare_name(base_name(name)))
    for likeness in (*kinds, *(_caseless(kind) for kind in kinds)):
        alike = [name for name in names if likeness(name) == likeness(value)]
        if alike:
            return alike
    return []


def match_model_names(graph: Mapping[str, Any], object_info: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a bound graph that calls each model file what this server calls it.

    A file that the server has not, or has several times, keeps its name.
    """
    local = dict(graph)
    for node_id, name, spelling in _respelled(graph, object_info):
        node = local[node_id]
        local[node_id] = node | {"inputs": node["inputs"] | {name: spelling}}
    return local


def _respelled(
    graph: Mapping[str, Any], object_info: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    used = {kind: object_info[kind] for kind in _classes(graph) if kind in object_info}
    catalogue = read_catalogue(used)
    for node_id, node in graph.items():
        spec = catalogue.get(_class(node))
        for name, value in inputs_of(node).items() if spec else ():
            choices = spec.inputs[name].choices if spec and name in spec.inputs else None
            found = spellings(value, choices) if choices and names_file(value, name) else []
            if len(found) == 1 and found[0] != value:
                yield node_id, name, found[0]


def _classes(graph: Mapping[str, Any]) -> set[str]:
    return {_class(node) for node in graph.values()}


def _class(node: Any) -> str:
    return str(node.get("class_type") or "") if isinstance(node, dict) else ""


def _slashed(name: str) -> str:
    return name.replace("\\", "/")


def _caseless(kind: Callable[[str], str]) -> Callable[[str], str]:
    return lambda name: kind(name).casefold()
