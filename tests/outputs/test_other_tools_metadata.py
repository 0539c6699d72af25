"""Metadata of other programs, in every place and form that they use."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.other_tools_images import graph, noise, png

from imagen.errors import OutputError
from imagen.outputs import read_record
from imagen.outputs.metadata import png as png_texts
from imagen.outputs.metadata.json_settings import parse_settings
from imagen.outputs.provenance import Provenance, find_provenance

PROMPT, NEGATIVE = "a brass owl reading", "fog, blur"
_BASE: dict[str, Any] = {
    "prompt": PROMPT,
    "negative": NEGATIVE,
    "seed": 77001,
    "steps": 31,
    "cfg": 6.5,
    "sampler": "dpmpp_2m",
    "scheduler": "karras",
    "width": 832,
    "height": 1216,
}
_LORAS = [{"name": "owl_ink", "strength": 0.7}]
_LINE = "Steps: 31, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 77001, "
_SETTINGS = f"{_LINE}Size: 832x1216, Model: library_v2"
_A1111 = f"{PROMPT}\nNegative prompt: {NEGATIVE}\n{_SETTINGS}"
_EXIF_IFD, _USER_COMMENT, _MODEL = 0x8769, 0x9286, 0x0110

_SWARMUI = {
    "sui_image_params": {
        "prompt": PROMPT,
        "negativeprompt": NEGATIVE,
        "model": "library_v2",
        "seed": 77001,
        "steps": 31,
        "cfgscale": 6.5,
        "width": 832,
        "height": 1216,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "loras": ["owl_ink"],
        "loraweights": ["0.7"],
        "clipstopatlayer": "-2",
        "refinerupscale": 1.5,
        "refinercontrolpercentage": 0.3,
        "swarm_version": "0.9.6.1",
    },
    "sui_extra_data": {"date": "2025-10-01"},
}
_FOOOCUS = {
    "metadata_scheme": "fooocus",
    "prompt": PROMPT,
    "negative_prompt": NEGATIVE,
    "full_prompt": [f"{PROMPT}, cinematic", "more"],
    "base_model": "library_v2",
    "refiner_model": "None",
    "loras": [["owl_ink.safetensors", 0.7, "ab12"], ["None", 1.0]],
    "guidance_scale": 6.5,
    "resolution": "(832, 1216)",
    "sampler": "dpmpp_2m",
    "scheduler": "karras",
    "seed": "77001",
    "steps": 31,
    "clip_skip": 2,
    "version": "Fooocus v2.5.5",
}
_RUINED = {
    "Prompt": PROMPT,
    "Negative": NEGATIVE,
    "steps": 31,
    "cfg": 6.5,
    "width": 832,
    "height": 1216,
    "seed": 77001,
    "sampler_name": "dpmpp_2m",
    "scheduler": "karras",
    "base_model_name": "library_v2.safetensors",
    "loras": [["9f3c", "0.7 - owl_ink"]],
    "denoise": None,
    "software": "RuinedFooocus",
}
_NOVELAI = {
    "prompt": PROMPT,
    "uc": NEGATIVE,
    "steps": 31,
    "scale": 6.5,
    "seed": 77001,
    "sampler": "k_dpmpp_2m",
    "noise_schedule": "karras",
    "width": 832,
    "height": 1216,
    "strength": 0.7,
    "request_type": "PromptGenerateRequest",
}
_NOVELAI_FILE = {
    "Software": "NovelAI",
    "Source": "NovelAI Diffusion V4",
    "Description": PROMPT,
    "Comment": json.dumps(_NOVELAI),
}
_SPACE = {
    "prompt": PROMPT,
    "negative_prompt": NEGATIVE,
    "resolution": "832 x 1216",
    "guidance_scale": 6.5,
    "num_inference_steps": 31,
    "seed": 77001,
    "sampler": "DPM++ 2M Karras",
    "use_lora": {"selected_lora": "owl_ink", "multiplier": 0.7},
    "use_upscaler": {"upscale_by": 1.5, "upscaler_strength": 0.55, "new_resolution": "1248 x 1824"},
    "Model": {"Model": "library_v2", "Model hash": "aa"},
}
_OLD_INVOKEAI = {
    "model": "stable diffusion",
    "model_weights": "library_v2",
    "app_id": "invoke-ai/InvokeAI",
    "image": {
        "prompt": [{"prompt": f"{PROMPT} [{NEGATIVE}]", "weight": 1.0}],
        "steps": 31,
        "cfg_scale": 6.5,
        "width": 832,
        "height": 1216,
        "seed": 77001,
        "sampler": "k_lms",
    },
}
_DREAM = f'"{PROMPT} [{NEGATIVE}]" -s 31 -S77001 -W832 -H 1216 -C6.5 -A k_lms -cf 0.75 -U 4 0.95'
_EASY = {
    "prompt": PROMPT,
    "negative_prompt": NEGATIVE,
    "seed": "77001",
    "num_inference_steps": "31",
    "guidance_scale": "6.5",
    "width": "832",
    "height": "1216",
    "sampler_name": "dpmpp_2m",
    "use_stable_diffusion_model": "library_v2",
}
_DRAW_THINGS = {
    "c": PROMPT,
    "uc": NEGATIVE,
    "steps": 31,
    "scale": 6.5,
    "seed": 77001,
    "size": "832x1216",
    "sampler": "DPM++ 2M Karras",
    "model": "library_v2",
    "lora": [{"model": "owl_ink", "weight": 0.7}],
}


def _without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in _BASE.items() if name not in names}


def _comment(path: str, text: str, *, raw: bytes | None = None) -> Path:
    """A JPEG or WebP file whose user comment is this text."""
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = raw or b"UNICODE\0" + text.encode("utf-16-be")
    noise().save(path, exif=exif)
    return Path(path)


def _told(path: Path) -> Provenance:
    return find_provenance(read_record(path))


@pytest.mark.parametrize(
    ("document", "tool", "values"),
    [
        pytest.param(
            _SWARMUI,
            "swarmui",
            _BASE | {"loras": _LORAS, "clip_skip": 2, "hires": 1.5, "hires_denoise": 0.3},
            id="SwarmUI",
        ),
        pytest.param(
            _FOOOCUS,
            "fooocus",
            _BASE | {"loras": [{"name": "owl_ink.safetensors", "strength": 0.7}], "clip_skip": 2},
            id="Fooocus",
        ),
        pytest.param(_RUINED, "ruinedfooocus", _BASE | {"loras": _LORAS}, id="RuinedFooocus"),
        pytest.param(
            _RUINED | {"loras": "Loras:<owl_ink:0.7>"},
            "ruinedfooocus",
            _BASE | {"loras": _LORAS},
            id="RuinedFooocus of old",
        ),
        pytest.param(_NOVELAI_FILE, "novelai", _BASE, id="NovelAI, whole"),
        pytest.param(_NOVELAI, "novelai", _BASE, id="NovelAI, the comment"),
        pytest.param(
            _SPACE,
            "",
            _BASE | {"loras": _LORAS, "hires": 1.5, "hires_denoise": 0.55},
            id="a space of Hugging Face",
        ),
        pytest.param(_EASY, "easydiffusion", _without("scheduler"), id="Easy Diffusion"),
        pytest.param(_DRAW_THINGS, "drawthings", _BASE | {"loras": _LORAS}, id="Draw Things"),
    ],
)
@pytest.mark.parametrize("form", ["png", "jpg", "webp"])
def test_json_settings_are_not_read_as_a_prompt(
    document: dict[str, Any], tool: str, values: dict[str, Any], form: str
) -> None:
    text = json.dumps(document)
    path = png("x.png", parameters=text) if form == "png" else _comment(f"x.{form}", text)
    found = _told(path)
    assert (found.tool, found.values) == (tool, values)
    has_model = "novelai" not in tool
    assert [model.partition(".")[0] for model in found.models] == ["library_v2"] * has_model


@pytest.mark.parametrize(
    ("texts", "tool", "values", "models"),
    [
        pytest.param(_NOVELAI_FILE, "novelai", _BASE, (), id="NovelAI"),
        pytest.param({"Dream": _DREAM}, "invokeai", _without("scheduler") | {"sampler": "lms"}, ()),
        pytest.param(
            {"sd-metadata": json.dumps(_OLD_INVOKEAI), "Dream": _DREAM},
            "invokeai",
            _without("scheduler") | {"sampler": "lms"},
            ("library_v2",),
            id="InvokeAI 2",
        ),
        pytest.param(_EASY, "easydiffusion", _without("scheduler"), ("library_v2",), id="Easy"),
        pytest.param(
            {"Comment": json.dumps(_FOOOCUS | {"loras": []})},
            "fooocus",
            _BASE | {"clip_skip": 2},
            ("library_v2",),
            id="Fooocus-MRE",
        ),
    ],
)
def test_texts_of_other_names_are_read(
    texts: dict[str, str], tool: str, values: dict[str, Any], models: tuple[str, ...]
) -> None:
    found = _told(png("x.png", **texts))
    assert (found.tool, found.values, found.models) == (tool, values, models)


def _hidden(text: str, signature: bytes, *, is_packed: bool) -> Image.Image:
    """An opaque image with this text in the lowest bits of its alpha channel, down each column."""
    data = gzip.compress(text.encode()) if is_packed else text.encode()
    whole = signature + (len(data) * 8).to_bytes(4, "big") + data
    bits = [byte >> shift & 1 for byte in whole for shift in range(7, -1, -1)]
    image = noise(256).convert("RGBA")
    for at, bit in enumerate(bits):
        place = at // image.height, at % image.height
        pixel = image.getpixel(place)
        assert isinstance(pixel, tuple)
        image.putpixel(place, (*pixel[:3], 254 + bit))
    return image


@pytest.mark.parametrize("form", ["png", "webp"])
@pytest.mark.parametrize(
    ("text", "signature", "tool"),
    [
        pytest.param(json.dumps(_NOVELAI_FILE), b"stealth_pngcomp", "novelai", id="NovelAI"),
        pytest.param(_A1111, b"stealth_pnginfo", "a1111", id="A1111"),
    ],
)
def test_a_text_in_the_alpha_channel_is_read(
    text: str, signature: bytes, tool: str, form: str
) -> None:
    image = _hidden(text, signature, is_packed=signature.endswith(b"comp"))
    if form == "webp":
        image.save("x.webp", lossless=True, exact=True)
    else:
        image.save("x.png")
    found = _told(Path(f"x.{form}"))
    assert (found.tool, found.values) == (tool, _BASE)


@pytest.mark.parametrize("length", [2**31, 0, 7])
def test_an_alpha_channel_with_a_wrong_length_is_ignored(length: int) -> None:
    image = _hidden("", b"stealth_pngcomp" + length.to_bytes(4, "big"), is_packed=False)
    image.save("x.png")
    with pytest.raises(OutputError, match="does not say how it was made"):
        read_record(Path("x.png"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param(_A1111, _BASE, id="as ever"),
        pytest.param(_A1111.replace("\n", "\r\n"), _BASE, id="lines that end otherwise"),
        pytest.param(
            f"{_A1111}\nTemplate: a {{brass|tin}} owl\nNegative Template: fog", _BASE, id="below"
        ),
        pytest.param(
            f"{PROMPT}\nNegative prompt: {NEGATIVE}\nTemplate: {PROMPT}\n{_SETTINGS}",
            _BASE,
            id="a template above",
        ),
        pytest.param(
            f"{PROMPT}\nNegative prompt: \nTemplate: {PROMPT}\n{_SETTINGS}",
            _without("negative"),
            id="a template above and no negative",
        ),
        pytest.param(
            _A1111 + ', Wildcard prompt: "an owl,\nreading: a book", Version: v1.9',
            _BASE,
            id="quoted",
        ),
        pytest.param(
            f"{PROMPT}\nNegative prompt: {NEGATIVE} {_SETTINGS}", _BASE, id="all in one line"
        ),
        pytest.param(
            f"(one:1.2), (two, three:1.3), (four:0.9)\n{_SETTINGS}",
            _without("negative") | {"prompt": "(one:1.2), (two, three:1.3), (four:0.9)"},
            id="weights that look like settings",
        ),
        pytest.param(
            _A1111.replace("CFG scale", "CFG Scale")
            .replace(" Schedule type: Karras,", "")
            .replace("DPM++ 2M", "dpmpp_2m_karras"),
            _BASE,
            id="a saver of ComfyUI",
        ),
        pytest.param(
            f"{_A1111}, Clip skip: 2, Denoising strength: 0.4, Hires upscale: 1.5",
            _BASE | {"clip_skip": 2, "hires": 1.5, "hires_denoise": 0.4},
            id="a second pass",
        ),
        pytest.param(
            f"{_A1111}, Denoising strength: 0.4, Hires resize: 1664x0",
            _BASE | {"hires": 2.0, "hires_denoise": 0.4},
            id="a second pass to a size",
        ),
        pytest.param(f"{_A1111}, Hires scale: 1.5", _BASE | {"hires": 1.5}, id="SD.Next"),
        pytest.param(
            f"{_A1111}, Denoising strength: 0.4", _BASE | {"strength": 0.4}, id="one pass"
        ),
        pytest.param(
            f'{_A1111}, Lora hashes: "owl_ink: ab12", Lora weights: "owl_ink: 0.7", '
            "Version: Fooocus v2.5.5",
            _BASE | {"loras": _LORAS},
            id="Fooocus in A1111's form",
        ),
        pytest.param(
            f"{_A1111}, Lora_0 Model name: owl_ink, Lora_0 Strength model: 0.7, Version: ComfyUI",
            _BASE | {"loras": _LORAS},
            id="LoRAs by number",
        ),
        pytest.param(
            _A1111.replace("Model: library_v2", "Model: , Unet: library_v2")
            + ", Version: stable-diffusion.cpp",
            _BASE,
            id="stable-diffusion.cpp",
        ),
        pytest.param(
            f'{_A1111}, Civitai resources: [{{"type":"lora","weight":0.7,"modelName":"owl_ink"}}]',
            _BASE | {"loras": _LORAS},
            id="Civitai",
        ),
    ],
)
@pytest.mark.parametrize("form", ["png", "jpg"])
def test_parameters_of_a1111_and_its_forks_are_read(
    text: str, values: dict[str, Any], form: str
) -> None:
    path = png("x.png", parameters=text) if form == "png" else _comment("x.jpg", text)
    found = _told(path)
    assert (found.values, found.models) == (values, ("library_v2",))


def _of_comfyui() -> dict[str, Any]:
    return graph("sdxl", prompt=PROMPT, negative=NEGATIVE, steps=31, seed=77001)


def _exif_of_savers(form: str) -> Image.Exif:
    """The three ways in which ComfyUI's nodes write the graph into EXIF."""
    exif = Image.Exif()
    whole = json.dumps(_of_comfyui())
    if form == "capital":
        exif[0x010E], exif[0x010F] = "Workflow: {}", f"Prompt: {whole}"
    elif form == "plain":
        exif[_MODEL] = f"prompt:{whole}"
    elif form == "beside":
        exif[_USER_COMMENT] = json.dumps({"prompt": _of_comfyui(), "workflow": {}})
    return exif


@pytest.mark.parametrize("form", ["capital", "plain", "beside"])
@pytest.mark.parametrize("file", ["x.jpg", "x.webp", "x.png"])
def test_a_graph_in_exif_is_read(form: str, file: str) -> None:
    noise().save(file, exif=_exif_of_savers(form))
    found = _told(Path(file))
    assert (found.tool, found.values["prompt"], found.values["seed"]) == ("comfyui", PROMPT, 77001)


def test_the_old_exif_tag_of_swarmui_is_read() -> None:
    exif = Image.Exif()
    exif[_MODEL] = json.dumps(_SWARMUI)
    noise().save("x.jpg", exif=exif)
    assert _told(Path("x.jpg")).values["seed"] == 77001


def test_a_civitai_graph_has_settings_beside_it() -> None:
    said = {"prompt": PROMPT, "clipSkip": 2, "steps": 31, "seed": 77001, "baseModel": "SDXL"}
    document = _of_comfyui() | {"extra": {"airs": []}, "extraMetadata": json.dumps(said)}
    found = _told(_comment("x.jpg", json.dumps(document)))
    assert (found.tool, found.kind) == ("civitai", "comfyui")
    assert (found.values["prompt"], found.values["clip_skip"]) == (PROMPT, 2)
    assert found.models == ("sd_xl_base_1.0.safetensors",)


def test_the_model_names_of_a_service_are_used() -> None:
    said = {
        "prompt": PROMPT,
        "seed": "-1",
        "steps": 31,
        "clipSkip": 2,
        "baseModel": {"modelFileName": "library_v2", "baseModel": "SDXL"},
        "guidance": 3.5,
        "models": [
            {"type": "LORA", "modelFileName": "owl_ink", "weight": 0.7},
            {"type": "CHECKPOINT", "modelFileName": "library_v2", "weight": 1},
        ],
    }
    graph = json.dumps(_of_comfyui())
    found = _told(png("x.png", prompt=graph, generation_data=json.dumps(said) + "\0"))
    assert (found.tool, found.models) == ("tensorart", ("library_v2",))
    assert (found.values["seed"], found.values["loras"]) == (77001, _LORAS)
    assert found.values["clip_skip"] == 2
    assert "guidance" not in found.values


def test_parameters_without_content_leave_the_graph_as_source() -> None:
    said = "unknown\nNegative prompt: unknown\nSteps: 20, Seed: 0, Size: 512x512, Version: ComfyUI"
    found = _told(png("x.png", parameters=said, prompt=json.dumps(_of_comfyui())))
    assert (found.values["prompt"], found.values["seed"]) == (PROMPT, 77001)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_a_text_chunk_is_read_in_either_encoding(kind: bytes, encoding: str) -> None:
    import zlib

    text = _A1111.replace("brass", "bräss").encode(encoding)
    body = b"parameters\0" + (text if kind == b"tEXt" else b"\0" + zlib.compress(text))
    chunk = len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
    noise().save("x.png")
    data = Path("x.png").read_bytes()
    Path("x.png").write_bytes(data[:33] + chunk + data[33:])
    assert _told(Path("x.png")).values["prompt"] == "a bräss owl reading"


@pytest.mark.parametrize("text", ["Ã¤", "Füchse", "雪", "plain"])
def test_parameters_that_look_like_json_are_read_back(text: str) -> None:
    noise().save("x.png")
    data = png_texts.write_texts(Path("x.png").read_bytes(), {"parameters": text})[0]
    assert png_texts.read_texts(data, ("parameters",)) == {"parameters": text}


@pytest.mark.parametrize(
    "text",
    [
        "Taken by Aunt Ida at the pond",
        "Version: ComfyUI",
        "\n",
        "ISO: 100, Lens: 50 mm, Size: 10x10, Model: Ensign",
        '{"maker": "Ensign", "lens": "50 mm"}',
        '{"prompt": "a cat"}',
        "[1, 2]",
    ],
)
@pytest.mark.parametrize("file", ["x.jpg", "x.webp"])
def test_an_unrelated_comment_is_not_read_as_a_prompt(text: str, file: str) -> None:
    with pytest.raises(OutputError, match="does not say how it was made"):
        read_record(_comment(file, text))


@pytest.mark.parametrize(
    "text", ['{"a": 1}', "{", "[1, 2]", '{"prompt": {"text": "a"}}', '{"seed": 1']
)
def test_unknown_json_is_not_read_as_a_prompt(text: str) -> None:
    with pytest.raises(OutputError, match="does not say how it was made"):
        read_record(png("x.png", parameters=text))


def test_a_dream_text_without_settings_is_ignored() -> None:
    with pytest.raises(OutputError, match="does not say how it was made"):
        read_record(png("x.png", Dream="of a - b sheep"))


@pytest.mark.parametrize("prompt", ["{red|blue} fox", "[fox|wolf], snow", "(fox)"])
def test_a_prompt_may_start_like_json(prompt: str) -> None:
    assert read_record(png("x.png", parameters=prompt)).resolved == {"prompt": prompt}
    with_settings = read_record(png("y.png", parameters=f"{prompt}\n{_SETTINGS}"))
    assert with_settings.resolved["prompt"] == prompt


@pytest.mark.parametrize(
    ("tag", "strength", "odd"),
    [
        ("<lora:owl_ink:0.7>", 0.7, {}),
        ("<lora:owl_ink>", 1.0, {}),
        ("<lyco:owl_ink:0.7>", 0.7, {}),
        ("<lora:owl_ink:0.7:0.7>", 0.7, {}),
        ("<lora:owl_ink:0.7:0.2>", 0.7, {"LoRA owl_ink": "0.7:0.2"}),
        ("<lora:owl_ink:te=0.7:unet=0.2>", 0.7, {"LoRA owl_ink": "te=0.7:unet=0.2"}),
        ("<lora:owl_ink:0.7:lbw=MIDD>", 0.7, {"LoRA owl_ink": "0.7:lbw=MIDD"}),
    ],
)
def test_a_lora_of_several_weights_is_reported(
    tag: str, strength: float, odd: dict[str, str]
) -> None:
    found = _told(png("x.png", parameters=_A1111.replace("reading", f"{tag}, reading")))
    assert found.values["prompt"] == "a brass owl, reading"
    assert found.values["loras"] == [{"name": "owl_ink", "strength": strength}]
    assert found.unread == odd


def test_a_strength_counts_where_an_image_was_given() -> None:
    values = parse_settings(_NOVELAI | {"request_type": "Img2ImgRequest"})
    assert values is not None
    assert values.values["strength"] == 0.7


@pytest.mark.parametrize("name", ["imagen", "prompt", "parameters"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            '{"a":' * 300 + "1" + "}" * 300, "is nested more than 100 levels deep", id="deep"
        ),
        pytest.param(
            '{"a": [' + "1," * 250_000 + "1]}", "holds more than 200,000 values", id="many"
        ),
        pytest.param('{"a": "' + "b" * 2**21 + '"}', "larger than 2 MB", id="long"),
    ],
)
def test_a_text_beyond_the_limits_is_an_error_that_names_the_file(
    name: str, text: str, said: str
) -> None:
    info = PngInfo()
    info.add_text(name, text, zip=True)
    noise().save("x.png", pnginfo=info)
    with pytest.raises(OutputError, match=r"x\.png cannot be read: ") as caught:
        read_record(Path("x.png"))
    assert said in caught.value.message


def test_nan_and_infinity_are_left_out() -> None:
    document = _of_comfyui() | {"8": {"class_type": "X", "inputs": {}, "is_changed": ["NAN"]}}
    found = read_record(png("x.png", prompt=json.dumps(document).replace('"NAN"', "NaN, Infinity")))
    assert found.graph["8"]["is_changed"] == [None, None]


def test_a_graph_beside_the_settings_adds_the_second_pass() -> None:
    beside = _of_comfyui() | {
        "90": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2}}
    }
    first = beside["3"] if "3" in beside else beside["8"]
    beside["90"]["inputs"]["clip"] = ["4", 1]
    assert first["class_type"] == "KSampler"
    for node in beside.values():
        if node["class_type"] == "CLIPTextEncode":
            node["inputs"]["clip"] = ["90", 0]
    found = _told(png("x.png", parameters=_A1111, prompt=json.dumps(beside)))
    assert found.values["clip_skip"] == 2
    assert (found.values["width"], found.values["steps"]) == (832, 31)
