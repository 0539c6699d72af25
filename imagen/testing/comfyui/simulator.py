"""ComfyUI on a port of this machine, without a GPU, and as hostile as a test needs it."""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from imagen.testing.comfyui.attendance import attend
from imagen.testing.comfyui.catalogue import Catalogue, Shelves
from imagen.testing.comfyui.failure_switches import FailureSwitches
from imagen.testing.comfyui.files import Files
from imagen.testing.comfyui.hub import Hub
from imagen.testing.comfyui.jobs import Jobs
from imagen.testing.comfyui.listener import HOST, Listener
from imagen.testing.comfyui.prompts import STRANGER, enqueue, stranger
from imagen.testing.comfyui.setup import NEW_VERSION, Mischief, Observed, Setup
from imagen.testing.comfyui.worker import Worker
from imagen.testing.comfyui.world import World
from imagen.testing.listener import HeldPort

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from imagen.testing.comfyui.setup import Look, Seen

_DOWN_SECONDS = 0.1


class ComfyUI:
    """A simulated ComfyUI server; it runs from `start`, or entering `with`, until `stop`.

    `base_path` puts it under a path, `credential` is the Authorization header it asks for on both
    channels (a pair is a user and a password), `tls` a certificate and a key file. `catalogue`
    replaces the classes of node (`/object_info`), `models` the model files by folder; by default
    every model file is there but the `missing_models`. `pictures` are painted, of one colour, or
    noise (large files). `previews` shows each step: True as the client's flags ask, 1 or 4 in a
    frame of that type. Any further argument is a switch of `Hostility`.
    """

    _world: World | None = None
    _worker: Worker | None = None
    _listener: Listener | None = None
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
        catalogue: Mapping[str, Any] | None = None,
        models: Mapping[str, Sequence[str]] | None = None,
        missing_models: Collection[str] = (),
        step_seconds: float = 0.0,
        load_seconds: float = 0.0,
        pictures: Look = "painted",
        previews: bool | Literal[1, 4] = False,
        vram: tuple[int, int] = (24 << 30, 20 << 30),
        tls: tuple[str, str] | None = None,
        switches: FailureSwitches | None = None,
        **more: Any,
    ) -> None:
        self._port = port
        self._setup = Setup(
            base_path=base_path,
            credential=_authorization(credential),
            version=version,
            catalogue=catalogue,
            models=models,
            missing_models=missing_models,
            step_seconds=step_seconds,
            load_seconds=load_seconds,
            pictures=pictures,
            live_previews=previews is True,
            vram=vram,
            tls=tls,
        )
        forced: dict[str, Any] = {} if isinstance(previews, bool) else {"previews": previews}
        self._mischief = Mischief(replace(switches or FailureSwitches(), **forced, **more))
        self._observed = Observed()
        self._files = Files()
        self._jobs = Jobs()
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address; it stays the same across restarts."""
        scheme = "https" if self._setup.tls else "http"
        return f"{scheme}://{HOST}:{self._port}{self._setup.base_path}"

    @property
    def switches(self) -> FailureSwitches:
        """The switches; they may be set while the server runs."""
        return self._mischief.now

    @switches.setter
    def switches(self, switches: FailureSwitches) -> None:
        self._mischief.now = switches

    @property
    def prompts(self) -> list[dict[str, Any]]:
        """The body of each prompt that was taken."""
        return self._observed.prompts

    @property
    def client_ids(self) -> list[str]:
        """The client id of each websocket, in the order of opening."""
        return self._observed.client_ids

    @property
    def sockets_opened(self) -> int:
        """How many websockets were accepted."""
        return len(self._observed.client_ids)

    @property
    def requests(self) -> list[Seen]:
        """Every request: method, path with query, headers by lower-case name."""
        return self._observed.requests

    @property
    def interrupts(self) -> list[str | None]:
        """The prompt id of each interrupt; None for one that stops whatever runs."""
        return self._observed.interrupts

    @property
    def files(self) -> Files:
        """What was made and uploaded."""
        return self._files

    @property
    def history(self) -> dict[str, Any]:
        """The entry of each prompt that has ended, by its id."""
        return self._jobs.history

    def queue_state(self) -> tuple[str | None, list[str]]:
        """The prompt id that runs, and those that wait, in their order."""
        state = self._jobs.queue()
        running = [row[1] for row in state["queue_running"]]
        pending = sorted((row[0], row[1]) for row in state["queue_pending"])
        return running[0] if running else None, [prompt_id for _, prompt_id in pending]

    def submit_foreign(
        self,
        graph: dict[str, Any] | None = None,
        *,
        seconds: float = 0.05,
        client_id: str | None = STRANGER,
    ) -> str:
        """Queue a job of somebody else; without a client id, everybody hears of its progress."""
        assert self._world is not None, "the server does not run"
        job = stranger(self._world, graph, seconds=seconds, client_id=client_id)
        enqueue(self._world, job)
        return job.prompt_id

    def upload(self, data: bytes, name: str, *, folder: str = "input", subfolder: str = "") -> None:
        """Put a file on the server, as somebody before did."""
        self._files.put(data, folder, subfolder, name)

    def start(self) -> None:
        """Open the port; without effect while it is open."""
        with self._lock:
            if self._listener is not None:
                return
            world = self._new_world()
            if self._held is not None:
                self._held.release()
            listener = Listener(self._port, lambda sock: attend(world, sock), self._setup.tls)
            self._port = listener.port
            self._world, self._listener, self._worker = world, listener, Worker(world)

    def stop(self) -> None:
        """Close everything and wait for it; twice is fine."""
        reaper = self._reaper
        if reaper is not None and reaper is not threading.current_thread():
            reaper.join()
        self._close(abruptly=False)

    def die(self) -> None:
        """End as if killed: connections are reset, and nobody is told. `restart` brings it back."""
        self._close(abruptly=True)

    def restart(self, empty: bool = True) -> None:
        """Come back on the same port; by default without queue, history, cache, temporary files."""
        self._close(abruptly=True)
        if empty:
            self._jobs = Jobs()
            self._files.forget("temp")
        self._jobs.reopen()
        self.start()

    def _close(self, *, abruptly: bool) -> None:
        with self._lock:
            if self._listener is None or self._worker is None or self._world is None:
                return
            self._world.ending.set()
            self._listener.close(abruptly=abruptly)
            self._worker.close()
            self._listener = self._worker = None
            self._held = HeldPort(self._port)

    def _new_world(self) -> World:
        shelves = Shelves(self._setup.models, self._setup.missing_models)
        return World(
            setup=self._setup,
            mischief=self._mischief,
            observed=self._observed,
            files=self._files,
            shelves=shelves,
            catalogue=Catalogue(self._setup.catalogue, shelves, self._files),
            hub=Hub(self._mischief),
            jobs=self._jobs,
            die=self._die_soon,
        )

    def _die_soon(self) -> None:
        """Die in another thread than the one that runs the job."""
        self._reaper = threading.Thread(target=self._reap, name="comfyui-reaper", daemon=True)
        self._reaper.start()

    def _reap(self) -> None:
        if not self.switches.restart_empty:
            self.die()
            return
        self.die()
        time.sleep(_DOWN_SECONDS)
        self.restart()


def _authorization(credential: str | tuple[str, str]) -> str:
    if isinstance(credential, str):
        return credential
    return "Basic " + base64.b64encode(":".join(credential).encode()).decode()
