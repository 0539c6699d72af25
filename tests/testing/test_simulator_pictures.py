"""The simulator's pictures are those that the graph asks for, the same each time."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.plain_comfyui_client import Plain, client, flat, node, sampled

from imagen.backends.mock.painting import paint
from imagen.graphs import find_workflow, list_workflows
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

_KLEIN = {"prompt": "a fox", "seed": 7}


@pytest.fixture
def plain() -> Iterator[Plain]:
    with ComfyUI() as server, client(server) as found:
        yield found


def shown(plain: Plain, graph: Any) -> list[Image.Image]:
    """The pictures of a run."""
    images = plain.run(graph).images
    return [Image.open(io.BytesIO(plain.view(image).content)) for image in images]


def red(plain: Plain) -> None:
    """Put a red picture of 32x24 on the server, as `start.png`."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), (200, 0, 0)).save(buffer, "PNG")
    plain.server.upload(buffer.getvalue(), "start.png")


def test_a_flat_image_has_its_size_and_colour(plain: Plain) -> None:
    picture = shown(plain, flat(color=0xF38764))[0]
    assert (picture.size, picture.getpixel((0, 0))) == ((64, 48), (0xF3, 0x87, 0x64))


def test_images_can_be_inverted_and_scaled(plain: Plain) -> None:
    scaled = node(
        "ImageScale",
        image=["2", 0],
        upscale_method="nearest-exact",
        width=8,
        height=4,
        crop="disabled",
    )
    graph = {
        **flat(color=0x00FF00),
        "2": node("ImageInvert", image=["1", 0]),
        "3": scaled,
        "9": node("SaveImage", images=["3", 0], filename_prefix="x"),
    }
    picture = shown(plain, graph)[0]
    assert (picture.size, picture.getpixel((0, 0))) == ((8, 4), (255, 0, 255))


def test_a_sampler_paints_what_it_is_asked_for(plain: Plain) -> None:
    graph = sampled(prompt="a fox", negative="fog", width=96, height=64, seed=5, steps=3)
    picture = shown(plain, graph)[0]
    expected = paint(
        prompt="a fox",
        negative="fog",
        seed=5,
        width=96,
        height=64,
        steps=3,
        variant="model.safetensors",
    )
    assert picture.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"prompt": "a hen"},
        {"negative": "fog"},
        {"steps": 5},
        {"checkpoint": "other.safetensors"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_wish_gives_another_picture(plain: Plain, change: dict[str, Any]) -> None:
    first, second = shown(plain, sampled()), shown(plain, sampled(**change))
    assert first[0].tobytes() != second[0].tobytes()


def test_the_pictures_of_a_batch_differ(plain: Plain) -> None:
    one, two = shown(plain, sampled(batch_size=2))
    assert one.tobytes() != two.tobytes()


def test_the_graph_and_more_are_written_into_the_png(plain: Plain) -> None:
    graph = flat()
    heard = plain.run(graph, extra_data={"extra_pnginfo": {"workflow": {"hello": 1}}})
    texts = Image.open(io.BytesIO(plain.view(heard.images[0]).content)).info
    assert json.loads(texts["prompt"]) == graph
    assert json.loads(texts["workflow"]) == {"hello": 1}


def test_a_graph_of_guider_and_noise_is_understood(plain: Plain) -> None:
    workflow = find_workflow("flux2-klein", ())
    graph = _filled(
        workflow.bind_defaults({"width": 64, "height": 48, "steps": 3, "count": 2}), _KLEIN
    )
    pictures = shown(plain, graph)
    expected = paint(
        prompt="a fox", seed=7, width=64, height=48, steps=3, variant=_loaded(graph, "1")
    )
    assert [picture.size for picture in pictures] == [(64, 48), (64, 48)]
    assert pictures[0].tobytes() == expected.tobytes()


def _loaded(graph: dict[str, Any], loader: str) -> str:
    name: str = graph[loader]["inputs"]["unet_name"]
    return name


@pytest.mark.parametrize("name", [workflow.name for workflow in list_workflows(())])
def test_every_bundled_workflow_runs(plain: Plain, name: str) -> None:
    red(plain)
    pictures = dict.fromkeys(("image", "mask", "reference"), "start.png")
    numbers = {"seed": 7, "variation_seed": 8, "width": 64, "height": 48}
    graph = _filled(
        find_workflow(name, ()).bind_defaults(), {"prompt": "a fox", **numbers, **pictures}
    )
    assert plain.run(graph).entry["status"]["status_str"] == "success"


def _filled(graph: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The graph, with values for the tokens that have no default."""
    return {
        key: {
            **said,
            "inputs": {
                name: values.get(value[2:-1], value) if isinstance(value, str) else value
                for name, value in said["inputs"].items()
            },
        }
        for key, said in graph.items()
    }


@pytest.mark.parametrize(("look", "size"), [("flat", 1000), ("noise", 3000)])
def test_pictures_can_be_small_or_large(look: Any, size: int) -> None:
    with ComfyUI(images=look) as server, client(server) as plain:
        data = plain.view(plain.run(sampled(width=32, height=32)).images[0]).content
    noise = look == "noise"
    assert (len(data) > size) == noise
    assert Image.open(io.BytesIO(data)).size == (32, 32)


def test_an_uploaded_picture_is_worked_on(plain: Plain) -> None:
    red(plain)
    graph = sampled()
    graph["10"] = node("LoadImage", image="start.png")
    graph["5"] = node("VAEEncode", pixels=["10", 0], vae=["4", 2])
    graph["3"]["inputs"]["denoise"] = 0.25
    assert shown(plain, graph)[0].size == (32, 24)
