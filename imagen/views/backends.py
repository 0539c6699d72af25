"""Backends as JSON: their state, what they accept, and their models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from imagen.backends.base import Gpu, MissingCapability, Model
from imagen.core.prompt_syntax import Syntax
from imagen.views.base import ErrorView, View
from imagen.views.parameters import ParameterView, describe_parameters

if TYPE_CHECKING:
    from imagen.backends.base import Health
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Task
    from imagen.core.ticket import Estimate


class HealthView(View):
    """Whether an engine is ready to work, and what it reports."""

    ok: bool
    summary: str = Field(description="`ok`, or the first problem.")
    remedies: tuple[str, ...] = Field((), description="What to do, a sentence each.")
    facts: dict[str, str] = Field(
        default_factory=dict, description="What the engine reports, such as its version."
    )
    gpus: tuple[Gpu, ...] = ()
    lacking: tuple[MissingCapability, ...] = Field(
        (), description="Optional features that are missing."
    )

    @classmethod
    def of(cls, health: Health) -> HealthView:
        return cls(
            ok=health.ok,
            summary=health.summary,
            remedies=health.remedies,
            facts=dict(health.facts),
            gpus=health.gpus,
            lacking=health.lacking,
        )


class PriceView(View):
    """What an image costs."""

    is_free: bool = Field(description="Whether the engine charges nothing.")
    usd: float | None = Field(description="Null if it is free, or if the price is unknown.")
    basis: str = Field("", description="How it is calculated, in a sentence.")

    @classmethod
    def of(cls, estimate: Estimate | None) -> PriceView:
        if estimate is None:
            return cls(is_free=True, usd=None)
        return cls(is_free=False, usd=estimate.usd, basis=estimate.basis)


class BackendView(View):
    """A backend, and whether it is ready."""

    name: str
    kind: str = Field(description="The kind of engine, as `type` in the configuration.")
    label: str = Field("", description="The kind of engine as people write it.")
    title: str
    engine: str = Field(
        "", description="What its jobs take turns on: other backends may share it. Empty if unknown"
    )
    default: bool = Field(description="Whether it is the default backend.")
    is_configured: bool = Field(
        False, description="Whether the configuration has it; the mock is there without."
    )
    ok: bool | None = Field(
        None, description="Null if nothing is wrong so far and its engine was not asked."
    )
    summary: str = Field("configured", description="`ok`, or the first problem.")
    remedies: tuple[str, ...] = Field((), description="What to do, a sentence each.")
    facts: dict[str, str] = Field(
        default_factory=dict, description="What the engine reports, such as its version."
    )
    gpus: tuple[Gpu, ...] = ()
    lacking: tuple[MissingCapability, ...] = Field(
        (), description="What it cannot do at the moment, and why."
    )
    tasks: tuple[str, ...] = Field((), description="Empty unless its engine was asked and is ready")
    takes: tuple[str, ...] = Field(
        (),
        description="The parameters of its tasks; empty unless its engine was asked and is ready",
    )
    price: PriceView | None = Field(
        None, description="Of its own model. Null if its engine was not asked, or is not ready."
    )


class PoolView(View):
    """Backends that can take each other's jobs."""

    name: str
    backends: tuple[str, ...]
    default: bool


class BackendsView(View):
    """All backends, and the pools of them."""

    backends: tuple[BackendView, ...]
    pools: tuple[PoolView, ...]
    kinds: dict[str, str] = Field(description="For each installed kind, a line about it.")


class FoundEngineView(View):
    """An engine that was found, and the backends that it can be."""

    kind: str = Field(description="The kind of engine, as `type` in the configuration.")
    place: str = Field(description="Its address, or its model's file.")
    backends: tuple[str, ...] = Field(description="What the backends would be called.")
    configured: tuple[str, ...] = Field(description="Those of them that the configuration has.")


class SilentEngineView(View):
    """A kind of engine that did not answer."""

    kind: str
    label: str = Field(description="The kind of engine as people write it.")
    error: str = Field(description="What went wrong, in a sentence.")


class DetectionView(View):
    """The engines that were found, and what they cannot run yet."""

    engines: tuple[FoundEngineView, ...]
    left_out: dict[str, tuple[MissingCapability, ...]] = Field(
        description="What is missing, by the kind of engine."
    )
    silent: tuple[SilentEngineView, ...]


class BackendAdditionView(View):
    """What became of the backends of the engines that were found."""

    file: str = Field(description="The configuration.")
    in_use: bool = Field(
        description="Whether this server runs their jobs now; else a worker has to start again."
    )
    added: tuple[str, ...]
    present: tuple[str, ...] = Field(description="The configuration had them, maybe renamed.")
    differing: tuple[str, ...] = Field(
        description="The configuration has others of these names, which were kept."
    )
    default: str = Field(description="Its default backend now.")


class TaskView(View):
    """What a backend accepts for a task."""

    task: str
    parameters: dict[str, ParameterView]
    without: dict[str, str] = Field(description="For each unsupported parameter: why.")


class BackendCapabilitiesView(View):
    """What a backend can do: its tasks and their parameters."""

    name: str
    kind: str
    title: str
    tasks: tuple[TaskView, ...]
    controls: tuple[str, ...] = Field(description="The kinds of control image that it accepts.")
    preprocessors: tuple[str, ...] = Field(description="Those that it can make from an image.")
    prompt_syntax: tuple[Syntax, ...] | None = Field(
        description="What it reads in a prompt: weights, choices, loras; null if unknown."
    )
    health: HealthView | None = Field(None, description="Null if its engine was not asked.")

    @classmethod
    def of(
        cls, name: str, kind: str, title: str, tasks: dict[Task, Capabilities]
    ) -> BackendCapabilitiesView:
        common = next(iter(tasks.values()))
        return cls(
            name=name,
            kind=kind,
            title=title,
            tasks=tuple(
                TaskView(
                    task=task,
                    parameters=describe_parameters(
                        capabilities.parameters,
                        capabilities.controls,
                        capabilities.preprocessors,
                    ),
                    without=capabilities.without,
                )
                for task, capabilities in tasks.items()
            ),
            controls=common.controls,
            preprocessors=common.preprocessors,
            prompt_syntax=common.prompt_syntax,
        )


class BackendModelsView(View):
    """The models of one backend, or why it cannot list them."""

    name: str
    models: tuple[Model, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    error: ErrorView | None = None

    def only(self, kind: str | None) -> BackendModelsView:
        """With the models of one kind alone; without a kind, all of it."""
        if kind is None:
            return self
        models = tuple(model for model in self.models if model.kind == kind)
        return self.model_copy(update={"models": models, "gpus": ()})


class ModelsView(View):
    """The models of several backends."""

    backends: tuple[BackendModelsView, ...]
