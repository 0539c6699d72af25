"""Axes as they are written on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagen.cli.axes import parse_axis
from imagen.errors import RequestError


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("steps=4..12/4", "steps", (4, 8, 12)),
        ("steps=4..13/4", "steps", (4, 8, 12)),
        ("steps=4..6", "steps", (4, 5, 6)),
        ("steps=12..4/4", "steps", (12, 8, 4)),
        ("steps=12..4/-4", "steps", (12, 8, 4)),
        ("cfg=0.1..0.5/0.1", "cfg", (0.1, 0.2, 0.3, 0.4, 0.5)),
        ("cfg=1..2/0.5", "cfg", (1, 1.5, 2)),
        ("cfg=-1..1", "cfg", (-1, 0, 1)),
        ("cfg=.5..1/.25", "cfg", (0.5, 0.75, 1)),
        ("steps=1,4..12/4,20", "steps", (1, 4, 8, 12, 20)),
        ("steps=4,4..8/4", "steps", (4, 8)),
        ("size=512..1024/256", "size", ("512", "768", "1024")),
        ("prompt=4..12/4", "prompt", ("4..12/4",)),
        ("image=../a.png,../b.png", "image", ("../a.png", "../b.png")),
        ("lora=ink:0.4,ink:0.8,none", "lora", ("ink:0.4", "ink:0.8", "none")),
        ("prompt=@@home", "prompt", ("@home",)),
        ("prompt={a|b} fox,a dog", "prompt", ("{a|b} fox", "a dog")),
        (
            "{size=512x512,steps=4},{size=1024x1024,steps=8}",
            "size+steps",
            ({"size": "512x512", "steps": 4}, {"size": "1024x1024", "steps": 8}),
        ),
        (
            ' { prompt="a cat, {big|small}", cfg=1.5 } , {cfg=2,prompt="say ""hi"""}',
            "prompt+cfg",
            ({"prompt": "a cat, {big|small}", "cfg": 1.5}, {"prompt": 'say "hi"', "cfg": 2}),
        ),
    ],
)
def test_an_axis_is_a_name_and_values(text: str, name: str, values: tuple[Any, ...]) -> None:
    axis = parse_axis(text)
    assert (axis.name, axis.values) == (name, values)
    assert [*map(type, axis.values)] == [*map(type, values)]


def test_an_axis_reads_a_line_for_each_value() -> None:
    Path("prompts.txt").write_text(
        "a fox, asleep\n\n  a dog  \r\na fox, asleep\n", encoding="utf-8"
    )
    assert parse_axis("prompt=@prompts.txt").values == ("a fox, asleep", "a dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps=4..", "--vary steps: '4..' is not a range. Write it as first..last"),
        ("steps=4..12/0", "--vary steps: '4..12/0' is not a range"),
        ("steps=4..12/", "--vary steps: '4..12/' is not a range"),
        ("steps=4..b/2", "--vary steps: '4..b/2' is not a range"),
        ("steps=4..nan", "--vary steps: '4..nan' is not a range"),
        ("steps=4..1e999999", "is not a range"),
        ("steps=1..100000", "--vary steps: '1..100000' has 100,000 values; at most 1,000 are"),
        ("prompt=@gone.txt", "Cannot read the prompt file gone.txt: No such file"),
        ("prompt=@empty.txt", "empty.txt holds no prompt."),
        ("{size=512x512,steps=4", "Write it in quotes, as '{size="),
        ("{size=512x512,steps=4},", "Write it in quotes, as '{size="),
        ("{size=512x512,4}", "Write it in quotes, as '{size="),
        ("{steps=4,steps=5}", "Write it in quotes, as '{size="),
        ("{steps=4}", "--vary: group 1 sets steps, and each group must set the same"),
        (
            "{size=64,steps=4},{size=32,cfg=1}",
            "--vary: group 2 sets size and cfg, and each group must set the same parameters, at "
            "least two: size and steps.",
        ),
    ],
)
def test_a_wrong_axis_is_refused_with_a_sentence(text: str, message: str) -> None:
    Path("empty.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(RequestError) as caught:
        parse_axis(text)
    assert message in caught.value.message
