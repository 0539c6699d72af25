"""One stream of all that happens: jobs, their progress and previews, and images."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from imagen.server.state import State

router = APIRouter(tags=["events"])

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events. `state`, `progress`, `images_added`, "
            "`images_changed`, `images_removed`, `albums_changed` and `views_changed` have an "
            "EventView as data, and its `seq` as id. "
            "`preview` has `job` and `image`, a small JPEG as a data URL. `ready` is the first. "
            "After `resync`, events were missed: read jobs and images anew. `ping` comes after 15 "
            "seconds without another event: a stream that is silent for 20 is broken.",
            "content": {
                "text/event-stream": {"schema": {"$ref": "#/components/schemas/EventView"}}
            },
        }
    },
)
async def stream_events(
    state: State,
    after: Annotated[
        str | None, Query(max_length=40, description="The last event known; by default the newest.")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=40, description="As `after`, which it takes precedence over.")
    ] = None,
) -> StreamingResponse:
    """Follow all events, from now on or from the last one that is known."""
    known = after if last_event_id is None else last_event_id
    stream = state.hub.stream(known)
    return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)
