"""Values that a stranger's file tells, as a request: as far as they can stand in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.core.request import Request
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping


def request_from_values(values: Mapping[str, Any]) -> tuple[Request, dict[str, Any]]:
    """The request of these values, and those that can't stand in one: out of range, or unknown."""
    fit = {name: value for name, value in values.items() if _fits(name, value)}
    unfit = {name: value for name, value in values.items() if name not in fit}
    return Request.of(fit), unfit


def _fits(name: str, value: Any) -> bool:
    try:
        Request.of({name: value})
    except RequestError:
        return False
    return True
