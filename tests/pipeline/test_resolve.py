"""From what was asked to a complete request."""

from __future__ import annotations

import pytest

from imagen.config import Limits, Settings, Style
from imagen.core.capabilities import Capabilities, Parameter
from imagen.core.request import Request, Upscale
from imagen.errors import RequestError
from imagen.pipeline.resolve import apply_style, draw_seed, resolve_request, split_runs

_CAPABILITIES = Capabilities(
    parameters={
        "prompt": Parameter(type="string", default=""),
        "width": Parameter(type="int", default=512),
        "height": Parameter(type="int", default=512),
        "steps": Parameter(type="int", default=20),
        "seed": Parameter(type="int"),
        "cfg": Parameter(type="float", default=7.0),
        "count": Parameter(type="int", default=1, max=4),
        "unet": Parameter(type="string", default="a.safetensors"),
    }
)
_NO_COUNT = Capabilities(parameters={"seed": Parameter(type="int")})
_STYLES = Settings(
    styles={
        "ink": Style(prompt="ink drawing of {prompt}, {prompt}!", negative="colour", width=768),
        "plain": Style(),
    }
)


def _resolved(request: Request, settings: Settings | None = None) -> Request:
    return resolve_request(request, settings or Settings(), _CAPABILITIES, draw=lambda: 99)


def test_resolved_request_is_complete() -> None:
    assert _resolved(Request(prompt="a fox")) == Request(
        prompt="a fox",
        width=512,
        height=512,
        steps=20,
        seed=99,
        cfg=7.0,
        count=1,
        extra={"unet": "a.safetensors"},
    )


def test_given_values_are_kept_even_zero() -> None:
    resolved = _resolved(Request(prompt="a", seed=0, cfg=0, extra={"unet": "b"}))
    assert (resolved.seed, resolved.cfg, resolved.extra) == (0, 0, {"unet": "b"})


def test_no_seed_is_drawn_without_a_seed_parameter() -> None:
    assert resolve_request(Request(prompt="a"), Settings(), Capabilities()) == Request(prompt="a")


def test_drawn_seed_fits_into_53_bits() -> None:
    assert 0 <= draw_seed() < 2**53


@pytest.mark.parametrize(
    ("greatest", "seed"),
    [(None, 2**53 - 1), (2**64 - 1, 2**53 - 1), (2**31 - 1, 2**31 - 1), (9, 1)],
)
def test_drawn_seed_is_within_the_engines_range(greatest: int | None, seed: int) -> None:
    known = Capabilities(parameters={"seed": Parameter(type="int", min=0, max=greatest)})
    resolved = resolve_request(Request(prompt="a"), Settings(), known, draw=lambda: 2**53 - 1)
    assert resolved.seed == seed


def test_style_wraps_texts_and_fills_unset_values() -> None:
    resolved = _resolved(Request(prompt="a fox", negative="blur", style="ink"), _STYLES)
    assert (
        resolved.prompt,
        resolved.negative,
        resolved.width,
        resolved.height,
        resolved.style,
    ) == (
        "ink drawing of a fox, a fox!",
        "colour, blur",
        768,
        512,
        None,
    )


def test_request_overrides_the_style() -> None:
    assert _resolved(Request(prompt="a", width=320, style="ink"), _STYLES).width == 320


def test_resolving_twice_changes_nothing() -> None:
    once = _resolved(Request(prompt="a fox", style="ink"), _STYLES)
    assert _resolved(once, _STYLES) == once


def test_style_text_is_ignored_for_upscaling() -> None:
    asked = Request(image="fox.png", upscale=Upscale(), style="ink")
    assert apply_style(asked, _STYLES).task == "upscale"


def test_style_strength_is_ignored_for_upscaling() -> None:
    known = Settings(styles={"bold": Style(strength=0.9)})
    asked = Request(image="a.png", upscale=Upscale(factor=2), style="bold")
    assert apply_style(asked, known) == Request(image="a.png", upscale=Upscale(factor=2))


@pytest.mark.parametrize(
    ("asked", "name", "default"),
    [
        (Request(image="a.png", upscale=Upscale()), "strength", 0.3),
        (Request(prompt="a fox"), "variation_strength", 0.0),
        (Request(prompt="a fox"), "image", "example.png"),
    ],
    ids=["a strength", "a share of a second noise", "an image at the engine"],
)
def test_defaults_do_not_change_the_task(asked: Request, name: str, default: object) -> None:
    known = Capabilities(parameters={name: Parameter(default=default)})
    assert resolve_request(asked, Settings(), known) == asked


def test_unknown_style_has_a_suggestion() -> None:
    with pytest.raises(RequestError) as caught:
        _resolved(Request(prompt="a", style="inkk"), _STYLES)
    assert str(caught.value) == ("Unknown style 'inkk'. Did you mean 'ink'?\nKnown: ink, plain.")


@pytest.mark.parametrize(
    ("limits", "request_", "sentence"),
    [
        (
            Limits(max_width=1024),
            Request(width=1025),
            "width 1025 exceeds limits.max_width, which is 1024",
        ),
        (Limits(max_height=64), Request(), "height 512 exceeds limits.max_height, which is 64"),
        (
            Limits(max_compute=5),
            Request(),
            "512 × 512 pixels × 20 steps need a compute of 5.24288, which exceeds",
        ),
    ],
    ids=["width", "a default counts too", "compute"],
)
def test_limits_are_enforced(limits: Limits, request_: Request, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        _resolved(request_, Settings(limits=limits))


def test_compute_at_the_limit_is_allowed() -> None:
    limits = Limits(max_compute=5.24288)
    assert _resolved(Request(), Settings(limits=limits)).steps == 20


def test_count_within_a_batch_is_one_run() -> None:
    asked = Request(count=4, seed=7, latent_batch=True)
    assert list(split_runs(asked, _CAPABILITIES)) == [asked]


def test_count_beyond_a_batch_takes_several_runs() -> None:
    asked = Request(count=9, seed=7, latent_batch=True)
    assert list(split_runs(asked, _CAPABILITIES)) == [
        Request(count=4, seed=7, latent_batch=True),
        Request(count=4, seed=11, latent_batch=True),
        Request(count=1, seed=15, latent_batch=True),
    ]


def test_backend_without_count_runs_once_per_image() -> None:
    assert list(split_runs(Request(count=2, seed=2**64 - 1), _NO_COUNT)) == [
        Request(seed=2**64 - 1),
        Request(seed=0),
    ]


def test_seeds_wrap_around_at_the_engines_maximum() -> None:
    known = Capabilities(parameters={"seed": Parameter(type="int", max=9)})
    several = split_runs(Request(prompt="a", seed=8, count=4), known)
    assert [run.seed for run in several] == [8, 9, 0, 1]


def test_seed_beyond_the_maximum_is_left_to_the_engine() -> None:
    known = Capabilities(parameters={"seed": Parameter(type="int", max=9)})
    several = split_runs(Request(prompt="a", seed=25, count=2), known)
    assert [run.seed for run in several] == [25, 6]


def test_count_of_one_is_left_out_without_a_count_parameter() -> None:
    assert list(split_runs(Request(count=1, seed=3), _NO_COUNT)) == [Request(seed=3)]


_TWO_TEXTS = Capabilities(
    parameters={
        "prompt": Parameter(type="string"),
        "negative": Parameter(type="string", default="blur"),
        "prompt_2": Parameter(type="string", default=""),
        "negative_2": Parameter(type="string"),
    }
)


def test_second_text_encoder_gets_the_first_prompt() -> None:
    complete = resolve_request(Request(prompt="a fox"), Settings(), _TWO_TEXTS)
    assert (complete.prompt_2, complete.negative_2) == ("a fox", "blur")


def test_second_prompt_is_kept_even_empty() -> None:
    asked = Request(prompt="a fox", prompt_2="", negative="noise", negative_2="rain")
    assert resolve_request(asked, Settings(), _TWO_TEXTS) == asked


def test_style_applies_to_the_second_prompt() -> None:
    complete = resolve_request(Request(prompt="a fox", style="ink"), _STYLES, _TWO_TEXTS)
    assert complete.prompt_2 == "ink drawing of a fox, a fox!"


def test_backend_without_second_prompt_gets_none() -> None:
    assert _resolved(Request(prompt="a fox")).prompt_2 is None


_VARIED = Capabilities(
    parameters={"seed": Parameter(type="int"), "variation_seed": Parameter(type="int")}
)


def test_variation_seed_is_drawn_with_a_variation_strength() -> None:
    numbers = iter((1, 2))
    asked = Request(variation_strength=0.4)
    complete = resolve_request(asked, Settings(), _VARIED, draw=lambda: next(numbers))
    assert (complete.seed, complete.variation_seed) == (1, 2)


def test_variation_seed_is_not_drawn_without_need() -> None:
    assert resolve_request(Request(), Settings(), _VARIED).variation_seed is None


def test_images_share_a_run_if_batches_use_their_seeds() -> None:
    known = _CAPABILITIES.model_copy(update={"batch_seeds": True})
    assert list(split_runs(Request(count=4, seed=7), known)) == [Request(count=4, seed=7)]


def test_seed_minus_one_overrides_the_style() -> None:
    settings = Settings(styles={"ink": Style(seed=99)})
    asked = Request(prompt="a", style="ink", seed=-1)
    assert resolve_request(asked, settings, _CAPABILITIES, draw=lambda: 5).seed == 5


def test_smaller_compute_limit_wins() -> None:
    settings = Settings(limits=Limits(max_compute=4))
    asked = Request(width=512, height=512, steps=10)
    with pytest.raises(RequestError, match=r"exceeds max_compute, 2"):
        _resolved(asked.with_values({"max_compute": 2}), settings)
    with pytest.raises(RequestError, match=r"exceeds limits\.max_compute, 2"):
        _resolved(asked.with_values({"max_compute": 3}), Settings(limits=Limits(max_compute=2)))


def test_seed_zero_is_a_seed() -> None:
    assert (
        resolve_request(Request(prompt="a", seed=0), Settings(), _CAPABILITIES, draw=lambda: 5).seed
        == 0
    )


def test_variation_seed_minus_one_is_drawn() -> None:
    asked = Request(prompt="a", seed=1, variation_seed=-1, variation_strength=0.5)
    assert resolve_request(asked, Settings(), _VARIED, draw=lambda: 5).variation_seed == 5


def test_zero_steps_override_the_style() -> None:
    settings = Settings(styles={"ink": Style(steps=99)})
    known = Capabilities(parameters={"steps": Parameter(type="int", default=20, min=1)})
    assert resolve_request(Request(prompt="a", style="ink", steps=0), settings, known).steps == 20
