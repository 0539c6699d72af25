"""Comparisons with several axes: their cells, their order, and records of earlier versions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from imagen.cli.axes import parse_axis
from imagen.comparison import Axis, Comparison, ComparisonCell, compare, plan_comparison
from imagen.comparison.plan import number_tickets
from imagen.comparison.sheet import sheet_paths
from imagen.config import Settings
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.core.ticket import Ticket
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from imagen.core.result import OnProgress

_ASKED = Request(prompt="a fox", width=32, height=32, steps=1, seed=1)
_OLD_IDS = {
    4: ["2a4229ff-5ba5-4eb7-96b1-2e1e281c6279", "3fecd9fa-29bc-4818-8756-5f5739033666"],
    None: ["e54de18f-9bd5-471f-b777-ce42a05bcd99", "ded972e3-6c99-4141-acf0-2c66c1b72a7f"],
    "512x512": ["ea375968-01cb-438f-92a5-c7308931ad02", "8f024af8-3652-4172-b3be-47e20b9d56b2"],
}
"""Ids that format 1 gave to the tickets of one cell."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    looks = {name: {"type": "mock", "look": name} for name in ("one", "two")}
    return Settings(backends=looks, state_dir=tmp_path / "state")


def _compare(
    settings: Settings, folder: Path, *axes: str, models: Sequence[str] = ("one",), **more: Any
) -> tuple[Comparison, list[str]]:
    labels: list[str] = []

    def watch(label: str) -> AbstractContextManager[OnProgress]:
        from contextlib import nullcontext

        labels.append(label)
        return nullcontext(no_progress)

    asked = more.pop("asked", _ASKED)
    own = [parse_axis(text) for text in axes]
    made = compare(asked, models, settings, folder=folder, axes=own, watch=watch, **more)
    return made, labels


def test_axes_are_combined_and_shown_in_their_order(settings: Settings, tmp_path: Path) -> None:
    made, _ = _compare(settings, tmp_path / "c", "steps=1,2", "seed=5,6")
    assert [cell.values for cell in made.cells] == [
        {"steps": 1, "seed": 5},
        {"steps": 1, "seed": 6},
        {"steps": 2, "seed": 5},
        {"steps": 2, "seed": 6},
    ]
    assert sorted(path.name for path in (tmp_path / "c").glob("one-*.png")) == [
        "one-01-01-5.png",
        "one-01-02-6.png",
        "one-02-01-5.png",
        "one-02-02-6.png",
    ]


def test_the_costliest_change_happens_least_often(settings: Settings, tmp_path: Path) -> None:
    axes = ("steps=1,2", "lora=ink,oil", "model=mock,mock-dusk")
    made, worked = _compare(settings, tmp_path / "c", *axes, models=("one", "two"))
    assert worked[:8] == [
        f"one, steps {steps}, lora {lora}, model {model}"
        for model in ("mock", "mock-dusk")
        for lora in ("ink", "oil")
        for steps in (1, 2)
    ]
    assert worked[8] == "two, steps 1, lora ink, model mock"
    places = [tuple(cell.values.values()) for cell in made.cells if cell.model == "one"]
    assert places[:3] == [(1, "ink", "mock"), (1, "ink", "mock-dusk"), (1, "oil", "mock")]


def test_a_combined_axis_moves_its_parameters_together(settings: Settings, tmp_path: Path) -> None:
    axis = "{size=32x48,steps=1},{size=48x32,steps=2}"
    made, worked = _compare(settings, tmp_path / "c", axis)
    assert worked == ["one, size 32x48, steps 1", "one, size 48x32, steps 2"]
    assert [(c.files[0].width, c.files[0].height, c.facts["steps"]) for c in made.cells] == [
        (32, 48, 1),
        (48, 32, 2),
    ]


def test_lora_and_its_strength_are_axes(settings: Settings, tmp_path: Path) -> None:
    axes = [parse_axis("lora=ink,oil:0.9,none"), parse_axis("lora_strength=0.4,0.8")]
    plan = plan_comparison(_ASKED, ["one"], settings, folder=tmp_path / "c", axes=axes)
    asked = [tickets[0].receipt.get("loras") if tickets else None for _, tickets in plan]
    strengths = [[(lora.name, lora.strength) for lora in one.asked] if one else [] for one in asked]
    assert [len(tickets) for _, tickets in plan] == [1, 1, 1, 1, 1, 0]
    assert strengths == [
        [("ink", 0.4)],
        [("ink", 0.8)],
        [("oil", 0.4)],
        [("oil", 0.8)],
        [],
        [],
    ]


def test_an_axis_replaces_a_lora_of_the_request(settings: Settings, tmp_path: Path) -> None:
    asked = _ASKED.with_values({"loras": [{"name": "ink"}, {"name": "oil"}]})
    axes = [parse_axis("lora=ink:0.3")]
    plan = plan_comparison(asked, ["one"], settings, folder=tmp_path / "c", axes=axes)
    loras = plan[0][1][0].receipt["loras"].asked
    assert [(lora.name, lora.strength) for lora in loras] == [("oil", 1.0), ("ink", 0.3)]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (
            ["stpes=1,2", "seed=1"],
            "None of these backends has a parameter 'stpes' to vary. Did you",
        ),
        (["steps=1,-2"], "--vary steps, value 2 (-2): steps"),
        (["steps=1", "steps=2"], "--vary steps and --vary steps both set steps."),
        (["width=32,64", "size=64x64"], "--vary width and --vary size both set width."),
        (["{size=64x64,steps=1},{size=32x32,steps=2}", "steps=4"], "both set steps."),
        (["lora_strength=0.5"], "--vary lora_strength, value 1 (0.5): lora_strength changes the"),
        (["lora=:0.5"], "--vary lora, value 1 (:0.5): lora ':0.5' does not name a LoRA."),
        (["seed=1..100", "steps=1..100"], "This comparison has 10,000 cells; at most 1,000 are"),
        (["size=64x64,64x"], "--vary size, value 2 (64x): '64x' is not a valid size."),
        (["{strength=0.5,steps=1},{strength=2,steps=1}"], "--vary strength+steps, value 2 ("),
    ],
)
def test_a_wrong_axis_is_refused_with_its_place(
    axes: list[str], message: str, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        _compare(settings, tmp_path / "c", *axes)
    assert message in caught.value.message
    assert not (tmp_path / "c").exists()


def test_a_value_that_every_backend_refuses_is_refused_before_generating(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        _compare(settings, tmp_path / "c", "style=none,plain", models=("one", "two"))
    assert caught.value.message == "--vary style, value 1 (none): Unknown style 'none'."
    with pytest.raises(RequestError) as caught:
        _compare(settings, tmp_path / "c", "steps=1,2", "model=mock,mockdusk")
    assert caught.value.message.startswith("--vary model, value 2 (mockdusk): model cannot be")
    assert "Did you mean 'mock-dusk'?" in caught.value.message
    with pytest.raises(RequestError) as caught:
        _compare(settings, tmp_path / "c", "steps=1,2", "model=a,b")
    assert caught.value.message.startswith("--vary model, value 1 (a): model cannot be 'a'")
    assert not (tmp_path / "c").exists()


def test_skipped_values_are_neither_generated_nor_shown(settings: Settings, tmp_path: Path) -> None:
    folder, axes = tmp_path / "c", ("steps=1,2,3", "seed=5,6")
    skip = [parse_axis("steps=2", "--skip")]
    first, worked = _compare(settings, folder, *axes, skip=skip)
    assert len(worked) == 4
    assert not any("steps 2" in label for label in worked)
    assert "steps 2" not in (folder / "compare.html").read_text(encoding="utf-8")
    whole, worked = _compare(settings, folder, *axes)
    assert worked == ["one, steps 2, seed 5", "one, steps 2, seed 6"]
    again, worked = _compare(settings, folder, *axes, skip=[*skip, parse_axis("seed=6")])
    assert worked == []
    assert [cell.files for cell in again.cells] == [cell.files for cell in whole.cells]
    data = json.loads(
        (folder / "compare.html").read_text("utf-8").split('id="data">')[1].split("<")[0]
    )
    assert [len(axis["values"]) for axis in data["axes"]] == [2, 1]
    assert first.token == whole.token


def test_backends_can_be_skipped(settings: Settings, tmp_path: Path) -> None:
    both = ("one", "two")
    _, worked = _compare(settings, tmp_path / "c", models=both, skip=[parse_axis("backend=one")])
    assert worked == ["two"]


@pytest.mark.parametrize(
    ("skip", "message"),
    [
        ("stesp=1", "--skip stesp: this comparison has no such axis. Did you mean 'steps'?"),
        ("steps=3", "--skip steps: this comparison has no value 3."),
        ("backend=onee", "no value 'onee'. Did you mean 'one'?"),
        ("steps=1..2", "--skip steps: this would leave out all of its values."),
    ],
)
def test_a_wrong_skip_is_refused(
    skip: str, message: str, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        _compare(settings, tmp_path / "c", "steps=1,2", skip=[parse_axis(skip, "--skip")])
    assert message in caught.value.message
    assert not (tmp_path / "c").exists()


def test_more_than_two_axes_are_pages(settings: Settings, tmp_path: Path) -> None:
    folder, axes = tmp_path / "c", ["steps=1,2", "seed=5,6,7"]
    made, _ = _compare(settings, folder, *axes, models=("one", "two"))
    names = [path.name for path in sheet_paths(made, folder)]
    assert names == ["contact-sheet.png", "contact-sheet-2.png", "contact-sheet-3.png"]
    for name in names:
        with Image.open(folder / name) as sheet:
            assert sheet.format == "PNG"
    _compare(settings, folder, *axes, models=("one", "two"), skip=[parse_axis("seed=6,7")])
    assert sorted(path.name for path in folder.glob("contact-sheet*")) == ["contact-sheet.png"]


def test_the_order_of_axes_may_change(settings: Settings, tmp_path: Path) -> None:
    _compare(settings, tmp_path / "c", "steps=1,2", "seed=5,6")
    made, worked = _compare(settings, tmp_path / "c", "seed=5,6", "steps=1,2")
    assert worked == []
    assert [cell.values["seed"] for cell in made.cells] == [5, 5, 6, 6]


def test_values_are_added_to_one_of_several_axes(settings: Settings, tmp_path: Path) -> None:
    _compare(settings, tmp_path / "c", "steps=1", "seed=5,6")
    _, worked = _compare(settings, tmp_path / "c", "steps=2", "seed=5,6")
    assert worked == ["one, steps 2, seed 5", "one, steps 2, seed 6"]


def test_other_axes_need_another_folder(settings: Settings, tmp_path: Path) -> None:
    _compare(settings, tmp_path / "c", "steps=1", "seed=5,6")
    with pytest.raises(RequestError, match="holds a comparison with steps, seed as its axes"):
        _compare(settings, tmp_path / "c", "steps=1")


def test_the_seed_of_a_cell_decides_its_wildcards(settings: Settings, tmp_path: Path) -> None:
    asked = Request(prompt="a {red|blue|green|white} fox", width=32, height=32, steps=1, count=2)
    more: dict[str, Any] = {"asked": asked, "models": ("one", "two"), "has_wildcards": True}
    made, _ = _compare(settings, tmp_path / "c", "seed=1..8", **more)
    prompts: dict[int, set[str]] = {}
    for cell in made.cells:
        prompts.setdefault(cell.values["seed"], set()).add(cell.parameters["prompt"])
        assert len(cell.files) == 2
    assert all(len(texts) == 1 for texts in prompts.values())
    assert len(set.union(*prompts.values())) > 1
    assert "{" not in "".join(set.union(*prompts.values()))
    assert _compare(settings, tmp_path / "c", "seed=1..8", **more)[1] == []


# --- records of format 1 ---


def _as_format_1(path: Path) -> None:
    """Rewrite a record as version 0.1 wrote it."""
    record = json.loads(path.read_text(encoding="utf-8"))
    (axis,) = record.pop("axes") or [None]
    del record["job"]
    for cell in record["cells"]:
        values = cell.pop("values")
        cell["value"] = next(iter(values.values()), None)
        del cell["parameters"]
    path.write_text(json.dumps(record | {"imagen": 1, "vary": axis}), encoding="utf-8")


@pytest.mark.parametrize(
    "axes", [(), ("steps=1,2",), ("prompt=a,b",)], ids=["none", "steps", "prompt"]
)
def test_a_comparison_of_format_1_continues(
    axes: tuple[str, ...], settings: Settings, tmp_path: Path
) -> None:
    first, _ = _compare(settings, tmp_path / "c", *axes)
    record = tmp_path / "c" / "compare.json"
    _as_format_1(record)
    second, worked = _compare(settings, tmp_path / "c", *axes)
    assert worked == []
    assert [cell.files for cell in second.cells] == [cell.files for cell in first.cells]
    assert json.loads(record.read_text(encoding="utf-8"))["imagen"] == 2


@pytest.mark.parametrize("value", _OLD_IDS)
def test_the_tickets_of_one_axis_keep_their_ids(value: object) -> None:
    comparison = Comparison(request=Request(prompt="x"), token="0123456789abcdef")
    values = {} if value is None else {"steps": value}
    attempt = 1 if value == 4 else 0
    cell = ComparisonCell(model="one", values=values, key="k", attempt=attempt)
    ticket = Ticket(id="a", backend="b", request=Request(), receipt={})
    numbered = number_tickets(comparison, cell, [ticket, ticket])
    assert [one.id for one in numbered] == _OLD_IDS[value]  # type: ignore[index]


def test_a_value_of_a_combined_axis_sets_exactly_its_parameters(
    settings: Settings, tmp_path: Path
) -> None:
    axis = Axis(name="size+steps", values=({"size": "64x64"},))
    with pytest.raises(RequestError, match="does not set exactly size and steps"):
        compare(_ASKED, ["one"], settings, folder=tmp_path / "c", axes=[axis])
