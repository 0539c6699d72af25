"""imagen show with the library: by ID, and for files without metadata."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.library_samples import make_delivery, make_image, make_record, trash_images

from imagen.cli import run
from imagen.config import load_settings
from imagen.library import Library, find_image, open_library, record_generation
from imagen.library.outbox import claim, mark_failed, mark_sent
from imagen.library.tags import change_tags, set_rating

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def library() -> Iterator[Library]:
    """The usual library, empty."""
    with open_library(load_settings()) as library:
        yield library


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """The lines that `imagen show` prints."""

    def printed(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert run(["show", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return printed


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """What `imagen show --json` prints."""

    def printed(*arguments: str) -> dict[str, Any]:
        capsys.readouterr()
        assert run(["show", "--json", *arguments]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return printed


def _mute(name: str = "fox.png") -> Path:
    """An image without metadata."""
    path = Path(name)
    Image.new("RGB", (64, 48)).save(path)
    return path.absolute()


def test_show_of_an_id_has_the_lines_of_its_sidecar(
    lines: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    made = ["generate", "a fox", "--seed", "3", "--size", "32x32", "--cfg", "2", "-o", "fox.png"]
    assert run([*made, "--quiet"]) == 0
    capsys.readouterr()
    assert run(["history", "--json"]) == 0
    id = json.loads(capsys.readouterr().out)["images"][0]["id"]
    by_id, by_file = lines(id), lines("fox.png.json")
    assert by_id[:2] == [f"id: {id}", f"path: {Path('fox.png').absolute()}"]
    assert by_id[2].startswith("generated: 2")
    assert [line for line in by_id[3:] if not line.startswith("created: ")] == [
        line for line in by_file if not line.startswith("created: ")
    ]


def test_show_of_an_id_prints_what_the_library_knows(
    library: Library, lines: Callable[..., list[str]]
) -> None:
    hook = make_delivery(1, "webhook").model_copy(
        update={"destination": "https://hooks.example/s3cret"}
    )
    output = [make_delivery(1, "cloud"), hook, make_delivery(1, "mirror")]
    record_generation(
        library, make_record(1, estimated_usd=0.03, warnings=("A bit dark.",)), output
    )
    fox = find_image(library, "00000001")
    change_tags(library, [fox], add=["good", "print"])
    set_rating(library, [fox], 4)
    trash_images(library, [fox])
    cloud, webhook, _ = claim(library)
    place = {"bucket": "imagen-generated", "path": "2026-11-27/a-fox-7.png", "id": "9"}
    mark_sent(library, cloud, place)
    mark_failed(library, webhook, "Refused: 410 Gone.", again_in_seconds=None)
    found = lines("00000001")
    assert found[1] == f"path: {Path('/images/1-0.png').absolute()} (in the trash)"
    assert found[3:11] == [
        "rating: ★★★★",
        "tags: good, print",
        "cloud: imagen-generated/2026-11-27/a-fox-7.png",
        "caller: ada",
        "cost: $0.03 (estimated)",
        "warning: A bit dark.",
        "delivery: cloud: sent",
        "delivery: webhook hooks.example: stuck: Refused: 410 Gone.",
    ]
    assert found[11] == "delivery: mirror: waiting"
    assert "prompt: a fox" in found
    assert [line for line in found if "s3cret" in line] == []


def test_show_json_of_an_id_has_what_the_library_knows(
    library: Library, shown: Callable[..., dict[str, Any]]
) -> None:
    record_generation(library, make_record(1, estimated_usd=0.03), [make_delivery(1, "mirror")])
    output = shown("00000001-0000")
    assert (output["backend"], output["resolved"]["prompt"]) == ("studio", "a fox")
    kept_there = output["library"]
    assert (kept_there["id"], kept_there["caller"]) == ("00000001", "ada")
    assert (kept_there["cost"], kept_there["estimated_cost"], kept_there["currency"]) == (
        0.03,
        0.03,
        "USD",
    )
    assert [(d["kind"], d["state"], d["host"]) for d in kept_there["deliveries"]] == [
        ("mirror", "waiting", None)
    ]


def test_show_reports_an_unknown_cost(library: Library, lines: Callable[..., list[str]]) -> None:
    record_generation(library, make_record(1, is_paid=True))
    assert "cost: unknown" in lines("00000001")


def test_the_second_image_of_a_batch_has_its_own_seed(
    library: Library, shown: Callable[..., dict[str, Any]]
) -> None:
    record_generation(library, make_record(1, images=(make_image(1, 0), make_image(1, 1))))
    assert (shown("00000001")["file"]["seed"], shown("00000001.2")["file"]["seed"]) == (7, 8)


def test_show_finds_a_stripped_file_in_the_library(
    library: Library, lines: Callable[..., list[str]]
) -> None:
    record_generation(library, make_record(1, "a fox", images=(make_image(1, 0, _mute()),)))
    assert "prompt: a fox" in lines("fox.png")
    Path("fox.png").rename("moved.png")
    assert "id: 00000001" in lines("moved.png")


def test_show_finds_a_damaged_file_by_its_path(
    library: Library, lines: Callable[..., list[str]]
) -> None:
    path = _mute()
    record_generation(library, make_record(1, "a fox", images=(make_image(1, 0, path),)))
    path.write_bytes(path.read_bytes()[:40])
    assert "prompt: a fox" in lines("fox.png")


@pytest.mark.usefixtures("library")
def test_show_refuses_an_unknown_file_without_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    _mute()
    assert run(["show", "fox.png"]) == 5
    assert capsys.readouterr().err == (
        "imagen: fox.png does not say how it was made.\n"
        "imagen show reads PNG, JPEG, WebP and AVIF images, and the JSON files beside them.\n"
    )


def test_show_refuses_a_file_without_metadata_if_the_library_is_disabled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("imagen.yaml").write_text("library: {enabled: false}\n")
    _mute()
    assert run(["show", "fox.png"]) == 5
    assert "fox.png does not say how it was made." in capsys.readouterr().err


def test_show_reports_an_unavailable_library(capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes.db").write_bytes(b"dear diary, " * 400)
    Path("imagen.yaml").write_text("library: {url: notes.db}\n")
    _mute()
    assert run(["show", "fox.png"]) == 5
    output = capsys.readouterr().err
    assert "fox.png does not say how it was made." in output
    assert "The library could not be searched: " in output


@pytest.mark.parametrize(
    ("word", "code", "output"),
    [
        pytest.param("0000000f", 2, "Image '0000000f' was not found", id="an ID"),
        pytest.param(
            "fxo.png", 5, "There is no file fxo.png. Did you mean 'fox.png'?", id="a file"
        ),
    ],
)
def test_show_refuses_an_unknown_id(
    library: Library, capsys: pytest.CaptureFixture[str], word: str, code: int, output: str
) -> None:
    record_generation(library, make_record(1, images=(make_image(1, 0, _mute()),)))
    assert run(["show", word]) == code
    assert output in capsys.readouterr().err


def test_show_of_an_id_needs_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("library: {enabled: false}\n")
    assert run(["show", "00000001"]) == 2
    assert "The library is switched off" in capsys.readouterr().err


def test_show_names_the_machine_of_an_image(
    library: Library, lines: Callable[..., list[str]]
) -> None:
    from sqlalchemy import update

    from imagen.library.schema import images

    record_generation(library, make_record(1))
    with library.writing() as connection:
        connection.execute(update(images).values(host="attic", missing_ms=1))
    assert lines("00000001")[1].endswith("/images/1-0.png (on attic, missing)")


def test_show_of_a_file_with_metadata_does_not_open_the_library() -> None:
    assert run(["generate", "a fox", "--size", "32x32", "-q", "-o", "fox.png"]) == 0
    program = (
        "import sys\nfrom imagen.cli import run\nrun(['show', 'fox.png'])\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "prompt: a fox" in ran.stdout
    assert {"sqlalchemy", "PIL"} & set(ran.stdout.splitlines()[-1].split()) == set()
