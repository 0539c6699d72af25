"""One thing that is not as it was when a picture was made, and how to say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from imagen.core.text import one_line

What = Literal[
    "backend",
    "engine",
    "model",
    "version",
    "workflow",
    "parameter",
    "input",
    "unread",
    "batch",
]
_LONGEST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One thing that is other than it was."""

    what: What
    name: str
    """Of the parameter, the program, the node's input, …."""
    then: Any = None
    """None is nothing, or unknown."""
    now: Any = None
    why: str = ""

    @property
    def sentence(self) -> str:
        """`steps: 50 then, 10 now (at most 10)`."""
        why = f" ({self.why})" if self.why else ""
        return one_line(f"{self.name}: {self._change()}{why}", limit=300)

    def _change(self) -> str:
        if self.what == "unread":
            return f"{_said(self.then)} then, which can't be asked for"
        then = "nothing" if self.then in (None, "", [], {}) else _said(self.then)
        now = "nothing" if self.now in (None, "", [], {}) else _said(self.now)
        return f"{then} then, {now} now"


def _said(value: Any) -> str:
    """As people would write it, and no longer than they would read."""
    if isinstance(value, dict):
        text = ", ".join(f"{name} {_said(inner)}" for name, inner in value.items())
    elif isinstance(value, list | tuple):
        text = "; ".join(map(_said, value))
    else:
        text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
