"""Model families of the Images API: sizes, limits and prices, from `models.yaml`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from itertools import product
from typing import TYPE_CHECKING, Any

from imagen.core.request import read_size
from imagen.core.ticket import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

_IMAGE_MODELS = ("gpt-image-*", "chatgpt-image-*", "dall-e-*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesFamily:
    """What the models of one family accept."""

    models: tuple[str, ...]
    """Patterns of their names."""
    sizes: tuple[tuple[int, int], ...] = ()
    """The only sizes; empty: any size within the limits below."""
    multiple_of: int = 1
    min_side: int = 1
    max_side: int = 8192
    max_aspect: float = 64.0
    min_pixels: int = 0
    max_pixels: int = 2**31
    quality: tuple[str, ...]
    max_images: int
    references: int
    edits: bool
    streams: bool

    def nearest_size(self, width: int, height: int) -> tuple[int, int]:
        """The size that is nearest in shape, and then in area."""
        if self.sizes:
            return min(
                self.sizes,
                key=lambda size: (
                    round(abs(math.log(size[0] * height / (size[1] * width))), 2),
                    abs(math.log(size[0] * size[1] / (width * height))),
                ),
            )
        ratio = min(max(width / height, 1 / self.max_aspect), self.max_aspect)
        area: float = min(max(width * height, self.min_pixels), self.max_pixels)
        area = min(area, self.max_side**2 * min(ratio, 1 / ratio))
        sides = math.sqrt(area * ratio), math.sqrt(area / ratio)
        step = self.multiple_of
        wide, high = ([math.floor(side / step + n) * step for n in (-1, 0, 1, 2)] for side in sides)
        allowed = [size for size in product(wide, high) if self._allows(*size)]
        usual = min(max(round(min(sides)), self.min_side), self.max_side)
        return min(
            allowed or [(usual, usual)],
            key=lambda size: (
                round(abs(size[0] - sides[0]) + abs(size[1] - sides[1]), 3),
                -size[0] * size[1],
            ),
        )

    def _allows(self, width: int, height: int) -> bool:
        long, short = max(width, height), min(width, height)
        return (
            self.min_side <= short
            and long <= min(self.max_side, short * self.max_aspect)
            and self.min_pixels <= width * height <= self.max_pixels
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrices:
    """OpenAI's prices of one family, per million tokens; None is unknown."""

    models: tuple[str, ...]
    text_in: float
    image_in: float
    image_out: float
    text_out: float | None = None
    image: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Of one image, by quality and size."""
    as_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """The tokens that a server counted."""

    text_in: int = 0
    image_in: int = 0
    image_out: int = 0
    text_out: int = 0


@cache
def _table() -> Mapping[str, Any]:
    import yaml

    text = (resources.files(__package__) / "models.yaml").read_text(encoding="utf-8")
    table: Mapping[str, Any] = yaml.safe_load(text)
    return table


@cache
def find_family(model: str) -> ImagesFamily:
    """The family of a model; the last one fits every name."""
    row = next(row for row in _table()["families"] if _fits(model, row["models"]))
    sizes = tuple(map(read_size, row.get("sizes", ())))
    return ImagesFamily(**row | {"models": tuple(row["models"]), "sizes": sizes})


def is_image_model(model: str) -> bool:
    """Whether a model of OpenAI's list draws images, by its name."""
    return _fits(model, _IMAGE_MODELS)


def find_prices(model: str) -> TokenPrices | None:
    """OpenAI's prices of a model; None where they are not in the table."""
    for row in _table()["prices"]:
        if _fits(model, row["models"]):
            return TokenPrices(**row | {"as_of": str(_table()["as_of"])})
    return None


def estimate_cost(model: str, size: str, quality: str, images: int) -> Estimate:
    """What a request to OpenAI will cost, as far as that is known before."""
    prices = find_prices(model)
    if prices is None:
        return Estimate(basis=f"The price of {model} is not in imagen's table: see its page.")
    date = f"(estimate, OpenAI's prices of {prices.as_of})"
    each = prices.image.get(quality, {}).get(size)
    if each is None:
        why = f"Depends on the tokens of the image ({quality} quality, {size})"
        return Estimate(basis=f"{why}: ${prices.image_out:g} per million {date}.")
    usd = round(each * images, 6)
    basis = f"{images} × ${each:g} per image of {quality} quality, without input tokens {date}."
    return Estimate(usd=usd, basis=basis)


def calculate_cost(model: str, usage: TokenUsage) -> Estimate | None:
    """The cost of a request to OpenAI by the tokens that it counted; None where unknown."""
    prices = find_prices(model)
    if prices is None or not usage.image_out:
        return None
    text_out = prices.text_out if prices.text_out is not None else prices.image_out
    usd = (
        usage.text_in * prices.text_in
        + usage.image_in * prices.image_in
        + usage.image_out * prices.image_out
        + usage.text_out * text_out
    ) / 1e6
    tokens_in = usage.text_in + usage.image_in
    basis = (
        f"{tokens_in} tokens in, {usage.image_out + usage.text_out} out, at OpenAI's prices of "
        f"{prices.as_of}."
    )
    return Estimate(usd=round(usd, 6), basis=basis)


def _fits(model: str, patterns: tuple[str, ...] | list[str]) -> bool:
    return any(fnmatch(model, pattern) for pattern in patterns)
