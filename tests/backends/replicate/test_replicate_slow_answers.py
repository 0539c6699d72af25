"""A server that answers byte by byte cannot exceed the deadline, in any phase."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from support.raw_server import RawServer, answer_or_drip
from support.replicate_backend import cancel_job, replicate_config

from imagen.backends.replicate.adapter import Replicate as Backend
from imagen.backends.replicate.client import ReplicateClient
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.errors import TimedOut

pytestmark = pytest.mark.usefixtures("replicate_token")

_SCHEMA = {"prompt": {"type": "string"}, "image": {"type": "string", "format": "uri"}}


def _timeout_of(server: RawServer, request: Request) -> TimedOut:
    """The error of a run that may take half a second."""
    Path("schema.json").write_text(json.dumps({"Input": {"properties": _SCHEMA}}))
    config = replicate_config(server.url, model="me/model", input_schema="schema.json")
    with (
        closing(Backend(config.model_copy(update={"total_seconds": 0.5}))) as backend,
        pytest.raises(TimedOut, match=r"took more than 0\.5 s in all") as caught,
    ):
        backend.collect(backend.prepare(request), no_progress)
    return caught.value


def test_a_slow_upload_is_ended_by_the_deadline() -> None:
    Image.frombytes("RGB", (400, 400), os.urandom(480_000)).save("large.png")
    with RawServer(answer_or_drip({})) as server:
        error = _timeout_of(server, Request(prompt="a fox", image="large.png"))
    assert error.is_stopped


def test_a_slow_download_is_ended_by_the_deadline_and_can_be_resumed() -> None:
    made: dict[str, object] = {"id": "abc", "status": "succeeded", "model": "me/model"}
    with RawServer(answer_or_drip({"POST": made})) as server:
        made["output"] = f"{server.url}/a.png"
        error = _timeout_of(server, Request(prompt="a fox"))
    assert not error.is_stopped


def test_a_slow_cancellation_is_ended_and_reported() -> None:
    with (
        RawServer(answer_or_drip({})) as server,
        closing(ReplicateClient(replicate_config(server.url))) as client,
    ):
        doubt = cancel_job(client, lambda: "abc", cancel_seconds=-1.5)
    assert doubt.startswith("Replicate could not be asked to cancel the job: ")
    assert "did not finish its answer within" in doubt
