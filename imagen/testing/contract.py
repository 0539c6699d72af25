"""The contract of a backend, as a suite that any adapter's tests inherit.

A plug-in's whole conformance file:

    class TestAcme(BackendContract):
        @pytest.fixture
        def rig(self) -> Iterator[Rig]:
            with AcmeRig() as rig:
                yield rig
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import pytest

from imagen.backends import validate_block
from imagen.core.request import TASKS, Control, Outpaint, Request, Restore, Task, Upscale
from imagen.core.result import Progress, no_progress
from imagen.core.ticket import Ticket
from imagen.errors import (
    BackendError,
    Cancelled,
    ConfigError,
    Failed,
    Lost,
    Rejected,
    RequestError,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imagen.backends.base import Adapter, Backend
    from imagen.core.capabilities import Capabilities
    from imagen.core.result import Result

Scenario = Literal["ok", "slow", "unreachable", "unauthorized", "rejected", "failed", "lost"]

ASKED = Request(prompt="a lighthouse in fog", width=64, height=48, seed=7, steps=3)
"""What the clauses ask for."""

FAILURES: list[tuple[Scenario, type[BackendError]]] = [
    ("unreachable", Unavailable),
    ("unauthorized", Unauthorized),
    ("rejected", Rejected),
    ("failed", Failed),
    ("lost", Lost),
]


class Rig(Protocol):
    """Puts one kind of backend into a named state."""

    adapter: Adapter[Any]

    def block(self) -> Mapping[str, Any]:
        """A valid block of the configuration, with its `type` and without its `name`."""

    def open(self, scenario: Scenario) -> Backend:
        """A backend named `rigged`, whose engine behaves as the scenario says."""

    def submissions(self) -> int:
        """How many jobs the engine has taken since the rig began."""

    def at_work(self) -> bool:
        """Whether the engine still works on, or holds, a job of ours."""


def _collect(engine: Backend, request: Request) -> tuple[Ticket, Result, list[Progress]]:
    """Prepare and collect one request; everything the progress said, too."""
    told: list[Progress] = []
    ticket = engine.prepare(request)
    return ticket, engine.collect(ticket, told.append), told


class BackendContract:
    """What every backend does. A subclass gives a fixture `rig`."""

    def test_it_makes_one_picture_of_the_size_asked_for(self, rig: Rig) -> None:
        """The picture is whole and of the size that the ticket names."""
        with closing(rig.open("ok")) as engine:
            ticket, result, _ = _collect(engine, ASKED)
        (picture,) = result.images
        assert _size(picture.data) == (ticket.request.width, ticket.request.height)

    def test_the_same_request_gives_the_same_picture(self, rig: Rig) -> None:
        """Twice the same ticket's request: the same bytes, and the seed is told."""
        with closing(rig.open("ok")) as engine:
            _, first, _ = _collect(engine, ASKED)
            _, second, _ = _collect(engine, ASKED)
        assert first.images[0].data == second.images[0].data
        assert (first.facts.seed, second.facts.seed) == (7, 7)

    def test_another_seed_gives_another_picture(self, rig: Rig) -> None:
        """The seed reaches the engine."""
        with closing(rig.open("ok")) as engine:
            _, first, _ = _collect(engine, ASKED)
            _, second, _ = _collect(engine, ASKED.with_values({"seed": 8}))
        assert first.images[0].data != second.images[0].data

    def test_the_greatest_seed_is_kept_exactly_or_said_to_be_another(self, rig: Rig) -> None:
        """2^64 - 1 is no float; an engine with smaller seeds says which one it took."""
        with closing(rig.open("ok")) as engine:
            ticket, result, _ = _collect(engine, ASKED.with_values({"seed": 2**64 - 1}))
        is_kept = result.facts.seed == 18446744073709551615
        assert result.facts.seed == ticket.request.seed
        assert (ticket.receipt["seed"].outcome == "applied") is is_kept

    def test_progress_never_falls_and_ends_at_one(self, rig: Rig) -> None:
        """Fractions rise from 0 to 1."""
        with closing(rig.open("ok")) as engine:
            _, _, told = _collect(engine, ASKED)
        fractions = [progress.fraction for progress in told]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0

    def test_the_ticket_is_told_as_submitted(self, rig: Rig) -> None:
        """Whoever writes tickets down learns that the engine has this one."""
        with closing(rig.open("ok")) as engine:
            ticket, _, told = _collect(engine, ASKED)
        submitted = [progress.ticket for progress in told if progress.ticket is not None]
        assert [(t.id, t.submitted) for t in submitted[:1]] == [(ticket.id, True)]

    def test_a_ticket_survives_as_json(self, rig: Rig) -> None:
        """What was written down can be collected."""
        with closing(rig.open("ok")) as engine:
            ticket = Ticket.model_validate_json(engine.prepare(ASKED).model_dump_json())
            assert len(engine.collect(ticket, no_progress).images) == 1

    def test_a_submitted_ticket_is_not_submitted_again(self, rig: Rig) -> None:
        """Collecting it once more finds the work there is."""
        with closing(rig.open("ok")) as engine:
            ticket, first, told = _collect(engine, ASKED)
            sent = next(p.ticket for p in told if p.ticket is not None)
            before = rig.submissions()
            again = engine.collect(sent, no_progress)
        assert rig.submissions() == before
        assert again.images[0].data == first.images[0].data
        assert sent.id == ticket.id

    def test_preparing_reaches_no_engine(self, rig: Rig) -> None:
        """`prepare` and `capabilities` work without one."""
        with closing(rig.open("unreachable")) as engine:
            assert engine.prepare(ASKED).request.seed == 7
            assert "prompt" in engine.capabilities().parameters

    def test_what_it_takes_may_be_asked_for_a_model(self, rig: Rig) -> None:
        """`capabilities` takes the model that a request names; None is the backend's own."""
        with closing(rig.open("unreachable")) as engine:
            assert engine.capabilities("text-to-image", None) == engine.capabilities()

    def test_what_it_lacks_stands_in_the_receipt(self, rig: Rig) -> None:
        """A parameter nobody knows is dropped, with a reason."""
        with closing(rig.open("ok")) as engine:
            receipt = engine.prepare(ASKED.with_values({"sparkle": 11})).receipt
        assert receipt["sparkle"].outcome == "dropped"
        assert receipt["sparkle"].why
        assert receipt["seed"].outcome == "applied"

    def test_every_parameter_asked_for_stands_in_the_receipt(self, rig: Rig) -> None:
        """Nothing is left out without a word."""
        asked = {"negative": "rain", "cfg": 3.0, "guidance": 2.0, "count": 1, "sparkle": 11}
        asked |= {"prompt_2": "a lamp", "negative_2": "snow", "variation_seed": 5, "feather": 3}
        with closing(rig.open("ok")) as engine:
            ticket = engine.prepare(ASKED.with_values(asked))
        receipt = ticket.receipt
        assert receipt.keys() >= {"prompt", "width", "height", "seed", "steps", *asked}
        assert _untrue(ticket) == []
        assert [
            n for n, fate in receipt.items() if fate.outcome == "dropped" and not fate.why
        ] == []

    @pytest.mark.parametrize("task", TASKS)
    def test_it_does_the_tasks_it_says_and_refuses_the_others(
        self, rig: Rig, task: Task, tmp_path: Path
    ) -> None:
        """`prepare` takes a request of each of its tasks, and none of another; nothing is sent:
        whoever refuses what became of a parameter has paid nothing."""
        with closing(rig.open("unreachable")) as engine:
            known = engine.capabilities(task)
            said = _said_of(engine, _request_for(task, tmp_path, known))
        assert said == ("taken" if task in known.tasks else f"This backend can't do {task}.")
        assert rig.submissions() == 0

    def test_an_empty_prompt_is_a_prompt(self, rig: Rig) -> None:
        """`""` reaches the engine as it is, and the receipt says so."""
        with closing(rig.open("ok")) as engine:
            ticket, result, _ = _collect(engine, ASKED.with_values({"prompt": ""}))
        assert len(result.images) == 1
        assert (ticket.request.prompt, ticket.receipt["prompt"].asked) == ("", "")

    def test_no_prompt_is_refused_unless_there_is_a_default(self, rig: Rig) -> None:
        """Where only words make the image, and there are none, nothing is submitted."""
        request = ASKED.with_values({"prompt": None})
        with closing(rig.open("ok")) as engine:
            needs_one = engine.capabilities().parameters["prompt"].default is None
            said = _said_of(engine, request)
        sentence = "This backend needs a prompt: say what the image should show."
        assert said == (sentence if needs_one else "taken")
        assert rig.submissions() == 0

    def test_syntax_that_it_does_not_read_stands_in_the_receipt(self, rig: Rig) -> None:
        """The prompt is sent as it is; what means nothing to the engine is named."""
        examples = {"weights": "(fog:1.5)", "choices": "{red|blue}", "loras": "<lora:ink:0.8>"}
        prompt = " ".join(examples.values())
        with closing(rig.open("ok")) as engine:
            read = engine.capabilities().prompt_syntax
            ticket = engine.prepare(ASKED.with_values({"prompt": prompt}))
        unread = {k: text for k, text in examples.items() if read is not None and k not in read}
        fate = ticket.receipt["prompt"]
        assert {k: text for k, text in examples.items() if text in fate.why} == unread
        assert (fate.outcome, ticket.request.prompt) == ("applied", prompt)

    def test_its_defaults_are_within_its_own_limits(self, rig: Rig) -> None:
        """Each default fits its parameter, and each parameter says what it does."""
        with closing(rig.open("ok")) as engine:
            parameters = engine.capabilities().parameters
        defaults = {k: p.default for k, p in parameters.items() if p.default is not None}
        assert {k: parameters[k].fit(k, v) for k, v in defaults.items()} == defaults
        assert [name for name, p in parameters.items() if not p.description] == []

    def test_cancelling_stops_the_engine(self, rig: Rig) -> None:
        """Cancelled from the progress callback: it comes out, and nothing goes on behind it."""
        with closing(rig.open("slow")) as engine:
            ticket = engine.prepare(ASKED)
            with pytest.raises(Cancelled):
                engine.collect(ticket, _cancel_when_running)
            assert not rig.at_work()

    cannot: ClassVar[Mapping[Scenario, str]] = {}
    """States that this kind of engine can't be in, and why."""

    @pytest.mark.parametrize(("scenario", "error"), FAILURES, ids=[name for name, _ in FAILURES])
    def test_each_failure_has_its_error(
        self, rig: Rig, scenario: Scenario, error: type[BackendError]
    ) -> None:
        """The class says what the caller can do; the backend is named; there is a sentence."""
        if scenario in self.cannot:
            pytest.skip(self.cannot[scenario])
        with closing(rig.open(scenario)) as engine:
            ticket = engine.prepare(ASKED)
            with pytest.raises(BackendError) as caught:
                engine.collect(ticket, no_progress)
        assert type(caught.value) is error
        assert caught.value.backend == "rigged"
        assert caught.value.message

    def test_a_job_that_was_never_taken_does_not_count_as_submitted(self, rig: Rig) -> None:
        """Whoever writes tickets down must not look for it later."""
        told: list[Progress] = []
        with closing(rig.open("unreachable")) as engine:
            ticket = engine.prepare(ASKED)
            with pytest.raises(Unavailable):
                engine.collect(ticket, told.append)
        tickets = [ticket, *(p.ticket for p in told if p.ticket is not None)]
        assert not tickets[-1].submitted

    def test_an_unknown_key_is_named_with_its_path(self, rig: Rig) -> None:
        """A slip of the pen in the configuration is found before anything runs."""
        block = {**rig.block(), "colour": 1}
        with pytest.raises(ConfigError, match=r"backends\.rigged\.colour: unknown key"):
            validate_block("rigged", block, rig.adapter.config)

    def test_health_is_ok_where_it_can_work(self, rig: Rig) -> None:
        """`check` agrees with `collect`."""
        with closing(rig.open("ok")) as engine:
            assert engine.check().ok

    def test_health_says_what_to_do_where_it_cannot(self, rig: Rig) -> None:
        """`check` never raises; it names a remedy."""
        with closing(rig.open("unreachable")) as engine:
            health = engine.check()
        assert (health.ok, bool(health.summary), bool(health.remedies)) == (False, True, True)

    def test_freeing_an_engine_that_is_gone_is_harmless(self, rig: Rig) -> None:
        """`free` never raises."""
        with closing(rig.open("unreachable")) as engine:
            engine.free()

    def test_closing_twice_is_fine(self, rig: Rig) -> None:
        """`close` can stand in two finally clauses."""
        engine = rig.open("ok")
        engine.close()
        engine.close()


def _request_for(task: Task, folder: Path, known: Capabilities) -> Request:
    """The least that a request for this task says, with small pictures in `folder`."""
    image, mask = _drawn(folder / "image.png", "teal"), _drawn(folder / "mask.png", "white")
    given: dict[Task, dict[str, Any]] = {
        "text-to-image": {},
        "image-to-image": {"image": image, "strength": 0.5},
        "inpaint": {"image": image, "mask": mask},
        "outpaint": {"image": image, "outpaint": Outpaint(right=64)},
        "edit": {"references": (image,)},
        "control": {"controls": (Control(kind=next(iter(known.controls), "canny"), image=image),)},
        "variation": {"variation_seed": 1, "variation_strength": 0.5},
        "upscale": {"image": image, "upscale": Upscale(factor=2), "prompt": None},
        "restore": {"image": image, "restore": Restore()},
        "preprocess": {"image": image, "preprocess": next(iter(known.preprocessors), "canny")},
    }
    return ASKED.with_values(given[task])


def _drawn(path: Path, colour: str) -> str:
    from PIL import Image

    Image.new("RGB", (64, 64), colour).save(path)
    return str(path)


def _said_of(engine: Backend, request: Request) -> str:
    try:
        ticket = engine.prepare(request)
    except RequestError as error:
        return error.message
    missing = request.asked().keys() - ticket.receipt.keys()
    untrue = _untrue(ticket)
    return f"no word of {sorted(missing)}, untrue of {untrue}" if missing or untrue else "taken"


def _untrue(ticket: Ticket) -> list[str]:
    """Parameters of which the receipt says other than the ticket, which holds what will be used."""
    used = ticket.request.asked()
    lost = [n for n, fate in ticket.receipt.items() if fate.outcome == "dropped" and used.get(n)]
    kept = ((n, fate.asked) for n, fate in ticket.receipt.items() if fate.outcome == "applied")
    return lost + [name for name, asked in kept if used.get(name) != asked]


def _cancel_when_running(progress: Progress) -> None:
    if progress.stage == "running":
        raise Cancelled


def _size(data: bytes) -> tuple[int, int]:
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(data)) as picture:
        picture.load()
        return picture.size
