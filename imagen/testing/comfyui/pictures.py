"""What a graph would show: painted from its words, seed, size, steps and model."""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageFilter
from PIL.PngImagePlugin import PngInfo

from imagen.backends.mock.painting import paint
from imagen.testing.comfyui.graph import branch, inputs, links, order, signatures, upstream, value
from imagen.testing.comfyui.working import grown, padding_mask, worked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.testing.comfyui.files import Files
    from imagen.testing.comfyui.graph import Graph
    from imagen.testing.comfyui.setup import Look

_SIDE = 512
_STEPS = 20
_TILE = 1 << 16
_PREVIEW_SIDE = 256
_TEXTS = ("text", "t5xxl", "clip_l", "text_l", "text_g", "clip_g", "prompt")
_STEERS = (
    *("LoraLoader", "LoraLoaderModelOnly", "ControlNetApplyAdvanced"),
    *("QwenImageDiffsynthControlnet", "ReferenceLatent", "LatentInterpolate"),
)
"""Classes of node that make another picture of the same words and seed."""
_MODELS = ("model_name", "unet_name", "ckpt_name")
_STRIDE = 0x9E3779B97F4A7C15  # odd and large: the pictures of a batch share no seed with others


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one sampler is asked for."""

    prompt: str
    negative: str
    seed: int
    width: int
    height: int
    batch: int
    steps: int
    model: str
    """Its file, and what else makes another picture of the same words and seed."""

    def paint(self, look: Look, index: int = 0, *, side: int | None = None) -> Image.Image:
        """One picture of the batch; its longer side shortened to `side`."""
        scale = min(1.0, side / max(self.width, self.height)) if side else 1.0
        size = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        seed = (self.seed + index * _STRIDE) % 2**64
        if look == "noise":
            return _noise(size, seed)
        if look == "flat":
            return Image.new("RGB", size, Random(f"{seed} {self.prompt}").randrange(1 << 24))
        return paint(
            prompt=self.prompt,
            negative=self.negative,
            seed=seed,
            width=size[0],
            height=size[1],
            steps=self.steps,
            variant=self.model,
        )


def _noise(size: tuple[int, int], seed: int) -> Image.Image:
    """Noise that repeats itself, since drawing megabytes of it takes longer than all the rest."""
    wanted = size[0] * size[1] * 3
    tile = Random(seed).randbytes(min(wanted, _TILE))
    return Image.frombytes("RGB", size, (tile * (wanted // len(tile) + 1))[:wanted])


def is_sampler(graph: Graph, node: str) -> bool:
    return "latent_image" in inputs(graph, node)


def steps(graph: Graph, node: str) -> int:
    """How many steps a sampler takes."""
    return max(1, int(value(graph, node, int, "steps") or _STEPS))


def read_wish(graph: Graph, sampler: str, files: Files | None = None) -> Wish:
    """Everything a sampler is asked for, wherever in the graph it says so."""
    latent = branch(graph, sampler, "latent_image")
    positive = branch(graph, sampler, "positive", "conditioning")
    model = branch(graph, sampler, "model") or sampler
    return Wish(
        prompt=value(graph, positive, str, *_TEXTS) or "",
        negative=_negative(graph, sampler),
        seed=value(graph, sampler, int, "seed", "noise_seed") or 0,
        width=value(graph, latent, int, "width") or _SIDE,
        height=value(graph, latent, int, "height") or _SIDE,
        batch=value(graph, latent, int, "batch_size", "amount") or 1,
        steps=steps(graph, sampler),
        model=(value(graph, model, str, "unet_name", "ckpt_name") or "")
        + _steering(graph, sampler, files),
    )


def _steering(graph: Graph, sampler: str, files: Files | None) -> str:
    """What LoRAs, control pictures and references are there, whatever their nodes are called."""
    nodes = [node for node in upstream(graph, sampler) if graph[node]["class_type"] in _STEERS]
    if not nodes:
        return ""

    def mark(node: str) -> str:
        return files.fingerprint(inputs(graph, node).get("image")) if files else ""

    found = signatures(graph, order(graph, nodes), mark)
    return " ".join(["", *(found[node] for node in nodes)])


def _negative(graph: Graph, sampler: str) -> str:
    node = branch(graph, sampler, "negative")
    while node is not None and "negative" in dict(links(graph, node)):
        node = dict(links(graph, node))["negative"]
    if node is None or graph[node]["class_type"] == "ConditioningZeroOut":
        return ""
    return value(graph, node, str, *_TEXTS) or ""


def pictures(graph: Graph, node: str, files: Files, look: Look) -> list[Image.Image]:
    """The pictures that come out of a node."""
    said = inputs(graph, node)
    kind = graph[node]["class_type"]
    if kind == "EmptyImage":
        size = int(said["width"]), int(said["height"])
        return [Image.new("RGB", size, _rgb(int(said["color"])))] * int(said["batch_size"])
    if kind == "LoadImage":
        return [_opened(files, said["image"])]
    if is_sampler(graph, node):
        return _sampled(graph, node, files, look)
    if kind == "ImageCompositeMasked":
        return _composed(graph, node, files, look)
    source = branch(graph, node, "image", "images", "samples", "pixels")
    before = pictures(graph, source, files, look) if source else [_blank()]
    made = [worked(picture, kind, said, _model(graph, node)) for picture in before]
    return made * int(said["amount"]) if kind == "RepeatImageBatch" else made


def _model(graph: Graph, node: str) -> str:
    """The file that a node works with, if its own loader tells."""
    loaders = [source for name, source in links(graph, node) if name.endswith("_model")]
    return next((str(value(graph, loader, str, *_MODELS) or "") for loader in loaders), "")


def _sampled(graph: Graph, node: str, files: Files, look: Look) -> list[Image.Image]:
    wish = read_wish(graph, node, files)
    made = [wish.paint(look, index) for index in range(wish.batch)]
    latent = branch(graph, node, "latent_image")
    source = branch(graph, latent, "pixels") if latent else None
    if latent is None or source is None:
        return made
    start = pictures(graph, source, files, look)[0]
    denoise = value(graph, node, float, "denoise")
    strength = 1.0 if denoise is None else float(denoise)
    mask = _mask(graph, branch(graph, latent, "mask"), files)
    drawn = [Image.blend(start, picture.resize(start.size), strength) for picture in made]
    return [_within(start, picture, mask) for picture in drawn]


def _composed(graph: Graph, node: str, files: Files, look: Look) -> list[Image.Image]:
    found = dict(links(graph, node))
    below, above = (pictures(graph, found[n], files, look) for n in ("destination", "source"))
    mask = _mask(graph, found.get("mask"), files)
    return [_within(a, b, mask) for a, b in zip(below, above, strict=False)]


def _within(below: Image.Image, above: Image.Image, mask: Image.Image | None) -> Image.Image:
    """One picture where the mask is white, and the other where it is black."""
    above = above.resize(below.size)
    return above if mask is None else Image.composite(above, below, mask.resize(below.size))


def _mask(graph: Graph, node: str | None, files: Files) -> Image.Image | None:
    """The mask that comes out of a node."""
    if node is None:
        return None
    said, kind = inputs(graph, node), graph[node]["class_type"]
    if kind == "LoadImageMask":
        bands = _opened(files, said["image"], "RGBA").split()
        return bands[("red", "green", "blue", "alpha").index(said["channel"])]
    if kind == "ImagePadForOutpaint":
        source = dict(links(graph, node))["image"]
        return padding_mask(pictures(graph, source, files, "flat")[0], said)
    before = _mask(graph, dict(links(graph, node)).get("mask"), files)
    return grown(before, int(said.get("expand", 0))) if before is not None else None


def _opened(files: Files, reference: Any, mode: str = "RGB") -> Image.Image:
    with Image.open(io.BytesIO(files.named(str(reference)) or b"")) as picture:
        return picture.convert(mode)


def _blank() -> Image.Image:
    return Image.new("RGB", (_SIDE, _SIDE))


def _rgb(colour: int) -> tuple[int, int, int]:
    return colour >> 16 & 255, colour >> 8 & 255, colour & 255


def png(picture: Image.Image, texts: Mapping[str, Any], look: Look = "flat") -> bytes:
    """A PNG with these values as JSON in its text chunks, as ComfyUI writes them."""
    if look == "noise":
        return _stored(picture, texts)
    chunks = PngInfo()
    for name, said in texts.items():
        chunks.add_text(name, json.dumps(said))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=chunks, compress_level=1)
    return buffer.getvalue()


def _stored(picture: Image.Image, texts: Mapping[str, Any]) -> bytes:
    """A PNG without compression: Pillow takes ten times as long to find out that noise has none."""
    width, height = picture.size
    pixels, line = picture.tobytes(), width * 3
    rows = b"".join(b"\0" + pixels[at : at + line] for at in range(0, len(pixels), line))
    chunks = [_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))]
    for name, said in texts.items():
        chunks.append(_chunk(b"tEXt", f"{name}\0{json.dumps(said)}".encode("latin-1")))
    chunks += [_chunk(b"IDAT", zlib.compress(rows, 0)), _chunk(b"IEND", b"")]
    return b"".join([b"\x89PNG\r\n\x1a\n", *chunks])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def previews(graph: Graph, sampler: str, look: Look) -> list[bytes]:
    """A small JPEG for each step, from blurred to clear."""
    wish = read_wish(graph, sampler)
    small = wish.paint(look, side=_PREVIEW_SIDE)
    return [
        jpeg(small.filter(ImageFilter.BoxBlur(24 * (1 - step / wish.steps))))
        for step in range(1, wish.steps + 1)
    ]


def jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def reencoded(data: bytes, form: str) -> bytes:
    """A picture as `preview=FORMAT;QUALITY` asks for it."""
    kind, _, quality = form.partition(";")
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as picture:
        chosen = "JPEG" if kind == "jpeg" else "WEBP"
        level = int(quality) if quality.isdigit() else 90
        picture.convert("RGB").save(buffer, chosen, quality=min(level, 100))
    return buffer.getvalue()
