"""Webhooks get each generation, signed as their receivers expect."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from support import generation_records as records
from support.raw_server import RawServer, drip
from support.webhook_receiver import Receiver

from imagen.delivery import webhooks
from imagen.errors import BackendError, ConfigError, ImagenError, RateLimited, Rejected, Unavailable
from imagen.testing.http_server import CUT, HttpAnswer, json_answer

if TYPE_CHECKING:
    from imagen.config import Settings
    from imagen.library.records import Delivery, GenerationRecord

_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_WHEN = 1_764_000_000


def _settings(url: str, **more: Any) -> Settings:
    return records.settings(webhooks=[{"url": url, **more}])


def _delivery(entry: GenerationRecord, settings: Settings) -> Delivery:
    (made,) = webhooks.deliveries(entry, settings, {})
    return made


def _told(entry: GenerationRecord, *answers: HttpAnswer, **more: Any) -> Receiver:
    """What a receiver was sent of this generation."""
    environ = more.pop("environ", {})
    with Receiver(*answers) as there:
        settings = _settings(there.url, **more)
        delivery = _delivery(entry, settings)
        webhooks.send(delivery, settings, environ, {}, now=lambda: _WHEN)
    return there


def test_the_body_describes_the_generation(tmp_path: Path) -> None:
    kept = records.make_image(tmp_path)
    (seen,) = _told(records.make_record(kept)).requests
    assert (seen.method, seen.headers["content-type"]) == ("POST", "application/json")
    assert json.loads(seen.body) == {
        "type": "generation.finished",
        "version": 1,
        "timestamp": "2026-11-24T12:30:00+00:00",
        "data": {
            "id": records.ID,
            "backend": "studio",
            "kind": "comfyui",
            "model": "sd15.safetensors",
            "task": "text-to-image",
            "prompt": "A red fox, in snow",
            "negative": None,
            "caller": "nora",
            "created_at": "2026-11-24T12:30:00+00:00",
            "ended_at": "2026-11-24T12:30:00+00:00",
            "latency_seconds": 2.5,
            "cost_usd": None,
            "warnings": [],
            "error": None,
            "images": [
                {
                    "file": "fox.png",
                    "index": 0,
                    "media_type": "image/png",
                    "width": 8,
                    "height": 8,
                    "seed": 2**64 - 1,
                    "sha256": kept.sha256,
                    "size_bytes": kept.size_bytes,
                }
            ],
        },
    }


def test_the_body_of_a_failure_has_no_paths(tmp_path: Path) -> None:
    home = Path.home()
    entry = records.make_record(
        state="failed",
        error={"code": "output", "message": f"{home}/my images/a.png can't be written."},
        warnings=(f"The mask {tmp_path}/mask.png was enlarged; see https://example.org/a/b.",),
    )
    (seen,) = _told(entry).requests
    body = json.loads(seen.body)
    assert body["type"] == "generation.failed"
    assert body["data"]["error"]["code"] == "output"
    assert str(home) not in seen.body.decode()
    assert body["data"]["warnings"] == [
        "The mask mask.png was enlarged; see https://example.org/a/b."
    ]


def test_the_signature_follows_standard_webhooks() -> None:
    key = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = webhooks.sign_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        pytest.param(_SECRET, b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), id="base64"),
        pytest.param(" plain words ", b"plain words", id="plain"),
    ],
)
def test_the_secret_of_the_variable_signs_the_body(secret: str, key: bytes) -> None:
    there = _told(records.make_record(), secret_env="HOOK_SECRET", environ={"HOOK_SECRET": secret})
    (seen,) = there.requests
    expected = webhooks.sign_headers(seen.headers["webhook-id"], _WHEN, seen.body, key)
    assert seen.headers["webhook-signature"] == expected["webhook-signature"]
    assert seen.headers["webhook-timestamp"] == "1764000000"


def test_a_webhook_without_a_secret_is_not_signed() -> None:
    (seen,) = _told(records.make_record()).requests
    assert "webhook-signature" not in seen.headers


def test_every_attempt_has_the_same_id_and_body() -> None:
    with Receiver() as there:
        settings = _settings(there.url)
        delivery = _delivery(records.make_record(), settings)
        again = delivery.model_validate_json(delivery.model_dump_json())
        webhooks.send(delivery, settings, {}, {}, now=lambda: _WHEN)
        webhooks.send(again, settings, {}, {}, now=lambda: _WHEN + 60)
    first, second = there.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-id"].startswith("msg_")
    assert first.body == second.body


def test_a_failure_and_a_later_success_are_two_messages() -> None:
    settings = _settings("https://example.org")
    failed = _delivery(records.make_record(state="failed"), settings)
    finished = _delivery(records.make_record(), settings)
    assert (failed.part, finished.part) == (1, 0)
    assert failed.payload["id"] != finished.payload["id"]


@pytest.mark.parametrize(
    ("events", "state", "count"),
    [
        (["finished"], "done", 1),
        (["finished"], "failed", 0),
        (["failed"], "failed", 1),
        (["failed"], "done", 0),
        (["finished", "failed"], "failed", 1),
    ],
)
def test_a_webhook_gets_only_its_events(events: list[str], state: str, count: int) -> None:
    settings = _settings("https://example.org", events=events)
    assert len(webhooks.deliveries(records.make_record(state=state), settings, {})) == count


def test_each_event_of_a_url_is_signed_with_its_secret() -> None:
    with Receiver() as there:
        hooks = [
            {"url": there.url, "secret_env": "SAD", "events": ["failed"]},
            {"url": there.url, "secret_env": "GLAD", "events": ["finished"]},
        ]
        settings = records.settings(webhooks=hooks)
        delivery = _delivery(records.make_record(), settings)
        webhooks.send(delivery, settings, {"SAD": "a", "GLAD": "b"}, {}, now=lambda: _WHEN)
    (seen,) = there.requests
    expected = webhooks.sign_headers(seen.headers["webhook-id"], _WHEN, seen.body, b"b")
    assert seen.headers["webhook-signature"] == expected["webhook-signature"]


def test_a_repeated_url_gets_one_message() -> None:
    hook = {"url": "https://example.org"}
    settings = records.settings(webhooks=[hook, hook])
    assert len(webhooks.deliveries(records.make_record(), settings, {})) == 1


def test_imported_images_are_not_sent_to_webhooks() -> None:
    settings = _settings("https://example.org")
    assert webhooks.deliveries(records.make_record(source="import"), settings, {}) == []


@pytest.mark.parametrize(
    ("answer", "kind", "retryable"),
    [
        pytest.param(HttpAnswer(status=410), Rejected, False, id="gone"),
        pytest.param(HttpAnswer(status=404), Rejected, False, id="not found"),
        pytest.param(HttpAnswer(status=401), BackendError, False, id="unauthorized"),
        pytest.param(
            HttpAnswer(status=307, headers={"Location": "http://127.0.0.1:1"}),
            BackendError,
            False,
            id="elsewhere",
        ),
        pytest.param(HttpAnswer(status=500), Unavailable, True, id="in trouble"),
        pytest.param(json_answer({}, 429, Retry_After="7"), RateLimited, True, id="patience"),
        pytest.param(CUT, Unavailable, True, id="cut"),
    ],
)
def test_the_response_decides_whether_to_retry(
    answer: HttpAnswer, kind: type[ImagenError], retryable: bool
) -> None:
    with pytest.raises(kind) as caught:
        _told(records.make_record(), answer)
    assert caught.value.retryable is retryable


def test_stored_urls_differ_and_hold_no_secret() -> None:
    urls = [f"https://hooks.example/services/{word}" for word in ("s3cret", "t0ken")]
    settings = records.settings(webhooks=[{"url": url} for url in urls])
    made = webhooks.deliveries(records.make_record(), settings, {})
    assert [one.destination.partition("#")[0] for one in made] == ["https://hooks.example"] * 2
    assert made[0].destination != made[1].destination
    assert not any(word in one.model_dump_json() for one in made for word in ("s3cret", "t0ken"))


def test_the_path_of_a_url_is_redacted() -> None:
    with Receiver(HttpAnswer(status=404)) as there:
        settings = _settings(f"{there.url}/hooks/T0PSECRET")
        delivery = _delivery(records.make_record(), settings)
        with pytest.raises(Rejected) as caught:
            webhooks.send(delivery, settings, {}, {})
    assert there.requests[0].path == "/hooks/T0PSECRET"
    assert caught.value.message.startswith(f"{there.url} refused the request: 404")
    assert "T0PSECRET" not in str(caught.value)


_HOOK = "/T0PS/T0PSECRET?token=an%20other"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(
            HttpAnswer(status=308, headers={"Location": f"https://example.org{_HOOK}"}),
            "redirects to https://example.org/***/***?***=***, and redirects are not followed.",
            id="moved",
        ),
        pytest.param(
            HttpAnswer(status=404, body=b"No POST at /T0PS/T0PSECRET (an other)"),
            "refused the request: 404 No POST at /***/*** (***).",
            id="repeated",
        ),
        pytest.param(
            json_answer({"path": "T0PS/T0PSECRET"}, 500),
            'reports an error: 500 {"path": "***/***"}.',
            id="in trouble",
        ),
    ],
)
def test_a_secret_repeated_by_the_response_is_redacted(answer: HttpAnswer, said: str) -> None:
    with Receiver(answer) as there:
        settings = _settings(f"{there.url}{_HOOK}")
        delivery = _delivery(records.make_record(), settings)
        with pytest.raises(BackendError) as caught:
            webhooks.send(delivery, settings, {}, {})
    assert there.requests[0].path == _HOOK
    assert caught.value.message == f"{there.url} {said}"


def test_a_slow_response_body_is_not_waited_for() -> None:
    with RawServer(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")) as there:
        settings = _settings(there.url)
        told_of = webhooks.send(_delivery(records.make_record(), settings), settings, {}, {})
    assert told_of["status"] == 200


def test_slow_response_headers_time_out() -> None:
    with RawServer(drip(b"HTTP/1.1 200 OK\r\n")) as there:
        settings = _settings(there.url)
        delivery = _delivery(records.make_record(), settings)
        with pytest.raises(Unavailable, match=r"did not finish its answer within 0\.3 s"):
            webhooks.send(delivery, settings, {}, {}, seconds=0.3)


@pytest.mark.parametrize(
    "url", ["http://[::1/x", "http://:80/x", "http://h:99999/", "http://h/\t", "http://a..b/"]
)
def test_an_invalid_webhook_url_is_refused_before_generating(url: str) -> None:
    with pytest.raises(ValidationError, match=r"must look like https://example\.org/hook"):
        _settings(url)


def test_a_removed_webhook_gets_no_message() -> None:
    delivery = _delivery(records.make_record(), _settings("https://me:pw@example.org/T0PSECRET"))
    with pytest.raises(
        ConfigError, match=r"no longer has a webhook with the address https://example\.org"
    ):
        webhooks.send(delivery, records.settings(), {}, {})


@pytest.mark.parametrize(
    ("environ", "wrong"),
    [
        ({}, "HOOK_SECRET is not set"),
        (
            {"HOOK_SECRET": "whsec_"},
            "HOOK_SECRET is not a valid secret: expected base64 after whsec_",
        ),
        (
            {"HOOK_SECRET": "whsec_$$$"},
            "HOOK_SECRET is not a valid secret: expected base64 after whsec_",
        ),
    ],
)
def test_a_webhook_with_a_missing_secret_is_not_sent(environ: dict[str, str], wrong: str) -> None:
    with Receiver() as there:
        settings = _settings(there.url, secret_env="HOOK_SECRET")
        delivery = _delivery(records.make_record(), settings)
        with pytest.raises(ConfigError, match=wrong) as caught:
            webhooks.send(delivery, settings, environ, {})
        assert there.requests == []
    assert "$$$" not in str(caught.value)
