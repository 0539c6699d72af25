"""Manifest: the YAML file beside a graph that describes its tokens, models and requirements."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from imagen.core.capabilities import Parameter
from imagen.core.request import Task
from imagen.core.text import one_line
from imagen.core.validation import problems
from imagen.errors import WorkflowError
from imagen.graphs.tokens import canonical_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WITHOUT_WORKFLOW: Mapping[str, str] = {
    "control": "needs no workflow: control images work with any other; see controls",
    "preprocess": "uses the workflows named preprocess-canny, preprocess-depth, …",
}
"""Tasks that have no workflow of their own, and why."""
_URL = r"^(https?://\S+)?$"
_WORKFLOW_NAME = Annotated[str, Field(pattern=r"^\w[\w .+-]*$")]


class ManifestFile(BaseModel):
    """One model file and where to download it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(min_length=1, description="Its name, as ComfyUI lists it.")
    folder: str = Field(
        pattern=r"^\w[\w-]*(/\w[\w-]*)*$", description="Its folder below ComfyUI's models/."
    )
    source: str = Field("", pattern=_URL, description="Download URL.")
    size: str = Field("", description="Approximate size: 22.2 GiB.")
    licence: str = Field("", description="Licence of this file.")


class ManifestModel(ManifestFile):
    """One file that the workflow loads."""

    token: str = Field("", description="The parameter that can name another file.")


class ControlNet(ManifestFile):
    """The ControlNet file for one kind of control image."""

    folder: str = Field(
        "controlnet",
        pattern=r"^(controlnet|model_patches)$",
        description="controlnet, or model_patches for a ControlNet that patches the model.",
    )
    union: str = Field(
        "",
        description="For a ControlNet of several kinds: the name of this kind in "
        "SetUnionControlNetType.",
    )


class NodePack(BaseModel):
    """Custom nodes that the workflow needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="Its name in ComfyUI-Manager.")
    source: str = Field("", pattern=_URL, description="Download URL.")
    classes: tuple[str, ...] = Field(min_length=1, description="The node classes that are used.")

    @property
    def remedy(self) -> str:
        """What to do if one of its nodes is missing."""
        where = f"from {one_line(self.source)}" if self.source else "with ComfyUI-Manager"
        return f"Install the custom nodes {one_line(self.name)} {where}, and restart ComfyUI."


class Manifest(BaseModel):
    """What a workflow is, and what each of its tokens means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field("", description="Its name for people.")
    description: str = Field("", description="What to know about it, in a few sentences.")
    licence: str = Field("", description="Licence of the model's weights.")
    task: str = Field("text-to-image", description="What it does.")
    family: str = Field(
        "",
        pattern=r"^([a-z0-9][a-z0-9.-]*)?$",
        description="Model family: sd15, sdxl, sd35, flux1, flux2-klein, z-image, …",
    )
    tasks: dict[Task, _WORKFLOW_NAME] = Field(
        default_factory=dict,
        description="The workflow of each further task of the family, by name.",
    )
    comfyui: str = Field(
        "",
        pattern=r"^(\d+(\.\d+){1,3})?$",
        description="The oldest ComfyUI version that can run it.",
    )
    parameters: dict[str, Parameter] = Field(
        default_factory=dict, description="Each token, by name."
    )
    models: tuple[ManifestModel, ...] = Field((), description="Each file that it loads.")
    controls: dict[str, ControlNet] = Field(
        default_factory=dict, description="The ControlNet of each kind of control image."
    )
    nodes: tuple[NodePack, ...] = Field((), description="Each pack of custom nodes that it needs.")
    output: tuple[str, ...] = Field(
        (), description="The ids of the nodes whose images are kept; by default all that save."
    )
    without: dict[str, str] = Field(
        default_factory=dict, description="Why it lacks a parameter, in a sentence."
    )

    @property
    def files(self) -> tuple[ManifestFile, ...]:
        """Every file: those of the graph and the ControlNets."""
        return (*self.models, *self.controls.values())

    def pack_of(self, node_class: str) -> NodePack | None:
        """The pack of custom nodes that has this class, if the manifest names one."""
        return next((pack for pack in self.nodes if node_class in pack.classes), None)

    def too_old(self, version: str | None) -> str:
        """Why a server of this version cannot run it, in a sentence; "" if it can, or may."""
        needed, running = _version_numbers(self.comfyui), _version_numbers(version or "")
        if not (needed and running) or running >= needed:
            return ""
        shown = one_line(version or "", limit=40)
        return f"The server runs ComfyUI {shown}; this workflow needs {self.comfyui} or later."

    @field_validator("tasks")
    @classmethod
    def _check_tasks(cls, value: dict[Task, str]) -> dict[Task, str]:
        for task in value:
            if task in WITHOUT_WORKFLOW:
                raise ValueError(f"{task} {WITHOUT_WORKFLOW[task]}")
        return value

    @field_validator("output", mode="before")
    @classmethod
    def _output_ids(cls, value: object) -> object:
        """One id or several, which YAML may read as numbers."""
        ids = value if isinstance(value, list | tuple) else [value]
        return [str(item) if isinstance(item, int) else item for item in ids]

    @field_validator("parameters")
    @classmethod
    def _canonical_names(cls, value: dict[str, Parameter]) -> dict[str, Parameter]:
        named: dict[str, Parameter] = {}
        for name, parameter in value.items():
            canonical = canonical_name(name)
            if canonical in named:
                raise ValueError(f"{name} and {canonical} are the same parameter; keep one")
            named[canonical] = parameter
        return named


def _version_numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def read_manifest(path: Path) -> Manifest:
    """Read a manifest from a YAML file. Raises WorkflowError that says where it is wrong."""
    import yaml  # only graphs with a manifest need it

    from imagen.core.yaml_values import parse_yaml

    try:
        value = parse_yaml(path.read_text("utf-8-sig"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = error.problem or error.context
        raise WorkflowError(f"{path}{place}: {what}.", remedy="Correct the YAML there.") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise WorkflowError(f"{path} is not YAML in UTF-8: {error}") from error
    except ValueError as error:
        raise WorkflowError(f"{path} {error}.") from error
    except OSError as error:
        raise WorkflowError(f"Cannot read {path}: {error.strerror}.") from error
    if not isinstance(value, dict):
        raise WorkflowError(
            f"{path} is not a manifest: expected names and values (title: …, parameters: …)."
        )
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        faults = "\n".join(f"  {p.sentence}" for p in problems(error, model=Manifest))
        raise WorkflowError(f"The manifest {path} is not valid:\n{faults}") from error
