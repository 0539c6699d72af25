"""How the simulator misbehaves: one switch for each way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeError:
    """A node that fails. Without a node, it's the one that samples, or else the last one."""

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
    """HTTP requests that the server itself does not answer: it is in trouble, or a gateway is."""

    status: int = 503
    times: int = 1
    after: int = 0
    """How many get through before that."""
    path: str = ""
    """The start of the path, without base path and `/api`; empty for any."""
    method: str = ""
    """Empty for any."""
    body: str = "The server is not well.\n"
    content_type: str = "text/plain; charset=utf-8"
    retry_after: str | None = None
    reaches: bool = False
    """Whether the server gets the request all the same, and only its answer is replaced."""
    cuts: bool = False
    """Whether the connection is cut instead."""
    hangs: bool = False
    """Whether nothing is answered at all, while the connection stays open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureSwitches:
    """Switches; a count of times may be given as True for once.

    The websocket
    - `refuse_ws`: every websocket is refused with status 403.
    - `refuse_reconnect`: every websocket after the first is refused with status 403.
    - `silent`: sockets are accepted and hear nothing, ever.
    - `deaf_after_reconnect`: every socket after the first hears its greeting, and then nothing.
    - `drop_at`: the socket is cut instead of sending this event: a type such as `progress`,
      or `greeting`, `preview`, `end` (`executing` with node null).
    - `drop_nth`: it's the nth such event of this server that is not sent.
    - `foreign_frames`: frames of others, malformed and unknown ones, among those of each run.
    - `previews`: 1 or 4: a preview at each step, in a frame of this type whatever the client says.
    - `huge_frame`: a preview of 20 MB at the start of each run.

    The run
    - `instant_cached`: every run is cached, and over before POST /prompt is answered.
    - `silent_load`: seconds for which the first loader of each run sends nothing.
    - `error`: a node fails.
    - `interrupt`: somebody else interrupts each run half way.
    - `restart_empty`: the server dies half way through the first run; comes back empty, same port.
    - `die`: the server dies half way through the first run, for good.
    - `busy`: this many jobs of strangers come before each job.
    - `busy_seconds`: how long each of these takes.
    - `worker_dead`: jobs are taken and never run; HTTP and websocket stay healthy.
    - `worker_dies`: the same, but the first job is listed as running for ever.
    - `empty_success`: runs succeed without any output.
    - `no_execution_success`: `execution_success` is not sent.
    - `no_terminal`: the closing `executing` with node null is not sent.
    - `extra_outputs`: each output node gives more: the same file name in another subfolder and in
      another folder, gifs, audio, text; a made node gives a picture, another one null.
    - `mute_outputs`: this many `executed` messages are not sent.
    - `bare_names`: files are described by their name and subfolder, without a type.
    - `evil_names`: file names climb out of the folder and hold control characters.

    HTTP
    - `slow`: seconds before each answer.
    - `http_errors`: requests that a gateway answers in the server's place, or that get no answer.
    - `redirect`: every request is answered 302, to the same path under this address.
    - `lost_post_request`: so many POST /prompt are cut off before they are read.
    - `lost_post_response`: so many POST /prompt are taken, but cut off before the answer.
    - `taken_late`: only the Nth question for the history after that finds them taken.
    - `node_errors_200`: POST /prompt answers 200, with errors: of several outputs one is skipped.
    - `strict_uuid`: a prompt_id that isn't a canonical lower-case UUID is refused.
    - `old_server`: version 0.3.40: own prompt ids, any interrupt stops all, no progress_state.
    - `history_late`: so many polls of /history/ID come back empty after the end.
    - `truncate_view`: so many files end before their content-length.
    - `cut_file`: so many files are cut in the middle, with the content-length of what is left.
    - `rename_upload`: uploads are stored under another name than was asked.
    - `largest_body`: a request of more bytes than this is answered 413.
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
