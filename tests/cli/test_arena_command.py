"""imagen arena: the ranking in figures, the sets, and the export of votes."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.arena.votes import Contestant, Pair, new_pair_id, record_vote, save_pair
from imagen.cli import run
from imagen.config import load_settings
from imagen.library import open_library

if TYPE_CHECKING:
    import pytest

    from imagen.arena.votes import Choice

_LONG = "juggernautXL_v9Rdphoto2Lightning"


def _vote(first: str, second: str, choice: Choice, times: int, **values: Any) -> None:
    """Votes on pairs of which every other one has its sides exchanged."""
    with open_library(load_settings()) as library:
        for number in range(times):
            left, right = (
                Contestant(backend="gpu", model=name, image=f"compare-a/{name}.png", sha256=name)
                for name in ((first, second) if number % 2 else (second, first))
            )
            won: Choice = choice
            if choice in ("left", "right") and number % 2 == 0:
                won = "right" if choice == "left" else "left"
            known: dict[str, Any] = {
                "id": new_pair_id(),
                "kind": "models",
                "set_id": "compare-a",
                "prompt": "=a fox",
                "seed": "7",
                "left": left,
                "right": right,
                "width": 64,
                "height": 64,
                "voter": "ada",
            }
            pair = Pair(**(known | values))
            save_pair(library, pair)
            record_vote(library, pair.id, won, milliseconds=800)


def test_the_ranking_fits_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _vote("flux1-dev", _LONG, "left", 40)
    _vote("flux1-dev", "sd15", "left", 30)
    _vote("sd15", _LONG, "both_bad", 4)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["arena"]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[-3:]] == ["1", "2–3", "2–3"]
    assert lines[-3].split()[1:3] == ["flux1-dev", "gpu"]
    assert "70" in lines[-3]
    assert shown.err.splitlines() == [
        "The first place is clear.",
        "The left image won 50% (39% to 61%): no sign of side bias.",
        "In 4 votes both images were bad: they count as a tie.",
    ]


def test_the_ranking_is_json_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    _vote("flux1-dev", "sd15", "left", 3)
    _vote("flux1-dev", "sd15", "right", 9, voter="bob")
    assert run(["arena", "--voter", "ada", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["model"] for one in found["contenders"]] == ["flux1-dev", "sd15"]
    assert (found["votes"], [one["name"] for one in found["voters"]]) == (3, ["bob", "ada"])
    assert run(["arena", "ranking", "--csv"]) == 0
    rows = [*csv.DictReader(StringIO(capsys.readouterr().out))]
    assert [(row["model"], row["wins"]) for row in rows] == [("sd15", "9"), ("flux1-dev", "3")]
    assert run(["arena", "--csv", "--json"]) == 2


def test_votes_are_exported(capsys: pytest.CaptureFixture[str]) -> None:
    _vote("flux1-dev", "sd15", "tie", 2)
    assert run(["arena", "export", "--output", "votes.csv"]) == 0
    rows = [*csv.DictReader(StringIO(Path("votes.csv").read_text(encoding="utf-8")))]
    assert [(row["choice"], row["prompt"]) for row in rows] == [("tie", "'=a fox")] * 2
    assert run(["arena", "export", "--format", "json", "--voter", "bob"]) == 0
    assert json.loads(capsys.readouterr().out) == {"votes": []}
    assert run(["arena", "export", "--output", "missing/votes.csv"]) == 5
    assert "cannot be written" in capsys.readouterr().err


def test_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["arena", "list"]) == 0
    assert "Run a comparison first" in capsys.readouterr().err
    Path("imagen.yaml").write_text(
        "backends: {one: {type: mock}, two: {type: mock}}\noutput: {directory: out}\n"
    )
    run(["compare", "a hill", "--models", "one,two", "--size", "32x32", "--seed", "7", "--quiet"])
    capsys.readouterr()
    assert run(["arena", "list", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["sets"]
    assert (one["kind"], one["name"], one["contenders"], one["votes"]) == ("models", "a hill", 2, 0)
    assert run(["arena", "list"]) == 0
    assert one["id"] in capsys.readouterr().out


def test_without_votes_it_says_how_to_vote(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["arena"]) == 0
    assert "no votes yet" in capsys.readouterr().err
    assert run(["arena", "--set", "compare-nope"]) == 2
    assert "The arena has no set 'compare-nope'." in capsys.readouterr().err
