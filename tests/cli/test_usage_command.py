"""imagen usage: images, time and cost, as a table and as JSON."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from support.library_samples import NOON, make_failure, make_record, uuid_of

from imagen.cli import run
from imagen.cli.commands.usage import GROUPINGS
from imagen.config import UsageSettings, load_settings
from imagen.library import open_library, record_generation
from imagen.library.ledger import UsageGrouping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.library import GenerationRecord

_ELECTRICITY = UsageSettings(currency="CHF", watts={"studio": 360.0}, price_per_kwh=0.25)


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def _made(number: int, days: int, seconds: float, backend: str, **values: Any) -> GenerationRecord:
    facts = {"model": f"{backend}-model", "executing_seconds": seconds}
    facts |= {"cost_usd": values.pop("usd")} if "usd" in values else {}
    began = NOON + timedelta(days=days)
    return make_record(number, began=began, backend=backend, facts=facts, **values)


@pytest.fixture
def month(library_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four weeks of two engines: a local one with known electricity costs, and a paid one."""
    monkeypatch.setenv("IMAGEN_LIBRARY", library_url)
    with open_library(load_settings()) as library:
        for made in (
            _made(1, -21, 1000.0, "studio"),
            _made(2, -14, 3000.0, "studio", caller="eve"),
            _made(3, -1, 2.0, "cloud", estimated_usd=0.03, usd=0.04),
            _made(4, 0, 2.5, "cloud", estimated_usd=0.03),
            _made(5, 0, 1.5, "cloud", is_paid=True),
            make_failure(6),
        ):
            record_generation(library, made, costs=_ELECTRICITY)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """The lines of `imagen usage`."""

    def lines(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert run(["usage", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return lines


@pytest.mark.usefixtures("month")
def test_usage_groups_by_week_backend_model_and_caller(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["usage", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["by"] == ["week", "backend", "model", "caller"]
    keys = [tuple(group[name] for name in output["by"]) for group in output["groups"]]
    assert keys == [
        ("2026-W45", "studio", "studio-model", "ada"),
        ("2026-W46", "studio", "studio-model", "eve"),
        ("2026-W48", "cloud", "cloud-model", "ada"),
    ]


@pytest.mark.usefixtures("month")
def test_usage_prints_a_table_with_a_total(printed: Callable[..., list[str]]) -> None:
    assert printed("--by", "backend") == [
        "backend  generations  images  engine time              cost  expected  unknown",
        "cloud              3       3        6.0 s             $0.07     $0.06        1",
        "studio             2       2    1 h 7 min          0.10 CHF",
        "total              5       5    1 h 7 min  0.10 CHF + $0.07     $0.06        1",
    ]


@pytest.mark.usefixtures("month")
def test_usage_groups_by_other_columns(printed: Callable[..., list[str]]) -> None:
    assert printed("--by", "week, caller") == [
        "week      caller  generations  images  engine time              cost  expected  unknown",
        "2026-W45  ada               1       1  16 min 40 s         0.025 CHF",
        "2026-W46  eve               1       1   50 min 0 s         0.075 CHF",
        "2026-W48  ada               3       3        6.0 s             $0.07     $0.06        1",
        "total                       5       5    1 h 7 min  0.10 CHF + $0.07     $0.06        1",
    ]


@pytest.mark.usefixtures("month")
def test_usage_without_groups_is_one_line(printed: Callable[..., list[str]]) -> None:
    assert printed("--by", "", "--until", "2026-11-20") == [
        "generations  images  engine time      cost",
        "          2       2    1 h 7 min  0.10 CHF",
    ]


@pytest.mark.usefixtures("month")
def test_usage_reports_unknown_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["usage"]) == 0
    assert capsys.readouterr().err == (
        "The cost of 1 paid generation is unknown and not included.\n"
    )


@pytest.mark.usefixtures("month")
def test_usage_is_limited_to_a_period(printed: Callable[..., list[str]]) -> None:
    assert printed("--since", "2026-11-26", "--until", "2026-11-26", "--by", "day") == [
        "day         generations  images  engine time   cost  expected",
        "2026-11-26            1       1        2.0 s  $0.04     $0.03",
        "total                 1       1        2.0 s  $0.04     $0.03",
    ]


@pytest.mark.usefixtures("month")
def test_usage_json_has_groups_and_total(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["usage", "--since", "2026-11-27", "--by", "backend,month", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["by"] == ["backend", "month"]
    assert output["groups"] == [
        {
            "day": None,
            "week": None,
            "model": None,
            "caller": None,
            "backend": "cloud",
            "month": "2026-11",
            "generations": 2,
            "images": 2,
            "latency_seconds": 0.0,
            "engine_seconds": 4.0,
            "costs": [{"currency": "USD", "amount": 0.03}],
            "estimates": [{"currency": "USD", "amount": 0.03}],
            "unknown": 1,
        }
    ]
    assert output["total"]["generations"] == 2


def test_sums_are_rounded(
    library_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGEN_LIBRARY", library_url)
    with open_library(load_settings()) as library:
        for number in (1, 2, 3):
            record_generation(library, _made(number, 0, 0.1, "cloud", estimated_usd=0.1, usd=0.1))
    assert run(["usage", "--json"]) == 0
    total = json.loads(capsys.readouterr().out)["total"]
    assert (total["engine_seconds"], total["costs"], total["estimates"]) == (
        0.3,
        [{"currency": "USD", "amount": 0.3}],
        [{"currency": "USD", "amount": 0.3}],
    )


@pytest.mark.usefixtures("month")
def test_usage_raw_lists_each_generation(printed: Callable[..., list[str]]) -> None:
    assert printed("--raw", "--since", "2026-11-26") == [
        "created              id        backend  model        seed  images  engine time     cost"
        "  caller",
        "2026-11-26 12:00:02  00000003  cloud    cloud-model     7       1        2.0 s    $0.04"
        "     ada",
        "2026-11-27 12:00:02  00000004  cloud    cloud-model     7       1        2.5 s    $0.03"
        "     ada",
        "2026-11-27 12:00:02  00000005  cloud    cloud-model     7       1        1.5 s  unknown"
        "     ada",
    ]


def test_usage_raw_of_an_empty_ledger_prints_nothing(printed: Callable[..., list[str]]) -> None:
    assert printed("--raw") == []


@pytest.mark.usefixtures("month")
def test_usage_uses_the_configured_time_zone(printed: Callable[..., list[str]]) -> None:
    Path("imagen.yaml").write_text("usage: {timezone: Pacific/Auckland}")
    assert printed("--raw", "--since", "2026-11-27", "--until", "2026-11-27")[1].startswith(
        "2026-11-27 01:00:02  00000003"
    )
    days = [line.split()[0] for line in printed("--by", "day", "--since", "2026-11-27")]
    assert days == ["day", "2026-11-27", "2026-11-28", "total"]


@pytest.mark.usefixtures("month")
def test_usage_raw_json_has_each_generation(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["usage", "--raw", "--until", "2026-11-06", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["generation"], row["at"]) == (uuid_of(1), "2026-11-06T12:00:02+00:00")
    assert (row["cost"], row["currency"], row["is_paid"]) == (pytest.approx(0.025), "CHF", False)


def test_usage_of_an_empty_ledger_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["usage"]) == 0
    assert capsys.readouterr() == ("", "There was no usage in this period.\n")
    assert run(["usage", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["groups"], output["total"]) == ([], None)
    assert run(["usage", "--raw", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"rows": []}


@pytest.mark.parametrize(
    ("by", "output"),
    [
        ("weeks", "--by: unknown group 'weeks'. Did you mean 'week'?"),
        ("backend,colour", "--by: unknown group 'colour'. Known: day"),
    ],
    ids=["near", "far"],
)  # fmt: skip
def test_usage_refuses_an_unknown_group(
    by: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["usage", "--by", by]) == 2
    assert output in " ".join(capsys.readouterr().err.split())


def test_usage_accepts_every_group_of_the_ledger() -> None:
    assert get_args(UsageGrouping) == GROUPINGS


def test_usage_counts_a_generated_image(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("usage: {watts: {mock: 3.6e9}, price_per_kwh: 1.0}\n")
    assert run(["generate", "a fox", "--size", "32x32", "--count", "2", "--quiet"]) == 0
    capsys.readouterr()
    assert run(["usage", "--json", "--since", "today"]) == 0
    (mock,) = json.loads(capsys.readouterr().out)["groups"]
    assert (mock["backend"], mock["images"], mock["unknown"]) == ("mock", 2, 0)
    assert mock["costs"][0]["amount"] > 0


@pytest.mark.parametrize(
    ("width", "heading"),
    [
        (120, "WEEK BACKEND MODEL CALLER GENERATIONS IMAGES ENGINE TIME COST EXPECTED"),
        (80, "WEEK BACKEND MODEL CALLER IMAGES ENGINE TIME COST"),
        (60, "WEEK, BACKEND, MODEL, CALLER IMAGES ENGINE TIME COST"),
    ],
)
def test_usage_with_four_groups_fits_the_terminal(
    width: int, heading: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = _made(1, 0, 2.0, "studio-01", estimated_usd=0.03, usd=0.04, caller="nora-vega")
    facts = dict(made.facts) | {"model": "model-01.safetensors"}
    with open_library(load_settings()) as library:
        record_generation(library, made.model_copy(update={"facts": facts}))
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["usage"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert " ".join(lines[0].split()) == heading
