"""What a backend accepts, and what becomes of what it was asked."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.core.capabilities import (
    Capabilities,
    Parameter,
    ParameterOutcome,
    not_honoured,
    resolve_parameters,
)
from imagen.core.request import Lora, Request, Upscale
from imagen.errors import RequestError

_SIDE = Parameter(type="int", min=64, max=2048, multiple_of=16)


@pytest.mark.parametrize(
    ("parameter", "asked", "used"),
    [
        pytest.param(_SIDE, 1024, 1024, id="what fits stays"),
        pytest.param(_SIDE, 1000, 1008, id="to the nearest multiple, up"),
        pytest.param(_SIDE, 1030, 1024, id="to the nearest multiple, down"),
        pytest.param(_SIDE, 4000, 2048, id="at most"),
        pytest.param(_SIDE, 16, 64, id="at least"),
        pytest.param(Parameter(type="int", max=0), 5, 0, id="a limit of zero is one"),
        pytest.param(Parameter(type="int"), 4.0, 4, id="a whole float is an int"),
        pytest.param(Parameter(type="float"), 3, 3.0, id="an int is a float"),
        pytest.param(Parameter(type="float", max=1), 1.5, 1.0, id="a float at most"),
        pytest.param(Parameter(type="int", max=2**64 - 1), 2**64 - 1, 2**64 - 1, id="exact"),
        pytest.param(Parameter(type="bool"), False, False, id="false is a value"),
        pytest.param(Parameter(type="string", choices=("a", "b")), "b", "b", id="a choice"),
        pytest.param(Parameter(), [1, {"a": None}], [1, {"a": None}], id="json is anything"),
    ],
)
def test_fit_clamps_rounds_and_converts_values(parameter: Parameter, asked: Any, used: Any) -> None:
    fitted = parameter.fit("it", asked)
    assert (fitted, type(fitted)) == (used, type(used))


@pytest.mark.parametrize(
    ("parameter", "asked", "sentence"),
    [
        (Parameter(type="int"), "4", "^it must be a whole number, not '4'.$"),
        (Parameter(type="int"), 4.5, "^it must be a whole number, not 4.5.$"),
        (Parameter(type="int"), True, "^it must be a whole number, not True.$"),
        (Parameter(type="float"), float("inf"), "^it must be a finite number, not inf.$"),
        (Parameter(type="float"), 10**400, r"^it must be a finite number, not 1000*….$"),
        (Parameter(type="float"), float("nan"), "^it must be a finite number, not nan.$"),
        (Parameter(type="bool"), 1, "^it must be true or false, not 1.$"),
        (Parameter(type="string"), 7, "^it must be text, not 7.$"),
        (
            Parameter(type="string", choices=("euler", "heun")),
            "eulr",
            "^it cannot be 'eulr'. Did you mean 'euler'",
        ),
    ],
    ids=[
        "text",
        "a fraction",
        "a bool",
        "infinity",
        "400 digits",
        "nan",
        "a number",
        "no text",
        "no choice",
    ],
)
def test_fit_refuses_values_of_another_type(
    parameter: Parameter, asked: Any, sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        parameter.fit("it", asked)


_CAPABILITIES = Capabilities(
    parameters={"prompt": Parameter(type="string"), "steps": Parameter(type="int", max=10)},
    without={"negative": "it runs at cfg 1"},
)


def test_receipt_has_an_outcome_for_each_parameter() -> None:
    request = Request(prompt="a", steps=50, negative="blur", extra={"step": 3})
    values, receipt = resolve_parameters(request, _CAPABILITIES)
    assert values == {"prompt": "a", "steps": 10}
    assert receipt == {
        "prompt": ParameterOutcome(outcome="applied", asked="a"),
        "negative": ParameterOutcome(outcome="dropped", asked="blur", why="it runs at cfg 1"),
        "steps": ParameterOutcome(outcome="clamped", asked=50, used=10, why="at most 10"),
        "step": ParameterOutcome(
            outcome="dropped",
            asked=3,
            why="this backend has no step; did you mean steps?",
        ),
    }


def test_unsupported_task_is_refused() -> None:
    with pytest.raises(RequestError, match="This backend cannot do upscale") as caught:
        resolve_parameters(Request(image="a.png", upscale=Upscale()), _CAPABILITIES)
    assert caught.value.remedy == "It does: text-to-image."


def test_not_honoured_parameters_have_sentences() -> None:
    _, receipt = resolve_parameters(Request(prompt="a", steps=50, negative="blur"), _CAPABILITIES)
    assert not_honoured(receipt) == [
        "negative: 'blur' was dropped (it runs at cfg 1)",
        "steps: 50 became 10 (at most 10)",
    ]


def test_dropped_empty_text_is_ignored() -> None:
    _, receipt = resolve_parameters(
        Request(prompt="", negative="", extra={"sparkle": 0}), _CAPABILITIES
    )
    assert not_honoured(receipt) == ["sparkle: 0 was dropped (this backend has no sparkle)"]


def test_sentence_names_several_used_values() -> None:
    used = {"aspect_ratio": "4:3", "megapixels": "1"}
    fate = ParameterOutcome(outcome="mapped", asked=1024, used=used, why="it takes no pixels")
    assert fate.sentence("width") == (
        "width: 1024 became aspect_ratio 4:3, megapixels 1 (it takes no pixels)"
    )


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Upscale(factor=2, method="x.pth"), "factor 2.0, method x.pth"),
        (Upscale(factor=2), "factor 2.0"),
        ((Lora(name="ink"), Lora(name="snow")), "name ink, strength 1.0; name snow, strength 1.0"),
        (["a.png", "b.png"], "'a.png'; 'b.png'"),
    ],
    ids=["a value", "what is not asked", "several values", "several texts"],
)
def test_sentence_formats_the_original_value(asked: Any, told: str) -> None:
    assert (
        ParameterOutcome(outcome="dropped", asked=asked).sentence("it") == f"it: {told} was dropped"
    )


def test_sentence_shortens_a_long_value() -> None:
    sentence = ParameterOutcome(outcome="dropped", asked="x" * 1000).sentence("negative")
    assert len(sentence) < 100


@pytest.mark.parametrize(
    ("known", "used"),
    [
        (("cfg", "guidance"), {"guidance": 3.5}),
        (("cfg",), {"cfg": 3.5}),
        (("guidance_scale", "cfg"), {"guidance_scale": 3.5}),
        ((), {}),
    ],
    ids=["distilled", "classifier-free", "a parameter of its own", "none"],
)
def test_guidance_scale_is_mapped_to_guidance_or_cfg(
    known: tuple[str, ...], used: dict[str, Any]
) -> None:
    request = Request(extra={"guidance_scale": 3.5})
    capabilities = Capabilities(parameters={name: Parameter(type="float") for name in known})
    assert resolve_parameters(request, capabilities)[0] == used


def test_receipt_shows_how_guidance_scale_was_mapped() -> None:
    capabilities = Capabilities(parameters={"cfg": Parameter(type="float")})
    _, receipt = resolve_parameters(Request(extra={"guidance_scale": 3.5}), capabilities)
    assert receipt["guidance_scale"] == ParameterOutcome(
        outcome="mapped", asked=3.5, used={"cfg": 3.5}, why="this backend calls it cfg"
    )


def test_contradicting_scales_are_refused() -> None:
    capabilities = Capabilities(parameters={"cfg": Parameter(type="float")})
    request = Request(cfg=7, extra={"guidance_scale": 3.5})
    with pytest.raises(RequestError, match="guidance_scale means cfg for this backend"):
        resolve_parameters(request, capabilities)
