"""One ticket at Replicate: submit, find again, follow, cancel, download."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from imagen.backends.remote_job import JobProgress, Outage, RemoteJobPolicy, run_remote_job
from imagen.backends.replicate import errors
from imagen.backends.replicate.outputs import (
    OutputDownloader,
    build_facts,
    find_urls,
    output_text,
)
from imagen.backends.replicate.payload import delete_uploads, file_urls, load_files, upload_files
from imagen.core.json_values import as_mapping, as_time
from imagen.core.result import Result
from imagen.errors import BackendError, ImagenError, LetGo, Lost, RateLimited, Unavailable
from imagen.net.http import not_sent
from imagen.net.threads import Background, run_while_reporting
from imagen.net.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.remote_job import JobState
    from imagen.backends.replicate.client import (
        Prediction,
        RecentPredictions,
        ReplicateClient,
    )
    from imagen.backends.replicate.config import ModelReference, ReplicateConfig
    from imagen.backends.replicate.payload import Files, Uploads
    from imagen.core.result import OnProgress
    from imagen.core.ticket import Ticket

_LONGEST_POLL = 3.0
_AFTER_OUTAGE = 1.0
_CLEANUP_SECONDS = 5.0
_FETCHING = 0.95
"""The fraction at which the images are finished and the download begins."""
_LISTED_WITHIN = timedelta(seconds=10)
"""How long after its submission a prediction may take to appear in the list."""
_FILES_ARE_KEPT = timedelta(hours=1)
_CLOCK_TOLERANCE = timedelta(seconds=2)
"""The API's dates are whole seconds in its headers."""
_CANCELLED = frozenset({"canceled", "aborted"})
_PREDICTIONS_PAGE = "Look for it at https://replicate.com/predictions."


class ReplicateJob:
    """One ticket of a Replicate backend."""

    engine = "Replicate"

    def __init__(
        self,
        ticket: Ticket,
        client: ReplicateClient,
        config: ReplicateConfig,
        on_progress: OnProgress,
    ) -> None:
        self.at = client.base_url
        self._ticket = ticket
        self._is_resumed = ticket.submitted
        self._client = client
        self._config = config
        self._started = time.monotonic()
        self._progress = JobProgress(
            ticket,
            on_progress,
            total_seconds=config.deadline_seconds,
            remedy=errors.LONGER_DEADLINE,
        )
        self._uploads: Uploads = dict(ticket.engine.get("uploads") or {})
        self._values: dict[str, object] = dict(as_mapping(ticket.payload.get("input")))
        self._files: Files = dict(ticket.payload.get("files") or {})
        self._has_file_urls = False
        """Whether `_values` has the URLs of `_files`."""

    @property
    def policy(self) -> RemoteJobPolicy:
        return RemoteJobPolicy(
            attempts=errors.ATTEMPTS,
            look_up_pauses=(0.2, 0.8, 2.0),
            settle_seconds=1.0,
            cancel_seconds=8.0,
            after_failed_cancel=f"It ends by itself after {self._config.deadline_seconds:g} s.",
        )

    def run(self) -> Result:
        """Run the job, and delete its uploads once they are not needed any more."""
        try:
            result = run_remote_job(self, self._progress, self.policy)
        except BaseException as error:
            is_lost = isinstance(error, Lost) and not error.is_certain
            may_be_found_later = is_lost or isinstance(error, LetGo | Unavailable | RateLimited)
            if not (self._progress.ticket.submitted and may_be_found_later):
                self._delete_uploads()
            raise
        self._delete_uploads()
        return result

    def _delete_uploads(self) -> None:
        if self._uploads:
            uploads, self._uploads = self._uploads, {}
            Background(partial(delete_uploads, uploads, self._client)).ready(_CLEANUP_SECONDS)

    def prepare(self) -> Ticket:
        loaded = load_files(self._files)
        upload = partial(upload_files, loaded, self._client, self._uploads)
        run_while_reporting(upload, self._progress.tick)
        self._values |= file_urls(self._files, loaded, self._uploads)
        self._has_file_urls = True
        uploads = {"uploads": self._uploads} if self._uploads else {}
        self._ticket = self._ticket.sent(began=datetime.now(UTC).isoformat(), **uploads)
        return self._ticket

    def submit(self) -> Prediction:
        return self._client.create(self._values)

    def is_refusal(self, error: BackendError) -> bool:
        is_unreadable = type(error) is BackendError
        is_open = is_unreadable or (isinstance(error, Unavailable) and not not_sent(error))
        return not is_open

    def find(self) -> Prediction | None:
        """The prediction with this input that was created since the submission began."""
        if not self._has_file_urls:
            with suppress(ImagenError, KeyError):  # files that were deleted are not compared
                loaded = load_files(self._files)
                self._values |= file_urls(self._files, loaded, self._uploads)
            self._has_file_urls = True
        began = as_time(self._ticket.engine.get("began"))
        if began is None:
            raise Lost("The ticket does not say when it was submitted.")
        recent = self._client.recent(began - _CLOCK_TOLERANCE)
        if prediction := find_prediction(recent, self._config.reference, self._values, began):
            return prediction
        if not recent.is_complete:
            raise Lost(
                f"The job is not among the last {len(recent.predictions)} predictions at "
                f"{self.at}, and more were made since it was submitted.",
                remedy=_PREDICTIONS_PAGE,
                is_certain=False,
            )
        return None

    def attach(self) -> Prediction:
        if id := self._known_id():
            return self._client.get(id)
        while True:
            began = as_time(self._ticket.engine.get("began"))
            now = datetime.now(UTC)
            if began is not None and began > now + _CLOCK_TOLERANCE:
                raise Lost(
                    "This machine's clock was set back since the job was submitted, so its "
                    "prediction cannot be distinguished from others.",
                    remedy=_PREDICTIONS_PAGE,
                    is_certain=False,
                )
            if prediction := self.find():
                return prediction
            if began is not None and now - began > _LISTED_WITHIN:
                raise Lost(
                    f"Replicate has no prediction of {self._config.model} with this input since "
                    "the job was submitted: it never arrived there.",
                    never_ran=True,
                )
            time.sleep(self._config.poll_seconds)  # it may still appear in the list

    def find_id(self) -> str:
        if id := self._known_id():
            return id
        prediction = self.find()
        return prediction.id if prediction else ""

    def _known_id(self) -> str:
        return str(self._ticket.engine.get("prediction_id") or "")

    def id_of(self, handle: Prediction) -> str:
        return handle.id

    def accepted_ticket(self, handle: Prediction) -> Ticket:
        return self._progress.ticket.sent(prediction_id=handle.id)

    def follow(self, handle: Prediction) -> Prediction:
        prediction = handle
        lost_seconds = self._config.lost_seconds
        outage = Outage(
            self.at, lost_seconds=lost_seconds, refused_seconds=lost_seconds, patient=()
        )
        while not prediction.has_ended:
            if prediction.status == "starting":
                self._progress.update("queued")
            else:
                done, total = prediction.steps or (0, 0)
                self._progress.update(
                    "running",
                    fraction=_FETCHING * min(done / total, 1.0) if total else 0.0,
                    node=prediction.model,
                    step=done if total else None,
                    steps=total or None,
                )
            # The longer a job has run, the less a late answer matters.
            age = time.monotonic() - self._started
            self._progress.rest(max(self._config.poll_seconds, min(age / 20, _LONGEST_POLL)))
            look = partial(self._client.get, prediction.id)
            try:
                prediction = run_while_reporting(look, self._progress.tick)
                outage.end()
            except BackendError as error:
                is_unreadable = type(error) is BackendError
                if not is_unreadable and not isinstance(error, Unavailable | RateLimited):
                    raise
                outage.check(error)
                self._progress.rest(_AFTER_OUTAGE)
        return prediction

    def collect(self, handle: Prediction) -> Result:
        prediction, deadline = handle, self._config.deadline_seconds
        if prediction.status != "succeeded" or prediction.is_removed:
            raise errors.prediction_error(prediction, deadline, is_resumed=self._is_resumed)
        urls = list(find_urls(prediction.output))
        if not urls:
            raise errors.no_output_error(prediction, output_text(prediction.output))
        self._progress.update("fetching", fraction=_FETCHING)
        ended_at = prediction.completed_at
        downloader = OutputDownloader(
            credential_for=self._client.credential_for,
            allows_http=is_loopback(self.at),
            connect_seconds=self._config.connect_seconds,
            total_seconds=deadline,
            is_expired=ended_at is not None and datetime.now(UTC) - ended_at > _FILES_ARE_KEPT,
        )
        seed = self._ticket.request.seed
        seed = prediction.seed if seed is None else seed
        outputs = tuple(
            replace(downloader.download(url, index, self._progress.tick), seed=seed)
            for index, url in enumerate(urls)
        )
        wanted, warnings = self._ticket.request.count or 1, []
        if len(outputs) < wanted:
            warnings.append(f"{wanted} images were requested; the model made {len(outputs)}.")
        latency = time.monotonic() - self._started
        return Result(
            outputs=outputs,
            facts=build_facts(self._ticket, prediction, outputs, seed, latency),
            warnings=tuple(warnings),
        )

    def cancel(self, id: str) -> None:
        if not self._client.get(id).has_ended:
            self._client.cancel(id)

    def state(self, id: str) -> JobState:
        prediction = self._client.get(id)
        if not prediction.has_ended:
            return "active"
        has_images = prediction.status == "succeeded" and not prediction.is_removed
        return "finished" if has_images else "ended"


def find_prediction(
    recent: RecentPredictions,
    reference: ModelReference,
    values: Mapping[str, object],
    began: datetime,
) -> Prediction | None:
    """The oldest of the recent predictions that has this input and was created since then."""
    since = began + recent.clock_offset - _CLOCK_TOLERANCE
    for prediction in reversed(recent.predictions):
        if (
            prediction.created_at is not None
            and prediction.created_at >= since
            and prediction.status not in _CANCELLED
            and (reference.is_deployment or prediction.model == reference.model)
            and (not reference.version or prediction.version == reference.version)
            and all(_is_same_value(v, prediction.input.get(name)) for name, v in values.items())
        ):
            return prediction
    return None


def _is_same_value(sent: object, listed: object) -> bool:
    """Whether the listed input is the one that was sent; the API does not keep `data:` URLs."""
    if isinstance(sent, list) and isinstance(listed, list):
        return len(sent) == len(listed) and all(map(_is_same_value, sent, listed))
    if isinstance(sent, str) and sent.startswith("data:"):
        was_kept = isinstance(listed, str) and len(listed) == len(sent)
        return sent == listed if was_kept else True
    return bool(sent == listed)
