"""From a image's record to the request that makes it again."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.core.request import Request
from imagen.errors import RequestError
from imagen.outputs import ImageRecord
from imagen.reproduce import reproduce_graph, reproduce_request

_ASKED = {"prompt": "a fox", "steps": 50}
_USED = {"prompt": "a fox", "steps": 10, "seed": 7, "sampler": "euler", "width": 64, "height": 48}
_COMFYUI = {"3": {"class_type": "KSampler", "inputs": {}}}


def _record(**values: Any) -> ImageRecord:
    known: dict[str, Any] = {"request": _ASKED, "resolved": _USED, "file": {"seed": 7, "index": 0}}
    return ImageRecord(source="sidecar", backend="studio", **known | values)


def test_same_backend_gets_all_used_values() -> None:
    assert reproduce_request(_record()).request == Request.of(_USED)


def test_other_backend_gets_the_original_request_and_seed() -> None:
    found = reproduce_request(_record(), elsewhere=True)
    assert found.request == Request(prompt="a fox", steps=50, seed=7)


def test_input_images_come_from_the_original_request() -> None:
    record = _record(
        request={"prompt": "a fox", "image": "fox.png", "outpaint": {"left": 16}},
        resolved=_USED | {"image": "wide.png", "mask": "edge.png"},
    )
    found = reproduce_request(record).request
    assert (found.image, found.mask) == ("fox.png", None)
    assert found.outpaint is not None


def test_dropped_images_are_left_out() -> None:
    control = {"kind": "canny", "image": "edge.png"}
    record = _record(
        request={"prompt": "a fox", "image": "fox.png", "controls": [control]},
        receipt={"controls": {"outcome": "dropped"}, "image": {"outcome": "applied"}},
    )
    found = reproduce_request(record).request
    assert (found.image, found.controls) == ("fox.png", ())


def test_image_with_its_own_seed_is_reproduced_alone() -> None:
    found = reproduce_request(_record(resolved=_USED | {"count": 4}, file={"seed": 9, "index": 2}))
    assert (found.request.seed, found.request.count) == (9, None)
    assert (found.index, found.batch, found.batch_then) == (0, 1, 4)
    assert not found.shares_noise


def test_image_of_a_shared_batch_is_reproduced_with_it() -> None:
    found = reproduce_request(_record(resolved=_USED | {"count": 4}, file={"seed": 7, "index": 2}))
    assert (found.request.seed, found.request.count) == (7, 4)
    assert (found.index, found.batch, found.shares_noise) == (2, 4, True)


@pytest.mark.parametrize(
    ("graph", "batch"),
    [pytest.param(_COMFYUI, 4, id="ComfyUI"), pytest.param({"look": ""}, 1, id="the mock")],
)
def test_first_image_of_a_batch_depends_on_the_engine(graph: dict[str, Any], batch: int) -> None:
    assert reproduce_request(_record(resolved=_USED | {"count": 4}, graph=graph)).batch == batch


def test_other_backend_does_not_repeat_a_batch() -> None:
    record = _record(resolved=_USED | {"count": 4}, file={"seed": 7, "index": 2})
    found = reproduce_request(record, elsewhere=True)
    assert (found.request.count, found.batch, found.batch_then) == (None, 1, 4)
    assert found.shares_noise


def test_foreign_record_is_requested_as_far_as_possible() -> None:
    values = {"prompt": "a cat", "steps": -1, "sampler": "Euler a"}
    record = ImageRecord(source="parameters", resolved=values, facts={"Clip skip": "2"})
    found = reproduce_request(record)
    assert found.request == Request(prompt="a cat", sampler="euler_ancestral")
    assert found.unread == {"Clip skip": "2", "steps": -1}


def test_invalid_record_of_imagen_is_refused() -> None:
    with pytest.raises(RequestError, match="steps"):
        reproduce_request(_record(resolved={"steps": -1}))


def test_recorded_graph_is_requested_without_loras() -> None:
    graph = {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
        "5": {
            "class_type": "LoraLoader",
            "inputs": {"lora_name": "ink.safetensors", "strength_model": 1, "model": ["4", 0]},
        },
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["5", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {"seed": 5, "steps": 9, "positive": ["6", 0], "latent_image": ["9", 0]},
        },
    }
    used = {"prompt": "a wolf", "image": "den.png", "loras": [{"name": "ink", "strength": 1}]}
    found = reproduce_graph(ImageRecord(source="sidecar", graph=graph, resolved=used))
    assert found.request == Request(prompt="a fox", seed=5, steps=9)
