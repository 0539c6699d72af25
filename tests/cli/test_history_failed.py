"""imagen history --failed: failed generations as a table, in pages and as JSON."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.library_samples import NOON, make_failure, make_record, record_all

from imagen.cli import run
from imagen.config import load_settings
from imagen.library import open_library

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def mishaps(library_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fox and an owl that failed, and a dog that did not."""
    monkeypatch.setenv("IMAGEN_LIBRARY", library_url)
    with open_library(load_settings()) as library:
        record_all(
            library,
            [
                make_failure(1, prompt="a red fox\nin snow"),
                make_failure(
                    2,
                    prompt="a grey owl",
                    began=NOON + timedelta(hours=1),
                    backend="cloud",
                    facts={},
                ),
                make_record(3, "a dog"),
            ],
        )


@pytest.mark.usefixtures("mishaps")
def test_history_failed_lists_the_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "--failed"]) == 0
    assert capsys.readouterr() == (_LINES, "")


_LINES = """\
00000002  2026-11-27 13:00  cloud                      Out of memory.  a grey owl
00000001  2026-11-27 12:00  studio  dream.safetensors  Out of memory.  a red fox in snow
"""


@pytest.mark.usefixtures("mishaps")
@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        pytest.param([], ["00000002", "00000001"], id="all"),
        pytest.param(["fox"], ["00000001"], id="a word"),
        pytest.param(["--backend", "cloud"], ["00000002"], id="backend"),
        pytest.param(["--model", "dream.safetensors"], ["00000001"], id="model"),
        pytest.param(["--since", "2026-11-27T13:00Z"], ["00000002"], id="since"),
        pytest.param(["--until", "2026-11-27T13:00Z"], ["00000001"], id="until"),
        pytest.param(["--limit", "1"], ["00000002"], id="limit"),
        pytest.param(["--after", "00000002"], ["00000001"], id="after"),
    ],
)
def test_history_failed_filters(
    capsys: pytest.CaptureFixture[str], arguments: list[str], ids: list[str]
) -> None:
    assert run(["history", "--failed", "--json", *arguments]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)["failures"]] == ids


@pytest.mark.usefixtures("mishaps")
def test_history_failed_says_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "--failed", "--limit", "1"]) == 0
    assert capsys.readouterr().err == "To see more, add: --after 00000002\n"
    assert run(["history", "--failed", "--limit", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["after"] == "00000002-0000-4000-8000-000000000000"


@pytest.mark.usefixtures("mishaps")
def test_history_failed_json_has_all_fields(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "--failed", "--json", "owl"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "failures": [
            {
                "id": "00000002",
                "generation": "00000002-0000-4000-8000-000000000000",
                "created": "2026-11-27T13:00:00+00:00",
                "backend": "cloud",
                "model": "",
                "prompt": "a grey owl",
                "caller": "ada",
                "error": {"code": "failed", "message": "Out of memory."},
            }
        ],
        "after": None,
    }


@pytest.mark.usefixtures("mishaps")
def test_history_failed_says_that_none_match(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "--failed", "dog"]) == 0
    assert capsys.readouterr() == ("", "No failed generations match.\n")


def test_history_failed_says_that_nothing_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "--failed"]) == 0
    assert capsys.readouterr() == ("", "No generation has failed.\n")


@pytest.mark.parametrize("flag", ["--rating=4", "--tag=good", "--lora=ink", "--trash", "--missing"])
def test_history_failed_refuses_filters_of_images(
    capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert run(["history", "--failed", flag]) == 2
    assert (
        "--failed cannot be combined with --rating, --tag, --lora, --album, --trash or --missing"
        in capsys.readouterr().err
    )


def test_control_characters_of_engine_errors_are_removed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open_library(load_settings()) as library:
        error = {"code": "failed", "message": "Node 3:\n\x1b[31mout of memory"}
        record_all(library, [make_record(1, state="failed", images=(), error=error)])
    assert run(["history", "--failed"]) == 0
    assert capsys.readouterr().out == (
        "00000001  2026-11-27 12:00  studio  dream.safetensors  Node 3: [31mout of memory  a fox\n"
    )


def test_history_failed_lists_a_failed_generation(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("backends: {failing: {type: mock, fail: failed}}")
    assert run(["generate", "a fox", "--backend", "failing", "--quiet"]) == 4
    capsys.readouterr()
    assert run(["history", "--failed", "--json"]) == 0
    (failure,) = json.loads(capsys.readouterr().out)["failures"]
    assert (failure["backend"], failure["prompt"], failure["error"]["code"]) == (
        "failing",
        "a fox",
        "failed",
    )
