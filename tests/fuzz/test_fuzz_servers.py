"""Any server answer gives a result or an error sentence, within 2 s and 300 MB."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import respx
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.editor_files import CATALOGUE
from support.mutated_inputs import limits, mutated_bytes, mutated_text, run_imagen
from support.other_tools_images import graph

from imagen.backends.a1111.client import A1111Client
from imagen.backends.a1111.config import A1111Config
from imagen.backends.comfyui import ComfyUIConfig, websocket
from imagen.backends.comfyui.client import ComfyClient as ComfyUIClient
from imagen.backends.replicate.client import ReplicateClient as ReplicateClient
from imagen.backends.replicate.config import ReplicateConfig
from imagen.backends.sdcpp.cli_output import CliOutput, LineSplitter
from imagen.core.text import printable
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

_COMFYUI: list[Any] = [
    {"prompt_id": "p", "number": 3, "node_errors": {}},
    {
        "error": {"type": "prompt_outputs_failed_validation", "message": "bad", "details": ""},
        "node_errors": {
            "5": {
                "class_type": "KSampler",
                "dependent_outputs": ["9"],
                "errors": [{"type": "value_not_in_list", "message": "x", "extra_info": {}}],
            }
        },
    },
    {"queue_running": [[0, "p", {}, {"client_id": "c"}, []]], "queue_pending": []},
    {
        "p": {
            "prompt": [1, "p", graph(), {"client_id": "c"}, ["9"]],
            "outputs": {"9": {"images": [{"filename": "a", "subfolder": "", "type": "output"}]}},
            "status": {"status_str": "success", "completed": True, "messages": [["a", {}]]},
            "meta": {"9": {"display_node": "9"}},
        }
    },
    {"system": {"comfyui_version": "0.3.64"}, "devices": [{"name": "cpu", "vram_total": 1}]},
    CATALOGUE,
]
_REPLICATE: list[Any] = [
    {
        "id": "p1",
        "status": "succeeded",
        "output": ["https://replicate.delivery/a.png"],
        "logs": "Using seed: 7\n 50%|#####     | 2/4 [00:01<00:01]",
        "error": None,
        "input": {"prompt": "x"},
        "metrics": {"predict_time": 1.5},
        "created_at": "2026-01-01T00:00:00.000Z",
        "urls": {"get": "https://api.replicate.com/v1/predictions/p1"},
    },
    {"results": [{"id": "p1", "status": "starting"}], "next": None},
    {"detail": "no", "status": 422, "title": "Input validation failed"},
    {"latest_version": {"id": "v", "openapi_schema": {"components": {"schemas": {}}}}},
]
_A1111: list[Any] = [
    {"sd_model_checkpoint": "a.safetensors [0123abcd]"},
    {
        "progress": 0.5,
        "state": {"job_count": 1, "sampling_step": 2, "sampling_steps": 4, "interrupted": False},
        "current_image": "iVBORw0KGgo=",
    },
    {"active": True, "queued": False, "live_preview": "data:image/png;base64,iVBO"},
    {"images": ["iVBORw0KGgo="], "info": '{"all_seeds": [7], "index_of_first_image": 0}'},
    {"error": "RuntimeError", "detail": [{"loc": ["body", "steps"], "msg": "x"}], "errors": "no"},
]
_FRAMES: list[Any] = [
    {"type": "progress", "data": {"value": 1, "max": 4, "prompt_id": "p", "node": "5"}},
    {"type": "executed", "data": {"node": "9", "prompt_id": "p", "output": {"images": []}}},
    {"type": "execution_error", "data": {"prompt_id": "p", "traceback": ["x"], "node_id": "5"}},
    {"type": "progress_state", "data": {"prompt_id": "p", "nodes": {"5": {"state": "running"}}}},
]
_LOG = (
    b"[INFO ] stable-diffusion.cpp:1 - generating image: 1/2 - seed 42\n"
    b"  |=====>     | 2/4 - 1.20it/s\r"
    b"[INFO ] main.cpp:2 - save result image 0 to 'a.png' (success)\n"
)
_ANSWERS = st.tuples(
    st.sampled_from([200, 200, 200, 400, 401, 404, 422, 429, 500, 502, 503]),
    mutated_text(_COMFYUI) | mutated_bytes([b"<!DOCTYPE html><title>Log in</title>"]),
)


def _query(question: Callable[[], object], answer: tuple[int, bytes]) -> None:
    """Send requests to a server that gives this answer to all of them."""
    with respx.mock(assert_all_called=False) as router, limits():
        router.route().mock(return_value=httpx.Response(answer[0], content=answer[1]))
        try:
            question()
        except ImagenError as error:
            words = f"{error.message}{error.remedy}"
            assert words == printable(words)
            assert len(words) < 5000


@given(answer=_ANSWERS, number=st.integers(0, 6))
def test_comfyui_client_survives_mutated_answers(answer: tuple[int, bytes], number: int) -> None:
    config = ComfyUIConfig(name="studio", url="http://127.0.0.1:9", workflow="sdxl")
    with closing(ComfyUIClient(config)) as client:
        questions: list[Callable[[], object]] = [
            lambda: client.submit({}, "p", "c"),
            lambda: client.history("p"),
            client.queue,
            lambda: client.find_prompt("c"),
            client.stats,
            lambda: client.upload(b"x", "a.png", "imagen", "image/png"),
            client.node_catalog,
        ]
        _query(questions[number], answer)


@given(answer=_ANSWERS)
def test_backend_commands_survive_mutated_comfyui_answers(answer: tuple[int, bytes]) -> None:
    block = {"type": "comfyui", "url": "http://127.0.0.1:9", "workflow": "sdxl"}
    Path("imagen.yaml").write_text(yaml.safe_dump({"backends": {"studio": block}}), "utf-8")
    with respx.mock(assert_all_called=False) as router:
        router.route().mock(return_value=httpx.Response(answer[0], content=answer[1]))
        run_imagen("backends", "show", "studio")
        run_imagen("models", "--json")


@given(
    frame=mutated_text(_FRAMES).map(lambda text: text.decode("utf-8", "replace"))
    | mutated_bytes(
        [b"\0\0\0\1\0\0\0\1JPEG", b"\0\0\0\4\0\0\0\2{}\x89PNG", json.dumps({}).encode()]
    )
)
def test_comfyui_websocket_survives_mutated_frames(frame: str | bytes) -> None:
    with limits():
        websocket.parse_frame(frame, "p")


@given(
    answer=st.tuples(st.sampled_from([200, 201, 401, 404, 422, 500]), mutated_text(_REPLICATE)),
    number=st.integers(0, 3),
)
def test_replicate_client_survives_mutated_answers(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[int, bytes], number: int
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_secret")
    config = ReplicateConfig.model_validate({"name": "cloud", "model": "a/b"})
    with closing(ReplicateClient(config)) as client:
        questions: list[Callable[[], object]] = [
            lambda: client.create({"prompt": "x"}),
            lambda: client.get("p1"),
            lambda: client.recent(datetime(2026, 1, 1, tzinfo=UTC)),
            lambda: client.model_info(config.reference),
        ]
        _query(questions[number], answer)


@given(
    answer=st.tuples(st.sampled_from([200, 200, 401, 404, 422, 500, 502]), mutated_text(_A1111)),
    number=st.integers(0, 3),
)
def test_a1111_client_survives_mutated_answers(answer: tuple[int, bytes], number: int) -> None:
    config = A1111Config(name="studio", url="http://127.0.0.1:9")
    with closing(A1111Client(config)) as client, client.open_connection() as connection:
        questions: list[Callable[[], object]] = [
            client.info,
            lambda: client.progress(has_preview=True),
            lambda: client.task("p"),
            lambda: client.generate("/sdapi/v1/txt2img", {}, lambda: None, connection),
        ]
        _query(questions[number], answer)


@given(log=mutated_bytes([_LOG]), size=st.integers(1, 400))
def test_sd_cli_log_parser_survives_mutated_logs(log: bytes, size: int) -> None:
    lines, record = LineSplitter(), CliOutput()
    with limits(), suppress(ImagenError):
        for start in range(0, len(log), size):
            for line in lines.feed(log[start : start + size]):
                record.add_line(line)
        for line in lines.end():
            record.add_line(line)
