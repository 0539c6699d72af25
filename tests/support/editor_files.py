"""Files of ComfyUI's editor in short form, and a small node catalog to read them with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.graphs.importer.convert import convert
from imagen.graphs.importer.detect import detect_in_json
from imagen.graphs.node_catalog import read_catalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Wire = tuple[str, int, str, str, str]
"""From this node's output to that node's input of this name, of this type."""
_SEED = {"default": 0, "min": 0, "max": 18446744073709551615}


def _class(required: dict[str, Any], *outputs: str, **more: Any) -> dict[str, Any]:
    return {"input": {"required": required}, "output": list(outputs), "output_node": False} | more


CATALOGUE: dict[str, Any] = {
    "CheckpointLoaderSimple": _class({"ckpt_name": [["a.safetensors"]]}, "MODEL", "CLIP", "VAE"),
    "LoraLoader": _class(
        {
            "model": ["MODEL"],
            "clip": ["CLIP"],
            "lora_name": [["x.safetensors"]],
            "strength_model": ["FLOAT", {"default": 1.0, "min": -100.0, "max": 100.0}],
            "strength_clip": ["FLOAT", {"default": 1.0, "min": -100.0, "max": 100.0}],
        },
        "MODEL",
        "CLIP",
    ),
    "CLIPTextEncode": _class(
        {"text": ["STRING", {"multiline": True, "dynamicPrompts": True}], "clip": ["CLIP"]},
        "CONDITIONING",
    ),
    "EmptyLatentImage": _class(
        {
            "width": ["INT", {"default": 512, "min": 16, "max": 16384, "step": 8}],
            "height": ["INT", {"default": 512, "min": 16, "max": 16384, "step": 8}],
            "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
        },
        "LATENT",
    ),
    "KSampler": _class(
        {
            "model": ["MODEL"],
            "seed": ["INT", _SEED],
            "steps": ["INT", {"default": 20, "min": 1, "max": 10000}],
            "cfg": ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0}],
            "sampler_name": [["euler", "heun"]],
            "scheduler": ["COMBO", {"options": ["normal", "karras"]}],
            "positive": ["CONDITIONING"],
            "negative": ["CONDITIONING"],
            "latent_image": ["LATENT"],
            "denoise": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0}],
        },
        "LATENT",
    ),
    "VAEDecode": _class({"samples": ["LATENT"], "vae": ["VAE"]}, "IMAGE"),
    "VAEEncode": _class({"pixels": ["IMAGE"], "vae": ["VAE"]}, "LATENT"),
    "SaveImage": _class(
        {"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "ComfyUI"}]},
        output_node=True,
    ),
    "PreviewImage": _class({"images": ["IMAGE"]}, output_node=True),
    "LoadImage": _class({"image": [["example.png"], {"image_upload": True}]}, "IMAGE", "MASK"),
    "LoadImageMask": _class(
        {
            "image": [["example.png"], {"image_upload": True}],
            "channel": [["alpha", "red", "green", "blue"]],
        },
        "MASK",
    ),
    "SetLatentNoiseMask": _class({"samples": ["LATENT"], "mask": ["MASK"]}, "LATENT"),
    "ConditioningZeroOut": _class({"conditioning": ["CONDITIONING"]}, "CONDITIONING"),
    "PrimitiveInt": _class({"value": ["INT", {"control_after_generate": True}]}, "INT"),
    "Blur": _class(
        {"image": ["IMAGE"], "amount": ["INT", {"default": 3, "min": 0, "max": 31}]}, "IMAGE"
    ),
    "Film": _class(
        {
            "seed": ["INT", {"default": 9, "control_after_generate": False}],
            "steps": ["INT", {"default": 80}],
        },
        "IMAGE",
    ),
    "Picker": _class({"pick": ["PICKER"], "amount": ["INT", {"default": 3}]}, "IMAGE"),
    "Power Lora Loader (rgthree)": {
        "input": {"required": {}, "optional": {"model": ["MODEL"], "clip": ["CLIP"]}},
        "output": ["MODEL", "CLIP"],
    },
    "Lora Loader (LoraManager)": _class({"model": ["MODEL"], "text": ["STRING"]}, "MODEL"),
    "Lora Stacker (LoraManager)": _class(
        {"model": ["MODEL"], "text": ["AUTOCOMPLETE_TEXT_LORAS"], "loras": ["LORAS", {}]}, "MODEL"
    ),
    "TriggerWord Toggle (LoraManager)": _class(
        {"model": ["MODEL"], "group_mode": ["BOOLEAN", {"default": True}]}, "MODEL"
    ),
    "VideoCombine": _class(
        {
            "images": ["IMAGE"],
            "frame_rate": ["FLOAT", {"default": 8}],
            "format": [["image/gif", "video/h264-mp4"]],
        },
        output_node=True,
    ),
    "LoadMore": {
        "input": {
            "required": {"image": [["example.png"], {"image_upload": True}]},
            "optional": {"page": ["INT", {"default": 1}]},
        },
        "output": ["IMAGE"],
    },
    "Many": {
        "input": {
            "required": {
                "color": ["COLOR", {"default": "#fff"}],
                "level": ["INT", {"default": 5}],
                "image": ["IMAGE"],
            },
            "optional": {
                "forced": ["INT", {"forceInput": True}],
                "flag": ["BOOLEAN", {"default": False}],
                "words": ["COMBO", {"options": ["a", "b"], "multiselect": True}],
            },
        },
        "input_order": {
            "required": ["level", "image", "color"],
            "optional": ["forced", "flag", "words"],
        },
        "output": ["IMAGE"],
        "output_node": False,
    },
    "Resize": _class(
        {
            "image": ["IMAGE"],
            "mode": [
                "COMFY_DYNAMICCOMBO_V3",
                {
                    "options": [
                        {"key": "factor", "inputs": {"required": {"by": ["FLOAT", {}]}}},
                        {
                            "key": "size",
                            "inputs": {"required": {"wide": ["INT", {}], "high": ["INT", {}]}},
                        },
                    ]
                },
            ],
            "method": [["area", "lanczos"]],
        },
        "IMAGE",
    ),
}


def node(kind: str, *values: Any, **more: Any) -> dict[str, Any]:
    """A node of this class with these widget values; `outputs` are their types."""
    outputs = more.pop("outputs", [*CATALOGUE.get(kind, {}).get("output", ())])
    inputs = [_slot(item) for item in more.pop("inputs", ())]
    return {
        "type": kind,
        "mode": 0,
        "inputs": inputs,
        "outputs": [{"name": one, "type": one} for one in outputs],
        "properties": {},
        "widgets_values": list(values),
    } | more


def _slot(item: tuple[str, str] | tuple[str, str, str]) -> dict[str, Any]:
    """An input without a link; a third part marks it as a widget."""
    widget = {"widget": {"name": item[0]}} if len(item) > 2 else {}
    return {"name": item[0], "type": item[1], "link": None} | widget


def editor(nodes: Mapping[str, dict[str, Any]], wires: Sequence[Wire], **more: Any) -> Any:
    """A file as the editor saves it: links are arrays, and a node's inputs name theirs."""
    placed = _wired(nodes, wires)
    links = [
        [number, source, slot, target, 0, kind]
        for number, (source, slot, target, _, kind) in enumerate(wires, 1)
    ]
    return {"version": 0.4, "nodes": placed, "links": links} | more


def subgraph(
    key: str,
    nodes: Mapping[str, dict[str, Any]],
    wires: Sequence[Wire],
    inputs: Sequence[tuple[str, str]] = (),
    outputs: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """A definition: wires from "-10" come in, those to "-20" go out by the number they name."""
    links = [
        {
            "id": number,
            "origin_id": int(source) if source == "-10" else source,
            "origin_slot": slot,
            "target_id": int(target) if target == "-20" else target,
            "target_slot": int(name) if target == "-20" else 0,
            "type": kind,
        }
        for number, (source, slot, target, name, kind) in enumerate(wires, 1)
    ]
    return {
        "id": key,
        "name": key,
        "nodes": _wired(nodes, wires),
        "links": links,
        "inputs": [{"name": name, "type": kind} for name, kind in inputs],
        "outputs": [{"name": name, "type": kind} for name, kind in outputs],
    }


def _wired(nodes: Mapping[str, dict[str, Any]], wires: Sequence[Wire]) -> list[dict[str, Any]]:
    placed = {key: one | {"id": int(key)} for key, one in nodes.items()}
    for number, (_, _, target, name, kind) in enumerate(wires, 1):
        if target in placed:
            inputs = [dict(slot) for slot in placed[target]["inputs"]]
            slot = next((one for one in inputs if one["name"] == name), None)
            if slot is None:
                slot = {"name": name, "type": kind}
                inputs.append(slot)
            slot["link"] = number
            placed[target] = placed[target] | {"inputs": inputs}
    return list(placed.values())


def graph_of(said: Any) -> dict[str, Any]:
    """The graph for the server, without titles."""
    graph = convert(detect_in_json(said, "it.json"), read_catalog(CATALOGUE)).graph
    return {
        key: {"class_type": one["class_type"], "inputs": one["inputs"]}
        for key, one in graph.items()
    }


def notes_of(said: Any) -> tuple[str, ...]:
    """What the import reports about a file."""
    return convert(detect_in_json(said, "it.json"), read_catalog(CATALOGUE)).notes


def shown(nodes: Mapping[str, dict[str, Any]], wires: Sequence[Wire], **more: Any) -> Any:
    """The graph of these nodes, with a preview, node 9, of node 1."""
    last = {**nodes, "9": node("PreviewImage")}
    return graph_of(editor(last, [*wires, ("1", 0, "9", "images", "IMAGE")], **more))


def inputs_of_one(*values: Any, kind: str = "KSampler", **more: Any) -> Any:
    """The converted inputs of node 1 of this class with these values."""
    decode: list[Wire] = [("1", 0, "8", "samples", "LATENT"), ("8", 0, "9", "images", "IMAGE")]
    show: list[Wire] = [("1", 0, "9", "images", "IMAGE")]
    wires = decode if "LATENT" in CATALOGUE[kind]["output"] else show
    nodes = {"1": node(kind, *values, **more), "8": node("VAEDecode"), "9": node("PreviewImage")}
    return graph_of(editor(nodes, wires))["1"]["inputs"]


PORTRAIT_NODES: dict[str, dict[str, Any]] = {
    "3": node("KSampler", 7, "fixed", 20, 8, "euler", "normal", 1),
    "4": node("CheckpointLoaderSimple", "a.safetensors"),
    "5": node("EmptyLatentImage", 512, 768, 1),
    "6": node("CLIPTextEncode", "a fox"),
    "7": node("CLIPTextEncode", "blurry"),
    "8": node("VAEDecode"),
    "9": node("SaveImage", "fox"),
}
PORTRAIT_WIRES: list[Wire] = [
    ("4", 0, "3", "model", "MODEL"),
    ("6", 0, "3", "positive", "CONDITIONING"),
    ("7", 0, "3", "negative", "CONDITIONING"),
    ("5", 0, "3", "latent_image", "LATENT"),
    ("4", 1, "6", "clip", "CLIP"),
    ("4", 1, "7", "clip", "CLIP"),
    ("3", 0, "8", "samples", "LATENT"),
    ("4", 2, "8", "vae", "VAE"),
    ("8", 0, "9", "images", "IMAGE"),
]
PORTRAIT: dict[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 7,
            "steps": 20,
            "cfg": 8,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1,
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
    "5": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 512, "height": 768, "batch_size": 1},
    },
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "fox", "images": ["8", 0]}},
}
