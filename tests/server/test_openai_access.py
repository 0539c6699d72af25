"""OpenAI's API on a server that needs a token, and at the end of a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import openai
import pytest
from support.live_server import live_server, server_settings
from support.openai_server import SIZE

from imagen.config import ServerSettings
from imagen.library import find_image_by_id
from imagen.library.tokens import add_token
from imagen.runtime.caller import scopes_up_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer

_SECRET = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    settings = server_settings(
        folder=tmp_path_factory.mktemp("public"),
        server=ServerSettings(base_path="/pics", max_body_mb=1),
    )
    with live_server(settings, is_public=True, secret=_SECRET) as server:
        yield server


def test_the_api_key_is_the_token(public: LiveServer) -> None:
    url = f"{public.url}/pics/v1"
    with openai.OpenAI(base_url=url, api_key=_SECRET, max_retries=0) as client:
        answer = client.images.generate(prompt="a", size=SIZE, response_format="url")
        assert answer.data is not None
        assert answer.data[0].url is not None
        assert answer.data[0].url.startswith(f"{url}/images/files/")
        got = httpx.get(answer.data[0].url)
        assert (got.status_code, got.content[1:4]) == (200, b"PNG")
        assert got.headers["cross-origin-resource-policy"] == "cross-origin"
        assert "mock" in {model.id for model in client.models.list()}
    with openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError, match="A token is needed") as raised:
            stranger.images.generate(prompt="a", size=SIZE)
        assert (raised.value.code, raised.value.type) == (
            "invalid_api_key",
            "invalid_request_error",
        )


def test_refusals_before_a_route_have_openais_shape(public: LiveServer) -> None:
    headers = {"Authorization": f"Bearer {_SECRET}"}
    body = {"prompt": "a" * 1_100_000}
    answer = httpx.post(f"{public.url}/pics/v1/images/generations", json=body, headers=headers)
    assert answer.status_code == 413
    assert {*answer.json()["error"]} == {"message", "type", "param", "code"}
    answer = httpx.get(f"{public.url}/pics/v1/models", headers={"Host": "evil.example.org"})
    assert answer.status_code == 421
    assert "not 'evil.example.org'" in answer.json()["error"]["message"]


def test_a_token_with_a_rate_gets_a_time_to_retry(public: LiveServer) -> None:
    library = public.runtime.library
    secret = add_token(library, "slow", scopes_up_to("generate"), rate="1/1h")
    url = f"{public.url}/pics/v1"
    with openai.OpenAI(base_url=url, api_key=secret, max_retries=0) as client:
        client.images.generate(prompt="a", size=SIZE)
        with pytest.raises(openai.RateLimitError) as raised:
            client.images.generate(prompt="a", size=SIZE)
    assert raised.value.code == "rate_limit_exceeded"
    assert 0 < int(raised.value.response.headers["retry-after"]) <= 3600


def test_a_token_that_may_only_read_lists_models(public: LiveServer) -> None:
    secret = add_token(public.runtime.library, "reader", ["read"])
    with openai.OpenAI(base_url=f"{public.url}/pics/v1", api_key=secret, max_retries=0) as client:
        assert [*client.models.list()]
        with pytest.raises(openai.PermissionDeniedError, match="needs the scope generate"):
            client.images.generate(prompt="a", size=SIZE)


def test_errors_for_other_machines_have_no_paths(public: LiveServer) -> None:
    headers = {"Authorization": f"Bearer {_SECRET}"}
    url = f"{public.url}/pics/v1/images/generations"
    made = httpx.post(url, json={"prompt": "a", "size": SIZE}, headers=headers).json()
    image = find_image_by_id(public.runtime.library, made["imagen"]["images"][0]["id"])
    image.path.unlink()
    refused = httpx.post(
        f"{public.url}/pics/v1/images/edits",
        json={"prompt": "a", "images": [{"file_id": f"image:{image.uid}"}]},
        headers=headers,
    )
    assert "no longer exists" in refused.json()["error"]["message"]
    assert str(image.path.parent) not in refused.text


def test_a_stream_says_that_the_server_ends() -> None:
    settings = server_settings({"slow": {"type": "mock", "step_seconds": 0.5}})
    lines: list[str] = []
    with live_server(settings) as server, httpx.Client(timeout=20) as client:
        body = {"prompt": "a", "size": SIZE, "steps": 100, "stream": True}
        url = f"{server.url}/v1/images/generations"
        with client.stream("POST", url, json=body) as answer:
            for line in answer.iter_lines():
                server.stop.set()
                lines.append(line)
        (job,) = server.runtime.store.list_jobs()
        assert job.state not in ("cancelled", "failed")
    assert lines[:3] == [": keep-alive", "", "event: error"]
    error = json.loads(lines[3].removeprefix("data: "))["error"]
    assert error["message"] == "The server is stopping; the job goes on."
