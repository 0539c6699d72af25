"""A backend on the simulated Images API, and what it sends there."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from imagen.backends import validate_block
from imagen.backends.openai import OpenAI, OpenAIConfig
from imagen.core.request import Request
from imagen.core.result import no_progress

if TYPE_CHECKING:
    from simulators.openai import ImagesServer

    from imagen.core.result import OnProgress, Result
    from imagen.core.ticket import Ticket


def open_images_api(url: str, **block: Any) -> OpenAI:
    """A backend called `images`."""
    return OpenAI(validate_block("images", {"url": url, **block}, OpenAIConfig))


def prepare(values: dict[str, Any], url: str = "http://127.0.0.1:9/v1", **block: Any) -> Ticket:
    """The ticket of a request, by default for a server that does not run."""
    with closing(open_images_api(url, **block)) as backend:
        return backend.prepare(Request(prompt="a fox").with_values(values))


def generate(
    server: ImagesServer,
    values: dict[str, Any] | None = None,
    on_progress: OnProgress = no_progress,
    /,
    **block: Any,
) -> Result:
    """Generate the images of one request."""
    with closing(open_images_api(server.url, **block)) as backend:
        request = Request(prompt="a fox", width=64, height=64).with_values(values or {})
        return backend.collect(backend.prepare(request), on_progress)
