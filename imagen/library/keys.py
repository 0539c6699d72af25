"""The numbers of pictures, which sort by time."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

_OWN_BITS = 20
_NUMBER_BITS = 10
"""Of these: which of its generation's pictures it is. The rest tells generations apart that began
in the same millisecond."""
_LAST_MS = 2**43 - 2**20
"""In the year 2248: a later number would not fit the databases' 64 bits."""


def milliseconds(moment: datetime) -> int:
    """Since 1970, in UTC."""
    return round(moment.timestamp() * 1000)


def moment_of(ms: int) -> datetime:
    """The same back, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def first_key(moment: datetime) -> int:
    """The least number that a picture of this millisecond can have."""
    return max(-_LAST_MS, min(milliseconds(moment), _LAST_MS)) << _OWN_BITS


def picture_key(generation: str, began: datetime, number: int, salt: int = 0) -> int:
    """The number of one picture; another `salt` gives another, where one is taken.

    The more often that happens the farther it may lie behind its time: thousands of files with one
    date find room too.
    """
    digest = sha256(f"{generation}{salt or ''}".encode()).digest()
    own = int.from_bytes(digest[:4]) % (1 << (_OWN_BITS - _NUMBER_BITS))
    later = int.from_bytes(digest[4:8]) % (1 << salt)
    return (first_key(began) + (later << _OWN_BITS)) | own << _NUMBER_BITS | number
