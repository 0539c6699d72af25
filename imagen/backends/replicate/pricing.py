"""What a prediction costs: a table of prices, and the arithmetic on it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from imagen.core.ticket import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Unit = Literal["image", "megapixel", "second"]
_MEGAPIXEL = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One row of the table, in US dollars; None is unknown."""

    model: str
    unit: Unit
    usd: float | None
    input_megapixel: float = 0.0
    output_megapixel: float = 0.0
    as_of: str
    source: str
    when: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionUsage:
    """What one prediction does, as far as it is known; None is unknown."""

    images: int | None = None
    input_pixels: Sequence[int] = ()
    """Of each picture that goes in."""
    output_pixels: Sequence[int] | None = None
    """Of each picture that comes out."""
    seconds: float | None = None
    """Of compute."""


def find_price(
    model: str, inputs: Mapping[str, Any], *, hardware: str = "", table: PriceTable | None = None
) -> Price | None:
    """The row for this model with these inputs; for a deployment, that of its hardware."""
    rows = table or load_price_table()
    if hardware:
        return rows.hardware.get(hardware)
    return next((row for row in rows.prices if row.model == model and _fits(row, inputs)), None)


def calculate_cost(price: Price | None, work: PredictionUsage) -> Estimate:
    """What this work costs at this price."""
    if price is None or price.usd is None:
        return Estimate(basis="Its price is not in imagen's table: see the model's page.")
    return _BY_UNIT[price.unit](price, price.usd, work)


class PriceTable(NamedTuple):
    """All prices that are known."""

    prices: tuple[Price, ...]
    hardware: Mapping[str, Price]


@cache
def load_price_table() -> PriceTable:
    """The table that comes with imagen."""
    import yaml

    text = (resources.files(__package__) / "prices.yaml").read_text(encoding="utf-8")
    said = yaml.safe_load(text)
    general = {"as_of": said["as_of"], "source": said["source"]}
    return PriceTable(
        prices=tuple(_row(general | row) for row in said["prices"]),
        hardware={
            name: _row(general | {"model": name, "unit": "second"} | row)
            for name, row in said["hardware"].items()
        },
    )


def _row(said: Mapping[str, Any]) -> Price:
    source = said["source"].format(model=said["model"])
    return Price(**{**said, "as_of": str(said["as_of"]), "source": source})


def _fits(row: Price, inputs: Mapping[str, Any]) -> bool:
    return all(inputs.get(name) == value for name, value in row.when.items())


def _by_image(price: Price, usd: float, work: PredictionUsage) -> Estimate:
    rate = f"${usd:g} for each picture{_dated(price)}"
    if work.images is None:
        return Estimate(basis=rate)
    return Estimate(usd=_rounded(usd * work.images), basis=f"{work.images} × {rate}")


def _by_megapixel(price: Price, usd: float, work: PredictionUsage) -> Estimate:
    run = f"${usd:g} for the run, " if usd else ""
    rate = (
        f"{run}${price.input_megapixel:g} for each megapixel in and "
        f"${price.output_megapixel:g} for each out{_dated(price)}"
    )
    if work.output_pixels is None:
        return Estimate(basis=f"It depends on the size that comes out: {rate}")
    taken = sum(math.ceil(pixels / _MEGAPIXEL) for pixels in work.input_pixels)
    given = sum(work.output_pixels) / _MEGAPIXEL
    amount = usd + price.input_megapixel * taken + price.output_megapixel * given
    basis = f"{taken:g} megapixels in, {given:.3g} out: {rate}"
    return Estimate(usd=_rounded(amount), basis=basis)


def _by_second(price: Price, usd: float, work: PredictionUsage) -> Estimate:
    rate = f"${usd:g} for each second of compute{_dated(price)}"
    if work.seconds is None:
        return Estimate(basis=f"It depends on how long it takes: {rate}")
    return Estimate(usd=_rounded(usd * work.seconds), basis=f"{work.seconds:.2f} s: {rate}")


_BY_UNIT = {"image": _by_image, "megapixel": _by_megapixel, "second": _by_second}


def _dated(price: Price) -> str:
    return f" (estimated, by Replicate's prices of {price.as_of})."


def _rounded(usd: float) -> float:
    """To a ten-thousandth of a cent: sums of floats end in noise."""
    return round(usd, 6)
