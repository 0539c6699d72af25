"""Manifest: what the YAML beside a graph says about its tokens, its models and its needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from imagen.core.capabilities import Parameter
from imagen.core.request import Task
from imagen.core.text import one_line
from imagen.core.validation import problems
from imagen.errors import WorkflowError
from imagen.graphs.tokens import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WITHOUT_WORKFLOW: Mapping[str, str] = {
    "control": "needs no workflow: control pictures go into any other; see controls",
    "preprocess": "goes by workflows named preprocess-canny, preprocess-depth, …",
}
"""Tasks that no single workflow does, and why."""
_URL = r"^(https?://\S+)?$"
_SHELF_NAME = Annotated[str, Field(pattern=r"^\w[\w .+-]*$")]
"""A workflow's name, which is no path."""


class File(BaseModel):
    """One file of weights, and where to get it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(min_length=1, description="Its name, as ComfyUI lists it.")
    folder: str = Field(
        pattern=r"^\w[\w-]*(/\w[\w-]*)*$", description="Where it goes, below ComfyUI's models/."
    )
    source: str = Field("", pattern=_URL, description="Where to get it: a URL.")
    size: str = Field("", description="About how large it is: 22.2 GiB.")
    licence: str = Field("", description="Of this file.")


class Model(File):
    """One file that the workflow loads."""

    token: str = Field("", description="The parameter that names another file instead.")


class ControlNet(File):
    """The file that steers by one kind of control picture."""

    folder: str = Field(
        "controlnet",
        pattern=r"^(controlnet|model_patches)$",
        description="controlnet, or model_patches for a net that patches the model itself.",
    )
    union: str = Field(
        "", description="For a net of several kinds: what SetUnionControlNetType calls this one."
    )


class NodePack(BaseModel):
    """Custom nodes that the workflow needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="What ComfyUI-Manager calls it.")
    source: str = Field("", pattern=_URL, description="Where to get it: a URL.")
    classes: tuple[str, ...] = Field(min_length=1, description="The nodes of it that are used.")

    @property
    def remedy(self) -> str:
        """What to do where one of its nodes is missing."""
        where = f"from {one_line(self.source)}" if self.source else "with ComfyUI-Manager"
        return f"Install the custom nodes {one_line(self.name)} {where}, and restart ComfyUI."


class Manifest(BaseModel):
    """What a workflow is, and what each of its tokens means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field("", description="What people call it.")
    description: str = Field("", description="What to know of it, in a few sentences.")
    licence: str = Field("", description="Of the model's weights.")
    task: str = Field("text-to-image", description="What it does.")
    family: str = Field(
        "",
        pattern=r"^([a-z0-9][a-z0-9.-]*)?$",
        description="The kind of model: sd15, sdxl, sd35, flux1, flux2-klein, z-image, …",
    )
    tasks: dict[Task, _SHELF_NAME] = Field(
        default_factory=dict,
        description="The workflow of each further task that its family can do, by name.",
    )
    comfyui: str = Field(
        "",
        pattern=r"^(\d+(\.\d+){1,3})?$",
        description="The oldest ComfyUI that can run it.",
    )
    parameters: dict[str, Parameter] = Field(
        default_factory=dict, description="Each token, by name."
    )
    models: tuple[Model, ...] = Field((), description="Each file that it loads.")
    controls: dict[str, ControlNet] = Field(
        default_factory=dict, description="The control net of each kind of control picture."
    )
    nodes: tuple[NodePack, ...] = Field((), description="Each pack of custom nodes that it needs.")
    output: tuple[str, ...] = Field(
        (), description="The ids of the nodes whose pictures count; by default all that save."
    )
    without: dict[str, str] = Field(
        default_factory=dict, description="Why a parameter it lacks is lacking, in a sentence."
    )

    @property
    def files(self) -> tuple[File, ...]:
        """Every file it speaks of: those of the graph, and its control nets."""
        return (*self.models, *self.controls.values())

    def pack_of(self, node_class: str) -> NodePack | None:
        """The pack of custom nodes that brings this class, where the manifest says so."""
        return next((pack for pack in self.nodes if node_class in pack.classes), None)

    def too_old(self, version: str | None) -> str:
        """Why a server of this version can't run it, in a sentence; "" where it can, or may."""
        needed, found = _numbers(self.comfyui), _numbers(version or "")
        if not (needed and found) or found >= needed:
            return ""
        shown = one_line(version or "", limit=40)
        return f"The server runs ComfyUI {shown}; this workflow needs {self.comfyui} or later."

    @field_validator("tasks")
    @classmethod
    def _of_its_own(cls, value: dict[Task, str]) -> dict[Task, str]:
        for task in value:
            if task in WITHOUT_WORKFLOW:
                raise ValueError(f"{task} {WITHOUT_WORKFLOW[task]}")
        return value

    @field_validator("output", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        many = value if isinstance(value, list | tuple) else [value]
        return [str(item) if isinstance(item, int) else item for item in many]

    @field_validator("parameters")
    @classmethod
    def _canonical(cls, value: dict[str, Parameter]) -> dict[str, Parameter]:
        named: dict[str, Parameter] = {}
        for name, parameter in value.items():
            if canonical(name) in named:
                raise ValueError(f"{name} and {canonical(name)} are one parameter; keep one")
            named[canonical(name)] = parameter
        return named


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def read_manifest(path: Path) -> Manifest:
    """The manifest in a YAML file; raises WorkflowError that says where it is wrong."""
    said = _parsed(path)
    if not isinstance(said, dict):
        raise WorkflowError(
            f"{path} is not a manifest: it should hold names and values (title: …, parameters: …)."
        )
    try:
        return Manifest.model_validate(said)
    except ValidationError as error:
        faults = "\n".join(f"  {p.sentence}" for p in problems(error, model=Manifest))
        raise WorkflowError(f"The manifest {path} is off:\n{faults}") from error


def _parsed(path: Path) -> Any:
    import yaml  # not needed for a graph without a manifest

    from imagen.core.yaml_values import parse_yaml

    try:
        return parse_yaml(path.read_text("utf-8-sig"))
    except yaml.MarkedYAMLError as error:
        raise WorkflowError(_where(path, error), remedy="Mend the YAML there.") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise WorkflowError(f"{path} is not YAML in UTF-8: {error}") from error
    except ValueError as error:
        raise WorkflowError(f"{path} {error}.") from error
    except OSError as error:
        raise WorkflowError(f"{path} can't be read: {error.strerror}.") from error


def _where(path: Path, error: Any) -> str:
    mark = error.problem_mark or error.context_mark
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{path}{place}: {error.problem or error.context}."
