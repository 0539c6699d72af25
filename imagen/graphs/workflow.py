"""Workflow: a graph with tokens and its manifest, and finding one by name or path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.core.capabilities import Capabilities, Parameter, translate_words
from imagen.core.request import USUAL_SIDE
from imagen.core.text import did_you_mean, nearest
from imagen.errors import RequestError, WorkflowError
from imagen.graphs.graph import read_graph
from imagen.graphs.manifest import Manifest, read_manifest
from imagen.graphs.tokens import bind, canonical_name, tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.graphs.graph import Graph, Node

BUNDLED = "bundled"
"""The source of the workflows that ship with imagen."""
_PACKAGE = Path(__file__).parent.parent
_MAX_SIMILAR = 5
_INFERRED: Mapping[str, Mapping[str, object]] = {
    "prompt": {"type": "string"},
    "negative": {"type": "string", "default": ""},
    "prompt_2": {"type": "string"},
    "negative_2": {"type": "string"},
    "width": {"type": "int", "default": USUAL_SIDE, "min": 16, "max": 16384},
    "height": {"type": "int", "default": USUAL_SIDE, "min": 16, "max": 16384},
    "seed": {"type": "int", "min": 0},
    "steps": {"type": "int", "min": 1, "max": 10000},
    "cfg": {"type": "float", "min": 0, "max": 100},
    "guidance": {"type": "float", "min": 0, "max": 100},
    "sampler": {"type": "string"},
    "scheduler": {"type": "string"},
    "count": {"type": "int", "min": 1, "default": 1},
    "image": {"type": "image"},
    "strength": {"type": "float", "min": 0, "max": 1, "default": 1.0},
    "mask": {"type": "image"},
    "reference": {"type": "image"},
    "filename_prefix": {"type": "string", "default": "imagen"},
}
"""The parameter of a token that no manifest describes, by its name."""


@dataclass(frozen=True)
class Workflow:
    """A ComfyUI graph in API format, whose tokens are its parameters."""

    name: str
    graph: Graph
    manifest: Manifest
    source: str
    """Where it comes from, for people: `bundled`, or the file's path."""

    @cached_property
    def tokens(self) -> frozenset[str]:
        """The canonical names of the graph's tokens."""
        return frozenset(canonical_name(place.token) for place in tokens_of(self.graph))

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The parameter of each token, in the manifest's order, then the inferred ones."""
        known = {n: p for n, p in self.manifest.parameters.items() if n in self.tokens}
        return known | {n: _infer_parameter(n) for n in sorted(self.tokens - known.keys())}

    def capabilities(self, overrides: Mapping[str, object] | None = None) -> Capabilities:
        """What this workflow accepts; `overrides` replace defaults, by parameter.

        Raises WorkflowError for an unknown parameter, or a value that it does not accept.
        """
        parameters = dict(self.parameters)
        named, _ = translate_words(overrides or {}, parameters)
        for name, value in named.items():
            parameter = self.parameters.get(canonical_name(name))
            if parameter is None:
                raise WorkflowError(
                    f"The workflow {self.name!r} has no parameter {name!r}."
                    + did_you_mean(name, self.parameters),
                    remedy=f"It has: {', '.join(self.parameters)}.",
                )
            try:
                fitted = parameter.fit(name, value)
            except RequestError as error:
                raise WorkflowError(
                    f"Workflow {self.name!r}: {error.message}", remedy=error.remedy
                ) from error
            if fitted != value:
                raise WorkflowError(
                    f"Workflow {self.name!r}: {name} cannot be {value!r}; "
                    f"the nearest value is {fitted!r}."
                )
            parameters[canonical_name(name)] = parameter.model_copy(update={"default": fitted})
        return Capabilities(
            tasks=(self.manifest.task,), parameters=parameters, without=self.manifest.without
        )

    def bind_defaults(self, overrides: Mapping[str, object] | None = None) -> dict[str, Node]:
        """The graph bound to its defaults; a token without one stays."""
        values: dict[str, object] = {name: f"$<{name}>" for name in self.tokens}
        for name, parameter in self.capabilities(overrides).parameters.items():
            if parameter.default is not None:
                values[name] = parameter.default
        return bind(self.graph, values)


def infer_manifest(graph: Mapping[str, object]) -> Manifest:
    """The manifest of a graph that has none: its tokens are its parameters."""
    names = sorted({canonical_name(place.token) for place in tokens_of(graph)})
    task = "text-to-image"
    if "mask" in names:
        task = "inpaint"
    elif "image" in names:
        task = "image-to-image"
    return Manifest(task=task, parameters={name: _infer_parameter(name) for name in names})


def _infer_parameter(name: str) -> Parameter:
    return Parameter.model_validate(_INFERRED.get(name, {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedWorkflow:
    """One workflow file, also an unreadable one, or one that another of its name hides."""

    name: str
    source: str
    workflow: Workflow | None = None
    error: WorkflowError | None = None
    """Why it cannot be read."""
    hidden_by: str = ""
    """The source of the workflow of the same name that is used instead."""


def bundled_folder(package: Path = _PACKAGE) -> Path:
    """The folder of the workflows that ship with imagen: in the installed package, or beside it
    in a checkout."""
    installed = package / "workflows"
    return installed if installed.is_dir() else package.parent / "workflows"


def find_workflow(name_or_path: str, folders: Sequence[Path] = ()) -> Workflow:
    """The workflow of a file's path, or of a name in `folders` or among the bundled ones.

    Only that one is read. Raises WorkflowError if it does not exist or cannot be read.
    """
    if name_or_path.lower().endswith(".json") or "/" in name_or_path or "\\" in name_or_path:
        path = Path(name_or_path).expanduser()
        return _read_workflow(path, str(path))
    for name, path, source in _workflow_files(folders):
        if name == name_or_path:
            return _read_workflow(path, source)
    names = list_workflow_names(folders)
    similar: list[str] = []
    for _ in range(_MAX_SIMILAR):
        if near := nearest(name_or_path, [other for other in names if other not in similar]):
            similar.append(near)
    missing = [str(folder) for folder in folders if not os.path.isdir(folder.expanduser())]
    remedies = ["`imagen workflows list` shows all names; or give the path of a .json file."]
    if len(similar) > 1:
        remedies.insert(0, f"Similar names: {', '.join(similar)}.")
    if missing:
        remedies.append(f"Workflow folder not found: {', '.join(missing)}.")
    raise WorkflowError(
        f"Workflow {name_or_path!r} not found.{did_you_mean(name_or_path, names)}",
        remedy="\n".join(remedies),
    )


def list_workflow_files(folders: Sequence[Path] = ()) -> list[ListedWorkflow]:
    """Every workflow file by name, also the unreadable and the hidden ones."""
    first: dict[str, str] = {}
    listed = []
    for name, path, source in _workflow_files(folders):
        used = first.setdefault(name, source)
        hidden_by = "" if used == source else used
        try:
            workflow, error = _read_workflow(path, source), None
        except WorkflowError as exc:
            workflow, error = None, exc
        listed.append(
            ListedWorkflow(
                name=name, source=source, workflow=workflow, error=error, hidden_by=hidden_by
            )
        )
    return sorted(listed, key=lambda one: (one.name, one.hidden_by))


def list_workflows(folders: Sequence[Path] = ()) -> list[Workflow]:
    """Every workflow that `find_workflow` finds by name."""
    listed = list_workflow_files(folders)
    return [one.workflow for one in listed if one.workflow and not one.hidden_by]


def list_workflow_names(folders: Sequence[Path] = ()) -> list[str]:
    """The name of every workflow; no file is read."""
    return sorted({name for name, _, _ in _workflow_files(folders)})


def _workflow_files(folders: Sequence[Path]) -> Iterator[tuple[str, Path, str]]:
    """Name, path and source of each file, in the order in which names are looked up."""
    for folder in dict.fromkeys(folders):
        for path in _json_files(folder.expanduser()):
            yield path.stem, path, str(path)
    for path in _json_files(bundled_folder()):
        yield path.stem, path, BUNDLED


def _json_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".json")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise WorkflowError(
            f"Cannot read the workflow folder {folder}: {error.strerror}."
        ) from error


def _read_workflow(path: Path, source: str) -> Workflow:
    graph = read_graph(path)
    beside = (path.with_suffix(suffix) for suffix in (".yaml", ".yml"))
    file = next(filter(os.path.isfile, beside), None)
    manifest = read_manifest(file) if file else infer_manifest(graph)
    return Workflow(path.stem, graph, manifest, source)
