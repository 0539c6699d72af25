"""Run the application at sockets until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from typing import TYPE_CHECKING

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from imagen.errors import ConfigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from fastapi import FastAPI

    from imagen.config import ServerSettings
    from imagen.jobs.worker import StopRequest

_HEADER_SECONDS = 20.0
"""How long a client may take to send the headers of a request that it began."""
_KEEP_ALIVE_SECONDS = 75
"""Longer than proxies keep a connection that they may use again."""


def serve_app(
    app: FastAPI,
    sockets: Sequence[socket.socket],
    settings: ServerSettings,
    stop: StopRequest,
    *,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Answer requests at these sockets until `stop` is set. Raises ConfigError for bad TLS files.

    Then it takes no more requests, ends all streams, and gives the others two seconds.
    """
    _allow_many_connections()
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The files for TLS cannot be used: {error.strerror or error}.",
            remedy="Check server.tls_cert and server.tls_key: PEM files that belong together, "
            "without a password.",
        ) from error
    _Server(config, app, stop, on_ready).run(list(sockets))


class _Server(uvicorn.Server):
    """Stops when it is asked to, instead of handling signals itself."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: FastAPI,
        stop: StopRequest,
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._app = app
        self._stop = stop
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        self.should_exit = self.should_exit or self._stop.is_set
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._app.state.requests.end()
        await super().shutdown(sockets)


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 that does not wait forever for the headers of a request."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._patience is not None:
            self._patience.cancel()

    def _watch(self) -> None:
        """Close the connection later, unless it has a whole request until then."""
        is_waiting = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if is_waiting and self._patience is None:
            self._patience = self.loop.call_later(_HEADER_SECONDS, self.transport.close)
        elif not is_waiting and self._patience is not None:
            self._patience.cancel()
            self._patience = None


def _allow_many_connections() -> None:
    """Let this process have as many open files as its user may have: each stream is one."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
