"""A request may name another model on Replicate."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from simulators.replicate import MODELS, Replicate
from support.replicate_backend import (
    REQUEST,
    generate,
    open_replicate,
    prepare_ticket,
    submitted_bodies,
)

from imagen.backends.replicate.capabilities import build_capabilities
from imagen.backends.replicate.input_names import map_inputs
from imagen.backends.replicate.input_schema import parse_inputs
from imagen.errors import RequestError

pytestmark = pytest.mark.usefixtures("replicate_token")
OWN, OTHER = "black-forest-labs/flux-schnell", "black-forest-labs/flux-dev"
FOR_OTHER = REQUEST.with_values({"model": OTHER})


def test_the_requested_model_generates_the_image() -> None:
    with Replicate() as cloud:
        result = generate(cloud, FOR_OTHER, model=OWN)
        paths = [seen.path for seen in cloud.requests if seen.method == "POST"]
    assert result.facts.model == OTHER
    assert [path for path in paths if OTHER in path]


def test_the_ticket_has_inputs_and_price_of_the_requested_model() -> None:
    with Replicate() as cloud:
        own, other = prepare_ticket(cloud, model=OWN), prepare_ticket(cloud, FOR_OTHER, model=OWN)
    assert other.payload["model"] == OTHER
    assert other.receipt["model"].outcome == "applied"
    assert own.estimate is not None
    assert other.estimate is not None
    assert (own.estimate.usd, other.estimate.usd) == (0.003, 0.025)


def test_the_schema_of_a_requested_model_is_read_once() -> None:
    with Replicate() as cloud:
        prepare_ticket(cloud, FOR_OTHER, model=OWN)
        before = len(cloud.requests)
        prepare_ticket(cloud, FOR_OTHER, model=OWN)
        assert len(cloud.requests) == before
    (kept,) = Path("cache", "replicate").iterdir()
    assert kept.name.startswith("black-forest-labs-flux-dev")


def test_defaults_of_the_backends_own_model_are_left_out() -> None:
    with Replicate() as cloud:
        ticket = prepare_ticket(cloud, FOR_OTHER, model=OWN, parameters={"go_fast": True})
    assert ticket.warnings == (
        "Ignored for this model: parameters in backends.cloud, set for its own model.",
    )


def test_a_name_that_is_not_a_reference_is_refused() -> None:
    with Replicate() as cloud, pytest.raises(RequestError) as caught:
        prepare_ticket(cloud, REQUEST.with_values({"model": "flux.safetensors"}), model=OWN)
    assert caught.value.message == (
        "model must look like owner/name, owner/name:version (64 hexadecimal digits) or "
        "deployments/owner/name, not 'flux.safetensors'."
    )


def test_capabilities_follow_from_the_requested_model() -> None:
    with Replicate() as cloud, closing(open_replicate(cloud.url, model=OWN)) as engine:
        own = engine.capabilities("text-to-image").parameters
        other = engine.capabilities("text-to-image", OTHER).parameters
    assert "guidance" in other
    assert "guidance" not in own


def test_an_input_called_model_can_be_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = {"prompt": {"type": "string"}, "model": {"type": "string", "default": "dev"}}
    schema = {"Input": {"properties": said}}
    monkeypatch.setitem(MODELS, "acme/tuned", schema)
    with Replicate() as cloud:
        ticket = prepare_ticket(
            cloud, REQUEST.with_values({"model": "schnell"}), model="acme/tuned"
        )
    assert ticket.payload["input"]["model"] == "schnell"
    fate = ticket.receipt["model"]
    assert (fate.outcome, fate.used) == ("mapped", {"input_model": "schnell"})


def test_a_block_can_set_a_default_for_an_input_called_model() -> None:
    said = {"prompt": {"type": "string"}, "model": {"type": "string", "default": "dev"}}
    known = map_inputs("acme/tuned", parse_inputs({"Input": {"properties": said}}))
    found = build_capabilities(known, "text-to-image", {"model": "schnell"})
    assert found.parameters["input_model"].default == "schnell"
    assert found.parameters["model"].default is None


def test_a_schema_file_of_the_block_is_not_used_for_another_model() -> None:
    with Replicate() as cloud:
        generate(cloud, FOR_OTHER, model=OWN)
        assert len(submitted_bodies(cloud)) == 1
