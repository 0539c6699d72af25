"""The contract of a backend, as a test suite that the tests of any adapter inherit.

The complete conformance test of a plug-in:

    class TestAcme(BackendContract):
        @pytest.fixture
        def rig(self) -> Iterator[Rig]:
            with AcmeRig() as rig:
                yield rig

Read the test names as the specification: each says one thing that every backend does.
"""

from __future__ import annotations

from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

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
    LetGo,
    Lost,
    MissingPrompt,
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

REQUEST = Request(prompt="a lighthouse in fog", width=64, height=48, seed=7, steps=3)
"""The request of most tests."""
FAILURES: list[tuple[Scenario, type[BackendError]]] = [
    ("unreachable", Unavailable),
    ("unauthorized", Unauthorized),
    ("rejected", Rejected),
    ("failed", Failed),
    ("lost", Lost),
]
_SYNTAX_EXAMPLES = {"weights": "(fog:1.5)", "choices": "{red|blue}", "loras": "<lora:ink:0.8>"}


class Rig(Protocol):
    """Puts one kind of backend into a named state."""

    adapter: Adapter[Any]

    def block(self) -> Mapping[str, Any]:
        """A valid configuration block, with its `type` and without its `name`."""

    def open(self, scenario: Scenario) -> Backend:
        """A backend named `rigged`, whose engine behaves as the scenario says."""

    def submissions(self) -> int:
        """How many jobs the engine has accepted since the rig was created."""

    def at_work(self) -> bool:
        """Whether the engine still runs, or holds, a job of the backend."""


class _Collected(NamedTuple):
    ticket: Ticket
    result: Result
    progress: list[Progress]


def _run(backend: Backend, request: Request) -> _Collected:
    """Prepare and collect one request."""
    progress: list[Progress] = []
    ticket = backend.prepare(request)
    return _Collected(ticket, backend.collect(ticket, progress.append), progress)


class BackendContract:
    """What every backend does. A subclass provides the fixture `rig`."""

    cannot: ClassVar[Mapping[Scenario, str]] = {}
    """Scenarios that this kind of engine cannot be in, and why."""
    goes_on_alone: ClassVar[bool] = True
    """Whether the engine goes on with a job whose process is gone, unlike one in this process."""
    keeps_results: ClassVar[bool] = True
    """Whether the images of a job can be fetched again, or by another process."""

    # Images

    def test_one_request_gives_one_image_of_the_prepared_size(self, rig: Rig) -> None:
        with closing(rig.open("ok")) as backend:
            run = _run(backend, REQUEST)
        (image,) = run.result.images
        assert _image_size(image.data) == (run.ticket.request.width, run.ticket.request.height)

    def test_same_request_gives_the_same_image_and_reports_its_seed(self, rig: Rig) -> None:
        with closing(rig.open("ok")) as backend:
            first, second = _run(backend, REQUEST).result, _run(backend, REQUEST).result
        assert first.images[0].data == second.images[0].data
        assert (first.facts.seed, second.facts.seed) == (7, 7)

    def test_another_seed_gives_another_image(self, rig: Rig) -> None:
        with closing(rig.open("ok")) as backend:
            first = _run(backend, REQUEST).result
            second = _run(backend, REQUEST.with_values({"seed": 8})).result
        assert first.images[0].data != second.images[0].data

    def test_greatest_seed_is_used_exactly_or_reported_as_changed(self, rig: Rig) -> None:
        """2^64 - 1 does not fit a float; an engine with smaller seeds reports the one it used."""
        with closing(rig.open("ok")) as backend:
            run = _run(backend, REQUEST.with_values({"seed": 2**64 - 1}))
        is_exact = run.result.facts.seed == 18446744073709551615
        assert run.result.facts.seed == run.ticket.request.seed
        assert (run.ticket.receipt["seed"].outcome == "applied") is is_exact

    # Progress

    def test_progress_never_falls_and_ends_at_one(self, rig: Rig) -> None:
        with closing(rig.open("ok")) as backend:
            run = _run(backend, REQUEST)
        fractions = [progress.fraction for progress in run.progress]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0

    def test_progress_reports_the_submitted_ticket(self, rig: Rig) -> None:
        """So that job files can record that the engine has it."""
        with closing(rig.open("ok")) as backend:
            run = _run(backend, REQUEST)
        submitted = [progress.ticket for progress in run.progress if progress.ticket is not None]
        assert [(t.id, t.submitted) for t in submitted[:1]] == [(run.ticket.id, True)]

    # Tickets

    def test_ticket_survives_json(self, rig: Rig) -> None:
        with closing(rig.open("ok")) as backend:
            ticket = Ticket.model_validate_json(backend.prepare(REQUEST).model_dump_json())
            assert len(backend.collect(ticket, no_progress).images) == 1

    def test_submitted_ticket_is_not_submitted_again(self, rig: Rig) -> None:
        """Collecting it again finds the existing job, or says that its images are gone."""
        with closing(rig.open("ok")) as backend:
            first = _run(backend, REQUEST)
            sent = next(p.ticket for p in first.progress if p.ticket is not None)
            submissions = rig.submissions()
            if not self.keeps_results:
                with pytest.raises(Lost):
                    backend.collect(sent, no_progress)
                assert rig.submissions() == submissions
                return
            again = backend.collect(sent, no_progress)
        assert rig.submissions() == submissions
        assert again.images[0].data == first.result.images[0].data
        assert sent.id == first.ticket.id

    def test_job_that_was_never_accepted_does_not_count_as_submitted(self, rig: Rig) -> None:
        """So that `resume` does not look for it."""
        progress: list[Progress] = []
        with closing(rig.open("unreachable")) as backend:
            ticket = backend.prepare(REQUEST)
            with pytest.raises(Unavailable):
                backend.collect(ticket, progress.append)
        tickets = [ticket, *(p.ticket for p in progress if p.ticket is not None)]
        assert not tickets[-1].submitted

    # Capabilities and receipts

    def test_prepare_and_capabilities_need_no_engine(self, rig: Rig) -> None:
        with closing(rig.open("unreachable")) as backend:
            assert backend.prepare(REQUEST).request.seed == 7
            assert "prompt" in backend.capabilities().parameters

    def test_capabilities_accept_a_model(self, rig: Rig) -> None:
        """None is the backend's own model."""
        with closing(rig.open("unreachable")) as backend:
            assert backend.capabilities("text-to-image", None) == backend.capabilities()

    def test_defaults_fit_their_parameters_and_every_parameter_is_described(self, rig: Rig) -> None:
        with closing(rig.open("ok")) as backend:
            parameters = backend.capabilities().parameters
        defaults = {k: p.default for k, p in parameters.items() if p.default is not None}
        assert {k: parameters[k].fit(k, v) for k, v in defaults.items()} == defaults
        assert [name for name, p in parameters.items() if not p.description] == []

    def test_unknown_parameter_is_dropped_with_a_reason(self, rig: Rig) -> None:
        with closing(rig.open("ok")) as backend:
            receipt = backend.prepare(REQUEST.with_values({"sparkle": 11})).receipt
        assert receipt["sparkle"].outcome == "dropped"
        assert receipt["sparkle"].why
        assert receipt["seed"].outcome == "applied"

    def test_receipt_covers_every_parameter_truthfully(self, rig: Rig) -> None:
        values = {"negative": "rain", "cfg": 3.0, "guidance": 2.0, "count": 1, "sparkle": 11}
        values |= {"prompt_2": "a lamp", "negative_2": "snow", "variation_seed": 5, "feather": 3}
        with closing(rig.open("ok")) as backend:
            ticket = backend.prepare(REQUEST.with_values(values))
        dropped = [o for o in ticket.receipt.values() if o.outcome == "dropped"]
        assert ticket.receipt.keys() >= {"prompt", "width", "height", "seed", "steps", *values}
        assert _untrue_outcomes(ticket) == []
        assert [outcome for outcome in dropped if not outcome.why] == []

    @pytest.mark.parametrize("task", TASKS)
    def test_supported_tasks_are_prepared_and_others_refused_without_a_submission(
        self, rig: Rig, task: Task, tmp_path: Path
    ) -> None:
        """A user who refuses what became of a parameter has paid nothing."""
        with closing(rig.open("unreachable")) as backend:
            known = backend.capabilities(task)
            request = _request_for(task, tmp_path, known)
            if task in known.tasks:
                ticket = backend.prepare(request)
                assert request.asked().keys() <= ticket.receipt.keys()
                assert _untrue_outcomes(ticket) == []
            else:
                with pytest.raises(RequestError, match=task):
                    backend.prepare(request)
        assert rig.submissions() == 0

    # Prompts

    def test_empty_prompt_reaches_the_engine(self, rig: Rig) -> None:
        with closing(rig.open("ok")) as backend:
            run = _run(backend, REQUEST.with_values({"prompt": ""}))
        assert len(run.result.images) == 1
        assert (run.ticket.request.prompt, run.ticket.receipt["prompt"].asked) == ("", "")

    def test_missing_prompt_is_refused_unless_there_is_a_default(self, rig: Rig) -> None:
        request = REQUEST.with_values({"prompt": None})
        with closing(rig.open("ok")) as backend:
            if backend.capabilities().parameters["prompt"].default is None:
                with pytest.raises(MissingPrompt):
                    backend.prepare(request)
            else:
                assert backend.prepare(request).request.prompt is not None
        assert rig.submissions() == 0

    def test_unread_prompt_syntax_is_named_in_the_receipt(self, rig: Rig) -> None:
        """The prompt is sent as it is; what the engine does not understand is named."""
        prompt = " ".join(_SYNTAX_EXAMPLES.values())
        with closing(rig.open("ok")) as backend:
            read = backend.capabilities().prompt_syntax
            ticket = backend.prepare(REQUEST.with_values({"prompt": prompt}))
        outcome = ticket.receipt["prompt"]
        unread = {k for k in _SYNTAX_EXAMPLES if read is not None and k not in read}
        assert {k for k, text in _SYNTAX_EXAMPLES.items() if text in outcome.why} == unread
        assert (outcome.outcome, ticket.request.prompt) == ("applied", prompt)

    # Cancelling and failures

    def test_cancelling_stops_the_engine(self, rig: Rig) -> None:
        """Cancelled is raised by the progress callback, passes through, and nothing runs on."""

        def cancel_when_running(progress: Progress) -> None:
            if progress.stage == "running":
                raise Cancelled

        with closing(rig.open("slow")) as backend:
            ticket = backend.prepare(REQUEST)
            with pytest.raises(Cancelled):
                backend.collect(ticket, cancel_when_running)
            assert not rig.at_work()

    def test_letting_go_leaves_the_job_to_an_engine_that_goes_on_alone(self, rig: Rig) -> None:
        """Another process will collect it. An engine in this process stops, and is free again."""

        def let_go_when_running(progress: Progress) -> None:
            if progress.stage == "running":
                raise LetGo("Another worker has the job.")

        with closing(rig.open("slow")) as backend:
            ticket = backend.prepare(REQUEST)
            with pytest.raises(LetGo):
                backend.collect(ticket, let_go_when_running)
            assert rig.at_work() is self.goes_on_alone

    def test_letting_go_before_the_submission_prevents_it(self, rig: Rig) -> None:
        """The ticket is reported as submitted first: that fails where the job is another's now."""

        def let_go_of_ticket(progress: Progress) -> None:
            if progress.ticket is not None:
                raise LetGo("Another worker has the job.")

        with closing(rig.open("slow")) as backend:
            ticket = backend.prepare(REQUEST)
            with pytest.raises(LetGo):
                backend.collect(ticket, let_go_of_ticket)
            assert (rig.submissions(), rig.at_work()) == (0, False)

    @pytest.mark.parametrize(("scenario", "error"), FAILURES, ids=[name for name, _ in FAILURES])
    def test_each_failure_raises_its_error_with_a_message_and_the_backend(
        self, rig: Rig, scenario: Scenario, error: type[BackendError]
    ) -> None:
        """The class says what the caller can do."""
        if scenario in self.cannot:
            pytest.skip(self.cannot[scenario])
        with closing(rig.open(scenario)) as backend:
            ticket = backend.prepare(REQUEST)
            with pytest.raises(BackendError) as caught:
                backend.collect(ticket, no_progress)
        assert type(caught.value) is error
        assert caught.value.backend == "rigged"
        assert caught.value.message

    # Configuration, health and end

    def test_unknown_configuration_key_is_named_with_its_path(self, rig: Rig) -> None:
        block = {**rig.block(), "colour": 1}
        with pytest.raises(ConfigError, match=r"backends\.rigged\.colour"):
            validate_block("rigged", block, rig.adapter.config)

    def test_check_is_ok_where_collect_works(self, rig: Rig) -> None:
        with closing(rig.open("ok")) as backend:
            assert backend.check().ok

    def test_check_reports_a_problem_with_a_remedy_and_does_not_raise(self, rig: Rig) -> None:
        with closing(rig.open("unreachable")) as backend:
            health = backend.check()
        assert (health.ok, bool(health.summary), bool(health.remedies)) == (False, True, True)

    def test_free_does_not_raise_without_an_engine(self, rig: Rig) -> None:
        with closing(rig.open("unreachable")) as backend:
            backend.free()

    def test_close_can_be_called_twice(self, rig: Rig) -> None:
        backend = rig.open("ok")
        backend.close()
        backend.close()


def _request_for(task: Task, folder: Path, known: Capabilities) -> Request:
    """The smallest request for this task, with small images in `folder`."""
    image, mask = (
        _write_image(folder / "image.png", "teal"),
        _write_image(folder / "m.png", "white"),
    )
    values: dict[Task, dict[str, Any]] = {
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
    return REQUEST.with_values(values[task])


def _write_image(path: Path, colour: str) -> str:
    from PIL import Image

    Image.new("RGB", (64, 64), colour).save(path)
    return str(path)


def _untrue_outcomes(ticket: Ticket) -> list[str]:
    """Parameters whose outcome contradicts the ticket's request, which is what will be used."""
    used, receipt = ticket.request.asked(), ticket.receipt.items()
    dropped = [n for n, outcome in receipt if outcome.outcome == "dropped" and used.get(n)]
    applied = ((n, outcome.asked) for n, outcome in receipt if outcome.outcome == "applied")
    return dropped + [name for name, value in applied if used.get(name) != value]


def _image_size(data: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(BytesIO(data)) as image:
        image.load()
        return image.size
