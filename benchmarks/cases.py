"""What is asked of the library of a million: every filter, and searches of every kind.

Each case is asked with the commonest and with the rarest of its things: a database that looks
through all there is finds the common ones at once, and one that trusts an index the rare ones.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from million import BACKENDS, BEGAN, COMMON_TAG, LORAS, MODELS, ODD_SIZE, RARE_TAGS, word

from imagen.library import Query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

BUSY, IDLE = BACKENDS[0], BACKENDS[-1]
USUAL, ODD = MODELS[0], MODELS[-1]
PRINTED, _, COVER = RARE_TAGS
_DAY = BEGAN + timedelta(days=30)


class Case(NamedTuple):
    """One thing that is asked."""

    what: str
    query: Query


def filters(newest: datetime) -> Iterator[Case]:
    """Queries by every filter except words; `newest` is the time of the last image."""
    week = newest - timedelta(days=7)
    for what, query in {
        "all": Query(),
        "a busy backend": Query(backend=BUSY),
        "an idle backend": Query(backend=IDLE),
        "an unknown backend": Query(backend="nowhere"),
        "a usual model": Query(models=(USUAL,)),
        "an odd model": Query(models=(ODD,)),
        "a busy backend, a usual model": Query(backend=BUSY, models=(USUAL,)),
        "an idle backend, a usual model": Query(backend=IDLE, models=(USUAL,)),
        "a busy backend, an odd model": Query(backend=BUSY, models=(ODD,)),
        "an idle backend, an odd model": Query(backend=IDLE, models=(ODD,)),
        "two usual models": Query(models=(USUAL, MODELS[1])),
        "a usual model and an odd one, an idle backend": Query(backend=IDLE, models=(USUAL, ODD)),
        "a usual shape": Query(shape="square"),
        "an odd shape, a usual model": Query(shape="portrait", models=(USUAL,)),
        "an odd size": Query(size=ODD_SIZE),
        "a usual LoRA, an odd shape": Query(loras=(LORAS[0],), shape="portrait"),
        "an odd LoRA": Query(loras=(LORAS[-1],)),
        "free": Query(cost="free"),
        "paid, an odd model": Query(cost="paid", models=(ODD,)),
        "at most 1 cent, an idle backend": Query(max_cost=0.01, backend=IDLE),
        "4 stars or more": Query(rating=4),
        "5 stars, a busy backend": Query(rating=5, backend=BUSY),
        "5 stars, an idle backend, an odd model": Query(rating=5, backend=IDLE, models=(ODD,)),
        "a tag on 20 %": Query(tags=(COMMON_TAG,)),
        "a tag on 0.1 %": Query(tags=(PRINTED,)),
        "a tag on ten": Query(tags=(COVER,)),
        "an unknown tag": Query(tags=("nowhere",)),
        "two tags, 20 % and 0.1 %": Query(tags=(COMMON_TAG, PRINTED)),
        "two tags, 0.1 % and 20 %": Query(tags=(PRINTED, COMMON_TAG)),
        "two tags that never meet": Query(tags=(COMMON_TAG, COVER, PRINTED)),
        "a tag on 20 %, an idle backend": Query(tags=(COMMON_TAG,), backend=IDLE),
        "a tag on 20 %, an odd model": Query(tags=(COMMON_TAG,), models=(ODD,)),
        "a tag on 20 %, 4 stars": Query(tags=(COMMON_TAG,), rating=4),
        "a tag on 20 %, 5 stars, an idle backend": Query(
            tags=(COMMON_TAG,), rating=5, backend=IDLE
        ),
        "the last week": Query(since=week),
        "a day long ago": Query(since=_DAY, until=_DAY + timedelta(days=1)),
        "a day long ago, an idle backend": Query(
            since=_DAY, until=_DAY + timedelta(days=1), backend=IDLE
        ),
        "a year long ago, 5 stars, a tag on 20 %": Query(
            since=_DAY, until=_DAY + timedelta(days=365), rating=5, tags=(COMMON_TAG,)
        ),
        "until long ago, a usual model": Query(until=_DAY, models=(USUAL,)),
        "the trash": Query(in_trash=True),
        "the trash, an idle backend": Query(in_trash=True, backend=IDLE),
        "the trash, a tag on 20 %": Query(in_trash=True, tags=(COMMON_TAG,)),
        "the trash, 5 stars": Query(in_trash=True, rating=5),
        "everything at once": Query(
            since=_DAY, until=week, backend=BUSY, models=(USUAL,), rating=1, tags=(COMMON_TAG,)
        ),
    }.items():
        yield Case(what, query)


def searches(newest: datetime) -> Iterator[Case]:
    """By words, and by words and more."""
    two = f"{word(0)} {word(1)}"
    some = f"{word(30)} {word(40)}"
    rare = f"{word(9_000)} {word(3)}"
    for what, query in {
        "one word of 40 %": Query(text=word(0)),
        "two words of 40 and 34 %": Query(text=two),
        "two words of 8 and 6 %": Query(text=some),
        "two words of 1 %": Query(text=f"{word(300)} {word(310)}"),
        "two words of 0.1 %": Query(text=f"{word(3_000)} {word(3_100)}"),
        "two words, 0.03 and 25 %": Query(text=rare),
        "two words that never meet": Query(text=f"{word(19_000)} {word(18_000)}"),
        "an unknown word": Query(text=f"{word(0)} nowhere"),
        "five words": Query(text=" ".join(map(word, range(5)))),
        "a phrase of common words": Query(text=f'"{two}"'),
        "a phrase of rarer words": Query(text=f'"{some}"'),
        "an unknown phrase": Query(text=f'"{word(0)} {word(19_000)}"'),
        "a beginning of 1 letter": Query(text="b*"),
        "a beginning of 2 letters": Query(text=f"{word(0)} st*"),
        "a beginning of 3 letters": Query(text=f"{word(0)} glo*"),
        "a beginning of 5 letters": Query(text=f"{word(0)} {word(1)[:5]}*"),
        "all but a common word": Query(text=f"{word(2)} -{word(0)}"),
        "two words, the last week": Query(text=two, since=newest - timedelta(days=7)),
        "two words, a day long ago": Query(text=two, since=_DAY, until=_DAY + timedelta(days=1)),
        "two words, until long ago": Query(text=two, until=_DAY),
        "two words, a busy backend": Query(text=two, backend=BUSY),
        "two words, an idle backend": Query(text=two, backend=IDLE),
        "two words, an odd model": Query(text=two, models=(ODD,)),
        "two words, an idle backend, an odd model": Query(text=two, backend=IDLE, models=(ODD,)),
        "two words, 4 stars": Query(text=two, rating=4),
        "two words, 5 stars, an idle backend": Query(text=two, rating=5, backend=IDLE),
        "two words, a tag on 20 %": Query(text=two, tags=(COMMON_TAG,)),
        "two words, a tag on 0.1 %": Query(text=two, tags=(PRINTED,)),
        "two words, the trash": Query(text=two, in_trash=True),
        "two rarer words, an idle backend": Query(text=some, backend=IDLE),
        "two rarer words, 4 stars": Query(text=some, rating=4),
    }.items():
        yield Case(what, query)
