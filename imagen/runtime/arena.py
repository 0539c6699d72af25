"""The arena for clients: pairs whose images say nothing about what made them."""

from __future__ import annotations

import unicodedata
from io import BytesIO
from random import SystemRandom
from typing import TYPE_CHECKING

from PIL import Image

from imagen.arena.pairs import order_pairs
from imagen.arena.ranking import rank
from imagen.arena.sets import COMPARISON_ID, load_set, votes_of
from imagen.arena.votes import (
    LONGEST_VOTER,
    Pair,
    count_outcomes,
    count_shown,
    find_pair,
    find_pairs,
    new_pair_id,
    save_pair,
)
from imagen.core.image_file import DECODE_ERRORS, TooManyPixels, image_size
from imagen.errors import ImagenError, NotFound, RequestError
from imagen.inputs.decode import decode_file
from imagen.library import find_images_by_uid
from imagen.runtime.image_files import find_shown_file
from imagen.views.arena import ArenaPairView

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from random import Random

    from imagen.arena.sets import ArenaSet, Candidates
    from imagen.arena.votes import Contestant, Side
    from imagen.runtime.caller import Caller
    from imagen.runtime.runtime import Runtime

LONGEST_SIDE = 2048
"""Of the images that voters are shown."""
OWNER_VOTER = "owner"
"""The voter of a client that has neither a token of its own nor given a name."""
_SAME_SHAPE = 0.01
"""Of shapes that differ by less, one is stretched instead of padded."""
_QUALITY = 92
_METHOD = 1
"""The fastest but one: a voter waits for it."""


def voter_name(caller: Caller, given: str) -> str:
    """Who votes: the name of the token, or the one that the client gave; with both, both.

    Raises RequestError for a name that is too long or has invisible characters.
    """
    given = unicodedata.normalize("NFC", " ".join(given.split()))
    if len(given) > LONGEST_VOTER or not given.isprintable():
        raise RequestError(f"voter: expected a name of at most {LONGEST_VOTER} characters.")
    return "/".join(filter(None, (caller.name, given))) or OWNER_VOTER


def draw_pair(
    set_id: str,
    voter: str,
    runtime: Runtime,
    *,
    besides: Sequence[str] = (),
    random: Random | None = None,
) -> ArenaPairView:
    """The pair that this voter should be shown next. Raises NotFound if the set has none.

    `besides` are the pairs that are on the screen now.
    """
    random = random or SystemRandom()
    library = runtime.library
    chosen = load_set(set_id, library, runtime.settings.output.directory)
    on_screen = {frozenset((p.left.image, p.right.image)) for p in find_pairs(library, besides)}
    ordered = order_pairs(
        chosen.pairs,
        chosen.kind,
        count_outcomes(library, votes_of(set_id, chosen.kind)),
        shown=count_shown(library, chosen.kind, voter),
        votes=count_shown(library, chosen.kind, None),
        besides=on_screen,
        random=random,
    )
    for left, right, candidates in ordered:
        size = _common_size(left, right, runtime)
        if size is not None:
            pair = _make_pair(left, right, candidates, chosen, voter, size)
            save_pair(library, pair)
            return show_pair(pair, set_id, runtime)
    raise NotFound(
        "There is no pair of images to vote on in this set.",
        remedy="Compare at least two models with the same prompt and seed.",
    )


def _make_pair(
    left: Contestant,
    right: Contestant,
    candidates: Candidates,
    chosen: ArenaSet,
    voter: str,
    size: tuple[int, int],
) -> Pair:
    return Pair(
        id=new_pair_id(),
        kind=chosen.kind,
        set_id=candidates.set_id,
        prompt=candidates.prompt,
        seed=candidates.seed,
        left=left,
        right=right,
        width=size[0],
        height=size[1],
        voter=voter,
    )


def show_pair(pair: Pair, set_id: str, runtime: Runtime) -> ArenaPairView:
    """A pair as voters see it: without any hint at what made its images."""
    counted = count_outcomes(runtime.library, votes_of(set_id, pair.kind))
    own = count_outcomes(runtime.library, votes_of(set_id, pair.kind, pair.voter))
    ranking = rank(counted, pair.kind)
    return ArenaPairView(
        id=pair.id,
        set=set_id,
        kind=pair.kind,
        prompt=pair.prompt,
        width=pair.width,
        height=pair.height,
        voter=pair.voter,
        number=1 + sum(count for *_, choice, count in own if choice != "skip"),
        votes=ranking.votes,
        more_votes=ranking.more_votes,
    )


def read_pair_image(id: str, side: Side, runtime: Runtime) -> bytes:
    """One image of a pair as WebP, in the size of both and without metadata. Raises NotFound."""
    pair = find_pair(runtime.library, id)
    try:
        path = find_contestant_file(pair.side(side), runtime)
        image = decode_file(str(path), "The image").image
        return _encode(image, (pair.width, pair.height))
    except (ImagenError, *DECODE_ERRORS, MemoryError, Image.DecompressionBombError) as error:
        # The error would name the file.
        raise NotFound("An image of this pair cannot be shown.") from error


def find_contestant_file(contestant: Contestant, runtime: Runtime) -> Path:
    """The file of an image. Raises NotFound."""
    place, slash, name = contestant.image.partition("/")
    if slash:
        folder = runtime.settings.output.directory / place
        path = folder / name
        is_inside = path.resolve().is_relative_to(folder.resolve())
        if COMPARISON_ID.fullmatch(place) and is_inside and path.is_file():
            return path
    else:
        for image in find_images_by_uid(runtime.library, [contestant.image]):
            if not image.is_trashed:
                return find_shown_file(image, runtime.library, runtime.settings)[0]
    raise NotFound("An image of this pair is gone.")


def _common_size(left: Contestant, right: Contestant, runtime: Runtime) -> tuple[int, int] | None:
    """The size in which both are shown; None if a file is gone or cannot be read."""
    sizes = []
    for one in (left, right):
        try:
            sizes.append(image_size(find_contestant_file(one, runtime)))
        except (ImagenError, *DECODE_ERRORS, TooManyPixels):
            return None
    area = max(width * height for width, height in sizes)
    scaled = [(w * (area / (w * h)) ** 0.5, h * (area / (w * h)) ** 0.5) for w, h in sizes]
    width, height = max(w for w, _ in scaled), max(h for _, h in scaled)
    shrink = min(1.0, LONGEST_SIDE / max(width, height))
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def _encode(image: Image.Image, size: tuple[int, int]) -> bytes:
    """In this size; what does not fill it is transparent around it."""
    shape, wanted = image.width / image.height, size[0] / size[1]
    if abs(shape / wanted - 1) > _SAME_SHAPE:
        scale = min(size[0] / image.width, size[1] / image.height)
        inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        canvas = Image.new("RGBA", size)
        small = image.resize(inner, Image.Resampling.LANCZOS)
        canvas.paste(small, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
        image = canvas
    elif image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    data = BytesIO()
    image.info = {}
    image.save(data, "WEBP", quality=_QUALITY, method=_METHOD)
    return data.getvalue()
