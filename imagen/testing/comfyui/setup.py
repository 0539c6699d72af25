"""What the simulator is like, what it saw, and how often each switch has struck."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from imagen.testing.comfyui.failure_switches import FailureSwitches

Look = Literal["painted", "flat", "noise"]

OLD_VERSION = "0.3.40"
NEW_VERSION = "0.9.2"
"""The least that every bundled workflow runs on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A server that behaves."""

    base_path: str = ""
    credential: str = ""
    version: str = NEW_VERSION
    catalogue: Mapping[str, Any] | None = None
    models: Mapping[str, Sequence[str]] | None = None
    missing_models: Collection[str] = ()
    step_seconds: float = 0.0
    load_seconds: float = 0.0
    pictures: Look = "painted"
    live_previews: bool = False
    vram: tuple[int, int] = (24 << 30, 20 << 30)
    tls: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came in."""

    method: str
    path: str
    """With its query, as it was sent."""
    headers: Mapping[str, str]
    """By lower-case name."""


@dataclass(slots=True)
class Observed:
    """Everything that clients did, in order; kept across restarts."""

    prompts: list[dict[str, Any]] = field(default_factory=list)
    client_ids: list[str] = field(default_factory=list)
    requests: list[Seen] = field(default_factory=list)
    interrupts: list[str | None] = field(default_factory=list)


class Mischief:
    """The switches, and how often each has struck; they may be changed while the server runs."""

    def __init__(self, hostility: FailureSwitches) -> None:
        self.now = hostility
        self._struck: Counter[str] = Counter()
        self._lock = threading.Lock()

    def strikes(self, name: str, times: int) -> bool:
        """Whether a switch that strikes so many times does so now."""
        with self._lock:
            if self._struck[name] >= times:
                return False
            self._struck[name] += 1
            return True

    def drops(self, event: str) -> bool:
        """Whether the socket is cut in place of this event."""
        if self.now.drop_at != event:
            return False
        with self._lock:
            self._struck["drop"] += 1
            return self._struck["drop"] == self.now.drop_nth
