"""The workflows of one backend: which does which task, and with which ControlNets."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.core.text import did_you_mean
from imagen.errors import RequestError, WorkflowError
from imagen.graphs import BUNDLED, ControlNet, find_workflow, list_workflow_names
from imagen.graphs.edits import place_of_model
from imagen.graphs.tokens import canonical_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.backends.comfyui.config import ComfyUIConfig
    from imagen.graphs import Workflow

_SHARED = {"upscale": "upscale-model", "restore": "restore-faces"}
"""The workflows that work with every model, by task."""
_PREPROCESS = "preprocess-"


class WorkflowSet:
    """The workflows of one configuration block; files are read when needed."""

    def __init__(self, config: ComfyUIConfig) -> None:
        self._config = config
        self._loaded: dict[str, Workflow] = {}

    @cached_property
    def base(self) -> Workflow:
        """The workflow that the block names."""
        return find_workflow(self._config.workflow, self._config.workflow_dirs)

    @property
    def reference(self) -> str:
        """The name or absolute path that finds the base workflow anywhere."""
        is_path = self._config.workflow != self.base.name
        return str(Path(self.base.source).expanduser().absolute()) if is_path else self.base.name

    @property
    def default_model(self) -> str:
        """The model file of the base workflow; "" where it names none, or several."""
        try:
            place = place_of_model(self.base.graph)
        except WorkflowError:
            return ""
        known = self.base.capabilities(self.overrides(self.base)).parameters
        return str(known[place.token].default or "") if place.token else place.value

    @property
    def dirs(self) -> tuple[Path, ...]:
        """The user's own folders of workflows."""
        return self._config.workflow_dirs

    @cached_property
    def by_task(self) -> dict[str, str]:
        """The name of the workflow of each task but preprocessing, the base ("") first."""
        base = self.base.manifest
        names = {base.task: ""}
        names |= {task: name for task, name in _SHARED.items() if name in self._found_names}
        names |= base.tasks | {base.task: ""} | self._config.tasks
        # A base that takes images, each of which has a file of the server as its default,
        # needs none in a request.
        parameters = self._config.parameters
        own = {n: v for n, v in parameters.items() if canonical_name(n) in self.base.tokens}
        known = self.base.capabilities(own).parameters.values()
        images = [parameter for parameter in known if parameter.type == "image"]
        if images and all(parameter.default is not None for parameter in images):
            names.setdefault("text-to-image", "")
        if "inpaint" in names:
            names.setdefault("outpaint", names["inpaint"])
        return names

    @cached_property
    def preprocessors(self) -> dict[str, str]:
        """The name of the workflow that makes each kind of control image."""
        names = (name for name in self._found_names if name.startswith(_PREPROCESS))
        return {name.removeprefix(_PREPROCESS): name for name in names}

    @cached_property
    def controls(self) -> dict[str, ControlNet]:
        """The ControlNet of each kind."""
        known = dict(self.base.manifest.controls)
        for kind, file in self._config.controlnets.items():  # in the folder of the one it replaces
            net = known.get(kind)
            known[kind] = ControlNet(file=file, folder=net.folder) if net else ControlNet(file=file)
        return known

    def of(self, task: str) -> Workflow:
        """The workflow of a task; control images are used with that of text-to-image.

        Raises WorkflowError where it is not found.
        """
        name = self.by_task.get("text-to-image" if task == "control" else task, "")
        return self._load(name) if name else self.base

    def for_task(self, task: str, kind: str | None) -> Workflow:
        """The workflow of a task; with a kind, the preprocessor for that kind of control image.

        Raises RequestError for an unknown kind.
        """
        if kind is None or not self.preprocessors:
            return self.of(task)
        if kind not in self.preprocessors:
            raise RequestError(
                f"preprocess cannot be {kind!r}.{did_you_mean(kind, self.preprocessors)}",
                remedy=f"Known: {', '.join(self.preprocessors)}.",
            )
        return self.preprocessor(kind)

    def preprocessor(self, kind: str) -> Workflow:
        """The workflow that makes control images of a kind, one of `preprocessors`."""
        return self._load(self.preprocessors[kind])

    def every_preprocessor(self) -> Iterator[Workflow]:
        return map(self.preprocessor, self.preprocessors)

    def overrides_of(self, name: str) -> dict[str, object]:
        """Other defaults for the workflow of this name or path; empty for a foreign one."""
        if name in (self._config.workflow, self.base.name):
            return self.overrides(self.base)
        known = {*self.by_task.values(), *self.preprocessors.values()}
        return self.overrides(self._load(name)) if name in known else {}

    def overrides(self, workflow: Workflow) -> dict[str, object]:
        """Other defaults for a workflow: the block's, and the files that its base loads.

        Raises WorkflowError for a parameter that no workflow of the backend has.
        """
        self._refuse_unknown_parameters()
        block = {canonical_name(name): value for name, value in self._config.parameters.items()}
        base = self.base.parameters
        if workflow is self.base:
            return {name: value for name, value in block.items() if name in base}
        tokens = (canonical_name(model.token) for model in self.base.manifest.models)
        files = {token: base[token].default for token in tokens if token in base}
        return {n: v for n, v in (files | block).items() if _accepts(workflow, n, v)}

    def _refuse_unknown_parameters(self) -> None:
        known = self.base.parameters
        unknown = {
            name: value
            for name, value in self._config.parameters.items()
            if canonical_name(name) not in known
        }
        if not unknown:
            return
        workflows = (*map(self.of, self.by_task), *self.every_preprocessor())
        others = {name for workflow in workflows for name in workflow.parameters}
        wrong = {n: value for n, value in unknown.items() if canonical_name(n) not in others}
        self.base.capabilities(wrong)  # raises, and suggests the nearest

    def _load(self, name: str) -> Workflow:
        if name == self.base.name:
            return self.base
        if name not in self._loaded:
            self._loaded[name] = find_workflow(name, self._folders)
        return self._loaded[name]

    @cached_property
    def _found_names(self) -> list[str]:
        return list_workflow_names(self._folders)

    @property
    def _folders(self) -> tuple[Path, ...]:
        """The user's folders, and that of the base workflow."""
        source = self.base.source
        beside = () if source == BUNDLED else (Path(source).expanduser().parent,)
        return (*self._config.workflow_dirs, *beside)


def _accepts(workflow: Workflow, name: str, value: object) -> bool:
    """Whether a default of the base workflow is valid for another workflow too."""
    if name not in workflow.parameters or value is None:
        return False
    try:
        workflow.capabilities({name: value})
    except WorkflowError:
        return False
    return True
