"""A1111's `parameters` text."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.outputs.metadata.a1111 import format_parameters, parse_parameters

VALUES = {"steps": 20, "sampler": "euler", "cfg": 7.0, "seed": 2**64 - 1, "size": "512x768"}


def test_format_parameters_writes_prompt_negative_and_pairs() -> None:
    more = {"scheduler": "karras", "guidance": 3.5, "model": "sd15", "strength": 0.6}
    assert format_parameters(
        "a cat, (fat:1.2)", "blurry", VALUES | more | {"version": "imagen"}
    ) == (
        "a cat, (fat:1.2)\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: euler, Schedule type: karras, CFG scale: 7, "
        "Distilled CFG Scale: 3.5, Seed: 18446744073709551615, Size: 512x768, Model: sd15, "
        "Denoising strength: 0.6, Version: imagen"
    )


def test_format_parameters_omits_missing_values() -> None:
    assert format_parameters("a cat", "", {"steps": None, "seed": 0}) == "a cat\nSeed: 0"


def test_format_parameters_quotes_a_value_with_a_comma() -> None:
    assert format_parameters("", "", {"model": 'a, "b"'}) == 'Model: "a, \\"b\\""'


def test_format_parameters_omits_null_characters() -> None:
    assert format_parameters("a\0b", "", {}) == "ab"


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("a cat", id="a line"),
        pytest.param("a cat\nSeed: not a number\n\nin the snow", id="lines that look like pairs"),
        pytest.param("", id="nothing"),
        pytest.param("🦊 雪 \u202e", id="any script"),
    ],
)
def test_parse_parameters_reads_what_format_parameters_writes(prompt: str) -> None:
    values, others = parse_parameters(
        format_parameters(prompt, "blurry\nlowres", VALUES | {"model": "a: b, c"})
    )
    assert values == {
        "prompt": prompt,
        "negative": "blurry\nlowres",
        "steps": 20,
        "sampler": "euler",
        "cfg": 7.0,
        "seed": 18446744073709551615,
        "width": 512,
        "height": 768,
    }
    assert others == {"Model": "a: b, c"}


def test_parse_parameters_reads_stable_diffusion_cpp() -> None:
    values, others = parse_parameters(
        "A sunflower field\nNegative prompt: Blue sky\n"
        "Steps: 30, CFG scale: 5.000000, Guidance: 3.500000, Eta: 0.000000, Seed: 1375127038, "
        "Size: 512x512, Model: v1-5.safetensors, RNG: cuda, Sampler: dpm++2mv2 karras, "
        "Version: stable-diffusion.cpp"
    )
    assert values == {
        "prompt": "A sunflower field",
        "negative": "Blue sky",
        "steps": 30,
        "cfg": 5.0,
        "guidance": 3.5,
        "seed": 1375127038,
        "width": 512,
        "height": 512,
        "sampler": "dpm++2mv2 karras",
    }
    assert others == {
        "Eta": "0.000000",
        "Model": "v1-5.safetensors",
        "RNG": "cuda",
        "Version": "stable-diffusion.cpp",
    }


def test_parse_parameters_reads_a1111() -> None:
    values, others = parse_parameters(
        'a cat\nSteps: 20, Seed: 1, Lora hashes: "foo: abc, bar: def", Clip skip: 2'
    )
    assert values["clip_skip"] == 2
    assert others == {"Lora hashes": "foo: abc, bar: def"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", {"prompt": ""}, id="nothing"),
        pytest.param("a cat", {"prompt": "a cat"}, id="a prompt alone"),
        pytest.param("a cat\nSeed: 1, ok", {"prompt": "a cat\nSeed: 1, ok"}, id="too few pairs"),
        pytest.param(
            "x\nSteps: many, CFG scale: nan, Size: big, Seed: 1",
            {"prompt": "x", "seed": 1},
            id="values of other types",
        ),
        pytest.param(
            f"x\nSeed: {'9' * 5000}, Steps: 2, a1: b", {"prompt": "x", "steps": 2}, id="a huge one"
        ),
        pytest.param(
            'x\nSteps: 2, Model: "open, Seed: 1, aa: b',
            {"prompt": "x", "steps": 2, "seed": 1},
            id="a quote that stays open",
        ),
    ],
)
def test_parse_parameters_reads_what_it_can_of_odd_texts(
    text: str, expected: dict[str, Any]
) -> None:
    assert parse_parameters(text)[0] == expected


def test_parse_parameters_is_fast_for_a_million_words() -> None:
    line = "word " * 200_000
    assert parse_parameters(f"x\n{line}")[0] == {"prompt": f"x\n{line.strip()}"}


def test_parse_parameters_reads_image_and_variation_settings() -> None:
    values = {"steps": 4, "strength": 0.5, "feather": 8, "variation_seed": 3}
    text = format_parameters("a cat", "", values | {"variation_strength": 0.25})
    assert text == (
        "a cat\nSteps: 4, Denoising strength: 0.5, Mask blur: 8, Variation seed: 3, "
        "Variation seed strength: 0.25"
    )
    found, others = parse_parameters(text)
    assert found == {"prompt": "a cat", **values, "variation_strength": 0.25}
    assert others == {}
