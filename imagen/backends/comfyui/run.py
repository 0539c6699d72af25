"""One ticket from its submission to the bytes it gives."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from imagen.backends.comfyui import errors, uploads
from imagen.backends.comfyui import outputs as files
from imagen.backends.comfyui.answers import Stats
from imagen.backends.comfyui.facts import Times, facts
from imagen.backends.comfyui.follow import JobFollower
from imagen.backends.comfyui.models import locate_model, locate_upscaler
from imagen.backends.comfyui.record import Record
from imagen.backends.comfyui.stop import stop
from imagen.backends.comfyui.submit import Submission, SubmittedPrompt, find
from imagen.backends.comfyui.telling import ProgressReporter
from imagen.backends.comfyui.websocket import Listener
from imagen.core.result import Result
from imagen.core.ticket import new_id
from imagen.errors import BackendError, ImagenError, Lost
from imagen.net.http import is_unanswered, within
from imagen.net.threads import TICK_SECONDS, Background, limit_total_time, run_while_reporting

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.backends.comfyui.answers import HistoryEntry
    from imagen.backends.comfyui.client import ComfyClient
    from imagen.backends.comfyui.config import ComfyUIConfig
    from imagen.core.result import Facts, OnProgress, Output
    from imagen.core.ticket import Ticket
    from imagen.graphs import Manifest

_HISTORY_PAUSES = (0.05, 0.1, 0.2, 0.4)
_LONG_RUN_SECONDS = 1.0
"""After a run as long as this nobody notices one more question."""
_STATS_SECONDS = 1.0
_SETTLING_SECONDS = 2.0
_STOPPING_SECONDS = 7.0


class Run:
    """One ticket of a ComfyUI backend."""

    def __init__(
        self,
        ticket: Ticket,
        client: ComfyClient,
        config: ComfyUIConfig,
        manifest: Manifest,
        on_progress: OnProgress,
    ) -> None:
        self._ticket = self._told = ticket
        self._client = client
        self._config = config
        self._manifest = manifest
        limited = limit_total_time(
            on_progress,
            config.total_seconds,
            remedy=f"Where it needs longer, raise backends.{config.name}.total_seconds.",
        )
        self._telling = ProgressReporter(ticket.payload, limited)
        self._listener = Listener(client, config.connect_seconds)
        self._stats: Background[Stats] | None = None
        self._lost: Lost | None = None
        """The server no longer knows the job, whose files it had named before."""

    def result(self) -> Result:
        """Submit the ticket, unless it was submitted already; wait; fetch."""
        began = time.monotonic()
        try:
            taken = self._attached() if self._ticket.submitted else self._submitted()
            record = self._followed(taken)
        finally:
            self._listener.close()
        ended = time.monotonic()
        if ended - began >= _LONG_RUN_SECONDS:
            self._stats = Background(self._client.stats)
        incomplete = self._complete(record, taken.prompt_id)
        warnings = (*incomplete, *taken.warnings, *self._blocked(record), *self._too_old())
        outputs, missing = self._fetched(record, warnings)
        times = Times(submitted=began, ended=ended, fetched=time.monotonic())
        self._telling.done()
        return Result(
            outputs=outputs,
            facts=self._facts(taken, record, times, outputs),
            warnings=(*warnings, *missing, *self._unheard()),
        )

    def _submitted(self) -> SubmittedPrompt:
        """Hand the ticket over. It counts as submitted before it is: the question may get through
        where the answer does not."""
        self._ticket = self._located()
        self._ticket = self._uploaded()
        client_id = new_id()
        self._tell(self._ticket.sent(prompt_id=self._ticket.id, client_id=client_id))
        submission = Submission(
            self._client,
            self._listener,
            self._ticket.payload,
            self._manifest,
            idle_seconds=self._config.idle_seconds,
        )
        work = Background(lambda: submission.run(self._ticket.id, client_id))
        self._wait_for(work, self._ticket.id, submission.give_up)
        try:
            return work.result()
        except Lost:
            raise
        except ImagenError:  # the server did not take the job
            self._tell(self._ticket)
            raise

    def _located(self) -> Ticket:
        """The ticket with the server's names of the asked model and upscaler."""
        request = self._ticket.request
        if request.model is None and request.upscale is None:
            return self._ticket
        return run_while_reporting(self._locate, self._telling.submitted)

    def _locate(self) -> Ticket:
        ticket = locate_upscaler(self._client, self._ticket)
        return locate_model(self._client, ticket, self._manifest, self._config.workflow_dirs)

    def _uploaded(self) -> Ticket:
        """The ticket once the server has the pictures of its graph, by the names it gave them."""
        found = uploads.read(self._ticket.engine)
        if not found:
            return self._ticket
        work = partial(uploads.send, self._client, found, self._ticket.payload)
        graph = run_while_reporting(work, self._telling.submitted)
        return self._ticket.model_copy(update={"payload": graph})

    def _attached(self) -> SubmittedPrompt:
        """Find a job that was submitted before."""
        known = self._ticket.engine
        prompt_id = str(known.get("prompt_id") or self._ticket.id)
        work = Background(lambda: self._found(prompt_id, str(known.get("client_id") or "")))
        self._wait_for(work, prompt_id)
        return work.result()

    def _found(self, prompt_id: str, client_id: str) -> SubmittedPrompt:
        found = find(self._client, prompt_id, client_id)
        if found is None:
            lost = Lost(
                f"{self._client.at} does not know the job {prompt_id}: it never arrived there, "
                "or the server was restarted since.",
                never_ran=not {"is_taken", "is_stopped"} & self._ticket.engine.keys(),
            )
            if not self._ticket.engine.get("made"):
                raise lost
            self._lost = lost
            return SubmittedPrompt(prompt_id, self._ticket.payload)
        self._listener.open()
        return SubmittedPrompt(found, self._ticket.payload)

    def _wait_for(
        self,
        work: Background[SubmittedPrompt],
        prompt_id: str,
        give_up: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait until the job is taken, or found. If the caller ends that, it is taken back: by the
        id that comes out, which with an old server is not the one we gave."""
        try:
            while not work.ready(TICK_SECONDS):
                self._telling.submitted()
        except BaseException as error:
            give_up()
            work.ready(_SETTLING_SECONDS)
            self._stop(lambda: _id_from(work, prompt_id), error, work.ready)
            raise

    def _followed(self, taken: SubmittedPrompt) -> Record:
        self._listener.prompt_id = taken.prompt_id
        record = Record(taken.graph)
        if self._lost is not None:
            return record
        following = JobFollower(
            self._client,
            self._listener,
            record,
            self._telling,
            self._config,
            on_made=lambda: self._keep_names(record),
        )
        if self._client.known is None:
            self._stats = Background(self._client.stats)
        try:
            self._tell_what_was_taken(taken)
            following.to_the_end()
        except Lost as error:
            if not (error.is_certain and self._named_files()):
                raise
            self._lost = error
        except BaseException as error:
            self._stop(lambda: taken.prompt_id, error)
            raise
        return record

    def _tell_what_was_taken(self, taken: SubmittedPrompt) -> None:
        """The ticket with the id and the graph that the server has, where those are others."""
        graph = self._told.model_copy(update={"payload": dict(taken.graph)})
        ticket = graph.sent(prompt_id=taken.prompt_id, is_taken=True)
        if ticket != self._told:
            self._tell(ticket)

    def _keep_names(self, record: Record) -> None:
        """Put the names of generated files into the ticket: a restarted server forgets whose
        they are, and keeps the files."""
        made = [list(thing) for thing in self._made(record) if isinstance(thing, files.File)]
        if made != self._told.engine.get("made", []):
            self._told = self._told.sent(made=made)
            self._telling.changed(self._told)

    def _named_files(self) -> list[files.File]:
        return [files.File(*named) for named in self._told.engine.get("made", [])]

    def _made(self, record: Record) -> list[files.File | files.Text]:
        return files.made(record, self._manifest.output)

    def _tell(self, ticket: Ticket) -> None:
        self._told = ticket
        self._telling.submitted(ticket)

    def _stop(
        self,
        which: Callable[[], str],
        error: BaseException,
        is_settled: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take the job back; where that is uncertain, the error that ends the run says so."""
        with within(_STOPPING_SECONDS):
            doubt = stop(self._client, which, is_settled=is_settled)
        if doubt and isinstance(error, ImagenError):
            with suppress(ImagenError):  # the caller ends it once more
                self._telling.changed(self._told.sent(is_stopped=True))
            raise error.as_unstopped(doubt) from error

    def _complete(self, record: Record, prompt_id: str) -> tuple[str, ...]:
        """Ask the history for what the websocket didn't tell; it is written a moment later.

        A warning where it never is.
        """
        if record.is_whole() or record.broken or record.interrupted or self._lost:
            return ()
        entry = run_while_reporting(partial(self._entry, prompt_id), self._telling.fetching)
        if entry is not None:
            record.adopt(entry)
            return ()
        if not record.outputs and not record.pictures:
            raise Lost(
                f"{self._client.at} ended the job, but its history does not have it.",
                is_certain=False,
            )
        return (
            f"{self._client.at} does not have the history of the job, which may have made more.",
        )

    def _entry(self, prompt_id: str) -> HistoryEntry | None:
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

    def _fetched(
        self, record: Record, reasons: tuple[str, ...]
    ) -> tuple[tuple[Output, ...], tuple[str, ...]]:
        """The job's files, and a sentence for each one that is gone."""
        if record.interrupted is not None:
            is_resumed = self._ticket.submitted
            raise errors.interrupted(record.graph, record.interrupted.node, is_resumed=is_resumed)
        if record.broken is not None:
            raise errors.failed(record.broken, record.graph, reasons)
        things = self._made(record) if self._lost is None else self._named_files()
        sent = files.sent(record, self._manifest.output)
        if not sent and files.lacks_a_picture(record.graph, things):
            raise errors.empty((*reasons, *files.unheard(record)))
        self._telling.fetching()
        if self._lost is None:
            self._keep_names(record)
        fetched, missing = files.fetch_all(
            self._client,
            things,
            self._telling.fetching,
            unless=partial(self._is_too_silent, time.monotonic()),
        )
        if self._lost is not None:
            fetched = [one for one in fetched if files.is_of(record.graph, one.data)]
        is_nothing = not sent and all(files.is_text(output) for output in fetched)
        self._refuse_missing(missing, is_nothing=is_nothing)
        outputs = tuple(replace(o, seed=self._ticket.request.seed) for o in (*fetched, *sent))
        messages = [error.message for error in missing]
        if self._lost is not None:
            messages.append(f"{self._lost.message} The files that it had named were fetched.")
        return outputs, tuple(messages)

    def _refuse_missing(self, missing: list[Lost], *, is_nothing: bool) -> None:
        """Raise Lost if the job has images that can't be fetched now, but may be later."""
        doubtful = [error for error in missing if not error.is_certain]
        if is_nothing and self._lost is not None and not doubtful:
            raise self._lost
        if missing and (is_nothing or doubtful):
            raise (doubtful or missing)[0].replace(is_certain=False)

    def _is_too_silent(self, began: float, error: ImagenError) -> bool:
        is_late = time.monotonic() - began >= self._config.idle_seconds
        return is_unanswered(error) and is_late

    def _too_old(self) -> tuple[str, ...]:
        """A warning where the server has the nodes of the workflow, but not what they need."""
        why = self._manifest.too_old(self._known_stats().version) if self._manifest.comfyui else ""
        return (why,) if why else ()

    def _blocked(self, record: Record) -> tuple[str, ...]:
        return tuple(errors.blocked(one, record.graph) for one in record.blocked)

    def _unheard(self) -> tuple[str, ...]:
        """A warning where the websocket was not there all the time."""
        trouble = self._listener.trouble
        if not trouble:
            return ()
        return (f"The websocket of {self._client.at} {trouble}; the server was asked instead.",)

    def _facts(
        self, taken: SubmittedPrompt, record: Record, times: Times, outputs: tuple[Output, ...]
    ) -> Facts:
        return facts(
            self._ticket.request,
            record,
            times,
            self._known_stats(),
            outputs,
            prompt_id=taken.prompt_id,
            client_id=self._listener.client_id,
        )

    def _known_stats(self) -> Stats:
        """What was asked for this run; of an earlier answer, what does not change."""
        if self._stats is not None and self._stats.ready(_STATS_SECONDS):
            with suppress(BackendError):
                return self._stats.result()
        return (self._client.known or Stats())._replace(vram_used_bytes=None)


def _id_from(work: Background[SubmittedPrompt], otherwise: str) -> str:
    if work.ready():
        with suppress(ImagenError):
            return work.result().prompt_id
    return otherwise
