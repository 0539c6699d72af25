"""The desk of a simulated Supabase: remembers each request, and has it answered."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from imagen.testing.answer import CUT, Answer
from simulators.supabase import refusals
from simulators.supabase.seen import Seen
from simulators.supabase.tokens import key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulators.supabase.failure_switches import SupabaseSwitches
    from simulators.supabase.rest import Rest
    from simulators.supabase.storage import Storage

_STRANGERS = key("service_role", secret="of another project")


class Desk:
    """Takes requests, one at a time, and answers them."""

    def __init__(self, storage: Storage, rest: Rest, switches: SupabaseSwitches) -> None:
        self.storage = storage
        self.rest = rest
        self.switches = switches
        self.requests: list[Seen] = []
        self._done: Counter[str] = Counter()
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What this request is answered."""
        time.sleep(self.switches.slow)
        with self._lock:
            seen = Seen(method, path, headers, body)
            self.requests.append(seen)
            return self._in_the_way() or self._answer(seen)

    def become(self, switches: SupabaseSwitches) -> None:
        """Misbehave like this from now on; what it counts begins anew."""
        with self._lock:
            self.switches = switches
            self._done.clear()

    def _in_the_way(self) -> Answer | None:
        trouble = self.switches
        if trouble.outage:
            return CUT
        if trouble.redirect:
            return Answer(status=307, headers={"Location": trouble.redirect})
        if self._still("broken", trouble.broken):
            return refusals.broken(503)
        if self._still("throttled", trouble.throttled):
            return refusals.throttled(trouble.throttle_seconds)
        return None

    def _answer(self, seen: Seen) -> Answer:
        if self.switches.wrong_key and seen.token:
            seen = seen._replace(headers={**seen.headers, "authorization": f"Bearer {_STRANGERS}"})
        if seen.part == "/storage/v1":
            return self._stored(seen)
        if seen.part == "/rest/v1":
            return self._inserted(seen)
        return refusals.no_route(seen.method, seen.path)

    def _stored(self, seen: Seen) -> Answer:
        if seen.is_upload and self._still("broken_uploads", self.switches.broken_uploads):
            return refusals.broken(500)
        self.storage.forgets_metadata = self.switches.forgets_metadata
        answer = self.storage.answer(seen)
        lost = seen.is_upload and answer.status == 200
        return CUT if lost and self._still("lost_uploads", self.switches.lost_uploads) else answer

    def _inserted(self, seen: Seen) -> Answer:
        is_insert = seen.method == "POST"
        if is_insert and self._still("broken_inserts", self.switches.broken_inserts):
            return refusals.broken(503)
        answer = self.rest.answer(seen)
        lost = is_insert and answer.status == 201
        return CUT if lost and self._still("lost_inserts", self.switches.lost_inserts) else answer

    def _still(self, what: str, times: int) -> bool:
        """Whether this trouble has not yet come so often."""
        if self._done[what] >= times:
            return False
        self._done[what] += 1
        return True
