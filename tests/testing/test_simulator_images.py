"""The simulator paints what a graph asks for, the same each time."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.plain_comfyui_client import (
    PlainClient,
    connect_client,
    flat_graph,
    node,
    sampled_graph,
)

from imagen.backends.mock.painting import paint
from imagen.graphs import find_workflow, list_workflows
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator


RED, WHITE = (200, 0, 0), (255, 255, 255)


@pytest.fixture
def plain() -> Iterator[PlainClient]:
    """A server that has a red image, and a mask whose right half is white."""
    with ComfyUI() as server, connect_client(server) as found:
        server.upload(_png(Image.new("RGB", (32, 24), RED)), "red.png")
        mask = Image.new("L", (32, 24))
        mask.paste(255, (16, 0, 32, 24))
        server.upload(_png(mask), "mask.png")
        yield found


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def render(plain: PlainClient, graph: Any) -> list[Image.Image]:
    """The images of a run."""
    images = plain.run(graph).images
    return [Image.open(io.BytesIO(plain.view(image).content)).convert("RGB") for image in images]


def load_and_process(kind: str, **inputs: Any) -> dict[str, Any]:
    """A graph that loads the red image, does this to it, and saves it."""
    return {
        "1": node("LoadImage", image="red.png"),
        "2": node(kind, image=["1", 0], **inputs),
        "9": node("SaveImage", images=["2", 0], filename_prefix="x"),
    }


def inpaint_graph(denoise: float = 1.0) -> dict[str, Any]:
    """A sampler that repaints the mask's white."""
    graph = sampled_graph()
    graph["3"]["inputs"] |= {"latent_image": ["12", 0], "denoise": denoise}
    return graph | {
        "10": node("LoadImage", image="red.png"),
        "11": node("LoadImageMask", image="mask.png", channel="red"),
        "5": node("VAEEncode", pixels=["10", 0], vae=["4", 2]),
        "12": node("SetLatentNoiseMask", samples=["5", 0], mask=["11", 0]),
    }


def test_only_the_masked_area_is_repainted(plain: PlainClient) -> None:
    image = render(plain, inpaint_graph())[0]
    assert image.crop((0, 0, 16, 24)).getcolors() == [(16 * 24, RED)]
    assert image.getpixel((24, 12)) != RED


def test_denoise_0_keeps_the_image(plain: PlainClient) -> None:
    assert render(plain, inpaint_graph(denoise=0.0))[0].getcolors() == [(32 * 24, RED)]


def test_grown_mask_repaints_more(plain: PlainClient) -> None:
    graph = inpaint_graph()
    graph["13"] = node("GrowMask", mask=["11", 0], expand=4, tapered_corners=True)
    graph["12"]["inputs"]["mask"] = ["13", 0]
    assert render(plain, graph)[0].getpixel((13, 12)) != RED


def test_composite_places_the_source_under_the_mask(plain: PlainClient) -> None:
    graph = {
        **flat_graph(color=0xFFFFFF, width=32, height=24),
        "2": node("LoadImage", image="red.png"),
        "3": node("LoadImageMask", image="mask.png", channel="red"),
        "4": node(
            "ImageCompositeMasked",
            destination=["2", 0],
            source=["1", 0],
            mask=["3", 0],
            x=0,
            y=0,
            resize_source=True,
        ),
        "9": node("SaveImage", images=["4", 0], filename_prefix="x"),
    }
    image = render(plain, graph)[0]
    assert (image.getpixel((4, 4)), image.getpixel((28, 4))) == (RED, WHITE)


@pytest.mark.parametrize(
    ("kind", "inputs", "size"),
    [
        pytest.param(
            "ImageScaleBy", {"upscale_method": "area", "scale_by": 0.5}, (16, 12), id="by a factor"
        ),
        pytest.param(
            "ImageScale",
            {"upscale_method": "lanczos", "width": 8, "height": 8, "crop": "center"},
            (8, 8),
            id="cropped",
        ),
        pytest.param(
            "ImagePadForOutpaint",
            {"left": 8, "top": 0, "right": 0, "bottom": 16, "feathering": 0},
            (40, 40),
            id="padded",
        ),
    ],
)
def test_node_changes_the_size(
    plain: PlainClient, kind: str, inputs: dict[str, Any], size: tuple[int, int]
) -> None:
    assert render(plain, load_and_process(kind, **inputs))[0].size == size


@pytest.mark.parametrize(
    ("model", "size"),
    [("RealESRGAN_x4plus.safetensors", (128, 96)), ("2xNomos.pth", (64, 48))],
    ids=["four times", "twice"],
)
def test_upscaler_uses_the_factor_in_its_name(
    plain: PlainClient, model: str, size: tuple[int, int]
) -> None:
    graph = load_and_process("ImageUpscaleWithModel", upscale_model=["3", 0])
    graph["3"] = node("UpscaleModelLoader", model_name=model)
    assert render(plain, graph)[0].size == size


def guided_graph(**nodes: Any) -> dict[str, Any]:
    """A sampler whose model or prompt goes through another node, of the id 20."""
    graph = sampled_graph() | nodes
    kind = graph["20"]["class_type"]
    inputs = {"model": ["20", 0]} if "Lora" in kind else {"positive": ["20", 0]}
    graph["3"]["inputs"] |= inputs
    return graph


LORA = node("LoraLoaderModelOnly", model=["4", 0], lora_name="ink.safetensors", strength_model=1.0)
WEAKER = node(
    "LoraLoaderModelOnly", model=["4", 0], lora_name="ink.safetensors", strength_model=0.5
)
REFERENCE = node("ReferenceLatent", conditioning=["6", 0], latent=["22", 0])
ENCODED = node("VAEEncode", pixels=["21", 0], vae=["4", 2])


def test_lora_and_its_strength_change_the_image(plain: PlainClient) -> None:
    images = [
        render(plain, graph)[0].tobytes()
        for graph in (sampled_graph(), guided_graph(**{"20": LORA}))
    ]
    weaker = render(plain, guided_graph(**{"20": WEAKER}))[0].tobytes()
    assert len({*images, weaker}) == 3


def test_content_of_a_reference_image_changes_the_image(plain: PlainClient) -> None:
    loaded = [node("LoadImage", image=name) for name in ("red.png", "mask.png")]
    graphs = [guided_graph(**{"20": REFERENCE, "21": one, "22": ENCODED}) for one in loaded]
    images = [render(plain, graph)[0].tobytes() for graph in graphs]
    assert images[0] != images[1]


def test_largest_body_refuses_larger_requests() -> None:
    with ComfyUI(largest_body=1000) as server, connect_client(server) as plain:
        answer = plain.http.post("/upload/image", files={"image": ("a.png", bytes(2000))})
    assert answer.status_code == 413
    assert answer.text == "Maximum request body size 1000 exceeded."


def test_model_files_have_sizes() -> None:
    with ComfyUI(models={"loras": ["ink.pt"]}) as server, connect_client(server) as plain:
        (file,) = plain.http.get("/experiment/models/loras").json()
    assert (file["name"], file["size"]) == ("ink.pt", 2 << 30)


_KLEIN = {"prompt": "a fox", "seed": 7}


def test_images_can_be_inverted_and_scaled(plain: PlainClient) -> None:
    scaled = node(
        "ImageScale",
        image=["2", 0],
        upscale_method="nearest-exact",
        width=8,
        height=4,
        crop="disabled",
    )
    graph = {
        **flat_graph(color=0x00FF00),
        "2": node("ImageInvert", image=["1", 0]),
        "3": scaled,
        "9": node("SaveImage", images=["3", 0], filename_prefix="x"),
    }
    image = render(plain, graph)[0]
    assert (image.size, image.getpixel((0, 0))) == ((8, 4), (255, 0, 255))


def test_sampler_paints_prompt_size_seed_and_steps(plain: PlainClient) -> None:
    graph = sampled_graph(prompt="a fox", negative="fog", width=96, height=64, seed=5, steps=3)
    image = render(plain, graph)[0]
    expected = paint(
        prompt="a fox",
        negative="fog",
        seed=5,
        width=96,
        height=64,
        steps=3,
        variant="model.safetensors",
    )
    assert image.tobytes() == expected.tobytes()


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
def test_another_input_gives_another_image(plain: PlainClient, change: dict[str, Any]) -> None:
    first, second = render(plain, sampled_graph()), render(plain, sampled_graph(**change))
    assert first[0].tobytes() != second[0].tobytes()


def test_png_contains_graph_and_workflow(plain: PlainClient) -> None:
    graph = flat_graph()
    run = plain.run(graph, extra_data={"extra_pnginfo": {"workflow": {"hello": 1}}})
    texts = Image.open(io.BytesIO(plain.view(run.images[0]).content)).info
    assert json.loads(texts["prompt"]) == graph
    assert json.loads(texts["workflow"]) == {"hello": 1}


def test_graph_with_guider_and_noise_nodes_is_understood(plain: PlainClient) -> None:
    workflow = find_workflow("flux2-klein", ())
    graph = _fill_tokens(
        workflow.bind_defaults({"width": 64, "height": 48, "steps": 3, "count": 2}), _KLEIN
    )
    images = render(plain, graph)
    expected = paint(
        prompt="a fox", seed=7, width=64, height=48, steps=3, variant=_model_name(graph, "1")
    )
    assert [image.size for image in images] == [(64, 48), (64, 48)]
    assert images[0].tobytes() == expected.tobytes()


def _model_name(graph: dict[str, Any], loader: str) -> str:
    name: str = graph[loader]["inputs"]["unet_name"]
    return name


@pytest.mark.parametrize("name", [workflow.name for workflow in list_workflows(())])
def test_every_bundled_workflow_runs(plain: PlainClient, name: str) -> None:
    images = dict.fromkeys(("image", "mask", "reference"), "red.png")
    numbers = {"seed": 7, "variation_seed": 8, "width": 64, "height": 48}
    graph = _fill_tokens(
        find_workflow(name, ()).bind_defaults(), {"prompt": "a fox", **numbers, **images}
    )
    assert plain.run(graph).entry["status"]["status_str"] == "success"


def _fill_tokens(graph: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
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


@pytest.mark.parametrize(("style", "least", "most"), [("flat", 0, 1000), ("noise", 3000, 10_000)])
def test_image_style_controls_the_file_size(style: Any, least: int, most: int) -> None:
    with ComfyUI(images=style) as server, connect_client(server) as plain:
        data = plain.view(plain.run(sampled_graph(width=32, height=32)).images[0]).content
    assert least < len(data) < most
    assert Image.open(io.BytesIO(data)).size == (32, 32)


def test_uploaded_image_is_the_initial_image(plain: PlainClient) -> None:
    graph = sampled_graph()
    graph["10"] = node("LoadImage", image="red.png")
    graph["5"] = node("VAEEncode", pixels=["10", 0], vae=["4", 2])
    graph["3"]["inputs"]["denoise"] = 0.25
    assert render(plain, graph)[0].size == (32, 24)
