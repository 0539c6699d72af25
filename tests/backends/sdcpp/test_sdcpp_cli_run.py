"""A run of sd-cli: its images, its errors, and its cleanup."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.sdcpp_setup import CONTROL, ESRGAN, LORA, SMALL_IMAGE, SdCppSetup

from imagen.core.request import Control, Lora, Request, Upscale
from imagen.core.result import Progress, no_progress
from imagen.errors import (
    BackendError,
    Cancelled,
    Failed,
    ImagenError,
    Rejected,
    RequestError,
    TimedOut,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends programs otherwise")


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SdCppSetup:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return SdCppSetup(tmp_path)


@pytest.fixture
def image(tmp_path: Path) -> str:
    Image.new("L", (64, 64), 128).save(tmp_path / "image.png")
    return str(tmp_path / "image.png")


def _leftovers(setup: SdCppSetup) -> list[Path]:
    return list((setup.folder / "temporary").iterdir())


def _size(data: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(data)) as image:
        return image.size


def test_each_of_several_images_has_its_seed(setup: SdCppSetup) -> None:
    made = setup.generate(asked={"count": 3, "seed": 5})
    assert [(o.index, o.seed) for o in made.result.outputs] == [(0, 5), (1, 6), (2, 7)]
    assert len({o.data for o in made.result.outputs}) == 3
    assert _leftovers(setup) == []


def test_the_facts_hold_the_used_parameters(setup: SdCppSetup) -> None:
    facts = setup.generate(asked={"sampler": "dpmpp_2m"}).result.facts
    assert (facts.model, facts.sampler, facts.width) == ("sd15.safetensors", "dpm++2m", 64)
    assert (facts.executing_seconds, facts.engine["model_version"]) == (2.03, "SD 1.x")
    assert facts.engine["version"] == "master-471-7010bb4"


def test_the_stages_are_loading_running_and_fetching(setup: SdCppSetup) -> None:
    stages = [p.stage for p in setup.generate().reports]
    assert list(dict.fromkeys(stages)) == [
        *("submitted", "loading", "running", "fetching", "done"),
    ]


def test_each_step_is_reported(setup: SdCppSetup) -> None:
    steps = [
        (p.step, p.steps, p.node) for p in setup.generate(asked={"count": 2}).reports if p.step
    ]
    assert steps == [
        (1, 2, "image 1 of 2"),
        (2, 2, "image 1 of 2"),
        (1, 2, "image 2 of 2"),
        (2, 2, "image 2 of 2"),
    ]


@pytest.mark.parametrize("way", ["colour", "files"])
def test_output_in_color_and_of_other_versions_is_parsed(setup: SdCppSetup, way: str) -> None:
    assert len(setup.generate(way).result.images) == 1


def test_only_flags_of_this_version_are_passed(setup: SdCppSetup) -> None:
    setup.generate("bare")
    assert "--preview" not in setup.last_arguments()
    assert "--disable-image-metadata" not in setup.last_arguments()


def test_input_images_are_converted_to_plain_png(setup: SdCppSetup, image: str) -> None:
    setup.generate(asked={"image": image, "mask": image, "strength": 0.4})
    given = dict(zip(setup.last_arguments(), setup.last_arguments()[1:], strict=False))
    assert Path(given["--init-img"]).name == "image.png"
    assert Path(given["--mask"]).parent == Path(given["--init-img"]).parent
    assert given["--strength"] == "0.4"


def test_pixels_protected_by_the_mask_stay_unchanged(
    setup: SdCppSetup, image: str, tmp_path: Path
) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (32, 0, 64, 64))
    mask.save(tmp_path / "mask.png")
    asked = {"image": image, "mask": str(tmp_path / "mask.png"), "strength": 0.4, "seed": 5}
    with Image.open(BytesIO(setup.generate(asked=asked).result.images[0].data)) as output:
        left, right = output.getpixel((8, 8)), output.getpixel((56, 8))
    color_of_seed_5 = (132, 177, 43)
    assert (left, right) == ((128, 128, 128), color_of_seed_5)


def test_the_weight_files_of_the_block_are_passed(
    setup: SdCppSetup, image: str, tmp_path: Path
) -> None:
    setup.write_weights("loras/ink.safetensors", LORA)
    net = setup.write_weights("net.safetensors", CONTROL)
    asked = {"controls": (Control(kind="canny", image=image),), "loras": (Lora(name="ink"),)}
    more: dict[str, Any] = {
        "taesd": setup.write_taesd(),
        "loras_dir": str(tmp_path / "loras"),
        "controlnets": {"canny": net},
        "threads": 3,
        "weight_type": "q8_0",
        "offload": True,
    }
    setup.generate(asked=asked, **more)
    line = " ".join(setup.last_arguments())
    assert f"--taesd {more['taesd']} --lora-model-dir {more['loras_dir']} --type q8_0" in line
    assert f"--control-net {net} --threads 3 --offload-to-cpu" in line


def test_a_long_prompt_is_passed_as_a_file(setup: SdCppSetup) -> None:
    setup.generate("files", {"prompt": "fox " * 40_000})
    assert "--prompt-file" in setup.last_arguments()
    assert "--prompt" not in setup.last_arguments()


def test_a_prompt_too_long_for_the_command_line_is_refused(setup: SdCppSetup) -> None:
    with pytest.raises(RequestError, match="prompt of 160000 bytes is too long"):
        setup.generate("ok", {"prompt": "fox " * 40_000})


def test_a_prompt_of_100_kilobytes_with_any_characters_arrives(setup: SdCppSetup) -> None:
    prompt = "--'\"$(x)`%PATH%\n" + "füchse, " * 10
    setup.generate(asked={"prompt": prompt})
    assert setup.last_arguments()[3] == prompt


@pytest.mark.parametrize(
    ("factor", "size"),
    [pytest.param(4, (256, 256), id="of the model"), pytest.param(3, (192, 192), id="another")],
)
def test_an_image_is_upscaled_to_the_requested_factor(
    setup: SdCppSetup, image: str, factor: float, size: tuple[int, int]
) -> None:
    asked = {"image": image, "upscale": Upscale(factor=factor), "prompt": ""}
    asked |= dict.fromkeys(SMALL_IMAGE)
    made = setup.generate(
        asked=asked, model=None, upscale_models=[setup.write_weights("up.safetensors", ESRGAN)]
    )
    assert _size(made.result.images[0].data) == size
    assert made.result.facts.model == "up.safetensors"
    assert "--model" not in setup.last_arguments()


@pytest.mark.parametrize(
    ("way", "error", "message"),
    [
        pytest.param("rejected", Rejected, "rejected the request: invalid sample", id="rejected"),
        pytest.param("failed", Failed, "exit status 1: generate failed", id="failed"),
        pytest.param("silent", Failed, "exit status 1, without a message", id="silent"),
        pytest.param("memory", Failed, "failed to allocate CUDA0 buffer", id="memory"),
        pytest.param("no-vae", Failed, "The vae could not be read", id="no vae, and exit 0"),
        pytest.param("none", Failed, "could not write the image", id="no image"),
        pytest.param("half", Failed, "generated image is damaged", id="half an image"),
        pytest.param("elsewhere", Failed, "cannot be read: No such file", id="a file elsewhere"),
        pytest.param("abort", Failed, r"SIGABRT:.*stoi", id="abort", marks=_POSIX),
        pytest.param("killed", Failed, "ended by SIGKILL", id="killed", marks=_POSIX),
    ],
)
def test_each_bad_end_has_its_error(
    setup: SdCppSetup, way: str, error: type[BackendError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        setup.generate(way)
    assert (caught.value.backend, _leftovers(setup)) == ("rigged", [])


@pytest.mark.parametrize("way", ["memory", pytest.param("killed", marks=_POSIX)])
def test_a_crash_suggests_how_to_save_memory(setup: SdCppSetup, way: str) -> None:
    with pytest.raises(Failed) as caught:
        setup.generate(way)
    assert "`offload`" in caught.value.remedy


def test_an_image_that_was_not_upscaled_is_an_error(setup: SdCppSetup, image: str) -> None:
    up = {"upscale_models": [setup.write_weights("up.safetensors", ESRGAN)]}
    asked = {"image": image, "upscale": Upscale(factor=4), "prompt": ""} | dict.fromkeys(
        SMALL_IMAGE
    )
    with pytest.raises(Failed, match="The image was not upscaled: init model loader"):
        setup.generate("not-enlarged", asked, **up)


@pytest.mark.parametrize(
    ("way", "asked", "warning"),
    [
        pytest.param(
            "no-lora",
            {"prompt": "a <lora:ink:1>"},
            "The LoRA 'ink' in the prompt cannot be read and was ignored.",
            id="a LoRA tag in the prompt",
        ),
        pytest.param("fewer", {"count": 2}, "1 of 2 images could not be written.", id="fewer"),
    ],
)
def test_a_partial_success_gives_a_warning(
    setup: SdCppSetup, way: str, asked: dict[str, Any], warning: str
) -> None:
    result = setup.generate(way, asked).result
    assert (len(result.images), result.warnings) == (1, (warning,))


def test_folders_of_runs_killed_days_ago_are_removed(setup: SdCppSetup) -> None:
    old, new = (setup.folder / "temporary" / f"imagen-sdcpp-{name}" for name in ("old", "new"))
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    setup.generate()
    assert _leftovers(setup) == [new]


@_POSIX
def test_a_crash_with_a_long_prompt_suggests_a_shorter_one(setup: SdCppSetup) -> None:
    with pytest.raises(Failed) as caught:
        setup.generate("killed", {"prompt": "fox " * 10_000})
    assert caught.value.remedy.startswith("Shorten the prompt")


def test_only_complete_previews_are_reported(setup: SdCppSetup) -> None:
    whole = [p.preview for p in setup.generate(asked={"steps": 40}).reports if p.preview]
    half = [p.preview for p in setup.generate("half-preview", {"steps": 40}).reports if p.preview]
    assert [_size(preview) for preview in whole[:1]] == [(8, 8)]
    assert half == []


def test_previews_can_be_switched_off(setup: SdCppSetup) -> None:
    setup.generate(preview="none")
    assert "--preview-path" not in setup.last_arguments()


def _collect(
    setup: SdCppSetup, way: str, on_progress: Callable[[Progress], None], **more: Any
) -> None:
    engine = setup.open(way, **more)
    engine.collect(engine.prepare(Request(prompt="x").with_values(SMALL_IMAGE)), on_progress)


class _RaiseAfter:
    """Raises an error after a number of progress reports."""

    def __init__(self, error: BaseException, times: int) -> None:
        self.error = error
        self.times = times

    def __call__(self, _: Progress) -> None:
        self.times -= 1
        if self.times <= 0:
            raise self.error


@pytest.mark.parametrize(
    ("way", "error"),
    [
        pytest.param("slow", Cancelled(), id="at a step"),
        pytest.param("mute", KeyboardInterrupt(), id="ctrl-c while it loads"),
        pytest.param("stuck", Cancelled(), id="ignores SIGTERM", marks=_POSIX),
        pytest.param("hushed", Cancelled(), id="closes its streams"),
    ],
)
def test_ending_a_run_ends_all_processes_it_started(
    setup: SdCppSetup, way: str, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        _collect(setup, way, _RaiseAfter(error, 4))
    assert (setup.is_running(), _leftovers(setup)) == (False, [])
    assert [t.name for t in threading.enumerate() if "_pump" in t.name] == []


@_POSIX
def test_a_second_ctrl_c_still_ends_the_program(setup: SdCppSetup) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def cancel(progress: Progress) -> None:
        if progress.stage == "running":
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            raise Cancelled

    usual = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            _collect(setup, "stuck", cancel)
    finally:
        signal.signal(signal.SIGALRM, usual)
    assert (setup.is_running(), _leftovers(setup)) == (False, [])


def test_progress_is_reported_during_silence(setup: SdCppSetup) -> None:
    told: list[str] = []

    def tell(progress: Progress) -> None:
        told.append(progress.stage)
        if len(told) == 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        _collect(setup, "mute", tell)
    assert told == ["submitted", "loading", "loading", "loading"]


@pytest.mark.parametrize(
    ("deadline", "message"),
    [
        pytest.param("total_seconds", "took more than 1 s", id="total"),
        pytest.param("idle_seconds", "printed nothing for 1 s", id="idle"),
    ],
)
def test_a_deadline_stops_the_program(setup: SdCppSetup, deadline: str, message: str) -> None:
    with pytest.raises(TimedOut, match=message) as caught:
        _collect(setup, "mute", no_progress, **{deadline: 1.0})
    assert f"backends.rigged.{deadline}" in caught.value.remedy
    assert not setup.is_running()


def test_the_hint_of_the_block_is_shown_where_the_program_is_missing(setup: SdCppSetup) -> None:
    engine = setup.open(binary="/nowhere/sd-cli", hint="Plug in the other disk.")
    with pytest.raises(Unavailable) as caught:
        engine.collect(engine.prepare(Request(prompt="x")), no_progress)
    assert "Plug in the other disk." in caught.value.remedy


def test_a_ticket_for_another_version_is_refused(setup: SdCppSetup) -> None:
    ticket = setup.open("ok").prepare(Request(prompt="x", extra={"clip_skip": 2}))
    with pytest.raises(ImagenError, match="has no --clip-skip, which this ticket needs"):
        setup.open("bare").collect(ticket, no_progress)
