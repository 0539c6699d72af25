"""Getting one job taken exactly once, whatever becomes of the question or the answer."""

from __future__ import annotations

import time
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.backends.comfyui import answers, errors
from imagen.backends.comfyui.look import look
from imagen.core.text import one_line
from imagen.errors import (
    BackendError,
    Cancelled,
    Lost,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from imagen.graphs.graph import inputs_of
from imagen.net.http import describe_lost_submission, is_timeout, is_unanswered, not_sent
from imagen.net.retry import retry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends.comfyui.client import ComfyClient
    from imagen.backends.comfyui.websocket import Listener
    from imagen.graphs import Manifest

_PAUSES = (0.05, 0.2, 0.5)
"""Seconds before each look for a job whose submission was not answered as it should be."""
_SHORTEST_ANSWER_SECONDS = 1.0


class SubmittedPrompt(NamedTuple):
    """A job that the server has."""

    prompt_id: str
    graph: Mapping[str, Any]
    """As it was sent: with the server's own spelling of its files."""
    warnings: tuple[str, ...] = ()


class Submission:
    """One job on its way to the server; meant for a thread of its own."""

    def __init__(
        self,
        client: ComfyClient,
        listener: Listener,
        graph: Mapping[str, Any],
        manifest: Manifest,
        *,
        idle_seconds: float,
    ) -> None:
        self._client = client
        self._listener = listener
        self._graph = graph
        self._respelled: tuple[str, ...] = ()
        self._is_spelled = self._is_localised = False
        self._manifest = manifest
        self._given_up = Event()
        self._silent_until = time.monotonic() + idle_seconds

    def give_up(self) -> None:
        """Send nothing more."""
        self._given_up.set()

    def run(self, prompt_id: str, client_id: str) -> SubmittedPrompt:
        """Submit under this id, again where the server certainly did not take it."""
        fresh = [client_id]  # for the first connection; each later one gets its own

        def once() -> SubmittedPrompt:
            self._listener.open(fresh.pop() if fresh else "")
            return self._once(prompt_id)

        return retry(once, unless=is_timeout, sleep=self._pause)

    def _once(self, prompt_id: str) -> SubmittedPrompt:
        if self._given_up.is_set():
            raise Cancelled
        self._spell()
        return self._ask(prompt_id)

    def _ask(self, prompt_id: str) -> SubmittedPrompt:
        answer = self._hand_over(prompt_id)
        if isinstance(answer, answers.Accepted):
            skipped = errors.skipped(answer.node_errors, self._graph, self._manifest)
            return SubmittedPrompt(answer.prompt_id, self._graph, (*self._respelled, *skipped))
        if self._is_localised or not errors.names_a_missing_file(answer.said):
            needed = self._is_localised or errors.hides_choices(answer.said)
            catalogue = self._catalogue() if needed else {}
            raise errors.rejected(answer.said, self._graph, self._manifest, catalogue)
        self._respell(answer.said)
        return self._ask(prompt_id)

    def _hand_over(self, prompt_id: str) -> answers.Accepted | answers.Refused:
        """Submit the job once. Where ComfyUI's answer does not come, look for the job instead; the
        error of the submission is raised where the job is certainly not there."""
        left = self._silent_until - time.monotonic()
        try:
            return self._client.submit(
                self._graph,
                prompt_id,
                self._listener.client_id,
                read_seconds=max(_SHORTEST_ANSWER_SECONDS, left),
            )
        except BackendError as error:
            if not_sent(error) or (isinstance(error, Unauthorized) and self._is_unknown()):
                raise
            found = self._find(prompt_id, error)
            if found is None:
                raise
            return answers.Accepted(found, {})

    def _is_unknown(self) -> bool:
        """Whether nothing at the address has behaved like ComfyUI yet."""
        return not (self._client.is_comfyui or self._listener.is_open)

    def _spell(self) -> None:
        """Once, before anything is sent."""
        if not self._is_spelled:
            from imagen.backends.comfyui.spelled import spelled

            self._use(spelled(self._client, self._graph, self._manifest))
            self._is_spelled = True

    def _use(self, graph: Mapping[str, Any]) -> None:
        self._respelled = (*self._respelled, *_respelled(self._graph, graph))
        self._graph = graph

    def _respell(self, said: Any) -> None:
        """A file may be there under another folder or separator: then it is asked for by that."""
        from imagen.graphs.model_names import match_model_names

        catalogue = self._catalogue()
        local = match_model_names(self._graph, catalogue)
        if local == self._graph:
            raise errors.rejected(said, self._graph, self._manifest, catalogue)
        self._use(local)
        self._is_localised = True

    def _catalogue(self) -> dict[str, Any]:
        try:
            return self._client.catalogue()
        except BackendError:
            return {}

    def _find(self, prompt_id: str, after: BackendError) -> str | None:
        """The id of a job that was handed over; None where the server has no such job.

        Looked for more than once: the job may still be on its way. Raises Lost where the server
        can't be asked, or never answered: the job may still come.
        """
        trouble: BackendError | None = after
        for pause in _PAUSES:
            self._given_up.wait(pause)
            try:
                found = find(self._client, prompt_id, self._listener.client_id)
            except BackendError as error:
                trouble = error
                if is_unanswered(error):
                    break
                continue
            if found is not None:
                return found
            trouble = None
        if trouble is None and is_unanswered(after):
            raise Lost(
                f"{describe_lost_submission(after, self._client.at)}, and does not have the job: "
                "what holds it back may still deliver it.",
                is_certain=False,
            ) from after
        is_refusal = not isinstance(after, Unavailable | RateLimited)
        if trouble is None or (is_refusal and self._is_unknown()):
            return None
        raise Lost(
            f"{describe_lost_submission(after, self._client.at)}, and can't be asked whether it "
            "took the job.",
            remedy=trouble.remedy,
            is_certain=False,
        ) from trouble

    def _pause(self, seconds: float) -> None:
        self._given_up.wait(seconds)


def _respelled(graph: Mapping[str, Any], local: Mapping[str, Any]) -> Iterator[str]:
    for node in graph:
        ours, theirs = (inputs_of(g[node]) for g in (graph, local))
        for name, value in ours.items():
            if value != theirs[name]:
                yield f"The server has {value!r} as {one_line(repr(theirs[name]))}; that was used."


def find(client: ComfyClient, prompt_id: str, client_id: str) -> str | None:
    """The id under which the server knows a job, by ours or by whose it is; None if it doesn't."""
    if not look(client, prompt_id).is_gone:
        return prompt_id
    return client.find(client_id) if client_id else None
