"""What classes of node the server has, and which model files lie on its shelves."""

from __future__ import annotations

import json
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from imagen.testing.comfyui.files import Files

_SHELF = "models:"
_OWN = {"vae": ("pixel_space",)}
_FOLDERS = ("checkpoints", "loras", "vae", "text_encoders", "diffusion_models", "controlnet")


class Shelves:
    """The model files, by folder; where nobody says which, every name is there but the missing."""

    def __init__(
        self, models: Mapping[str, Sequence[str]] | None, missing: Collection[str]
    ) -> None:
        self._models = models
        self._missing = frozenset(missing)

    @property
    def folders(self) -> list[str]:
        return sorted({*_FOLDERS, *self._given})

    def names(self, folder: str) -> list[str]:
        """The files of a folder; by default those that the bundled workflows use."""
        return [name for name in self._given.get(folder, ()) if name not in self._missing]

    def has(self, folder: str, name: Any) -> bool:
        if self._models is None:
            return name not in self._missing
        return name in self.names(folder)

    @cached_property
    def _given(self) -> Mapping[str, Sequence[str]]:
        return _bundled() if self._models is None else self._models


def _bundled() -> dict[str, list[str]]:
    from imagen.graphs import list_workflows

    found: dict[str, set[str]] = {}
    for workflow in list_workflows(()):
        for model in workflow.manifest.files:
            found.setdefault(model.folder, set()).add(model.file)
    return {folder: sorted(names) for folder, names in found.items()}


class Catalogue:
    """The classes of node, as `/object_info` has them."""

    def __init__(self, nodes: Mapping[str, Any] | None, shelves: Shelves, files: Files) -> None:
        self._nodes: Mapping[str, Any] = _own() if nodes is None else nodes
        self._shelves = shelves
        self._files = files

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def inputs(self, name: str) -> dict[str, tuple[Any, bool]]:
        """The declared inputs of a class, and whether each is required."""
        said = self._nodes[name].get("input", {})
        return {
            **{key: (spec, False) for key, spec in said.get("optional", {}).items()},
            **{key: (spec, True) for key, spec in said.get("required", {}).items()},
        }

    def returns(self, name: str) -> Sequence[str]:
        return tuple(self._nodes[name].get("output", ()))

    def is_output(self, name: str) -> bool:
        return bool(self._nodes[name].get("output_node"))

    def allows(self, spec: Any, value: Any) -> bool:
        """Whether a choice may have this value."""
        folder = _folder(spec)
        if folder is None:
            return value in self.choices(spec)
        if folder == "input":
            return isinstance(value, str) and self._files.named(value) is not None
        return self._shelves.has(folder, value) or value in _OWN.get(folder, ())

    def choices(self, spec: Any) -> list[Any]:
        """What a choice offers."""
        folder = _folder(spec)
        if folder == "input":
            return self._files.inputs()
        if folder is not None:
            return [*self._shelves.names(folder), *_OWN.get(folder, ())]
        if isinstance(spec[0], list):
            return spec[0]
        return list(spec[1].get("options", ())) if len(spec) > 1 else []

    def info(self, name: str) -> dict[str, Any]:
        """One class as `/object_info` describes it."""
        node = self._nodes[name]
        said = {part: self._specs(specs) for part, specs in node.get("input", {}).items()}
        outputs = list(node.get("output", ()))
        return {
            "input_order": {part: list(specs) for part, specs in said.items()},
            "output_is_list": [False for _ in outputs],
            "output_name": outputs,
            "name": name,
            "display_name": name,
            "description": "",
            "python_module": "nodes",
            "category": "",
            **node,
            "input": said,
        }

    def all(self) -> dict[str, Any]:
        return {name: self.info(name) for name in self._nodes}

    def _specs(self, specs: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: spec if _folder(spec) is None else [self.choices(spec), *spec[1:]]
            for name, spec in specs.items()
        }


def is_choice(spec: Any) -> bool:
    return isinstance(spec[0], list) or spec[0] == "COMBO" or _folder(spec) is not None


def _folder(spec: Any) -> str | None:
    """The folder whose files are offered, in this package's own data."""
    kind = spec[0]
    if isinstance(kind, str) and kind.startswith(_SHELF):
        return kind.removeprefix(_SHELF)
    return None


def _own() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(
        resources.files(__package__).joinpath("nodes.json").read_text(encoding="utf-8")
    )
    return data
