"""What a graph would produce: images painted from its prompt, seed, size, steps and models."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from dataclasses import dataclass
from hashlib import sha1
from random import Random
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops, ImageFilter, ImageOps
from PIL.PngImagePlugin import PngInfo

from imagen.backends.mock.painting import paint
from imagen.testing.comfyui.graph import (
    execution_order,
    find_source,
    find_value,
    node_inputs,
    node_links,
    node_signatures,
    upstream,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.testing.comfyui.graph import Graph
    from imagen.testing.comfyui.state import ImageStyle, ServerFiles

    Inputs = Mapping[str, Any]

_SIDE = 512
_STEPS = 20
_NOISE_TILE = 1 << 16
_PREVIEW_SIDE = 256
_TEXT_INPUTS = ("text", "t5xxl", "clip_l", "text_l", "text_g", "clip_g", "prompt")
_GUIDING_CLASSES = (
    *("LoraLoader", "LoraLoaderModelOnly", "ControlNetApplyAdvanced"),
    *("QwenImageDiffsynthControlnet", "ReferenceLatent", "LatentInterpolate"),
)
"""Node classes that give another image for the same prompt and seed."""
_BATCH_STRIDE = 0x9E3779B97F4A7C15  # odd and large: a batch shares no seed with neighbouring seeds
_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
}
_FACTOR = re.compile(r"(?<!\d)([2348])x|x([2348])(?!\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerRequest:
    """What one sampler node is to produce."""

    prompt: str
    negative: str
    seed: int
    width: int
    height: int
    batch: int
    steps: int
    model: str
    """Its file, and what else gives another image for the same prompt and seed."""

    def paint(
        self, style: ImageStyle, index: int = 0, *, max_side: int | None = None
    ) -> Image.Image:
        """One image of the batch, its longer side limited to `max_side`."""
        scale = min(1.0, max_side / max(self.width, self.height)) if max_side else 1.0
        width, height = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        seed = (self.seed + index * _BATCH_STRIDE) % 2**64
        if style == "noise":  # repeated, since random bytes for megabytes of it take too long
            size = width * height * 3
            tile = Random(seed).randbytes(min(size, _NOISE_TILE))
            return Image.frombytes("RGB", (width, height), (tile * (size // len(tile) + 1))[:size])
        if style == "flat":
            colour = Random(f"{seed} {self.prompt}").randrange(1 << 24)
            return Image.new("RGB", (width, height), colour)
        return paint(
            prompt=self.prompt,
            negative=self.negative,
            seed=seed,
            width=width,
            height=height,
            steps=self.steps,
            variant=self.model,
        )


def is_sampler(graph: Graph, node: str) -> bool:
    return "latent_image" in node_inputs(graph, node)


def sampling_steps(graph: Graph, sampler: str) -> int:
    return max(1, find_value(graph, sampler, int, "steps") or _STEPS)


def read_sampler(graph: Graph, sampler: str, files: ServerFiles | None = None) -> SamplerRequest:
    """Everything a sampler is to produce, wherever in the graph it is set."""
    latent = find_source(graph, sampler, "latent_image")
    positive = find_source(graph, sampler, "positive", "conditioning")
    negative = find_source(graph, sampler, "negative")
    while negative is not None and "negative" in node_links(graph, negative):
        negative = node_links(graph, negative)["negative"]
    if negative is not None and graph[negative]["class_type"] == "ConditioningZeroOut":
        negative = None
    model = find_source(graph, sampler, "model") or sampler
    # LoRAs, control images and references count by what they compute, whatever their ids are.
    guiding = [n for n in upstream(graph, sampler) if graph[n]["class_type"] in _GUIDING_CLASSES]

    def file_state(node: str) -> str:
        return files.fingerprint(node_inputs(graph, node).get("image")) if files else ""

    signatures = node_signatures(graph, execution_order(graph, guiding), file_state)
    model_file = find_value(graph, model, str, "unet_name", "ckpt_name") or ""
    return SamplerRequest(
        prompt=find_value(graph, positive, str, *_TEXT_INPUTS) or "",
        negative=find_value(graph, negative, str, *_TEXT_INPUTS) or "",
        seed=find_value(graph, sampler, int, "seed", "noise_seed") or 0,
        width=find_value(graph, latent, int, "width") or _SIDE,
        height=find_value(graph, latent, int, "height") or _SIDE,
        batch=find_value(graph, latent, int, "batch_size", "amount") or 1,
        steps=sampling_steps(graph, sampler),
        model=" ".join([model_file, *(signatures[node] for node in guiding)]),
    )


def render_node(
    graph: Graph, node: str, files: ServerFiles, style: ImageStyle
) -> list[Image.Image]:
    """The images that come out of a node."""
    inputs, kind = node_inputs(graph, node), graph[node]["class_type"]
    if kind == "EmptyImage":
        size, number = (int(inputs["width"]), int(inputs["height"])), int(inputs["color"])
        colour = number >> 16 & 255, number >> 8 & 255, number & 255
        return [Image.new("RGB", size, colour)] * int(inputs["batch_size"])
    if kind == "LoadImage":
        return [_open_input(files, inputs["image"], "RGB")]
    if is_sampler(graph, node):
        # The images of a sampler; from an initial image they are blended over it.
        request = read_sampler(graph, node, files)
        images = [request.paint(style, index) for index in range(request.batch)]
        latent = find_source(graph, node, "latent_image")
        source = find_source(graph, latent, "pixels") if latent else None
        if latent is None or source is None:
            return images
        initial = render_node(graph, source, files, style)[0]
        denoise = find_value(graph, node, float, "denoise")
        strength = 1.0 if denoise is None else denoise
        mask = _render_mask(graph, find_source(graph, latent, "mask"), files)
        blended = (Image.blend(initial, each.resize(initial.size), strength) for each in images)
        return [_composite(initial, each, mask) for each in blended]
    if kind == "ImageCompositeMasked":
        links = node_links(graph, node)
        below = render_node(graph, links["destination"], files, style)
        above = render_node(graph, links["source"], files, style)
        mask = _render_mask(graph, links.get("mask"), files)
        return [_composite(a, b, mask) for a, b in zip(below, above, strict=False)]
    source = find_source(graph, node, "image", "images", "samples", "pixels")
    if source is None:
        before = [Image.new("RGB", (_SIDE, _SIDE))]
    else:
        before = render_node(graph, source, files, style)
    loaders = [link for name, link in node_links(graph, node).items() if name.endswith("_model")]
    names = [find_value(graph, n, str, "model_name", "unet_name", "ckpt_name") for n in loaders]
    model = (names[0] or "") if names else ""
    images = [_process(image, kind, inputs, model) for image in before]
    return images * int(inputs["amount"]) if kind == "RepeatImageBatch" else images


def _render_mask(graph: Graph, node: str | None, files: ServerFiles) -> Image.Image | None:
    """The mask that comes out of a node."""
    if node is None:
        return None
    inputs, kind = node_inputs(graph, node), graph[node]["class_type"]
    if kind == "LoadImageMask":
        bands = _open_input(files, inputs["image"], "RGBA").split()
        return bands[("red", "green", "blue", "alpha").index(inputs["channel"])]
    if kind == "ImagePadForOutpaint":
        source = node_links(graph, node)["image"]
        size = render_node(graph, source, files, "flat")[0].size
        return ImageOps.expand(Image.new("L", size), _border(inputs), 255)
    mask = _render_mask(graph, node_links(graph, node).get("mask"), files)
    pixels = int(inputs.get("expand", 0))
    if mask is None or pixels == 0:
        return mask
    window = min(2 * abs(pixels) + 1, 2 * (min(mask.size) // 2) - 1)
    if window < 3:
        return mask
    grow = ImageFilter.MaxFilter if pixels > 0 else ImageFilter.MinFilter
    return mask.filter(grow(window))


def _composite(below: Image.Image, above: Image.Image, mask: Image.Image | None) -> Image.Image:
    """`above` where the mask is white, `below` where it is black."""
    above = above.resize(below.size)
    return above if mask is None else Image.composite(above, below, mask.resize(below.size))


def _open_input(files: ServerFiles, reference: object, mode: str) -> Image.Image:
    with Image.open(io.BytesIO(files.find_input(str(reference)) or b"")) as image:
        return image.convert(mode)


def _process(image: Image.Image, kind: str, inputs: Inputs, model: str) -> Image.Image:
    """The image that a node of this class gives; `model` is the file that it uses."""
    method = _FILTERS.get(str(inputs.get("upscale_method")), Image.Resampling.NEAREST)
    if kind == "Canny":
        return image.convert("L").filter(ImageFilter.FIND_EDGES).convert("RGB")
    if kind == "ImageInvert":
        return ImageOps.invert(image)
    if kind == "ImagePadForOutpaint":
        return ImageOps.expand(image, _border(inputs), (128, 128, 128))
    if kind == "ImageScale":
        size = int(inputs["width"]), int(inputs["height"])
        if inputs.get("crop") == "center":
            return ImageOps.fit(image, size, method)
        return image.resize((max(1, size[0]), max(1, size[1])), method)
    if kind == "ImageScaleBy":
        return _scale(image, float(inputs["scale_by"]), method)
    if kind == "ImageScaleToTotalPixels":
        pixels = float(inputs["megapixels"]) * (1 << 20)
        return _scale(image, (pixels / (image.width * image.height)) ** 0.5, method)
    if kind == "ImageUpscaleWithModel":
        factor = _FACTOR.search(model)
        times = int(factor[1] or factor[2]) if factor else 4
        return _scale(image, times, Image.Resampling.LANCZOS)
    if kind == "FaceRestoreCFWithModel":  # a tint that depends on the model and the fidelity
        share = 0.5 * (1 - float(inputs["codeformer_fidelity"])) + 0.1
        return Image.blend(image, Image.new("RGB", image.size, _colour_of(model)), share)
    if kind.endswith("Preprocessor"):  # of a custom node: anything, and always the same
        colour = Image.new("RGB", image.size, _colour_of(kind))
        return ImageChops.multiply(ImageOps.autocontrast(image), colour)
    return image


def _scale(image: Image.Image, factor: float, method: Image.Resampling) -> Image.Image:
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), method)


def _border(inputs: Inputs) -> tuple[int, int, int, int]:
    left, top, right, bottom = (int(inputs[side]) for side in ("left", "top", "right", "bottom"))
    return left, top, right, bottom


def _colour_of(word: str) -> tuple[int, int, int]:
    red, green, blue = sha1(word.encode(), usedforsecurity=False).digest()[:3]
    return red, green, blue


def encode_png(image: Image.Image, texts: Mapping[str, object], style: ImageStyle) -> bytes:
    """A PNG with these values as JSON in its text chunks, as ComfyUI writes them."""
    if style == "noise":
        return _encode_stored_png(image, texts)
    chunks = PngInfo()
    for name, value in texts.items():
        chunks.add_text(name, json.dumps(value))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=chunks, compress_level=1)
    return buffer.getvalue()


def _encode_stored_png(image: Image.Image, texts: Mapping[str, object]) -> bytes:
    """A PNG without compression: Pillow takes ten times as long, and noise does not compress."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    width, height = image.size
    pixels, line = image.tobytes(), width * 3
    rows = b"".join(b"\0" + pixels[at : at + line] for at in range(0, len(pixels), line))
    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))]
    for name, value in texts.items():
        chunks.append(chunk(b"tEXt", f"{name}\0{json.dumps(value)}".encode("latin-1")))
    chunks += [chunk(b"IDAT", zlib.compress(rows, 0)), chunk(b"IEND", b"")]
    return b"".join([b"\x89PNG\r\n\x1a\n", *chunks])


def render_previews(graph: Graph, sampler: str, style: ImageStyle) -> list[bytes]:
    """A small JPEG for each step, from blurred to clear."""
    request = read_sampler(graph, sampler)
    small = request.paint(style, max_side=_PREVIEW_SIDE)
    previews = []
    for step in range(1, request.steps + 1):
        buffer = io.BytesIO()
        blurred = small.filter(ImageFilter.BoxBlur(24 * (1 - step / request.steps)))
        blurred.save(buffer, "JPEG", quality=85)
        previews.append(buffer.getvalue())
    return previews


def reencode(data: bytes, preview: str) -> bytes:
    """An image in the format and quality that `preview=FORMAT;QUALITY` requests."""
    kind, _, quality = preview.partition(";")
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        level = int(quality) if quality.isdigit() else 90
        chosen = "JPEG" if kind == "jpeg" else "WEBP"
        image.convert("RGB").save(buffer, chosen, quality=min(level, 100))
    return buffer.getvalue()
