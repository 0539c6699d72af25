"""The files of a prediction, each downloaded whole; and the facts and cost of the prediction."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from contextlib import suppress
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
    from imagen.core.ticket import Ticket

_ATTEMPTS = 4
_MAX_REDIRECTS = 5
_MAX_DEPTH = 5
_READ_SECONDS = 60.0
_REFUSED_STATUSES = (403, 404, 410)
_UNKNOWN_TYPE = "application/octet-stream"


class _FileRefused(Unavailable):
    """The server refuses a file: temporarily, or because it was deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDownloader:
    """Downloads from any host, with the token only where `credential_for` returns it."""

    credential_for: Callable[[str], Mapping[str, str]]
    allows_http: bool
    """Whether http addresses of this machine are allowed: where the API is one of them."""
    connect_seconds: float
    total_seconds: float = 3600.0
    is_expired: bool = False
    """Whether Replicate has deleted the files by now, as it does after an hour."""

    def download(self, url: str, index: int, tick: Callable[[], None]) -> Output:
        """Download one file, with retries. Raises Lost where it is gone."""
        if url.startswith("data:"):
            return _decode_data_url(url, index)
        attempt = partial(retry, partial(self._download_once, url), attempts=_ATTEMPTS)
        try:
            data, declared_type = run_while_reporting(attempt, tick)
        except _FileRefused as error:
            raise Lost(error.message, is_certain=self.is_expired) from error
        return Output(
            data=data,
            media_type=media_type(data) or declared_type or _UNKNOWN_TYPE,
            index=index,
            name=one_line(_file_name(url)),
        )

    def _download_once(self, url: str) -> tuple[bytes, str]:
        """The file's content and its declared media type."""
        url = _resolve_url(url)
        response = self._get(url)
        for _ in range(_MAX_REDIRECTS):
            if not response.is_redirect:
                break
            url = _resolve_url(url, response.headers.get("location", ""))
            response = self._get(url)
        origin, name = one_line("{0.scheme}://{0.netloc}".format(urlsplit(url))), _file_name(url)
        if response.is_redirect:
            raise BackendError(f"{origin} redirects in a circle.")
        if response.status_code in _REFUSED_STATUSES:
            raise _FileRefused(
                f"{origin} no longer has a file of the prediction "
                f"(status {response.status_code}): Replicate keeps them for about an hour."
            )
        data = http.check_response(response, origin).content
        declared = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
        declared = declared if declared.isascii() and "/" in declared else ""
        if damage := download_fault(data, name, declared):
            raise Unavailable(
                f"The file {one_line(name)} from {origin} {damage}, after {_ATTEMPTS} attempts."
            )
        return data, declared

    def _get(self, url: str) -> httpx.Response:
        """One answer. Each URL is checked by itself: a redirect may lead anywhere."""
        parts = urlsplit(url)
        is_local = self.allows_http and parts.scheme == "http" and is_loopback(url)
        if parts.scheme != "https" and not is_local:
            raise BackendError(
                f"Replicate names a file at {one_line(url)}, which is not an https URL."
            )
        origin = f"{parts.scheme}://{parts.netloc}"
        with http.HttpClient(
            origin,
            connect_seconds=self.connect_seconds,
            read_seconds=_READ_SECONDS,
            tls=http.tls(origin, None),
        ) as client:
            return client.request(
                "GET",
                url,
                limit=http.LARGEST_FILE,
                seconds=self.total_seconds,
                headers=dict(self.credential_for(url)),
            )


def _decode_data_url(url: str, index: int) -> Output:
    head, _, body = url.removeprefix("data:").partition(",")
    declared_type, *flags = head.split(";")
    try:
        data = b64decode(body, validate=True) if "base64" in flags else unquote_to_bytes(body)
    except (Base64Error, ValueError) as error:
        raise Failed(f"A file in the answer cannot be decoded: {error}.") from error
    kind = media_type(data) or one_line(declared_type) or _UNKNOWN_TYPE
    return Output(data=data, media_type=kind, index=index)


def _file_name(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])


def _resolve_url(url: str, location: str = "") -> str:
    """The URL that a redirect leads to; raises BackendError for an invalid one."""
    try:
        urlsplit(url)  # httpx accepts URLs that are none
        return str(httpx.URL(urljoin(url, location)))
    except (ValueError, httpx.InvalidURL) as error:
        raise BackendError(
            f"Replicate names a file at {one_line(location or url)}, which is not a valid URL."
        ) from error


def find_urls(output: object, depth: int = 0) -> Iterator[str]:
    """The URLs of files in a model's output, whether it is one, a list or a mapping."""
    if isinstance(output, str) and output.startswith(("https://", "http://", "data:")):
        yield output
    if depth < _MAX_DEPTH and isinstance(output, list | dict):
        for inner in output.values() if isinstance(output, dict) else output:
            yield from find_urls(inner, depth + 1)


def output_text(output: object) -> str:
    """The text of a model's output that is not a file."""
    if isinstance(output, list):
        return one_line("".join(part for part in output if isinstance(part, str)))
    return one_line(output) if isinstance(output, str) else ""


def build_facts(
    ticket: Ticket,
    prediction: Prediction,
    outputs: Sequence[Output],
    seed: int | None,
    latency_seconds: float,
) -> Facts:
    """The facts of a prediction that succeeded, with its cost."""
    sizes: list[tuple[int, int]] = []
    for output in outputs:
        with suppress(*DECODE_ERRORS):  # a model may also give files that are not images
            sizes.append(image_size(BytesIO(output.data)))
    width, height = sizes[0] if sizes else (None, None)
    request, payload = ticket.request, ticket.payload
    price = find_price(
        str(payload.get("model")),
        as_mapping(payload.get("input")),
        hardware=str(payload.get("hardware") or ""),
    )
    input_pixels: Any = payload.get("input_pixels") or ()
    usage = PredictionUsage(
        images=len(sizes) or None,
        input_pixels=input_pixels,
        output_pixels=[width * height for width, height in sizes] or None,
        seconds=prediction.predict_seconds,
    )
    cost = calculate_cost(price, usage)
    return Facts(
        model=prediction.model or str(payload.get("model")),
        seed=seed,
        steps=request.steps,
        cfg=request.cfg,
        sampler=request.sampler,
        width=width,
        height=height,
        latency_seconds=latency_seconds,
        queued_seconds=prediction.queued_seconds,
        executing_seconds=prediction.predict_seconds,
        cost_usd=cost.usd,
        cost_basis=cost.basis,
        engine={"prediction_id": prediction.id, "version": prediction.version},
    )
