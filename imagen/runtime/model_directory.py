"""The models that clients can name, of all backends, as their engines list them."""

from __future__ import annotations

import threading
import time
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from imagen.core.text import did_you_mean, one_line
from imagen.errors import ImagenError, NotFound
from imagen.net.threads import Background
from imagen.pipeline.pools import open_named

if TYPE_CHECKING:
    from imagen.backends.base import Model
    from imagen.config import Settings

_ANSWER_SECONDS = 3.0
"""How long a client waits for engines to list their models."""
_FRESH_SECONDS = 60.0
_ENDINGS = ("safetensors", "sft", "gguf", "ckpt", "pt", "pth")
_MAIN_KINDS = ("checkpoint", "diffusion_model")


class ModelChoice(NamedTuple):
    """What a client may name as a model."""

    id: str
    """The name of a backend or pool, of a model of the default backend, or `backend/model`."""
    backend: str
    model: str | None
    """None is the backend's own."""


class _Listing(NamedTuple):
    models: tuple[Model, ...]
    names: tuple[str, ...]
    """Those that a request can name as its model."""


class ModelDirectory:
    """What the engines offer, read once in a while. Threads may share it."""

    def __init__(self, settings: Settings, default: str) -> None:
        self._settings = settings
        self.default = default
        """The backend or pool of requests that name none."""
        self.backends = tuple(dict.fromkeys([default, *settings.pools, *settings.backends]))
        """All backends and pools, the default first."""
        self._lock = threading.Lock()
        self._listings: dict[str, tuple[float, _Listing]] = {}
        self._reading: dict[str, Background[_Listing]] = {}

    def models_of(self, backend: str) -> tuple[Model, ...]:
        """What an engine lists now, or listed when it last answered; nothing if it never did."""
        return self._list(backend).models

    def forget(self) -> None:
        """Ask the engines anew the next time."""
        with self._lock:
            self._listings.clear()

    def choices(self) -> list[ModelChoice]:
        """The models of the default backend, then each backend and pool by its name."""
        names = [name for name in self._list(self.default).names if name not in self.backends]
        return [
            *(ModelChoice(name, self.default, name) for name in names),
            *(ModelChoice(name, name, None) for name in self.backends),
        ]

    def own_choice(self) -> ModelChoice:
        """What is used where a request names no model."""
        listing = self._list(self.default)
        own = [model.name for model in listing.models if model.is_default]
        named = [name for name in own if name in listing.names and name not in self.backends]
        return ModelChoice(next(iter(named), self.default), self.default, None)

    def find(self, name: str) -> ModelChoice:
        """The choice of this name; a model also without its folder and ending, or in other case.

        Raises NotFound. A name is kept if the default engine cannot say what it has.
        """
        if name in self.backends:
            return ModelChoice(name, name, None)
        listed = self._list(self.default).names
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

    def _list(self, backend: str) -> _Listing:
        with self._lock:
            read_at, listing = self._listings.get(backend, (0.0, _Listing((), ())))
            if read_at and time.monotonic() - read_at < _FRESH_SECONDS:
                return listing
            reading = self._reading.get(backend)
            if reading is None:
                reading = Background(partial(_read_listing, backend, self._settings))
                self._reading[backend] = reading
        if reading.ready(_ANSWER_SECONDS):
            with suppress(ImagenError):
                listing = reading.result()
            with self._lock:
                self._reading.pop(backend, None)
                if listing.models:
                    self._listings[backend] = (time.monotonic(), listing)
        return listing

    def _takes_model(self) -> bool:
        try:
            with closing(open_named(self.default, self._settings)) as engine:
                return "model" in engine.capabilities().parameters
        except ImagenError:
            return False


def _read_listing(backend: str, settings: Settings) -> _Listing:
    with closing(open_named(backend, settings)) as engine:
        models = engine.models()
        main = [model for model in models if model.kind in _MAIN_KINDS]
        names = [model.name for model in sorted(main, key=lambda model: not model.is_default)]
        takes_model = "model" in engine.capabilities().parameters
        return _Listing(models, tuple(dict.fromkeys(names)) if takes_model else ())


def _bare_name(name: str) -> str:
    """A model's name without folder and ending, in lower case."""
    bare = name.replace("\\", "/").rpartition("/")[2].lower()
    stem, _, ending = bare.rpartition(".")
    return stem if ending in _ENDINGS else bare
