"""What can be wrong with a simulated Supabase."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SupabaseSwitches:
    """Switches, all off by default.

    Everywhere
    - `broken`: the first so many requests are answered with 503.
    - `throttled`: the first so many are answered with 429; `throttle_seconds` is the pause.
    - `outage`: every connection is cut without an answer. `stop()` refuses them.
    - `slow`: seconds before each answer.
    - `wrong_key`: every key is refused.
    - `redirect`: the address to which each request is sent on.

    Storage
    - `broken_uploads`: the first so many uploads are answered with 500, and not kept.
    - `lost_uploads`: the first so many are kept, and the connection is cut before the answer.
    - `forgets_metadata`: what `x-metadata` says is not kept, as by an old version.

    PostgREST
    - `broken_inserts`: the first so many inserts are answered with 503, and not kept.
    - `lost_inserts`: the first so many are kept, and the connection is cut before the answer.
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
