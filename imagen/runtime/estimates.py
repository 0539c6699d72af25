"""Estimate what requests would cost and take, before they are sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imagen.comparison.plan import estimate_seconds
from imagen.core.capabilities import not_honoured
from imagen.core.ticket import total_compute
from imagen.errors import OverBudget
from imagen.jobs.forecast import WaitingJob, forecast, read_line
from imagen.jobs.submit import JobRequest, RefusedRows, SubmitOptions, affinity_of, plan_requests
from imagen.pipeline.budgets import refuse_over_budget
from imagen.runtime.run import choose_backend, with_default_model
from imagen.views.estimates import EstimateView, PlannedGenerationView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.core.request import Request
    from imagen.core.ticket import Ticket
    from imagen.jobs.forecast import Forecast
    from imagen.runtime.runtime import Runtime

_NEW = "new"


def estimate_requests(
    requests: Sequence[Request],
    runtime: Runtime,
    *,
    backend: str = "",
    is_strict: bool = False,
    caller: str | None = None,
) -> EstimateView:
    """What these requests would cost and take, if they were submitted together now.

    Nothing is sent. Of a pool, the backend with the most jobs or the highest cost stands for all.
    `caller` asks for them; by default as the settings say. Raises what submitting them raises,
    except OverBudget.
    """
    requests = [with_default_model(one, runtime, backend) for one in requests]
    name = choose_backend(requests[0], runtime, backend)
    options = SubmitOptions(backend=name, strict=is_strict, over_budget=True)
    rows = [JobRequest(request, name) for request in requests]
    try:
        plans, warnings = plan_requests(rows, runtime.settings, options, blobs=runtime.blobs)
    except RefusedRows as refused:
        raise refused.rows[0].error from None
    tickets = [ticket for plan in plans for ticket in plan]
    without_engine = sum(not plan for plan in plans)
    costs = [ticket.estimate.usd for ticket in tickets if ticket.estimate is not None]
    unable = [*dict.fromkeys(text for ticket in tickets for text in not_honoured(ticket.receipt))]
    expected, usual = _forecast(requests, plans, name, runtime)
    is_over_budget = False
    try:
        with runtime.library.reading() as connection:
            budgets = refuse_over_budget(
                tickets, runtime.settings, connection=connection, caller=caller
            )
    except OverBudget as error:
        budgets, is_over_budget = [error.message], True
    return EstimateView(
        backend=name,
        jobs=len(tickets) + without_engine,
        images=sum(ticket.images for ticket in tickets) + without_engine,
        compute=total_compute(tickets),
        cost_usd=None if None in costs else sum(cost or 0.0 for cost in costs),
        is_free=not costs,
        usual_seconds=usual,
        expected_start=expected and expected.start,
        expected_end=expected and expected.end,
        not_honoured=tuple(unable),
        warnings=tuple(text for text in warnings if text not in unable),
        budgets=tuple(budgets),
        is_over_budget=is_over_budget,
        plan=tuple(map(PlannedGenerationView.of, tickets)),
    )


def _forecast(
    requests: Sequence[Request], plans: Sequence[Sequence[Ticket]], backend: str, runtime: Runtime
) -> tuple[Forecast | None, float | None]:
    """When these requests would start and end behind all that waits; and their usual seconds."""
    store, settings, now = runtime.store, runtime.settings, datetime.now(UTC)
    models = [affinity_of(request, backend, settings) for request in requests]
    jobs = [model for model, plan in zip(models, plans, strict=True) for _ in plan or (None,)]
    workers, running = store.workers(), store.running()
    names = {name for worker in workers for name in worker.backends}
    members = settings.members(backend)
    speeds = store.speeds({job.backend for job in running} | names | {*members})
    new = [WaitingJob(f"{_NEW}{n}", _NEW, backend, model, now) for n, model in enumerate(jobs)]
    line = [*read_line(store.library), *new]
    expected = forecast(line, running, workers, settings.pools, speeds, now).get(_NEW)
    usual = []
    for model in jobs:
        known = [speeds[name, model].seconds for name in members if (name, model) in speeds]
        usual.append(min(known, default=None))
    if None in usual and (tickets := [ticket for plan in plans for ticket in plan]):
        usual = estimate_seconds(tickets, settings)
    seconds = [one for one in usual if one is not None]
    return expected, sum(seconds) if len(seconds) == len(usual) else None
