"""Following one job to its end: the websocket gives speed, history and queue give the truth."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imagen.backends.comfyui import events
from imagen.backends.comfyui.look import JobStatus, look
from imagen.errors import BackendError, Failed, Lost, RateLimited, TimedOut, Unavailable
from imagen.net.http import is_connection_refused
from imagen.net.threads import TICK_SECONDS, Background

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.backends.comfyui.client import ComfyClient
    from imagen.backends.comfyui.config import ComfyUIConfig
    from imagen.backends.comfyui.record import Record
    from imagen.backends.comfyui.telling import ProgressReporter
    from imagen.backends.comfyui.websocket import Listener

_GROWTH = 1.5
_SLOWEST = 10
"""The longest interval between two looks, in first ones."""
_HASTE = 5
"""How much sooner it is looked where no websocket tells."""
_LONGEST_MEND_PAUSE = 30.0
_PING_SECONDS = 20.0
_WHILE_LOOKING = 0.02
_HEARING_OUT_SECONDS = 1.0
_SURE = 2
"""How many looks in a row must miss a job before it is lost."""
_REFUSED_SECONDS = 30.0
"""How long the server, or a login page before it, may refuse every request."""

_TOLD = (events.Running, events.Stepped, events.Picture, events.Started)


class JobFollower:
    """The wait for one job that the server has."""

    def __init__(
        self,
        client: ComfyClient,
        listener: Listener,
        record: Record,
        telling: ProgressReporter,
        config: ComfyUIConfig,
        *,
        on_made: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._listener = listener
        self._record = record
        self._telling = telling
        self._config = config
        self._on_made = on_made
        self._clock = clock
        self._heard_the_end = False
        self._sight: JobStatus | None = None
        self._looking: Background[JobStatus] | None = None
        self._looks = 0
        self._missed = 0
        self._has_run = False
        self._mending: Background[None] | None = None
        self._mend_pause = config.poll_seconds
        now = clock()
        self._begun = self._moved = self._told = self._pinged = now
        self._mend_due = now
        self._gone_since: float | None = None
        self._stalled_since: float | None = None
        self._refused_since: float | None = None
        self._trouble: BackendError | None = None
        self._breaks = listener.breaks
        self._due = now + self.interval(self._looks)

    def to_the_end(self) -> None:
        """Return once the job has ended, well or badly.

        Raises Lost and TimedOut, Failed where the server can't run it, and what the caller raises.
        """
        while not self._record.ended:
            event = self._hear()
            now = self._clock()
            if event is not None:
                self._heard(event, now)
            self._see(now)
            self._mend(now)
            self._judge(now)
            if now - self._told >= TICK_SECONDS:
                self._tell(now)
        if self._record.needs_the_socket() and not self._heard_the_end:
            self._hear_out()

    def _hear_out(self) -> None:
        """The history was sooner than the websocket, and what is still to come is a result."""
        deadline = self._clock() + _HEARING_OUT_SECONDS
        while self._listener.is_open and not self._heard_the_end and self._clock() < deadline:
            event = self._listener.next(_WHILE_LOOKING)
            if event is not None:
                self._heard(event, self._clock())

    def _hear(self) -> events.Event | None:
        """The next event, waited for until there is something else to do."""
        wait = max(0.0, min(self._due - self._clock(), TICK_SECONDS))
        if self._looking is not None:
            wait = _WHILE_LOOKING
        if self._listener.is_open:
            return self._listener.next(wait)
        if self._looking is not None:
            self._looking.ready(TICK_SECONDS)
        elif wait:
            time.sleep(wait)
        return None

    def _heard(self, event: events.Event, now: float) -> None:
        if isinstance(event, events.QueueChanged):
            if self._record.started_at is None or self._listener.breaks:
                self._due = min(self._due, now + self._config.poll_seconds / 2)
            return
        self._heard_the_end = isinstance(event, events.Ended)
        self._record.take(event)
        self._moved, self._refused_since = now, None
        self._looks = 0
        self._due = now + self.interval(self._looks)
        if isinstance(event, events.Made):
            self._on_made()
        if isinstance(event, _TOLD):
            self._tell(now)

    def _see(self, now: float) -> None:
        """Take in a look that has ended; begin one that is due."""
        if self._looking is not None and self._looking.ready():
            looking, self._looking = self._looking, None
            self._looks += 1
            self._due = now + self.interval(self._looks)
            try:
                self._seen(looking.result(), now)
            except BackendError as error:
                self._missed_it(error, now)
        elif self._looking is None and now >= self._due:
            self._looking = Background(lambda: look(self._client, self._listener.prompt_id))

    def _seen(self, sight: JobStatus, now: float) -> None:
        self._gone_since, self._refused_since, self._trouble = None, None, None
        changed, self._sight = sight != self._sight, sight
        if sight.entry is not None:
            self._record.adopt(sight.entry)
        elif changed:
            self._moved = now
            self._tell(now)
        self._missed = self._missed + 1 if sight.is_gone else 0
        self._has_run = self._has_run or (sight.runs and self._listener.is_open)
        if not sight.is_stalled:
            self._stalled_since = None
        elif self._stalled_since is None:
            self._stalled_since = now

    def _missed_it(self, error: BackendError, now: float) -> None:
        """A server that answers anything at all may still have the job: only time tells."""
        if self._client.is_closed:
            raise error
        self._trouble = error
        if isinstance(error, Unavailable | RateLimited):
            self._refused_since = None
        else:
            self._refused_since = now if self._refused_since is None else self._refused_since
            self._refuse_refusals(error, now - self._refused_since)
        if not is_connection_refused(error):
            self._gone_since = None
            return
        self._gone_since = now if self._gone_since is None else self._gone_since
        if now - self._gone_since >= self._config.lost_seconds:
            raise Lost(
                f"{self._client.at} went away while it had the job: {error.message}",
                remedy="A server that ends forgets its queue: then start it and ask again.",
                is_certain=False,
            ) from error

    def _refuse_refusals(self, error: BackendError, seconds: float) -> None:
        """Raise Lost where no question about the job is answered any more; it may go on."""
        if seconds >= _REFUSED_SECONDS:
            raise Lost(
                f"{self._client.at} gave no state of the job for {seconds:.0f} seconds: "
                f"{error.message}",
                remedy=error.remedy,
                is_certain=False,
            ) from error

    def _mend(self, now: float) -> None:
        """Connect again where the websocket broke: it tells at least when the queue changes."""
        if self._listener.breaks > self._breaks:
            # What came in between is never told again: the history may have the end already.
            self._breaks, self._looks, self._due = self._listener.breaks, 0, now
        if self._listener.is_open or now < self._mend_due:
            return
        if self._mending is None or self._mending.ready():
            self._mending = Background(self._listener.open_again)
            self._mend_due = now + self._mend_pause
            self._mend_pause = min(self._mend_pause * 2, _LONGEST_MEND_PAUSE)

    def _judge(self, now: float) -> None:
        if self._record.ended:
            return
        config = self._config
        if self._missed >= _SURE:
            raise self._unknown()
        if self._stalled_since is not None and now - self._stalled_since >= config.lost_seconds:
            raise Failed(
                f"{self._client.at} answers, but runs nothing of what waits in its queue.",
                remedy="Restart ComfyUI: the part of it that runs jobs has died.",
            )
        if now - self._begun >= config.total_seconds:
            raise self._too_long("in all", config.total_seconds, "total_seconds")
        if now - self._moved >= config.idle_seconds:
            how = "without any progress"
            waits = self._sight is not None and self._sight.position is not None
            waits = waits and self._trouble is None  # or else the sight is an old one
            if waits:
                how += ": it waits in the queue behind a job that does not end"
            error = self._too_long(how, config.idle_seconds, "idle_seconds")
            if waits:
                remedy = "If ComfyUI's log says that its worker died, restart ComfyUI."
                raise error.with_remedy(remedy)
            raise error

    def _unknown(self) -> Lost:
        """Of a job that ran, a server that was never away has the end: something may hide it."""
        is_same_server = self._listener.is_open and not self._listener.breaks
        if self._has_run and is_same_server and not self._record.outputs:
            return Lost(
                f"{self._client.at} no longer knows the job, which ran there: its history was "
                "cleared, or something before the server answers with an old one.",
                is_certain=False,
            )
        return Lost(
            f"{self._client.at} no longer knows the job: the server was restarted, "
            "or somebody deleted the job from its queue."
        )

    def _too_long(self, how: str, seconds: float, key: str) -> TimedOut:
        what = f"The job took more than {seconds:g} seconds {how}."
        remedy = f"Where it needs longer, raise backends.{self._config.name}.{key}."
        if self._trouble is not None:
            what += f" It could not be looked for: {self._trouble.message}"
            remedy = self._trouble.remedy or remedy
        return TimedOut(what, remedy=remedy)

    def _tell(self, now: float) -> None:
        self._told = now
        if now - self._pinged >= _PING_SECONDS:
            self._pinged = now
            self._listener.ping()
        self._telling.waiting(self._record, self._sight)

    def interval(self, looks: int) -> float:
        """Seconds until the next look, after so many in a row that nothing else was heard."""
        first = self._config.poll_seconds
        grown = first * min(_GROWTH ** min(looks, _SLOWEST), _SLOWEST)
        if self._record.succeeded or self._record.broken or self._record.interrupted:
            return first / _HASTE
        return grown if self._listener.is_open else grown / _HASTE
