"""Which images meet, and which pair is shown next."""

from __future__ import annotations

from itertools import combinations
from random import Random
from typing import TYPE_CHECKING, Any

from imagen.arena.export import ranking_csv, votes_csv
from imagen.arena.pairs import order_pairs
from imagen.arena.ranking import rank
from imagen.arena.sets import ALL, Candidates, load_set
from imagen.arena.votes import Contestant, Vote
from imagen.comparison import Axis, CellImage, Comparison, ComparisonCell
from imagen.comparison.record import write_comparison
from imagen.core.request import Request
from imagen.library.schema import datetime_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.arena.votes import Outcome
    from imagen.library import Library


def _contestant(model: str, place: int = 0) -> Contestant:
    return Contestant(
        backend="studio",
        model=model,
        image=f"compare-a/{model}{place}.png",
        sha256=f"{model}{place}",
    )


def _candidates(*models: str, places: int = 1) -> list[Candidates]:
    return [
        Candidates(
            first=_contestant(a, place),
            second=_contestant(b, place),
            prompt="a hill",
            seed="7",
            set_id="compare-a",
        )
        for place in range(places)
        for a, b in combinations(models, 2)
    ]


def _first(
    pairs: Sequence[Candidates], outcomes: Sequence[Outcome] = (), seed: int = 1, **values: Any
) -> tuple[str, str]:
    known = {"shown": {}, "votes": {}} | values
    left, right, _ = next(order_pairs(pairs, "models", outcomes, random=Random(seed), **known))
    return left.image, right.image


def test_the_same_seed_draws_the_same_pair() -> None:
    pairs = _candidates("a", "b", "c", "d")
    assert _first(pairs, seed=3) == _first(pairs, seed=3)
    assert len({frozenset(_first(pairs, seed=n)) for n in range(40)}) == 6


def test_sides_are_drawn_by_chance() -> None:
    pairs = _candidates("a", "b")
    left = sum(_first(pairs, seed=n)[0].endswith("a0.png") for n in range(400))
    assert 160 < left < 240


def test_no_pair_is_shown_again_before_all_were() -> None:
    pairs, shown = _candidates("a", "b", "c", places=3), dict[frozenset[str], int]()
    seen = []
    for turn in range(18):
        images = frozenset(_first(pairs, shown=shown, seed=turn))
        shown[images] = shown.get(images, 0) + 1
        seen.append(images)
    assert len({*seen[:9]}) == len({*seen[9:]}) == 9


def test_what_is_on_the_screen_comes_last() -> None:
    pairs = _candidates("a", "b", "c")
    besides = {pairs[0].images, pairs[2].images}
    assert {frozenset(_first(pairs, besides=besides, seed=n)) for n in range(20)} == {
        pairs[1].images
    }
    assert _first(pairs[:1], besides=besides)


def test_close_contenders_with_few_votes_are_shown_first() -> None:
    a, b, c = (_contestant(name) for name in "abc")
    pairs = _candidates("a", "b", "c")
    # a and b are close but known well, c is far below both: few votes leave b and c open.
    close = [(a, b, "left", 100), (a, b, "right", 100), (a, c, "left", 30), (b, c, "left", 3)]
    chosen = {frozenset(_first(pairs, close, seed=n)) for n in range(10)}  # type: ignore[arg-type]
    assert chosen == {pairs[2].images}
    # Nothing is known of d.
    with_new = _candidates("a", "b", "c", "d")
    image = _first(with_new, close)  # type: ignore[arg-type]
    assert any("d0" in one for one in image)


def test_of_equal_pairs_the_one_with_fewer_votes_is_shown() -> None:
    pairs = _candidates("a", "b", places=3)
    votes = {pairs[0].images: 2, pairs[1].images: 1, pairs[2].images: 2}
    assert {frozenset(_first(pairs, votes=votes, seed=n)) for n in range(9)} == {pairs[1].images}


# --- which cells of a comparison meet ---


def _cell(backend: str, made_by: str, *seeds: int | None, **values: Any) -> ComparisonCell:
    name = f"{backend}-{made_by}-{'-'.join(map(str, values.values()))}"
    return ComparisonCell(
        model=backend,
        values=values,
        key="x",
        seed=seeds[0],
        files=tuple(
            CellImage(path=f"{name}-{n}.png", sha256=f"{name}{n}", seed=seed)
            for n, seed in enumerate(seeds)
        ),
        parameters={"prompt": values.get("prompt", "a hill")},
        facts={"model": made_by},
    )


def _pairs(
    folder: Path, library: Library, axes: tuple[Axis, ...], *cells: ComparisonCell
) -> list[set[str]]:
    comparison = Comparison(
        request=Request(prompt="a hill", seed=7),
        models=tuple(dict.fromkeys(cell.model for cell in cells)),
        axes=axes,
        cells=cells,
    )
    write_comparison(comparison, folder / "compare-hill-1")
    loaded = load_set("compare-hill-1", library, folder)
    return [
        {one.image.removeprefix("compare-hill-1/") for one in (pair.first, pair.second)}
        for pair in loaded.pairs
    ]


def test_cells_meet_at_the_same_seed(tmp_path: Path, library: Library) -> None:
    cells = (_cell("a", "x", 7, 8), _cell("b", "y", 7, 8), _cell("c", "z", 9))
    assert _pairs(tmp_path, library, (), *cells) == [
        {"a-x--0.png", "b-y--0.png"},
        {"a-x--1.png", "b-y--1.png"},
    ]


def test_an_engine_that_reports_no_seed_has_that_of_the_comparison(
    tmp_path: Path, library: Library
) -> None:
    cells = (_cell("a", "x", 7), _cell("b", "y", None))
    assert len(_pairs(tmp_path, library, (), *cells)) == 1


def test_cells_meet_at_the_same_values_of_other_axes(tmp_path: Path, library: Library) -> None:
    axes = (Axis(name="prompt", values=("fox", "owl")), Axis(name="steps", values=(2, 4)))
    cells = [
        _cell(backend, "m", 7, prompt=prompt, steps=steps)
        for backend in "ab"
        for prompt in ("fox", "owl")
        for steps in (2, 4)
    ]
    pairs = _pairs(tmp_path, library, axes, *cells)
    assert len(pairs) == 4
    assert {"a-m-fox-4-0.png", "b-m-fox-4-0.png"} in pairs
    prompts = {pair.prompt for pair in load_set(ALL, library, tmp_path).pairs}
    assert prompts == {"fox", "owl"}


def test_an_axis_of_models_makes_contenders_of_one_backend(
    tmp_path: Path, library: Library
) -> None:
    axes = (Axis(name="model", values=("x", "y")),)
    cells = (_cell("a", "x", 7, model="x"), _cell("a", "y", 7, model="y"))
    assert len(_pairs(tmp_path, library, axes, *cells)) == 1
    same = (_cell("a", "x", 7, model="x"), _cell("a", "x", 7, model="y"))
    assert _pairs(tmp_path, library, axes, *same) == []


def test_a_cell_that_is_the_same_as_another_meets_none(tmp_path: Path, library: Library) -> None:
    axes = (Axis(name="steps", values=(2, 4)),)
    first = _cell("b", "y", 7, steps=2)
    same = first.model_copy(update={"values": {"steps": 4}, "same_as": {"steps": 2}})
    cells = (_cell("a", "x", 7, steps=2), _cell("a", "x", 7, steps=4), first, same)
    assert _pairs(tmp_path, library, axes, *cells) == [{"a-x-2-0.png", "b-y-2-0.png"}]


def _write(folder: Path, id: str, *cells: ComparisonCell, **request: Any) -> None:
    comparison = Comparison(
        request=Request(prompt="a hill", seed=7, **{"width": 64, "height": 64} | request),
        models=tuple(cell.model for cell in cells),
        axes=tuple(Axis(name=name, values=(v,)) for name, v in cells[0].values.items()),
        cells=cells,
    )
    write_comparison(comparison, folder / f"compare-{id}")


def _all_pairs(library: Library, folder: Path) -> dict[frozenset[str], str]:
    """The set of each pair of all comparisons, by the images."""
    return {pair.images: pair.set_id for pair in load_set(ALL, library, folder).pairs}


def test_cells_of_two_comparisons_meet_if_all_but_the_model_is_the_same(
    tmp_path: Path, library: Library
) -> None:
    _write(tmp_path, "one", _cell("a", "x", 7, steps=4), _cell("b", "y", 7, steps=4))
    _write(tmp_path, "two", _cell("c", "z", 7), steps=4)
    _write(tmp_path, "other-steps", _cell("d", "z", 7), steps=5)
    _write(tmp_path, "other-seed", _cell("d", "z", 8), steps=4)
    _write(tmp_path, "other-size", _cell("d", "z", 7), steps=4, width=96)
    a, b, c = "compare-one/a-x-4-0.png", "compare-one/b-y-4-0.png", "compare-two/c-z--0.png"
    assert _all_pairs(library, tmp_path) == {
        frozenset((a, b)): "compare-one",
        frozenset((a, c)): ALL,
        frozenset((b, c)): ALL,
    }
    assert load_set("compare-two", library, tmp_path).pairs == ()


def test_images_that_two_comparisons_have_meet_once(tmp_path: Path, library: Library) -> None:
    for id in ("one", "two"):
        _write(tmp_path, id, _cell("a", "x", 7), _cell("b", "y", 7))
    (set_id,) = _all_pairs(library, tmp_path).values()
    assert set_id.startswith("compare-")


# --- export ---


def test_csv_is_safe_to_open_in_a_spreadsheet() -> None:
    bad = Contestant(backend="@b", model="=1+1", image="-x", sha256="")
    vote = Vote(
        id=1,
        pair="p",
        kind="models",
        set_id="compare-a",
        prompt='+cmd|"a", b\nc',
        seed="7",
        left=bad,
        right=bad,
        choice="tie",
        voter="\tada",
        milliseconds=None,
        created=datetime_of(0),
    )
    lines = votes_csv([vote]).splitlines()
    assert lines[0].startswith("id,created,set,prompt,seed,left_backend")
    row = votes_csv([vote]).partition("\r\n")[2]
    assert row == (
        '1,1970-01-01T00:00:00+00:00,compare-a,"\'+cmd|""a"", b\nc",7,'
        "'@b,'=1+1,'-x,'@b,'=1+1,'-x,tie,'\tada,\r\n"
    )
    ranking = ranking_csv(rank([(bad, _contestant("a"), "left", 3)], "models"))
    assert "\r\n1,2,'@b,'=1+1,,1" in ranking
    assert ",3,3,0,0,0,1.0\r\n" in ranking
