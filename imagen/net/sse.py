"""Server-sent events, read from the pieces of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_END = b"\n\n"


class EventParser:
    """Splits pieces of any size into events. Lines end with LF or CRLF."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes) -> Iterator[str]:
        """The data of each event that ends in this piece; comments have none."""
        start = max(0, len(self._rest) - 1)
        self._rest += piece.replace(b"\r", b"")
        while (end := self._rest.find(_END, start)) >= 0:
            lines = bytes(self._rest[:end]).decode("utf-8", "replace").split("\n")
            del self._rest[: end + len(_END)]
            start = 0
            data = [line[5:].removeprefix(" ") for line in lines if line.startswith("data:")]
            if data:
                yield "\n".join(data)
