"""The simulated ComfyUI server: start, stop, die, restart, and what tests look at."""

from __future__ import annotations

import base64
import threading
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from imagen.testing.comfyui.failure_switches import ActiveSwitches, FailureSwitches
from imagen.testing.comfyui.node_catalog import ModelFiles, NodeClasses
from imagen.testing.comfyui.routes import (
    OTHER_CLIENT,
    answer_request,
    foreign_prompt,
    inner_path,
    refuse,
)
from imagen.testing.comfyui.runner import PromptWorker
from imagen.testing.comfyui.state import (
    NEW_VERSION,
    ClientLog,
    PromptQueue,
    ServerFiles,
    ServerOptions,
    ServerState,
    ServerStopped,
)
from imagen.testing.comfyui.websocket import ConnectedClients, ServerWebSocket
from imagen.testing.http_server import CUT, HOST, HeldPort, HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from imagen.testing.comfyui.graph import Graph
    from imagen.testing.comfyui.state import History, ImageStyle
    from imagen.testing.http_server import HttpAnswer, HttpConnection, HttpRequest

_DOWN_SECONDS = 0.1


class ComfyUI:
    """A simulated ComfyUI server; it runs from `start`, or entering `with`, until `stop`.

    `base_path` puts it below a path, `credential` is the Authorization header that it requires
    (a pair is a user and a password), `tls` a certificate and a key file. `node_catalog` replaces
    the node classes (`/object_info`), `models` the model files by folder; by default every model
    file exists but the `missing_models`. `images` are painted, of one colour, or noise (large
    files). `previews` shows each step: True as the client's flags ask, 1 or 4 in a frame of that
    type. Any further argument is one of the `FailureSwitches`.
    """

    _state: ServerState | None = None
    _worker: PromptWorker | None = None
    _http: HttpServer | None = None
    _reaper: threading.Thread | None = None
    _held: HeldPort | None = None
    """Its port, while it is stopped: connections are refused."""

    def __init__(
        self,
        *,
        port: int = 0,
        base_path: str = "",
        credential: str | tuple[str, str] = "",
        version: str = NEW_VERSION,
        node_catalog: Mapping[str, Any] | None = None,
        models: Mapping[str, Sequence[str]] | None = None,
        missing_models: Collection[str] = (),
        step_seconds: float = 0.0,
        load_seconds: float = 0.0,
        images: ImageStyle = "painted",
        previews: bool | Literal[1, 4] = False,
        vram: tuple[int, int] = (24 << 30, 20 << 30),
        tls: tuple[str, str] | None = None,
        switches: FailureSwitches | None = None,
        **more: Any,
    ) -> None:
        if not isinstance(credential, str):
            credential = "Basic " + base64.b64encode(":".join(credential).encode()).decode()
        if not isinstance(previews, bool):
            more["previews"] = previews
        self._port = port
        self._options = ServerOptions(
            base_path=base_path,
            credential=credential,
            version=version,
            node_catalog=node_catalog,
            models=models,
            missing_models=missing_models,
            step_seconds=step_seconds,
            load_seconds=load_seconds,
            images=images,
            live_previews=previews is True,
            vram=vram,
            tls=tls,
        )
        self._active = ActiveSwitches(replace(switches or FailureSwitches(), **more))
        self._log = ClientLog()
        self._files = ServerFiles()
        self._queue = PromptQueue()
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address; it stays the same across restarts."""
        scheme = "https" if self._options.tls else "http"
        return f"{scheme}://{HOST}:{self._port}{self._options.base_path}"

    @property
    def switches(self) -> FailureSwitches:
        """The switches; they may be set while the server runs."""
        return self._active.current

    @switches.setter
    def switches(self, switches: FailureSwitches) -> None:
        self._active.current = switches

    @property
    def prompts(self) -> list[dict[str, Any]]:
        """The body of each prompt that was accepted."""
        return self._log.prompts

    @property
    def client_ids(self) -> list[str]:
        """The client id of each websocket, in the order of opening."""
        return self._log.client_ids

    @property
    def sockets_opened(self) -> int:
        """How many websockets were accepted."""
        return len(self._log.client_ids)

    @property
    def requests(self) -> list[HttpRequest]:
        """Every request."""
        return self._log.requests

    @property
    def interrupts(self) -> list[str | None]:
        """The prompt id of each interrupt; None for one that stops whatever runs."""
        return self._log.interrupts

    @property
    def files(self) -> ServerFiles:
        """What was saved and uploaded."""
        return self._files

    @property
    def history(self) -> History:
        """The entry of each finished prompt, by its id."""
        return self._queue.history

    def queue_state(self) -> tuple[str | None, list[str]]:
        """The prompt id that runs, and those that wait, in their order."""
        rows = self._queue.rows()
        running = [row[1] for row in rows["queue_running"]]
        pending = sorted((row[0], row[1]) for row in rows["queue_pending"])
        return running[0] if running else None, [prompt_id for _, prompt_id in pending]

    def submit_foreign(
        self,
        graph: Graph | None = None,
        *,
        seconds: float = 0.05,
        client_id: str | None = OTHER_CLIENT,
    ) -> str:
        """Queue a prompt of another client; without a client id, its progress goes to everybody."""
        assert self._state is not None, "the server does not run"
        prompt = foreign_prompt(self._state, graph, seconds=seconds, client_id=client_id)
        self._queue.put(prompt, self._state.send_status)
        return prompt.prompt_id

    def upload(self, data: bytes, name: str, *, folder: str = "input", subfolder: str = "") -> None:
        """Put a file on the server, as another client did before."""
        self._files.put(data, folder, subfolder, name)

    def start(self) -> None:
        """Open the port; without effect while it is open."""
        with self._lock:
            if self._http is not None:
                return
            models = ModelFiles(self._options.models, self._options.missing_models)
            state = ServerState(
                options=self._options,
                active=self._active,
                log=self._log,
                files=self._files,
                models=models,
                catalog=NodeClasses(self._options.node_catalog, models, self._files),
                clients=ConnectedClients(self._active),
                queue=self._queue,
                die=self._die_soon,
            )
            if self._held is not None:
                self._held.release()
            self._http = HttpServer(
                lambda request: _answer(state, request),
                port=self._port,
                tls=self._options.tls,
                name="comfyui",
            )
            self._port = self._http.port
            self._state, self._worker = state, PromptWorker(state)

    def stop(self) -> None:
        """Close everything and wait for it; twice is fine."""
        reaper = self._reaper
        if reaper is not None and reaper is not threading.current_thread():
            reaper.join()
        self._close(abruptly=False)

    def die(self) -> None:
        """End as if killed: connections are reset. `restart` brings the server back."""
        self._close(abruptly=True)

    def restart(self, empty: bool = True) -> None:
        """Come back on the same port; by default without queue, history, cache, temporary files."""
        self._close(abruptly=True)
        if empty:
            self._queue = PromptQueue()
            self._files.clear("temp")
        self._queue.reopen()
        self.start()

    def _close(self, *, abruptly: bool) -> None:
        with self._lock:
            if self._http is None or self._worker is None or self._state is None:
                return
            self._state.stopping.set()
            self._held = self._http.stop(abruptly=abruptly)
            self._worker.close()
            self._http = self._worker = None

    def _die_soon(self) -> None:
        """Die in another thread than the one that runs the prompt."""

        def die_and_maybe_restart() -> None:
            comes_back = self.switches.restart_empty
            self.die()
            if comes_back:
                time.sleep(_DOWN_SECONDS)
                self.restart()

        self._reaper = threading.Thread(
            target=die_and_maybe_restart, name="comfyui-reaper", daemon=True
        )
        self._reaper.start()


def _answer(
    state: ServerState, request: HttpRequest
) -> HttpAnswer | Callable[[HttpConnection], None]:
    """The answer to a request, or the websocket that takes its connection over."""
    state.log.requests.append(request)
    path = inner_path(state, request.path)
    try:
        refused = refuse(state, request, path)
        is_upgrade = "websocket" in request.headers.get("upgrade", "").lower()
        if refused is None and path == "/ws" and is_upgrade:
            client_id = request.query.get("clientId") or uuid.uuid4().hex
            return lambda connection: _serve_websocket(state, connection, client_id)
        return refused or answer_request(state, request, path or "")
    except ServerStopped:
        return CUT


def _serve_websocket(state: ServerState, connection: HttpConnection, client_id: str) -> None:
    """A websocket, from its handshake to its end."""
    socket = ServerWebSocket(connection, client_id)
    if not socket.accept():
        socket.open()
        return
    is_first = not state.log.client_ids
    state.log.client_ids.append(client_id)
    running = state.queue.running
    is_own = running is not None and running.client_id == client_id
    state.clients.enter(
        socket,
        state.queue.remaining(),
        is_first=is_first,
        running_node=state.running_node if is_own else None,
    )
    try:
        socket.listen(state.clients.answer_feature_flags)
    finally:
        state.clients.leave(socket)
