"""Requests whose prompts hold wildcards, as the requests without wildcards that they stand for."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from imagen.core.prompt_syntax import TEXTS
from imagen.core.request import LARGEST_SEED
from imagen.pipeline.resolve import draw_small_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from imagen.batch.wildcards import Wildcards
    from imagen.config import Settings
    from imagen.core.request import Request


def expand_request(
    request: Request,
    wildcards: Wildcards,
    settings: Settings,
    *,
    finished: Collection[str] = (),
    draw: Callable[[], int] = draw_small_seed,
) -> list[Request]:
    """The requests that a request with wildcards stands for: one for each of its images.

    The seed of an image decides its texts, and is drawn here if the request has none. A request
    without wildcards, or whose images share a latent batch, stays one request. Texts that are
    `finished` are left as they are. Raises RequestError for a fault in a wildcard.
    """
    texts = _changing_texts(request, wildcards, finished)
    if not any(map(wildcards.has_choices, texts.values())):
        return [_with_texts(request, {n: wildcards.expand(t, 0) for n, t in texts.items()})]
    seed = _own_seed(request, settings, draw)
    if request.latent_batch:
        expanded = {name: wildcards.expand(text, seed, name) for name, text in texts.items()}
        return [_with_texts(request, expanded, seed=seed)]
    return [
        _with_texts(
            request,
            {name: wildcards.expand(text, each, name) for name, text in texts.items()},
            seed=each,
            count=None,
        )
        for each in ((seed + n) % (LARGEST_SEED + 1) for n in range(request.count or 1))
    ]


def combine_request(
    request: Request,
    wildcards: Wildcards,
    settings: Settings,
    *,
    finished: Collection[str] = (),
    draw: Callable[[], int] = draw_small_seed,
) -> Iterator[Request]:
    """The request with every combination of its wildcards; all of them share its seed.

    Raises RequestError for a fault in a wildcard, and for too many combinations.
    """
    texts = _changing_texts(request, wildcards, finished)
    if not texts:
        yield request
        return
    count_combinations(request, wildcards, finished)
    seed = _own_seed(request, settings, draw)
    for combination in product(*(wildcards.combinations(text) for text in texts.values())):
        yield _with_texts(request, dict(zip(texts, combination, strict=True)), seed=seed)


def count_combinations(
    request: Request, wildcards: Wildcards, finished: Collection[str] = ()
) -> int:
    """How many requests `combine_request` gives; raises what it raises."""
    return wildcards.count(*_changing_texts(request, wildcards, finished).values())


def _changing_texts(
    request: Request, wildcards: Wildcards, finished: Collection[str]
) -> dict[str, str]:
    """The texts that are not sent as they are."""
    if request.template is not None:
        return {}
    texts = {name: getattr(request, name) for name in TEXTS if name not in finished}
    return {name: text for name, text in texts.items() if text and wildcards.changes(text, name)}


def _own_seed(request: Request, settings: Settings, draw: Callable[[], int]) -> int:
    seed = request.seed
    if seed is None and request.style in settings.styles:
        seed = settings.styles[request.style].seed
    return draw() if seed is None or seed == -1 else seed


def _with_texts(request: Request, texts: dict[str, str], **values: object) -> Request:
    if not texts:
        return request
    template = {"template": request.prompt} if "prompt" in texts else {}
    return request.model_copy(update={**template, **texts, **values})  # all of it is valid
