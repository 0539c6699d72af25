"""Redaction: everything, everything but the prompt, or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.output_samples import (
    NOW,
    encode_sample,
    load_bytes,
    pixels,
    sample_request,
    sample_result,
    sample_settings,
    sample_ticket,
)
from support.secrets_in_images import exif, find_encodings, segment, write_secret

from imagen import generate, load_settings
from imagen.core.request import Request
from imagen.core.result import Output
from imagen.core.ticket import InputImage
from imagen.errors import OutputError
from imagen.outputs import metadata, read_record, redact_file, redact_record, save_outputs

if TYPE_CHECKING:
    from imagen.outputs import RedactionPolicy

WORDS = ("zyxomma", "Zürichsee", "луна-зверь", "月下狐", 'a "q" \\ fox', "🦊🦊")
KINDS = ("png", "apng", "jpeg", "webp", "avif", "animation")
_LINE = (
    "Steps: 10, Sampler: euler, CFG scale: 1, Seed: 7, Size: 48x32, Model: flux1-schnell, "
    "Backend: flux-local, Version: imagen"
)


def _wordy(word: str) -> Request:
    """A request with the word in every text field."""
    return Request.of(
        {
            "prompt": f"{word}, asleep\nSteps: 4, Sampler: {word}, Seed: 9",
            "negative": word,
            "prompt_2": word,
            "negative_2": word,
            "style": word,
            "image": f"/home/ann/{word}.png",
            "mask": f"{word}.png",
            "references": (f"{word}.png",),
            "controls": ({"kind": "canny", "image": f"{word}.png"},),
            "loras": ({"name": "detail.safetensors", "strength": 0.5},),
            "extra": {"text": word, "words": [word], "deep": {"a": [{"b": word}]}, "shift": 3.0},
        }
    )


def _saved(kind: str, word: str) -> Path:
    request = _wordy(word)
    given = InputImage(parameter="image", name=f"{word}.png", sha256="ab" * 32, width=4, height=4)
    output = Output(data=write_secret(kind, word), media_type="image/unknown")
    made = sample_result(output, cost_basis=word, engine={"log": word})
    (saved,) = save_outputs(
        made,
        sample_ticket(request, inputs=(given,), warnings=(word,)),
        sample_settings(Path("outputs")),
        asked=request,
        now=NOW,
        rescue=Path("rescued"),
    )
    return saved.path


def _frames(data: bytes) -> list[bytes]:
    image = load_bytes(data)
    frames = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        frames.append(image.convert("RGBA").tobytes())
    return frames


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_search_for_secrets_finds_a_secret(kind: str, word: str) -> None:
    assert "utf-8" in find_encodings(_saved(kind, word).read_bytes(), word)


@pytest.mark.parametrize("policy", ["no_prompt", "none"])
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("kind", KINDS)
def test_redaction_removes_the_prompt_and_changes_no_pixel(
    kind: str, word: str, policy: RedactionPolicy
) -> None:
    whole = _saved(kind, word).read_bytes()
    told = redact_file(whole, policy)
    assert find_encodings(told, word) == []
    assert _frames(told) == _frames(whole)


@pytest.mark.parametrize("policy", ["no_prompt", "none"])
def test_redaction_removes_the_prompt_of_a_mock(policy: RedactionPolicy) -> None:
    (made,) = generate(
        Request(prompt="zyxomma", width=64, height=64), load_settings(), backend="mock"
    )
    whole = made.saved[0].path.read_bytes()
    told = redact_file(whole, policy)
    assert find_encodings(whole, "zyxomma") == [
        "utf-8",
        "latin-1",
        "json",
        "json in json",
        "url",
        "xml",
    ]
    assert find_encodings(told, "zyxomma") == []
    assert pixels(told) == pixels(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_redaction_of_prompts_keeps_numbers_and_models(kind: str) -> None:
    told = redact_file(_saved(kind, "zyxomma").read_bytes(), "no_prompt")
    texts = metadata.read_texts(told, ("imagen", "parameters", "prompt", "workflow"))
    assert texts["parameters"] == _LINE
    assert set(texts) == {"imagen", "parameters"}
    entry = json.loads(texts["imagen"])
    assert entry["resolved"] == {
        "width": 48,
        "height": 32,
        "seed": 7,
        "steps": 10,
        "cfg": 1.0,
        "sampler": "euler",
        "loras": [{"name": "detail.safetensors", "strength": 0.5}],
        "controls": [
            {"kind": "canny", "strength": 1.0, "start": 0.0, "end": 1.0, "preprocess": False}
        ],
        "extra": {"deep": {"a": [{}]}, "shift": 3.0},
    }
    assert entry["models"] == ["flux1-schnell.safetensors", "ae.safetensors"]
    assert entry["receipt"]["steps"] == {"outcome": "clamped", "used": 10}
    assert entry["inputs"] == [{"parameter": "image", "width": 4, "height": 4}]


@pytest.mark.parametrize("kind", KINDS)
def test_policy_none_removes_all_texts(kind: str) -> None:
    told = redact_file(_saved(kind, "zyxomma").read_bytes(), "none")
    assert metadata.read_texts(told, ("imagen", "parameters", "prompt", "workflow")) == {}
    assert dict(load_bytes(told).getexif()) == {}
    assert {"xmp", "comment", "photoshop", "exif"} & load_bytes(told).info.keys() == set()


@pytest.mark.parametrize("policy", ["no_prompt", "none"])
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_policy_none_keeps_the_colour_profile(kind: str, policy: RedactionPolicy) -> None:
    told = redact_file(write_secret(kind, "zyxomma"), policy)
    assert load_bytes(told).info["icc_profile"] == b"p" * 200


def _ycck() -> bytes:
    """A JPEG with four channels in YCCK, as Photoshop writes it."""
    data = encode_sample("JPEG", mode="CMYK")
    return data[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\x02a thumbnail") + data[2:]


@pytest.mark.parametrize("policy", ["no_prompt", "none"])
@pytest.mark.parametrize(
    "data", [_ycck(), encode_sample("JPEG", mode="CMYK")], ids=["YCCK", "CMYK"]
)
def test_policy_none_keeps_the_colours_of_a_cmyk_jpeg(data: bytes, policy: RedactionPolicy) -> None:
    told = redact_file(data, policy)
    assert load_bytes(told).info.get("adobe_transform") == load_bytes(data).info.get(
        "adobe_transform"
    )
    assert pixels(told) == pixels(data)
    assert b"a thumbnail" not in told


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_policy_full_keeps_exif_without_gps_unchanged(format: str) -> None:
    data = encode_sample(format, exif=exif("zyxomma", orientation=6))
    assert redact_file(data, "full") == data


@pytest.mark.parametrize("policy", ["no_prompt", "none"])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_policy_none_keeps_the_orientation(format: str, policy: RedactionPolicy) -> None:
    told = redact_file(encode_sample(format, exif=exif("zyxomma", orientation=6)), policy)
    assert dict(load_bytes(told).getexif()) == {0x0112: 6}
    assert find_encodings(told, "zyxomma") == []


def test_policy_none_keeps_transparency_and_gamma() -> None:
    whole = encode_sample("PNG", mode="P", transparency=3)
    told = redact_file(whole, "none")
    assert told == whole
    assert load_bytes(told).info["transparency"] == 3


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_policy_none_keeps_a_bare_image_unchanged(format: str) -> None:
    assert redact_file(encode_sample(format), "none") == encode_sample(format)
    assert redact_file(encode_sample(format), "no_prompt") == encode_sample(format)


@pytest.mark.parametrize("kind", KINDS)
def test_policy_no_prompt_removes_texts_of_other_programs(kind: str) -> None:
    told = redact_file(write_secret(kind, "zyxomma"), "no_prompt")
    assert metadata.read_texts(told, ("imagen", "parameters", "prompt")) == {}
    assert find_encodings(told, "zyxomma") == []


@pytest.mark.parametrize("policy", ["no_prompt", "none"])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GIF89a" + bytes(20), id="of another kind"),
        pytest.param(b"", id="empty"),
        pytest.param(encode_sample("PNG")[:-20], id="a PNG cut short"),
        pytest.param(encode_sample("JPEG")[:-20], id="a JPEG cut short"),
        pytest.param(encode_sample("JPEG")[:2] + b"\xff\xd9", id="a JPEG of nothing"),
        pytest.param(encode_sample("WEBP")[:-20], id="a WebP cut short"),
        pytest.param(b"RIFF\x04\0\0\0WEBP", id="a WebP of nothing"),
    ],
)
def test_a_file_that_cannot_be_redacted_is_refused(data: bytes, policy: RedactionPolicy) -> None:
    with pytest.raises(OutputError, match="cannot be removed"):
        redact_file(data, policy)


@pytest.mark.parametrize("data", [b"GIF89a", encode_sample("PNG")[:-20], encode_sample("PNG")])
def test_policy_full_accepts_files_of_any_kind(data: bytes) -> None:
    assert redact_file(data, "full") == data


@pytest.mark.parametrize("kind", KINDS)
def test_policy_full_keeps_the_whole_record(kind: str) -> None:
    path = _saved(kind, "zyxomma")
    Path("told").write_bytes(redact_file(path.read_bytes(), "full"))
    told, kept = read_record(Path("told")), read_record(path)
    assert (told.request, told.resolved, told.graph) == (kept.request, kept.resolved, kept.graph)
    assert told.request["prompt"] == "zyxomma, asleep\nSteps: 4, Sampler: zyxomma, Seed: 9"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", ["full", "no_prompt", "none"])
def test_policy_full_removes_paths(kind: str, policy: RedactionPolicy) -> None:
    path = _saved(kind, "zyxomma")
    sidecar = json.loads(Path(f"{path}.json").read_bytes())
    told = redact_file(path.read_bytes(), policy)
    assert find_encodings(told, "/home/ann") == []
    assert "/home/ann" not in json.dumps(redact_record(sidecar, policy))


@pytest.mark.parametrize("policy", ["full", "none"])
def test_policy_full_removes_a_damaged_exif_block(policy: RedactionPolicy) -> None:
    whole = encode_sample("JPEG")
    told = redact_file(whole[:2] + segment(0xE1, b"Exif\0\0zyxomma") + whole[2:], policy)
    assert told == whole


@pytest.mark.parametrize("word", WORDS)
def test_redact_record_removes_the_prompt(word: str) -> None:
    sidecar = json.loads(Path(f"{_saved('png', word)}.json").read_bytes())
    told = redact_record(sidecar, "no_prompt")
    assert find_encodings(json.dumps(told, ensure_ascii=False).encode(), word) == []
    assert find_encodings(json.dumps(told).encode(), word) == []
    assert set(told) == {
        *("imagen", "sha256", "media_type", "created", "seed", "index", "backend", "ticket"),
        *("request", "resolved", "receipt", "facts", "inputs"),
    }
    assert told["facts"] == {
        "model": "flux1-schnell.safetensors",
        "models": ["flux1-schnell.safetensors", "ae.safetensors"],
        **dict.fromkeys(("seed", "steps", "cfg", "sampler", "scheduler", "width", "height")),
        **dict.fromkeys(("queued_seconds", "executing_seconds", "cost_usd", "cached")),
        "latency_seconds": 3.25,
    }


def test_redact_record_keeps_the_preprocessor() -> None:
    """The preprocessor of a control image reveals nothing about the prompt."""
    values = {"preprocess": "canny", "sampler": "euler", "style": "zyxomma"}
    told = redact_record({"request": values, "resolved": values}, "no_prompt")
    assert told["request"] == told["resolved"] == {"preprocess": "canny", "sampler": "euler"}


def test_redact_record_with_policy_none_is_empty() -> None:
    sidecar = json.loads(Path(f"{_saved('png', 'fox')}.json").read_bytes())
    assert redact_record(sidecar, "none") == {}


def test_redact_record_with_policy_full_is_complete() -> None:
    sidecar = json.loads(Path(f"{_saved('png', 'fox')}.json").read_bytes())
    assert redact_record(sidecar, "full") == sidecar


@pytest.mark.parametrize(
    "record",
    [
        {"request": "a fox", "resolved": ["a fox"], "receipt": "a fox", "facts": 1, "inputs": "x"},
        {"receipt": {"prompt": "a fox"}, "inputs": ["a fox", 3]},
    ],
)
def test_redact_record_removes_texts_from_odd_records(record: dict[str, Any]) -> None:
    assert "fox" not in json.dumps(redact_record(record, "no_prompt"))


def test_redaction_removes_the_request_of_the_samples() -> None:
    assert "fox" not in json.dumps(
        redact_record({"request": sample_request().model_dump()}, "no_prompt")
    )
