"""The forms in which paths, texts, URLs, times and image keys are stored, in both databases."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from imagen.core.text import bare_address

_SURROGATE = re.compile("[\ud800-\udfff]")
"""Python decodes bytes of a file name that are not UTF-8 to these."""
_SHIFT = 0x100000
"""From a surrogate to a character for private use, which databases accept."""
_SHIFTED = re.compile("[\U0010d800-\U0010dfff]")

_LOW_BITS = 20
_NUMBER_BITS = 10
"""The lowest bits are the image's number within its generation. The other low bits tell
generations apart that began in the same millisecond."""
_LAST_MS = 2**43 - 2**20
"""In the year 2248; later keys would not fit into 64 bits."""


def stored_text(text: str) -> str:
    """Without NUL, which PostgreSQL does not accept, and without lone surrogates."""
    return _SURROGATE.sub("\ufffd", text).replace("\0", "")


def stored_path(path: Path) -> str:
    """An absolute path as text; `path_of` restores it, whatever bytes its name is made of."""
    text = os.path.abspath(path)
    return _SURROGATE.sub(lambda match: chr(ord(match[0]) + _SHIFT), text)


def path_of(text: str) -> Path:
    """The path that `stored_path` stored."""
    return Path(_SHIFTED.sub(lambda match: chr(ord(match[0]) - _SHIFT), text))


def stored_url(url: str) -> str:
    """A webhook's URL as the library keeps it: without secrets, and still different from others."""
    return f"{bare_address(url)}#{sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def milliseconds(moment: datetime) -> int:
    """Since 1970, in UTC."""
    return round(moment.timestamp() * 1000)


def datetime_of(ms: int) -> datetime:
    """The moment, in UTC, that `milliseconds` stored."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def first_key(moment: datetime) -> int:
    """The smallest key that an image of this millisecond can have."""
    return max(-_LAST_MS, min(milliseconds(moment), _LAST_MS)) << _LOW_BITS


def image_key(generation: str, created: datetime, number: int, salt: int = 0) -> int:
    """The key of an image, which sorts by time. Another `salt` gives another key if one is taken.

    The larger the salt, the farther the key may be behind its time, so that thousands of files
    with one date find room too.
    """
    digest = sha256(f"{generation}{salt or ''}".encode()).digest()
    low = int.from_bytes(digest[:4]) % (1 << (_LOW_BITS - _NUMBER_BITS))
    later_ms = int.from_bytes(digest[4:8]) % (1 << salt)
    return (first_key(created) + (later_ms << _LOW_BITS)) | low << _NUMBER_BITS | number
