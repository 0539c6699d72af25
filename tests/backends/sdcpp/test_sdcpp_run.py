"""A run of the program: what it gives, how it ends, and what it leaves behind."""

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
from support.sdcpp_rig import CONTROL, ESRGAN, LORA, PICTURE, Bench

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
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return Bench(tmp_path)


@pytest.fixture
def image(tmp_path: Path) -> str:
    Image.new("L", (64, 64), 128).save(tmp_path / "image.png")
    return str(tmp_path / "image.png")


def _left(bench: Bench) -> list[Path]:
    return list((bench.folder / "temporary").iterdir())


def _size(data: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(data)) as picture:
        return picture.size


def test_several_pictures_come_each_with_its_seed(bench: Bench) -> None:
    made = bench.made(asked={"count": 3, "seed": 5})
    assert [(o.index, o.seed) for o in made.result.outputs] == [(0, 5), (1, 6), (2, 7)]
    assert len({o.data for o in made.result.outputs}) == 3
    assert _left(bench) == []


def test_the_facts_say_what_was_used(bench: Bench) -> None:
    facts = bench.made(asked={"sampler": "dpmpp_2m"}).result.facts
    assert (facts.model, facts.sampler, facts.width) == ("sd15.safetensors", "dpm++2m", 64)
    assert (facts.executing_seconds, facts.engine["model_version"]) == (2.03, "SD 1.x")
    assert facts.engine["version"] == "master-471-7010bb4"


def test_the_stages_are_loading_running_and_fetching(bench: Bench) -> None:
    stages = [p.stage for p in bench.made().told]
    assert list(dict.fromkeys(stages)) == [
        *("submitted", "loading", "running", "fetching", "done"),
    ]


def test_each_step_is_told(bench: Bench) -> None:
    steps = [(p.step, p.steps, p.node) for p in bench.made(asked={"count": 2}).told if p.step]
    assert steps == [
        (1, 2, "image 1 of 2"),
        (2, 2, "image 1 of 2"),
        (1, 2, "image 2 of 2"),
        (2, 2, "image 2 of 2"),
    ]


@pytest.mark.parametrize("way", ["colour", "files"])
def test_it_is_understood_in_colour_and_in_other_versions(bench: Bench, way: str) -> None:
    assert len(bench.made(way).result.images) == 1


def test_only_what_this_version_takes_is_passed(bench: Bench) -> None:
    bench.made("bare")
    assert "--preview" not in bench.arguments()
    assert "--disable-image-metadata" not in bench.arguments()


def test_pictures_reach_it_as_plain_png(bench: Bench, image: str) -> None:
    bench.made(asked={"image": image, "mask": image, "strength": 0.4})
    given = dict(zip(bench.arguments(), bench.arguments()[1:], strict=False))
    assert Path(given["--init-img"]).name == "image.png"
    assert Path(given["--mask"]).parent == Path(given["--init-img"]).parent
    assert given["--strength"] == "0.4"


def test_what_the_mask_leaves_is_as_it_was(bench: Bench, image: str, tmp_path: Path) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (32, 0, 64, 64))
    mask.save(tmp_path / "mask.png")
    asked = {"image": image, "mask": str(tmp_path / "mask.png"), "strength": 0.4, "seed": 5}
    with Image.open(BytesIO(bench.made(asked=asked).result.images[0].data)) as picture:
        left, right = picture.getpixel((8, 8)), picture.getpixel((56, 8))
    assert (left, right) == ((128, 128, 128), (132, 177, 43))


def test_the_files_of_the_block_reach_it(bench: Bench, image: str, tmp_path: Path) -> None:
    bench.file("loras/ink.safetensors", LORA)
    net = bench.file("net.safetensors", CONTROL)
    asked = {"controls": (Control(kind="canny", image=image),), "loras": (Lora(name="ink"),)}
    more: dict[str, Any] = {
        "taesd": bench.taesd(),
        "loras_dir": str(tmp_path / "loras"),
        "controlnets": {"canny": net},
        "threads": 3,
        "weight_type": "q8_0",
        "offload": True,
    }
    bench.made(asked=asked, **more)
    line = " ".join(bench.arguments())
    assert f"--taesd {more['taesd']} --lora-model-dir {more['loras_dir']} --type q8_0" in line
    assert f"--control-net {net} --threads 3 --offload-to-cpu" in line


def test_a_long_prompt_goes_by_file_where_there_is_a_flag_for_it(bench: Bench) -> None:
    bench.made("files", {"prompt": "fox " * 40_000})
    assert "--prompt-file" in bench.arguments()
    assert "--prompt" not in bench.arguments()


def test_a_prompt_that_fits_no_command_line_is_refused(bench: Bench) -> None:
    with pytest.raises(RequestError, match="prompt of 160000 bytes is too long"):
        bench.made("ok", {"prompt": "fox " * 40_000})


def test_a_prompt_of_100_kilobytes_with_any_characters_arrives(bench: Bench) -> None:
    prompt = "--'\"$(x)`%PATH%\n" + "füchse, " * 10
    bench.made(asked={"prompt": prompt})
    assert bench.arguments()[3] == prompt


@pytest.mark.parametrize(
    ("factor", "size"),
    [pytest.param(4, (256, 256), id="its own"), pytest.param(3, (192, 192), id="another")],
)
def test_a_picture_is_enlarged_to_what_was_asked_for(
    bench: Bench, image: str, factor: float, size: tuple[int, int]
) -> None:
    asked = {"image": image, "upscale": Upscale(factor=factor), "prompt": ""}
    asked |= dict.fromkeys(PICTURE)
    made = bench.made(
        asked=asked, model=None, upscale_models=[bench.file("up.safetensors", ESRGAN)]
    )
    assert _size(made.result.images[0].data) == size
    assert made.result.facts.model == "up.safetensors"
    assert "--model" not in bench.arguments()


@pytest.mark.parametrize(
    ("way", "error", "message"),
    [
        pytest.param("rejected", Rejected, "rejected the request: invalid sample", id="rejected"),
        pytest.param("failed", Failed, "exit status 1: generate failed", id="failed"),
        pytest.param("silent", Failed, "exit status 1, without a message", id="silent"),
        pytest.param("memory", Failed, "failed to allocate CUDA0 buffer", id="memory"),
        pytest.param("no-vae", Failed, "The vae could not be read", id="no vae, and exit 0"),
        pytest.param("none", Failed, "could not write the image", id="no picture"),
        pytest.param("half", Failed, "generated image is damaged", id="half a picture"),
        pytest.param("elsewhere", Failed, "cannot be read: No such file", id="a stranger's file"),
        pytest.param("abort", Failed, r"SIGABRT:.*stoi", id="abort", marks=_POSIX),
        pytest.param("killed", Failed, "ended by SIGKILL", id="killed", marks=_POSIX),
    ],
)
def test_each_bad_end_has_its_error(
    bench: Bench, way: str, error: type[BackendError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        bench.made(way)
    assert (caught.value.backend, _left(bench)) == ("rigged", [])


@pytest.mark.parametrize("way", ["memory", pytest.param("killed", marks=_POSIX)])
def test_where_memory_may_have_run_out_it_says_what_helps(bench: Bench, way: str) -> None:
    with pytest.raises(Failed) as caught:
        bench.made(way)
    assert "`offload`" in caught.value.remedy


def test_a_picture_that_was_not_enlarged_is_no_success(bench: Bench, image: str) -> None:
    up = {"upscale_models": [bench.file("up.safetensors", ESRGAN)]}
    asked = {"image": image, "upscale": Upscale(factor=4), "prompt": ""} | dict.fromkeys(PICTURE)
    with pytest.raises(Failed, match="The image was not upscaled: init model loader"):
        bench.made("not-enlarged", asked, **up)


@pytest.mark.parametrize(
    ("way", "asked", "warning"),
    [
        pytest.param(
            "no-lora",
            {"prompt": "a <lora:ink:1>"},
            "The LoRA 'ink' in the prompt cannot be read and was ignored.",
            id="a tag of the user's",
        ),
        pytest.param("fewer", {"count": 2}, "1 of 2 images could not be written.", id="fewer"),
    ],
)
def test_what_went_half_well_is_a_warning(
    bench: Bench, way: str, asked: dict[str, Any], warning: str
) -> None:
    result = bench.made(way, asked).result
    assert (len(result.images), result.warnings) == (1, (warning,))


def test_what_a_killed_run_left_days_ago_is_removed(bench: Bench) -> None:
    old, new = (bench.folder / "temporary" / f"imagen-sdcpp-{name}" for name in ("old", "new"))
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    bench.made()
    assert _left(bench) == [new]


@_POSIX
def test_where_it_breaks_down_on_a_long_prompt_that_is_said(bench: Bench) -> None:
    with pytest.raises(Failed) as caught:
        bench.made("killed", {"prompt": "fox " * 10_000})
    assert caught.value.remedy.startswith("Shorten the prompt")


def test_a_preview_is_told_if_it_is_whole(bench: Bench) -> None:
    whole = [p.preview for p in bench.made(asked={"steps": 40}).told if p.preview]
    half = [p.preview for p in bench.made("half-preview", {"steps": 40}).told if p.preview]
    assert [_size(preview) for preview in whole[:1]] == [(8, 8)]
    assert half == []


def test_without_previews_none_are_asked_for(bench: Bench) -> None:
    bench.made(preview="none")
    assert "--preview-path" not in bench.arguments()


def _collected(
    bench: Bench, way: str, on_progress: Callable[[Progress], None], **more: Any
) -> None:
    engine = bench.open(way, **more)
    engine.collect(engine.prepare(Request(prompt="x").with_values(PICTURE)), on_progress)


class _After:
    """Raises an error once something was told a number of times."""

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
        pytest.param("stuck", Cancelled(), id="one that does not listen", marks=_POSIX),
        pytest.param("hushed", Cancelled(), id="one without streams"),
    ],
)
def test_whatever_ends_it_ends_all_that_it_started(
    bench: Bench, way: str, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        _collected(bench, way, _After(error, 4))
    assert (bench.is_at_work(), _left(bench)) == (False, [])
    assert [t.name for t in threading.enumerate() if "_pump" in t.name] == []


@_POSIX
def test_ctrl_c_while_it_is_asked_to_end_ends_it_too(bench: Bench) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def cancel(progress: Progress) -> None:
        if progress.stage == "running":
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            raise Cancelled

    usual = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            _collected(bench, "stuck", cancel)
    finally:
        signal.signal(signal.SIGALRM, usual)
    assert (bench.is_at_work(), _left(bench)) == (False, [])


def test_silence_is_told_of_too(bench: Bench) -> None:
    told: list[str] = []

    def tell(progress: Progress) -> None:
        told.append(progress.stage)
        if len(told) == 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        _collected(bench, "mute", tell)
    assert told == ["submitted", "loading", "loading", "loading"]


@pytest.mark.parametrize(
    ("deadline", "message"),
    [
        pytest.param("total_seconds", "took more than 1 s", id="total"),
        pytest.param("idle_seconds", "printed nothing for 1 s", id="idle"),
    ],
)
def test_a_deadline_stops_it(bench: Bench, deadline: str, message: str) -> None:
    with pytest.raises(TimedOut, match=message) as caught:
        _collected(bench, "mute", no_progress, **{deadline: 1.0})
    assert f"backends.rigged.{deadline}" in caught.value.remedy
    assert not bench.is_at_work()


def test_the_users_own_advice_is_shown_where_there_is_no_program(bench: Bench) -> None:
    engine = bench.open(binary="/nowhere/sd-cli", hint="Plug in the other disk.")
    with pytest.raises(Unavailable) as caught:
        engine.collect(engine.prepare(Request(prompt="x")), no_progress)
    assert "Plug in the other disk." in caught.value.remedy


def test_a_ticket_for_another_version_is_refused_in_a_sentence(bench: Bench) -> None:
    ticket = bench.open("ok").prepare(Request(prompt="x", extra={"clip_skip": 2}))
    with pytest.raises(ImagenError, match="has no --clip-skip, which this ticket needs"):
        bench.open("bare").collect(ticket, no_progress)
