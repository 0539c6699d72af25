"""Control images made of a user's own image, before the run that they steer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from imagen.comparison import compare
from imagen.config import Budget, OutputSettings, Settings
from imagen.core.request import Outpaint, Request
from imagen.core.result import no_progress
from imagen.core.ticket import Estimate
from imagen.errors import Failed, OverBudget, RequestError
from imagen.pipeline.generate import generate, open_named, prepare, preprocess_controls
from imagen.pipeline.prepare import Preparation

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.core.result import Progress

_CONTROL = {"kind": "canny", "image": "fox.png", "preprocess": True}
_ASKED = Request.of(
    {
        "prompt": "a fox",
        "seed": 7,
        "steps": 2,
        "width": 96,
        "height": 64,
        "controls": (_CONTROL,),
    }
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        backends={"studio": {"type": "mock"}, "plain": {"type": "comfyui", "workflow": "sdxl"}},
        output=OutputSettings(directory=tmp_path / "out", name="{slug}"),
        state_dir=tmp_path / "state",
    )


@pytest.fixture(autouse=True)
def _fox() -> None:
    image = Image.new("RGB", (96, 64), "black")
    image.paste((255, 255, 255), (24, 16, 48, 32))
    image.save("fox.png")


def test_control_image_is_made_first_and_saved(settings: Settings) -> None:
    control, result = generate(_ASKED, settings)
    assert control.saved[0].path == settings.output.directory / "fox-canny.png"
    assert result.saved[0].path == settings.output.directory / "a-fox.png"
    assert (control.ticket.request.task, result.ticket.request.task) == ("preprocess", "control")


def test_result_uses_the_control_image(settings: Settings) -> None:
    control, result = generate(_ASKED, settings)
    preprocess_controls = {"kind": "canny", "image": str(control.saved[0].path)}
    (expected,) = generate(_ASKED.with_values({"controls": (preprocess_controls,)}), settings)
    assert result.result.outputs[0].data == expected.result.outputs[0].data
    assert [control.preprocess for control in result.ticket.request.controls] == [False]


def test_sidecar_names_the_users_own_image(settings: Settings) -> None:
    _, result = generate(_ASKED, settings)
    assert [(known.parameter, known.name) for known in result.ticket.inputs] == [
        ("controls.0", "fox.png")
    ]
    (asked,) = result.ticket.receipt["controls"].asked
    assert (asked.image, asked.preprocess) == ("fox.png", True)


def test_same_control_image_is_made_once(settings: Settings) -> None:
    more = {**_CONTROL, "strength": 0.2, "start": 0.5}
    made = generate(_ASKED.with_values({"controls": (_CONTROL, more)}), settings)
    assert [run.ticket.request.task for run in made] == ["preprocess", "control"]


def test_prepare_makes_no_control_image(settings: Settings) -> None:
    (ticket,) = prepare(open_named("mock", settings), _ASKED, settings)
    assert ticket.request.controls[0].preprocess
    assert not settings.output.directory.exists()


def test_strict_refuses_before_a_control_image_is_made(settings: Settings) -> None:
    with pytest.raises(RequestError, match="Refused under --strict"):
        generate(_ASKED.with_values({"cfg": 3.0}), settings, strict=True)
    assert not settings.output.directory.exists()


def test_unknown_control_kind_is_refused(settings: Settings) -> None:
    control = {**_CONTROL, "kind": "canny"}
    without = _Without(open_named("mock", settings))
    with pytest.raises(RequestError) as caught:
        prepare(without, _ASKED.with_values({"controls": (control,)}), settings)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "This backend cannot make a control image of kind 'canny'. It makes none.\n"
        "Make it first: imagen preprocess canny FILE --backend studio"
    )


def test_unopenable_backend_is_not_suggested(settings: Settings) -> None:
    wrong = settings.model_copy(
        update={"backends": {"wrong": {"type": "mock", "colour": "blue"}, "plain": {"type": "x"}}}
    )
    without = _Without(open_named("mock", settings))
    with pytest.raises(RequestError) as caught:
        prepare(without, _ASKED, wrong)  # type: ignore[arg-type]
    assert caught.value.remedy == (
        "Give a finished control image, or configure a backend that makes one, such as a ComfyUI "
        "server with the right nodes."
    )


class _InpaintsOnly:
    """A mock that says nothing of outpainting, as an adapter of somebody else's may."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.asked: list[str] = []

    def capabilities(self, task: Any = "text-to-image", model: str | None = None) -> Any:
        self.asked.append(task)
        known = self._engine.capabilities(task, model)
        tasks = tuple(one for one in known.tasks if one != "outpaint")
        return known.model_copy(update={"tasks": tasks})

    def prepare(self, request: Request) -> Any:
        return self._engine.prepare(request)


def test_outpainting_falls_back_to_inpainting(settings: Settings) -> None:
    engine = _InpaintsOnly(open_named("mock", settings))
    asked = Request(prompt="a fox", image="fox.png", outpaint=Outpaint(right=32))
    (ticket,) = prepare(engine, asked, settings)  # type: ignore[arg-type]
    assert (engine.asked, ticket.request.task) == (["outpaint", "inpaint"], "inpaint")


def test_misspelt_control_kind_has_a_suggestion(settings: Settings) -> None:
    control = {**_CONTROL, "kind": "cany"}
    with pytest.raises(RequestError) as caught:
        generate(_ASKED.with_values({"controls": (control,)}), settings)
    assert caught.value.message == (
        "This backend cannot make a control image of kind 'cany'. Did you mean 'canny'? "
        "It makes: canny, depth, pose, scribble."
    )


class _Without:
    """A mock that makes no control images, but for those `in_run`."""

    def __init__(self, engine: Any, in_run: tuple[str, ...] = ()) -> None:
        self._engine = engine
        self._in_run = in_run

    def capabilities(self, task: Any = "text-to-image", model: str | None = None) -> Any:
        changes = {"preprocessors": (), "preprocesses_in_run": self._in_run}
        return self._engine.capabilities(task, model).model_copy(update=changes)

    def prepare(self, request: Request) -> Any:
        return self._engine.prepare(request)


def test_control_image_is_made_within_the_run(settings: Settings) -> None:
    engine = _Without(open_named("mock", settings), in_run=("canny",))
    (ticket,) = prepare(engine, _ASKED, settings)  # type: ignore[arg-type]
    assert ticket.request.controls[0].preprocess
    assert ticket.receipt["controls"].outcome == "applied"


class _FailsInTheSecondRun:
    """A progress callback; what it raises comes out as an engine's failure would."""

    def __init__(self) -> None:
        self.submitted = 0

    def __call__(self, progress: Progress) -> None:
        self.submitted += progress.stage == "submitted"
        if self.submitted == 2:
            raise Failed("the second run")


def test_failed_run_names_the_control_image_made_before(settings: Settings) -> None:
    with pytest.raises(Failed) as caught:
        generate(_ASKED, settings, on_progress=_FailsInTheSecondRun())
    path = settings.output.directory / "fox-canny.png"
    assert caught.value.kept == (path,)


def test_failed_control_image_names_the_one_made_before(settings: Settings) -> None:
    asked = _ASKED.with_values({"controls": (_CONTROL, {**_CONTROL, "kind": "depth"})})
    with pytest.raises(Failed) as caught:
        generate(asked, settings, on_progress=_FailsInTheSecondRun())
    path = settings.output.directory / "fox-canny.png"
    assert caught.value.kept == (path,)


def test_comparison_makes_a_control_image_once_per_model(settings: Settings) -> None:
    from imagen.comparison import Axis

    folder = settings.output.directory
    steps = Axis(name="steps", values=(2, 3))
    compared = compare(_ASKED, ["mock", "studio"], settings, folder=folder, axes=[steps])
    assert compared.failed == ()
    assert len(list(folder.glob("*-canny.png"))) == 2


def test_finished_comparison_makes_no_control_image(settings: Settings) -> None:
    folder = settings.output.directory
    compare(_ASKED, ["mock"], settings, folder=folder)
    compare(_ASKED, ["mock"], settings, folder=folder)
    assert len(list(folder.glob("*-canny*.png"))) == 1


class _Paid(_Without):
    """A mock whose owner is paid $1 for each control image."""

    def capabilities(self, task: Any = "text-to-image", model: str | None = None) -> Any:
        return self._engine.capabilities(task, model)

    def prepare(self, request: Request) -> Any:
        ticket = self._engine.prepare(request)
        estimate = Estimate(usd=1.0, basis="by the list") if request.task == "preprocess" else None
        return ticket.model_copy(update={"estimate": estimate})


def test_control_image_counts_against_budgets(settings: Settings) -> None:
    limited = settings.model_copy(update={"budgets": (Budget(amount=0.5, per="run"),)})
    engine = _Paid(open_named("mock", settings))
    plan = Preparation(engine, _ASKED, limited)  # type: ignore[arg-type]
    with pytest.raises(OverBudget):
        preprocess_controls(engine, plan, limited, no_progress)  # type: ignore[arg-type]
    assert not settings.output.directory.exists()
