"""A running sd-server keeps the contract, and has rules of its own."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.fake_sd_server import FakeSdServer

from imagen.backends import open_backend
from imagen.backends.sdcpp import adapter
from imagen.config import Settings
from imagen.core.request import Control, Lora, Request
from imagen.core.result import Progress, no_progress
from imagen.errors import (
    BackendError,
    Cancelled,
    Failed,
    Lost,
    RateLimited,
    RequestError,
    TimedOut,
    Unauthorized,
    Unavailable,
)
from imagen.pipeline.prepare import prepare
from imagen.testing import BackendContract, Rig
from imagen.testing.http_server import HeldPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from imagen.backends import Backend
    from imagen.core.result import Result
    from imagen.testing.contract import Scenario

_REQUEST = Request(prompt="a fox", width=64, height=64, seed=7, steps=2)


def _open(url: str, **more: Any) -> Backend:
    quick = {"type": "sdcpp", "url": url, "poll_seconds": 0.02, "connect_seconds": 1}
    return open_backend("rigged", {"rigged": quick | more})


_CLOSED_PORT = HeldPort()


class _SdServerRig:
    adapter = adapter

    def __init__(self) -> None:
        self._servers: list[FakeSdServer] = []

    def block(self) -> Mapping[str, Any]:
        return {"url": "http://127.0.0.1:1234"}

    def open(self, scenario: Scenario) -> Backend:
        if scenario == "unreachable":
            return _open(_CLOSED_PORT.url)
        self._servers.append(FakeSdServer(scenario))
        return _open(self._servers[-1].url)

    def submissions(self) -> int:
        return sum(len(server.jobs) for server in self._servers)

    def at_work(self) -> bool:
        return any(server.is_at_work() for server in self._servers)

    def close(self) -> None:
        for server in self._servers:
            server.close()


class TestSdServer(BackendContract):
    @pytest.fixture
    def rig(self) -> Iterator[Rig]:
        with closing(_SdServerRig()) as rig:
            yield rig

    def test_submitted_ticket_is_not_submitted_again(self, rig: Rig) -> None:
        """The last ticket has the id that the server gave; the first one cannot."""
        with closing(rig.open("ok")) as engine:
            told: list[Progress] = []
            first = engine.collect(engine.prepare(_REQUEST), told.append)
            sent = [p.ticket for p in told if p.ticket is not None][-1]
            again = engine.collect(sent, no_progress)
        assert rig.submissions() == 1
        assert again.images[0].data == first.images[0].data


@pytest.fixture
def server() -> Iterator[FakeSdServer]:
    with closing(FakeSdServer()) as server:
        yield server


def _collect(
    server: FakeSdServer,
    request: Request = _REQUEST,
    on_progress: Callable[[Progress], None] = no_progress,
    **more: Any,
) -> Result:
    with closing(_open(server.url, **more)) as engine:
        return engine.collect(engine.prepare(request), on_progress)


def test_several_images_keep_their_order(server: FakeSdServer) -> None:
    result = _collect(server, _REQUEST.with_values({"count": 3}))
    assert [(o.index, o.seed) for o in result.outputs] == [(0, 7), (1, 8), (2, 9)]
    assert (result.facts.queued_seconds, result.facts.executing_seconds) == (2.0, 3.0)


def test_a_request_is_sent_in_the_servers_fields(server: FakeSdServer, tmp_path: Path) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "i.png")
    image = str(tmp_path / "i.png")
    values = {"sampler": "dpmpp_2m", "cfg": 4.0, "guidance": 2.5, "clip_skip": 2, "image": image}
    control = {"controls": (Control(kind="depth", image=image, strength=0.7),)}
    _collect(
        server, _REQUEST.with_values(values | control), controlnets={"depth": "its-own.safetensors"}
    )
    (job,) = server.jobs.values()
    assert job.body["sample_params"] == {
        "sample_method": "dpm++2m",
        "sample_steps": 2,
        "guidance": {"txt_cfg": 4.0, "distilled_guidance": 2.5},
    }
    assert (job.body["clip_skip"], job.body["control_strength"]) == (2, 0.7)
    assert job.body["init_image"].startswith("iVBORw0KGgo")
    assert job.body["control_image"].startswith("iVBORw0KGgo")


def test_a_lora_is_sent_as_the_path_that_the_server_lists(server: FakeSdServer) -> None:
    _collect(server, _REQUEST.with_values({"loras": (Lora(name="ink", strength=0.5),)}))
    (job,) = server.jobs.values()
    assert job.body["lora"] == [{"path": "style/ink.safetensors", "multiplier": 0.5}]


def test_an_unknown_lora_is_refused_before_anything_is_sent(
    server: FakeSdServer,
) -> None:
    with pytest.raises(RequestError, match="Unknown LoRA 'imk'"):
        _collect(server, _REQUEST.with_values({"loras": (Lora(name="imk"),)}))
    assert server.jobs == {}


@pytest.mark.parametrize(
    ("way", "error", "message"),
    [
        pytest.param("full", RateLimited, "job queue is full", id="full"),
        pytest.param("trouble", Unavailable, "bad allocation", id="trouble"),
        pytest.param("expired", Lost, "does not know the job", id="expired"),
        pytest.param("empty", Failed, "without an image", id="no image"),
        pytest.param("failed", Failed, "generate_image returned no results", id="failed"),
        pytest.param("no-json", BackendError, "its answer is not valid JSON", id="another server"),
        pytest.param("odd-id", Lost, "no usable job id", id="a path as id"),
        pytest.param("breaks", Lost, "broke off while the job was submitted", id="no answer"),
    ],
)
def test_each_bad_end_has_its_error(
    server: FakeSdServer, way: str, error: type[BackendError], message: str
) -> None:
    server.way = way
    with pytest.raises(error, match=message) as caught:
        _collect(server)
    assert caught.value.backend == "rigged"


def test_a_job_whose_answer_was_lost_is_not_resubmitted(server: FakeSdServer) -> None:
    server.way = "breaks"
    with pytest.raises(Lost) as caught:
        _collect(server)
    assert (len(server.jobs), caught.value.is_certain) == (1, False)


def _cancel_at(stage: str) -> Callable[[Progress], None]:
    def tell(progress: Progress) -> None:
        if progress.stage == stage and progress.ticket is None:
            raise Cancelled

    return tell


def test_a_queued_job_is_cancelled(server: FakeSdServer) -> None:
    server.way = "waits"
    with pytest.raises(Cancelled) as caught:
        _collect(server, on_progress=_cancel_at("queued"))
    assert ([j.status for j in server.jobs.values()], caught.value.remedy) == (["cancelled"], "")


def test_a_job_is_cancelled_where_the_caller_leaves_during_submission(server: FakeSdServer) -> None:
    def cancel(progress: Progress) -> None:
        if progress.ticket is not None and progress.ticket.engine:
            raise Cancelled

    server.way = "waits"
    with pytest.raises(Cancelled):
        _collect(server, on_progress=cancel)
    assert [job.status for job in server.jobs.values()] == ["cancelled"]


def test_a_submission_waiting_for_a_retry_is_given_up(server: FakeSdServer) -> None:
    server.way = "busy"
    with pytest.raises(Cancelled) as caught:
        _collect(server, on_progress=_cancel_at("submitted"))
    assert (len(server.jobs), caught.value.remedy) == (0, "")
    assert [t.name for t in threading.enumerate() if "_run" in t.name] == []


def test_the_queue_position_is_reported(server: FakeSdServer) -> None:
    server.way = "waits"
    told: list[Progress] = []

    def tell(progress: Progress) -> None:
        told.append(progress)
        if progress.queue_position is not None:
            raise Cancelled

    with pytest.raises(Cancelled):
        _collect(server, on_progress=tell)
    assert (told[-1].stage, told[-1].queue_position) == ("queued", 2)


def test_cancelling_a_running_job_says_that_it_cannot_be_interrupted(server: FakeSdServer) -> None:
    server.way = "endless"
    with pytest.raises(Cancelled) as caught:
        _collect(server, on_progress=_cancel_at("running"), cancel_seconds=0.3)
    assert "It cannot interrupt an image" in caught.value.remedy


def test_total_seconds_cancels_a_queued_job(server: FakeSdServer) -> None:
    server.way = "endless"
    with pytest.raises(TimedOut, match=r"took more than 0\.2 s in all"):
        _collect(server, total_seconds=0.2, cancel_seconds=0)


def test_a_server_that_ends_with_the_job_is_noticed() -> None:
    server = FakeSdServer("endless")

    closing_once = iter([server.close])

    def tell(progress: Progress) -> None:
        if progress.stage == "running":
            next(closing_once, lambda: None)()

    with pytest.raises(Lost, match="went away while it had the job"):
        _collect(server, on_progress=tell, lost_seconds=0.3)


def test_capabilities_are_cached_for_when_the_server_is_down(tmp_path: Path) -> None:
    with closing(FakeSdServer()) as server:
        url = server.url
        assert _open(url, cache_dir=str(tmp_path)).check().facts == (("model", "sd15.safetensors"),)
    parameters = _open(url, cache_dir=str(tmp_path)).capabilities().parameters
    assert parameters["sampler"].choices == ("euler", "euler_a", "dpm++2m")
    assert (parameters["width"].max, parameters["count"].max) == (2048, 4)


@pytest.mark.parametrize(
    "content",
    ["no JSON", "[]", '{"samplers": 7}', '{"samplers": [], "schedulers": [], "most_at_once": "x"}'],
)
def test_a_damaged_cache_of_capabilities_is_ignored(content: str, tmp_path: Path) -> None:
    with closing(FakeSdServer()) as server:
        engine = _open(server.url, cache_dir=str(tmp_path))
        engine.check()
        (note,) = (tmp_path / "sdcpp").iterdir()
        note.write_text(content, encoding="utf-8")
        assert engine.capabilities().parameters["count"].max == 8
        engine.close()


def test_models_lists_everything_the_engine_has(server: FakeSdServer) -> None:
    with closing(_open(server.url)) as engine:
        found = [(model.kind, model.name) for model in engine.models()]
    assert found[:3] == [
        ("checkpoint", "sd15.safetensors"),
        ("lora", "style/ink.safetensors"),
        ("sampler", "euler"),
    ]


def test_the_bearer_token_comes_from_the_environment(
    server: FakeSdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SD_TOKEN", "sesame")
    _collect(server, bearer_env="SD_TOKEN")
    assert set(server.authorization) == {"Bearer sesame"}


def test_a_token_that_is_not_set_is_named_by_its_variable(server: FakeSdServer) -> None:
    with pytest.raises(Unauthorized, match="SD_TOKEN is not set"):
        _collect(server, bearer_env="SD_TOKEN")
    assert server.asked == []


def test_a_lora_tag_in_the_prompt_becomes_a_lora() -> None:
    request = _REQUEST.with_values({"prompt": "a fox <lora:ink:0.8>"})
    with closing(_open(_CLOSED_PORT.url)) as backend:
        (ticket,) = prepare(backend, request, Settings())
    assert ticket.payload["prompt"] == "a fox"
    assert ticket.request.loras == (Lora(name="ink", strength=0.8),)
