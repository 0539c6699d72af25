"""Progress of one prediction in words and a fraction that never falls."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from imagen.backends.replicate import errors, payload
from imagen.backends.replicate import outputs as fetch
from imagen.backends.replicate.errors import ATTEMPTS
from imagen.backends.replicate.outputs import OutputDownloader, build_facts
from imagen.core.json_values import as_mapping, as_time
from imagen.core.result import Progress, Result
from imagen.errors import BackendError, Cancelled, ImagenError, Lost, RateLimited, Unavailable
from imagen.net.http import is_connection_refused, not_sent, within
from imagen.net.retry import retry
from imagen.net.threads import TICK_SECONDS, Background, limit_total_time, run_while_reporting
from imagen.net.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imagen.backends.replicate.client import Prediction, ReplicateClient
    from imagen.backends.replicate.config import ModelReference, ReplicateConfig
    from imagen.core.result import OnProgress, Output, Stage
    from imagen.core.ticket import Ticket


_FETCHING = 0.95


class PredictionProgress:
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


_PATIENCE_SECONDS = 8.0
_GRACE_SECONDS = 2.0
"""For an answer that is on its way when patience ends."""
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5
_ATTEMPTS = 3


def cancel_prediction(
    client: ReplicateClient,
    which: Callable[[], str],
    *,
    deadline_seconds: float,
    is_settled: Callable[[], bool] = lambda: True,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> str:
    """Cancel the prediction; "" once it has certainly ended, or else a sentence about the doubt:
    also where it had succeeded by then, since its pictures are there, and paid for.

    `which` looks for its id; "" where there is none so far. `is_settled` says whether its
    submission is over: before that, not to find it means nothing.
    """
    limit = time.monotonic() + patience_seconds
    pause, attempts = _FIRST_PAUSE, 0
    doubt = "Replicate was asked to cancel the prediction and did not confirm it."
    while True:
        try:
            settled = is_settled()  # before: one that is taken in between is not yet looked for
            with within(limit - time.monotonic() + _GRACE_SECONDS):
                id = which()
                if (not id and settled) or (id and _once(client, id)):
                    return _MADE if id and _has_succeeded(client, id) else ""
        except BackendError as error:
            doubt = f"Replicate could not be asked to cancel the prediction: {error.message}"
            attempts += is_connection_refused(error)
        if time.monotonic() >= limit or attempts == _ATTEMPTS:
            return f"{doubt} It ends by itself after {deadline_seconds:g} s."
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


_MADE = "It had been made before it could be cancelled."


def _has_succeeded(client: ReplicateClient, id: str) -> bool:
    try:
        found = client.get(id)
    except Lost:
        return False
    return found.status == "succeeded" and not found.is_removed


def _once(client: ReplicateClient, id: str) -> bool:
    """One round of cancelling and looking; whether the prediction has ended."""
    try:
        if client.get(id).has_ended:
            return True
        client.cancel(id)
        return client.get(id).has_ended
    except Lost:  # nothing is there that could go on
        return True


_PAUSES = (0.2, 0.8, 2.0)
"""Seconds before each look for a prediction whose submission was not answered as it should be."""
_MARGIN = timedelta(seconds=2)
"""The API's dates are whole seconds in its headers."""
_TAKEN_BACK = frozenset({"canceled", "aborted"})


class PredictionSubmission:
    """One input on its way to the API; meant for a thread of its own."""

    def __init__(
        self,
        client: ReplicateClient,
        reference: ModelReference,
        values: Mapping[str, Any],
        began: datetime,
        *,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._client = client
        self._reference = reference
        self._values = values
        self._began = began
        self._given_up = Event()
        self._sleep = sleep or self._given_up.wait

    def give_up(self) -> None:
        """Send nothing more."""
        self._given_up.set()

    def run(self) -> Prediction:
        """Submit; again where the API certainly has no such prediction."""
        return retry(self._once, attempts=ATTEMPTS, sleep=self._pause)

    def find(self) -> Prediction | None:
        """Our prediction among the recent ones; None where there is none."""
        return find_prediction(self._client, self._reference, self._values, self._began)

    def _once(self) -> Prediction:
        if self._given_up.is_set():
            raise Cancelled
        try:
            return self._client.create(self._values)
        except BackendError as error:
            if not _is_open(error):
                raise
            found = self._look(error)
            if found is None:
                raise
            return found

    def _look(self, after: BackendError) -> Prediction | None:
        """Looked for more than once: the question may still be on its way. Raises Lost where it
        can't be told."""
        doubt: BackendError | None = after
        for pause in _PAUSES:
            self._pause(pause)
            try:
                found = self.find()
            except BackendError as error:
                doubt = error
                continue
            if found is not None:
                return found
            doubt = None
        if doubt is None:
            return None
        raise Lost(
            f"{self._client.at} broke off while the job was handed over, and can't be asked "
            "whether it took it.",
            remedy=doubt.remedy,
            is_certain=False,
        ) from doubt

    def _pause(self, seconds: float) -> None:
        self._sleep(seconds)


def find_prediction(
    client: ReplicateClient, reference: ModelReference, values: Mapping[str, Any], began: datetime
) -> Prediction | None:
    """The prediction with this input that was created since then; the oldest, if there are more.

    Raises Lost where there were too many since then to look through them all.
    """
    recent = client.recent(began - _MARGIN)
    is_ours = partial(_is_ours, reference, values, began + recent.ahead - _MARGIN)
    found = next(filter(is_ours, reversed(recent.predictions)), None)
    if found is None and not recent.is_all:
        raise Lost(
            f"The job is not among the last {len(recent.predictions)} predictions at "
            f"{client.at}, and more were made since it was submitted.",
            remedy="Look for it at https://replicate.com/predictions.",
            is_certain=False,
        )
    return found


def _is_open(error: BackendError) -> bool:
    """Whether the API may have taken a submission that ended in this error."""
    if isinstance(error, Unavailable):
        return not not_sent(error)
    return type(error) is BackendError  # an answer that nobody can read


def _is_ours(
    reference: ModelReference, values: Mapping[str, Any], since: datetime, found: Prediction
) -> bool:
    if found.created_at is None or found.created_at < since or found.status in _TAKEN_BACK:
        return False
    if not reference.is_deployment and found.model != reference.model:
        return False
    if reference.version and found.version != reference.version:
        return False
    return all(_is_same(value, found.input.get(name)) for name, value in values.items())


def _is_same(sent: Any, there: Any) -> bool:
    """Whether an input is the one we sent; the API does not keep files that lie within it."""
    if isinstance(sent, list) and isinstance(there, list):
        return len(sent) == len(there) and all(map(_is_same, sent, there))
    is_file = isinstance(sent, str) and sent.startswith("data:")
    if is_file and not (isinstance(there, str) and len(there) == len(sent)):
        return True
    return bool(sent == there)


_LONGER = "Give it longer with total_seconds: a model that sleeps takes minutes to wake."
_LONGEST_POLL = 3.0
_AFTER_TROUBLE = 1.0
_SETTLING_SECONDS = 1.0
_TIDYING_SECONDS = 5.0
_LISTED_WITHIN = timedelta(seconds=10)
"""How long after its submission a prediction may take to appear among the recent ones."""
_FILES_ARE_KEPT = timedelta(hours=1)
_TOLERANCE = timedelta(seconds=2)


class ReplicateJob:
    """One ticket of a Replicate backend."""

    def __init__(
        self,
        ticket: Ticket,
        client: ReplicateClient,
        config: ReplicateConfig,
        on_progress: OnProgress,
    ) -> None:
        self._ticket = ticket
        self._client = client
        self._config = config
        seconds = config.deadline_seconds
        self._telling = PredictionProgress(limit_total_time(on_progress, seconds, remedy=_LONGER))
        self._is_there = ticket.submitted
        """Whether Replicate may have the job."""
        self._uploads: payload.Uploads = dict(ticket.engine.get("uploads") or {})
        self._values: dict[str, Any] = dict(as_mapping(ticket.payload.get("input")))
        self._files: payload.Files = dict(ticket.payload.get("files") or {})

    def result(self) -> Result:
        """Submit the ticket, unless it was submitted already; wait; fetch."""
        try:
            result = self._result()
        except BaseException as error:
            if not (self._is_there and _may_go_on(error)):
                self._tidy()
            raise
        self._tidy()
        self._telling.done()
        return result

    def _result(self) -> Result:
        began = time.monotonic()
        found = self._attached() if self._ticket.submitted else self._submitted()
        found = self._followed(found, began)
        if found.status != "succeeded" or found.is_removed:
            raise errors.prediction_error(
                found, self._config.deadline_seconds, is_resumed=self._ticket.submitted
            )
        outputs = self._fetched(found)
        seed = self._ticket.request.seed
        seed = found.seed if seed is None else seed
        outputs = tuple(replace(one, seed=seed) for one in outputs)
        return Result(
            outputs=outputs,
            facts=build_facts(self._ticket, found, outputs, seed, time.monotonic() - began),
            warnings=_missing(self._ticket, outputs),
        )

    def _submitted(self) -> Prediction:
        """Hand the ticket over. It counts as submitted before it is: the question may get through
        where the answer does not."""
        loaded = payload.load_files(self._files)
        ship = partial(payload.upload_files, loaded, self._client, self._uploads)
        run_while_reporting(ship, self._telling.submitted)
        values = self._values | payload.file_urls(self._files, loaded, self._uploads)
        began = datetime.now(UTC)
        uploads = {"uploads": self._uploads} if self._uploads else {}
        sent = self._ticket.sent(began=began.isoformat(), **uploads)
        self._telling.submitted(sent)
        self._is_there = True
        submission = PredictionSubmission(self._client, self._config.reference, values, began)
        work = Background(submission.run)
        self._wait_for(work, submission)
        try:
            found = work.result()
        except Lost:
            raise
        except ImagenError:  # Replicate has no job of ours, whatever was sent
            self._is_there = False
            self._telling.submitted(self._ticket)
            raise
        with self._stopping(lambda: found.id):
            self._telling.submitted(sent.sent(prediction_id=found.id))
        return found

    def _attached(self) -> Prediction:
        """Find a prediction that was submitted before."""
        id = str(self._ticket.engine.get("prediction_id") or "")
        ask: Callable[[], Prediction | None] = self._searched
        if id:
            ask = partial(self._client.get, id)
        with self._stopping(lambda: id or self._searched_id()):
            while (
                found := run_while_reporting(
                    partial(retry, ask, attempts=errors.ATTEMPTS), self._telling.submitted
                )
            ) is None:
                self._rest(self._config.poll_seconds)
            self._telling.submitted(self._ticket.sent(prediction_id=found.id))
        return found

    def _searched(self) -> Prediction | None:
        """The process ended while it submitted: the prediction has no id that we know.

        None where it may yet be listed; raises Lost where it certainly was never made.
        """
        began = as_time(self._ticket.engine.get("began"))
        values = dict(self._values)
        with suppress(ImagenError, KeyError):  # files that are gone by now don't count
            loaded = payload.load_files(self._files)
            values |= payload.file_urls(self._files, loaded, self._uploads)
        if began is None:
            raise Lost("The ticket does not say when it was submitted.")
        if began > datetime.now(UTC) + _TOLERANCE:
            raise Lost(
                "This machine's clock was set back since the job was submitted, so its prediction "
                "can't be told from others.",
                remedy="Look for it at https://replicate.com/predictions.",
                is_certain=False,
            )
        is_late = datetime.now(UTC) - began > _LISTED_WITHIN
        found = find_prediction(self._client, self._config.reference, values, began)
        if is_late and found is None:
            raise Lost(
                f"Replicate has no prediction of {self._config.model} with this input since the "
                "job was submitted: it never arrived there.",
                never_ran=True,
            )
        return found

    def _searched_id(self) -> str:
        with suppress(Lost):
            found = self._searched()
            return found.id if found else ""
        return ""

    def _wait_for(self, work: Background[Prediction], submission: PredictionSubmission) -> None:
        """Wait until the prediction is there. If the caller ends that, it is taken back, found
        among the recent ones while its submission is still held."""
        try:
            while not work.ready(TICK_SECONDS):
                self._telling.submitted()
        except BaseException as error:
            submission.give_up()
            work.ready(_SETTLING_SECONDS)
            self._stop(partial(_id_from, work, submission), error, work.ready)
            raise

    def _followed(self, found: Prediction, began: float) -> Prediction:
        """The prediction once it has ended; cancelled there if the caller or the clock ends it."""
        with self._stopping(lambda: found.id):
            while not found.has_ended:
                self._telling.waiting(found)
                # The longer it has taken, the longer it may take to notice that it is done.
                longer = min((time.monotonic() - began) / 20, _LONGEST_POLL)
                self._rest(max(self._config.poll_seconds, longer))
                found = self._asked(found)
        return found

    def _asked(self, before: Prediction) -> Prediction:
        """The prediction as it is now; asked for until the API has been out of reach too long."""
        limit = time.monotonic() + self._config.lost_seconds
        while True:
            try:
                return run_while_reporting(
                    partial(self._client.get, before.id), self._telling.waiting
                )
            except BackendError as error:
                if not _may_pass(error):
                    raise
                if time.monotonic() >= limit:
                    raise Lost(
                        f"{self._client.at} has been out of reach for "
                        f"{self._config.lost_seconds:g} s while it has the prediction {before.id}.",
                        remedy=error.remedy,
                        is_certain=False,
                    ) from error
            self._rest(_AFTER_TROUBLE)

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, TICK_SECONDS))
            self._telling.waiting()

    def _fetched(self, found: Prediction) -> tuple[Output, ...]:
        self._telling.fetching()
        fetcher = OutputDownloader(
            credential_for=self._client.credential_for,
            allows_http=is_loopback(self._client.at),
            connect_seconds=self._config.connect_seconds,
            total_seconds=self._config.deadline_seconds,
            is_late=found.completed_at is not None
            and datetime.now(UTC) - found.completed_at > _FILES_ARE_KEPT,
        )
        addresses = list(fetch.find_urls(found.output))
        if not addresses:
            raise errors.no_output_error(found, fetch.output_text(found.output))
        return tuple(
            fetcher.fetch(address, index, self._telling.fetching)
            for index, address in enumerate(addresses)
        )

    @contextmanager
    def _stopping(self, which: Callable[[], str]) -> Iterator[None]:
        """Whatever ends the block cancels the prediction, unless it may still be fetched later."""
        try:
            yield
        except BaseException as error:
            if not (isinstance(error, Lost) or _may_go_on(error)):
                self._stop(which, error)
            raise

    def _stop(
        self,
        which: Callable[[], str],
        error: BaseException,
        is_settled: Callable[[], bool] = lambda: True,
    ) -> None:
        """Cancel it; where that is uncertain, the error that ends the run says so."""
        doubt = cancel_prediction(
            self._client,
            which,
            deadline_seconds=self._config.deadline_seconds,
            is_settled=is_settled,
        )
        if doubt and isinstance(error, ImagenError):
            raise error.as_unstopped(doubt) from error

    def _tidy(self) -> None:
        """Take off Replicate's shelf what was put there for this run."""
        if self._uploads:
            uploads, self._uploads = self._uploads, {}
            Background(lambda: payload.delete_uploads(uploads, self._client)).ready(
                _TIDYING_SECONDS
            )


def _id_from(work: Background[Prediction], submission: PredictionSubmission) -> str:
    """The id of a prediction whose submission may still be held; "" where there is none."""
    if work.ready():
        with suppress(ImagenError):
            return work.result().id
    found = submission.find()
    return found.id if found else ""


def _may_go_on(error: BaseException) -> bool:
    """Whether a job may go on at Replicate after this error, for us to fetch it later."""
    if isinstance(error, Lost):
        return not error.is_certain
    return isinstance(error, Unavailable | RateLimited)


def _may_pass(error: BackendError) -> bool:
    """Whether the API may answer the same question later."""
    is_unreadable = type(error) is BackendError
    return is_unreadable or isinstance(error, Unavailable | RateLimited)


def _missing(ticket: Ticket, outputs: tuple[Output, ...]) -> tuple[str, ...]:
    wanted = ticket.request.count or 1
    if len(outputs) >= wanted:
        return ()
    return (f"{wanted} pictures were asked for, and the model made {len(outputs)}.",)
