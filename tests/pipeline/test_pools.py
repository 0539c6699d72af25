"""A request to a pool runs on an idle backend, and moves where it certainly did not run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imagen.config import OutputSettings, Settings
from imagen.core.request import Request
from imagen.errors import (
    Cancelled,
    ConfigError,
    Failed,
    Unavailable,
    UnknownBackend,
)
from imagen.jobs import file_store
from imagen.pipeline.generate import generate
from imagen.pipeline.pools import open_named, rank_members
from imagen.testing.comfyui import ComfyUI
from imagen.testing.http_server import HeldPort

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.core.result import Progress

_REQUEST = Request(prompt="a fox", seed=7, width=32, height=32, steps=2)
_GONE = {"type": "mock", "fail": "unavailable"}


@pytest.fixture
def server() -> Iterator[ComfyUI]:
    with ComfyUI() as server:
        yield server


def _settings(tmp_path: Path, backends: dict[str, Any], **more: Any) -> Settings:
    return Settings(
        output=OutputSettings(directory=tmp_path / "out"),
        state_dir=tmp_path / "state",
        backends=backends,
        pools={"both": tuple(backends)},
        **more,
    )


def _studio(url: str) -> dict[str, Any]:
    return {"type": "comfyui", "url": url, "workflow": "sd15", "connect_seconds": 1}


def test_pool_runs_on_its_first_backend(tmp_path: Path) -> None:
    settings = _settings(tmp_path, {"one": {"type": "mock"}, "two": {"type": "mock"}})
    (made,) = generate(_REQUEST, settings, backend="both")
    assert made.ticket.backend == "one"
    assert made.result.warnings == ()


def test_pool_may_be_the_default_backend(tmp_path: Path) -> None:
    settings = _settings(tmp_path, {"one": {"type": "mock"}}, default_backend="both")
    assert generate(_REQUEST, settings)[0].ticket.backend == "one"


def test_pool_prefers_an_idle_engine(tmp_path: Path, server: ComfyUI) -> None:
    with ComfyUI(step_seconds=60) as busy:
        settings = _settings(tmp_path, {"one": _studio(busy.url), "two": _studio(server.url)})

        def leave_running(progress: Progress) -> None:
            if progress.stage == "running":
                assert rank_members(("one", "two"), settings) == ["two", "one"]
                raise Cancelled

        with pytest.raises(Cancelled):
            generate(_REQUEST, settings, backend="one", on_progress=leave_running)


def test_engine_that_cannot_be_asked_is_last(tmp_path: Path, server: ComfyUI) -> None:
    closed = HeldPort()
    settings = _settings(tmp_path, {"one": _studio(closed.url), "two": _studio(server.url)})
    (made,) = generate(_REQUEST, settings, backend="both")
    assert made.ticket.backend == "two"


def test_next_backend_of_a_pool_runs_what_the_first_could_not_take(tmp_path: Path) -> None:
    settings = _settings(tmp_path, {"one": _GONE, "two": {"type": "mock"}})
    (made,) = generate(_REQUEST, settings, backend="both")
    assert made.ticket.backend == "two"
    assert made.result.warnings == (
        "The mock fails as configured (`fail: unavailable`). two was used instead.",
    )
    assert "backend" not in made.ticket.receipt
    assert file_store.pending(settings.state_dir) == []


def test_job_that_ran_and_failed_does_not_move(tmp_path: Path) -> None:
    settings = _settings(tmp_path, {"one": {"type": "mock", "fail": "failed"}, "two": _GONE})
    with pytest.raises(Failed):
        generate(_REQUEST, settings, backend="both")


def test_pool_whose_engines_are_all_gone_raises_the_first_error(tmp_path: Path) -> None:
    settings = _settings(tmp_path, {"one": _GONE, "two": _GONE})
    with pytest.raises(Unavailable) as caught:
        generate(_REQUEST, settings, backend="both")
    assert caught.value.backend == "one"


def test_failover_is_in_the_receipt(tmp_path: Path) -> None:
    backends = {"one": _GONE, "two": {"type": "mock"}}
    settings = _settings(tmp_path, backends, failover=(("one", "two"),))
    (made,) = generate(_REQUEST, settings, backend="one")
    outcome = made.ticket.receipt["backend"]
    assert (outcome.asked, outcome.used, outcome.outcome) == ("one", "two", "mapped")
    assert outcome.why == "failover: the backend that was named did not run it"


def test_failover_passes_over_a_backend_that_cannot_honour_the_request(tmp_path: Path) -> None:
    backends = {"one": _GONE, "two": {"type": "mock"}}
    settings = _settings(tmp_path, backends, failover=(("one", "two"),))
    with pytest.raises(Unavailable):
        generate(_REQUEST.with_values({"cfg": 3.0}), settings, backend="one")


def test_cancelling_after_a_failover_tries_no_other_backend(tmp_path: Path) -> None:
    def cancel(_: Progress) -> None:
        raise Cancelled

    backends = {"one": _GONE, "two": {"type": "mock"}, "three": {"type": "mock"}}
    settings = _settings(tmp_path, backends, failover=(("one", "two", "three"),))
    with pytest.raises(Cancelled):
        generate(_REQUEST, settings, backend="one", on_progress=cancel)


def test_pool_without_a_backend_of_this_machine_is_refused(tmp_path: Path) -> None:
    settings = _settings(tmp_path, {"one": {"type": "mock"}})
    settings = settings.model_copy(update={"pools": {"far": ("gpu8", "gpu9")}})
    with pytest.raises(ConfigError, match=r"pool 'far' is configured here: gpu8, gpu9") as caught:
        generate(_REQUEST, settings, backend="far")
    assert "--detach" in caught.value.remedy


def test_unknown_name_may_mean_a_pool(tmp_path: Path) -> None:
    settings = _settings(tmp_path, {"one": {"type": "mock"}})
    with pytest.raises(UnknownBackend, match="Did you mean 'both'"):
        open_named("bothe", settings)
