"""What the engines say, asked once for all clients of this process and kept for a while."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from imagen.doctor import examine
from imagen.engines.answer_cache import Answer, AnswerCache
from imagen.engines.state import (
    failed_models,
    list_backends,
    list_kinds,
    list_pools,
    read_backend,
    read_capabilities,
    read_health,
    read_models,
)
from imagen.errors import TimedOut
from imagen.pipeline.pools import members_of
from imagen.views.backends import (
    BackendCapabilitiesView,
    BackendModelsView,
    BackendsView,
    BackendView,
    HealthView,
    ModelsView,
)
from imagen.views.doctor import DoctorView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.backends.base import ModelKind
    from imagen.config import Settings
    from imagen.core.request import Task

_KEEP_SECONDS = 5.0
"""How long an answer is passed on to other clients."""
_PATIENCE_SECONDS = 5.0
"""How long clients wait for an engine; its answer is used for the next ones."""
_EXAMINE_SECONDS = 10.0
"""For all checks of doctor together."""


class EngineDirectory:
    """The state, the capabilities and the models of backends. Threads may share it.

    Each engine is asked at most once at a time, however many clients ask.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        keep_seconds: float = _KEEP_SECONDS,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._settings = settings
        self._states = AnswerCache[BackendView](keep_seconds, patience_seconds)
        self._health = AnswerCache[HealthView](keep_seconds, patience_seconds)
        self._capabilities = AnswerCache[BackendCapabilitiesView](keep_seconds, patience_seconds)
        self._models = AnswerCache[BackendModelsView](keep_seconds, patience_seconds)
        self._examinations = AnswerCache[DoctorView](keep_seconds, 2 * _EXAMINE_SECONDS)

    def backends(self, *, is_asked: bool) -> BackendsView:
        """Every backend and pool; the engines are contacted at the same time if `is_asked`."""
        names = list_backends(self._settings)
        for name in names:
            self._begin_state(name, is_asked=is_asked)
        return BackendsView(
            backends=tuple(self.backend(name, is_asked=is_asked) for name in names),
            pools=list_pools(self._settings),
            kinds=list_kinds(),
        )

    def backend(self, name: str, *, is_asked: bool) -> BackendView:
        """The state of a backend. Raises UnknownBackend."""
        name = self._first(name)
        try:
            return self._states.finish(self._begin_state(name, is_asked=is_asked))
        except TimedOut as error:
            state = read_backend(name, self._settings, is_asked=False)
            return state.model_copy(update={"ok": False, "summary": error.message})

    def health(self, name: str, *, patience_seconds: float | None = None) -> HealthView:
        """Whether the engine of a backend is ready. Raises ImagenError."""
        name = self._first(name)
        answer = self._health.begin(name, partial(read_health, name, self._settings))
        try:
            return self._health.finish(answer, patience_seconds)
        except TimedOut as error:
            return HealthView(ok=False, summary=error.message)

    def capabilities(
        self, name: str, *, task: Task | None = None, model: str | None = None
    ) -> BackendCapabilitiesView:
        """What a backend accepts, or the first one of a pool. Raises ImagenError."""
        name = self._first(name)
        call = partial(read_capabilities, name, self._settings, task=task, model=model)
        return self._capabilities.finish(self._capabilities.begin((name, task, model), call))

    def models(self, names: Sequence[str] = (), kind: ModelKind | None = None) -> ModelsView:
        """The models of these backends and pools, or of all; errors are part of it.

        Raises UnknownBackend.
        """
        chosen = names or tuple(self._settings.backends) or ("mock",)
        members = dict.fromkeys(one for name in chosen for one in members_of(name, self._settings))
        answers = {
            name: self._models.begin(name, partial(read_models, name, self._settings))
            for name in members
        }

        def finish(name: str) -> BackendModelsView:
            try:
                return self._models.finish(answers[name])
            except TimedOut as error:
                return failed_models(name, error)

        return ModelsView(backends=tuple(finish(name).only(kind) for name in members))

    def examine(self, *, is_quick: bool) -> DoctorView:
        """What is wrong with everything that imagen needs; if `is_quick`, no server is asked."""

        def call() -> DoctorView:
            return DoctorView.of(
                examine(settings=self._settings, quick=is_quick, patience_seconds=_EXAMINE_SECONDS)
            )

        return self._examinations.finish(self._examinations.begin(is_quick, call))

    def _first(self, name: str) -> str:
        return next(iter(members_of(name, self._settings)), name)

    def _begin_state(self, name: str, *, is_asked: bool) -> Answer[BackendView]:
        call = partial(read_backend, name, self._settings, is_asked=is_asked)
        return self._states.begin((name, is_asked), call)
