"""Output that fits the terminal, and output in a pipe."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.library_samples import NOON, make_delivery, make_record, record_all, uuid_of
from support.terminal_runs import run_on_terminal

from imagen import Request
from imagen.cli import run
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import display_width, split_words, wrap
from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.core.ticket import Ticket
from imagen.jobs import file_store
from imagen.library import find_image, open_library, outbox, record_generation
from imagen.library.tags import change_tags, set_rating
from imagen.pipeline.generate import create_jobs

if TYPE_CHECKING:
    from imagen.library import Library
    from imagen.library.records import GenerationRecord

_LONG = "a lighthouse on a cliff at dusk, long exposure, waves breaking on black rocks, a lone gull"
_WIDE = "雪の中の赤い狐が静かに森を歩いている、夜明けの光、水彩画のような柔らかい色合い、細部まで"
_WORD = "an " + "extraordinarily" * 10 + " long word"
_PROMPTS = (_LONG, _WIDE, _WORD, "a fox")
_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 23.64 GiB in all, 1.2 free."
_MADE_BY = (
    ("flux-schnell-local", "flux1-schnell-fp8.safetensors", None),
    ("flux-dev-replicate", "black-forest-labs/flux-dev", 0.025),
    ("mock", "mock", None),
)
_CONFIGURATION = """\
default_backend: flux-schnell-local
library: {{url: {folder}/library.db}}
state_dir: {folder}/state
backends:
  flux-schnell-local:
    {{type: comfyui, url: "http://127.0.0.1:9", workflow: flux1-schnell,
      title: FLUX.1 schnell on the workstation under the desk in the other room}}
  sd35-medium: {{type: comfyui, url: "http://127.0.0.1:9", workflow: sd35-medium}}
  broken: {{type: comfyui, wrokflow: flux1-schnell}}
  quick-mock: {{type: mock}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with long prompts, failures and deliveries; and an interrupted job."""
    folder = tmp_path_factory.mktemp("filled")
    library = LibrarySettings(url=str(folder / "library.db"))
    settings = Settings(library=library, state_dir=folder / "state")
    with open_library(settings) as opened:
        record_all(opened, [_made(number) for number in range(1, 10)])
        record_all(opened, [_failed(number) for number in range(10, 13)])
        image = find_image(opened, uuid_of(1))
        change_tags(opened, [image], add=["good", "to print", "for the winter exhibition"])
        set_rating(opened, [image], 4)
        _post(opened)
    ticket = Ticket(
        id=uuid_of(20), backend="flux-schnell-local", request=Request(prompt=_LONG), receipt={}
    )
    (job,) = create_jobs(
        [ticket], ticket.request, settings.model_copy(update={"output": OutputSettings()})
    )
    with file_store.lock_job(job.id, settings.state_dir):
        file_store.write(job, settings.state_dir)
    return folder


def _made(number: int) -> GenerationRecord:
    backend, model, usd = _MADE_BY[number % 3]
    facts = {"model": model, "latency_seconds": 75.0 * number, "seed": number, "cost_usd": usd}
    began = NOON - timedelta(days=3 * number)
    prompt, caller = _PROMPTS[number % 4], ("ada", "mira-the-illustrator")[number % 2]
    return make_record(number, prompt, backend=backend, facts=facts, began=began, caller=caller)


def _failed(number: int) -> GenerationRecord:
    error = {"code": "failed", "message": _MEMORY}
    return make_record(number, _PROMPTS[number % 4], state="failed", error=error, images=())


def _post(library: Library) -> None:
    """A stuck delivery, and one that will be retried."""
    hook = make_delivery(30).model_copy(update={"destination": "https://hooks.example.com/a"})
    record_generation(library, make_record(30), [make_delivery(30, "cloud"), hook])
    stuck, waiting = outbox.claim(library)
    outbox.mark_failed(library, stuck, f"The bucket refused it: {_MEMORY}", again_in_seconds=None)
    outbox.mark_failed(library, waiting, "No answer within 10 s.", again_in_seconds=3600)


@pytest.fixture
def filled(folder: Path) -> None:
    """The configuration of the filled library."""
    Path("imagen.yaml").write_text(_CONFIGURATION.format(folder=folder))


_LISTINGS = [
    ("history", "ID CREATED"),
    ("history --failed", "ID CREATED"),
    ("usage --by backend", "BACKEND GENERATIONS"),
    ("usage --by week,backend,model,caller", "WEEK, BACKEND, MODEL, CALLER"),
    ("usage --raw", "CREATED ID"),
    ("backends", "NAME TYPE"),
    ("backends show mock", "NAME TYPE"),
    ("models -b mock", "CONTROLNET FAMILY"),
    ("workflows list", "NAME TASK TITLE"),
    ("workflows show flux1-schnell", "FILE"),
    ("resume --list", "ID STATE"),
    ("sync --list", "ID TO"),
    ("tag 00000001", "ID TAGS"),
    ("rate 00000001 4", "ID RATING"),
]
_FURTHER = [
    "doctor --quick",
    "show 00000001",
    "show 00000003",
    "library check",
    "config validate",
    "config path",
    "generate fox -b nonexistent",
    "generate fox -b broken",
    "generate a red fox",
    f"generate '{_LONG}' -b mock --dry-run --steps 300 --cfg 3",
    f"compare '{_LONG}' -m mock,quick-mock --dry-run --cfg 3",
    "usage --by weak,colour",
]


def _words(line: str) -> list[str]:
    return [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize("line", [*(line for line, _ in _LISTINGS), *_FURTHER])
def test_no_line_is_wider_than_the_terminal(line: str, columns: int) -> None:
    shown = run_on_terminal(columns, *_words(line)).removesuffix("\n").split("\n")
    drawn = [part.rpartition("\r\x1b[K")[2] for part in shown]
    wide = [part for part in drawn if display_width(part) > columns]
    assert (drawn != [], [part for part in wide if len(split_words(part.strip())) > 1]) == (
        True,
        [],
    )


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(("line", "heading"), _LISTINGS)
def test_a_table_has_headings_on_a_terminal(line: str, heading: str) -> None:
    shown = run_on_terminal(80, *_words(line))
    assert heading in "\n".join(" ".join(part.split()) for part in shown.splitlines())


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(("line", "heading"), [row for row in _LISTINGS if "usage" not in row[0]])
def test_a_table_has_no_headings_in_a_pipe(
    line: str, heading: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(_words(line))
    printed = capsys.readouterr().out
    assert printed
    assert heading not in "\n".join(" ".join(part.split()) for part in printed.splitlines())


_MAKE = ("generate", "a fox", "--size", "32x32", "--seed", "5", "-b", "mock", "-q")
_FACTS = re.compile(r"fox.png\n  mock, seed 5, 32x32, \d\.\d\d s\n")


def test_a_terminal_shows_a_summary_below_each_path() -> None:
    assert _FACTS.fullmatch(run_on_terminal(80, *_MAKE, "-o", "fox.png"))


def test_the_summary_is_on_stdout_if_only_stdout_is_a_terminal() -> None:
    assert _FACTS.fullmatch(run_on_terminal(80, *_MAKE, "-o", "fox.png", streams="stdout"))


def test_a_pipe_gets_only_paths_if_stderr_is_a_terminal() -> None:
    assert run_on_terminal(80, *_MAKE, "-o", "fox.png", streams="stderr") == ""
    assert Path("elsewhere.txt").read_text() == "fox.png\n"


def test_the_summary_is_dim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    assert "fox.png\n\x1b[2m  mock, seed 5" in run_on_terminal(80, *_MAKE, "-o", "fox.png")


def test_each_image_has_its_own_summary() -> None:
    shown = run_on_terminal(80, *_MAKE, "--count", "2", "-o", "fox.png").splitlines()
    seeds = [line.split(", ")[:2] for line in shown if line.startswith("  ")]
    assert seeds == [["  mock", "seed 5"], ["  mock", "seed 6"]]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("upscale", ["--factor", "2"]),
        ("outpaint", ["--all", "8", "-b", "mock"]),
        ("restore", ["-b", "mock"]),
    ],
)
def test_every_generating_command_shows_summaries(name: str, arguments: list[str]) -> None:
    assert run([*_MAKE, "-o", "fox.png"]) == 0
    shown = run_on_terminal(80, name, "fox.png", *arguments, "-q", "-o", "new.png")
    path, facts = shown.splitlines()[-2:]
    assert (path, re.match(r"  (mock|interpolation), ", facts) is not None) == ("new.png", True)


def test_compare_shows_a_summary_of_each_cell() -> None:
    shown = run_on_terminal(
        80, *("compare", "a fox", "-m", "mock", "--size", "32x32", "--seed", "5", "-o", "c", "-q")
    )
    cell, facts, report, sheet = shown.splitlines()
    assert cell == f"mock: {Path('c/mock-5.png')}"
    assert report == f"Report: {Path('c/compare.html')}"
    assert sheet == str(Path("c/contact-sheet.png"))
    assert re.fullmatch(r"  mock, seed 5, 32x32, \d\.\d\d s", facts)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param("a few short words", ["a few", "short", "words"], id="words"),
        pytest.param("  a few words", ["  a few", "  words"], id="an indented line"),
        pytest.param("雪の中の赤い狐が", ["雪の中の", "赤い狐が"], id="wide characters"),
        pytest.param("extraordinarily", ["extraordi", "narily"], id="a long word"),
        pytest.param(
            "see /srv/images/fox.png now", ["see", "/srv/images/fox.png", "now"], id="path"
        ),
        pytest.param("at https://a.example/b?c=d", ["at", "https://a.example/b?c=d"], id="URL"),
        pytest.param(
            "run `imagen sync --retry` now", ["run", "`imagen sync --retry`", "now"], id="``"
        ),
        pytest.param("with: imagen sync --list", ["with:", "imagen sync --list"], id="a command"),
        pytest.param("  imagen generate fox", ["  imagen generate fox"], id="a line that is one"),
    ],
)
def test_text_is_wrapped_and_paths_urls_and_commands_stay_whole(
    text: str, lines: list[str]
) -> None:
    assert wrap(text, 9) == lines


def test_a_narrow_table_wraps_its_widest_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "24")
    print_table([Column("id"), Column("what")], [("1", "a fox in the snow at dusk")])
    assert capsys.readouterr().out.splitlines() == [
        "ID  WHAT",
        "1   a fox in the snow at",
        "    dusk",
    ]
