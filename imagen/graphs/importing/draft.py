"""Tokens being chosen: which name each place gets, and what stands there now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.graphs.tokens import token_name

if TYPE_CHECKING:
    from imagen.graphs.importing.reading import Place, Reading

_TEXTS = ("prompt", "negative")
"""Their second is no other text, but the same for a second text encoder."""


@dataclass
class Draft:
    """The choices so far; each place is chosen once, and the first to choose it has it."""

    reading: Reading
    names: dict[Place, str] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)
    """Why a parameter is lacking, by its name."""

    def take(self, role: str, node_id: str, name: str) -> str | None:
        """Choose the place where this input's value stands; the token's name, if it is one now.

        Equal values of one role share a token; another value gets the next name: `steps_2`.
        """
        place = self.reading.place(node_id, name)
        if place is None:
            return None
        if place in self.names:
            return self.names[place]
        value = self.reading.literal(place)
        if value is None or isinstance(value, list | dict) or token_name(value) is not None:
            return None
        token = self._token(role, value)
        self.names[place] = token
        self.defaults[token] = value
        return token

    def takes(self, role: str) -> bool:
        """Whether there is a token of this name."""
        return role in self.defaults

    def _token(self, role: str, value: Any) -> str:
        number = 1
        while (name := _numbered(role, number)) in self.defaults:
            if _same(self.defaults[name], value):
                return name
            number += 1
        return name


def _numbered(role: str, number: int) -> str:
    if number == 1:
        return role
    return f"{role}_part_{number}" if role in _TEXTS else f"{role}_{number}"


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
