"""A folder or a pattern in place of an input image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagen.cli import run
from imagen.inputs.folder import in_natural_order


@pytest.fixture(autouse=True)
def _photos() -> None:
    Path("photos/below").mkdir(parents=True)
    for number in (1, 2, 10):
        Image.new("RGB", (64, 48), (number * 20, 0, 0)).save(f"photos/p{number}.jpg")
    Path("photos/p1.jpg.json").write_text("{}")
    Path("photos/.hidden.png").write_text("x")


def _run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert run([*arguments]) == code
    printed = capsys.readouterr()
    return printed.out, printed.err


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    printed: dict[str, Any] = json.loads(_run(capsys, *arguments, "--json", code=code)[0])
    return printed


def _names(printed: dict[str, Any]) -> list[str]:
    """In natural order: jobs may end in another one."""
    return [path.name for path in in_natural_order(Path(path) for path in printed["images"])]


def _jobs(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = _json(capsys, "jobs", "list")["jobs"]
    return listed


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["upscale", "photos"], ["p1-2x.png", "p2-2x.png", "p10-2x.png"]),
        (["upscale", "photos", "--factor", "1.5"], ["p1-1.5x.png", "p2-1.5x.png", "p10-1.5x.png"]),
        (["upscale", "photos/p1*"], ["p1-2x.png", "p10-2x.png"]),
        (
            ["generate", "a fox", "--image", "photos", "-S", "7"],
            ["p1-7.png", "p2-7.png", "p10-7.png"],
        ),
        (["edit", "photos", "blue", "-S", "7"], ["p1-7.png", "p2-7.png", "p10-7.png"]),
        (["restore", "photos/*.jpg"], ["p1-restored.png", "p2-restored.png", "p10-restored.png"]),
        (["preprocess", "canny", "photos/p2*"], ["p2-canny.png"]),
        (["outpaint", "photos/p2*", "--all", "16"], ["p2-outpainted.png"]),
        (["outpaint", "photos/p2*", "--to", "96x96"], ["p2-outpainted.png"]),
    ],
    ids=lambda value: " ".join(value) if len(value) < 4 else None,
)
def test_each_image_is_made_and_named_after_its_input(
    capsys: pytest.CaptureFixture[str], arguments: list[str], names: list[str]
) -> None:
    assert _names(_json(capsys, *arguments)) == names
    assert {path.name for path in Path("outputs").glob("*.png")} == {*names}


def test_the_second_run_makes_only_what_is_new_or_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _run(capsys, "generate", "a fox", "--image", "photos")
    out, err = _run(capsys, "generate", "a fox", "--image", "photos")
    assert out == ""
    assert "3 requests made already." in err
    Image.new("RGB", (64, 48), "blue").save("photos/p2.jpg")
    Image.new("RGB", (64, 48), "green").save("photos/p3.jpg")
    printed = _json(capsys, "generate", "a fox", "--image", "photos")
    assert [name[:3] for name in _names(printed)] == ["p2-", "p3-"]
    assert len(_json(capsys, "generate", "a bear", "--image", "photos")["images"]) == 4


def test_wildcards_are_drawn_for_each_image_and_made_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["generate", "a {red|blue|green} fox", "--image", "photos", "--count", "2"]
    assert len(_json(capsys, *arguments)["images"]) == 6
    assert _json(capsys, *arguments)["images"] == []


def test_nothing_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    Path("outputs").mkdir()
    Path("outputs/p1-2x.png").write_text("mine")
    assert _names(_json(capsys, "upscale", "photos/p1.*")) == ["p1-2x-2.png"]
    assert Path("outputs/p1-2x.png").read_text() == "mine"


def test_the_configured_names_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text('output: {name: "{input}-{backend}"}\n')
    assert _names(_json(capsys, "upscale", "photos/p1.*", "--config", "imagen.yaml")) == [
        "p1-interpolation.png"
    ]


def test_a_bad_file_stops_all_before_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos/bad.png").write_text("junk")
    _, err = _run(capsys, "upscale", "photos", code=2)
    assert "bad.png" in err
    assert "is not an image" in err
    assert not list(Path().glob("outputs/*"))
    assert _jobs(capsys) == []


def test_keep_going_leaves_bad_files_out(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos/bad.png").write_text("junk")
    Image.new("RGB", (200, 200)).save("photos/large.png")
    arguments = ["outpaint", "photos", "--to", "96x96", "--keep-going"]
    capsys.readouterr()
    assert run(arguments) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 3
    assert "bad.png" in printed.err
    assert "large.png: --to 96x96 is smaller than the image" in printed.err


def test_a_dry_run_lists_the_images_and_makes_none(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = _run(capsys, "upscale", "photos", "--dry-run")
    assert "p1.jpg: upscale" in out
    assert "Requests: 3. Jobs: 3. Images: 3." in out
    assert _jobs(capsys) == []


def test_detached_images_are_one_batch(capsys: pytest.CaptureFixture[str]) -> None:
    printed = _json(capsys, "upscale", "photos", "--detach")
    assert len(printed["jobs"]) == 3
    (batch,) = _jobs(capsys)
    assert (batch["id"], batch["name"]) == (printed["job"], "upscale photos: 3 images")
    assert _json(capsys, "upscale", "photos", "--detach")["job"] == printed["job"]


def test_a_folder_by_interpolation_runs_nobody_elses_jobs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _run(capsys, "generate", "a fox", "--detach")
    _run(capsys, "upscale", "photos")
    assert [job["state"] for job in _jobs(capsys) if job["name"] == "a fox"] == ["queued"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["upscale", "photos", "-o", "photos"], "be inputs the next time"),
        (["upscale", "photos", "-o", "fox.png"], "--output must name a folder"),
        (["jobs", "every", "0 7 * * *", "--", "upscale", "photos"], "only one can be used here"),
        (["upscale", "photos/below"], "photos/below has no images."),
        (["upscale", "none/*.png"], "No image matches 'none/*.png'."),
        (["upscale", "photos/p1.jpg", "photos/p2.jpg"], "Put quotes around a pattern"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_use_is_explained(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in _run(capsys, *arguments, code=2)[1]
