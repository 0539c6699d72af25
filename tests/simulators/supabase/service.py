"""A Supabase project on a port of this machine, as troublesome as a test needs it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from imagen.testing.listener import Server
from simulators.supabase.desk import Desk
from simulators.supabase.failure_switches import SupabaseSwitches
from simulators.supabase.rest import Rest
from simulators.supabase.storage import Bucket, Storage
from simulators.supabase.tables import IMAGES, USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.testing.listener import HeldPort
    from simulators.supabase.seen import Seen
    from simulators.supabase.storage import Stored
    from simulators.supabase.tables import Row, Table

BUCKET = "imagen-generated"
"""The bucket that a simulated Supabase has."""


class Supabase:
    """A simulated Supabase; it runs from `start`, or entering `with`, until `stop`.

    `buckets`, `tables` and `exposed` schemas are what there is. Any further argument is a switch of
    `SupabaseSwitches`.
    """

    _server: Server | None = None
    _held: HeldPort | None = None

    def __init__(
        self,
        *,
        port: int = 0,
        buckets: Sequence[Bucket] = (Bucket(name=BUCKET),),
        tables: Sequence[Table] = (IMAGES, USAGE),
        exposed: Sequence[str] = ("public", "imagen", "mai"),
        switches: SupabaseSwitches | None = None,
        **more: Any,
    ) -> None:
        self._port = port
        self._storage = Storage(tuple(buckets))
        self._rest = Rest(tuple(exposed), tuple(tables))
        self._desk = Desk(
            self._storage, self._rest, replace(switches or SupabaseSwitches(), **more)
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """What SUPABASE_URL takes; it stays the same across restarts."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def switches(self) -> SupabaseSwitches:
        """The switches; they may be set while it runs, and count for what comes then."""
        return self._desk.switches

    @switches.setter
    def switches(self, switches: SupabaseSwitches) -> None:
        self._desk.become(switches)

    @property
    def requests(self) -> list[Seen]:
        """Every request: method, path with query, headers by lower-case name, body."""
        return self._desk.requests

    @property
    def objects(self) -> dict[tuple[str, str], Stored]:
        """Every object, by its bucket and path."""
        return self._storage.objects

    @property
    def buckets(self) -> dict[str, Bucket]:
        """Every bucket, by its name."""
        return self._storage.buckets

    def rows(self, schema: str, table: str) -> list[Row]:
        """The rows of a table, in the order they came."""
        return self._rest.rows[schema, table]

    def start(self) -> None:
        """Open the port; without effect while it is open."""
        if self._server is not None:
            return
        if self._held is not None:
            self._held.release()
        self._server = Server(self._port, self._desk)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection, as if it were unplugged; twice is fine."""
        server, self._server = self._server, None
        if server is not None:
            self._held = server.end()
