"""Several images of one request: a run with a seed of its own each, or one batch of the engine."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from simulators.replicate import COMMUNITY, Replicate

from imagen.config import OutputSettings, Settings
from imagen.core.request import Request
from imagen.core.result import Progress, no_progress
from imagen.errors import Cancelled, Failed, OutputError, RequestError, SomeFailed
from imagen.jobs import file_store
from imagen.jobs.recover import recover_all
from imagen.pipeline.generate import generate
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.core.result import OnProgress
    from imagen.pipeline.generate import Generation

_ASKED = Request(prompt="a fox", seed=7, width=32, height=32, steps=2, count=3)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(output=OutputSettings(directory=tmp_path / "out"), state_dir=tmp_path / "state")


@pytest.fixture
def server() -> Iterator[ComfyUI]:
    with ComfyUI() as server:
        yield server


def _at(server: ComfyUI, settings: Settings) -> Settings:
    block = {"type": "comfyui", "url": server.url, "workflow": "sd15"}
    return settings.model_copy(update={"default_backend": "studio", "backends": {"studio": block}})


def _sent(server: ComfyUI) -> list[tuple[int, int]]:
    """The seed and the size of the batch of each prompt that the server took."""
    graphs = [body["prompt"].values() for body in server.prompts]
    found = [{k: v for node in graph for k, v in node["inputs"].items()} for graph in graphs]
    return [(one["seed"], one["batch_size"]) for one in found]


def _pixels(run: Generation, index: int = 0) -> bytes:
    with Image.open(run.saved[index].path) as image:
        return image.tobytes()


def _fail_in(*images: int, error: type[BaseException] = Failed) -> OnProgress:
    def fail(progress: Progress) -> None:
        if progress.image in images and progress.step:
            raise error("as the test wants it")

    return fail


def test_each_image_is_a_run_with_the_next_seed(settings: Settings) -> None:
    made = generate(_ASKED, settings)
    assert [run.ticket.request.seed for run in made] == [7, 8, 9]
    assert [[saved.seed for saved in run.saved] for run in made] == [[7], [8], [9]]


def test_each_image_can_be_made_alone(settings: Settings) -> None:
    third = generate(_ASKED, settings)[2]
    (alone,) = generate(_ASKED.with_values({"seed": 9, "count": None}), settings)
    assert _pixels(alone) == _pixels(third)


def test_seed_wraps_around_after_the_last(settings: Settings) -> None:
    made = generate(_ASKED.with_values({"seed": 2**64 - 2}), settings)
    assert [run.ticket.request.seed for run in made] == [2**64 - 2, 2**64 - 1, 0]


def test_seed_is_drawn_once_and_incremented(settings: Settings) -> None:
    first, second, third = generate(_ASKED.with_values({"seed": None}), settings)
    drawn = first.ticket.request.seed or 0
    assert second.ticket.request.seed == drawn + 1
    assert third.ticket.request.seed == drawn + 2


def test_all_images_share_the_second_noise(settings: Settings) -> None:
    made = generate(_ASKED.with_values({"variation_strength": 0.3}), settings)
    assert len({run.ticket.request.variation_seed for run in made}) == 1


def test_latent_batch_is_one_run(settings: Settings) -> None:
    (made,) = generate(_ASKED.with_values({"latent_batch": True}), settings)
    assert len(made.saved) == 3
    assert made.ticket.receipt["latent_batch"].outcome == "applied"
    assert (made.ticket.request.count, made.ticket.request.latent_batch) == (3, True)


def test_backend_without_batches_drops_latent_batch(settings: Settings, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "fox.png")
    given = {"image": str(tmp_path / "fox.png"), "upscale": {"method": "mock-x2"}}
    asked = Request().with_values(given | {"latent_batch": True})
    (made,) = generate(asked, settings)
    fate = made.ticket.receipt["latent_batch"]
    assert (fate.outcome, fate.why) == ("dropped", "this backend makes one image at a time")
    with pytest.raises(RequestError, match="latent_batch: True was dropped"):
        generate(asked, settings, strict=True)


def test_comfyui_gets_a_prompt_for_each_image(server: ComfyUI, settings: Settings) -> None:
    generate(_ASKED, _at(server, settings))
    assert _sent(server) == [(7, 1), (8, 1), (9, 1)]


def test_comfyui_gets_one_prompt_for_a_latent_batch(server: ComfyUI, settings: Settings) -> None:
    (made,) = generate(_ASKED.with_values({"latent_batch": True}), _at(server, settings))
    assert _sent(server) == [(7, 3)]
    assert len(made.saved) == 3


@pytest.mark.usefixtures("replicate_token")
def test_replicate_makes_a_prediction_for_each_image(settings: Settings) -> None:
    with Replicate() as cloud:
        block = {"type": "replicate", "model": COMMUNITY, "base_url": cloud.url, "wait_seconds": 0}
        asked = _ASKED.with_values({"width": 512, "height": 512})
        generate(asked, settings.model_copy(update={"backends": {"cloud": block}}), backend="cloud")
        inputs = [job.input for job in cloud.jobs.newest_first()]
    assert [(one["seed"], one["num_outputs"]) for one in inputs] == [(9, 1), (8, 1), (7, 1)]


def test_file_names_number_all_images(settings: Settings) -> None:
    output = settings.output.model_copy(update={"name": "fox-{index}"})
    made = generate(_ASKED, settings.model_copy(update={"output": output}))
    assert [run.saved[0].path.name for run in made] == ["fox-0.png", "fox-1.png", "fox-2.png"]


def test_failure_names_the_images_before_it(settings: Settings) -> None:
    made: list[Generation] = []
    with pytest.raises(Failed) as caught:
        generate(_ASKED, settings, on_progress=_fail_in(2), on_made=made.append)
    assert caught.value.kept == (made[0].saved[0].path,)
    assert [run.ticket.request.seed for run in made] == [7]
    assert file_store.pending(settings.state_dir) == []


def test_ctrl_c_in_the_third_image_keeps_two(settings: Settings) -> None:
    with pytest.raises(Cancelled) as caught:
        generate(_ASKED, settings, on_progress=_fail_in(3, error=Cancelled))
    assert [path.is_file() for path in caught.value.kept] == [True, True]
    assert file_store.pending(settings.state_dir) == []


def test_keep_going_generates_images_after_a_failure(settings: Settings) -> None:
    made: list[Generation] = []
    with pytest.raises(SomeFailed) as caught:
        generate(_ASKED, settings, keep_going=True, on_progress=_fail_in(1, 3), on_made=made.append)
    assert [run.ticket.request.seed for run in made] == [8]
    assert caught.value.message == (
        "2 of 3 images failed:\n"
        "image 1, seed 7: as the test wants it\n"
        "image 3, seed 9: as the test wants it"
    )
    assert caught.value.kept == (made[0].saved[0].path,)


def test_keep_going_ends_if_images_cannot_be_saved(settings: Settings) -> None:
    with pytest.raises(OutputError):
        generate(_ASKED, settings, keep_going=True, on_progress=_fail_in(1, error=OutputError))


def test_resume_generates_planned_images(settings: Settings) -> None:
    """As after a kill in the second image: nothing of what runs after it is done."""
    output = settings.output.model_copy(update={"name": "fox-{index}"})
    settings = settings.model_copy(update={"output": output})
    with pytest.raises(SystemExit):
        generate(_ASKED, settings, on_progress=_fail_in(2, error=SystemExit))
    done = list(recover_all(settings, lambda _: nullcontext(no_progress)))
    assert [one.outcome for one in done] == ["fetched", "generated"]
    assert sorted(path.name for path in settings.output.directory.glob("*.png")) == [
        "fox-0.png",
        "fox-1.png",
        "fox-2.png",
    ]
