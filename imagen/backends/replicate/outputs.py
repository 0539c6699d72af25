"""What a prediction gave: the files among its output, each downloaded whole."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NoBase64
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_to_bytes, urljoin, urlsplit

import httpx

from imagen.backends.replicate.pricing import PredictionUsage, calculate_cost, find_price
from imagen.core.image_file import DECODE_ERRORS, download_fault, image_size, media_type
from imagen.core.json_values import as_mapping
from imagen.core.result import Facts, Output
from imagen.core.text import one_line
from imagen.errors import BackendError, Failed, Lost, Unavailable
from imagen.net import http
from imagen.net.retry import retry
from imagen.net.threads import run_while_reporting
from imagen.net.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from imagen.backends.replicate.client import Prediction
    from imagen.backends.replicate.input_schema import ModelSchema
    from imagen.backends.replicate.payload import BoundInput
    from imagen.core.ticket import Estimate, Ticket


_ATTEMPTS = 4
_REDIRECTS = 5
_DEEPEST = 5
_READ_SECONDS = 60.0
_GONE = (403, 404, 410)
_UNKNOWN_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDownloader:
    """Downloads from any host, with the token only where `credential_for` gives it."""

    credential_for: Callable[[str], Mapping[str, str]]
    allows_http: bool
    """Whether this machine's own addresses count: where the API is one of them."""
    connect_seconds: float
    total_seconds: float = 3600.0
    is_late: bool = False
    """Whether Replicate has deleted the files by now, as it does after an hour."""

    def fetch(self, address: str, index: int, tick: Callable[[], None]) -> Output:
        """One file; asked for again where something else comes. Raises Lost where it is gone."""
        if address.startswith("data:"):
            return _unpacked(address, index)
        download = partial(retry, partial(self._download, address), attempts=_ATTEMPTS)
        try:
            data, told = run_while_reporting(download, tick)
        except _Withheld as error:
            raise Lost(error.message, is_certain=self.is_late) from error
        return Output(
            data=data,
            media_type=media_type(data) or told or _UNKNOWN_TYPE,
            index=index,
            name=one_line(_name(address)),
        )

    def _download(self, address: str) -> tuple[bytes, str]:
        address = _joined(address, "")
        for _ in range(_REDIRECTS + 1):
            response = self._get(address)
            if not response.is_redirect:
                return self._whole(response, address)
            address = _joined(address, response.headers.get("location", ""))
        raise BackendError(f"{_host(address)} redirects in a circle.")

    def _get(self, address: str) -> httpx.Response:
        """One answer. The token depends on this address alone: a redirect may lead anywhere."""
        self._refuse_unsafe(address)
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(address))
        with http.HttpClient(
            origin,
            connect_seconds=self.connect_seconds,
            read_seconds=_READ_SECONDS,
            tls=http.tls(origin, None),
        ) as client:
            return client.request(
                "GET",
                address,
                limit=http.LARGEST_FILE,
                seconds=self.total_seconds,
                headers=dict(self.credential_for(address)),
            )

    def _refuse_unsafe(self, address: str) -> None:
        parts = urlsplit(address)
        is_ours = self.allows_http and parts.scheme == "http" and is_loopback(address)
        if parts.scheme != "https" and not is_ours:
            raise BackendError(
                f"Replicate sends for a file to {one_line(address)}, which is no https address."
            )

    def _whole(self, response: httpx.Response, address: str) -> tuple[bytes, str]:
        if response.status_code in _GONE:
            raise _Withheld(
                f"{_host(address)} no longer has a file of the prediction "
                f"(status {response.status_code}): Replicate keeps them for about an hour."
            )
        data = http.check_response(response, _host(address)).content
        told = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
        told = told if told.isascii() and "/" in told else ""
        if wrong := download_fault(data, _name(address), told):
            raise Unavailable(
                f"What {_host(address)} sent for {one_line(_name(address))} {wrong}, "
                f"{_ATTEMPTS} times."
            )
        return data, told


class _Withheld(Unavailable):
    """The server refuses a file, for now or because it is gone."""


def find_urls(output: Any, depth: int = 0) -> Iterator[str]:
    """Each file among what a model gave, whatever the shape: one, a list, or named ones."""
    if isinstance(output, str) and output.startswith(("https://", "http://", "data:")):
        yield output
    if depth < _DEEPEST and isinstance(output, list | dict):
        for inner in output.values() if isinstance(output, dict) else output:
            yield from find_urls(inner, depth + 1)


def output_text(output: Any) -> str:
    """What a model said instead of giving a file."""
    if isinstance(output, list):
        return one_line("".join(part for part in output if isinstance(part, str)))
    return one_line(output) if isinstance(output, str) else ""


def _unpacked(address: str, index: int) -> Output:
    """The file that a `data:` address holds."""
    head, _, body = address.removeprefix("data:").partition(",")
    kind, *flags = head.split(";")
    try:
        data = b64decode(body, validate=True) if "base64" in flags else unquote_to_bytes(body)
    except (NoBase64, ValueError) as error:
        raise Failed(f"A file in the answer can't be decoded: {error}.") from error
    return Output(
        data=data, media_type=media_type(data) or one_line(kind) or _UNKNOWN_TYPE, index=index
    )


def _name(address: str) -> str:
    return unquote(urlsplit(address).path.rpartition("/")[2])


def _joined(address: str, location: str) -> str:
    """Where an address leads to, as it will be asked; raises BackendError for what is none."""
    try:
        urlsplit(address)  # httpx takes more than is one
        return str(httpx.URL(urljoin(address, location)))
    except (ValueError, httpx.InvalidURL) as error:
        raise BackendError(
            f"Replicate sends for a file to {one_line(location or address)}, which is no address."
        ) from error


def _host(address: str) -> str:
    return one_line("{0.scheme}://{0.netloc}".format(urlsplit(address)))


def build_facts(
    ticket: Ticket,
    found: Prediction,
    outputs: Sequence[Output],
    seed: int | None,
    latency_seconds: float,
) -> Facts:
    """The facts of a prediction that succeeded."""
    sizes = [size for size in map(_size, outputs) if size is not None]
    width, height = sizes[0] if sizes else (None, None)
    cost = _cost(ticket, found, sizes)
    request = ticket.request
    return Facts(
        model=found.model or str(ticket.payload.get("model")),
        seed=seed,
        steps=request.steps,
        cfg=request.cfg,
        sampler=request.sampler,
        width=width,
        height=height,
        latency_seconds=latency_seconds,
        queued_seconds=found.queued_seconds,
        executing_seconds=found.predict_seconds,
        cost_usd=cost.usd,
        cost_basis=cost.basis,
        engine={"prediction_id": found.id, "version": found.version},
    )


def estimate_cost(known: ModelSchema, bound: BoundInput, input_pixels: Sequence[int]) -> Estimate:
    """What a prediction of this input will cost, as far as that can be told beforehand."""
    values = bound.values
    count = int(values.get("count") or 1)
    width, height = int(values.get("width") or 0), int(values.get("height") or 0)
    is_known = bool(bound.known.size.sides and width and height)
    work = PredictionUsage(
        images=count,
        input_pixels=input_pixels,
        output_pixels=[width * height] * count if is_known else None,
    )
    return calculate_cost(find_price(known.model, bound.input, hardware=known.hardware), work)


def _cost(ticket: Ticket, found: Prediction, sizes: Sequence[tuple[int, int]]) -> Estimate:
    payload = ticket.payload
    price = find_price(
        str(payload.get("model")),
        as_mapping(payload.get("input")),
        hardware=str(payload.get("hardware") or ""),
    )
    pixels: Any = payload.get("input_pixels") or ()
    work = PredictionUsage(
        images=len(sizes) or None,
        input_pixels=pixels,
        output_pixels=[width * height for width, height in sizes] or None,
        seconds=found.predict_seconds,
    )
    return calculate_cost(price, work)


def _size(output: Output) -> tuple[int, int] | None:
    """Width and height of a picture; None for what can't be opened as one."""
    try:
        return image_size(BytesIO(output.data))
    except DECODE_ERRORS:
        return None
