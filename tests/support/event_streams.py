"""Read streams of server-sent events."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


class StreamedEvent(NamedTuple):
    """One event as it came."""

    id: str
    """Empty if it has none."""
    kind: str
    data: Any


def parse_stream(lines: Iterator[str]) -> Iterator[StreamedEvent]:
    """The events of a stream, and each comment as one of the kind `comment`."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if not line:
            if "data" in fields:
                yield StreamedEvent(
                    fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"])
                )
            fields = {}
        elif not name:
            yield StreamedEvent("", "comment", value)
        else:
            fields[name] = value.strip()


@contextmanager
def follow_events(
    client: httpx.Client, *, after: int | str | None = None, url: str = "/api/v1/events"
) -> Iterator[Iterator[StreamedEvent]]:
    """The events of a server; the client's timeout is the deadline for each."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    with client.stream("GET", url, headers=headers) as response:
        response.raise_for_status()
        yield parse_stream(response.iter_lines())


def states_of(job: str, events: Iterator[StreamedEvent]) -> list[str]:
    """The states of a job until it has ended."""
    states: list[str] = []
    for event in events:
        if event.kind == "state" and event.data["job"] == job:
            states.append(event.data["data"]["state"])
            if states[-1] in ("done", "failed", "cancelled", "lost"):
                return states
    raise AssertionError(f"the stream has ended, after {states}")
