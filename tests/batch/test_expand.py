"""Which requests a request with wildcards stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagen.batch.expand import combine_request, count_combinations, expand_request
from imagen.batch.wildcards import Wildcards
from imagen.config import Settings
from imagen.core.request import LARGEST_SEED, Request
from imagen.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

_SETTINGS = Settings()


def _draw() -> int:
    return 5


def _expand(request: Request, *, finished: tuple[str, ...] = ()) -> list[Request]:
    return expand_request(request, Wildcards(), _SETTINGS, finished=finished, draw=_draw)


def test_a_request_without_wildcards_is_the_same() -> None:
    request = Request(prompt="a {fox}", negative="", count=4)
    assert _expand(request) == [request]


def test_the_template_is_kept_beside_the_prompt() -> None:
    (request,) = _expand(Request(prompt="a {red|red} fox", seed=7))
    assert request == Request(prompt="a red fox", template="a {red|red} fox", seed=7)
    assert _expand(request) == [request]


def test_a_seed_is_drawn_if_there_is_none() -> None:
    for seed in (None, -1):
        (request,) = _expand(Request(prompt="{a|b|c|d}", seed=seed))
        assert request.seed == 5
        assert request.prompt == Wildcards().expand("{a|b|c|d}", 5, "prompt")


def test_the_seed_of_a_style_decides() -> None:
    settings = Settings.model_validate({"styles": {"ink": {"seed": 9}}})
    request = Request(prompt="{a|b|c|d}", style="ink")
    (expanded,) = expand_request(request, Wildcards(), settings, draw=_draw)
    assert expanded.seed == 9


def test_each_image_has_its_own_seed_and_prompt() -> None:
    requests = _expand(Request(prompt="{a|b|c|d|e|f}", seed=LARGEST_SEED, count=12))
    assert [request.seed for request in requests] == [LARGEST_SEED, *range(11)]
    assert len({request.prompt for request in requests}) > 2
    assert {request.count for request in requests} == {None}


def test_images_of_a_latent_batch_share_the_prompt() -> None:
    (request,) = _expand(Request(prompt="{a|b}", seed=1, count=4, latent_batch=True))
    assert (request.count, request.seed) == (4, 1)
    assert request.prompt in ("a", "b")


def test_all_texts_may_have_wildcards() -> None:
    texts = dict.fromkeys(("prompt", "negative", "prompt_2", "negative_2"), "{a|a}")
    (request,) = _expand(Request.of(texts))
    assert [getattr(request, name) for name in texts] == ["a"] * 4
    (request,) = _expand(Request(prompt="a fox", negative="{b|b}"))
    assert (request.negative, request.template) == ("b", None)


def test_finished_texts_are_left_as_they_are() -> None:
    (request,) = _expand(Request(prompt="{a|a}", negative="{b|b}"), finished=("negative",))
    assert (request.prompt, request.negative) == ("a", "{b|b}")


def test_escapes_need_no_seed() -> None:
    (request,) = _expand(Request(prompt=r"\{a|b\}", count=2))
    assert request == Request(prompt="{a|b}", template=r"\{a|b\}", count=2)


def test_combinations_share_a_seed() -> None:
    request = Request(prompt="{a|b}", negative="{c|d}", count=2)
    wildcards = Wildcards()
    combined = list(combine_request(request, wildcards, _SETTINGS, draw=_draw))
    assert count_combinations(request, wildcards) == 4
    assert [(one.prompt, one.negative) for one in combined] == [
        *(("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"))
    ]
    assert {(one.seed, one.count, one.template) for one in combined} == {(5, 2, "{a|b}")}


def test_too_many_combinations_of_two_texts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("\n".join(map(str, range(1000))))
    request = Request(prompt="__many__", negative="__many__")
    with pytest.raises(RequestError, match="more than 100,000 combinations"):
        list(combine_request(request, Wildcards([tmp_path]), _SETTINGS))


def test_a_new_prompt_has_no_template() -> None:
    request = Request(prompt="a fox", template="a {fox|bear}")
    assert request.with_values({"seed": 7}).template == "a {fox|bear}"
    assert request.with_values({"prompt": "a bear"}).template is None
    assert "template" not in request.asked()
    assert "template" in Request().unset_additions
