"""The pipeline cache loads once, serves one thread at a time, and drops on request."""

from __future__ import annotations

from threading import Event

import pytest

from imagen.backends.diffusers.pipeline_cache import PipelineCache
from imagen.net.threads import Background


class _Loader:
    """A cache of strings that records what was loaded and how often a value was dropped."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.drops = 0
        self.cache: PipelineCache[str] = PipelineCache(self._count_drop)

    def _count_drop(self) -> None:
        self.drops += 1

    def use(self, name: str) -> str:
        with self.cache.using(name, lambda: self.load(name)) as value:
            return value

    def load(self, name: str) -> str:
        if name == "broken":
            raise ValueError(name)
        self.loaded.append(name)
        return name.upper()


def test_value_is_loaded_once() -> None:
    loader = _Loader()
    assert [loader.use("sd1"), loader.use("sd1")] == ["SD1", "SD1"]
    assert (loader.loaded, loader.drops) == (["sd1"], 0)


def test_another_key_replaces_the_value() -> None:
    loader = _Loader()
    assert [loader.use("sd1"), loader.use("sdxl"), loader.use("sd1")] == ["SD1", "SDXL", "SD1"]
    assert (loader.loaded, loader.drops) == (["sd1", "sdxl", "sd1"], 2)


def test_dropped_value_is_loaded_again() -> None:
    loader = _Loader()
    loader.use("sd1")
    loader.cache.drop()
    loader.cache.drop()
    assert loader.drops == 1
    loader.use("sd1")
    assert loader.loaded == ["sd1", "sd1"]


def test_value_in_use_is_dropped_afterwards() -> None:
    loader = _Loader()
    with loader.cache.using("sd1", lambda: loader.load("sd1")):
        assert loader.cache.is_in_use
        loader.cache.drop()
        assert loader.drops == 0
    assert (loader.drops, loader.cache.is_in_use) == (1, False)


def test_failed_load_leaves_the_cache_empty() -> None:
    loader = _Loader()
    loader.use("sd1")
    with pytest.raises(ValueError, match="broken"):
        loader.use("broken")
    assert (loader.drops, loader.use("sd1")) == (1, "SD1")


def test_second_user_waits_for_the_first() -> None:
    loader, started = _Loader(), Event()

    def use_second() -> str:
        started.set()
        return loader.use("sdxl")

    with loader.cache.using("sd1", lambda: loader.load("sd1")):
        second = Background(use_second)
        started.wait(5)
        assert loader.loaded == ["sd1"]
    assert second.ready(5)
    assert (second.result(), loader.loaded) == ("SDXL", ["sd1", "sdxl"])
