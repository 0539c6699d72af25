"""A server of imagen on a real socket, in a thread of this process."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from imagen.config import JobSettings, LibrarySettings, OutputSettings, Settings
from imagen.jobs.worker import StopRequest
from imagen.net.listen import ListenAddress, open_sockets
from imagen.runtime import Runtime, open_runtime
from imagen.server.app import create_app
from imagen.server.listen import serve_app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DEADLINE_SECONDS = 20.0


@dataclass
class LiveServer:
    """A running server and its runtime."""

    url: str
    runtime: Runtime
    client: httpx.Client
    stop: StopRequest

    def wait_for_job(self, id: str) -> dict[str, Any]:
        """The JSON of a job, once it has ended."""
        until = time.monotonic() + _DEADLINE_SECONDS
        while time.monotonic() < until:
            job: dict[str, Any] = self.client.get(f"/api/v1/jobs/{id}").raise_for_status().json()
            if job["state"] in ("done", "failed", "cancelled", "lost"):
                return job
            time.sleep(0.02)
        raise AssertionError(f"job {id} has not ended: {job}")


def server_settings(
    backends: Mapping[str, dict[str, Any]] | None = None, *, folder: Path = Path(), **more: Any
) -> Settings:
    """Settings whose files are in a folder; without backends, the mock's."""
    folder = folder.absolute()
    return Settings(
        backends={"mock": {"type": "mock"}} if backends is None else dict(backends),
        state_dir=folder / "state",
        library=LibrarySettings(url=str(folder / "library.db")),
        output=OutputSettings(directory=folder / "out"),
        jobs=JobSettings(lease_seconds=2.0),
        **more,
    )


@contextmanager
def live_server(
    settings: Settings,
    *,
    has_worker: bool = True,
    is_public: bool = False,
    secret: str = "",
    host: str = "127.0.0.1",
) -> Iterator[LiveServer]:
    """Serve these settings for the block, as `imagen serve` does."""
    stop, is_ready = StopRequest(), threading.Event()
    sockets = open_sockets(ListenAddress(host, 0))
    scheme = "http" if settings.server.tls_cert is None else "https"
    url = f"{scheme}://{host}:{sockets[0].getsockname()[1]}"
    with open_runtime(settings, has_worker=has_worker) as runtime:
        app = create_app(runtime, is_public=is_public, secret=secret)
        thread = threading.Thread(
            target=serve_app,
            args=(app, sockets, settings.server, stop),
            kwargs={"on_ready": is_ready.set},
            daemon=True,
        )
        thread.start()
        assert is_ready.wait(_DEADLINE_SECONDS), "the server does not start"
        try:
            with httpx.Client(base_url=url, timeout=_DEADLINE_SECONDS) as client:
                yield LiveServer(url, runtime, client, stop)
        finally:
            stop.set()
            thread.join(_DEADLINE_SECONDS)
