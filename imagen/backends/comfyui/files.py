"""What a job gave away: which files count, and their bytes, fetched whole."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.backends.background import meanwhile
from imagen.backends.comfyui.answers import mapping
from imagen.backends.comfyui.record import SAVES_TO_THE_SOCKET
from imagen.backends.retry import retrying
from imagen.backends.whole import is_whole, media_type
from imagen.errors import Failed, Unavailable
from imagen.result import Output
from imagen.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    import httpx

    from imagen.backends.comfyui.client import Client
    from imagen.backends.comfyui.record import Record

_ATTEMPTS = 4
_KEPT = "output"  # the type of a file that stays; others are previews
_GIVES = {"images", "filename_prefix"}
"""Inputs by which a node is known that gives files away."""
_TEXT = "text/plain"
_UNKNOWN_TYPE = "application/octet-stream"


class File(NamedTuple):
    """One file that a node made, in the server's words."""

    node: str
    batch_index: int
    filename: str
    subfolder: str
    type: str

    @property
    def name(self) -> str:
        return f"{self.subfolder}/{self.filename}" if self.subfolder else self.filename


class Text(NamedTuple):
    """One text that a node gave away."""

    node: str
    batch_index: int
    text: str


def made(record: Record, only: Collection[str] = ()) -> list[File | Text]:
    """What the nodes of a job made, in the graph's order; `only` those nodes, if any are named.

    Previews count where nothing was kept.
    """
    order = {node: place for place, node in enumerate(record.graph)}
    shown = {node: record.shown.get(node, node) for node in record.outputs}
    nodes = sorted(record.outputs, key=lambda node: (order.get(shown[node], len(order)), node))
    things = [
        thing
        for node in nodes
        if not only or shown[node] in only
        for thing in _things(shown[node], record.outputs[node])
    ]
    kept = [thing for thing in things if isinstance(thing, Text) or thing.type == _KEPT]
    return kept if any(isinstance(thing, File) for thing in kept) else things


def fetch_all(
    client: Client, things: Collection[File | Text], tick: Callable[[], None]
) -> tuple[list[Output], list[Failed]]:
    """What is still there, and an error for each file that is not."""
    fetched: list[Output] = []
    missing: list[Failed] = []
    for thing in things:
        try:
            fetched.append(_fetch(client, thing, tick))
        except Failed as error:
            missing.append(error)
    return fetched, missing


def is_text(output: Output) -> bool:
    """Whether this is a text that a node gave away, rather than a file of whatever kind."""
    return output.media_type == _TEXT and not output.name


def _fetch(client: Client, thing: File | Text, tick: Callable[[], None]) -> Output:
    """The bytes of one file, asked for again where they come cut short."""
    if isinstance(thing, Text):
        return _text(thing)
    again = partial(retrying, partial(_download, client, thing), attempts=_ATTEMPTS)
    response = meanwhile(again, tick)
    return Output(
        data=response.content,
        media_type=_media_type(response, thing),
        index=thing.batch_index,
        name=one_line(thing.name),
        source=thing.node,
    )


def _text(text: Text) -> Output:
    return Output(
        data=text.text.encode("utf-8", "replace"),
        media_type=_TEXT,
        index=text.batch_index,
        source=text.node,
    )


def sent(record: Record, only: Collection[str] = ()) -> list[Output]:
    """The pictures that nodes saved to the websocket."""
    return [
        Output(data=data, media_type=media_type(data) or _UNKNOWN_TYPE, index=index, source=node)
        for node, pictures in record.pictures.items()
        if not only or node in only
        for index, data in enumerate(pictures)
    ]


def lacks_a_picture(graph: Mapping[str, Any], things: Collection[File | Text]) -> bool:
    """Whether nothing came, or no file where the graph was to give one."""
    takes_pictures = any(_GIVES & mapping(mapping(n).get("inputs")).keys() for n in graph.values())
    is_file = [isinstance(thing, File) for thing in things]
    return not any(is_file) if takes_pictures else not is_file


def unheard(record: Record) -> tuple[str, ...]:
    """A sentence for each node whose picture can only come over a websocket that was not open."""
    return tuple(
        f"Node {node} ({SAVES_TO_THE_SOCKET}) sends its picture over the websocket only, and it "
        "did not arrive; SaveImage keeps it."
        for node, said in record.graph.items()
        if mapping(said).get("class_type") == SAVES_TO_THE_SOCKET
    )


def _things(node: str, output: Mapping[str, Any]) -> Iterator[File | Text]:
    """Each file and text of one node, whatever the key it stands under; each only once."""
    seen: dict[tuple[str, str, str], File] = {}
    for value in output.values():
        for said in value if isinstance(value, list) else ():
            known = _names(said)
            if known is not None:
                seen.setdefault(known, File(node, len(seen), *known))
    yield from seen.values()
    texts = output.get("text")
    for index, text in enumerate(texts if isinstance(texts, list) else [texts]):
        if isinstance(text, str):
            yield Text(node, index, text)


def _names(said: Any) -> tuple[str, str, str] | None:
    about = mapping(said)
    filename = about.get("filename")
    if not isinstance(filename, str) or not filename:
        return None
    return filename, str(about.get("subfolder") or ""), str(about.get("type") or _KEPT)


def _download(client: Client, file: File) -> httpx.Response:
    response = client.view(file.filename, file.subfolder, file.type)
    if response.status_code in (400, 403, 404):
        raise Failed(
            f"ComfyUI made {one_line(file.name)} and does not give it out "
            f"(status {response.status_code}).",
            remedy="If it was deleted there, ask for another seed, or for the server's memory to "
            "be freed: its cache still counts on the file.",
        )
    response = client.succeeded(response)
    if not is_whole(response.content):
        raise Unavailable(
            f"{one_line(file.name)} came cut short from {client.at}, {_ATTEMPTS} times."
        )
    return response


def _media_type(response: httpx.Response, file: File) -> str:
    told = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
    if known := media_type(response.content):
        return known
    if told and told != _UNKNOWN_TYPE and told.isascii():
        return told
    from mimetypes import guess_type

    return guess_type(file.filename)[0] or _UNKNOWN_TYPE
