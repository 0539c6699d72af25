"""Pictures on their way to the server: named after their content, sent before the graph is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.core.image_file import read_image_file
from imagen.core.text import one_line
from imagen.errors import RequestError
from imagen.graphs.graph import inputs_of
from imagen.net.http import is_unanswered
from imagen.net.retry import retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.comfyui.client import ComfyClient
    from imagen.core.image_file import ImageFile

SUBFOLDER = "imagen"
KEY = "uploads"
"""Under which a ticket holds what is to be sent besides its graph."""
_DIGITS = 32
"""So many of a hash keep any two pictures apart."""
_AGAIN = "No job was sent. Ask for it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class ComfyUpload:
    """One file of ours, and what it is to be called on the server."""

    path: str
    sha256: str
    name: str

    @property
    def literal(self) -> str:
        """The file in a graph, if the server calls it what it is asked to."""
        return f"{SUBFOLDER}/{self.name}"


def plan_upload(path: str, what: str) -> tuple[ComfyUpload, ImageFile]:
    """What is to be sent of a file; `what` names the parameter where it can't be read."""
    picture = read_image_file(path, what)
    name = f"imagen-{picture.sha256[:_DIGITS]}.{picture.kind.lower() or 'png'}"
    whole = str(Path(path).expanduser().absolute())
    return ComfyUpload(path=whole, sha256=picture.sha256, name=name), picture


def engine_entry(uploads: Mapping[str, ComfyUpload]) -> dict[str, Any]:
    """As a ticket keeps them; nothing where there are none."""
    said = {
        literal: {"path": upload.path, "sha256": upload.sha256}
        for literal, upload in uploads.items()
    }
    return {KEY: said} if said else {}


def read_uploads(engine: Mapping[str, Any]) -> list[ComfyUpload]:
    """What a ticket holds of them."""
    return [
        ComfyUpload(path=said["path"], sha256=said["sha256"], name=literal.rpartition("/")[2])
        for literal, said in engine.get(KEY, {}).items()
    ]


def send_uploads(
    client: ComfyClient, uploads: list[ComfyUpload], graph: Mapping[str, Any]
) -> dict[str, Any]:
    """Send each file, and a copy of the graph that calls it what the server does.

    The same content under the same name is the same file there, so a lost answer is asked for
    again. Raises RequestError for a file that has changed since it was asked for.
    """
    named = {upload.literal: _sent(client, upload) for upload in uploads}
    return {node_id: _renamed(node, named) for node_id, node in graph.items()}


def _sent(client: ComfyClient, upload: ComfyUpload) -> str:
    try:
        picture = read_image_file(upload.path, "upload")
    except RequestError as error:  # made ready long ago, it may have been cleared away
        raise error.replace(remedy=_AGAIN) from error
    if picture.sha256 != upload.sha256:
        raise RequestError(
            f"The picture {one_line(upload.path)} has changed since it was asked for.",
            remedy=_AGAIN,
        )
    return retry(
        partial(client.upload, picture.data, upload.name, SUBFOLDER, picture.media_type),
        unless=is_unanswered,
    )


def _renamed(node: Any, named: Mapping[str, str]) -> Any:
    inputs = inputs_of(node)
    changed = {k: named[v] for k, v in inputs.items() if isinstance(v, str) and v in named}
    return node | {"inputs": {**inputs, **changed}} if changed else node
