"""Answers of the Images API: images, streams, costs, and what each failure means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simulators.openai import KEY, ImagesServer
from support.images_api import generate, open_images_api, prepare

from imagen.backends.openai.models import TokenUsage, calculate_cost, find_prices
from imagen.errors import (
    BackendError,
    Failed,
    Lost,
    RateLimited,
    Rejected,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from imagen.core.result import Progress


def test_several_images_come_in_one_request_with_their_seeds() -> None:
    with ImagesServer() as server:
        result = generate(server, {"count": 3, "seed": 5}, server="imagen")
        assert server.submissions == 1
    assert [(one.seed, one.index) for one in result.outputs] == [(5, 0), (6, 1), (7, 2)]
    assert len({one.data for one in result.outputs}) == 3


def test_unfinished_images_of_a_stream_are_previews() -> None:
    reports: list[Progress] = []
    with ImagesServer(seconds=0.7) as server:
        result = generate(server, {}, reports.append, server="imagen")
        assert server.bodies[0]["partial_images"] == 2
    assert len(result.images) == 1
    previews = [one.preview for one in reports if one.preview]
    assert previews
    assert all(preview.startswith(b"\xff\xd8") for preview in previews)
    fractions = [one.fraction for one in reports]
    assert fractions == sorted(fractions)


@pytest.mark.parametrize("way", ["ok", "no_stream"])
def test_an_image_is_read_from_a_stream_or_from_a_plain_answer(way: Any) -> None:
    with ImagesServer(way) as server:
        assert len(generate(server, {}, stream="on").images) == 1


def test_an_image_by_url_is_fetched_from_the_server_itself() -> None:
    with ImagesServer("own_url", token=KEY) as server, pytest.MonkeyPatch.context() as env:
        env.setenv("A_KEY", KEY)
        assert len(generate(server, api_key_env="A_KEY").images) == 1


def test_an_image_by_url_of_a_private_host_is_not_fetched() -> None:
    with (
        ImagesServer("private_url") as server,
        pytest.raises(Failed, match="not an address of the public internet"),
    ):
        generate(server)


@pytest.mark.parametrize(
    ("way", "error", "sentence"),
    [
        ("moderated", Rejected, "refused the prompt or an image: Rejected by the safety system"),
        ("odd_size", Rejected, "refused the request: size: Invalid size"),
        ("no_credit", Rejected, "requires payment"),
        ("failed", Failed, "could not make the image: The server had an error"),
        ("unavailable", Unavailable, "is unavailable: Overloaded"),
        ("empty", Failed, "without an image"),
        ("cut_image", Failed, "damaged: its end is missing"),
        ("gateway", Lost, "502 Bad Gateway"),
        ("page", Lost, "does not answer like the Images API"),
        ("garbled", Lost, "does not answer like the Images API"),
        ("no_data", Lost, "has no `data`"),
    ],
)
def test_each_failure_has_its_error(way: Any, error: type[BackendError], sentence: str) -> None:
    with ImagesServer(way) as server, pytest.raises(BackendError, match=sentence) as caught:
        generate(server)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("way", "error", "sentence"),
    [
        ("stream_error", Rejected, "The image was blocked"),
        ("stream_ends", Lost, "ended without an image"),
    ],
)
def test_a_stream_that_fails_has_its_error(
    way: Any, error: type[BackendError], sentence: str
) -> None:
    with ImagesServer(way) as server, pytest.raises(BackendError, match=sentence) as caught:
        generate(server, stream="on")
    assert type(caught.value) is error


def test_a_limited_rate_is_waited_for() -> None:
    with ImagesServer("throttled_once") as server:
        assert len(generate(server).images) == 1
        assert server.keys[0] == server.keys[1]


def test_a_limited_rate_says_how_long_to_wait() -> None:
    from imagen.backends.openai.client import ImagesClient
    from imagen.backends.openai.config import OpenAIConfig

    with ImagesServer("throttled_once") as server:
        client = ImagesClient(OpenAIConfig(name="images", url=server.url))
        with pytest.raises(RateLimited) as caught:
            client.generate({}, [], key="1", on_preview=lambda _: None)
        client.close()
    assert caught.value.retry_after_seconds == 0


def test_a_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    from imagen.backends import open_backend
    from imagen.core.request import Request
    from imagen.core.result import no_progress

    with ImagesServer("echo") as server:
        block = {"type": "openai", "url": server.url, "api_key_env": "A_KEY"}
        backend = open_backend("images", {"images": block})
        with pytest.raises(Rejected, match="bad header") as caught:
            backend.collect(backend.prepare(Request(prompt="a fox")), no_progress)
        backend.close()
        assert server.authorizations == [f"Bearer {KEY}"]
    assert KEY not in str(caught.value)


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    backend = open_images_api("https://api.openai.com/v1")
    with pytest.raises(Unauthorized, match="OPENAI_API_KEY is not set"):
        backend.models()


@pytest.mark.parametrize(
    ("url", "model", "quality", "usd", "basis"),
    [
        ("https://api.openai.com/v1", "gpt-image-1.5", "high", 0.133, "1 × $0.133 per image"),
        ("https://api.openai.com/v1", "gpt-image-1.5", "auto", None, "Depends on the tokens"),
        ("https://api.openai.com/v1", "gpt-image-2.6-flare", "low", None, "$30 per million"),
        ("https://api.openai.com/v1", "gpt-image-9", "low", None, "not in imagen's table"),
        ("https://api.example.com/v1", "gpt-image-1.5", "low", None, "does not know the prices"),
    ],
)
def test_an_estimate_is_known_where_openai_publishes_it(
    url: str, model: str, quality: str, usd: float | None, basis: str
) -> None:
    estimate = prepare({"quality": quality}, url, model=model).estimate
    assert estimate is not None
    assert estimate.usd == usd
    assert basis in estimate.basis


def test_a_server_of_ones_own_costs_nothing() -> None:
    assert prepare({}).estimate is None


def test_the_cost_follows_from_the_tokens() -> None:
    usage = TokenUsage(text_in=10, image_in=50, image_out=1000)
    cost = calculate_cost("gpt-image-2.6-sunburst", usage)
    assert cost is not None
    assert cost.usd == pytest.approx((10 * 5 + 50 * 8 + 1000 * 30) / 1e6)
    assert calculate_cost("gpt-image-9", usage) is None
    assert calculate_cost("gpt-image-2", TokenUsage()) is None


def test_every_price_has_its_date() -> None:
    for model in ("gpt-image-1.5", "gpt-image-1-mini", "gpt-image-2", "gpt-image-2.6-flare"):
        prices = find_prices(model)
        assert prices is not None
        assert prices.as_of >= "2026-11-05"
