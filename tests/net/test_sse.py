"""Server-sent events are read from pieces of any size."""

from __future__ import annotations

import pytest

from imagen.net.sse import EventParser

_STREAM = b": comment\n\nevent: a\r\ndata: one\r\n\r\ndata: two\ndata:lines\n\nid: 3\n\ndata: cut"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_stream_is_cut(size: int) -> None:
    parser = EventParser()
    pieces = (_STREAM[at : at + size] for at in range(0, len(_STREAM), size))
    assert [data for piece in pieces for data in parser.feed(piece)] == ["one", "two\nlines"]
