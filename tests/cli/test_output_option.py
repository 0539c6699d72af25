"""--output: formats, standard output and home directories; and --no-metadata."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image

from imagen.cli import run
from imagen.config import load_settings
from imagen.core.request import Request
from imagen.errors import OutputError
from imagen.jobs import file_store
from imagen.outputs import metadata
from imagen.outputs.read import read_record
from imagen.pipeline.generate import create_jobs, open_named, prepare

SMALL = ("--size", "32x24", "--seed", "7", "--quiet")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home directory, which is not the working directory."""
    folder = tmp_path / "home"
    folder.mkdir(exist_ok=True)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    return folder


def _generate(*words: str) -> int:
    return run(["generate", "a red fox", *SMALL, *words])


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "webp", "avif"])
def test_the_extension_of_output_is_the_format(
    ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _generate("-o", f"fox.{ending}") == 0
    assert capsys.readouterr() == (f"fox.{ending}\n", "")
    kind = "jpeg" if ending in ("jpg", "jpeg") else ending
    data = Path(f"fox.{ending}").read_bytes()
    assert metadata.kind(data) == kind
    assert read_record(Path(f"fox.{ending}")).resolved["prompt"] == "a red fox"
    sidecar = json.loads(Path(f"fox.{ending}.json").read_bytes())
    assert sidecar["media_type"] == f"image/{kind}"


def test_the_extension_overrides_the_configured_format() -> None:
    Path("imagen.yaml").write_text("output: {format: webp}\n")
    assert _generate("-o", "fox.png") == 0
    assert _generate("-o", "foxes") == 0
    assert Path("fox.png").is_file()
    assert [path.suffix for path in Path("foxes").iterdir() if path.suffix != ".json"] == [".webp"]


@pytest.mark.parametrize("name", ["fox.gif", "fox.tiff", "fox.mp4", "fox.jpgg"])
def test_an_unknown_extension_is_refused_before_generating(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _generate("-o", name) == 2
    assert capsys.readouterr().err.endswith(
        "Images can be saved as .png, .jpg, .jpeg, .webp, .avif, not as "
        f".{name[4:]}. If this is a folder, end it with a slash: {name}/\n"
    )
    assert [path.name for path in Path().iterdir() if path.name.startswith("fox")] == []


@pytest.mark.parametrize("name", ["set-1.5", "fox.gif/", "photos.backup"])
def test_a_path_without_extension_is_a_folder(name: str) -> None:
    assert _generate("-o", name) == 0
    assert Path(name).is_dir()


def test_an_existing_folder_is_a_folder_despite_its_name() -> None:
    Path("fox.png").mkdir()
    assert _generate("-o", "fox.png") == 0
    assert len(list(Path("fox.png").iterdir())) == 2


def test_conversion_warnings_are_in_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (2, 8192)).save("tall.png")
    words = ["upscale", "tall.png", "--factor", "2", "-o", "big.webp", "--json"]
    assert run(words) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["images"][0]["path"] == "big.png"
    (warning,) = found["generations"][0]["warnings"]
    assert "big.png keeps the format of the engine" in warning


@pytest.mark.parametrize(
    "words",
    ["generate fox", "upscale start.png", "again start.png"],
)
def test_no_metadata_applies_to_one_run(words: str) -> None:
    assert _generate("-o", "start.png") == 0
    assert run([*words.split(), "--no-metadata", "--quiet", "-o", "bare.png"]) == 0
    assert metadata.read_texts(Path("bare.png").read_bytes()) == {}
    assert _generate("-o", "after.png") == 0
    assert metadata.read_texts(Path("after.png").read_bytes()) != {}


def test_compare_without_metadata() -> None:
    words = ["compare", "fox", "--models", "mock", *SMALL, "--no-metadata", "-o", "cells"]
    assert run(words) == 0
    assert metadata.read_texts(Path("cells/mock-7.png").read_bytes()) == {}


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Any:
    """Standard output that is a pipe."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    return capsysbinary


def test_output_to_stdout_names_the_file_on_stderr(
    piped: pytest.CaptureFixture[bytes],
) -> None:
    assert _generate("-o", "-") == 0
    out, err = piped.readouterr()
    path = Path(err.decode().strip())
    assert path.parent.name == "outputs"
    assert out == path.read_bytes()
    assert Image.open(BytesIO(out)).size == (32, 24)


def test_output_to_stdout_has_the_configured_format(piped: pytest.CaptureFixture[bytes]) -> None:
    Path("imagen.yaml").write_text("output: {format: webp}\n")
    assert _generate("-o", "-") == 0
    assert piped.readouterr().out[8:12] == b"WEBP"


def test_output_to_stdout_is_refused_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert _generate("-o", "-") == 2
    assert "standard output is a terminal. Redirect it" in capsys.readouterr().err
    assert not Path("outputs").exists()


@pytest.mark.parametrize("more", [("--json",), ("--count", "2")])
def test_output_to_stdout_is_one_image(
    more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _generate("-o", "-", *more) == 2
    assert "--output -" in "".join(capsys.readouterr())
    assert not Path("outputs").exists()


def test_output_to_stdout_loses_no_image_of_several() -> None:
    from imagen.cli.generation import write_image

    with pytest.raises(OutputError, match="but 0 were generated") as refused:
        write_image([])
    assert refused.value.remedy.startswith("Nothing is lost")


def test_rescued_paths_are_not_written_into_an_image_on_stdout(
    piped: pytest.CaptureFixture[bytes],
) -> None:
    Path("imagen.yaml").write_text("output: {directory: ., name: 'taken/{seed}'}\n")
    Path("taken").write_text("a file")
    assert _generate("-o", "-") == 5
    out, err = piped.readouterr()
    assert out == b""
    assert Path(err.decode().splitlines()[-1]).is_file()


def test_resume_writes_the_image_of_one_job_to_stdout(
    piped: pytest.CaptureFixture[bytes],
) -> None:
    id = _left_job("webp")
    assert run(["resume", id, "--quiet", "-o", "-"]) == 0
    assert piped.readouterr().out[8:12] == b"WEBP"


def test_resume_saves_in_the_format_requested_originally() -> None:
    id = _left_job("avif")
    assert run(["resume", id, "--quiet"]) == 0
    assert Path("then/fox.avif").is_file()


def _left_job(format: Literal["webp", "avif"]) -> str:
    """A planned job whose process died before it was sent."""
    settings = load_settings()
    output = settings.output.model_copy(
        update={"directory": Path("then"), "name": "fox", "format": format}
    )
    settings = settings.model_copy(update={"output": output})
    request = Request(prompt="a red fox", width=32, height=24)
    with closing(open_named("mock", settings)) as engine:
        (ticket,) = prepare(engine, request, settings)
    file_store.write(create_jobs([ticket], request, settings)[0], settings.state_dir)
    return ticket.id


def test_resume_of_all_jobs_refuses_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["resume", "-o", "-"]) == 2
    assert "--output - need a JOB." in capsys.readouterr().err


def test_a_tilde_in_output_is_the_home_directory(home: Path) -> None:
    assert _generate("-o", "~/a/fox.webp") == 0
    assert _generate("--output=~/b") == 0
    assert (home / "a/fox.webp").is_file()
    assert len(list((home / "b").iterdir())) == 2


def test_a_tilde_in_config_is_the_home_directory(home: Path) -> None:
    (home / "mine.yaml").write_text("output: {directory: made}\n")
    assert _generate("--config=~/mine.yaml") == 0
    assert any(folder.is_dir() for folder in (home / "made", Path("made")))


@pytest.fixture
def images(home: Path) -> Path:
    """`~/fox.png` with its sidecar, a mask, a prompt and a request at home."""
    assert _generate("-o", "~/fox.png") == 0
    Image.new("L", (32, 24), 255).save(home / "mask.png")
    (home / "words.txt").write_text("a fox")
    (home / "wanted.json").write_text('{"prompt": "a fox"}')
    return home


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    "words",
    [
        "generate @~/words.txt",
        "generate --from-json=~/wanted.json",
        "generate fox --image=~/fox.png --mask=~/mask.png",
        "generate fox --set image=~/fox.png",
        "generate fox --reference=~/fox.png",
        "generate fox --control=canny:~/fox.png:0.5",
        "edit ~/fox.png bluer",
        "outpaint ~/fox.png --left 8",
        "upscale ~/fox.png",
        "restore ~/fox.png",
        "preprocess canny ~/fox.png",
        "again ~/fox.png",
        "show ~/fox.png",
        "tag ~/fox.png --add good",
        "rate ~/fox.png 5",
        "rm ~/fox.png",
        "library add ~",
        "convert ~/fox.png --to webp",
        "compare fox --models mock --output=~/cells",
    ],
)
def test_a_tilde_in_any_path_is_the_home_directory(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words.split()) == 0, "".join(capsys.readouterr())


def test_a_tilde_of_an_unknown_user_is_kept() -> None:
    assert _generate("-o", os.path.join("~unknown-user", "fox.png")) == 0
    assert Path("~unknown-user/fox.png").is_file()
