"""HTTP for adapters: one client factory, and one place where httpx's errors become ours."""

from __future__ import annotations

import math
import re
import socket
import ssl
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any, NoReturn, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from imagen.core.text import one_line
from imagen.errors import (
    BackendError,
    ConfigError,
    ImagenError,
    MissingDependency,
    RateLimited,
    Rejected,
    Unauthorized,
    Unavailable,
    foreign_cause,
)
from imagen.net.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

LARGEST_ANSWER = 64 << 20
"""Bytes of an answer in JSON."""
LARGEST_FILE = 2 << 30
"""Bytes of a file that a server made."""
LONGEST_SECONDS = 600.0
"""For one request and its answer, where nothing else is said."""
_LARGEST_REFUSAL = 16 << 20
"""Bytes that are read of an unsuccessful answer."""
_LARGEST_PIECE = 1 << 20
_SENT_AT_ONCE = 16 << 10
_LONGEST_WAIT = 60.0
_LONGEST_RETRY_AFTER = 86400.0
_PROBE_SECONDS = 2.0
_OF_THE_TRANSFER = (b"content-encoding", b"content-length", b"transfer-encoding")
_IN_TLS = "no answer in TLS"

ERRORS: Mapping[type[Exception], tuple[type[ImagenError], str]] = {
    httpx.ConnectTimeout: (Unavailable, "{at} did not take the connection in time."),
    httpx.ReadTimeout: (Unavailable, "{at} took the request and did not answer in time."),
    httpx.WriteTimeout: (Unavailable, "{at} stopped reading the request."),
    httpx.PoolTimeout: (Unavailable, "No connection to {at} became free in time."),
    httpx.ConnectError: (Unavailable, "{at} can't be reached: {why}."),
    httpx.ReadError: (Unavailable, "The connection to {at} broke while it answered."),
    httpx.WriteError: (Unavailable, "The connection to {at} broke while it was asked."),
    httpx.CloseError: (Unavailable, "The connection to {at} could not be closed."),
    httpx.ProxyError: (Unavailable, "The proxy before {at} refused: {why}."),
    httpx.RemoteProtocolError: (
        Unavailable,
        "{at} broke off, or speaks no HTTP: {why}.",
    ),
    httpx.DecodingError: (Unavailable, "{at} sent an answer that can't be decompressed: {why}."),
    httpx.TooManyRedirects: (BackendError, "{at} redirects in a circle."),
    httpx.UnsupportedProtocol: (ConfigError, "{at} is no http or https address: {why}."),
    httpx.InvalidURL: (ConfigError, "{at} is no address: {why}."),
    httpx.LocalProtocolError: (ConfigError, "The request to {at} can't be sent: {why}."),
}
"""What each of httpx's errors means; those that only a mistake of ours can raise are not here."""

_NUMBERED = re.compile(r"^\[(Errno|WinError) -?\d+\] ")
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class HttpClient:
    """A client of one server: it keeps connections alive, follows no redirect, and bounds the size
    and the time of every answer. For any number of threads.

    `tls` is what the function of that name gives; without it nothing but http is spoken, so no time
    goes into reading certificates. No proxy is used for this machine itself.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        connect_seconds: float = 10.0,
        read_seconds: float = 60.0,
        tls: ssl.SSLContext | None = None,
        network: httpcore.NetworkBackend | None = None,
    ) -> None:
        self._url = url
        self._proxy = "" if network else _proxy_for(url)
        self._has_answered = False
        with translate_errors(url):
            base = httpx.URL(url)
        try:
            self._http = httpx.Client(
                base_url=base,
                headers={"Accept-Encoding": "gzip", **(headers or {})},
                timeout=timeouts(connect_seconds=connect_seconds, read_seconds=read_seconds),
                transport=_Transport(tls or not url.startswith("http:"), self._proxy, network),
                follow_redirects=False,
            )
        except ImportError as error:
            raise MissingDependency("socksio", "socks", purpose="a SOCKS proxy") from error
        except (ValueError, httpx.InvalidURL) as error:  # whose words may hold the password
            raise ConfigError(
                "The proxy that the environment names (HTTP_PROXY, ALL_PROXY) can't be used.",
                remedy="It must look like http://host:port.",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_closed(self) -> bool:
        return self._http.is_closed

    def close(self) -> None:
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        limit: int | None = LARGEST_ANSWER,
        seconds: float = LONGEST_SECONDS,
        at: str = "",
        **more: Any,
    ) -> httpx.Response:
        """The answer, read whole: at most `limit` bytes of a success after decompression, within so
        many `seconds`. With None the body of a success is not read.

        Raises BackendError naming the server, or `at`. `more` is as httpx takes it.
        """
        at = at or self._url
        with within(seconds) as until, self._translated(at, until):
            request = self._http.build_request(method, path, **more)
            response = self._http.send(request, stream=True)
            try:
                body = _read(response, limit, at)
            finally:
                response.close()
            if response.status_code == 400 and not self._has_answered and _ASKS_FOR_TLS(body):
                raise _TlsError
            self._has_answered = True
        reason = response.extensions.get("reason_phrase", b"")
        headers = [(k, v) for k, v in response.headers.raw if k.lower() not in _OF_THE_TRANSFER]
        return httpx.Response(
            response.status_code,
            headers=headers,
            content=body,
            extensions={"reason_phrase": reason},
            request=request,
        )

    @contextmanager
    def _translated(self, at: str, until: float) -> Iterator[None]:
        seconds = max(0.0, until - time.monotonic())
        try:
            with translate_errors(at, proxy=self._proxy):
                try:
                    yield
                except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                    if self._has_answered or self._proxy or not _speaks_tls(self._url):
                        raise
                    raise _TlsError from error
        except Unavailable as error:
            is_late = isinstance(foreign_cause(error), httpx.TimeoutException)
            if is_late and time.monotonic() >= until:
                through = f" (through the proxy {_shown(self._proxy)})" if self._proxy else ""
                limit = f"{round(seconds, 1):g} s"
                message = f"{at}{through} did not finish its answer within {limit}."
                raise error.replace(message=message) from error
            raise


def _proxy_for(url: str) -> str:
    """The proxy that the environment names for an address; "" for none."""
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.hostname or ""):
        return ""
    known = getproxies()
    proxy = known.get(parts.scheme) or known.get("all") or ""
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _read(response: httpx.Response, limit: int | None, at: str) -> bytes:
    """The body, decompressed; of a refusal, its beginning. Raises BackendError for more."""
    if limit is None and response.is_success:
        return b""
    most = limit if limit is not None and response.is_success else _LARGEST_REFUSAL
    body = BytesIO()  # rather than a list: pieces may be tiny and many
    for piece in _decompressed(response):
        if body.write(piece) and body.tell() > most:
            if not response.is_success:
                break
            raise BackendError(
                f"{at} sent more than {_format_size(most)}, the most that imagen reads of one "
                "answer."
            )
    return body.getvalue()


def _decompressed(response: httpx.Response) -> Iterator[bytes]:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        yield from response.iter_raw()
        return
    if encoding not in ("gzip", "x-gzip"):  # others were not asked for
        raise httpx.DecodingError(f"unknown encoding {one_line(encoding, limit=40)!r}")
    unzip = zlib.decompressobj(wbits=31)
    is_empty = True
    try:
        for piece in response.iter_raw():
            is_empty = is_empty and not piece
            rest = piece
            while rest:
                yield unzip.decompress(rest, _LARGEST_PIECE)
                rest = unzip.unconsumed_tail
        if not (unzip.eof or is_empty):
            raise httpx.DecodingError("it ends in the middle")
    except zlib.error as error:
        raise httpx.DecodingError(str(error)) from error


def _format_size(size: int) -> str:
    return f"{size >> 30} GB" if size >= 1 << 30 else f"{size >> 20} MB"


class _Transport(httpx.HTTPTransport):
    """httpx's own, whose connections keep the deadline of the request that uses them."""

    def __init__(
        self,
        verify: ssl.SSLContext | bool,
        proxy: str,
        network: httpcore.NetworkBackend | None,
    ) -> None:
        super().__init__(verify=verify, proxy=proxy or None)
        self._garbled: tuple[type[Exception], ...] = ()
        if proxy.startswith("socks"):
            from socksio import SOCKSError  # which httpx lets through

            self._garbled = (SOCKSError, AssertionError)
        # httpx has no argument for it; test_http_limits fails where a later one ignores this.
        self._pool._network_backend = network or Network()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        _thread.opened = []
        try:
            return super().handle_request(request)
        except Exception as error:
            for stream in _thread.opened:  # httpcore forgets one whose SOCKS proxy refuses
                stream.close()
            if isinstance(error, self._garbled):
                raise httpx.ProxyError("it does not answer like a SOCKS proxy") from error
            raise


class Network(httpcore.SyncBackend):
    """The operating system's network, each wait bounded by the deadline of the request."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        stream = super().connect_tcp(host, port, left, local_address, socket_options)
        _thread.opened.append(stream)
        return _TimedStream(stream)


class _TimedStream(httpcore.NetworkStream):
    """A connection on which no request outlasts its deadline, however slowly bytes drip."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _SENT_AT_ONCE):
            left = _left(timeout, httpcore.WriteTimeout)
            self._stream.write(buffer[start : start + _SENT_AT_ONCE], left)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        try:
            return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left))
        except httpcore.ConnectTimeout as error:
            raise httpcore.ConnectTimeout(_IN_TLS) from error

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        self._stream.close()


_thread = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[float]:
    """Bounds every request that this thread makes in the block; the time at which it ends."""
    outer = getattr(_thread, "until", math.inf)
    _thread.until = min(outer, time.monotonic() + seconds)
    try:
        yield _thread.until
    finally:
        _thread.until = outer


def _left(timeout: float | None, late: type[Exception]) -> float:
    """How long one wait may take: until the deadline at most."""
    left = getattr(_thread, "until", math.inf) - time.monotonic()
    if left <= 0:
        raise late("the deadline has passed")
    return min(_LONGEST_WAIT if timeout is None else timeout, left)


def timeouts(*, connect_seconds: float, read_seconds: float) -> httpx.Timeout:
    """How long to wait for a connection, and how long for each next part of an answer."""
    return httpx.Timeout(read_seconds, connect=connect_seconds)


def tls(url: str, ca_file: Path | None) -> ssl.SSLContext | None:
    """How to tell that an https server is who it says; None where the address is not https."""
    if urlsplit(url).scheme != "https":
        return None
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"ca_file {str(ca_file)!r} can't be used: {error}.") from error


@contextmanager
def translate_errors(at: str, *, proxy: str = "") -> Iterator[None]:
    """Turns httpx's errors into ours; `at` is the address to name in them."""
    try:
        yield
    except tuple(ERRORS) as error:
        _raise_ours(error, at, proxy)


def _raise_ours(error: Exception, at: str, proxy: str) -> NoReturn:
    found = tls_fault(error)
    if found is not None:
        what, remedy = found
        raise Unavailable(f"{at} {what}.", remedy=remedy) from error
    if proxy:
        shown = _shown(proxy)
        if isinstance(error, _NEVER_SENT):
            sentence = _OF_THE_PROXY[type(error)]
            raise Unavailable(
                sentence.format(at=at, why=_reason(error), proxy=f"The proxy {shown}"),
                remedy=_PROXY_REMEDY,
            ) from error
        at = f"{at} (through the proxy {shown})"
    ours, sentence = ERRORS[next(kind for kind in type(error).__mro__ if kind in ERRORS)]
    raise ours(sentence.format(at=at, why=_reason(error))) from error


def _shown(proxy: str) -> str:
    """A proxy's address without its password."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


_OF_THE_PROXY: Mapping[type[Exception], str] = {
    httpx.ConnectError: "{proxy}, which the environment names, can't be reached: {why}.",
    httpx.ConnectTimeout: "{proxy}, which the environment names, did not answer in time.",
    httpx.ProxyError: "{proxy} did not connect to {at}: {why}.",
    httpx.PoolTimeout: "No connection to {at} became free in time.",
}
_PROXY_REMEDY = (
    "Start the proxy, or correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY; NO_PROXY lists hosts that "
    "are reached without it."
)


def _reason(error: Exception) -> str:
    """In the system's words, without its number."""
    return _NUMBERED.sub("", one_line(str(error))).rstrip(".") or type(error).__name__


_CA_REMEDY = (
    "Set the environment variable SSL_CERT_FILE, or `ca_file` where the backend has that key, to "
    "the certificate of the authority that signed the server's."
)
_CERTIFICATES: Mapping[int, tuple[str, str]] = {
    9: ("is not valid yet", "Check the clocks of this machine and of the server."),
    10: ("has expired", "Renew it on the server; check this machine's clock too."),
    18: (
        "is self-signed",
        "If the server is yours, set the environment variable SSL_CERT_FILE, or `ca_file` where "
        "the backend has that key, to a file with this certificate.",
    ),
    **dict.fromkeys((19, 20, 21), ("is from an authority that is not known here", _CA_REMEDY)),
    **dict.fromkeys(
        (62, 64),
        (
            "is for another host",
            "Use the host name that the certificate was made for, or give the server a "
            "certificate for this one.",
        ),
    ),
}
"""By OpenSSL's number: what is wrong with a certificate, and what to do about it."""
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})
_ASKS_FOR_TLS = re.compile(rb"(?i)plain HTTP|HTTP request to an HTTPS").search
"""How nginx, Apache and Go answer plain http at a port for https."""
_SPEAKS_TLS = "speaks https, but was asked in plain http", "Begin its address with https://."
_SPEAKS_HTTP = "does not speak https", "If it speaks plain http, begin its address with http://."


def tls_fault(error: BaseException | None) -> tuple[str, str] | None:
    """What is wrong in TLS, and what to do about it."""
    if isinstance(error, _TlsError):
        return _SPEAKS_TLS
    if isinstance(error, httpx.ConnectTimeout) and str(error) == _IN_TLS:
        return "accepted the connection but did not answer in https", _SPEAKS_HTTP[1]
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            number = getattr(error, "verify_code", 0)
            if number in _CERTIFICATES:
                what, remedy = _CERTIFICATES[number]
                return f"can't be trusted: its certificate {what}", remedy
            return f"can't be trusted: {one_line(str(error)).rstrip('.')}", _CA_REMEDY
        if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
            return _SPEAKS_HTTP
        error = error.__cause__ or error.__context__
    return None


class _TlsError(httpx.ConnectError):
    """A server that was asked in plain http speaks TLS: it did not understand the request."""

    def __init__(self) -> None:
        super().__init__("speaks TLS")


def _speaks_tls(url: str) -> bool:
    """Whether a server shakes hands in TLS, whatever its certificate."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = parts.hostname or "", parts.port or 80
    with (
        suppress(OSError, ValueError),
        socket.create_connection(address, timeout=_PROBE_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=parts.hostname),
    ):
        return True
    return False


def not_sent(error: BaseException) -> bool:
    """Whether the request behind this error of ours certainly never left."""
    return isinstance(foreign_cause(error), _NEVER_SENT)


def is_unanswered(error: BaseException) -> bool:
    """Whether the request behind this error was taken, and nothing came back in time."""
    return isinstance(foreign_cause(error), httpx.ReadTimeout)


def describe_lost_submission(error: BackendError, at: str) -> str:
    """What happened to a submission that was not answered as it should be; begins a sentence."""
    if is_unanswered(error):
        return f"{at} does not answer"
    if isinstance(foreign_cause(error), httpx.TransportError):
        return f"{at} broke off while the job was handed over"
    return error.message.rstrip(".")


def is_timeout(error: BaseException) -> bool:
    """Whether the time for making a connection has passed: to begin again would double it."""
    return isinstance(foreign_cause(error), httpx.ConnectTimeout)


def is_connection_refused(error: BaseException) -> bool:
    """Whether nothing answers at the address: it refuses connections, or the line breaks.

    A server that is slow, a network that is down, or a gateway that tells of trouble is another
    matter: it may be there.
    """
    cause = foreign_cause(error)
    if isinstance(cause, httpx.ConnectError):
        return _was_refused(cause)
    return isinstance(cause, httpx.RemoteProtocolError | httpx.ReadError)


def _was_refused(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error is not None


def check_response(response: httpx.Response, at: str, *, credential: str = "") -> httpx.Response:
    """The response, if it is a success; `credential` says what to set where there is none."""
    if response.is_success:
        return response
    raise response_error(response, at, credential=credential)


def response_error(response: httpx.Response, at: str, *, credential: str = "") -> BackendError:
    """What an answer that is no success means."""
    status = response.status_code
    said = f"{status}{_words(response)}"
    if status in (401, 403):
        return Unauthorized(f"{at} refused access: {said}.", remedy=credential)
    if status == 429:
        return RateLimited(
            f"{at} asks for patience: {said}.", retry_after_seconds=_retry_after(response)
        )
    if response.is_redirect:
        target = one_line(response.headers.get("location", "nowhere"))
        return BackendError(
            f"{at} redirects to {target}, and redirects are not followed.",
            remedy="If that is the right server, put its address into `url`.",
        )
    if response.is_server_error or status == 408:
        return Unavailable(f"{at} is in trouble: {said}.")
    return Rejected(f"{at} refused the request: {said}.")


def _words(response: httpx.Response) -> str:
    text = one_line(response.text, limit=300)
    if not text or text.startswith("<"):
        text = one_line(response.reason_phrase)
    return f" {text.rstrip('.')}" if text else ""


def _retry_after(response: httpx.Response) -> float | None:
    """The seconds of `Retry-After`; its other form, a date, is left to our own waiting."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= _LONGEST_RETRY_AFTER else None
