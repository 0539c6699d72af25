"""Getting one prediction made exactly once, whatever becomes of the question or the answer."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from imagen.backends.replicate.errors import ATTEMPTS
from imagen.errors import BackendError, Cancelled, Lost, Unavailable
from imagen.net.http import not_sent
from imagen.net.retry import retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from imagen.backends.replicate.answers import Prediction
    from imagen.backends.replicate.client import ReplicateClient
    from imagen.backends.replicate.model_ref import Reference

_PAUSES = (0.2, 0.8, 2.0)
"""Seconds before each look for a prediction whose submission was not answered as it should be."""
_MARGIN = timedelta(seconds=2)
"""The API's dates are whole seconds in its headers."""
_TAKEN_BACK = frozenset({"canceled", "aborted"})


class Submission:
    """One input on its way to the API; meant for a thread of its own."""

    def __init__(
        self,
        client: ReplicateClient,
        reference: Reference,
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
        return find(self._client, self._reference, self._values, self._began)

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


def find(
    client: ReplicateClient, reference: Reference, values: Mapping[str, Any], began: datetime
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
    reference: Reference, values: Mapping[str, Any], since: datetime, found: Prediction
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
