"""A server that drips its answers holds nothing up beyond the deadline, in any phase."""

from __future__ import annotations

import json
import os
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from raw_server import OK, RawServer, answer, drip
from replicate_lab import configured

from imagen.backends.replicate.backend import Replicate as Backend
from imagen.backends.replicate.client import Client
from imagen.backends.replicate.stop import stop
from imagen.errors import TimedOut
from imagen.request import Request
from imagen.result import ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.usefixtures("replicate_token")

_SCHEMA = {"prompt": {"type": "string"}, "image": {"type": "string", "format": "uri"}}


def _behave(answers: Mapping[str, object]) -> Callable[[socket.socket], None]:
    """By the beginning of a request: an answer in JSON, or else drops."""

    def behave(connection: socket.socket) -> None:
        head = connection.recv(65536, socket.MSG_PEEK).decode("latin-1")
        known = [said for begin, said in answers.items() if head.startswith(begin)]
        body = json.dumps(known[0]).encode() if known else b""
        then = answer(body, "Connection: close") if known else drip(OK + b"X-Drop: ")
        then(connection)

    return behave


def _collected(server: RawServer, request: Request) -> TimedOut:
    """The error of a run that may take half a second."""
    Path("schema.json").write_text(json.dumps({"Input": {"properties": _SCHEMA}}))
    config = configured(server.url, model="me/model", input_schema="schema.json")
    with (
        closing(Backend(config.model_copy(update={"total_seconds": 0.5}))) as backend,
        pytest.raises(TimedOut, match=r"took more than 0\.5 s in all") as caught,
    ):
        backend.collect(backend.prepare(request), ignore)
    return caught.value


def test_an_upload() -> None:
    Image.frombytes("RGB", (400, 400), os.urandom(480_000)).save("large.png")
    with RawServer(_behave({})) as server:
        error = _collected(server, Request(prompt="a fox", image="large.png"))
    assert error.is_stopped


def test_the_fetching_of_a_finished_image() -> None:
    """Which stays where it is, for `imagen resume`."""
    made: dict[str, object] = {"id": "abc", "status": "succeeded", "model": "me/model"}
    with RawServer(_behave({"POST": made})) as server:
        made["output"] = f"{server.url}/a.png"
        error = _collected(server, Request(prompt="a fox"))
    assert not error.is_stopped


def test_the_cancelling() -> None:
    with RawServer(_behave({})) as server, closing(Client(configured(server.url))) as client:
        doubt = stop(client, lambda: "abc", deadline_seconds=60, patience_seconds=-1.5)
    assert doubt.startswith("Replicate could not be told to cancel the prediction: ")
    assert "did not finish its answer within" in doubt
