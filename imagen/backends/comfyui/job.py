"""One ticket at a ComfyUI server: upload, submit, find again, cancel, collect."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from imagen.backends.comfyui import errors, models, outputs, uploads
from imagen.backends.comfyui.client import AcceptedPrompt, ServerStats
from imagen.backends.comfyui.follow import (
    FETCHING_FRACTION,
    ComfyJobRecord,
    ComfyProgress,
    JobFollower,
    look_up_job,
)
from imagen.backends.comfyui.websocket import ComfyWebSocket
from imagen.backends.remote_job import JobProgress, RemoteJobPolicy, run_remote_job
from imagen.core.result import Result
from imagen.core.text import one_line
from imagen.core.ticket import new_id
from imagen.errors import BackendError, Lost, RateLimited, Unauthorized, Unavailable
from imagen.graphs.graph import inputs_of
from imagen.graphs.model_names import match_model_names
from imagen.net.http import is_unanswered
from imagen.net.threads import Background, run_while_reporting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.comfyui.client import ComfyClient, HistoryEntry
    from imagen.backends.comfyui.config import ComfyUIConfig
    from imagen.backends.remote_job import JobState
    from imagen.core.result import OnProgress, Output
    from imagen.core.ticket import Ticket
    from imagen.graphs import Manifest
    from imagen.graphs.graph import Graph

_POLICY = RemoteJobPolicy()
_HISTORY_PAUSES = (0.05, 0.1, 0.2, 0.4)
"""Seconds between the requests for a history entry, which is written a moment after the end."""
_LONG_RUN_SECONDS = 1.0
"""After a run as long as this, one more request for the server's memory costs nothing."""
_STATS_SECONDS = 1.0
_SHORTEST_ANSWER_SECONDS = 1.0
_INTERRUPTS_ONE_PROMPT = (0, 3, 56)
"""The first version that interrupts one prompt only; older ones interrupt whatever runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedPrompt:
    """A job that the server has."""

    prompt_id: str
    record: ComfyJobRecord
    warnings: tuple[str, ...] = ()
    lost: Lost | None = None
    """Set where the server no longer knows the job, but had named files of it."""

    @property
    def graph(self) -> Mapping[str, object]:
        """The graph as it was sent: with the server's own names of its files."""
        return self.record.graph


class ComfyJob:
    """One ticket of a ComfyUI backend: a `RemoteJob`."""

    engine = "ComfyUI"

    def __init__(
        self,
        ticket: Ticket,
        client: ComfyClient,
        config: ComfyUIConfig,
        manifest: Manifest,
        on_progress: OnProgress,
    ) -> None:
        self._client = client
        self._config = config
        self._manifest = manifest
        self._progress = JobProgress(
            ticket,
            on_progress,
            total_seconds=config.total_seconds,
            remedy=f"If it needs longer, raise backends.{config.name}.total_seconds.",
        )
        self._is_resumed = ticket.submitted
        self._prompt_id = str(ticket.engine.get("prompt_id") or ticket.id)
        self._graph: Graph = ticket.payload
        self._socket = ComfyWebSocket(client, config.connect_seconds)
        self._first_client_id = ""
        self._renamed: tuple[str, ...] = ()
        """A sentence for each file that goes by another name on the server."""
        self._has_checked_names = self._has_matched_names = False
        self._may_be_taken = False
        """Whether the last submission may have given the job to the server."""
        self._answer_deadline = 0.0
        self._stats: Background[ServerStats] | None = None
        self._began = time.monotonic()

    @property
    def at(self) -> str:
        return self._client.at

    def run(self) -> Result:
        try:
            return run_remote_job(self, self._progress, _POLICY)
        finally:
            self._socket.close()

    def prepare(self) -> Ticket:
        """Find the server's names of the requested models, and upload the images of the graph."""
        ticket = self._progress.ticket
        if ticket.request.model is not None or ticket.request.upscale is not None:
            ticket = run_while_reporting(partial(self._locate, ticket), self._progress.tick)
        if files := uploads.read_uploads(ticket.engine):
            send = partial(uploads.send_uploads, self._client, files, ticket.payload)
            graph = run_while_reporting(send, self._progress.tick)
            ticket = ticket.model_copy(update={"payload": graph})
        self._graph = ticket.payload
        self._first_client_id = new_id()
        self._answer_deadline = time.monotonic() + self._config.idle_seconds
        return ticket.sent(prompt_id=ticket.id, client_id=self._first_client_id)

    def submit(self) -> SubmittedPrompt:
        self._may_be_taken = False
        # Each connection needs a name of its own: the server confuses two of one name.
        client_id, self._first_client_id = self._first_client_id, ""
        self._socket.open(client_id)
        if not self._has_checked_names:
            self._use(models.match_unchecked_names(self._client, self._graph, self._manifest))
            self._has_checked_names = True
        self._progress.require_caller()  # connecting may have taken long
        return self._send()

    def is_refusal(self, error: BackendError) -> bool:
        if not self._may_be_taken:
            return True
        if isinstance(error, Unavailable | RateLimited):
            return False
        if self._client.is_comfyui or self._socket.is_open:
            return False
        if not isinstance(error, Unauthorized):  # is it another server that refused?
            with suppress(BackendError):
                self._client.stats()
        return not self._client.is_comfyui

    def find(self) -> SubmittedPrompt | None:
        found = find_prompt(self._client, self._prompt_id, self._socket.client_id)
        return None if found is None else self._submitted(found, self._renamed)

    def find_id(self) -> str:
        return self._prompt_id

    def id_of(self, handle: SubmittedPrompt) -> str:
        return handle.prompt_id

    def attach(self) -> SubmittedPrompt:
        known = self._progress.ticket.engine
        found = find_prompt(self._client, self._prompt_id, str(known.get("client_id") or ""))
        if found is not None:
            self._socket.open()
            return self._submitted(found)
        lost = Lost(
            f"{self.at} does not know the job {self._prompt_id}: it never arrived there, "
            "or the server was restarted since.",
            never_ran=not {"is_taken", "is_stopped"} & known.keys(),
        )
        if not known.get("made"):
            raise lost
        return replace(self._submitted(self._prompt_id), lost=lost)

    def accepted_ticket(self, handle: SubmittedPrompt) -> Ticket:
        ticket = self._progress.ticket
        if handle.lost:
            return ticket
        sent = ticket.model_copy(update={"payload": dict(handle.graph)})
        return sent.sent(prompt_id=handle.prompt_id, is_taken=True)

    def follow(self, handle: SubmittedPrompt) -> SubmittedPrompt:
        if handle.lost:
            return handle
        self._socket.prompt_id = handle.prompt_id
        follower = JobFollower(
            self._client,
            self._socket,
            handle.record,
            ComfyProgress(handle.graph, self._progress),
            self._config,
            on_output=lambda: self._keep_file_names(handle.record),
        )
        if self._client.known is None:
            self._stats = Background(self._client.stats)
        try:
            follower.follow()
        except Lost as error:
            if not (error.is_certain and self._named_files()):
                raise
            return replace(handle, lost=error)
        finally:
            self._socket.close()
        return handle

    def cancel(self, id: str) -> None:
        """Delete the job from the queue, and interrupt it if it runs."""
        self._client.delete(id)
        version = (self._client.version() or "").split(".")
        numbers = tuple(int(part) for part in version if part.isdecimal())
        if len(numbers) == len(version) and numbers >= _INTERRUPTS_ONE_PROMPT:
            self._client.interrupt(id)
        elif self._client.queue().runs(id):
            self._client.interrupt(None)

    def state(self, id: str) -> JobState:
        status = look_up_job(self._client, id)
        if status.entry is not None:
            return "finished" if status.entry.has_made else "ended"
        return "unknown" if status.is_gone else "active"

    def collect(self, handle: SubmittedPrompt) -> Result:
        ended = time.monotonic()
        record = handle.record
        if ended - self._began >= _LONG_RUN_SECONDS:
            self._stats = Background(self._client.stats)
        warnings = [*self._complete(handle), *handle.warnings]
        warnings += [errors.blocked_warning(one, record.graph) for one in record.blocked]
        if self._manifest.comfyui:
            warnings += filter(None, [self._manifest.too_old(self._known_stats().version)])
        if record.interrupted is not None:
            node = record.interrupted.node
            raise errors.interrupted_error(record.graph, node, is_resumed=self._is_resumed)
        if record.failure is not None:
            raise errors.failed_error(record.failure, record.graph, tuple(warnings))
        fetched, missing = self._fetch(handle, tuple(warnings))
        if self._socket.trouble:
            trouble = f"The websocket of {self.at} {self._socket.trouble}"
            missing = (*missing, f"{trouble}; the server was asked instead.")
        request = self._progress.ticket.request
        times = outputs.JobTimes(submitted=self._began, ended=ended, fetched=time.monotonic())
        return Result(
            outputs=fetched,
            facts=outputs.build_facts(
                request,
                record,
                times,
                self._known_stats(),
                fetched,
                prompt_id=handle.prompt_id,
                client_id=self._socket.client_id,
            ),
            warnings=(*warnings, *missing),
        )

    def _locate(self, ticket: Ticket) -> Ticket:
        ticket = models.locate_upscaler(self._client, ticket)
        dirs = self._config.workflow_dirs
        return models.locate_model(self._client, ticket, self._manifest, dirs)

    def _submitted(self, prompt_id: str, warnings: tuple[str, ...] = ()) -> SubmittedPrompt:
        record = ComfyJobRecord(self._graph)
        return SubmittedPrompt(prompt_id=prompt_id, record=record, warnings=warnings)

    def _send(self) -> SubmittedPrompt:
        """Send the graph; once more, by the server's names, where it does not find a file."""
        self._may_be_taken = True
        left = self._answer_deadline - time.monotonic()
        answer = self._client.submit(
            self._graph,
            self._prompt_id,
            self._socket.client_id,
            read_seconds=max(_SHORTEST_ANSWER_SECONDS, left),
        )
        if isinstance(answer, AcceptedPrompt):
            skipped = errors.skipped_warnings(answer.node_errors, self._graph, self._manifest)
            return self._submitted(answer.prompt_id, (*self._renamed, *skipped))
        self._may_be_taken = False
        misses_file = not self._has_matched_names and errors.names_a_missing_file(answer.reason)
        catalog: Mapping[str, object] = {}
        if misses_file or self._has_matched_names or errors.hides_choices(answer.reason):
            with suppress(BackendError):
                catalog = self._client.node_catalog()
        if misses_file:
            matched = match_model_names(self._graph, catalog)
            if matched != self._graph:
                self._use(matched)
                self._has_matched_names = True
                return self._send()
        raise errors.rejected_error(answer.reason, self._graph, self._manifest, catalog)

    def _use(self, graph: Graph) -> None:
        """Send this graph instead, and warn about the names that differ."""
        for node, before in self._graph.items():
            after = inputs_of(graph[node])
            self._renamed += tuple(
                f"The server has {value!r} as {one_line(repr(after[name]))}; that was used."
                for name, value in inputs_of(before).items()
                if value != after[name]
            )
        self._graph = graph

    def _keep_file_names(self, record: ComfyJobRecord) -> None:
        """Write the names of finished files into the ticket.

        A server that is restarted forgets which job made them, and keeps the files.
        """
        made = [list(one) for one in self._files(record) if isinstance(one, outputs.ComfyFile)]
        ticket = self._progress.ticket
        if made != ticket.engine.get("made", []):
            self._progress.update_ticket(ticket.sent(made=made))

    def _named_files(self) -> list[outputs.ComfyFile]:
        return [outputs.ComfyFile(*named) for named in self._progress.ticket.engine.get("made", [])]

    def _files(self, record: ComfyJobRecord) -> list[outputs.ComfyFile | outputs.ComfyText]:
        return outputs.list_outputs(record, self._manifest.output)

    def _complete(self, handle: SubmittedPrompt) -> tuple[str, ...]:
        """Add to the record what only the history has; a warning where it has no such job."""
        record = handle.record
        if record.is_complete() or record.failure or record.interrupted or handle.lost:
            return ()
        self._report_fetching()
        wait = partial(self._wait_for_history, handle.prompt_id)
        entry = run_while_reporting(wait, self._progress.tick)
        if entry is not None:
            record.apply_history(entry)
            return ()
        if not record.outputs and not record.socket_images:
            raise Lost(
                f"{self.at} ended the job, but its history does not have it.", is_certain=False
            )
        return (f"{self.at} does not have the history of the job, which may have made more.",)

    def _wait_for_history(self, prompt_id: str) -> HistoryEntry | None:
        trouble: BackendError | None = None
        for pause in _HISTORY_PAUSES:
            try:
                entry = self._client.history(prompt_id)
            except BackendError as error:
                trouble = error
                if is_unanswered(error):
                    break
            else:
                if entry is not None:
                    return entry
                trouble = None
            time.sleep(pause)
        if trouble is not None:
            raise trouble
        return None

    def _fetch(
        self, handle: SubmittedPrompt, reasons: tuple[str, ...]
    ) -> tuple[tuple[Output, ...], tuple[str, ...]]:
        """The job's outputs, and a warning for each one that cannot be fetched."""
        record, lost = handle.record, handle.lost
        files = self._named_files() if lost else self._files(record)
        saved_to_socket = outputs.socket_outputs(record, self._manifest.output)
        if not saved_to_socket and outputs.lacks_images(record.graph, files):
            raise errors.empty_error((*reasons, *outputs.missing_socket_images(record)))
        self._report_fetching()
        if not lost:
            self._keep_file_names(record)
        began = time.monotonic()

        def is_too_silent(error: BaseException) -> bool:
            return is_unanswered(error) and time.monotonic() - began >= self._config.idle_seconds

        fetched, missing = outputs.fetch_outputs(
            self._client, files, self._progress.tick, unless=is_too_silent
        )
        if lost:
            fetched = [one for one in fetched if outputs.is_from_graph(record.graph, one.data)]
        has_images = bool(saved_to_socket) or not all(map(outputs.is_text, fetched))
        doubtful = [error for error in missing if not error.is_certain]
        if lost and not has_images and not doubtful:
            raise lost
        if missing and (doubtful or not has_images):
            raise (doubtful or missing)[0].replace(is_certain=False)
        seed = self._progress.ticket.request.seed
        images = tuple(replace(one, seed=seed) for one in (*fetched, *saved_to_socket))
        warnings = [error.message for error in missing]
        if lost:
            warnings.append(f"{lost.message} The files that it had named were fetched.")
        return images, tuple(warnings)

    def _report_fetching(self) -> None:
        self._progress.update("fetching", fraction=FETCHING_FRACTION)

    def _known_stats(self) -> ServerStats:
        """What the server said during this run; of an earlier answer, what does not change."""
        if self._stats is not None and self._stats.ready(_STATS_SECONDS):
            with suppress(BackendError):
                return self._stats.result()
        return (self._client.known or ServerStats())._replace(vram_used_bytes=None)


def find_prompt(client: ComfyClient, prompt_id: str, client_id: str) -> str | None:
    """The id under which the server knows a job; None where it does not know it.

    An old server chooses the id itself: there the job is found by its client.
    """
    if not look_up_job(client, prompt_id).is_gone:
        return prompt_id
    return client.find_prompt(client_id) if client_id else None
