"""Costs are calculated from the price table."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from simulators.replicate import DEPLOYMENT, Replicate
from support.replicate_backend import REQUEST, generate, open_replicate, prepare_ticket

from imagen.backends.replicate.pricing import (
    PredictionUsage,
    Price,
    calculate_cost,
    find_price,
    load_price_table,
)
from imagen.core.ticket import Estimate

pytestmark = pytest.mark.usefixtures("replicate_token")

_DATE = " (estimate, Replicate's prices of 2026-09-16)."


def _price(model: str, **inputs: Any) -> Price | None:
    return find_price(model, inputs)


@pytest.mark.parametrize(
    ("model", "inputs", "work", "usd"),
    [
        pytest.param(
            "black-forest-labs/flux-schnell", {}, PredictionUsage(images=4), 0.012, id="4 × $0.003"
        ),
        pytest.param(
            "black-forest-labs/flux-1.1-pro", {}, PredictionUsage(images=1), 0.04, id="1 × $0.04"
        ),
        pytest.param(
            "black-forest-labs/flux-2-pro",
            {},
            PredictionUsage(input_pixels=[2_250_000], output_pixels=[1_000_000]),
            0.075,
            id="0.015 + 3 × 0.015 + 1 × 0.015",
        ),
        pytest.param(
            "black-forest-labs/flux-2-max",
            {},
            PredictionUsage(output_pixels=[1_500_000]),
            0.085,
            id="0.04 + 1.5 × 0.03",
        ),
        pytest.param(
            "black-forest-labs/flux-2-dev",
            {"go_fast": True},
            PredictionUsage(input_pixels=[400_000], output_pixels=[1_000_000]),
            0.024,
            id="go_fast: 1 × 0.012 + 1 × 0.012",
        ),
        pytest.param(
            "black-forest-labs/flux-2-dev",
            {"go_fast": False},
            PredictionUsage(output_pixels=[1_000_000]),
            0.014,
            id="without go_fast: 0.014",
        ),
        pytest.param(
            "stability-ai/sdxl", {}, PredictionUsage(seconds=8.0), 0.0078, id="8 s × $0.000975"
        ),
        pytest.param(
            "google/nano-banana-pro",
            {"resolution": "4K"},
            PredictionUsage(images=2),
            0.6,
            id="2 × $0.30",
        ),
        pytest.param(
            "google/nano-banana-pro",
            {"resolution": "2K"},
            PredictionUsage(images=2),
            0.3,
            id="2 × $0.15",
        ),
        pytest.param(
            "google/nano-banana-2", {}, PredictionUsage(images=2), None, id="null is unknown"
        ),
        pytest.param("acme/painter", {}, PredictionUsage(images=2), None, id="no row is unknown"),
        pytest.param(
            "stability-ai/sdxl", {}, PredictionUsage(images=1), None, id="seconds are not known yet"
        ),
        pytest.param(
            "black-forest-labs/flux-2-pro",
            {},
            PredictionUsage(images=1),
            None,
            id="the size is not known",
        ),
        pytest.param("black-forest-labs/flux-dev", {}, PredictionUsage(), None, id="without count"),
    ],
)
def test_the_cost_follows_from_price_and_usage(
    model: str, inputs: dict[str, Any], work: PredictionUsage, usd: float | None
) -> None:
    assert calculate_cost(find_price(model, inputs), work).usd == usd


def test_the_cost_basis_explains_the_calculation() -> None:
    found = calculate_cost(_price("black-forest-labs/flux-schnell"), PredictionUsage(images=2))
    assert found == Estimate(usd=0.006, basis=f"2 × $0.003 per image{_DATE}")
    found = calculate_cost(
        _price("black-forest-labs/flux-2-pro"), PredictionUsage(output_pixels=[1_048_576])
    )
    assert found == Estimate(
        usd=0.030729,
        basis="0 megapixels in, 1.05 out: $0.015 per run, $0.015 per input megapixel and "
        f"$0.015 per output megapixel{_DATE}",
    )
    found = calculate_cost(_price("stability-ai/sdxl"), PredictionUsage())
    assert found == Estimate(
        basis=f"Depends on the run time: $0.000975 per second of compute{_DATE}"
    )


def test_hardware_has_a_price_per_second() -> None:
    price = find_price("acme/painter", {}, hardware="gpu-t4")
    assert calculate_cost(price, PredictionUsage(seconds=10.0)).usd == 0.00225
    assert find_price("acme/painter", {}, hardware="gpu-of-next-year") is None


def test_every_price_has_a_date_and_a_source() -> None:
    rows = [*load_price_table().prices, *load_price_table().hardware.values()]
    assert len(rows) > 40
    assert [row.model for row in rows if not row.source.startswith("https://replicate.com/")] == []
    assert {row.as_of for row in rows} == {"2026-09-16", "2026-05-04"}


def test_every_price_is_above_zero() -> None:
    rows = [row for row in load_price_table().prices if row.usd is not None]
    assert [r.model for r in rows if r.usd + r.input_megapixel + r.output_megapixel <= 0] == []  # type: ignore[operator]


def test_a_ticket_has_an_estimate_before_anything_is_sent() -> None:
    with Replicate() as cloud:
        ticket = prepare_ticket(cloud, REQUEST, model="black-forest-labs/flux-schnell")
        unknown = prepare_ticket(cloud, REQUEST)
    assert ticket.estimate == Estimate(usd=0.003, basis=f"1 × $0.003 per image{_DATE}")
    assert unknown.estimate == Estimate(
        usd=None, basis="The price is not in imagen's table: see the model's page."
    )
    assert cloud.submissions == 0


def test_a_deployment_costs_by_its_hardware() -> None:
    with Replicate(seconds=0.2) as cloud:
        facts = generate(cloud, model=f"deployments/{DEPLOYMENT}").facts
    assert facts.cost_usd == 0.000045
    assert facts.cost_basis == (
        "0.20 s: $0.000225 per second of compute (estimate, Replicate's prices of 2026-05-04)."
    )


def test_input_images_are_counted_in_the_cost(tmp_path: Any) -> None:
    from PIL import Image

    Image.new("RGB", (1500, 1000)).save(tmp_path / "a.png")
    with (
        Replicate() as cloud,
        closing(open_replicate(cloud.url, model="black-forest-labs/flux-2-pro")) as e,
    ):
        asked = REQUEST.with_values({"references": (str(tmp_path / "a.png"),)})
        ticket = e.prepare(asked)
        result = e.collect(ticket, lambda _: None)
    assert ticket.estimate is not None
    assert ticket.estimate.usd is None
    assert result.facts.cost_usd == 0.045104  # 0.015 + 2 × 0.015 + 96 × 72 px × 0.015
