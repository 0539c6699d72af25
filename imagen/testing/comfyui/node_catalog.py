"""The node classes that the server has, and its model files."""

from __future__ import annotations

import json
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from imagen.testing.comfyui.state import ServerFiles

    InputSpec = Sequence[Any]
    """An input as `/object_info` declares it: its type or choices, then its options."""

_MODELS_PREFIX = "models:"
"""In `nodes.json`: a choice of the files in this folder."""
_BUILT_IN_MODELS = {"vae": ("pixel_space",)}
_FOLDERS = ("checkpoints", "loras", "vae", "text_encoders", "diffusion_models", "controlnet")


class ModelFiles:
    """Model files by folder; without given ones, every name exists but the missing ones."""

    def __init__(
        self, models: Mapping[str, Sequence[str]] | None, missing: Collection[str]
    ) -> None:
        self._given = models
        self._missing = frozenset(missing)

    @property
    def folders(self) -> list[str]:
        return sorted({*_FOLDERS, *self._listed})

    def names(self, folder: str) -> list[str]:
        """The files of a folder; by default those that the bundled workflows use."""
        return [name for name in self._listed.get(folder, ()) if name not in self._missing]

    def has(self, folder: str, name: object) -> bool:
        if self._given is None:
            return name not in self._missing
        return name in self.names(folder)

    @cached_property
    def _listed(self) -> Mapping[str, Sequence[str]]:
        if self._given is not None:
            return self._given
        from imagen.graphs import list_workflows

        names: dict[str, set[str]] = {}
        for workflow in list_workflows(()):
            for model in workflow.manifest.files:
                names.setdefault(model.folder, set()).add(model.file)
        return {folder: sorted(files) for folder, files in names.items()}


class NodeClasses:
    """The node classes, as `/object_info` has them."""

    def __init__(
        self, nodes: Mapping[str, Any] | None, models: ModelFiles, files: ServerFiles
    ) -> None:
        if nodes is None:
            data = resources.files(__package__).joinpath("nodes.json").read_text(encoding="utf-8")
            nodes = json.loads(data)
        self._nodes: Mapping[str, Any] = nodes
        self._models = models
        self._files = files

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def inputs(self, name: str) -> dict[str, tuple[InputSpec, bool]]:
        """The declared inputs of a class, and whether each is required."""
        declared = self._nodes[name].get("input", {})
        return {
            **{key: (spec, False) for key, spec in declared.get("optional", {}).items()},
            **{key: (spec, True) for key, spec in declared.get("required", {}).items()},
        }

    def outputs(self, name: str) -> Sequence[str]:
        """The types that a class returns."""
        return tuple(self._nodes[name].get("output", ()))

    def is_output(self, name: str) -> bool:
        return bool(self._nodes[name].get("output_node"))

    def allows(self, spec: InputSpec, value: object) -> bool:
        """Whether a choice may have this value."""
        folder = _model_folder(spec)
        if folder is None:
            return value in self.choices(spec)
        if folder == "input":
            return isinstance(value, str) and self._files.find_input(value) is not None
        return self._models.has(folder, value) or value in _BUILT_IN_MODELS.get(folder, ())

    def choices(self, spec: InputSpec) -> list[object]:
        folder = _model_folder(spec)
        if folder == "input":
            return list(self._files.inputs())
        if folder is not None:
            return [*self._models.names(folder), *_BUILT_IN_MODELS.get(folder, ())]
        if isinstance(spec[0], list):
            return spec[0]
        return list(spec[1].get("options", ())) if len(spec) > 1 else []

    def info(self, name: str) -> dict[str, object]:
        """One class as `/object_info` describes it."""
        node = self._nodes[name]
        inputs = {
            part: {
                key: spec if _model_folder(spec) is None else [self.choices(spec), *spec[1:]]
                for key, spec in specs.items()
            }
            for part, specs in node.get("input", {}).items()
        }
        outputs = list(node.get("output", ()))
        return {
            "input_order": {part: list(specs) for part, specs in inputs.items()},
            "output_is_list": [False for _ in outputs],
            "output_name": outputs,
            "name": name,
            "display_name": name,
            "description": "",
            "python_module": "nodes",
            "category": "",
            **node,
            "input": inputs,
        }

    def all(self) -> dict[str, object]:
        return {name: self.info(name) for name in self._nodes}


def is_choice(spec: InputSpec) -> bool:
    return isinstance(spec[0], list) or spec[0] == "COMBO" or _model_folder(spec) is not None


def _model_folder(spec: InputSpec) -> str | None:
    """The folder whose files are the choices."""
    kind = spec[0]
    is_folder = isinstance(kind, str) and kind.startswith(_MODELS_PREFIX)
    return kind.removeprefix(_MODELS_PREFIX) if is_folder else None
