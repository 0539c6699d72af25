"""Progress of one prediction in words and a fraction that never falls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.core.result import Progress

if TYPE_CHECKING:
    from imagen.backends.replicate.answers import Prediction
    from imagen.core.result import OnProgress, Stage
    from imagen.core.ticket import Ticket

_FETCHING = 0.95


class Telling:
    """Tells the caller how far one prediction is."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._fraction = 0.0
        self._last: Prediction | None = None

    def submitted(self, ticket: Ticket | None = None) -> None:
        """Replicate has, or may have, the job; or it is still being asked to take it."""
        self._tell("submitted", ticket=ticket)

    def waiting(self, found: Prediction | None = None) -> None:
        """Where the prediction is now, or was when it was last looked at."""
        self._last = found or self._last
        if self._last is None or self._last.status == "starting":
            self._tell("queued")
            return
        steps = self._last.steps
        if steps is None or not steps[1]:
            self._tell("running", node=self._last.model)
            return
        self._raise_to(_FETCHING * min(steps[0] / steps[1], 1.0))
        self._tell("running", node=self._last.model, step=steps[0], steps=steps[1])

    def fetching(self) -> None:
        self._raise_to(_FETCHING)
        self._tell("fetching")

    def done(self) -> None:
        self._raise_to(1.0)
        self._tell("done")

    def _raise_to(self, fraction: float) -> None:
        self._fraction = max(self._fraction, fraction)

    def _tell(self, stage: Stage, **facts: Any) -> None:
        self._on_progress(Progress(stage=stage, fraction=self._fraction, **facts))
