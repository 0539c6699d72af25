"""The workflows of one backend: which does which task, and with which control nets."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.core.text import did_you_mean
from imagen.errors import RequestError, WorkflowError
from imagen.graphs import BUNDLED, ControlNet, find_workflow, list_workflow_names
from imagen.graphs.edits import place_of_model
from imagen.graphs.tokens import canonical_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.backends.comfyui.config import ComfyUIConfig
    from imagen.graphs import Workflow

_OF_EVERY_FAMILY = {"upscale": "upscale-model", "restore": "restore-faces"}
"""The workflows that serve every model, by task."""
_PREPROCESS = "preprocess-"


class WorkflowSet:
    """What the backend of one block of the configuration can run; files are read when needed."""

    def __init__(self, config: ComfyUIConfig) -> None:
        self._config = config
        self._read: dict[str, Workflow] = {}

    @property
    def reference(self) -> str:
        """The workflow that the block names, by the name or the path that finds it anywhere."""
        source = self.base.source
        is_path = self._config.workflow != self.base.name
        return str(Path(source).expanduser().absolute()) if is_path else self.base.name

    @cached_property
    def base(self) -> Workflow:
        """The workflow that the block names."""
        return find_workflow(self._config.workflow, self._config.workflow_dirs)

    @property
    def default_model(self) -> str:
        """The model file of the base; "" where it names none, or several."""
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
        """The name of the workflow of each task but preprocessing, the base's own first."""
        own = {self.base.manifest.task: ""}
        shared = {t: name for t, name in _OF_EVERY_FAMILY.items() if name in self._shelved}
        found = own | shared | self.base.manifest.tasks | own | self._config.tasks
        if self._has_pictures_of_its_own():
            found.setdefault("text-to-image", "")
        if "inpaint" in found:
            found.setdefault("outpaint", found["inpaint"])
        return found

    @cached_property
    def preprocessors(self) -> dict[str, str]:
        """The name of the workflow that makes each kind of control picture."""
        made = (name for name in self._shelved if name.startswith(_PREPROCESS))
        return {name.removeprefix(_PREPROCESS): name for name in made}

    @cached_property
    def controls(self) -> dict[str, ControlNet]:
        """The control net of each kind."""
        known = self.base.manifest.controls
        mine = {k: _net(file, known.get(k)) for k, file in self._config.controlnets.items()}
        return {**known, **mine}

    def of(self, task: str) -> Workflow:
        """The workflow of a task; control pictures steer that of text alone.

        Raises WorkflowError where it is not on the shelves.
        """
        name = self.by_task.get("text-to-image" if task == "control" else task, "")
        return self._named(name) if name else self.base

    def for_task(self, task: str, kind: str | None) -> Workflow:
        """The workflow of a task, which with a kind is that of its control picture; else the base.

        Raises RequestError for a kind that none makes.
        """
        if kind is None or not self.preprocessors:
            return self.of(task)
        if kind not in self.preprocessors:
            raise RequestError(
                f"preprocess can't be {kind!r}." + did_you_mean(kind, self.preprocessors),
                remedy=f"Known: {', '.join(self.preprocessors)}.",
            )
        return self.preprocessor(kind)

    def preprocessor(self, kind: str) -> Workflow:
        """The workflow that makes control pictures of a kind, one of `preprocessors`."""
        return self._named(self.preprocessors[kind])

    def every_preprocessor(self) -> Iterator[Workflow]:
        """The workflow of each kind of control picture."""
        return map(self.preprocessor, self.preprocessors)

    def overrides_of(self, name: str) -> dict[str, Any]:
        """Other defaults for the workflow of this name or path; none where it is none of ours."""
        if name in (self._config.workflow, self.base.name):
            return self.overrides(self.base)
        ours = {*self.by_task.values(), *self.preprocessors.values()}
        return self.overrides(self._named(name)) if name in ours else {}

    def overrides(self, workflow: Workflow) -> dict[str, Any]:
        """Other defaults for a workflow: the block's, and the files that its base loads.

        Raises WorkflowError for one that no workflow of the backend takes.
        """
        self._refuse_unknown_parameters()
        mine = {canonical_name(name): value for name, value in self._config.parameters.items()}
        if workflow is self.base:
            return {name: value for name, value in mine.items() if name in workflow.parameters}
        return {n: v for n, v in (self._files() | mine).items() if _takes(workflow, n, v)}

    def _has_pictures_of_its_own(self) -> bool:
        """Whether the base takes some and needs none: each has a default, a file of the server."""
        known = self.base.capabilities(
            {
                n: v
                for n, v in self._config.parameters.items()
                if canonical_name(n) in self.base.tokens
            }
        ).parameters
        pictures = [p for p in known.values() if p.type == "image"]
        return bool(pictures) and all(p.default is not None for p in pictures)

    def _files(self) -> dict[str, Any]:
        """The files that the base loads, by token."""
        known = self.base.parameters
        tokens = (canonical_name(model.token) for model in self.base.manifest.models)
        return {token: known[token].default for token in tokens if token in known}

    def _refuse_unknown_parameters(self) -> None:
        known = self.base.parameters
        unknown = {
            n: v for n, v in self._config.parameters.items() if canonical_name(n) not in known
        }
        if not unknown:
            return
        others = {name for workflow in self._others() for name in workflow.parameters}
        wrong = {
            name: value for name, value in unknown.items() if canonical_name(name) not in others
        }
        self.base.capabilities(wrong)  # raises, with the nearest

    def _others(self) -> Iterator[Workflow]:
        yield from map(self.of, self.by_task)
        yield from self.every_preprocessor()

    def _named(self, name: str) -> Workflow:
        if name == self.base.name:
            return self.base
        if name not in self._read:
            self._read[name] = find_workflow(name, self._dirs)
        return self._read[name]

    @cached_property
    def _shelved(self) -> list[str]:
        return list_workflow_names(self._dirs)

    @property
    def _dirs(self) -> tuple[Path, ...]:
        """The user's folders, and the one in which the base lies."""
        source = self.base.source
        beside = () if source == BUNDLED else (Path(source).expanduser().parent,)
        return (*self._config.workflow_dirs, *beside)


def _net(file: str, known: ControlNet | None) -> ControlNet:
    """Another file of a kind; where it goes is as with the one it stands in for."""
    return ControlNet(file=file, folder=known.folder) if known else ControlNet(file=file)


def _takes(workflow: Workflow, name: str, value: Any) -> bool:
    """Whether a default that is the base's, or meant for it, holds for another workflow too."""
    if name not in workflow.parameters or value is None:
        return False
    try:
        workflow.capabilities({name: value})
    except WorkflowError:
        return False
    return True
