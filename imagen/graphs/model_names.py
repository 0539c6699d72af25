"""Names of model files: a server may list the same file with another folder, separator or case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.graphs.graph import class_of, inputs_of
from imagen.graphs.node_catalog import read_catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from imagen.graphs.graph import Graph, Node

FOLDERS: Mapping[str, str] = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
    "clip_name": "text_encoders",
    "lora_name": "loras",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
}
"""The folder below models/ of an input's files; the input's name may end in a number."""
_FILE_INPUTS = {*FOLDERS, "model_name"}
_ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".sft", ".onnx")


def is_model_file(value: object) -> bool:
    """Whether a value ends like the name of a model file."""
    return isinstance(value, str) and value.lower().endswith(_ENDINGS)


def names_file(value: object, input_name: str) -> bool:
    """Whether a value names a model file, by its ending or by the input that holds it."""
    takes_files = input_name.rstrip("0123456789") in _FILE_INPUTS
    return is_model_file(value) or (takes_files and isinstance(value, str))


def bare_name(name: str) -> str:
    """The name without the ending of model files."""
    return next((name[: -len(end)] for end in _ENDINGS if name.lower().endswith(end)), name)


def base_name(name: str) -> str:
    """The name without folders, with either separator."""
    return _with_slashes(name).rpartition("/")[2]


def spellings(value: str, choices: Sequence[object]) -> list[str]:
    """The choices that may be the file `value`, by the closest kind of match that there is.

    In this order: as written; with the other separator; the same file in any folder; the same
    without the ending if `value` has none; and each of these ignoring case.
    """
    names = [choice for choice in choices if isinstance(choice, str)]
    kinds: list[Callable[[str], str]] = [str, _with_slashes, base_name]
    if not is_model_file(value):
        kinds.append(lambda name: bare_name(_with_slashes(name)))
        kinds.append(lambda name: bare_name(base_name(name)))
    for fold in (str, str.casefold):
        for kind in kinds:
            matches = [name for name in names if fold(kind(name)) == fold(kind(value))]
            if matches:
                return matches
    return []


def match_model_names(graph: Graph, object_info: Mapping[str, object]) -> dict[str, Node]:
    """A copy of a bound graph in which each model file has the name that the server lists.

    A file that the server lacks, or has in several folders, keeps its name.
    """
    catalog = read_catalog(object_info)
    matched = dict(graph)
    for node_id, node in graph.items():
        spec = catalog.get(class_of(node))
        for name, value in inputs_of(node).items() if spec else ():
            choices = spec.inputs[name].choices if spec and name in spec.inputs else None
            if not choices or not isinstance(value, str) or not names_file(value, name):
                continue
            names = spellings(value, choices)
            if len(names) == 1 and names[0] != value:
                inputs = {**matched[node_id]["inputs"], name: names[0]}
                matched[node_id] = {**matched[node_id], "inputs": inputs}
    return matched


def _with_slashes(name: str) -> str:
    return name.replace("\\", "/")
