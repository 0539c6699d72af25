"""How the simulated Supabase misbehaves: one switch for each way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SupabaseSwitches:
    """Switches, all off by default.

    Everywhere
    - `broken`: the first N requests are answered with 503.
    - `throttled`: the first N are answered with 429; `throttle_seconds` is the pause.
    - `outage`: every connection is cut without an answer. `stop()` refuses them.
    - `slow`: seconds before each answer.
    - `wrong_key`: every key is refused.
    - `redirect`: the address to which each request is redirected.

    Storage
    - `broken_uploads`: the first N uploads are answered with 500, and not stored.
    - `lost_uploads`: the first N are stored, and the connection is cut before the answer.
    - `forgets_metadata`: `x-metadata` is not stored, as by an old version.

    PostgREST
    - `broken_inserts`: the first N inserts are answered with 503, and not stored.
    - `lost_inserts`: the first N are stored, and the connection is cut before the answer.
    - `lost_calls`: the first N calls of the function `lost_call` take effect, and the connection is
      cut before the answer.
    """

    broken: int = 0
    throttled: int = 0
    throttle_seconds: int = 0
    outage: bool = False
    slow: float = 0
    wrong_key: bool = False
    redirect: str = ""

    broken_uploads: int = 0
    lost_uploads: int = 0
    forgets_metadata: bool = False

    broken_inserts: int = 0
    lost_inserts: int = 0
    lost_call: str = ""
    lost_calls: int = 0
