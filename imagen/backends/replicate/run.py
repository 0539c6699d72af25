"""One ticket from its submission to the bytes it gives."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from imagen.backends.replicate import errors, shipping
from imagen.backends.replicate import outputs as fetch
from imagen.backends.replicate.answers import mapping, moment
from imagen.backends.replicate.facts import facts
from imagen.backends.replicate.outputs import Fetcher
from imagen.backends.replicate.stop import stop
from imagen.backends.replicate.submit import Submission, find
from imagen.backends.replicate.telling import Telling
from imagen.core.result import Result
from imagen.errors import (
    BackendError,
    ImagenError,
    Lost,
    RateLimited,
    Unavailable,
)
from imagen.net.retry import retry
from imagen.net.threads import TICK_SECONDS, Background, limit_total_time, run_while_reporting
from imagen.net.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.backends.replicate.answers import Prediction
    from imagen.backends.replicate.client import ReplicateClient
    from imagen.backends.replicate.config import ReplicateConfig
    from imagen.core.result import OnProgress, Output
    from imagen.core.ticket import Ticket

_LONGER = "Give it longer with total_seconds: a model that sleeps takes minutes to wake."
_LONGEST_POLL = 3.0
_AFTER_TROUBLE = 1.0
_SETTLING_SECONDS = 1.0
_TIDYING_SECONDS = 5.0
_LISTED_WITHIN = timedelta(seconds=10)
"""How long after its submission a prediction may take to appear among the recent ones."""
_FILES_ARE_KEPT = timedelta(hours=1)
_TOLERANCE = timedelta(seconds=2)


class Run:
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
        self._telling = Telling(limit_total_time(on_progress, seconds, remedy=_LONGER))
        self._is_there = ticket.submitted
        """Whether Replicate may have the job."""
        self._uploads: shipping.Uploads = dict(ticket.engine.get("uploads") or {})
        self._values: dict[str, Any] = dict(mapping(ticket.payload.get("input")))
        self._files: shipping.Files = dict(mapping(ticket.payload.get("files")))

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
            raise errors.ended_badly(
                found, self._config.deadline_seconds, is_resumed=self._ticket.submitted
            )
        outputs = self._fetched(found)
        seed = self._ticket.request.seed
        seed = found.seed if seed is None else seed
        outputs = tuple(replace(one, seed=seed) for one in outputs)
        return Result(
            outputs=outputs,
            facts=facts(self._ticket, found, outputs, seed, time.monotonic() - began),
            warnings=_missing(self._ticket, outputs),
        )

    def _submitted(self) -> Prediction:
        """Hand the ticket over. It counts as submitted before it is: the question may get through
        where the answer does not."""
        loaded = shipping.load(self._files)
        ship = partial(shipping.upload, loaded, self._client, self._uploads)
        run_while_reporting(ship, self._telling.submitted)
        values = self._values | shipping.addressed(self._files, loaded, self._uploads)
        began = datetime.now(UTC)
        uploads = {"uploads": self._uploads} if self._uploads else {}
        sent = self._ticket.sent(began=began.isoformat(), **uploads)
        self._telling.submitted(sent)
        self._is_there = True
        submission = Submission(self._client, self._config.reference, values, began)
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
        began = moment(self._ticket.engine.get("began"))
        values = dict(self._values)
        with suppress(ImagenError, KeyError):  # files that are gone by now don't count
            loaded = shipping.load(self._files)
            values |= shipping.addressed(self._files, loaded, self._uploads)
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
        found = find(self._client, self._config.reference, values, began)
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

    def _wait_for(self, work: Background[Prediction], submission: Submission) -> None:
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
        fetcher = Fetcher(
            credential_for=self._client.credential_for,
            allows_http=is_loopback(self._client.at),
            connect_seconds=self._config.connect_seconds,
            total_seconds=self._config.deadline_seconds,
            is_late=found.completed_at is not None
            and datetime.now(UTC) - found.completed_at > _FILES_ARE_KEPT,
        )
        addresses = list(fetch.addresses(found.output))
        if not addresses:
            raise errors.empty(found, fetch.words(found.output))
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
        doubt = stop(
            self._client,
            which,
            deadline_seconds=self._config.deadline_seconds,
            is_settled=is_settled,
        )
        if doubt and isinstance(error, ImagenError):
            error.doubt(doubt)

    def _tidy(self) -> None:
        """Take off Replicate's shelf what was put there for this run."""
        if self._uploads:
            uploads, self._uploads = self._uploads, {}
            Background(lambda: shipping.forget(uploads, self._client)).ready(_TIDYING_SECONDS)


def _id_from(work: Background[Prediction], submission: Submission) -> str:
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
