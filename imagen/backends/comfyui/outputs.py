"""What a job gave away: which files count, and their bytes, fetched whole."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.backends.comfyui.answers import mapping
from imagen.backends.comfyui.record import SAVES_TO_THE_SOCKET
from imagen.core.image_file import download_fault, media_type, png_text
from imagen.core.json_values import parse_json
from imagen.core.result import Output
from imagen.core.text import one_line
from imagen.errors import BackendError, Lost, RateLimited, Rejected, Unavailable
from imagen.net.retry import retry
from imagen.net.threads import run_while_reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    import httpx

    from imagen.backends.comfyui.client import ComfyClient
    from imagen.backends.comfyui.record import Record
    from imagen.errors import ImagenError

_ATTEMPTS = 4
_KEPT = "output"  # the type of a file that stays; others are previews
_GIVES = {"images", "filename_prefix"}
"""Inputs by which a node is known that gives files away."""
_TEXT = "text/plain"
_DELETED = (
    "If it was deleted there, ask for another seed, or for the server's memory to be freed: its "
    "cache still counts on the file."
)
_GATEWAY = (
    "Something in front of the server may answer in its place: a login page, a proxy, a filter."
)
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
    client: ComfyClient,
    things: Collection[File | Text],
    tick: Callable[[], None],
    *,
    unless: Callable[[ImagenError], bool] = lambda _: False,
) -> tuple[list[Output], list[Lost]]:
    """The files that can still be fetched, and an error for each other one.

    `unless` says after which errors a file is not asked for again.
    """
    fetched: list[Output] = []
    missing: list[Lost] = []
    for thing in things:
        if isinstance(thing, Text):
            fetched.append(_text(thing))
            continue
        try:
            fetched.append(_fetch(client, thing, tick, unless))
        except _Withheld as error:
            missing.append(
                Lost(error.message, remedy=error.remedy, is_certain=error.is_comfyuis_word)
            )
    return fetched, missing


def is_of(graph: Mapping[str, Any], data: bytes) -> bool:
    """Whether a file is from this graph, as far as it says: once a server's folder is emptied, it
    gives the same names to others."""
    with suppress(ValueError):
        said = mapping(parse_json(png_text(data, "prompt") or "{}", strict_numbers=False))
        return not said or _plain(graph) == _plain(said)
    return True


def _plain(graph: Mapping[str, Any]) -> dict[str, Any]:
    """What a graph says, where the server may have made numbers of texts."""
    nodes = {node: mapping(about) for node, about in graph.items()}
    return {
        node: (
            about.get("class_type"),
            {name: _number(value) for name, value in mapping(about.get("inputs")).items()},
        )
        for node, about in nodes.items()
    }


def _number(value: Any) -> float | str:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return str(value)


def is_text(output: Output) -> bool:
    """Whether this is a text that a node gave away, rather than a file of whatever kind."""
    return output.media_type == _TEXT and not output.name


class _Withheld(Unavailable):
    """The server refuses a file, for now or because it is gone."""

    is_comfyuis_word = False
    """Whether it is ComfyUI that says so, rather than a gateway before it."""


def _fetch(
    client: ComfyClient,
    file: File,
    tick: Callable[[], None],
    unless: Callable[[ImagenError], bool],
) -> Output:
    """The bytes of one file, asked for again where something else comes."""
    download = partial(retry, partial(_download, client, file), attempts=_ATTEMPTS)
    response = run_while_reporting(partial(download, unless=unless), tick)
    kind = media_type(response.content) or _told_type(response) or guess_type(file.filename)[0]
    return Output(
        data=response.content,
        media_type=kind or _UNKNOWN_TYPE,
        index=file.batch_index,
        name=one_line(file.name),
        source=file.node,
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


def _download(client: ComfyClient, file: File) -> httpx.Response:
    """One answer, if it is the file; raises Unavailable where it may be the next time."""
    response = client.view(file.filename, file.subfolder, file.type)
    name = one_line(file.name)
    try:
        client.succeeded(response)
    except (Unavailable, RateLimited):
        raise
    except BackendError as error:
        withheld = _Withheld(
            f"ComfyUI made {name} but refuses to send it (status {response.status_code}).",
            remedy=_GATEWAY if isinstance(error, Rejected) else error.remedy,
        )
        if response.status_code == 404 and not response.content:
            withheld = withheld.replace(is_comfyuis_word=True, remedy=_DELETED)
        raise withheld from error
    if wrong := download_fault(response.content, file.filename, _told_type(response)):
        raise Unavailable(
            f"What {client.at} sent for {name} {wrong}, {_ATTEMPTS} times.", remedy=_GATEWAY
        )
    return response


def _told_type(response: httpx.Response) -> str:
    told = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return told if told.isascii() and told != _UNKNOWN_TYPE else ""
