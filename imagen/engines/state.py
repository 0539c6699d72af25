"""Read the state, the capabilities and the models of configured backends."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from imagen.backends import kinds, load_adapter, open_backend
from imagen.backends.base import ModelKind
from imagen.backends.resources import find_resource
from imagen.core.request import Request, Task
from imagen.core.text import did_you_mean
from imagen.doctor import find_backend_problems, find_unset_variables
from imagen.errors import ImagenError, RequestError
from imagen.pipeline.pools import open_named
from imagen.views.backends import (
    BackendCapabilitiesView,
    BackendModelsView,
    BackendView,
    HealthView,
    PoolView,
    PriceView,
)
from imagen.views.base import ErrorView

if TYPE_CHECKING:
    from imagen.backends.base import Backend
    from imagen.config import Settings

TASKS: tuple[Task, ...] = get_args(Task)
MODEL_KINDS: tuple[ModelKind, ...] = get_args(ModelKind)
_BUILT_IN = "mock"
"""The backend that needs no configuration."""


def list_backends(settings: Settings) -> tuple[str, ...]:
    """The configured backends, and the one that needs no configuration."""
    return tuple(dict.fromkeys([*settings.backends, _BUILT_IN]))


def list_pools(settings: Settings) -> tuple[PoolView, ...]:
    """The pools of the configuration."""
    return tuple(
        PoolView(name=name, backends=of, default=name == settings.default_backend)
        for name, of in settings.pools.items()
    )


def list_kinds() -> dict[str, str]:
    """For each installed kind of backend, a line about it, or why it cannot be used."""
    summaries: dict[str, str] = {}
    for kind in kinds():
        try:
            summaries[kind] = load_adapter(kind).summary
        except ImagenError as error:
            summaries[kind] = error.message
    return summaries


def read_backend(name: str, settings: Settings, *, is_asked: bool) -> BackendView:
    """The state of a backend; its engine is contacted if `is_asked`. Errors are part of it."""
    block = settings.backends.get(name, {})
    kind = str(block.get("type", name))
    state = BackendView(
        name=name,
        kind=kind,
        label=kind,
        title=str(block.get("title") or ""),
        default=name == settings.default_backend,
        is_configured=name in settings.backends,
    )
    with suppress(ImagenError):
        state = state.model_copy(update={"label": load_adapter(kind).label or kind})
    problems = [
        *find_backend_problems(name, settings),
        *find_unset_variables(name, settings, os.environ),
    ]
    if problems:
        remedies = dict.fromkeys(text for p in problems for text in p.remedy.splitlines())
        summary = "; ".join(replace(p, path=p.path[2:]).sentence for p in problems)
        changes = {"ok": False, "summary": summary, "remedies": tuple(remedies)}
        return state.model_copy(update=changes)
    with suppress(ImagenError):
        resource = find_resource(name, settings.backends, settings.shared())
        state = state.model_copy(update={"engine": resource.name})
    if not is_asked:
        return state
    try:
        with closing(open_backend(name, settings.backends, settings.shared())) as engine:
            health = HealthView.of(engine.check())
            offer = _read_offer(engine) if health.ok else {}
    except ImagenError as error:
        changes = {"ok": False, "summary": error.message, "remedies": (error.remedy,)}
        return state.model_copy(update=changes)
    return state.model_copy(update={**dict(health), **offer})


def _read_offer(engine: Backend) -> dict[str, Any]:
    """The tasks of a backend, their parameters, and the price of an image."""
    tasks = engine.capabilities().tasks
    known = [task for task in TASKS if task in tasks]
    takes = dict.fromkeys(name for task in known for name in engine.capabilities(task).parameters)
    price = None
    if "text-to-image" in known:
        with suppress(ImagenError):
            price = PriceView.of(engine.prepare(Request(prompt="a", count=1)).estimate)
    return {"tasks": tasks, "takes": tuple(takes), "price": price}


def read_health(name: str, settings: Settings) -> HealthView:
    """Ask the engine of a backend whether it is ready. Raises ImagenError."""
    with closing(open_named(name, settings)) as engine:
        return HealthView.of(engine.check())


def read_capabilities(
    name: str, settings: Settings, *, task: Task | None = None, model: str | None = None
) -> BackendCapabilitiesView:
    """What a backend accepts for each of its tasks, or for one of them.

    Raises RequestError for a task that it cannot do, and for a model that it cannot use.
    """
    with closing(open_named(name, settings)) as engine:
        tasks = engine.capabilities(task or TASKS[0], model).tasks
        if task is not None and task not in tasks:
            raise RequestError(
                f"{name} cannot do {task}.{did_you_mean(task, tasks)}",
                remedy=f"Its tasks are: {', '.join(tasks)}.",
            )
        wanted = [task] if task else [known for known in TASKS if known in tasks] or [TASKS[0]]
        capabilities = {known: engine.capabilities(known, model) for known in wanted}
    block = settings.backends.get(name, {})
    return BackendCapabilitiesView.of(
        name, str(block.get("type", name)), str(block.get("title") or ""), capabilities
    )


def read_models(name: str, settings: Settings) -> BackendModelsView:
    """The models of a backend, by kind and name; an error is part of it."""
    try:
        with closing(open_named(name, settings)) as engine:
            models = sorted(
                engine.models(),
                key=lambda model: (MODEL_KINDS.index(model.kind), model.name.lower()),
            )
            adapter = load_adapter(str(settings.backends.get(name, {}).get("type", name)))
            gpus = () if adapter.is_service else engine.check().gpus
    except ImagenError as error:
        return failed_models(name, error)
    return BackendModelsView(name=name, models=tuple(models), gpus=gpus)


def failed_models(name: str, error: ImagenError) -> BackendModelsView:
    """What is known of the models of a backend that cannot be asked."""
    failure = ErrorView(code=error.code, message=error.message, remedy=error.remedy)
    return BackendModelsView(name=name, error=failure)
