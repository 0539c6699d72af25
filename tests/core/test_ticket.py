"""A ticket is JSON in and out, and has an id that every server takes."""

from __future__ import annotations

from uuid import UUID

from imagen.core.capabilities import ParameterOutcome
from imagen.core.request import Request
from imagen.core.ticket import InputImage, Ticket, new_id


def test_new_id_is_a_canonical_random_uuid() -> None:
    id = new_id()
    assert (str(UUID(id)), UUID(id).version) == (id, 4)
    assert UUID(id).variant == "specified in RFC 4122"


def test_new_ids_differ() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000


def test_ticket_survives_json() -> None:
    ticket = Ticket(
        id=new_id(),
        backend="studio",
        request=Request(prompt='a "fox"\n猫', seed=2**64 - 1, extra={"unet": "a"}),
        receipt={"cfg": ParameterOutcome(outcome="dropped", asked=3.0, why="no cfg")},
        payload={"1": {"class_type": "KSampler", "inputs": {"seed": 2**64 - 1}}},
        inputs=(InputImage(parameter="mask", name="m.png", sha256="ab" * 32, width=8, height=9),),
        warnings=("mask: m.png is all white.",),
    )
    assert Ticket.model_validate_json(ticket.model_dump_json()) == ticket


def test_sent_ticket_keeps_earlier_engine_ids() -> None:
    ticket = Ticket(id="a", backend="b", request=Request(), receipt={}, engine={"client_id": "c"})
    sent = ticket.sent(prompt_id="p")
    assert (ticket.submitted, sent.submitted) == (False, True)
    assert sent.engine == {"client_id": "c", "prompt_id": "p"}
