"""What a prediction costs: the price table and the calculation."""

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
    when: Mapping[str, object] = field(default_factory=dict)
    """Values of inputs for which the row holds."""


class PriceTable(NamedTuple):
    """All known prices, by model and by hardware."""

    prices: tuple[Price, ...]
    hardware: Mapping[str, Price]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionUsage:
    """What a prediction uses; None is unknown."""

    images: int | None = None
    input_pixels: Sequence[int] = ()
    """Of each input image."""
    output_pixels: Sequence[int] | None = None
    """Of each generated image."""
    seconds: float | None = None
    """Of compute."""


@cache
def load_price_table() -> PriceTable:
    """The table that ships with imagen."""
    import yaml

    text = (resources.files(__package__) / "prices.yaml").read_text(encoding="utf-8")
    table = yaml.safe_load(text)

    def price(row: Mapping[str, Any]) -> Price:
        values = {"as_of": table["as_of"], "source": table["source"], **row}
        source = values["source"].format(model=values["model"])
        return Price(**values | {"as_of": str(values["as_of"]), "source": source})

    return PriceTable(
        prices=tuple(price(row) for row in table["prices"]),
        hardware={
            name: price({"model": name, "unit": "second", **row})
            for name, row in table["hardware"].items()
        },
    )


def find_price(
    model: str, inputs: Mapping[str, object], *, hardware: str = "", table: PriceTable | None = None
) -> Price | None:
    """The row for this model with these inputs; for a deployment, the row of its hardware."""
    table = table or load_price_table()
    if hardware:
        return table.hardware.get(hardware)
    for row in table.prices:
        if row.model == model and all(inputs.get(key) == row.when[key] for key in row.when):
            return row
    return None


def calculate_cost(price: Price | None, usage: PredictionUsage) -> Estimate:
    """The cost of this usage at this price, as far as both are known."""
    if price is None or price.usd is None:
        return Estimate(basis="The price is not in imagen's table: see the model's page.")
    usd, amount = price.usd, None
    date = f" (estimate, Replicate's prices of {price.as_of})."
    if price.unit == "image":
        basis = f"${usd:g} per image{date}"
        if usage.images is not None:
            amount = usd * usage.images
            basis = f"{usage.images} × {basis}"
    elif price.unit == "second":
        basis = f"${usd:g} per second of compute{date}"
        if usage.seconds is not None:
            amount = usd * usage.seconds
        known = "Depends on the run time" if usage.seconds is None else f"{usage.seconds:.2f} s"
        basis = f"{known}: {basis}"
    else:
        run = f"${usd:g} per run, " if usd else ""
        basis = (
            f"{run}${price.input_megapixel:g} per input megapixel and "
            f"${price.output_megapixel:g} per output megapixel{date}"
        )
        known = "Depends on the output size"
        if usage.output_pixels is not None:
            pixels_in, pixels_out = usage.input_pixels, usage.output_pixels
            megapixels_in = sum(math.ceil(pixels / _MEGAPIXEL) for pixels in pixels_in)
            megapixels_out = sum(pixels_out) / _MEGAPIXEL
            amount = usd + price.input_megapixel * megapixels_in
            amount += price.output_megapixel * megapixels_out
            known = f"{megapixels_in:g} megapixels in, {megapixels_out:.3g} out"
        basis = f"{known}: {basis}"
    # To a ten-thousandth of a cent: sums of floats end in noise.
    return Estimate(usd=None if amount is None else round(amount, 6), basis=basis)
