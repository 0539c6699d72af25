"""The options of a request."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from imagen.cli.options import ALL_REQUEST_OPTIONS, build_request, request_options
from imagen.core.request import Control, Lora, Request
from imagen.errors import RequestError


def asked(*flags: str) -> dict[str, Any]:
    """The values that a command with all options gets."""
    got: list[dict[str, Any]] = []

    @click.command()
    @request_options(*ALL_REQUEST_OPTIONS)
    def command(values: dict[str, Any]) -> None:
        got.append(values)

    CliRunner().invoke(command, flags, catch_exceptions=False, standalone_mode=False)
    return got[0]


def test_options_that_are_not_given_set_no_values() -> None:
    assert asked() == {}


def test_zero_is_a_value() -> None:
    assert asked("--seed", "0", "--strength", "0") == {"seed": 0, "strength": 0.0}


def test_size_sets_width_and_height() -> None:
    assert asked("--size", "64x48") == {"width": 64, "height": 48}


def test_every_option_sets_a_field_of_the_request() -> None:
    flags = (
        "--size 64x48 --seed 1 --steps 2 --cfg 3 --guidance 4 --sampler euler --scheduler karras "
        "--negative rain --prompt-2 b --negative-2 c --style ink --count 5 --lora ink:0.5 "
        "--lora snow --image a.png --strength 0.6 --mask m.png --feather 7 --reference r.png "
        "--reference s.png --control canny:e.png:0.5:0.1-0.9 --control pose:p.png "
        "--variation-seed 8 --variation-strength 0.9 --set sparkle=2"
    )
    assert build_request(asked(*flags.split())) == Request(
        width=64,
        height=48,
        seed=1,
        steps=2,
        cfg=3,
        guidance=4,
        sampler="euler",
        scheduler="karras",
        negative="rain",
        prompt_2="b",
        negative_2="c",
        style="ink",
        count=5,
        loras=(Lora(name="ink", strength=0.5), Lora(name="snow")),
        image="a.png",
        strength=0.6,
        mask="m.png",
        feather=7,
        references=("r.png", "s.png"),
        controls=(
            Control(kind="canny", image="e.png", strength=0.5, start=0.1, end=0.9),
            Control(kind="pose", image="p.png"),
        ),
        variation_seed=8,
        variation_strength=0.9,
        extra={"sparkle": 2},
    )


def test_preprocess_applies_to_each_control_image() -> None:
    given = asked("--control", "canny:a.png", "--control", "pose:b.png", "--preprocess")
    assert [one["preprocess"] for one in given["controls"]] == [True, True]


def test_preprocess_needs_a_control_image() -> None:
    with pytest.raises(click.UsageError, match="--preprocess needs --control"):
        asked("--preprocess")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--steps 4 --set steps=8", "--steps and --set steps are both given. Use one of them."),
        ("--size 64x48 --set width=8", "--width and --set width are both given. Use one of them."),
        ("--set shift=1 --set shift=2", "--set shift is given more than once. Use one of them."),
    ],
)
def test_a_value_set_twice_is_refused(flags: str, sentence: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        asked(*flags.split())
    assert caught.value.message == sentence


@pytest.mark.parametrize(
    "flags",
    [
        ["--strength", "2"],
        ["--feather", "-1"],
        ["--lora", "ink:99"],
        ["--control", "canny:x.png:0.5:0.2-3"],
        ["--variation-strength", "1.5"],
    ],
    ids=lambda flags: flags[0],
)
def test_a_value_out_of_range_is_refused_by_name(flags: list[str]) -> None:
    name = flags[0].strip("-").replace("-", "_")
    with pytest.raises(RequestError, match=rf"^{name}.*must be"):
        build_request(asked(*flags))
