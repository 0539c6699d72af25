"""The simulator works on pictures near enough to tell what reached it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.plain_comfyui_client import Plain, client, flat, node, sampled

from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

RED, WHITE = (200, 0, 0), (255, 255, 255)


@pytest.fixture
def plain() -> Iterator[Plain]:
    """A server that has a red picture, and a mask whose right half is white."""
    with ComfyUI() as server, client(server) as found:
        server.upload(_png(Image.new("RGB", (32, 24), RED)), "red.png")
        mask = Image.new("L", (32, 24))
        mask.paste(255, (16, 0, 32, 24))
        server.upload(_png(mask), "mask.png")
        yield found


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def shown(plain: Plain, graph: Any) -> list[Image.Image]:
    """The pictures of a run."""
    images = plain.run(graph).images
    return [Image.open(io.BytesIO(plain.view(image).content)).convert("RGB") for image in images]


def worked(kind: str, **inputs: Any) -> dict[str, Any]:
    """A graph that loads the red picture, does this to it, and saves it."""
    return {
        "1": node("LoadImage", image="red.png"),
        "2": node(kind, image=["1", 0], **inputs),
        "9": node("SaveImage", images=["2", 0], filename_prefix="x"),
    }


def repainted(denoise: float = 1.0) -> dict[str, Any]:
    """A sampler that repaints the mask's white."""
    graph = sampled()
    graph["3"]["inputs"] |= {"latent_image": ["12", 0], "denoise": denoise}
    return graph | {
        "10": node("LoadImage", image="red.png"),
        "11": node("LoadImageMask", image="mask.png", channel="red"),
        "5": node("VAEEncode", pixels=["10", 0], vae=["4", 2]),
        "12": node("SetLatentNoiseMask", samples=["5", 0], mask=["11", 0]),
    }


def test_only_what_the_mask_says_is_repainted(plain: Plain) -> None:
    picture = shown(plain, repainted())[0]
    assert picture.crop((0, 0, 16, 24)).getcolors() == [(16 * 24, RED)]
    assert picture.getpixel((24, 12)) != RED


def test_without_any_strength_the_picture_stays(plain: Plain) -> None:
    assert shown(plain, repainted(denoise=0.0))[0].getcolors() == [(32 * 24, RED)]


def test_a_grown_mask_repaints_more(plain: Plain) -> None:
    graph = repainted()
    graph["13"] = node("GrowMask", mask=["11", 0], expand=4, tapered_corners=True)
    graph["12"]["inputs"]["mask"] = ["13", 0]
    assert shown(plain, graph)[0].getpixel((13, 12)) != RED


def test_what_was_drawn_is_put_back_into_the_picture(plain: Plain) -> None:
    graph = {
        **flat(color=0xFFFFFF, width=32, height=24),
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
    picture = shown(plain, graph)[0]
    assert (picture.getpixel((4, 4)), picture.getpixel((28, 4))) == (RED, WHITE)


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
def test_nodes_that_change_the_size(
    plain: Plain, kind: str, inputs: dict[str, Any], size: tuple[int, int]
) -> None:
    assert shown(plain, worked(kind, **inputs))[0].size == size


@pytest.mark.parametrize(
    ("model", "size"),
    [("RealESRGAN_x4plus.safetensors", (128, 96)), ("2xNomos.pth", (64, 48))],
    ids=["four times", "twice"],
)
def test_an_upscaler_enlarges_as_its_name_says(
    plain: Plain, model: str, size: tuple[int, int]
) -> None:
    graph = worked("ImageUpscaleWithModel", upscale_model=["3", 0])
    graph["3"] = node("UpscaleModelLoader", model_name=model)
    assert shown(plain, graph)[0].size == size


def steered(**nodes: Any) -> dict[str, Any]:
    """A sampler whose model or prompt goes through another node, of the id 20."""
    graph = sampled() | nodes
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


def test_a_lora_and_its_strength_make_other_pictures(plain: Plain) -> None:
    pictures = [shown(plain, graph)[0].tobytes() for graph in (sampled(), steered(**{"20": LORA}))]
    weaker = shown(plain, steered(**{"20": WEAKER}))[0].tobytes()
    assert len({*pictures, weaker}) == 3


def test_the_content_of_a_reference_counts(plain: Plain) -> None:
    loaded = [node("LoadImage", image=name) for name in ("red.png", "mask.png")]
    graphs = [steered(**{"20": REFERENCE, "21": one, "22": ENCODED}) for one in loaded]
    pictures = [shown(plain, graph)[0].tobytes() for graph in graphs]
    assert pictures[0] != pictures[1]


def test_a_request_that_is_too_large_is_refused() -> None:
    with ComfyUI(largest_body=1000) as server, client(server) as plain:
        answer = plain.http.post("/upload/image", files={"image": ("a.png", bytes(2000))})
    assert answer.status_code == 413
    assert answer.text == "Maximum request body size 1000 exceeded."


def test_the_files_of_a_folder_have_sizes() -> None:
    with ComfyUI(models={"loras": ["ink.pt"]}) as server, client(server) as plain:
        (file,) = plain.http.get("/experiment/models/loras").json()
    assert (file["name"], file["size"]) == ("ink.pt", 2 << 30)
