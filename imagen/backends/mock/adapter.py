"""One mock: settles a request, paints it step by step, or fails as it is told."""

from __future__ import annotations

import time
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from imagen.backends.base import Adapter, BackendConfig, Health
from imagen.backends.mock import abilities
from imagen.core.capabilities import resolve_parameters
from imagen.core.result import Facts, Output, Progress, Result
from imagen.core.text import did_you_mean
from imagen.core.ticket import Ticket, new_id
from imagen.errors import (
    BackendError,
    Failed,
    Lost,
    RateLimited,
    Rejected,
    RequestError,
    TimedOut,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.backends.base import Model
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress

_FAILURES: dict[str, tuple[type[BackendError], str]] = {
    "unavailable": (Unavailable, "was told to be out of reach"),
    "rate_limited": (RateLimited, "was told to ask for patience"),
    "unauthorized": (Unauthorized, "was told to refuse its credential"),
    "rejected": (Rejected, "was told to refuse this request"),
    "failed": (Failed, "was told to fail half-way"),
    "lost": (Lost, "was told to forget this job"),
    "timed_out": (TimedOut, "was told to take too long"),
}
_BEFORE_WORK = ("unavailable", "rate_limited", "unauthorized", "rejected")

Failure = Literal[
    "unavailable", "rate_limited", "unauthorized", "rejected", "failed", "lost", "timed_out"
]


class MockConfig(BackendConfig):
    """The block of a mock."""

    look: str = Field("", description="Another word here gives other pictures of the same prompt.")
    step_seconds: float = Field(0.0, ge=0, le=60, description="How long each step takes.")
    fail: Failure | None = Field(None, description="The way to fail: the `code` of an error.")


class Mock:
    """Paints deterministic pictures, step by step."""

    def __init__(self, config: MockConfig) -> None:
        self._config = config

    @property
    def engine(self) -> str:
        return "mock"

    def capabilities(
        self,
        task: Task = "text-to-image",
        model: str | None = None,  # noqa: ARG002 - all its models take the same
    ) -> Capabilities:
        return abilities.capabilities(task)

    def check(self) -> Health:
        if self._config.fail in _BEFORE_WORK:
            error = self._failure()
            return Health(ok=False, summary=error.message, remedies=("Remove `fail` here.",))
        return Health(ok=True)

    def prepare(self, request: Request) -> Ticket:
        values, receipt = resolve_parameters(request, self.capabilities(request.task))
        _refuse_unknown_models(request)
        return Ticket(
            id=new_id(),
            backend=self._config.name,
            request=request.exactly(values),
            receipt=receipt,
            payload={"look": self._config.look},
        )

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        started = time.monotonic()
        if self._config.fail in _BEFORE_WORK:
            raise self._failure()
        on_progress(Progress(stage="submitted", ticket=ticket.sent()))
        self._work(ticket.request.steps or 1, on_progress)
        outputs = tuple(self._paint(ticket, on_progress))
        on_progress(Progress(stage="done", fraction=1.0))
        return Result(outputs=outputs, facts=_facts(ticket.request, time.monotonic() - started))

    def models(self) -> tuple[Model, ...]:
        """A few names, so that there is something to list."""
        if self._config.fail in _BEFORE_WORK:
            raise self._failure()
        return abilities.MODELS

    def free(self) -> None:
        """Holds no memory."""

    def close(self) -> None:
        """Holds no connection."""

    def _work(self, steps: int, on_progress: OnProgress) -> None:
        for step in range(1, steps + 1):
            self._wait(self._config.step_seconds, step, steps, on_progress)
            if self._config.fail and step * 2 >= steps:
                raise self._failure()

    def _paint(self, ticket: Ticket, on_progress: OnProgress) -> Iterator[Output]:
        count = ticket.request.count or 1
        for index in range(count):
            on_progress(Progress(stage="fetching", fraction=0.9 + 0.1 * index / count))
            yield _picture(ticket, index)

    def _wait(self, seconds: float, step: int, steps: int, on_progress: OnProgress) -> None:
        """Tells of the step, then lets it last: told again each half second."""
        end = time.monotonic() + seconds
        while True:
            share = 0.9 * step / (steps + 1)
            on_progress(Progress(stage="running", fraction=share, step=step, steps=steps))
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.5))

    def _failure(self) -> BackendError:
        kind, what = _FAILURES[str(self._config.fail)]
        return kind(f"The mock {what}.", backend=self._config.name)


class _PNG(BytesIO):
    """A file in memory whose name spares Pillow from loading every format it knows."""

    name = "picture.png"


def _refuse_unknown_models(request: Request) -> None:
    """As an engine does that has no such file."""
    named = request.upscale.method if request.upscale else None
    _refuse_unknown("upscaler", named, tuple(abilities.UPSCALERS))
    named = request.restore.model if request.restore else None
    _refuse_unknown("restorer", named, abilities.RESTORERS)


def _refuse_unknown(what: str, name: str | None, known: tuple[str, ...]) -> None:
    if name is not None and name not in known:
        raise RequestError(
            f"The mock has no {what} {name!r}.{did_you_mean(name, known)}",
            remedy=f"It has: {', '.join(known)}.",
        )


def _picture(ticket: Ticket, index: int) -> Output:
    from imagen.backends.mock import tasks  # Pillow, which only painting needs

    picture = tasks.picture(ticket.request, str(ticket.payload.get("look", "")), index)
    data = _PNG()
    picture.save(data, compress_level=3)
    seed = None if ticket.request.seed is None else tasks.seed_of(ticket.request, index)
    return Output(data=data.getvalue(), media_type="image/png", seed=seed, index=index)


def _facts(request: Request, seconds: float) -> Facts:
    known: dict[str, Any] = {name: getattr(request, name) for name in _FACTS}
    model = request.model or abilities.CHECKPOINTS[0]
    return Facts(model=model, latency_seconds=seconds, cost_usd=0.0, cached=False, **known)


_FACTS = ("seed", "steps", "width", "height")

adapter = Adapter(MockConfig, Mock, summary="Paints pictures without any engine.")
