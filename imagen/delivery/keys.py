"""Under which path a picture goes to the cloud: `2026-11-24/a-red-fox-42.png`."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING

from imagen.outputs.naming import numbered_names

if TYPE_CHECKING:
    from collections.abc import Iterator

_GOOD = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
"""Storage takes a little more, but not everywhere."""
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_LETTERS = str.maketrans(
    {"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"}
)
"""Latin letters that Unicode does not take apart."""
_HASH_DIGITS = 12
_MOST_NUMBERS = 20


def is_sound(path: str) -> bool:
    """Whether Storage takes this path, and it leads nowhere else."""
    return bool(_GOOD.fullmatch(path)) and not {".", ".."} & set(path.split("/"))


def in_ascii(slug: str) -> str:
    """`fuchse-im-schnee` for `füchse-im-schnee`; a hash where nothing of it is Latin."""
    apart = unicodedata.normalize("NFKD", slug.translate(_LETTERS))
    plain = apart.encode("ascii", "ignore").decode()
    words = [word for word in re.split(r"[^A-Za-z0-9]+", plain) if word]
    return "-".join(words) or hashed(slug.encode())


def hashed(data: bytes) -> str:
    """The first twelve digits of its SHA-256."""
    return sha256(data).hexdigest()[:_HASH_DIGITS]


def candidates(stem: str, suffix: str, id: str) -> Iterator[str]:
    """The paths to try in turn: the plain one, `-2` to `-20`, and last one that is nobody's."""
    ending = suffix.lower() if _SUFFIX.fullmatch(suffix) else ".bin"
    yield from islice(numbered_names(f"{stem}{ending}"), _MOST_NUMBERS)
    yield f"{stem}-{id}{ending}"
