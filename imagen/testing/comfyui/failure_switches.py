"""How the simulator misbehaves: one switch for each way, and a count of how often each struck."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeError:
    """A node that fails: the given one, else the one that samples, else the last one."""

    exception: str = "ValueError"
    message: str = "The node could not do what it was asked."
    node: str = ""


OUT_OF_MEMORY = NodeError(
    exception="torch.OutOfMemoryError",
    message="Allocation on device 0 would exceed allowed memory. (out of memory)",
)
BLOCKED = NodeError(exception="ExecutionBlocked", message="Execution Blocked: not today")
"""An error in the middle of a run that ends as a success, without an output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAnswer:
    """HTTP requests that a gateway answers in the server's place, or that get no answer."""

    status: int = 503
    times: int = 1
    after: int = 0
    """How many requests get through before."""
    path: str = ""
    """The start of the path, without base path and `/api`; empty for any."""
    method: str = ""
    """Empty for any."""
    body: str = "The server is not well.\n"
    content_type: str = "text/plain; charset=utf-8"
    retry_after: str | None = None
    reaches: bool = False
    """Whether the server still gets the request, and only its answer is replaced."""
    cuts: bool = False
    """Whether the connection is reset instead."""
    hangs: bool = False
    """Whether the answer never comes, while the connection stays open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureSwitches:
    """Switches; a number of times may be given as True for once.

    The websocket
    - `refuse_ws`: every websocket is refused with status 403.
    - `refuse_reconnect`: every websocket after the first is refused with status 403.
    - `silent`: sockets are accepted and receive nothing.
    - `deaf_after_reconnect`: every socket after the first receives its greeting and then nothing.
    - `drop_at`: the socket is cut instead of sending this event: a type such as `progress`,
      or `greeting`, `preview`, `end` (`executing` with node null).
    - `drop_nth`: only the nth such event of this server is replaced by the cut.
    - `foreign_frames`: each run is mixed with frames of other runs, malformed and unknown frames.
    - `previews`: 1 or 4: a preview at each step, in a frame of this type whatever the client says.
    - `huge_frame`: a preview of 20 MB at the start of each run.

    The run
    - `instant_cached`: every run is cached, and over before POST /prompt is answered.
    - `late_from`: from its nth run on, the server is slower by `late_factor`.
    - `silent_load`: seconds for which the first loader of each run sends nothing.
    - `error`: a node fails.
    - `interrupt`: another client interrupts each run half-way.
    - `restart_empty`: the server dies half-way through the first run; comes back empty, same port.
    - `die`: the server dies half-way through the first run, for good.
    - `busy`: this many jobs of other clients come before each job.
    - `busy_seconds`: duration of each of these.
    - `worker_dead`: jobs are accepted and never run; HTTP and websocket stay healthy.
    - `worker_dies`: the same, but the first job is listed as running for ever.
    - `empty_success`: runs succeed without any output.
    - `no_execution_success`: `execution_success` is not sent.
    - `no_terminal`: the closing `executing` with node null is not sent.
    - `extra_outputs`: each output node gives more: the same file name in another subfolder and in
      another folder, gifs, audio, text; an expanded node gives an image, another one null.
    - `mute_outputs`: this many `executed` messages are not sent.
    - `bare_names`: files are described by name and subfolder, without a type.
    - `evil_names`: file names climb out of the folder and hold control characters.

    HTTP
    - `slow`: seconds before each answer.
    - `http_errors`: requests that a gateway answers in the server's place, or that get no answer.
    - `redirect`: every request is answered 302, to the same path under this address.
    - `lost_post_request`: this many POST /prompt are cut off before they are read.
    - `lost_post_response`: this many POST /prompt are accepted, but cut off before the answer.
    - `taken_late`: these are only accepted at the Nth request for the history after that.
    - `node_errors_200`: POST /prompt answers 200, with errors: of several outputs one is skipped.
    - `strict_uuid`: a prompt_id that is not a canonical lower-case UUID is refused.
    - `old_server`: version 0.3.40: own prompt ids, any interrupt stops all, no progress_state.
    - `history_late`: this many requests for /history/ID come back empty after the end.
    - `truncate_view`: this many files end before their content-length.
    - `cut_file`: this many files are cut in the middle, with the content-length of the rest.
    - `rename_upload`: uploads are stored under another name than requested.
    - `largest_body`: a request with more bytes than this is answered 413.
    """

    refuse_ws: bool = False
    refuse_reconnect: bool = False
    silent: bool = False
    deaf_after_reconnect: bool = False
    drop_at: str = ""
    drop_nth: int = 1
    foreign_frames: bool = False
    previews: int = 0
    huge_frame: bool = False

    instant_cached: bool = False
    late_from: int = 0
    late_factor: int = 10
    silent_load: float = 0.0
    error: NodeError | None = None
    interrupt: bool = False
    restart_empty: bool = False
    die: bool = False
    busy: int = 0
    busy_seconds: float = 0.05
    worker_dead: bool = False
    worker_dies: bool = False
    empty_success: bool = False
    no_execution_success: bool = False
    no_terminal: bool = False
    extra_outputs: bool = False
    mute_outputs: int = 0
    bare_names: bool = False
    evil_names: bool = False

    slow: float = 0.0
    http_errors: tuple[GatewayAnswer, ...] = ()
    redirect: str = ""
    lost_post_request: int = 0
    lost_post_response: int = 0
    taken_late: int = 0
    node_errors_200: bool = False
    strict_uuid: bool = False
    old_server: bool = False
    history_late: int = 0
    truncate_view: int = 0
    cut_file: int = 0
    rename_upload: bool = False
    largest_body: int = 0


class ActiveSwitches:
    """The switches in force, and how often each has struck; they may be replaced at any time."""

    def __init__(self, switches: FailureSwitches) -> None:
        self.current = switches
        self._struck: Counter[str] = Counter()
        self._lock = threading.Lock()

    def strikes(self, name: str, times: int) -> bool:
        """Whether a switch that strikes this many times does so now."""
        with self._lock:
            if self._struck[name] >= times:
                return False
            self._struck[name] += 1
            return True

    def drops(self, event: str) -> bool:
        """Whether the socket is cut in place of this event."""
        if self.current.drop_at != event:
            return False
        with self._lock:
            self._struck["drop"] += 1
            return self._struck["drop"] == self.current.drop_nth
