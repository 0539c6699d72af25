"""The client of OpenAI for Python uses a server of imagen as it does OpenAI's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from support.openai_server import BACKENDS, SIZE, decode, half_mask, openai_server, png

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with openai_server(tmp_path_factory.mktemp("openai"), BACKENDS) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_images_are_generated(client: openai.OpenAI) -> None:
    answer = client.images.generate(model="gpt-image-1", prompt="a fox", n=2, size=SIZE)
    assert answer.data is not None
    assert [decode(image.b64_json).size for image in answer.data] == [(64, 48), (64, 48)]
    assert decode(answer.data[0].b64_json).format == "PNG"
    assert (answer.size, answer.output_format, answer.background) == (SIZE, "png", "opaque")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens_details.image_tokens == 0


def test_an_asynchronous_client_gets_images(server: LiveServer) -> None:
    async def generate() -> openai.types.ImagesResponse:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
            return await client.images.generate(prompt="a fox", size=SIZE)

    answer = asyncio.run(generate())
    assert answer.data is not None
    assert decode(answer.data[0].b64_json).size == (64, 48)


def test_extra_fields_reach_the_request_and_unknown_ones_are_ignored(
    server: LiveServer, client: openai.OpenAI
) -> None:
    extra = {"seed": 41, "num_inference_steps": 3, "negative_prompt": "fog", "wobble": {"a": 1}}
    answer = client.images.generate(prompt="a fox", size=SIZE, extra_body=extra)
    facts: dict[str, Any] = answer.model_extra["imagen"] if answer.model_extra else {}
    assert facts["images"][0]["seed"] == 41
    spec = server.runtime.store.read(facts["job"]).spec
    assert spec is not None
    assert (spec.request.steps, spec.request.negative) == (3, "fog")
    assert spec.request.extra == {}


@pytest.mark.parametrize(("compression", "format"), [(None, "webp"), (20, "jpeg")])
def test_images_have_the_format_that_was_asked_for(
    client: openai.OpenAI, compression: int | None, format: Any
) -> None:
    more: dict[str, Any] = {} if compression is None else {"output_compression": compression}
    answer = client.images.generate(prompt="a", size=SIZE, output_format=format, **more)
    assert answer.data is not None
    assert decode(answer.data[0].b64_json).format == format.upper()
    assert answer.output_format == format


def test_a_url_works_without_a_token_until_it_is_changed(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        prompt="a fox", size=SIZE, response_format="url", output_format="webp"
    )
    assert answer.data is not None
    url = answer.data[0].url
    assert url is not None
    got = httpx.get(url)
    assert (got.status_code, got.headers["content-type"]) == (200, "image/webp")
    for changed in (url[:-1] + "x", url.replace("expires=1", "expires=2"), url + "é"):
        refused = httpx.get(changed)
        assert refused.status_code == 404
        assert "not valid" in refused.json()["error"]["message"]


def test_a_mask_is_repainted_where_it_is_transparent(client: openai.OpenAI) -> None:
    answer = client.images.edit(image=png(), mask=half_mask(), prompt="sea", size=SIZE)
    assert answer.data is not None
    image = decode(answer.data[0].b64_json).convert("RGB")
    assert image.getpixel((10, 24)) != (255, 0, 0)
    assert image.getpixel((50, 24)) == (255, 0, 0)


def test_several_images_are_references(server: LiveServer, client: openai.OpenAI) -> None:
    images = [png("red"), png("blue")]
    answer = client.images.edit(
        image=images, prompt="mix", size=SIZE, input_fidelity="high", extra_body={"seed": 4}
    )
    facts: dict[str, Any] = answer.model_extra["imagen"] if answer.model_extra else {}
    spec = server.runtime.store.read(facts["job"]).spec
    assert spec is not None
    assert (spec.request.task, len(spec.request.references)) == ("edit", 2)
    assert spec.request.seed == 4


def test_a_stream_ends_with_one_completed_event_for_each_image(client: openai.OpenAI) -> None:
    events = [*client.images.generate(prompt="a", size=SIZE, n=2, stream=True, partial_images=2)]
    assert [event.type for event in events] == ["image_generation.completed"] * 2
    assert [decode(event.b64_json).size for event in events] == [(64, 48)] * 2
    assert [event.size for event in events] == [SIZE] * 2


def test_an_edit_is_streamed(client: openai.OpenAI) -> None:
    events = [*client.images.edit(image=png(), prompt="a", size=SIZE, stream=True)]
    assert [event.type for event in events] == ["image_edit.completed"]


def test_a_failure_is_an_error_in_the_stream(client: openai.OpenAI) -> None:
    stream = client.images.generate(model="broken", prompt="a", size=SIZE, stream=True)
    with pytest.raises(openai.APIError, match="The mock fails as configured") as raised:
        list(stream)
    assert (raised.value.code, raised.value.type) == ("failed", "server_error")


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    ids = {model.id for model in client.models.list()}
    assert ids >= {"mock", "mock-dusk", "other", "both", "house-model", "gpt-image-1", "dall-e-3"}
    assert "team-*" not in ids
    assert client.models.retrieve("other/mock-dusk").owned_by == "other"
    assert client.models.retrieve("team-red").owned_by == "other"


@pytest.mark.parametrize(
    ("model", "backend", "checkpoint"),
    [
        ("gpt-image-1.5", "mock", None),
        ("dall-e-3", "mock", None),
        ("mock-dusk", "mock", "mock-dusk"),
        ("other", "other", None),
        ("both", "both", None),
        ("house-model", "other", None),
        ("team-red", "other", "mock-dusk"),
        ("other/mock-dusk", "other", "mock-dusk"),
    ],
)
def test_a_model_is_a_backend_a_pool_a_checkpoint_or_an_alias(
    server: LiveServer, client: openai.OpenAI, model: str, backend: str, checkpoint: str | None
) -> None:
    answer = client.images.generate(model=model, prompt="a", size=SIZE, extra_body={"steps": 1})
    facts: dict[str, Any] = answer.model_extra["imagen"] if answer.model_extra else {}
    spec = server.runtime.store.read(facts["job"]).spec
    assert spec is not None
    assert (spec.backend, spec.request.model) == (backend, checkpoint)


@pytest.mark.parametrize(
    ("values", "kind", "code", "parameter", "sentence"),
    [
        ({"model": "moc"}, openai.NotFoundError, "model_not_found", "model", "no model 'moc'"),
        ({"size": "big"}, openai.BadRequestError, "invalid_value", "size", "not a valid size"),
        ({"size": "9x9"}, openai.BadRequestError, "invalid_value", "width", "at least 16"),
        ({"n": 11}, openai.BadRequestError, "invalid_value", "n", "must be at most 10"),
        ({"prompt": ""}, openai.BadRequestError, "invalid_value", "prompt", "at least 1"),
        ({"prompt": "x" * 32001}, openai.BadRequestError, "invalid_value", "prompt", "at most"),
        ({"output_format": "gif"}, openai.BadRequestError, "invalid_value", "output_format", "png"),
        (
            {"partial_images": 4},
            openai.BadRequestError,
            "invalid_value",
            "partial_images",
            "must be at most 3",
        ),
        ({"extra_body": {"seed": "x"}}, openai.BadRequestError, "invalid_value", "seed", "whole"),
        (
            {"extra_body": {"imagen": {"wobble": 1}}},
            *(openai.BadRequestError, "invalid_value", "wobble", "unknown key"),
        ),
        (
            {"extra_body": {"imagen": {"count": 11}}},
            *(openai.BadRequestError, "invalid_value", "n", "at most 10 images"),
        ),
        ({"model": "broken"}, openai.APIStatusError, "failed", None, "fails as configured"),
        ({"model": "picky"}, openai.BadRequestError, "rejected", None, "fails as configured"),
    ],
)
def test_errors_are_those_of_the_client(
    client: openai.OpenAI,
    values: dict[str, Any],
    kind: type[openai.APIStatusError],
    code: str,
    parameter: str | None,
    sentence: str,
) -> None:
    with pytest.raises(kind, match=sentence) as raised:
        client.images.generate(**{"prompt": "a", "size": SIZE, **values})
    assert raised.value.code == code
    assert parameter is None or raised.value.param == parameter
