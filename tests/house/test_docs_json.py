"""Every field that `--json` prints is documented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from simulators.supabase import SERVICE_KEY, Supabase
from support.library_samples import make_failure
from support.other_tools_images import A1111, png
from support.pages import section

from imagen.cli import run
from imagen.config import load_settings
from imagen.core.request import TASKS
from imagen.library import open_library, record_generation
from imagen.library.tokens import add_token

if TYPE_CHECKING:
    from collections.abc import Iterator

_OF_PARAMETERS = {"request", "resolved", "receipt", "parameters", "without"}
_OF_ENGINES = {"payload", "graph", "kinds"}
_OF_SETTINGS = {"limits", "output", "styles", "library", "cloud", "usage"}
_ELSEWHERE = _OF_PARAMETERS | _OF_ENGINES | _OF_SETTINGS
"""Objects whose keys are documented elsewhere, or belong to engines."""
_DOCUMENTED = section("docs/reference/json.md", "JSON") + section(
    "docs/reference/workflows.md", "The manifest"
)
_SMALL = ["a fox", "--size", "32x32", "--seed", "1", "--json"]


@pytest.fixture
def library() -> None:
    """An image fox.png with its sidecar, and a generation that failed."""
    run(["generate", *_SMALL, "--quiet", "--output", "fox.png"])
    png("cat.png", parameters=A1111)
    Path("prompts.txt").write_text("a bear\nan owl\n")
    Path("cut.png").write_bytes(Path("cat.png").read_bytes()[:300])
    with open_library(load_settings()) as library:
        record_generation(library, make_failure())
        add_token(library, "kid", ["read"])


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["generate", *_SMALL], id="generate"),
        pytest.param(["generate", *_SMALL, "--dry-run"], id="generate --dry-run"),
        pytest.param(["generate", "a fox", "--size", "4", "--json"], id="an error"),
        pytest.param(["generate", "a fox", "--backend", "missing", "--json"], id="another error"),
        pytest.param(["compare", *_SMALL, "--models", "mock"], id="compare"),
        pytest.param(["compare", *_SMALL, "-m", "mock", "--dry-run"], id="compare --dry-run"),
        pytest.param(["batch", "prompts.txt", *_SMALL[1:]], id="batch"),
        pytest.param(["batch", "prompts.txt", *_SMALL[1:], "--dry-run"], id="batch --dry-run"),
        pytest.param(["backends", "--json"], id="backends"),
        pytest.param(["backends", "show", "mock", "--json"], id="backends show"),
        pytest.param(["backends", "show", "mock", "--check", "--json"], id="show --check"),
        pytest.param(["models", "--json"], id="models"),
        pytest.param(["upscale", "fox.png", "--json"], id="upscale"),
        pytest.param(["upscale", "fox.png", "--dry-run", "--json"], id="upscale --dry-run"),
        pytest.param(["workflows", "list", "--json"], id="workflows list"),
        pytest.param(["workflows", "show", "flux1-schnell", "--json"], id="workflows show"),
        pytest.param(["workflows", "check", "flux1-schnell", "--json"], id="workflows check"),
        pytest.param(["config", "validate", "--json"], id="config validate"),
        pytest.param(["config", "show", "--json"], id="config show"),
        pytest.param(["doctor", "--json"], id="doctor"),
        pytest.param(["again", "fox.png", "--quiet", "--json"], id="again"),
        pytest.param(["again", "cat.png", "--dry-run", "--json"], id="again, with drift"),
        pytest.param(["library", "add", ".", "--json"], id="library add"),
        pytest.param(["library", "check", "--json"], id="library check"),
        pytest.param(["show", "fox.png", "--json"], id="show"),
        pytest.param(["history", "--json"], id="history"),
        pytest.param(["history", "--failed", "--json"], id="history --failed"),
        pytest.param(["tag", "fox.png", "--add", "x", "--json"], id="tag"),
        pytest.param(["rate", "fox.png", "4", "--json"], id="rate"),
        pytest.param(["rm", "fox.png", "--json"], id="rm"),
        pytest.param(["trash", "list", "--json"], id="trash list"),
        pytest.param(["usage", "--by", "week,caller,model", "--json"], id="usage"),
        pytest.param(["usage", "--raw", "--json"], id="usage --raw"),
        pytest.param(["arena", "--json"], id="arena"),
        pytest.param(["arena", "list", "--json"], id="arena list"),
        pytest.param(["show", "fox.png.json", "--json"], id="show, from the sidecar"),
        pytest.param(["resume", "--json"], id="resume"),
        pytest.param(["generate", *_SMALL, "--detach"], id="generate --detach"),
        pytest.param(["jobs", "every", "--list", "--json"], id="jobs every --list"),
        pytest.param(["jobs", "prune", "--json"], id="jobs prune"),
        pytest.param(["worker", "--status", "--json"], id="worker --status"),
        pytest.param(["tokens", "add", "phone", "--json"], id="tokens add"),
        pytest.param(["tokens", "list", "--json"], id="tokens list"),
    ],
)
def test_each_field_is_documented(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    run(arguments)
    fields = set(_fields(json.loads(capsys.readouterr().out))) - {*TASKS}
    assert sorted(field for field in fields if not _is_documented(field)) == []


@pytest.mark.parametrize(
    "line",
    ["list", "show last", "cancel last", "wait last", "retry last", "move last --first"],
)
def test_each_field_of_jobs_is_documented(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(["generate", "a fox", "--detach", "--quiet"])
    if line.startswith(("wait", "retry")):
        run(["jobs", "cancel", "last"])
    capsys.readouterr()
    run(["jobs", *line.split(), "--json"])
    fields = set(_fields(json.loads(capsys.readouterr().out)))
    assert fields
    assert [field for field in fields if not _is_documented(field)] == []


@pytest.fixture
def _cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cloud that has fox.png, and a pending delivery of cat.png."""
    Path("imagen.yaml").write_text("owner_user_id: 3b241101-e2bb-4255-8caf-4136c566a962")
    with Supabase() as cloud:
        monkeypatch.setenv("SUPABASE_URL", cloud.url)
        monkeypatch.setenv("SUPABASE_SERVICE_KEY", SERVICE_KEY)
        run(["generate", *_SMALL, "--quiet", "--output", "fox.png"])
        run(["sync"])
        run(["generate", *_SMALL, "--quiet", "--output", "cat.png"])
        yield


@pytest.mark.usefixtures("_cloud")
@pytest.mark.parametrize("line", ["sync --list --json", "sync --json", "url fox.png --json"])
def test_each_field_of_deliveries_is_documented(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(line.split()) == 0
    fields = set(_fields(json.loads(capsys.readouterr().out)))
    assert [field for field in fields if not _is_documented(field)] == []


def _is_documented(field: str) -> bool:
    return f"{field}`" in _DOCUMENTED or f"{field}[]" in _DOCUMENTED


def _fields(value: Any) -> Iterator[str]:
    """The keys in a JSON value, except those documented elsewhere."""
    if isinstance(value, list):
        for item in value:
            yield from _fields(item)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from () if name in _ELSEWHERE else _fields(inner)
