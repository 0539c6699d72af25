"""`check`, `node_catalog` and `detect`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_backends import SAMPLED, open_comfyui

from imagen.backends.comfyui import adapter, node_catalog
from imagen.backends.comfyui.client import parse_stats
from imagen.errors import Unavailable
from imagen.graphs import list_workflows
from imagen.testing.comfyui import ComfyUI, GatewayAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.backends import Detection

MODEL = "v1-5-pruned-emaonly-fp16.safetensors"


def _detect() -> Callable[[str], Detection]:
    assert adapter.detect is not None
    return adapter.detect


def test_a_server_that_has_everything_is_healthy() -> None:
    with ComfyUI() as server, closing(open_comfyui(server.url)) as backend:
        health = backend.check()
    assert (health.ok, health.summary) == (True, "ok")
    assert dict(health.facts)["version"] == "0.9.2"


def test_health_lists_the_gpu_and_its_memory() -> None:
    with ComfyUI(vram=(24 << 30, 20 << 30)) as server, closing(open_comfyui(server.url)) as backend:
        (gpu,) = backend.check().gpus
    assert (gpu.vram_total_bytes, gpu.vram_free_bytes) == (24 << 30, 20 << 30)
    assert gpu.sentence == f"{gpu.name}, 20.0 of 24.0 GiB VRAM free"


@pytest.mark.parametrize(
    "device",
    [
        {"name": "cpu", "type": "cpu", "vram_total": 1, "vram_free": 1},
        None,
    ],
)
def test_a_cpu_is_not_a_gpu(device: dict[str, Any] | None) -> None:
    devices = [] if device is None else [device]
    assert parse_stats({"system": {}, "devices": devices}).gpus == ()


@pytest.mark.parametrize("odd", ["much", None, -1, True])
def test_memory_that_is_not_a_number_is_unknown(odd: Any) -> None:
    devices = [{"name": "cuda:0 Card : native", "type": "cuda", "vram_total": odd}]
    (gpu,) = parse_stats({"system": {}, "devices": devices}).gpus
    assert (gpu.name, gpu.sentence) == ("Card", "Card")


def test_a_missing_model_is_named_with_its_remedy() -> None:
    with ComfyUI(missing_models=[MODEL]) as server, closing(open_comfyui(server.url)) as backend:
        health = backend.check()
        assert server.prompts == []
    assert not health.ok
    assert f"the server has no file '{MODEL}' in models/checkpoints" in health.summary
    assert health.remedies == (
        "Download it from https://models.example/sd15 (2.0 GiB, CreativeML Open RAIL-M) "
        "into models/checkpoints/.",
    )


def test_several_faults_have_all_their_remedies() -> None:
    graph = {**SAMPLED, "100": {"class_type": "Sparkle", "inputs": {}}}
    with (
        ComfyUI(missing_models=[MODEL]) as server,
        closing(open_comfyui(server.url, graph)) as backend,
    ):
        health = backend.check()
    assert health.summary.endswith("(and 1 more)")
    assert len(health.remedies) == 2


@pytest.mark.parametrize(
    ("refusal", "summary"),
    [
        pytest.param(GatewayAnswer(status=401, times=9), "refused access: 401", id="no access"),
        pytest.param(GatewayAnswer(status=500, times=9), "reports an error: 500", id="in trouble"),
    ],
)
def test_check_reports_an_error_instead_of_raising_it(refusal: GatewayAnswer, summary: str) -> None:
    with ComfyUI(http_errors=(refusal,)) as server, closing(open_comfyui(server.url)) as backend:
        health = backend.check()
    assert not health.ok
    assert summary in health.summary
    assert health.remedies


def test_check_reports_a_missing_workflow() -> None:
    with ComfyUI() as server, closing(open_comfyui(server.url, workflow="nowhere")) as backend:
        health = backend.check()
    assert "Workflow 'nowhere' not found" in health.summary


def test_check_reports_a_variable_that_is_not_set() -> None:
    with ComfyUI() as server, closing(open_comfyui(server.url, bearer_env="NOT_SET")) as backend:
        health = backend.check()
        assert server.requests == []
    assert health.summary == "The environment variable NOT_SET is not set."


def test_the_node_catalog_comes_with_the_version() -> None:
    with ComfyUI() as server, closing(open_comfyui(server.url)) as backend:
        nodes, version = node_catalog(backend)
    assert "KSampler" in nodes
    assert version == "0.9.2"


def test_free_unloads_the_models() -> None:
    with ComfyUI() as server, closing(open_comfyui(server.url)) as backend:
        backend.free()
        assert [(seen.method, seen.path) for seen in server.requests] == [("POST", "/free")]


def test_detect_lists_the_workflows_that_a_server_can_run() -> None:
    with ComfyUI(missing_models=[MODEL], version="0.3.64") as server:
        blocks, left_out = _detect()(server.url)
        assert blocks["sdxl"] == {"type": "comfyui", "url": server.url, "workflow": "sdxl"}
    assert set(blocks) < {workflow.name for workflow in list_workflows()}
    why = {lack.what: lack.why for lack in left_out}
    assert f"the server has no file {MODEL!r}" in why["sd15"]
    assert why["flux2-klein"].endswith("this workflow needs 0.9.2 or later.")
    assert not blocks.keys() & why.keys()


def test_detect_fails_where_no_server_answers() -> None:
    with ComfyUI() as server:
        pass
    with pytest.raises(Unavailable) as caught:
        _detect()(server.url)
    assert "python main.py" in caught.value.remedy
