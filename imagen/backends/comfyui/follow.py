"""Follow one job to its end: the websocket is fast, the history and the queue are right."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from imagen.backends.comfyui import websocket as events
from imagen.backends.remote_job import Outage
from imagen.core.json_values import as_mapping
from imagen.core.text import one_line
from imagen.errors import BackendError, Failed, Lost, TimedOut
from imagen.net.threads import TICK_SECONDS, Background

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagen.backends.comfyui.client import ComfyClient, HistoryEntry
    from imagen.backends.comfyui.config import ComfyUIConfig
    from imagen.backends.comfyui.websocket import ComfyWebSocket
    from imagen.backends.remote_job import JobProgress

SAVES_TO_THE_SOCKET = "SaveImageWebsocket"
"""The class of the node whose images come over the websocket and nowhere else."""
FETCHING_FRACTION = 0.98
"""How far along a job is whose images are finished and not yet fetched."""

_SAMPLER_WEIGHT = 20.0
"""How much longer a node that counts steps takes than another, for the progress bar."""
_INTERVAL_GROWTH = 1.5
_LONGEST_INTERVAL = 10
"""The longest interval between two looks, in first ones."""
_WITHOUT_SOCKET = 5
"""How much sooner the next look is due where no websocket is open."""
_LONGEST_RECONNECT_PAUSE = 30.0
_PING_SECONDS = 20.0
_WHILE_LOOKING = 0.02
_LATE_FRAMES_SECONDS = 1.0
_MISSES_UNTIL_LOST = 2
"""How many looks in a row must miss a job before it is lost."""


class ComfyJobStatus(NamedTuple):
    """One look at the server. A job that the server does not know has none of these."""

    entry: HistoryEntry | None = None
    """The history's entry of a job that has ended."""
    runs: bool = False
    position: int | None = None
    """How many jobs come first."""
    is_stalled: bool = False
    """Whether the job waits although nothing runs."""
    running: tuple[str, ...] = ()
    """The jobs that run while this one waits: they change while the server makes progress."""

    @property
    def is_gone(self) -> bool:
        return self.entry is None and not self.runs and self.position is None


def look_up_job(client: ComfyClient, prompt_id: str) -> ComfyJobStatus:
    """Find a job. The history is asked again after the queue: the job may end in between."""
    entry = client.history(prompt_id)
    if entry is not None:
        return ComfyJobStatus(entry=entry)
    queue = client.queue()
    if queue.runs(prompt_id):
        return ComfyJobStatus(runs=True)
    position = queue.position(prompt_id)
    if position is not None:
        running = tuple(item.prompt_id for item in queue.running)
        return ComfyJobStatus(position=position, is_stalled=not queue.running, running=running)
    return ComfyJobStatus(entry=client.history(prompt_id))


class ComfyJobRecord:
    """What is known of one job so far, from websocket events or from the history."""

    def __init__(
        self, graph: Mapping[str, object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.graph = graph
        self._clock = clock
        self.ended = False
        self.started_at: float | None = None
        """When the start was heard of, by our clock."""
        self.began_ms: float | None = None
        self.finished_ms: float | None = None
        """By the server's clock."""
        self.succeeded = False
        self.failure: events.NodeFailed | None = None
        self.blocked: tuple[events.NodeFailed, ...] = ()
        self.interrupted: events.JobInterrupted | None = None
        self.node = ""
        """The node of the graph that runs now."""
        self.step: int | None = None
        self.steps: int | None = None
        self.done: set[str] = set()
        self.cached: set[str] | None = None
        self.outputs: dict[str, Mapping[str, object]] = {}
        self.display_nodes: dict[str, str] = {}
        """For a node that was created while the job ran: the node of the graph behind it."""
        self.socket_images: dict[str, list[bytes]] = {}
        """The images of nodes that save to the websocket."""
        self.preview: bytes | None = None
        self.node_seconds: dict[str, float] = {}
        self._node_since = 0.0

    def apply(self, event: events.ComfyEvent) -> None:
        """Take one event into account."""
        match event:
            case events.JobStarted(milliseconds):
                self._note_start()
                self.began_ms = milliseconds
            case events.NodesCached(nodes):
                self.cached = {*nodes}
                self.done |= self.cached
            case events.NodeRunning(_, node):
                self._leave_node()
                self._note_start()
                self.node, self.step, self.steps = node, None, None
                self._node_since = self._clock()
            case events.NodesFinished(nodes):
                self.done |= {*nodes}
            case events.NodeStepped(_, step, steps):
                self.step, self.steps = step, steps
            case events.NodeOutput(node, display_node, output):
                self.outputs[node] = output
                self.display_nodes[node] = display_node
            case events.SocketImage(data, of_node):
                # An image without a node belongs to our job only while one of its nodes runs.
                node = of_node or self.node
                if self._saves_to_the_socket(node):
                    self.socket_images.setdefault(node, []).append(data)
                elif node:
                    self.preview = data
            case events.JobSucceeded(milliseconds):
                self.succeeded = True
                self.finished_ms = milliseconds
            case events.NodeFailed() if event.is_blocked:
                # It arrives over the websocket, and again with the history.
                self.blocked = tuple(dict.fromkeys((*self.blocked, event)))
            case events.NodeFailed():
                self.failure = event
                self.finished_ms = event.milliseconds
            case events.JobInterrupted(_, milliseconds):
                self.interrupted = event
                self.finished_ms = milliseconds
            case events.JobEnded():
                self._leave_node()
                self.ended = True

    def apply_history(self, entry: HistoryEntry) -> None:
        """Take the history into account: it has all outputs, and the end."""
        self.outputs |= {node: as_mapping(output) for node, output in entry.outputs.items()}
        self.display_nodes |= entry.display_nodes
        for kind, data in entry.messages:
            event = events.parse_message(kind, data)
            if isinstance(event, events.JobStarted):
                self.began_ms = event.milliseconds
            elif event is not None:
                self.apply(event)
        self.apply(events.JobEnded())

    def is_complete(self) -> bool:
        """Whether every node whose output no other node uses has given something."""
        used = {
            value[0]
            for node in self.graph.values()
            for value in as_mapping(as_mapping(node).get("inputs")).values()
            if isinstance(value, list) and len(value) == 2
        }
        gave = {self.display_nodes.get(node, node) for node, out in self.outputs.items() if out}
        return all(node in gave for node in self.graph if node not in used)

    def needs_the_socket(self) -> bool:
        """Whether some of the job's images come over the websocket only."""
        return any(map(self._saves_to_the_socket, self.graph))

    def take_preview(self) -> bytes | None:
        """The newest preview, once."""
        preview, self.preview = self.preview, None
        return preview

    def _note_start(self) -> None:
        if self.started_at is None:
            self.started_at = self._clock()

    def _leave_node(self) -> None:
        if self.node:
            spent = self._clock() - self._node_since
            self.node_seconds[self.node] = self.node_seconds.get(self.node, 0.0) + spent
            self.done.add(self.node)
            self.node = ""

    def _saves_to_the_socket(self, node: str) -> bool:
        return as_mapping(self.graph.get(node)).get("class_type") == SAVES_TO_THE_SOCKET


class ComfyProgress:
    """Reports how far a graph is: its nodes, weighted by how long they usually take."""

    def __init__(self, graph: Mapping[str, object], progress: JobProgress) -> None:
        self._nodes = {node: as_mapping(value) for node, value in graph.items()}
        self._progress = progress
        self._weights = {
            name: _SAMPLER_WEIGHT
            if "steps" in as_mapping(node.get("inputs")) or "Sampler" in str(node.get("class_type"))
            else 1.0
            for name, node in self._nodes.items()
        }

    def report(self, record: ComfyJobRecord, status: ComfyJobStatus | None) -> None:
        """Report where the job is now."""
        if record.started_at is None and not (status and status.runs):
            if status is None or status.position is None:
                self._progress.update("submitted")
            else:
                self._progress.update("queued", queue_position=status.position)
            return
        node = self._nodes.get(record.node, {})
        node_class = str(node.get("class_type") or "")
        title = as_mapping(node.get("_meta")).get("title") or node_class or record.node
        self._progress.update(
            "loading" if "Loader" in node_class else "running",
            fraction=self._fraction(record) * FETCHING_FRACTION,
            node=one_line(str(title), limit=60),
            step=record.step,
            steps=record.steps,
            preview=record.take_preview(),
        )

    def _fraction(self, record: ComfyJobRecord) -> float:
        total = sum(self._weights.values())
        done = sum(self._weights.get(node, 0.0) for node in record.done)
        if record.step is not None and record.steps and record.node not in record.done:
            done += self._weights.get(record.node, 0.0) * record.step / record.steps
        return done / total if total else 0.0


class JobFollower:
    """The wait for one job that the server has."""

    def __init__(
        self,
        client: ComfyClient,
        socket: ComfyWebSocket,
        record: ComfyJobRecord,
        progress: ComfyProgress,
        config: ComfyUIConfig,
        *,
        on_output: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._socket = socket
        self._record = record
        self._progress = progress
        self._config = config
        self._on_output = on_output
        self._clock = clock
        self._outage = Outage(client.at, lost_seconds=config.lost_seconds, clock=clock)
        self._heard_the_end = False
        self._status: ComfyJobStatus | None = None
        self._look: Background[ComfyJobStatus] | None = None
        self._look_error: BackendError | None = None
        self._quiet_looks = 0
        """How many looks there were since the last event."""
        self._misses = 0
        self._ran_while_connected = False
        self._reconnection: Background[None] | None = None
        self._reconnect_pause = config.poll_seconds
        self._known_breaks = socket.breaks
        now = clock()
        self._began = self._moved_at = self._reported_at = self._pinged_at = now
        self._reconnect_due = now
        self._stalled_since: float | None = None
        self._look_due = now + self.interval(0)

    def follow(self) -> None:
        """Return once the job has ended, well or badly.

        Raises Lost and TimedOut, Failed where the server cannot run it, and what the caller raises.
        """
        while not self._record.ended:
            event = self._next_event()
            now = self._clock()
            if event is not None:
                self._apply(event, now)
            self._look_if_due(now)
            self._reconnect_if_due(now)
            if not self._record.ended:
                self._check_limits(now)
            if now - self._reported_at >= TICK_SECONDS:
                self._report(now)
        if self._record.needs_the_socket():
            # The history was faster than the websocket, whose last frames are outputs.
            deadline = self._clock() + _LATE_FRAMES_SECONDS
            while not self._heard_the_end and self._socket.is_open and self._clock() < deadline:
                event = self._socket.next(_WHILE_LOOKING)
                if event is not None:
                    self._apply(event, self._clock())

    def interval(self, quiet_looks: int) -> float:
        """Seconds until the next look, after this many in a row without an event between them."""
        first = self._config.poll_seconds
        if self._record.succeeded or self._record.failure or self._record.interrupted:
            return first / _WITHOUT_SOCKET
        growth = min(_INTERVAL_GROWTH ** min(quiet_looks, _LONGEST_INTERVAL), _LONGEST_INTERVAL)
        return first * growth / (1 if self._socket.is_open else _WITHOUT_SOCKET)

    def _next_event(self) -> events.ComfyEvent | None:
        """The next event, waited for until something else is due."""
        wait = max(0.0, min(self._look_due - self._clock(), TICK_SECONDS))
        if self._look is not None:
            wait = _WHILE_LOOKING
        if self._socket.is_open:
            return self._socket.next(wait)
        if self._look is not None:
            self._look.ready(TICK_SECONDS)
        elif wait:
            time.sleep(wait)
        return None

    def _apply(self, event: events.ComfyEvent, now: float) -> None:
        if isinstance(event, events.QueueChanged):
            if self._record.started_at is None or self._socket.breaks:
                self._look_due = min(self._look_due, now + self._config.poll_seconds / 2)
            return
        self._heard_the_end = isinstance(event, events.JobEnded)
        self._record.apply(event)
        self._moved_at, self._quiet_looks = now, 0
        self._outage.end()
        self._look_due = now + self.interval(0)
        if isinstance(event, events.NodeOutput):
            self._on_output()
        if isinstance(
            event,
            events.NodeRunning | events.NodeStepped | events.SocketImage | events.JobStarted,
        ):
            self._report(now)

    def _look_if_due(self, now: float) -> None:
        """Take in a look that has ended; begin one that is due."""
        if self._look is None:
            if now >= self._look_due:
                prompt_id = self._socket.prompt_id
                self._look = Background(lambda: look_up_job(self._client, prompt_id))
            return
        if not self._look.ready():
            return
        look, self._look = self._look, None
        self._quiet_looks += 1
        self._look_due = now + self.interval(self._quiet_looks)
        try:
            status = look.result()
        except BackendError as error:
            if self._client.is_closed:
                raise
            self._look_error = error
            self._outage.check(error)
            return
        self._outage.end()
        self._look_error = None
        has_changed, self._status = status != self._status, status
        if status.entry is not None:
            self._record.apply_history(status.entry)
        elif has_changed:
            self._moved_at = now
            self._report(now)
        self._misses = self._misses + 1 if status.is_gone else 0
        self._ran_while_connected |= status.runs and self._socket.is_open
        if not status.is_stalled:
            self._stalled_since = None
        elif self._stalled_since is None:
            self._stalled_since = now

    def _reconnect_if_due(self, now: float) -> None:
        """Connect again where the websocket broke: it reports at least when the queue changes."""
        if self._socket.breaks > self._known_breaks:
            # Events in between are not repeated: the history may have the end already.
            self._known_breaks, self._quiet_looks = self._socket.breaks, 0
            self._look_due = now
        if self._socket.is_open or now < self._reconnect_due:
            return
        if self._reconnection is None or self._reconnection.ready():
            self._reconnection = Background(self._socket.reopen)
            self._reconnect_due = now + self._reconnect_pause
            self._reconnect_pause = min(self._reconnect_pause * 2, _LONGEST_RECONNECT_PAUSE)

    def _check_limits(self, now: float) -> None:
        config = self._config
        if self._misses >= _MISSES_UNTIL_LOST:
            raise self._lost()
        if self._stalled_since is not None and now - self._stalled_since >= config.lost_seconds:
            raise Failed(
                f"{self._client.at} answers but runs none of the jobs in its queue.",
                remedy="Restart ComfyUI: the part of it that runs jobs has died.",
            )
        if now - self._began >= config.total_seconds:
            raise self._timed_out("in all", config.total_seconds, "total_seconds")
        if now - self._moved_at >= config.idle_seconds:
            # Where looks fail, the last status is out of date.
            status = self._status if self._look_error is None else None
            if status is not None and status.position is not None:
                how = "without any progress: it waits in the queue behind a job that does not end"
                error = self._timed_out(how, config.idle_seconds, "idle_seconds")
                remedy = "If ComfyUI's log says that its worker died, restart ComfyUI."
                raise error.with_remedy(remedy)
            raise self._timed_out("without any progress", config.idle_seconds, "idle_seconds")

    def _lost(self) -> Lost:
        """The error for a job that the server no longer knows.

        A server that was connected all the time must have the end of a job that ran: then
        something hides it.
        """
        is_same_server = self._socket.is_open and not self._socket.breaks
        if self._ran_while_connected and is_same_server and not self._record.outputs:
            return Lost(
                f"{self._client.at} no longer knows the job, which ran there: its history was "
                "cleared, or something in front of the server answers with an old one.",
                is_certain=False,
            )
        return Lost(
            f"{self._client.at} no longer knows the job: the server was restarted, "
            "or the job was deleted from its queue."
        )

    def _timed_out(self, how: str, seconds: float, key: str) -> TimedOut:
        message = f"The job took more than {seconds:g} seconds {how}."
        remedy = f"If it needs longer, raise backends.{self._config.name}.{key}."
        if self._look_error is None:
            return TimedOut(message, remedy=remedy)
        return TimedOut(
            f"{message} Its state could not be read: {self._look_error.message}",
            remedy=self._look_error.remedy or remedy,
        )

    def _report(self, now: float) -> None:
        self._reported_at = now
        if now - self._pinged_at >= _PING_SECONDS:
            self._pinged_at = now
            self._socket.ping()
        self._progress.report(self._record, self._status)
