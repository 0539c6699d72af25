"""The bodies of A1111's clients, as each of them sends them, and what each reads of the answer."""

from __future__ import annotations

import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi.routing import APIRoute
from PIL import Image
from support.a1111_server import serve_a1111
from support.live_server import live_server, server_settings
from support.pages import ROOT

from imagen.server.routes import a1111, a1111_controlnet
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serve_a1111(tmp_path_factory.mktemp("a1111")) as live:
        yield live


_SMALL = {"width": 64, "height": 64}


def png(size: tuple[int, int] = (64, 64), colour: str = "red") -> str:
    data = BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def decode(text: str) -> Image.Image:
    image = Image.open(BytesIO(base64.b64decode(text, validate=True)))
    image.load()
    return image


CLIENTS: dict[str, Any] = json.loads(Path(__file__).with_name("a1111_clients.json").read_text())
"""By the name of a client: a body that it sends, and which images it gets."""
_PLACES = {
    "<url>": "data:image/png;base64," + png(),
    "<png>": png(),
    "<white>": png(colour="white"),
    "<wide>": png((80, 40)),
}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys())
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_body_of_a_client_gives_its_images(
    server: LiveServer, client: dict[str, Any], slash: str
) -> None:
    body = json.dumps(client["body"])
    for place, image in _PLACES.items():
        body = body.replace(place, image)
    kind = client.get("content_type", "application/json")
    headers = {"Content-Type": kind} if kind else {}
    path = f"/sdapi/v1/{client['path']}{slash}"
    answer = server.client.post(path, content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    info = json.loads(made["info"])
    count, size = client.get("images", 1), tuple(client.get("size", (64, 64)))
    assert [decode(text).size for text in made["images"]] == [size] * count
    assert len(info["infotexts"]) == len(info["all_seeds"]) == count
    assert info["infotexts"][0].startswith(info["prompt"])
    assert (info["seed"], info["width"], info["height"]) == (info["all_seeds"][0], *size)
    assert "SECRET" not in answer.text
    assert not {"url", "auth", "init_images", "lora", "model"} & made["parameters"].keys()


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("txt2img", {"steps": "many"}, 400, "steps: must be a whole number, not 'many'"),
        ("txt2img", [], 400, "must be a mapping"),
        ("txt2img", {"width": 5}, 400, "width"),
        ("txt2img", {"n_iter": 11, "batch_size": 10}, 400, "at most 100 images"),
        ("txt2img", {"cfg_scale": float("nan")}, 400, "cfg_scale: must be a finite number"),
        ("txt2img", {"prompt": "<lora:/etc/passwd:1>"}, 400, "is a path or a URL"),
        (
            "txt2img",
            {"override_settings": {"sd_model_checkpoint": "mock-duks"}},
            404,
            "Did you mean 'mock-dusk'?",
        ),
        ("txt2img", {"override_settings": {"CLIP_stop_at_last_layers": "x"}}, 400, "whole number"),
        (
            "txt2img",
            {"override_settings": {"sd_model_checkpoint": "broken"}, **_SMALL},
            502,
            "fails as configured",
        ),
        ("img2img", {}, 400, "init_images: expected an image"),
        ("img2img", {"init_images": ["no image"]}, 400, "init_images: not an image in base64"),
        ("img2img", {"init_images": ["http://127.0.0.1/x.png"]}, 400, "not an image in base64"),
        ("img2img", {"init_images": ["aGVsbG8="]}, 400, "init_images: the file is not an image"),
        ("img2img", {"init_images": [png()], "mask": png(colour="black")}, 400, "all black"),
        (
            "txt2img",
            {"alwayson_scripts": {"controlnet": {"args": [{"model": "canny"}]}}},
            400,
            "a unit has no image",
        ),
        (
            "txt2img",
            {"alwayson_scripts": {"controlnet": {"args": [{"weight": "x"}]}}},
            400,
            "weight",
        ),
        (
            "txt2img",
            {"alwayson_scripts": {"ControlNet": {"args": [{"image": png(), "model": "x"}]}}},
            400,
            "do not say which kind",
        ),
        ("extra-single-image", {}, 400, "image: is missing"),
        ("png-info", {"image": "x"}, 400, "not an image"),
        ("interrogate", {"image": "x"}, 404, "Not Found"),
    ],
)
def test_errors_have_the_shape_of_a1111(
    server: LiveServer, path: str, body: object, status: int, sentence: str
) -> None:
    answer = server.client.post(f"/sdapi/v1/{path}", content=json.dumps(body))
    assert answer.status_code == status, answer.text
    error = answer.json()
    assert sorted(error) == ["body", "detail", "error", "errors"]
    assert sentence in error["detail"]


def _info(server: LiveServer, **body: Any) -> dict[str, Any]:
    body = {"prompt": "a fox", "steps": 2} | _SMALL | body
    answer = server.client.post("/sdapi/v1/txt2img", json=body)
    info: dict[str, Any] = json.loads(answer.raise_for_status().json()["info"])
    return info


def test_seeds_are_drawn_given_and_counted(server: LiveServer) -> None:
    assert _info(server, seed=7, n_iter=2, batch_size=2)["all_seeds"] == [7, 8, 9, 10]
    assert _info(server)["seed"] != _info(server, seed=-1)["seed"] >= 0


def test_styles_are_around_the_prompt_and_unknown_ones_a_note(server: LiveServer) -> None:
    info = _info(server, styles=["ink", "oil"])
    assert info["prompt"] == "ink drawing of a fox"
    assert info["negative_prompt"] == "colour"
    assert any("no style 'oil'" in note for note in info["warnings"])


def test_what_is_not_supported_is_said_in_info(server: LiveServer) -> None:
    info = _info(server, script_name="X/Y/Z plot", alwayson_scripts={"ADetailer": {"args": [True]}})
    notes = " ".join(info["warnings"])
    assert "'X/Y/Z plot' is not supported" in notes
    assert "'ADetailer' is not supported" in notes


@pytest.mark.parametrize(("layers", "noted"), [(1, False), ("1.0", False), (2, True)])
def test_skipped_layers_of_clip_are_a_parameter(
    server: LiveServer, layers: object, noted: bool
) -> None:
    info = _info(server, override_settings={"CLIP_stop_at_last_layers": layers})
    assert any("clip_skip" in note for note in info["warnings"]) == noted


def test_an_infotext_supplies_what_the_body_leaves_out(server: LiveServer) -> None:
    text = "a hill\nNegative prompt: fog\nSteps: 3, Sampler: Euler a, Seed: 11, Size: 64x64"
    answer = server.client.post("/sdapi/v1/txt2img", json={"infotext": text, "seed": 12})
    info = json.loads(answer.json()["info"])
    assert (info["prompt"], info["negative_prompt"], info["seed"]) == ("a hill", "fog", 12)
    assert (info["steps"], info["width"]) == (3, 64)


def test_a_form_is_refused_with_what_to_send(server: LiveServer) -> None:
    answer = server.client.post("/sdapi/v1/txt2img", data={"prompt": "a fox"})
    assert (answer.status_code, "application/json" in answer.json()["detail"]) == (400, True)


@pytest.fixture(scope="module")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with (
        chdir(tmp_path_factory.mktemp("comfyui")),
        ComfyUI(images="flat", previews=True, step_seconds=0.02) as engine,
    ):
        settings = server_settings({"comfy": {"type": "comfyui", "url": engine.url}})
        settings = settings.model_copy(update={"default_backend": "comfy"})
        with live_server(settings) as live:
            yield live


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ({"sampler_name": "DPM++ 2M Karras"}, ("dpmpp_2m", "karras")),
        ({"sampler_index": "Euler a", "scheduler": "Automatic"}, ("euler_ancestral", "simple")),
        (
            {"sampler_name": "Euler a", "scheduler": "SGM Uniform"},
            ("euler_ancestral", "sgm_uniform"),
        ),
        ({"sampler_name": "No such sampler", "scheduler": "Karras"}, (None, "karras")),
    ],
)
def test_samplers_are_mapped_or_replaced_with_a_note(
    comfyui: LiveServer, asked: dict[str, str], used: tuple[str | None, str]
) -> None:
    info = _info(comfyui, **asked)
    assert info["sampler_name"] == (used[0] or "euler")
    assert info["scheduler"] == used[1]
    notes = " ".join(info["warnings"])
    assert ("has no 'No such sampler'" in notes) == (used[0] is None)


def test_progress_has_a_preview(comfyui: LiveServer) -> None:
    body = {"prompt": "a fox", "steps": 100, "seed": 9} | _SMALL
    url, until = f"{comfyui.url}/sdapi/v1/", time.monotonic() + 20
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(httpx.post, f"{url}txt2img", json=body, timeout=30)
        while (state := comfyui.client.get(f"{url}progress").json())["current_image"] is None:
            assert time.monotonic() < until
            assert not call.done()
        assert decode(state["current_image"]).width > 0
        without = comfyui.client.get(f"{url}progress", params={"skip_current_image": True})
        assert without.json()["current_image"] is None
        comfyui.client.post(f"{url}interrupt").raise_for_status()
        assert call.result().json()["images"] == []


def test_samplers_are_listed_by_a1111s_names(comfyui: LiveServer) -> None:
    samplers = comfyui.client.get("/sdapi/v1/samplers").json()
    names = [one["name"] for one in samplers]
    assert {"Euler a", "DPM++ 2M", "UniPC"} <= {*names}
    assert len(names) == len({*names})
    schedulers = comfyui.client.get("/sdapi/v1/schedulers").json()
    assert {"Automatic", "Karras", "SGM Uniform"} <= {one["label"] for one in schedulers}


def test_each_call_is_documented() -> None:
    page = (ROOT / "docs/how-to/use-a1111-clients.md").read_text(encoding="utf-8")
    served = {
        (method, route.path.removeprefix("/sdapi/v1/"))
        for router in (a1111.router, a1111_controlnet.router)
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert {*re.findall(r"`(GET|POST) ([\w/-]+)`", page)} == served
