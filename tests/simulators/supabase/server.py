"""The simulated Supabase: requests to Storage and PostgREST, and the failures between."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from imagen.testing.http_server import CUT, HttpAnswer, HttpServer, json_answer
from simulators.supabase.failure_switches import SupabaseSwitches
from simulators.supabase.postgrest import IMAGES, USAGE, PostgRest
from simulators.supabase.request import SupabaseRequest
from simulators.supabase.storage import Bucket, Storage, no_route
from simulators.supabase.tokens import key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.testing.http_server import HeldPort, HttpRequest
    from simulators.supabase.postgrest import Row, Table
    from simulators.supabase.storage import StoredObject

BUCKET = "imagen-generated"
"""The bucket that the simulated Supabase has."""
_KEY_OF_ANOTHER_PROJECT = key("service_role", secret="of another project")


class Supabase:
    """A simulated Supabase; it runs from `start`, or entering `with`, until `stop`.

    It has these `buckets`, `tables` and `exposed` schemas. Any further argument is one of the
    `SupabaseSwitches`. Calls of functions go to a real `database`, named by its URL.
    """

    _server: HttpServer | None = None
    _held: HeldPort | None = None

    def __init__(
        self,
        *,
        port: int = 0,
        buckets: Sequence[Bucket] = (Bucket(name=BUCKET),),
        tables: Sequence[Table] = (IMAGES, USAGE),
        exposed: Sequence[str] = ("public", "imagen", "mai"),
        database: str = "",
        switches: SupabaseSwitches | None = None,
        **more: Any,
    ) -> None:
        self.requests: list[SupabaseRequest] = []
        self._port = port
        self._switches = replace(switches or SupabaseSwitches(), **more)
        self._storage = Storage(buckets)
        self._rest = PostgRest(exposed, tables, database)
        self._struck: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The SUPABASE_URL; it stays the same across restarts."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def switches(self) -> SupabaseSwitches:
        """The switches; setting them while it runs also restarts their counts."""
        return self._switches

    @switches.setter
    def switches(self, switches: SupabaseSwitches) -> None:
        with self._lock:
            self._switches = switches
            self._struck.clear()

    @property
    def objects(self) -> dict[tuple[str, str], StoredObject]:
        """Every object, by bucket and path."""
        return self._storage.objects

    @property
    def buckets(self) -> dict[str, Bucket]:
        return self._storage.buckets

    def rows(self, schema: str, table: str) -> list[Row]:
        """The rows of a table, in the order of their arrival."""
        return self._rest.rows[schema, table]

    def start(self) -> None:
        """Open the port; without effect while it is open."""
        if self._server is None:
            if self._held is not None:
                self._held.release()
            self._server = HttpServer(self._answer, port=self._port, name="supabase")
            self._port = self._server.port

    def stop(self) -> None:
        """Close the port and every connection; twice is fine."""
        server, self._server = self._server, None
        if server is not None:
            self._held = server.stop()

    def _answer(self, http: HttpRequest) -> HttpAnswer:
        time.sleep(self._switches.slow)
        with self._lock:
            request = SupabaseRequest(http.method, http.target, http.headers, http.body)
            self.requests.append(request)
            switches = self._switches
            if switches.outage:
                return CUT
            if switches.redirect:
                return HttpAnswer(status=307, headers={"Location": switches.redirect})
            if self._strikes("broken", switches.broken):
                return _in_trouble(503)
            if self._strikes("throttled", switches.throttled):
                pause = str(switches.throttle_seconds)
                return json_answer({"message": "Too many requests"}, 429, Retry_After=pause)
            if switches.wrong_key and request.token:
                request = request.with_token(_KEY_OF_ANOTHER_PROJECT)
            if request.part == "/storage/v1":
                return self._answer_storage(request)
            if request.part == "/rest/v1":
                return self._answer_rest(request)
            return no_route(request.method, request.path)

    def _answer_storage(self, request: SupabaseRequest) -> HttpAnswer:
        if request.is_upload and self._strikes("broken_uploads", self._switches.broken_uploads):
            return _in_trouble(500)
        self._storage.forgets_metadata = self._switches.forgets_metadata
        answer = self._storage.answer(request)
        is_stored = request.is_upload and answer.status == 200
        is_lost = is_stored and self._strikes("lost_uploads", self._switches.lost_uploads)
        return CUT if is_lost else answer

    def _answer_rest(self, request: SupabaseRequest) -> HttpAnswer:
        is_insert = request.method == "POST" and not request.below.startswith("/rpc/")
        if is_insert and self._strikes("broken_inserts", self._switches.broken_inserts):
            return _in_trouble(503)
        answer = self._rest.answer(request)
        is_stored = is_insert and answer.status == 201
        is_lost = is_stored and self._strikes("lost_inserts", self._switches.lost_inserts)
        is_call = request.below == f"/rpc/{self._switches.lost_call}"
        is_lost = is_lost or (is_call and self._strikes("lost_calls", self._switches.lost_calls))
        return CUT if is_lost else answer

    def _strikes(self, switch: str, times: int) -> bool:
        """Whether a switch that strikes this many times does so now."""
        if self._struck[switch] >= times:
            return False
        self._struck[switch] += 1
        return True


def _in_trouble(status: int) -> HttpAnswer:
    return json_answer({"message": "the simulated service is in trouble"}, status)
