"""What pictures cost, in words; of engines that cost nothing, nothing is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.core.text import format_usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.core.ticket import Estimate, Ticket
    from imagen.pipeline.generate import Generation


def money(amount: float, currency: str) -> str:
    """`$1.25`, and `1.25 CHF` in any other currency."""
    shown = format_usd(amount)
    return shown if currency == "USD" else f"{shown.replace('$', '')} {currency}"


def expected(tickets: Sequence[Ticket]) -> Iterator[str]:
    """A line for what each job will cost; and for all, where there are several."""
    estimates = [ticket.estimate for ticket in tickets if ticket.estimate is not None]
    yield from dict.fromkeys(map(_estimated, estimates))
    known = [estimate.usd for estimate in estimates if estimate.usd is not None]
    if len(known) > 1:
        least = "" if len(known) == len(estimates) else "at least "
        yield f"In all {least}about {format_usd(sum(known))}, for {len(estimates)} runs."


def _estimated(estimate: Estimate) -> str:
    if estimate.usd is None:
        return f"Cost unknown. {estimate.basis}".strip()
    return f"Cost about {format_usd(estimate.usd)}: {estimate.basis}"


def cost_of(run: Generation) -> str:
    """What one run cost: `$0.003`, or that it is unknown; nothing where it is free."""
    usd = run.result.facts.cost_usd
    if usd:
        return format_usd(usd)
    return "cost unknown" if run.ticket.estimate and usd is None else ""


def actual(made: Sequence[Generation]) -> Iterator[str]:
    """What it did cost, in a line, where its engine's owner is paid."""
    facts = [run.result.facts for run in made]
    paid = [fact.cost_usd for fact in facts if fact.cost_usd]
    unknown = [run for run in made if run.ticket.estimate and run.result.facts.cost_usd is None]
    each = dict.fromkeys(fact.cost_basis.rstrip(".") for fact in facts if fact.cost_basis)
    bases = "; ".join(each)
    if paid:
        least = "at least " if unknown else ""
        yield f"Cost {least}{format_usd(sum(paid))}" + (f": {bases}." if bases else ".")
    elif unknown:
        yield "Cost unknown." + (f" {bases}." if bases else "")
