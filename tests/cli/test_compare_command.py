"""imagen compare and imagen demo, from the command line to the sheet."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagen.cli import run
from imagen.cli.axes import parse_axis
from imagen.cli.commands.compare import parse_backends, print_comparison
from imagen.cli.commands.demo import DEFAULT_PROMPT, EXPLANATION
from imagen.comparison.record import CellImage, Comparison, ComparisonCell
from imagen.config import load_settings
from imagen.core.request import Request
from imagen.errors import RequestError
from imagen.jobs.sql_store import open_job_store
from imagen.library import open_library
from imagen.library.ledger import list_rows
from imagen.testing.comfyui import ComfyUI

_SMALL = ("--size", "64x48", "--steps", "2")


@pytest.fixture(autouse=True)
def _two_backends() -> None:
    Path("imagen.yaml").write_text(
        "backends:\n  one: {type: mock, look: one}\n  broken: {type: mock, fail: rejected}\n",
    )


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert run(["compare", "a fox", *_SMALL, *arguments, "--json", "--quiet"]) == code
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def test_compare_prints_the_path_of_the_sheet(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "a fox", *_SMALL, "-m", "one,mock", "-o", "c", "-q"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{Path('c/contact-sheet.png')}\n"
    assert [line.split(":")[0] for line in printed.err.splitlines()] == ["one", "mock", "Report"]


def test_compare_exits_with_4_if_a_backend_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed = _json(capsys, "-m", "broken,one", "-o", "c", code=4)
    assert [(c["model"], c["error"] and c["error"]["code"]) for c in printed["cells"]] == [
        ("broken", "rejected"),
        ("one", None),
    ]
    with Image.open(printed["sheet"]) as sheet:
        sheet.load()


def test_a_cell_of_another_backend_that_failed_earlier_does_not_matter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _json(capsys, "-m", "broken", "-o", "c", code=4)
    printed = _json(capsys, "-m", "one", "-o", "c", code=0)
    assert [(c["model"], bool(c["error"])) for c in printed["cells"]] == [
        ("broken", True),
        ("one", False),
    ]
    _json(capsys, "-m", "one,broken", "-o", "c", code=4)


def test_a_value_that_failed_earlier_does_not_matter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _json(capsys, "-m", "one", "--vary", "cfg=1,2", "--strict", "-o", "c", code=4)
    _json(capsys, "-m", "one", "--vary", "cfg=3", "-o", "c", code=0)


def test_compare_dry_run_lists_cells_and_generates_the_same_request_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ["compare", "a fox", *_SMALL, "-m", "one,mock", "--vary", "cfg=1,2", "-o", "c"]
    assert run([*line, "--dry-run"]) == 0
    dropped = "  not honoured: cfg: 1.0 was dropped (the mock paints without a model)"
    assert capsys.readouterr().out.splitlines() == [
        "one, cfg 1: 64x48, 2 steps, compute 0.006144",
        dropped,
        "one, cfg 2: the same as one, cfg 1",
        "mock, cfg 1: 64x48, 2 steps, compute 0.006144",
        dropped,
        "mock, cfg 2: the same as mock, cfg 1",
        "Cells to generate: 2. Images: 2. Compute: 0.01229 (megapixels × steps). "
        "Usual time: unknown. Already complete: 0. Failing: 0. Same as another: 2.",
    ]
    assert not Path("c").exists()


def test_compare_dry_run_shows_the_usual_time_of_each_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ComfyUI() as server:
        block = {"type": "comfyui", "url": server.url}
        backends = {name: block | {"workflow": name} for name in ("sd15", "sdxl")}
        Path("imagen.yaml").write_text(json.dumps({"backends": backends}))
        _json(capsys, "-m", "sd15,sdxl", "--seed", "1", "-o", "c")
        run(["usage"])  # records what was deferred
        capsys.readouterr()
        more = ("-m", "sd15,sdxl", "--seed", "1", "--vary", "cfg=1,2", "--count", "2", "-o", "d")
        printed = _json(capsys, *more, "--dry-run")
        with open_library(load_settings()) as library:
            rows = {row.backend: row for row in list_rows(library)}
    assert [cell["usual_seconds"] for cell in printed["cells"]] == [
        pytest.approx(2 * (rows[cell["model"]].latency_seconds or 0)) for cell in printed["cells"]
    ]
    assert printed["usual_seconds"] == sum(cell["usual_seconds"] for cell in printed["cells"])


def test_compare_prints_several_axes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    axes = ("--vary", "steps=1..2", "--vary", "seed=0,7")
    printed = _json(capsys, "-m", "one", *axes, "-o", "c")
    assert [axis["name"] for axis in printed["axes"]] == ["steps", "seed"]
    assert printed["cells"][1]["values"] == {"steps": 1, "seed": 7}
    assert ("vary" in printed, "value" in printed["cells"][0]) == (False, False)
    assert printed["report"] == str(Path("c/compare.html"))


def test_compare_prints_one_axis_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    printed = _json(capsys, "-m", "one", "--vary", "seed=0,7", "-o", "c")
    assert printed["vary"] == {"name": "seed", "values": [0, 7]}
    assert [cell["value"] for cell in printed["cells"]] == [0, 7]
    planned = _json(capsys, "-m", "one", "--vary", "seed=0,7,8", "-o", "c", "--dry-run")
    assert [(c["value"], c["state"]) for c in planned["cells"]] == [
        (0, "done"),
        (7, "done"),
        (8, "planned"),
    ]


def test_compare_skips_values(capsys: pytest.CaptureFixture[str]) -> None:
    axes = ("--vary", "seed=0,7", "--skip", "seed=7")
    printed = _json(capsys, "-m", "one", *axes, "-o", "c")
    assert [cell["value"] for cell in printed["cells"]] == [0]


def test_compare_dry_run_lists_complete_and_failing_cells(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("imagen.yaml").write_text("backends: {wrong: {type: mock, colour: blue}}")
    _json(capsys, "-m", "mock", "-o", "c")
    before = Path("c/compare.json").read_bytes()
    printed = _json(capsys, "-m", "mock,wrong", "--count", "1", "-o", "c", "--dry-run", code=2)
    assert "holds a comparison of another request" in printed["error"]["message"]
    printed = _json(capsys, "-m", "mock,wrong", "-o", "c", "--dry-run", code=4)
    assert [(cell["model"], cell["state"], cell["compute"]) for cell in printed["cells"]] == [
        ("mock", "done", 0),
        ("wrong", "failed", 0),
    ]
    assert printed["cells"][1]["error"]["code"] == "config"
    assert (printed["compute"], printed["cost_usd"], printed["budgets"]) == (0, 0, [])
    assert Path("c/compare.json").read_bytes() == before


def test_compare_continues_in_the_same_folder(capsys: pytest.CaptureFixture[str]) -> None:
    first = _json(capsys, "-m", "one")
    second = _json(capsys, "-m", "one,mock")
    assert (first["folder"], len(second["cells"])) == (second["folder"], 2)
    assert second["cells"][0] == first["cells"][0]
    assert Path(first["folder"]).name.startswith("compare-a-fox-")


def test_compare_reports_parameters_that_were_not_honoured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["compare", "a fox", *_SMALL, "--cfg", "3", "-m", "one", "-o", "c", "-q"]) == 0
    assert "  cfg: 3.0 was dropped (the mock paints without a model)" in capsys.readouterr().err


def test_vary_adds_an_axis_of_values(capsys: pytest.CaptureFixture[str]) -> None:
    printed = _json(capsys, "-m", "one", "--vary", "seed=0,7", "-o", "c")
    assert [cell["seed"] for cell in printed["cells"]] == [0, 7]


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("steps=4,8", "steps", (4, 8)),
        ("cfg= 1, 2.5", "cfg", (1, 2.5)),
        ('prompt="a cat, asleep",a dog', "prompt", ("a cat, asleep", "a dog")),
        ("prompt=8,true", "prompt", ("8", "true")),
        ("unet=a.safetensors", "unet", ("a.safetensors",)),
        ("steps=4,4,8", "steps", (4, 8)),
        ("size=64x64,128x64", "size", ("64x64", "128x64")),
    ],
)
def test_an_axis_is_a_name_and_values(text: str, name: str, values: tuple[Any, ...]) -> None:
    axis = parse_axis(text)
    assert (axis.name, axis.values) == (name, values)


@pytest.mark.parametrize("text", ["steps", "steps=", "=1,2", 'prompt="a cat, asleep'])
def test_an_invalid_axis_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="Write it as name=value1,value2"):
        parse_axis(text)


def test_an_axis_holds_only_json_values() -> None:
    with pytest.raises(RequestError, match="--vary shift: the value cannot be written as"):
        parse_axis("shift=1,.inf")


def test_compare_without_backends_is_refused() -> None:
    with pytest.raises(RequestError, match="--models does not name a backend"):
        parse_backends(" , ")


def test_compare_suggests_the_nearest_backend(capsys: pytest.CaptureFixture[str]) -> None:
    printed = _json(capsys, "-m", "onee", code=2)
    assert printed["error"]["code"] == "unknown_backend"
    assert "Did you mean 'one'?" in printed["error"]["message"]


def test_the_demo_compares_three_workflows_and_the_mock(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["demo", "--quiet", "-o", "d"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{Path('d/contact-sheet.png')}\n"
    assert "These images are simulated" in printed.err
    cells = json.loads(Path("d/compare.json").read_text(encoding="utf-8"))["cells"]
    assert [cell["model"] for cell in cells] == [
        "flux1-schnell",
        "flux2-klein",
        "sd35-medium",
        "mock",
    ]


def test_compare_prints_the_cost_of_cells(capsys: pytest.CaptureFixture[str]) -> None:
    file = CellImage(path="fox.png", sha256="")
    cells = tuple(
        ComparisonCell(model=model, files=(file,), cost_usd=cost)
        for model, cost in (("a", 0.003), ("b", 0.02), ("c", None))
    )
    comparison = Comparison(request=Request(prompt="x"), models=("a", "b", "c"), cells=cells)
    print_comparison(comparison, Path("c"), as_json=False)
    image = Path("c/fox.png")
    assert capsys.readouterr().err.splitlines() == [
        f"a: {image}, $0.003",
        f"b: {image}, $0.02",
        f"c: {image}",
        "Total cost: $0.023.",
        f"Report: {Path('c/compare.html')}",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_shows_that_a_comparison_has_only_placeholders() -> None:
    from support.terminal_runs import run_on_terminal

    arguments = ("compare", "a fox", *_SMALL, "-o", "c", "-m")
    shown = run_on_terminal(200, *arguments, "one")
    assert (
        "The mock backend paints placeholders; it runs no model. To set up your engines: " in shown
    )


def test_the_demo_ends_with_a_command_on_one_line() -> None:
    command = EXPLANATION.format(prompt=DEFAULT_PROMPT).splitlines()[-1]
    assert len(command) <= 80


def test_compare_detach_prints_a_job(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["compare", "a fox", *_SMALL, "-m", "one", "--vary", "seed=1,2", "-o", "c", "--detach"]
    assert run([*line, "--priority", "5"]) == 0
    printed = capsys.readouterr()
    id = printed.out.strip()
    assert "Submitted 3 jobs." in printed.err
    with open_job_store(load_settings()) as store:
        jobs = store.list_jobs(parent=id)
        assert [(job.kind, job.priority) for job in jobs] == [
            ("image", 5),
            ("image", 5),
            ("sheet", 5),
        ]
    assert run(["worker", "--drain"]) == 0
    capsys.readouterr()
    assert run([*line, "-q"]) == 0  # nothing is left to submit
    assert capsys.readouterr().out == f"{Path('c/contact-sheet.png')}\n"


def test_compare_has_no_option_for_one_pool(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "a fox", "-m", "one", "--pool", "x"]) == 2
    assert "No such option" in capsys.readouterr().err


def test_compare_expands_wildcards_unless_literal(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["compare", *_SMALL, "a {red|red} fox", "-m", "one", "--json", "-q"]
    for more, prompt in (("c", "a red fox"), ("d", "a {red|red} fox")):
        literal = ["--literal"] if more == "d" else []
        assert run([*line, "-o", more, *literal]) == 0
        (cell,) = json.loads(capsys.readouterr().out)["cells"]
        assert cell["parameters"]["prompt"] == prompt
