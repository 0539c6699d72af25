"""imagen history: generated images as a table, in pages and as JSON."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.library_samples import NOON, make_image, make_record, record_all, trash_images
from support.terminal_runs import run_on_terminal

from imagen.cli import run
from imagen.config import load_settings
from imagen.library import find_image, open_library
from imagen.library.tags import change_tags, set_rating

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FOX, _OWL, _CAT = "00000001", "00000002", "00000003"


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def album(library_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fox, an owl and two cats, one hour apart; and an image in the trash."""
    monkeypatch.setenv("IMAGEN_LIBRARY", library_url)
    cats = (make_image(3, 0), make_image(3, 1))
    with open_library(load_settings()) as library:
        record_all(
            library,
            [
                make_record(1, "a red fox\nin snow"),
                _later(1, 2, "a grey owl", backend="cloud"),
                _later(2, 3, "two cats", facts={"model": "grey"}, images=cats),
                _later(3, 4, "a mistake"),
            ],
        )
        fox = find_image(library, _FOX)
        change_tags(library, [fox], add=["good", "to print"])
        set_rating(library, [fox], 4)
        trash_images(library, [find_image(library, "00000004")])


def _later(hours: int, number: int, prompt: str, **values: Any) -> Any:
    return make_record(number, prompt, began=NOON + timedelta(hours=hours), **values)


@pytest.fixture
def listed(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """What `imagen history --json` prints."""

    def printed(*arguments: str) -> dict[str, Any]:
        capsys.readouterr()
        assert run(["history", "--json", *arguments]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return printed


@pytest.mark.usefixtures("album")
def test_history_lists_the_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history"]) == 0
    assert capsys.readouterr() == (_LINES, "")


_LINES = """\
00000003.2  2026-11-27 14:00  studio  grey               64x48  8                        two cats
00000003    2026-11-27 14:00  studio  grey               64x48  7                        two cats
00000002    2026-11-27 13:00  cloud   dream.safetensors  64x48  7                        a grey owl
00000001    2026-11-27 12:00  studio  dream.safetensors  64x48  7  ★★★★  good, to print  a red fox in snow
"""  # noqa: E501


@pytest.mark.usefixtures("album")
@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        pytest.param(["fox"], [_FOX], id="a word"),
        pytest.param(["red", "snow"], [_FOX], id="two words"),
        pytest.param(['"snow in"'], [], id="a phrase"),
        pytest.param(["a -owl"], [_FOX], id="without another"),
        pytest.param(["--", "-owl", "a"], [_FOX], id="behind --"),
        pytest.param(["--backend", "cloud"], [_OWL], id="backend"),
        pytest.param(["--model", "grey"], [f"{_CAT}.2", _CAT], id="model"),
        pytest.param(["--rating", "4"], [_FOX], id="rating"),
        pytest.param(["--rating", "5"], [], id="better rating"),
        pytest.param(["--tag", "GOOD", "--tag", "to  print"], [_FOX], id="tags"),
        pytest.param(["--since", "2026-11-27T13:00Z"], [f"{_CAT}.2", _CAT, _OWL], id="since"),
        pytest.param(["--until", "2026-11-27T13:00Z"], [_FOX], id="until"),
        pytest.param(["--until", "2026-11-26"], [], id="until the day before"),
        pytest.param(["--until", "2026-11-27"], [f"{_CAT}.2", _CAT, _OWL, _FOX], id="that day"),
        pytest.param(["--until", "9999-01-01"], [f"{_CAT}.2", _CAT, _OWL, _FOX], id="ever"),
        pytest.param(["--trash"], ["00000004"], id="trash"),
        pytest.param(["--limit", "1"], [f"{_CAT}.2"], id="limit"),
        pytest.param(["--after", f"{_CAT}.2", "--limit", "2"], [_CAT, _OWL], id="after"),
        pytest.param(["--after", _OWL], [_FOX], id="the last page"),
        pytest.param(["a", "--model", "dream.safetensors", "--rating", "1"], [_FOX], id="several"),
    ],
)
def test_history_filters(
    listed: Callable[..., dict[str, Any]], arguments: list[str], ids: list[str]
) -> None:
    assert [image["id"] for image in listed(*arguments)["images"]] == ids


@pytest.mark.usefixtures("album")
def test_history_json_has_all_fields_of_an_image(
    listed: Callable[..., dict[str, Any]],
) -> None:
    (fox,) = listed("fox")["images"]
    assert {name: fox[name] for name in ("id", "generation", "index", "created")} == {
        "id": "00000001",
        "generation": "00000001-0000-4000-8000-000000000000",
        "index": 0,
        "created": "2026-11-27T12:00:00+00:00",
    }
    assert (fox["prompt"], fox["backend"], fox["model"]) == (
        "a red fox\nin snow",
        "studio",
        "dream.safetensors",
    )
    assert (fox["path"], fox["seed"], fox["rating"]) == (
        str(Path("/images/1-0.png").absolute()),
        7,
        4,
    )
    assert (fox["tags"], fox["is_trashed"], fox["cloud"]) == (["good", "to print"], False, None)


@pytest.mark.usefixtures("album")
def test_history_says_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "--limit", "2"]) == 0
    assert capsys.readouterr().err == "To see more, add: --after 00000003\n"
    assert run(["history", "--limit", "2", "--after", "00000003"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("album")
def test_history_json_says_where_the_next_page_begins(
    listed: Callable[..., dict[str, Any]],
) -> None:
    first = listed("--limit", "3")
    assert first["after"] == "00000002-0000-4000-8000-000000000000.1"
    second = listed("--limit", "3", "--after", first["after"])
    assert ([image["id"] for image in second["images"]], second["after"]) == ([_FOX], None)


@pytest.mark.usefixtures("album")
@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        pytest.param(["dragon"], "No images match.\n", id="a word"),
        pytest.param(
            ["--backend", "stduio"],
            "No images match.\nNo image has the backend 'stduio'. Did you mean 'studio'?\n",
            id="backend",
        ),
        pytest.param(
            ["--model", "grye"],
            "No images match.\nNo image has the model 'grye'. Did you mean 'grey'?\n",
            id="model",
        ),
        pytest.param(
            ["--tag", "goood", "--tag", "good"],
            "No images match.\nNo image has the tag 'goood'. Did you mean 'good'?\n",
            id="tag",
        ),
    ],
)
def test_history_explains_why_nothing_was_found(
    capsys: pytest.CaptureFixture[str], arguments: list[str], output: str
) -> None:
    assert run(["history", *arguments]) == 0
    assert capsys.readouterr() == ("", output)


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ([], "The library is empty. Images that you generate will be listed here.\n"),
        (["--trash"], "The trash is empty.\n"),
    ],
    ids=["library", "trash"],
)
def test_history_of_an_empty_library_says_so(
    capsys: pytest.CaptureFixture[str], arguments: list[str], output: str
) -> None:
    assert run(["history", *arguments]) == 0
    assert capsys.readouterr() == ("", output)


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        pytest.param(
            ["--since", "soon"], "'soon' is not a valid date. Write it as 2026-11-27", id="date"
        ),
        pytest.param(
            ["--since", "999999w"], "'999999w' is not a valid date", id="before all dates"
        ),
        pytest.param(["--rating", "6"], "6 is not in the range 1<=x<=5", id="rating"),
        pytest.param(["--limit", "0"], "0 is not in the range x>=1", id="limit"),
        pytest.param(["--after", "0000000f"], "Image '0000000f' was not found", id="after"),
        pytest.param(["..."], "'...' has no word to search for.", id="query"),
        pytest.param(["--tag", "a,b"], "'a,b' is not a valid tag", id="tag"),
    ],
)
def test_history_refuses_invalid_options(
    capsys: pytest.CaptureFixture[str], arguments: list[str], output: str
) -> None:
    assert run(["history", *arguments]) == 2
    assert output in capsys.readouterr().err


def test_history_refuses_a_disabled_library(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("library: {enabled: false}\n")
    assert run(["history", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["message"]) == (
        "config",
        "The library is switched off: library.enabled is false.",
    )


def test_history_lists_a_generated_image(
    listed: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    made = ["generate", "a fox", "--size", "32x32", "--seed", "18446744073709551615"]
    assert run([*made, "--quiet"]) == 0
    path = capsys.readouterr().out.strip()
    (image,) = listed()["images"]
    assert image["path"] == str(Path(path).absolute())
    assert (image["seed"], image["backend"]) == (18446744073709551615, "mock")


def test_control_characters_of_prompts_are_removed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open_library(load_settings()) as library:
        record_all(
            library, [make_record(1, "a\x1b[31m fox\u202e", facts={"model": "m\x07\x1b]0;x"})]
        )
    assert run(["history"]) == 0
    printed = capsys.readouterr().out
    assert printed == ("00000001  2026-11-27 12:00  studio  m]0;x  64x48  7  a[31m fox\n")


@pytest.fixture
def long_prompts() -> None:
    """Prompts that are too long for a line of a terminal."""
    with open_library(load_settings()) as library:
        record_all(library, [make_record(1, "a fox " * 100), _later(1, 2, "雪の中の赤い狐" * 20)])


@pytest.mark.usefixtures("long_prompts")
def test_long_prompts_are_wrapped_and_shortened_below_their_rows() -> None:
    assert run_on_terminal(80, "history").splitlines() == [
        "ID        CREATED           BACKEND  MODEL              SIZE   SEED",
        "00000002  2026-11-27 13:00  studio   dream.safetensors  64x48  7",
        "    雪の中の赤い狐雪の中の赤い狐雪の中の赤い狐雪の中の赤い狐雪の中の赤い狐雪の中",
        "    の赤い狐雪の中の赤い狐雪の中の赤い狐雪の中の赤い狐雪の中の赤い狐雪の中の赤い",
        "    狐雪の中の赤い狐雪の中の赤い狐雪の中の赤い狐雪の中の赤い狐雪の中の赤い狐雪の",
        "    中の赤い狐雪の中の赤い狐雪の中の赤い狐雪の中の赤い狐",
        "00000001  2026-11-27 12:00  studio   dream.safetensors  64x48  7",
        "    a fox a fox a fox a fox a fox a fox a fox a fox a fox a fox a fox a fox a",
        "    fox a fox a fox a fox a fox a fox a fox a fox a fox a fox a fox a fox a fox",
        "    a fox a fox a fox a fox a fox a fox a fox a fox a fox a fox a fox a fox a",
        "    fox a fox a fox…",
    ]


@pytest.mark.usefixtures("album")
def test_a_narrow_terminal_drops_columns_and_keeps_words() -> None:
    assert run_on_terminal(60, "history", "fox").splitlines() == [
        "ID        CREATED           BACKEND  RATING  TAGS",
        "00000001  2026-11-27 12:00  studio   ★★★★    good, to print",
        "    a red fox in snow",
    ]


@pytest.mark.usefixtures("album")
def test_a_wide_terminal_shows_prompts_in_their_rows() -> None:
    assert run_on_terminal(120, "history", "owl").splitlines() == [
        "ID        CREATED           BACKEND  MODEL              SIZE   SEED  PROMPT",
        "00000002  2026-11-27 13:00  cloud    dream.safetensors  64x48  7     a grey owl",
    ]


@pytest.mark.usefixtures("album")
def test_ids_are_coloured_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    shown = run_on_terminal(80, "history", "owl")
    assert "\n\x1b[36m00000002\x1b[0m  2026-11-27 13:00  " in shown
