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


def test_nothing_is_left_to_default() -> None:
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


def test_what_is_asked_for_stays_even_zero() -> None:
    resolved = _resolved(Request(prompt="a", seed=0, cfg=0, extra={"unet": "b"}))
    assert (resolved.seed, resolved.cfg, resolved.extra) == (0, 0, {"unet": "b"})


def test_no_seed_is_drawn_for_a_backend_without_one() -> None:
    assert resolve_request(Request(prompt="a"), Settings(), Capabilities()) == Request(prompt="a")


def test_a_drawn_seed_is_one_that_every_page_can_show() -> None:
    assert 0 <= draw_seed() < 2**53


@pytest.mark.parametrize(
    ("greatest", "seed"),
    [(None, 2**53 - 1), (2**64 - 1, 2**53 - 1), (2**31 - 1, 2**31 - 1), (9, 1)],
)
def test_a_drawn_seed_is_one_that_the_engine_takes(greatest: int | None, seed: int) -> None:
    known = Capabilities(parameters={"seed": Parameter(type="int", min=0, max=greatest)})
    resolved = resolve_request(Request(prompt="a"), Settings(), known, draw=lambda: 2**53 - 1)
    assert resolved.seed == seed


def test_a_style_wraps_the_texts_and_gives_what_was_not_asked() -> None:
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


def test_what_is_asked_goes_before_the_style() -> None:
    assert _resolved(Request(prompt="a", width=320, style="ink"), _STYLES).width == 320


def test_resolving_twice_changes_nothing() -> None:
    once = _resolved(Request(prompt="a fox", style="ink"), _STYLES)
    assert _resolved(once, _STYLES) == once


def test_a_style_has_no_say_in_what_is_only_enlarged() -> None:
    asked = Request(image="fox.png", upscale=Upscale(), style="ink")
    assert apply_style(asked, _STYLES).task == "upscale"


def test_a_styles_strength_makes_no_drawing_of_an_enlargement() -> None:
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
def test_a_default_makes_no_other_task_of_what_was_asked(
    asked: Request, name: str, default: object
) -> None:
    known = Capabilities(parameters={name: Parameter(default=default)})
    assert resolve_request(asked, Settings(), known) == asked


def test_an_unknown_style_is_named_with_the_nearest() -> None:
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
def test_limits_hold(limits: Limits, request_: Request, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        _resolved(request_, Settings(limits=limits))


def test_a_compute_at_the_limit_is_allowed() -> None:
    limits = Limits(max_compute=5.24288)
    assert _resolved(Request(), Settings(limits=limits)).steps == 20


def test_a_count_within_reach_is_one_run() -> None:
    asked = Request(count=4, seed=7, latent_batch=True)
    assert list(split_runs(asked, _CAPABILITIES)) == [asked]


def test_more_than_a_batch_takes_several_runs() -> None:
    asked = Request(count=9, seed=7, latent_batch=True)
    assert list(split_runs(asked, _CAPABILITIES)) == [
        Request(count=4, seed=7, latent_batch=True),
        Request(count=4, seed=11, latent_batch=True),
        Request(count=1, seed=15, latent_batch=True),
    ]


def test_a_backend_without_count_runs_once_a_picture() -> None:
    assert list(split_runs(Request(count=2, seed=2**64 - 1), _NO_COUNT)) == [
        Request(seed=2**64 - 1),
        Request(seed=0),
    ]


def test_the_seeds_of_several_runs_begin_again_beyond_the_last_that_an_engine_takes() -> None:
    known = Capabilities(parameters={"seed": Parameter(type="int", max=9)})
    several = split_runs(Request(prompt="a", seed=8, count=4), known)
    assert [run.seed for run in several] == [8, 9, 0, 1]


def test_a_seed_beyond_the_last_is_left_for_the_engine_to_tell_of() -> None:
    known = Capabilities(parameters={"seed": Parameter(type="int", max=9)})
    several = split_runs(Request(prompt="a", seed=25, count=2), known)
    assert [run.seed for run in several] == [25, 6]


def test_a_count_of_one_is_no_parameter_of_a_backend_without_count() -> None:
    assert list(split_runs(Request(count=1, seed=3), _NO_COUNT)) == [Request(seed=3)]


_TWO_TEXTS = Capabilities(
    parameters={
        "prompt": Parameter(type="string"),
        "negative": Parameter(type="string", default="blur"),
        "prompt_2": Parameter(type="string", default=""),
        "negative_2": Parameter(type="string"),
    }
)


def test_a_second_text_encoder_is_given_the_same_as_the_first() -> None:
    complete = resolve_request(Request(prompt="a fox"), Settings(), _TWO_TEXTS)
    assert (complete.prompt_2, complete.negative_2) == ("a fox", "blur")


def test_a_second_text_that_was_asked_for_stays_even_empty() -> None:
    asked = Request(prompt="a fox", prompt_2="", negative="noise", negative_2="rain")
    assert resolve_request(asked, Settings(), _TWO_TEXTS) == asked


def test_a_style_goes_into_the_second_text_too() -> None:
    complete = resolve_request(Request(prompt="a fox", style="ink"), _STYLES, _TWO_TEXTS)
    assert complete.prompt_2 == "ink drawing of a fox, a fox!"


def test_a_backend_without_second_texts_is_given_none() -> None:
    assert _resolved(Request(prompt="a fox")).prompt_2 is None


_VARIED = Capabilities(
    parameters={"seed": Parameter(type="int"), "variation_seed": Parameter(type="int")}
)


def test_a_second_seed_is_drawn_where_a_share_of_it_is_asked() -> None:
    numbers = iter((1, 2))
    asked = Request(variation_strength=0.4)
    complete = resolve_request(asked, Settings(), _VARIED, draw=lambda: next(numbers))
    assert (complete.seed, complete.variation_seed) == (1, 2)


def test_no_second_seed_is_drawn_without_need() -> None:
    assert resolve_request(Request(), Settings(), _VARIED).variation_seed is None


def test_images_share_a_run_where_a_batch_gives_what_their_seeds_give_alone() -> None:
    known = _CAPABILITIES.model_copy(update={"batch_seeds": True})
    assert list(split_runs(Request(count=4, seed=7), known)) == [Request(count=4, seed=7)]


def test_a_seed_of_minus_one_is_drawn_also_where_a_style_has_one() -> None:
    settings = Settings(styles={"ink": Style(seed=99)})
    asked = Request(prompt="a", style="ink", seed=-1)
    assert resolve_request(asked, settings, _CAPABILITIES, draw=lambda: 5).seed == 5


def test_the_smaller_of_two_limits_of_compute_holds() -> None:
    settings = Settings(limits=Limits(max_compute=4))
    asked = Request(width=512, height=512, steps=10)
    with pytest.raises(RequestError, match=r"exceeds max_compute, 2"):
        _resolved(asked.with_values({"max_compute": 2}), settings)
    with pytest.raises(RequestError, match=r"exceeds limits\.max_compute, 2"):
        _resolved(asked.with_values({"max_compute": 3}), Settings(limits=Limits(max_compute=2)))


def test_a_seed_of_nought_is_a_seed() -> None:
    assert (
        resolve_request(Request(prompt="a", seed=0), Settings(), _CAPABILITIES, draw=lambda: 5).seed
        == 0
    )


def test_a_second_seed_of_minus_one_is_drawn() -> None:
    asked = Request(prompt="a", seed=1, variation_seed=-1, variation_strength=0.5)
    assert resolve_request(asked, Settings(), _VARIED, draw=lambda: 5).variation_seed == 5


def test_no_steps_are_the_backends_default_also_where_a_style_has_some() -> None:
    settings = Settings(styles={"ink": Style(steps=99)})
    known = Capabilities(parameters={"steps": Parameter(type="int", default=20, min=1)})
    assert resolve_request(Request(prompt="a", style="ink", steps=0), settings, known).steps == 20
