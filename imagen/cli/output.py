"""What commands that make pictures tell: paths, receipts, costs, plans; or all of it as JSON."""

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
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from imagen.core.request import Request
    from imagen.core.ticket import Estimate, Ticket
    from imagen.outputs import SavedImage
    from imagen.pipeline.generate import Generation

    More = Callable[[Sequence[Generation]], Mapping[str, Any]]


def tell(
    made: Sequence[Generation],
    *,
    as_json: bool,
    asked: Collection[str] | None = None,
    more: More | None = None,
    is_stdout: bool = False,
) -> None:
    """The paths on stdout, a line each, and what the user would want to know on stderr.

    `asked` names what the user asked for, where that is known. With `as_json` all of it is JSON,
    and `more` is what else stands in it. Where the image itself `is_stdout`, the paths are on
    stderr, too.
    """
    if as_json:
        click.echo(json.dumps(as_data(made) | dict(more(made) if more else {}), indent=2))
        return
    is_terminal = sys.stdout.isatty()
    costs = () if is_terminal and len(made) == 1 else actual(made)  # one cost is shown below
    for sentence in (*_remarks(made, asked), *costs):
        echo(shorten_words(sentence), err=True)
    for run in made:
        for saved in run.saved:
            click.echo(str(saved.path), err=is_stdout)
            if is_terminal:
                echo(f"  {_summary(run, saved)}", hanging=2, dim=True)


def _summary(run: Generation, saved: SavedImage) -> str:
    """`studio, seed 7, 1024x1024, 2.3 s, $0.003`; of a batch the last image has time and cost."""
    facts, is_last = run.result.facts, saved is run.saved[-1]
    return summarize_image(
        run.ticket.backend,
        seed=saved.seed,
        size=(saved.width, saved.height),
        seconds=facts.latency_seconds if is_last else None,
        cost=cost_of(run) if is_last else "",
        images=len(run.saved),
    )


def summarize_image(
    backend: str,
    *,
    seed: int | None,
    size: tuple[int | None, int | None],
    seconds: float | None,
    cost: str,
    images: int = 1,
) -> str:
    """What a terminal shows of an image below its path: as much as is known."""
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


def _remarks(made: Sequence[Generation], asked: Collection[str] | None) -> list[str]:
    found = [s for run in made for s in (*surprises(run.ticket, asked), *run.result.warnings)]
    about_files = [saved.warning for run in made for saved in run.saved if saved.warning]
    beside = [run.remark for run in made if run.remark]
    return list(dict.fromkeys([*found, *about_files, *beside]))


def surprises(ticket: Ticket, asked: Collection[str] | None = None) -> list[str]:
    """A sentence for each parameter that was clamped, dropped, not read, or mapped for a reason.

    That what nobody asked for was mapped, as a seed that was drawn, is no surprise.
    """
    return [*not_honoured(ticket.receipt), *_mapped(ticket, asked)]


def _mapped(ticket: Ticket, asked: Collection[str] | None = None) -> Iterator[str]:
    together: dict[str, list[str]] = {}
    for name, fate in ticket.receipt.items():
        is_told = UNREAD in fate.why  # as not honoured
        if (
            fate.outcome == "mapped"
            and fate.why
            and not is_told
            and (asked is None or name in asked)
        ):
            together.setdefault(fate.ending, []).append(f"{name} {_worded(fate.asked)}")
    for ending, values in together.items():
        yield f"{one_line(', '.join(values))} {ending}"


def _worded(value: Any) -> str:
    """Without quotes around a text, since many stand in one sentence."""
    return value if isinstance(value, str) else format_value(value)


def as_data(made: Sequence[Generation]) -> dict[str, Any]:
    """The documented JSON of all commands that make pictures, and of `resume`."""
    from dataclasses import asdict

    return {
        "images": [_picture(saved) for run in made for saved in run.saved],
        "backend": made[0].ticket.backend,
        "generations": [
            {
                "id": run.ticket.id,
                "request": run.ticket.request.model_dump(mode="json", exclude_defaults=True),
                "receipt": _receipt(run.ticket),
                "inputs": [asdict(given) for given in run.ticket.inputs],
                "facts": asdict(run.result.facts),
                "warnings": [
                    *run.result.warnings,
                    *(saved.warning for saved in run.saved if saved.warning),
                    *([run.remark] if run.remark else []),
                ],
            }
            for run in made
        ],
    }


def _picture(saved: SavedImage) -> dict[str, Any]:
    return {
        "path": str(saved.path),
        "sidecar": str(saved.sidecar) if saved.sidecar else None,
        "seed": saved.seed,
        "width": saved.width,
        "height": saved.height,
        "media_type": saved.media_type,
        "index": saved.index,
    }


def _receipt(ticket: Ticket) -> dict[str, Any]:
    return {name: fate.model_dump(mode="json") for name, fate in ticket.receipt.items()}


def tell_plan(
    tickets: Sequence[Ticket],
    *,
    as_json: bool,
    more: More | None = None,
    budgets: Sequence[str] = (),
) -> None:
    """What would be sent, what it would cost, and what the budgets have to say of that."""
    if as_json:
        plan = {
            "plan": [plan_as_data(ticket) for ticket in tickets],
            "compute": compute_of(tickets),
            "budgets": list(budgets),
        }
        click.echo(json.dumps(plan | dict(more([]) if more else {}), indent=2))
        return
    for _, alike in groupby(tickets, key=_but_for_its_seed):
        for line in _planned(list(alike)):
            echo(line, hanging=2)
    compute = f"Compute {format_compute(tickets)} (megapixels × steps)."
    for line in (compute, *expected(tickets), *budgets):
        echo(line)


def compute_of(tickets: Sequence[Ticket]) -> float | None:
    """Megapixels × steps of all images; None where one of the engines decides that itself."""
    each = [(ticket.request.compute, ticket.images) for ticket in tickets]
    known = [compute * images for compute, images in each if compute is not None]
    return sum(known) if len(known) == len(each) else None


def format_compute(tickets: Sequence[Ticket]) -> str:
    compute = compute_of(tickets)
    return "unknown" if compute is None else f"{compute:.4g}"


def plan_as_data(ticket: Ticket) -> dict[str, Any]:
    """The documented JSON of one run that would be sent."""
    from dataclasses import asdict

    return {
        "backend": ticket.backend,
        "request": ticket.request.model_dump(mode="json", exclude_defaults=True),
        "receipt": _receipt(ticket),
        "inputs": [asdict(given) for given in ticket.inputs],
        "warnings": list(ticket.warnings),
        "compute": compute_of([ticket]),
        "estimate": ticket.estimate and ticket.estimate.model_dump(mode="json"),
        "payload": ticket.payload,
    }


def _but_for_its_seed(ticket: Ticket) -> Request:
    return ticket.request.model_copy(update={"seed": None})


def _planned(tickets: Sequence[Ticket]) -> Iterator[str]:
    """One run, or several that differ in their seeds alone."""
    ticket, last = tickets[0], tickets[-1]
    values = ticket.request.asked()
    if ticket is last:
        yield f"Would be sent to {ticket.backend}:"
    else:
        yield f"Would be sent to {ticket.backend}, in {len(tickets)} runs:"
        if "seed" in values:
            values["seed"] = f"{values['seed']} to {last.request.seed}"
    yield from (f"  {name}: {_shown(value)}" for name, value in values.items())
    yield from (f"  not honoured: {sentence}" for sentence in not_honoured(ticket.receipt))
    yield from (f"  {sentence}" for sentence in (*_mapped(ticket), *ticket.warnings))


def _shown(value: Any) -> str:
    """As it would be written in JSON, where it is no plain value."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_shown, value))}]"
    dumped = getattr(value, "model_dump", None)
    if dumped is None:
        return str(value)
    kept = {name: given for name, given in dumped().items() if given is not None}
    return json.dumps(kept, ensure_ascii=False)


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
