"""The models that clients can name, of all backends, as their engines list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imagen.core.text import did_you_mean, one_line
from imagen.errors import ImagenError, NotFound

if TYPE_CHECKING:
    from imagen.backends.base import Model
    from imagen.config import Settings
    from imagen.engines.directory import EngineDirectory

_ENDINGS = ("safetensors", "sft", "gguf", "ckpt", "pt", "pth")
_MAIN_KINDS = ("checkpoint", "diffusion_model")


class ModelChoice(NamedTuple):
    """What a client may name as a model."""

    id: str
    """The name of a backend or pool, of a model of the default backend, or `backend/model`."""
    backend: str
    model: str | None
    """None is the backend's own."""


class ModelDirectory:
    """The names under which clients find what the engines offer."""

    def __init__(self, engines: EngineDirectory, settings: Settings) -> None:
        self._engines = engines
        self.default = settings.server.backend or settings.default_backend
        """The backend or pool of requests that name none."""
        self.backends = tuple(dict.fromkeys([self.default, *settings.pools, *settings.backends]))
        """All backends and pools, the default first."""
        self._own = settings.server.model

    def models_of(self, backend: str) -> tuple[Model, ...]:
        """What the engine of a backend lists, or of the first of a pool; nothing if it cannot."""
        listings = self._engines.models([backend]).backends
        return listings[0].models if listings else ()

    def choices(self) -> list[ModelChoice]:
        """The models of the default backend, then each backend and pool by its name."""
        names = [name for name in self._main_models() if name not in self.backends]
        return [
            *(ModelChoice(name, self.default, name) for name in names),
            *(ModelChoice(name, name, None) for name in self.backends),
        ]

    def own_choice(self) -> ModelChoice:
        """What is used where a request names no model."""
        if self._own is not None:
            return ModelChoice(self._own, self.default, self._own)
        own = [model.name for model in self.models_of(self.default) if model.is_default]
        known = {*self._main_models()} - {*self.backends}
        named = [name for name in own if name in known]
        return ModelChoice(next(iter(named), self.default), self.default, None)

    def find(self, name: str) -> ModelChoice:
        """The choice of this name; a model also without its folder and ending, or in other case.

        Raises NotFound. A name is kept if the default engine cannot say what it has.
        """
        if name in self.backends:
            return ModelChoice(name, name, None)
        listed = self._main_models()
        head, _, rest = name.partition("/")
        if rest and head in self.backends and name not in listed:
            return ModelChoice(name, head, rest)
        for alike in (str, _bare_name):
            same = [one for one in listed if alike(one) == alike(name)]
            if len(same) == 1:
                return ModelChoice(same[0], self.default, same[0])
        if not listed and self._takes_model():
            return ModelChoice(name, self.default, name)
        known = [choice.id for choice in self.choices()]
        raise NotFound(
            f"There is no model {one_line(name, limit=80)!r}.{did_you_mean(name, known)}",
            remedy="See the models with: imagen models",
        )

    def _main_models(self) -> list[str]:
        """The models of the default backend that a request can name, its own first."""
        main = [one for one in self.models_of(self.default) if one.kind in _MAIN_KINDS]
        names = [model.name for model in sorted(main, key=lambda model: not model.is_default)]
        return list(dict.fromkeys(names)) if names and self._takes_model() else []

    def _takes_model(self) -> bool:
        try:
            capabilities = self._engines.capabilities(self.default)
        except ImagenError:
            return False
        return any("model" in task.parameters for task in capabilities.tasks)


def _bare_name(name: str) -> str:
    """A model's name without folder and ending, in lower case."""
    bare = name.replace("\\", "/").rpartition("/")[2].lower()
    stem, _, ending = bare.rpartition(".")
    return stem if ending in _ENDINGS else bare
