"""Requests in the words of each server: sizes, parameters, images and the mask."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from simulators.openai import ImagesServer
from support.images_api import generate, open_images_api, prepare

from imagen.backends.openai.models import find_family
from imagen.errors import ConfigError, RequestError

OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("model", "asked", "used"),
    [
        ("gpt-image-1.5", (1024, 1024), (1024, 1024)),
        ("gpt-image-1.5", (1920, 1080), (1536, 1024)),
        ("gpt-image-1-mini", (640, 1136), (1024, 1536)),
        ("gpt-image-2.6-flare", (1920, 1080), (1920, 1088)),
        ("gpt-image-2.6-flare", (64, 64), (816, 816)),
        ("gpt-image-2.6-flare", (16000, 16000), (2880, 2880)),
        ("gpt-image-2.6-flare", (3840, 2160), (3840, 2160)),
        ("gpt-image-2.6-flare", (4000, 500), (2448, 816)),
        ("dall-e-3", (1000, 1700), (1024, 1792)),
        ("flux", (777, 1003), (776, 1000)),
    ],
)
def test_a_size_becomes_the_nearest_that_the_model_has(
    model: str, asked: tuple[int, int], used: tuple[int, int]
) -> None:
    assert find_family(model).nearest_size(*asked) == used


def test_every_size_of_a_model_with_limits_is_within_them() -> None:
    family = find_family("gpt-image-2")
    for side in range(16, 9000, 97):
        for other in (16, 700, 1024, 2879, 4000, 8999):
            width, height = family.nearest_size(side, other)
            assert width % 16 == height % 16 == 0
            assert max(width, height) <= 3840
            assert max(width, height) / min(width, height) <= 3
            assert 655360 <= width * height <= 8294400


def test_a_mapped_size_is_in_ticket_receipt_and_payload() -> None:
    ticket = prepare({"width": 1920, "height": 1080}, OPENAI, model="gpt-image-1.5")
    assert (ticket.request.width, ticket.request.height) == (1536, 1024)
    assert ticket.payload["size"] == "1536x1024"
    outcome = ticket.receipt["width"]
    assert (outcome.outcome, outcome.asked, outcome.used) == ("mapped", 1920, 1536)


def test_openai_gets_its_own_parameters_only() -> None:
    values = {"seed": 7, "steps": 4, "negative": "rain", "quality": "high", "background": "opaque"}
    ticket = prepare(values, OPENAI, model="gpt-image-2.6-flare")
    assert ticket.payload == {
        "prompt": "a fox",
        "model": "gpt-image-2.6-flare",
        "n": 1,
        "size": "1024x1024",
        "quality": "high",
        "background": "opaque",
        "stream": True,
        "partial_images": 2,
    }
    dropped = {name for name, one in ticket.receipt.items() if one.outcome == "dropped"}
    assert dropped == {"seed", "steps", "negative"}


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("imagen", {"seed": 7, "negative_prompt": "rain", "steps": 4, "cfg_scale": 2.5}),
        (
            "vllm",
            {"seed": 7, "negative_prompt": "rain", "num_inference_steps": 4, "true_cfg_scale": 2.5},
        ),
        ("localai", {"prompt": "a fox|rain", "seed": 7, "step": 4}),
        (
            "sd-server",
            {
                "prompt": 'a fox<sd_cpp_extra_args>{"seed": 7, "negative_prompt": "rain", '
                '"sample_params": {"sample_steps": 4, "guidance": {"txt_cfg": 2.5}}}'
                "</sd_cpp_extra_args>"
            },
        ),
        ("other", {"prompt": "a fox"}),
    ],
)
def test_each_server_gets_the_parameters_in_its_words(
    server: str, expected: dict[str, Any]
) -> None:
    values = {"width": 64, "height": 64, "seed": 7, "negative": "rain", "steps": 4, "cfg": 2.5}
    payload = prepare(values, server=server, stream="off").payload
    usual = {"prompt": "a fox", "n": 1, "size": "64x64", "response_format": "b64_json"}
    assert payload == usual | expected


@pytest.mark.parametrize(
    ("block", "count", "is_asked"),
    [
        ({"server": "imagen"}, 1, True),
        ({"server": "imagen"}, 2, True),
        ({"server": "openai"}, 2, False),
        ({"server": "other"}, 1, False),
        ({"server": "other", "stream": "on"}, 1, True),
        ({"server": "imagen", "stream": "off"}, 1, False),
    ],
)
def test_a_stream_is_asked_for_where_it_is_known_or_wanted(
    block: dict[str, Any], count: int, is_asked: bool
) -> None:
    assert ("stream" in prepare({"count": count}, **block).payload) is is_asked


def test_defaults_of_the_block_are_used_and_checked() -> None:
    ticket = prepare({}, OPENAI, model="gpt-image-1.5", parameters={"quality": "low"})
    assert ticket.payload["quality"] == "low"
    for parameters, sentence in (
        ({"qualty": "low"}, r"qualty: unknown parameter. Did you mean 'quality'"),
        ({"quality": "best"}, "quality cannot be 'best'"),
    ):
        backend = open_images_api(OPENAI, model="gpt-image-1.5", parameters=parameters)
        with pytest.raises(ConfigError, match=sentence):
            backend.capabilities()


def test_an_edit_sends_image_and_mask_with_transparent_pixels_where_it_is_white() -> None:
    Image.new("RGB", (64, 48), "teal").save("fox.bmp")
    mask = Image.new("L", (64, 48), 0)
    mask.paste(255, (0, 0, 32, 48))
    mask.save("mask.png")
    with ImagesServer() as server:
        generate(server, {"image": "fox.bmp", "mask": "mask.png", "width": None, "height": None})
        assert server.bodies[0]["size"] == "64x48"
        image, sent_mask = server.images[0]
    assert (image.field, image.media_type, sent_mask.field) == ("image", "image/png", "mask")
    assert image.data.startswith(b"\x89PNG")
    alpha = Image.open(BytesIO(sent_mask.data)).getchannel("A")
    assert (alpha.getpixel((5, 5)), alpha.getpixel((60, 5))) == (0, 255)


def test_several_references_are_a_list_in_their_order() -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (32, 32), "teal" if name == "a.png" else "red").save(name)
    with ImagesServer() as server:
        generate(server, {"references": ("b.png", "a.png")})
        images = server.images[0]
    assert [one.field for one in images] == ["image[]", "image[]"]
    assert [one.data for one in images] == [Path(name).read_bytes() for name in ("b.png", "a.png")]


def test_more_references_than_the_model_takes_are_refused() -> None:
    with pytest.raises(RequestError, match="at most 16 images"):
        prepare({"references": ("a.png",) * 17})


def test_a_model_of_the_request_decides_sizes_and_price() -> None:
    ticket = prepare({"model": "gpt-image-1-mini", "quality": "low", "count": 3}, OPENAI)
    assert ticket.payload["model"] == "gpt-image-1-mini"
    assert ticket.estimate is not None
    assert ticket.estimate.usd == pytest.approx(0.015)
