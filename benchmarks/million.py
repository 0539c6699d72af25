"""A library of a million generated records, the same each time, filled in bulk.

Prompts are 25 words of a vocabulary in which, as in a language, a few words are in half of all
texts and most are in hardly any. 20 backends and 50 models, some of them busy; batches of 1 to 4;
stars on 1 % of the images, a tag on 20 %, a LoRA of 300 on 10 %, others on next to none; a trash.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice, product
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import insert, select, text

from imagen import Request
from imagen.config import LibrarySettings, Settings
from imagen.core.ticket import Estimate, Ticket
from imagen.library import fulltext, open_library, record_generation
from imagen.library.records import GenerationRecord, StoredImage
from imagen.library.schema import generations, image_key, images, loras, milliseconds, tags, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from imagen.library import Library

BACKENDS = tuple(f"studio-{number:02}" for number in range(20))
MODELS = tuple(f"model-{number:02}.safetensors" for number in range(50))
"""Each ten times as busy as the one that is ten times as far behind."""
LORAS = tuple(f"style/lora-{number:03}.safetensors" for number in range(300))
SIZES = ((1024, 1024), (512, 512), (1344, 768), (1216, 832))
ODD_SIZE = (832, 1216)
"""Of one image in 1000, the only ones that are portraits."""
WORDS = 25
VOCABULARY = 20_000
COMMON_TAG = "landscape"
RARE_TAGS = {"printed": 1_000, "for mother": 20_000, "cover": 100_000}
"""To each, on one image of how many."""
BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
SECONDS_APART = 150
_GRAPH = Path(__file__).parent.parent / "workflows" / "sd15.json"
_STARTS = ("b", "br", "c", "d", "f", "gl", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t", "v")
_SYLLABLES = tuple(map("".join, product(_STARTS, "aeiou", ("", "n", "r"))))
_AT_ONCE = 5_000


def settings_at(url: str) -> Settings:
    """Settings whose library is there."""
    return Settings(library=LibrarySettings(url=url))


def word(rank: int) -> str:
    """The word of this rank: `word(0)` is the most common one."""
    first, second = divmod(rank * 7919, len(_SYLLABLES))
    return _SYLLABLES[first % len(_SYLLABLES)] + _SYLLABLES[second] + "aeiou"[rank % 5]


@dataclass(frozen=True, slots=True)
class _Generation:
    """One that was never made."""

    number: int
    id: str
    began: datetime
    backend: str
    model: str
    prompt: str
    seed: int
    count: int


class _Likelihood:
    """Draws of several things, each the less often the later it stands."""

    def __init__(self, things: tuple[str, ...], head: int) -> None:
        self.things = things
        self.weights = list(accumulate(1 / (rank + head) for rank in range(len(things))))

    def drawn(self, chance: Random, count: int = 1) -> list[str]:
        return chance.choices(self.things, cum_weights=self.weights, k=count)


def _generations(images: int) -> Iterator[_Generation]:
    chance = Random(1)
    spoken = _Likelihood(tuple(map(word, range(VOCABULARY))), head=5)
    backends, models = _Likelihood(BACKENDS, head=1), _Likelihood(MODELS, head=1)
    number = done = 0
    while done < images:
        count = min(chance.choice((1, 1, 2, 3, 4, 4)), images - done)
        yield _Generation(
            number=number,
            id=str(UUID(int=chance.getrandbits(128), version=4)),
            began=BEGAN + timedelta(seconds=number * SECONDS_APART + chance.random() * 60),
            backend=backends.drawn(chance)[0],
            model=models.drawn(chance)[0],
            prompt=" ".join(spoken.drawn(chance, WORDS)),
            seed=chance.getrandbits(63),
            count=count,
        )
        number, done = number + 1, done + count


def entry(number: int = 0, began: datetime = BEGAN, count: int = 1) -> GenerationRecord:
    """A generation as an engine's adapter would tell of it, for `take_in`."""
    id = str(UUID(int=number, version=4))
    request = Request(prompt=f"a fox {number}", width=512, height=512, seed=number, steps=20)
    ticket = Ticket(
        id=id,
        backend=BACKENDS[0],
        request=request,
        receipt={},
        payload=json.loads(_GRAPH.read_text(encoding="utf-8")),
        estimate=Estimate(usd=0.003, basis="$0.003 a image"),
    )
    return GenerationRecord(
        id=id,
        backend=BACKENDS[0],
        kind="comfyui",
        ticket=ticket,
        request=request,
        facts={"model": MODELS[0], "seed": number, "latency_seconds": 4.2, "cost_usd": 0.003},
        created_at=began,
        ended_at=began + timedelta(seconds=5),
        caller="ada",
        images=tuple(
            StoredImage(
                path=Path(f"/images/{number}-{index}.png"),
                sidecar=Path(f"/images/{number}-{index}.png.json"),
                index=index,
                media_type="image/png",
                width=512,
                height=512,
                seed=number + index,
                sha256=f"{number * 4 + index:064x}",
                size_bytes=400_000,
            )
            for index in range(count)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The rows that the library itself makes of one generation."""

    generation: dict[str, Any]
    image: dict[str, Any]
    use: dict[str, Any]


def _patterns(place: Path) -> _Patterns:
    with open_library(settings_at(str(place / "pattern.db"))) as library:
        record_generation(library, entry())
        with library.reading() as connection:
            rows = [connection.execute(select(t)).one() for t in (generations, images, usage)]
    generation, image, use = (dict(row._mapping) for row in rows)
    del image["cloud"]  # where it was never sent there is nothing
    return _Patterns(generation, image, use)


def fill(library: Library, images: int, place: Path) -> None:
    """Put so many images into an empty library; `place` is a folder for what that needs."""
    patterns, made = _patterns(place), _generations(images)
    marks = Random(2)
    while some := list(islice(made, _AT_ONCE)):
        with library.writing() as connection:
            connection.execute(insert(generations), [_generation(g, patterns) for g in some])
            rows = [_use(one, n, patterns) for one in some for n in range(one.count)]
            connection.execute(insert(usage), rows)
            _put_images(connection, some, patterns, marks)


def _put_images(
    connection: Connection, some: list[_Generation], patterns: _Patterns, marks: Random
) -> None:
    rows = [_image(one, index, patterns, marks) for one in some for index in range(one.count)]
    connection.execute(insert(images), rows)
    cut = {one.id: fulltext.tokenize(one.prompt) for one in some}
    is_sqlite = connection.dialect.name == "sqlite"
    value = "CAST(:words AS tsvector)" if not is_sqlite else ":words"
    connection.execute(
        text(f"INSERT INTO prompts (rowid, words) VALUES (:key, {value})"),
        [{"key": row["id"], "words": _indexed(cut[row["generation"]], is_sqlite)} for row in rows],
    )
    given = [{"tag": tag, "image": row["id"]} for row in rows for tag in _tags(marks)]
    connection.execute(insert(tags), given)
    used = _Likelihood(LORAS, head=1)
    worn = [
        {"lora": used.drawn(marks)[0], "image": row["id"]} for row in rows if marks.random() < 0.1
    ]
    connection.execute(insert(loras), worn)


def _indexed(cut: list[str], is_sqlite: bool) -> str:
    return " ".join(cut) if is_sqlite else fulltext.postgres_vector(cut)


def _tags(marks: Random) -> Iterator[str]:
    if marks.random() < 0.2:
        yield COMMON_TAG
    yield from (tag for tag, one_of in RARE_TAGS.items() if marks.random() * one_of < 1)


def _generation(one: _Generation, patterns: _Patterns) -> dict[str, Any]:
    ticket = patterns.generation["ticket"]
    request = ticket["request"] | {"prompt": one.prompt, "seed": one.seed}
    began = milliseconds(one.began)
    return patterns.generation | {
        "id": one.id,
        "created_ms": began,
        "ended_ms": began + 5_000,
        "backend": one.backend,
        "model": one.model,
        "prompt": one.prompt,
        "request": {"prompt": one.prompt},
        "ticket": ticket | {"id": one.id, "backend": one.backend, "request": request},
        "facts": patterns.generation["facts"] | {"model": one.model, "seed": one.seed},
    }


def _use(one: _Generation, number: int, patterns: _Patterns) -> dict[str, Any]:
    """A row of the ledger; as many as there are images, as it keeps what was deleted too."""
    return patterns.use | {
        "generation": f"{one.id[:-1]}{'ghi'[number - 1]}" if number else one.id,
        "at_ms": milliseconds(one.began) + 5_000 * (number + 1),
        "backend": one.backend,
        "model": one.model,
        "seed": str(one.seed),
        "images": one.count,
        "caller": f"caller-{one.number % 7}",
    }


def _image(one: _Generation, index: int, patterns: _Patterns, marks: Random) -> dict[str, Any]:
    is_odd = marks.random() < 0.001
    width, height = ODD_SIZE if is_odd else SIZES[one.number % len(SIZES)]
    path = f"/images/{one.began:%Y-%m-%d}/{one.number}-{index}.png"
    return patterns.image | {
        "id": image_key(one.id, one.began, index),
        "generation": one.id,
        "number": index,
        "backend": one.backend,
        "model": one.model,
        "path": path,
        "sidecar": f"{path}.json",
        "sha256": f"{marks.getrandbits(256):064x}",
        "seed": str(one.seed + index),
        "width": width,
        "height": height,
        "cost": (0.0, 0.0, 0.003, 0.04)[one.number % 4],
        "rating": marks.randint(1, 5) if marks.random() < 0.01 else None,
        "trashed_ms": milliseconds(one.began) if marks.random() < 0.005 else None,
    }
