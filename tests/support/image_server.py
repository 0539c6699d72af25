"""A server with a few images in its library, and no worker."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from PIL import Image

from imagen.library import record_generation
from support.library_samples import (
    NOON,
    make_failure,
    make_image,
    make_record,
    uuid_of,
)
from support.live_server import LiveServer, live_server, server_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLOURS = ("red", "green", "blue", "white", "black", "orange", "purple", "grey")
"""The images, from the oldest: each a fox of this colour; the even ones by `studio`."""


def uid_of(number: int) -> str:
    """The unique id of the image of this colour, by its number from 0."""
    return f"{uuid_of(number + 1)}.1"


@contextmanager
def image_server(folder: Path, **server: Any) -> Iterator[LiveServer]:
    """Serve a library in this folder, with an image of each colour and a failed generation."""
    settings = server_settings(folder=folder, server=server)
    out = settings.output.directory
    out.mkdir()
    with live_server(settings, has_worker=False) as served:
        library = served.runtime.library
        for number, colour in enumerate(COLOURS):
            path = out / f"fox-{colour}.png"
            Image.new("RGB", (64, 48), colour).save(path)
            image = make_image(number + 1, path=path)
            record = make_record(
                number + 1,
                f"a {colour} fox",
                backend="other" if number % 2 else "studio",
                began=NOON + timedelta(minutes=number),
                images=(image,),
            )
            record_generation(library, record)
        record_generation(library, make_failure(100, began=NOON))
        yield served
