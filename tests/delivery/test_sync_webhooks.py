"""Webhooks are delivered by `imagen sync`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.sync_folder import start_imagen, wait_until
from support.webhook_receiver import Received, Receiver

from imagen.cli import run
from imagen.delivery.webhooks import sign_headers
from imagen.testing.http_server import HttpAnswer

if TYPE_CHECKING:
    import pytest
    from support.sync_folder import SyncFolder

_SECRET = "a secret that is long enough"
_MAKE = ["generate", "a fox", "--size", "32x32", "--seed", "7", "--quiet", "--no-cloud"]


def _configure(lab: SyncFolder, *receivers: Receiver, **more: Any) -> None:
    hooks = [{"url": f"{one.url}/hook", "secret_env": "HOOK_SECRET"} for one in receivers]
    lab.set(HOOK_SECRET=_SECRET)
    lab.configure(webhooks=hooks, backends={"bad": {"type": "mock", "fail": "rejected"}}, **more)


def _is_signed(one: Received) -> bool:
    id, sent = one.headers["webhook-id"], int(one.headers["webhook-timestamp"])
    expected = sign_headers(id, sent, one.body, _SECRET.encode())
    return one.headers["webhook-signature"] == expected["webhook-signature"]


def test_a_finished_generation_is_sent_to_its_webhook(lab: SyncFolder) -> None:
    with Receiver() as there:
        _configure(lab, there)
        start_imagen(*_MAKE, IMAGEN_BACKGROUND_SYNC="on").communicate()
        assert wait_until(lambda: len(there.requests) == 1)
    (told,) = there.requests
    body = json.loads(told.body)
    assert (told.method, told.path, _is_signed(told)) == ("POST", "/hook", True)
    assert (body["type"], body["data"]["prompt"]) == ("generation.finished", "a fox")
    assert [image["seed"] for image in body["data"]["images"]] == [7]


def test_a_failed_generation_is_sent_to_its_webhook(lab: SyncFolder) -> None:
    with Receiver() as there:
        _configure(lab, there)
        start_imagen(*_MAKE, "-b", "bad", IMAGEN_BACKGROUND_SYNC="on").communicate()
        assert wait_until(lambda: len(there.requests) == 1)
    (told,) = there.requests
    body = json.loads(told.body)
    assert (body["type"], body["data"]["error"]["code"]) == ("generation.failed", "rejected")
    assert (body["data"]["images"], _is_signed(told)) == ([], True)


def test_a_repeated_webhook_has_the_same_id(lab: SyncFolder) -> None:
    with Receiver(HttpAnswer(status=500), HttpAnswer(is_cut=True)) as there:
        _configure(lab, there)
        assert run(_MAKE) == 0
        assert run(["sync"]) == 0
        assert run(["sync", "--retry"]) == 0
        assert run(["sync", "--retry"]) == 0
    assert len(there.requests) == 3
    assert len({one.headers["webhook-id"] for one in there.requests}) == 1
    assert [_is_signed(one) for one in there.requests] == [True, True, True]
    assert lab.left() == []


def test_an_unreachable_webhook_does_not_hold_up_another(lab: SyncFolder) -> None:
    with Receiver(HttpAnswer(status=503)) as down, Receiver() as up:
        _configure(lab, down, up)
        run(_MAKE)
        run(["sync"])
        assert (len(down.requests), len(up.requests)) == (1, 1)
        assert lab.states("webhook") == [("waiting", 1)]


def test_a_delivery_of_a_removed_webhook_waits(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with Receiver() as there:
        _configure(lab, there)
        run(_MAKE)
        lab.configure()
        assert run(["sync"]) == 4
        (left,) = lab.left()
        assert run(["sync", "--forget", str(left.id)]) == 0
    said = capsys.readouterr().out
    assert f"The configuration no longer has a webhook with the address {there.url}." in said
    assert there.requests == []


def test_a_missing_webhook_secret_is_named(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as there:
        _configure(lab, there)
        run(_MAKE)
        monkeypatch.delenv("HOOK_SECRET")
        assert run(["sync"]) == 4
        assert "The environment variable HOOK_SECRET is not set" in capsys.readouterr().out
        lab.set(HOOK_SECRET=_SECRET)
        assert run(["sync", "--retry"]) == 0
        assert _is_signed(there.requests[0])
