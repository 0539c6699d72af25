"""Status, usage, budgets, doctor and the configuration over HTTP."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from support.live_server import LiveServer, live_server, server_settings

from imagen.config import Budget
from imagen.runtime.usage_export import write_csv
from imagen.views.usage import UsageRowView

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that has generated two images."""
    budgets = Budget(amount=5, per="day"), Budget(amount=1, per="run", backend="mock")
    folder = tmp_path_factory.mktemp("server")
    settings = server_settings(folder=folder, budgets=budgets)
    with live_server(settings) as server:
        for prompt in ("a fox", "a hare"):
            body = {"request": {"prompt": prompt, "width": 32, "height": 32, "model": "mock-dusk"}}
            made = server.client.post("/api/v1/generations", json=body).json()
            assert server.wait_for_job(made["job"])["state"] == "done"
        yield server


def _get(server: LiveServer, path: str, status: int = 200, **query: Any) -> Any:
    answer = server.client.get(f"/api/v1{path}", params=query)
    assert answer.status_code == status, answer.text[:300]
    return answer.json()


def test_status_says_what_the_server_does(shared: LiveServer) -> None:
    status = _get(shared, "/status")
    assert (status["backend"], status["has_worker"], status["workers"]) == ("mock", True, 1)
    assert status["queue"] == {"running": 0, "waiting": 0, "pools": {}, "unserved": {}}
    assert status["uptime_seconds"] > 0


def test_status_says_which_model_an_engine_has_loaded(shared: LiveServer) -> None:
    (engine,) = _get(shared, "/status", check=True)["engines"]
    assert (engine["backends"], engine["model"], engine["busy"]) == (["mock"], "mock-dusk", 0)
    assert engine["paused"] is None


def test_usage_is_summed_by_groups(shared: LiveServer) -> None:
    usage = _get(shared, "/usage", by=["backend", "model"])
    (group,) = usage["groups"]
    assert (group["backend"], group["images"], group["day"]) == ("mock", 2, None)
    assert usage["total"]["generations"] == 2
    assert _get(shared, "/usage", until="2020-01-01")["total"] is None


def test_usage_is_downloaded_as_csv_and_json(shared: LiveServer) -> None:
    rows = _get(shared, "/usage/generations")["rows"]
    table = shared.client.get("/api/v1/usage/export").raise_for_status()
    assert table.headers["content-type"].startswith("text/csv")
    assert table.headers["content-disposition"] == 'attachment; filename="imagen-usage.csv"'
    lines = [*csv.DictReader(StringIO(table.text))]
    assert [line["generation"] for line in lines] == [row["generation"] for row in rows]
    assert (lines[0]["model"], lines[0]["cost"], lines[0]["images"]) == ("mock-dusk", "", "1")
    assert _get(shared, "/usage/export", format="json")["rows"] == rows
    none = shared.client.get("/api/v1/usage/export", params={"until": "2020-01-01"})
    assert [*csv.DictReader(StringIO(none.text))] == []


def test_a_downloaded_name_is_not_a_formula() -> None:
    row = dict.fromkeys(UsageRowView.model_fields, None) | {"model": "=1+1", "cost": -1.5}
    (line,) = csv.DictReader(StringIO("".join(write_csv([row]))))
    assert (line["model"], line["cost"]) == ("'=1+1", "-1.5")


def test_usage_of_models_says_what_an_image_takes(shared: LiveServer) -> None:
    (used,) = _get(shared, "/usage/models")["models"]
    assert (used["backend"], used["model"], used["images"]) == ("mock", "mock-dusk", 2)
    assert used["seconds"] > 0
    assert used["usd"] is None  # it is free


def test_status_says_how_large_an_upload_may_be(shared: LiveServer) -> None:
    status = _get(shared, "/status")
    assert (status["max_upload_bytes"], status["model"]) == (50 * 2**20, None)


def test_generations_of_the_ledger_come_in_pages(shared: LiveServer) -> None:
    (first,) = _get(shared, "/usage/generations", limit=1)["rows"]
    (second,) = _get(shared, "/usage/generations", after=first["generation"])["rows"]
    assert first["generation"] != second["generation"]
    assert _get(shared, "/usage/generations", after=second["generation"])["rows"] == []


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/usage", {"by": "colour"}, 400),
        ("/usage", {"since": "yesterday"}, 400),
        ("/usage", {"since": "0001-01-01"}, 400),
        ("/usage/generations", {"after": "nothing"}, 404),
        ("/usage/generations", {"limit": "0"}, 400),
    ],
)
def test_wrong_questions_are_problems(
    shared: LiveServer, path: str, query: dict[str, str], status: int
) -> None:
    assert _get(shared, path, status, **query)["status"] == status


def test_budgets_say_how_far_they_are_used(shared: LiveServer) -> None:
    day, run = _get(shared, "/budgets")["budgets"]
    assert (day["amount"], day["per"], day["spent"], day["unknown"]) == (5, "day", 0, 0)
    assert (run["backend"], run["spent"]) == ("mock", None)


def test_doctor_checks_the_settings_of_the_server(shared: LiveServer) -> None:
    report = _get(shared, "/doctor", quick=True)
    subjects = {one["subject"] for one in report["findings"]}
    assert {"mock", "imagen"} <= subjects, subjects
    assert all(one["state"] in ("ok", "note", "warning", "broken") for one in report["findings"])


def test_the_configuration_is_shown_without_secrets(shared: LiveServer) -> None:
    config = _get(shared, "/config")
    assert config["backends"]["mock"]["type"] == "mock"
    assert config["budgets"][0]["amount"] == 5
    assert _get(shared, "/config/check")["ok"] is True
