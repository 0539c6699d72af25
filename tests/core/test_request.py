"""A request keeps what was asked, exactly; what can't be is a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.core.request import Control, Lora, Request, Upscale, read_size
from imagen.errors import RequestError

_NASTY = "quotes \" ' \\ lines\nand\ttabs, 猫 🎨 שלום \x01 $<seed> ${seed} {prompt}"


def test_unset_fields_are_not_asked() -> None:
    assert Request(prompt="a fox").asked() == {"prompt": "a fox"}


def test_zero_empty_text_and_false_are_values() -> None:
    request = Request(prompt="", seed=0, cfg=0, negative="", strength=0, extra={"tile": False})
    assert request.asked() == {
        "prompt": "",
        "seed": 0,
        "cfg": 0,
        "negative": "",
        "strength": 0,
        "tile": False,
    }


def test_request_survives_json() -> None:
    request = Request(
        prompt=_NASTY,
        seed=2**64 - 1,
        loras=(Lora(name="ink.safetensors", strength=0.5),),
        controls=(Control(kind="depth", image="d.png"),),
        upscale=Upscale(factor=2),
        extra={"list": [1, 2.5, None], "deep": {"a": True}},
    )
    assert Request.model_validate_json(request.model_dump_json()) == request


def test_request_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Request(prompt="a").seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        pytest.param({"seed": -2}, r"^seed: .*not -2 \(-1 to 18446744073709551615\)$", id="seed"),
        pytest.param({"seed": 2**64}, r"^seed: .*\(-1 to 18446744073709551615\)$", id="too great"),
        pytest.param({"steps": -1}, r"^steps: .*not -1 \(0 to 10000\)$", id="steps"),
        pytest.param({"count": 0}, r"^count: .*not 0 \(1 to 1024\)$", id="count"),
        pytest.param({"width": 8}, r"^width: .*not 8 \(16 to 16384\)$", id="width"),
        pytest.param({"cfg": float("nan")}, "^cfg: ", id="not a number"),
        pytest.param({"promt": "x"}, "^promt: unknown key. Did you mean 'prompt'?", id="a slip"),
        pytest.param({"extra": 5}, "^extra: must be a mapping with keys and values", id="extra"),
        pytest.param({"loras": "ink"}, "^loras: must be a list, not 'ink'$", id="no list"),
        pytest.param({"loras": ["ink"]}, r"^loras\[0\]: must be a mapping", id="a bare name"),
        pytest.param({"controls": 7}, "^controls: must be a list, not 7$", id="controls"),
        pytest.param({"loras": [{"nam": "x"}]}, r"loras\[0\]\.nam: unknown key", id="a deep slip"),
        pytest.param(
            {"controls": [{"kind": "canny", "image": "a", "start": 0.5, "end": 0.5}]},
            r"^controls\[0\]: must end after it starts$",
            id="no time",
        ),
    ],
)
def test_invalid_value_is_named(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        Request.of(values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        pytest.param({"prompt": "a \udcff"}, r"^prompt: .*not 'a \\udcff'$", id="an odd byte"),
        pytest.param({"prompt": "\ud83d" * 99}, r"^prompt: .*of one\)$", id="a long one"),
        pytest.param({"negative": "\ud83d"}, "^negative: ", id="another text"),
        pytest.param({"sampler": "\ud83d"}, "^sampler: ", id="a name"),
        pytest.param({"loras": [{"name": "\ud83d"}]}, r"^loras\[0\].name: ", id="a nested name"),
        pytest.param({"extra": {"a": [{"b": "\ud83d"}]}}, "^extra: must contain whole", id="deep"),
        pytest.param({"extra": {"\ud83d": 1}}, "^extra", id="a parameter's name"),
    ],
)
def test_lone_surrogate_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        Request.of(values)


@pytest.mark.parametrize(
    "values", [{"extra": 5}, {"loras": "ink"}, {"controls": {"kind": "depth"}}]
)
def test_with_values_validates_values(values: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=f"^{next(iter(values))}: must "):
        Request(prompt="a", extra={"unet": "x"}).with_values(values)


def test_exactly_has_only_the_given_values() -> None:
    assert Request.exactly({"steps": 4, "shift": 1.5}) == Request(steps=4, extra={"shift": 1.5})


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        Request.of({"steps": -1, "count": 0})
    assert [line.split(":")[0] for line in caught.value.message.splitlines()] == ["steps", "count"]


@pytest.mark.parametrize(
    ("request_", "task"),
    [
        (Request(prompt="a"), "text-to-image"),
        (Request(prompt="a", image="i.png"), "image-to-image"),
        (Request(prompt="a", image="i.png", mask="m.png"), "inpaint"),
        (Request(prompt="a", controls=(Control(kind="canny", image="c.png"),)), "control"),
        (Request(image="i.png", upscale=Upscale()), "upscale"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_task_follows_from_the_fields_that_are_set(request_: Request, task: str) -> None:
    assert request_.task == task


def test_with_values_puts_other_parameters_into_extra() -> None:
    request = Request(prompt="a", extra={"unet": "x"}).with_values({"steps": 4, "shift": 1.5})
    assert request == Request(prompt="a", steps=4, extra={"unet": "x", "shift": 1.5})


@pytest.mark.parametrize(
    ("text", "read"),
    [("1024x768", (1024, 768)), ("64X64", (64, 64)), (" 512 × 512 ", (512, 512))],
)
def test_read_size_parses_width_and_height(text: str, read: tuple[int, int]) -> None:
    assert read_size(text) == read


@pytest.mark.parametrize("text", ["16:9", "axb", "-5x5", "10x", "10x10x10", ""])
def test_read_size_refuses_invalid_text(text: str) -> None:
    with pytest.raises(RequestError, match=r"is not a valid size. Write it as 1024x768, or as 768"):
        read_size(text)
