"""What can be voted on: the cells of comparisons, and images that somebody chose.

Two cells meet only if everything but the model is the same: the prompt, the seed, the input images
and all other values. In the set of all comparisons they may be of two of them.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from itertools import combinations
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from imagen.arena.votes import Contestant, VoteFilter, count_by, prompt_id
from imagen.comparison.axes import apply_values, values_key
from imagen.comparison.record import RECORD_NAME, read_comparison
from imagen.core.text import one_line
from imagen.errors import NotFound, OutputError, RequestError
from imagen.library import find_images_by_uid
from imagen.library.schema import arena_sets, stored_text
from imagen.library.tags import parse_tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from imagen.arena.votes import Kind
    from imagen.comparison.record import Comparison, ComparisonCell
    from imagen.library import Library

ALL = "all"
"""The set of all comparisons."""
COMPARISON_ID = re.compile(r"compare-[\w-]{1,120}")
MOST_IMAGES = 100
"""Of a set: with more, people would vote for days."""
_MOST_COMPARISONS = 500
_MODEL_AXES = {"model", "checkpoint", "unet", "transformer", "workflow"}
"""Their values are models, so cells that differ in them meet."""
_NOT_COMPARED = {"prompt", "seed", "count", "model"}
"""Of a request: cells have their own of these, or may differ in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Two images that may meet."""

    first: Contestant
    second: Contestant
    prompt: str
    seed: str | None
    set_id: str

    @property
    def images(self) -> frozenset[str]:
        return frozenset((self.first.image, self.second.image))


@dataclass(frozen=True, slots=True, kw_only=True)
class _CellEntry:
    """An image of a cell."""

    contestant: Contestant
    prompt: str
    seed: str | None
    conditions: str
    """What others must have alike to meet it."""
    set_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaSet:
    """Images to vote on."""

    id: str
    kind: Kind
    name: str
    """What it is called: the prompt of a comparison."""
    contenders: int
    """Models, or images."""
    changed_ms: int
    pairs: tuple[Candidates, ...]
    entries: tuple[_CellEntry, ...] = ()
    """Of a comparison."""


def list_sets(library: Library, folder: Path) -> list[ArenaSet]:
    """The comparisons in a folder and the sets of images that have pairs, newest first."""
    found = [one for one in _read_comparisons(folder) if one.pairs]
    with library.reading() as connection:
        rows = connection.execute(select(arena_sets)).all()
    found += [
        ArenaSet(
            id=row.id,
            kind="images",
            name=row.name,
            contenders=len(row.images),
            changed_ms=row.created_ms,
            pairs=(),
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: one.changed_ms, reverse=True)


def load_set(id: str, library: Library, folder: Path) -> ArenaSet:
    """A set with its pairs; `all` has those of all comparisons. Raises NotFound."""
    if id == ALL:
        each = _read_comparisons(folder)
        pairs = tuple(_pairs_of(entry for one in each for entry in one.entries))
        models = {(c.backend, c.model) for pair in pairs for c in (pair.first, pair.second)}
        changed = max((one.changed_ms for one in each), default=0)
        return ArenaSet(
            id=ALL,
            kind="models",
            name="",
            contenders=len(models),
            changed_ms=changed,
            pairs=pairs,
        )
    if COMPARISON_ID.fullmatch(id):
        with suppress(OSError, OutputError):
            return _read_set(folder / id)
    with library.reading() as connection:
        query = select(arena_sets).where(arena_sets.c.id == stored_text(id))
        row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"The arena has no set {one_line(id, limit=60)!r}.")
    contestants = list_contestants(library, row.images)
    return ArenaSet(
        id=row.id,
        kind="images",
        name=row.name,
        contenders=len(contestants),
        changed_ms=row.created_ms,
        pairs=tuple(
            Candidates(first=a, second=b, prompt="", seed=None, set_id=row.id)
            for a, b in combinations(contestants, 2)
        ),
    )


def votes_of(set_id: str, kind: Kind, voter: str | None = None) -> VoteFilter:
    """The votes of a set; for `all` those of every comparison."""
    return VoteFilter(kind=kind, set_id=None if set_id == ALL else set_id, voter=voter)


def find_votes(
    set_id: str,
    library: Library,
    folder: Path,
    *,
    prompt: str | None = None,
    voter: str | None = None,
    tag: str | None = None,
) -> tuple[VoteFilter, tuple[Contestant, ...]]:
    """The votes of a set that pass, and who entered it; `prompt` is the id of one.

    Raises NotFound for a set that has neither images nor votes, and for an unknown prompt.
    """
    entered: tuple[Contestant, ...] = ()
    kind: Kind = "models"
    if set_id != ALL:
        try:
            found = load_set(set_id, library, folder)
        except NotFound:
            if set_id not in count_by(library, "set_id", kind):
                raise
        else:
            kind = found.kind
            entered = tuple(one for pair in found.pairs for one in (pair.first, pair.second))
    text = None
    if prompt is not None:
        known = {prompt_id(text): text for text in count_by(library, "prompt", kind)}
        if prompt not in known:
            raise NotFound(f"There are no votes on a prompt with the id {one_line(prompt)!r}.")
        text = known[prompt]
    chosen = replace(votes_of(set_id, kind, voter), prompt=text, tag=tag and parse_tag(tag))
    return chosen, entered


def list_contestants(library: Library, uids: Iterable[str]) -> list[Contestant]:
    """Those of these images that the library has, and that are not in the trash."""
    found = find_images_by_uid(library, [*uids])
    return [
        Contestant(backend=one.backend, model=one.model, image=one.uid, sha256=one.sha256)
        for one in found
        if not one.is_trashed
    ]


def create_set(library: Library, uids: Sequence[str], name: str = "") -> str:
    """Save images to vote on; the id of the set, which is the same for the same images.

    Raises RequestError unless the library has at least two of them.
    """
    if len({*uids}) > MOST_IMAGES:
        raise RequestError(
            f"A set of the arena has at most {MOST_IMAGES} images; these are {len({*uids})}.",
            remedy="Rate or filter them first, and vote on those that are left.",
        )
    known = sorted(one.image for one in list_contestants(library, uids))
    if len(known) < 2:
        raise RequestError("A set of the arena needs at least two images of the library.")
    id = "images-" + sha256(json.dumps(known).encode()).hexdigest()[:16]
    row = {
        "id": id,
        "name": stored_text(one_line(name, limit=200)),
        "images": known,
        "created_ms": round(time.time() * 1000),
    }
    with library.writing() as connection:
        if connection.execute(select(arena_sets.c.id).where(arena_sets.c.id == id)).first() is None:
            connection.execute(insert(arena_sets).values(**row))
    return id


# --- comparisons ---


def _read_comparisons(folder: Path) -> list[ArenaSet]:
    """The comparisons whose folders are in this one, the last that was changed first."""
    found = []
    with suppress(OSError):
        for path in folder.iterdir():
            if COMPARISON_ID.fullmatch(path.name):
                with suppress(OSError, OutputError):
                    found.append(_read_set(path))
    found.sort(key=lambda one: one.changed_ms, reverse=True)
    return found[:_MOST_COMPARISONS]


def _read_set(folder: Path) -> ArenaSet:
    """Raises OSError or OutputError for a folder that holds no comparison."""
    now = (folder / RECORD_NAME).stat()
    return _read_unchanged(folder, now.st_mtime_ns, now.st_size)


@lru_cache(maxsize=_MOST_COMPARISONS)
def _read_unchanged(folder: Path, changed_ns: int, _size: int) -> ArenaSet:
    comparison = read_comparison(folder)
    if comparison is None:
        raise OutputError(f"{folder} holds no comparison.")
    entries = tuple(_entries_of(comparison, folder.name))
    pairs = tuple(_pairs_of(entries))
    return ArenaSet(
        id=folder.name,
        kind="models",
        name=comparison.request.prompt or "",
        contenders=len({(c.backend, c.model) for p in pairs for c in (p.first, p.second)}),
        changed_ms=changed_ns // 1_000_000,
        pairs=pairs,
        entries=entries,
    )


def _entries_of(comparison: Comparison, id: str) -> Iterator[_CellEntry]:
    for cell in comparison.cells:
        if cell.same_as is not None:  # its images are those of another cell
            continue
        model = str(cell.facts.get("model") or cell.parameters.get("model") or "")
        prompt = str(cell.parameters.get("prompt") or comparison.request.prompt or "")
        for number, file in enumerate(cell.files):
            seed = file.seed if file.seed is not None else cell.seed
            shared = None if comparison.has_own_seeds else comparison.request.seed
            if seed is None and shared is not None:
                # An engine that reports no seed was given that of the comparison all the same.
                seed = shared + number
            owner = cell.label if comparison.has_own_seeds else id
            place = f"seed {seed}" if seed is not None else f"number {number} of {owner}"
            yield _CellEntry(
                contestant=Contestant(
                    backend=cell.model, model=model, image=f"{id}/{file.path}", sha256=file.sha256
                ),
                prompt=prompt,
                seed=None if seed is None else str(seed),
                conditions=json.dumps([place, prompt, _other_values(cell, comparison)]),
                set_id=id,
            )


def _pairs_of(entries: Iterable[_CellEntry]) -> Iterator[Candidates]:
    groups: dict[str, list[_CellEntry]] = {}
    for entry in entries:
        groups.setdefault(entry.conditions, []).append(entry)
    for group in groups.values():
        seen = set()
        # Two comparisons may have the same images: of the pairs that look alike, one is enough.
        for one, other in sorted(
            combinations(group, 2), key=lambda two: two[0].set_id != two[1].set_id
        ):
            first, second = one.contestant, other.contestant
            looks = frozenset((c.backend, c.model, c.sha256) for c in (first, second))
            if (first.backend, first.model) != (second.backend, second.model) and looks not in seen:
                seen.add(looks)
                yield Candidates(
                    first=first,
                    second=second,
                    prompt=one.prompt,
                    seed=one.seed,
                    set_id=one.set_id if one.set_id == other.set_id else ALL,
                )


def _other_values(cell: ComparisonCell, comparison: Comparison) -> str:
    """All that was requested besides the model, the prompt and the seed, and the input images."""
    varied = {name: v for name, v in cell.values.items() if not {*name.split("+")} & _MODEL_AXES}
    try:
        request = apply_values(comparison.request, varied)
    except RequestError:  # written by hand
        return values_key(varied)
    asked = request.model_dump(mode="json", exclude_defaults=True, exclude=_NOT_COMPARED)
    asked["extra"] = {k: v for k, v in asked.get("extra", {}).items() if k not in _MODEL_AXES}
    inputs = sorted((one.parameter, one.name, one.sha256) for one in comparison.inputs)
    return json.dumps([asked, inputs], sort_keys=True, default=str)
