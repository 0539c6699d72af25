"""Results and plans of commands that generate images, as text and as JSON."""

from __future__ import annotations

import json
import sys
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.terminal import echo
from imagen.core.capabilities import UNREAD, format_value, not_honoured
from imagen.core.text import format_duration, format_usd, one_line, shorten_words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from imagen.core.ticket import Ticket
    from imagen.pipeline.generate import Generation

    MoreJson = Callable[[Sequence[Generation]], Mapping[str, object]]


# --- results ---


def print_generations(
    generations: Sequence[Generation],
    *,
    as_json: bool,
    requested: Collection[str] | None = None,
    more: MoreJson | None = None,
    is_stdout: bool = False,
) -> None:
    """Print the paths of the images on stdout, and remarks and costs on stderr.

    `requested` names the parameters that the user set, if they are known. `as_json` prints
    everything as JSON, with the fields of `more`. If stdout gets the image itself, `is_stdout`, the
    paths go to stderr.
    """
    if as_json:
        body = generations_json(generations) | dict(more(generations) if more else {})
        click.echo(json.dumps(body, indent=2))
        return
    is_terminal = sys.stdout.isatty()
    remarks = [
        *(
            sentence
            for each in generations
            for sentence in (*describe_changes(each.ticket, requested), *each.result.warnings)
        ),
        *(saved.warning for each in generations for saved in each.saved if saved.warning),
        *(each.remark for each in generations if each.remark),
    ]
    is_below = is_terminal and len(generations) == 1  # the summary has the cost
    for sentence in (*dict.fromkeys(remarks), *(() if is_below else cost_lines(generations))):
        echo(shorten_words(sentence), err=True)
    for each in generations:
        for saved in each.saved:
            click.echo(str(saved.path), err=is_stdout)
            if is_terminal:
                is_last = saved is each.saved[-1]  # has the time and cost of a batch
                summary = summarize_image(
                    each.ticket.backend,
                    seed=saved.seed,
                    size=(saved.width, saved.height),
                    seconds=each.result.facts.latency_seconds if is_last else None,
                    cost=format_cost(each) if is_last else "",
                    images=len(each.saved),
                )
                echo(f"  {summary}", hanging=2, dim=True)


def summarize_image(
    backend: str,
    *,
    seed: int | None,
    size: tuple[int | None, int | None],
    seconds: float | None,
    cost: str,
    images: int = 1,
) -> str:
    """`studio, seed 7, 1024x1024, 2.3 s, $0.003`, as far as it is known."""
    width, height = size
    parts = (
        one_line(backend),
        "" if seed is None else f"seed {seed}",
        f"{width}x{height}" if width and height else "",
        "" if seconds is None else format_duration(seconds),
        cost,
        f"all {images} images" if images > 1 and (seconds is not None or cost) else "",
    )
    return ", ".join(filter(None, parts))


def describe_changes(ticket: Ticket, requested: Collection[str] | None = None) -> list[str]:
    """A sentence for each parameter that was clamped, dropped, not read, or mapped for a reason.

    Mapped parameters that the user did not set, such as a random seed, are left out.
    """
    endings: dict[str, list[str]] = {}
    for name, outcome in ticket.receipt.items():
        is_mapped = outcome.outcome == "mapped" and outcome.why and UNREAD not in outcome.why
        if is_mapped and (requested is None or name in requested):
            value = outcome.asked if isinstance(outcome.asked, str) else format_value(outcome.asked)
            endings.setdefault(outcome.ending, []).append(f"{name} {value}")
    mapped = [f"{one_line(', '.join(values))} {ending}" for ending, values in endings.items()]
    return [*not_honoured(ticket.receipt), *mapped]


def generations_json(generations: Sequence[Generation]) -> dict[str, Any]:
    """The documented JSON of all commands that generate images, and of `resume`."""
    from dataclasses import asdict

    return {
        "images": [
            {
                "path": str(saved.path),
                "sidecar": str(saved.sidecar) if saved.sidecar else None,
                "seed": saved.seed,
                "width": saved.width,
                "height": saved.height,
                "media_type": saved.media_type,
                "index": saved.index,
            }
            for each in generations
            for saved in each.saved
        ],
        "backend": generations[0].ticket.backend,
        "generations": [
            {
                "id": each.ticket.id,
                **_ticket_json(each.ticket),
                "facts": asdict(each.result.facts),
                "warnings": [
                    *each.result.warnings,
                    *(saved.warning for saved in each.saved if saved.warning),
                    *([each.remark] if each.remark else []),
                ],
            }
            for each in generations
        ],
    }


def _ticket_json(ticket: Ticket) -> dict[str, Any]:
    from dataclasses import asdict

    receipt = ticket.receipt.items()
    return {
        "request": ticket.request.model_dump(mode="json", exclude_defaults=True),
        "receipt": {name: outcome.model_dump(mode="json") for name, outcome in receipt},
        "inputs": [asdict(image) for image in ticket.inputs],
    }


# --- plans ---


def print_plan(
    tickets: Sequence[Ticket],
    *,
    as_json: bool,
    more: MoreJson | None = None,
    budgets: Sequence[str] = (),
) -> None:
    """Print what would be sent, what it would cost, and what the budgets say about it."""
    if as_json:
        from imagen.core.ticket import total_compute

        plan = {
            "plan": [plan_json(ticket) for ticket in tickets],
            "compute": total_compute(tickets),
            "budgets": list(budgets),
        }
        click.echo(json.dumps(plan | dict(more([]) if more else {}), indent=2))
        return
    for _, alike in groupby(tickets, key=lambda t: t.request.model_copy(update={"seed": None})):
        same = list(alike)  # one job, or several that differ only in their seeds
        ticket, last = same[0], same[-1]
        values = ticket.request.asked()
        jobs = "" if ticket is last else f" as {len(same)} jobs"
        if ticket is not last and "seed" in values:
            values["seed"] = f"{values['seed']} to {last.request.seed}"
        refused = not_honoured(ticket.receipt)
        mapped = describe_changes(ticket)[len(refused) :]
        for line in (
            f"Would be sent to {ticket.backend}{jobs}:",
            *(f"  {name}: {format_field(value)}" for name, value in values.items()),
            *(f"  not honoured: {sentence}" for sentence in refused),
            *(f"  {sentence}" for sentence in (*mapped, *ticket.warnings)),
        ):
            echo(line, hanging=2)
    compute = f"Compute: {format_compute(tickets)} (megapixels × steps)."
    for line in (compute, *estimate_lines(tickets), *budgets):
        echo(line)


def format_field(value: Any) -> str:
    """A field of a request; JSON if it has parts."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(format_field, value))}]"
    if not hasattr(value, "model_dump"):
        return str(value)
    return json.dumps(value.model_dump(exclude_none=True), ensure_ascii=False)


def plan_json(ticket: Ticket) -> dict[str, object]:
    """The documented JSON of one job that would be sent."""
    from imagen.views.estimates import PlannedGenerationView

    return PlannedGenerationView.of(ticket).as_data() | {"payload": ticket.payload}


def format_compute(tickets: Sequence[Ticket]) -> str:
    from imagen.core.ticket import total_compute

    compute = total_compute(tickets)
    return "unknown" if compute is None else f"{compute:.4g}"


# --- costs; engines that cost nothing are not mentioned ---


def format_money(amount: float, currency: str) -> str:
    """`$1.25`, and `1.25 CHF` in any other currency."""
    shown = format_usd(amount)
    return shown if currency == "USD" else f"{shown.replace('$', '')} {currency}"


def estimate_lines(tickets: Sequence[Ticket]) -> list[str]:
    """A line for each different estimate, and a total if there are several."""
    estimates = [ticket.estimate for ticket in tickets if ticket.estimate is not None]
    lines = dict.fromkeys(
        f"Cost unknown. {estimate.basis}".strip()
        if estimate.usd is None
        else f"Estimated cost: {format_usd(estimate.usd)}: {estimate.basis}"
        for estimate in estimates
    )
    known = [estimate.usd for estimate in estimates if estimate.usd is not None]
    if len(known) < 2:
        return [*lines]
    least = "" if len(known) == len(estimates) else "at least "
    return [*lines, f"Estimated total: {least}{format_usd(sum(known))} for {len(estimates)} jobs."]


def format_cost(generation: Generation) -> str:
    """`$0.003`, or `cost unknown` for a paid engine; empty for a free one."""
    usd = generation.result.facts.cost_usd
    if usd:
        return format_usd(usd)
    return "cost unknown" if generation.ticket.estimate and usd is None else ""


def cost_lines(generations: Sequence[Generation]) -> list[str]:
    """What the generations cost, in one line, if their engine is a paid one."""
    facts = [each.result.facts for each in generations]
    paid = [fact.cost_usd for fact in facts if fact.cost_usd]
    is_unknown = any(
        each.ticket.estimate and each.result.facts.cost_usd is None for each in generations
    )
    bases = "; ".join(
        dict.fromkeys(fact.cost_basis.rstrip(".") for fact in facts if fact.cost_basis)
    )
    if paid:
        least = "at least " if is_unknown else ""
        return [f"Cost: {least}{format_usd(sum(paid))}" + (f": {bases}." if bases else ".")]
    return ["Cost unknown." + (f" {bases}." if bases else "")] if is_unknown else []
