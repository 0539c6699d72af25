"""Images to upload: named by their content, and sent before the graph that uses them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.core.image_file import read_image_file
from imagen.core.json_values import as_mapping, as_text
from imagen.core.text import one_line
from imagen.errors import RequestError
from imagen.graphs.graph import inputs_of
from imagen.net.http import is_unanswered
from imagen.net.retry import retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.comfyui.client import ComfyClient
    from imagen.core.image_file import ImageFile
    from imagen.graphs.graph import Graph, Node

SUBFOLDER = "imagen"
KEY = "uploads"
"""The key under which a ticket holds its uploads."""
_DIGITS = 32
"""Digits of a hash that are enough to tell any two images apart."""
_REPEAT = "No job was submitted. Run the command again."


@dataclass(frozen=True, slots=True, kw_only=True)
class ComfyUpload:
    """A local file, and its name on the server."""

    path: str
    sha256: str
    name: str

    @property
    def graph_name(self) -> str:
        """The file in a graph, if the server keeps its name."""
        return f"{SUBFOLDER}/{self.name}"


def plan_upload(path: str, parameter: str) -> tuple[ComfyUpload, ImageFile]:
    """The upload of a file; `parameter` is named where it cannot be read."""
    image = read_image_file(path, parameter)
    name = f"imagen-{image.sha256[:_DIGITS]}.{image.kind.lower() or 'png'}"
    whole = str(Path(path).expanduser().absolute())
    return ComfyUpload(path=whole, sha256=image.sha256, name=name), image


def engine_entry(uploads: Mapping[str, ComfyUpload]) -> dict[str, object]:
    """The uploads for a ticket's `engine`; empty where there are none."""
    entries = {
        graph_name: {"path": upload.path, "sha256": upload.sha256}
        for graph_name, upload in uploads.items()
    }
    return {KEY: entries} if entries else {}


def read_uploads(engine: Mapping[str, object]) -> list[ComfyUpload]:
    """The uploads in a ticket's `engine`."""
    return [
        ComfyUpload(
            path=as_text(as_mapping(entry).get("path")),
            sha256=as_text(as_mapping(entry).get("sha256")),
            name=name.rpartition("/")[2],
        )
        for name, entry in as_mapping(engine.get(KEY)).items()
    ]


def send_uploads(client: ComfyClient, uploads: list[ComfyUpload], graph: Graph) -> dict[str, Node]:
    """Upload each file; returns a copy of the graph with the server's names of them.

    An upload may be repeated: the same content under the same name is the same file there. Raises
    RequestError for a file that has changed since it was planned.
    """
    names: dict[str, str] = {}
    for upload in uploads:
        try:
            image = read_image_file(upload.path, "upload")
        except RequestError as error:  # prepared long ago, it may have been deleted
            raise error.replace(remedy=_REPEAT) from error
        if image.sha256 != upload.sha256:
            raise RequestError(
                f"The image {one_line(upload.path)} has changed since the job was prepared.",
                remedy=_REPEAT,
            )
        send = partial(client.upload, image.data, upload.name, SUBFOLDER, image.media_type)
        names[upload.graph_name] = retry(send, unless=is_unanswered)
    renamed = dict(graph)
    for node_id, node in graph.items():
        inputs = inputs_of(node)
        changed = {k: names[v] for k, v in inputs.items() if isinstance(v, str) and v in names}
        if changed:
            renamed[node_id] = node | {"inputs": {**inputs, **changed}}
    return renamed
