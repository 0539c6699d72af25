"""The HTTP client of all adapters, and the translation of httpx's errors into imagen's."""

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
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

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
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

LARGEST_ANSWER = 64 << 20
"""Bytes of a JSON answer."""
LARGEST_FILE = 2 << 30
"""Bytes of a file that a server made."""
LONGEST_SECONDS = 600.0
"""For one request and its answer, where nothing else is specified."""
_LARGEST_REFUSAL = 16 << 20
"""Bytes that are read of an unsuccessful answer."""
_LARGEST_PIECE = 1 << 20
_SENT_AT_ONCE = 16 << 10
_LONGEST_WAIT = 60.0
_LONGEST_RETRY_AFTER = 86400.0
_PROBE_SECONDS = 2.0
_TRANSFER_HEADERS = (b"content-encoding", b"content-length", b"transfer-encoding")
_NO_TLS_ANSWER = "no answer in TLS"

ERRORS: Mapping[type[Exception], tuple[type[ImagenError], str]] = {
    httpx.ConnectTimeout: (Unavailable, "{at} did not accept the connection in time."),
    httpx.ReadTimeout: (Unavailable, "{at} received the request but did not answer in time."),
    httpx.WriteTimeout: (Unavailable, "{at} stopped reading the request."),
    httpx.PoolTimeout: (Unavailable, "No connection to {at} became free in time."),
    httpx.ConnectError: (Unavailable, "{at} cannot be reached: {why}."),
    httpx.ReadError: (Unavailable, "The connection to {at} broke during the answer."),
    httpx.WriteError: (Unavailable, "The connection to {at} broke during the request."),
    httpx.CloseError: (Unavailable, "The connection to {at} could not be closed."),
    httpx.ProxyError: (Unavailable, "The proxy for {at} refused: {why}."),
    httpx.RemoteProtocolError: (
        Unavailable,
        "{at} closed the connection, or does not speak HTTP: {why}.",
    ),
    httpx.DecodingError: (Unavailable, "{at} sent an answer that cannot be decompressed: {why}."),
    httpx.TooManyRedirects: (BackendError, "{at} redirects in a circle."),
    httpx.UnsupportedProtocol: (ConfigError, "{at} is not an http or https URL: {why}."),
    httpx.InvalidURL: (ConfigError, "{at} is not a valid URL: {why}."),
    httpx.LocalProtocolError: (ConfigError, "The request to {at} cannot be sent: {why}."),
}
"""What each of httpx's errors means. Those that only a bug of imagen can raise are left out."""

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_PROXY_ERRORS: Mapping[type[Exception], str] = {
    httpx.ConnectError: "{proxy}, set in the environment, cannot be reached: {why}.",
    httpx.ConnectTimeout: "{proxy}, set in the environment, did not answer in time.",
    httpx.ProxyError: "{proxy} did not connect to {at}: {why}.",
    httpx.PoolTimeout: "No connection to {at} became free in time.",
}
_PROXY_REMEDY = (
    "Start the proxy, or correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY; NO_PROXY lists hosts that "
    "are reached without it."
)
_CA_REMEDY = (
    "Set the environment variable SSL_CERT_FILE, or `ca_file` where the backend has that key, to "
    "the certificate of the authority that signed the server's."
)
_CERTIFICATE_FAULTS: Mapping[int, tuple[str, str]] = {
    9: ("is not valid yet", "Check the clocks of this machine and of the server."),
    10: ("has expired", "Renew it on the server; check this machine's clock too."),
    18: (
        "is self-signed",
        "If the server is yours, set the environment variable SSL_CERT_FILE, or `ca_file` where "
        "the backend has that key, to a file with this certificate.",
    ),
    **dict.fromkeys((19, 20, 21), ("is from an unknown authority", _CA_REMEDY)),
    **dict.fromkeys(
        (62, 64),
        (
            "is for another host",
            "Use the host name of the certificate, or give the server a certificate for this one.",
        ),
    ),
}
"""By OpenSSL's number: what is wrong with a certificate, and what to do about it."""
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})
_ASKS_FOR_TLS = re.compile(rb"(?i)plain HTTP|HTTP request to an HTTPS").search
"""How nginx, Apache and Go answer plain http at a port for https."""
_SPEAKS_TLS = "speaks https, but was asked in plain http", "Begin its URL with https://."
_SPEAKS_HTTP = "does not speak https", "If it speaks plain http, begin its URL with http://."


class HttpClient:
    """A client of one server: it keeps connections alive, follows no redirect, and bounds the size
    and the time of every answer. For any number of threads.

    `tls` is the context from the function `tls`. Without it only http is spoken, so no time is
    spent on reading certificates. No proxy is used for this machine itself.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        connect_seconds: float = 10.0,
        read_seconds: float = 60.0,
        tls: ssl.SSLContext | None = None,
        network: Network | None = None,
    ) -> None:
        self._url = url
        self._network = network or Network()
        self._proxy = "" if network else _proxy_for(url)
        self._has_answered = False
        with translate_errors(url):
            base = httpx.URL(url)
        try:
            self._http = httpx.Client(
                base_url=base,
                headers={"Accept-Encoding": "gzip", **(headers or {})},
                timeout=timeouts(connect_seconds=connect_seconds, read_seconds=read_seconds),
                transport=_Transport(
                    tls or not url.startswith("http:"), self._proxy, self._network
                ),
                follow_redirects=False,
            )
        except ImportError as error:
            raise MissingDependency("socksio", "socks", purpose="a SOCKS proxy") from error
        except (ValueError, httpx.InvalidURL) as error:  # whose words may hold the password
            raise ConfigError(
                "The proxy in the environment (HTTP_PROXY, ALL_PROXY) cannot be used.",
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

    def abort(self) -> None:
        """Break off what other threads are requesting: their connections end at once."""
        self._network.abort()

    def request(
        self,
        method: str,
        path: str,
        *,
        limit: int | None = LARGEST_ANSWER,
        seconds: float = LONGEST_SECONDS,
        at: str = "",
        on_piece: Callable[[httpx.Response, bytes], None] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """The answer, read whole: a success of at most `limit` bytes after decompression, within
        so many `seconds`. With None the body of a success is not read. `on_piece` gets each piece
        of a success as it arrives.

        Raises BackendError that names the server, or `at`. `more` is passed to httpx.
        """
        at = at or self._url
        with within(seconds) as until, self._translate_errors(at, until):
            request = self._http.build_request(method, path, **more)
            response = self._http.send(request, stream=True)
            try:
                body = _read_body(response, limit, at, on_piece)
            finally:
                response.close()
            if response.status_code == 400 and not self._has_answered and _ASKS_FOR_TLS(body):
                raise _TlsExpected
            self._has_answered = True
        reason = response.extensions.get("reason_phrase", b"")
        headers = [(k, v) for k, v in response.headers.raw if k.lower() not in _TRANSFER_HEADERS]
        return httpx.Response(
            response.status_code,
            headers=headers,
            content=body,
            extensions={"reason_phrase": reason},
            request=request,
        )

    @contextmanager
    def _translate_errors(self, at: str, until: float) -> Iterator[None]:
        seconds = max(0.0, until - time.monotonic())
        try:
            with translate_errors(at, proxy=self._proxy):
                try:
                    yield
                except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                    if self._has_answered or self._proxy or not _speaks_tls(self._url):
                        raise
                    raise _TlsExpected from error
        except Unavailable as error:
            is_late = isinstance(foreign_cause(error), httpx.TimeoutException)
            if is_late and time.monotonic() >= until:
                through = (
                    f" (through the proxy {_without_user(self._proxy)})" if self._proxy else ""
                )
                message = f"{at}{through} did not finish its answer within {round(seconds, 1):g} s."
                raise error.replace(message=message) from error
            raise


def _proxy_for(url: str) -> str:
    """The proxy in the environment for a URL; "" for none."""
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.hostname or ""):
        return ""
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _without_user(proxy: str) -> str:
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _read_body(
    response: httpx.Response,
    limit: int | None,
    at: str,
    on_piece: Callable[[httpx.Response, bytes], None] | None,
) -> bytes:
    """The body, decompressed; of a refusal, its beginning. Raises BackendError for a larger one."""
    if limit is None and response.is_success:
        return b""
    most = limit if limit is not None and response.is_success else _LARGEST_REFUSAL
    body = BytesIO()  # rather than a list: pieces may be tiny and many
    for piece in _decompress(response):
        if body.write(piece) and body.tell() > most:
            if not response.is_success:
                break
            size = f"{most >> 30} GB" if most >= 1 << 30 else f"{most >> 20} MB"
            raise BackendError(f"{at} sent more than {size}, the most that imagen reads at once.")
        if on_piece is not None and response.is_success:
            on_piece(response, piece)
    return body.getvalue()


def _decompress(response: httpx.Response) -> Iterator[bytes]:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        yield from response.iter_raw()
        return
    if encoding not in ("gzip", "x-gzip"):  # others were not accepted
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
            raise httpx.DecodingError("it is cut off")
    except zlib.error as error:
        raise httpx.DecodingError(str(error)) from error


class _Transport(httpx.HTTPTransport):
    """httpx's transport, whose connections keep the deadline of the request that uses them."""

    def __init__(
        self,
        verify: ssl.SSLContext | bool,
        proxy: str,
        network: Network,
    ) -> None:
        super().__init__(verify=verify, proxy=proxy or None)
        self._socks_errors: tuple[type[Exception], ...] = ()
        if proxy.startswith("socks"):
            from socksio import SOCKSError  # which httpx does not translate

            self._socks_errors = (SOCKSError, AssertionError)
        # httpx has no argument for it; test_http_limits fails where a later one ignores this.
        self._pool._network_backend = network

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        _thread.opened = []
        try:
            return super().handle_request(request)
        except Exception as error:
            for stream in _thread.opened:  # httpcore forgets one whose SOCKS proxy refuses
                stream.close()
            if isinstance(error, self._socks_errors):
                raise httpx.ProxyError("it does not answer like a SOCKS proxy") from error
            raise


class Network(httpcore.SyncBackend):
    """The operating system's network, where the deadline of the request bounds each wait."""

    def __init__(self) -> None:
        self._open: WeakSet[_TimedStream] = WeakSet()

    def abort(self) -> None:
        """End every connection; a thread that waits for one continues at once."""
        for stream in list(self._open):
            stream.abort()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _time_left(timeout, httpcore.ConnectTimeout)
        stream = super().connect_tcp(host, port, left, local_address, socket_options)
        _thread.opened.append(stream)
        return _TimedStream(stream, self._open)


class _TimedStream(httpcore.NetworkStream):
    """A connection on which no request outlasts its deadline, however slowly bytes arrive."""

    def __init__(self, stream: httpcore.NetworkStream, opened: WeakSet[_TimedStream]) -> None:
        self._stream = stream
        self._opened = opened
        opened.add(self)

    def abort(self) -> None:
        with suppress(OSError):  # it was closed meanwhile
            # Not the method of a TLS socket, which would drop the encryption under its reader.
            socket.socket.shutdown(self._stream.get_extra_info("socket"), socket.SHUT_RDWR)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _time_left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _SENT_AT_ONCE):
            left = _time_left(timeout, httpcore.WriteTimeout)
            self._stream.write(buffer[start : start + _SENT_AT_ONCE], left)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _time_left(timeout, httpcore.ConnectTimeout)
        try:
            return _TimedStream(
                self._stream.start_tls(ssl_context, server_hostname, left), self._opened
            )
        except httpcore.ConnectTimeout as error:
            raise httpcore.ConnectTimeout(_NO_TLS_ANSWER) from error

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        self._stream.close()


_thread = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[float]:
    """Bounds every request of this thread in the block; yields the time at which it ends."""
    outer = getattr(_thread, "until", math.inf)
    _thread.until = min(outer, time.monotonic() + seconds)
    try:
        yield _thread.until
    finally:
        _thread.until = outer


def _time_left(timeout: float | None, late: type[Exception]) -> float:
    """How long one wait may take: until the deadline at most."""
    left = getattr(_thread, "until", math.inf) - time.monotonic()
    if left <= 0:
        raise late("the deadline has passed")
    return min(_LONGEST_WAIT if timeout is None else timeout, left)


def timeouts(*, connect_seconds: float, read_seconds: float) -> httpx.Timeout:
    """How long to wait for a connection, and for each next part of an answer."""
    return httpx.Timeout(read_seconds, connect=connect_seconds)


def tls(url: str, ca_file: Path | None) -> ssl.SSLContext | None:
    """The context that verifies an https server; None for any other URL."""
    if urlsplit(url).scheme != "https":
        return None
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"ca_file {str(ca_file)!r} cannot be used: {error}.") from error


@contextmanager
def translate_errors(at: str, *, proxy: str = "") -> Iterator[None]:
    """Turns httpx's errors into imagen's; `at` is the URL to name in them."""
    try:
        yield
    except tuple(ERRORS) as error:
        fault = tls_fault(error)
        if fault is not None:
            what, remedy = fault
            raise Unavailable(f"{at} {what}.", remedy=remedy) from error
        # The system's words without its number.
        why = re.sub(r"^\[(Errno|WinError) -?\d+\] ", "", one_line(str(error))).rstrip(".")
        why = why or type(error).__name__
        if proxy and isinstance(error, _NEVER_SENT):
            raise Unavailable(
                _PROXY_ERRORS[type(error)].format(
                    at=at, why=why, proxy=f"The proxy {_without_user(proxy)}"
                ),
                remedy=_PROXY_REMEDY,
            ) from error
        if proxy:
            at = f"{at} (through the proxy {_without_user(proxy)})"
        kind, sentence = ERRORS[next(one for one in type(error).__mro__ if one in ERRORS)]
        raise kind(sentence.format(at=at, why=why)) from error


def tls_fault(error: BaseException | None) -> tuple[str, str] | None:
    """What is wrong in TLS, and what to do about it."""
    if isinstance(error, _TlsExpected):
        return _SPEAKS_TLS
    if isinstance(error, httpx.ConnectTimeout) and str(error) == _NO_TLS_ANSWER:
        return "accepted the connection but did not answer in https", _SPEAKS_HTTP[1]
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            number = getattr(error, "verify_code", 0)
            if number in _CERTIFICATE_FAULTS:
                what, remedy = _CERTIFICATE_FAULTS[number]
                return f"cannot be trusted: its certificate {what}", remedy
            return f"cannot be trusted: {one_line(str(error)).rstrip('.')}", _CA_REMEDY
        if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
            return _SPEAKS_HTTP
        error = error.__cause__ or error.__context__
    return None


class _TlsExpected(httpx.ConnectError):
    """A server that was asked in plain http speaks TLS: it did not understand the request."""

    def __init__(self) -> None:
        super().__init__("speaks TLS")


def _speaks_tls(url: str) -> bool:
    """Whether a server answers in TLS, whatever its certificate."""
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
    """Whether the request behind this error was certainly never sent."""
    return isinstance(foreign_cause(error), _NEVER_SENT)


def is_unanswered(error: BaseException) -> bool:
    """Whether the request behind this error was sent, and not answered in time."""
    return isinstance(foreign_cause(error), httpx.ReadTimeout)


def is_timeout(error: BaseException) -> bool:
    """Whether the connection was not accepted in time: another attempt would double that time."""
    return isinstance(foreign_cause(error), httpx.ConnectTimeout)


def is_connection_refused(error: BaseException) -> bool:
    """Whether nothing answers at the address: connections are refused, or break.

    A server that is slow, a network that is down, or a gateway that reports an error is another
    matter: there may be a server.
    """
    cause = foreign_cause(error)
    if not isinstance(cause, httpx.ConnectError):
        return isinstance(cause, httpx.RemoteProtocolError | httpx.ReadError)
    while cause is not None and not isinstance(cause, ConnectionRefusedError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def describe_lost_submission(error: BackendError, at: str) -> str:
    """What happened to a submission that was not answered as expected; begins a sentence."""
    if is_unanswered(error):
        return f"{at} does not answer"
    if isinstance(foreign_cause(error), httpx.TransportError):
        return f"{at} broke off while the job was submitted"
    return error.message.rstrip(".")


def check_response(response: httpx.Response, at: str, *, credential: str = "") -> httpx.Response:
    """The response, if it is a success; `credential` says what to set where access is refused."""
    if response.is_success:
        return response
    raise response_error(response, at, credential=credential)


def response_error(response: httpx.Response, at: str, *, credential: str = "") -> BackendError:
    """What an unsuccessful answer means."""
    status = response.status_code
    text = one_line(response.text, limit=300)
    if not text or text.startswith("<"):
        text = one_line(response.reason_phrase)
    answer = f"{status} {text.rstrip('.')}".rstrip()
    if status in (401, 403):
        return Unauthorized(f"{at} refused access: {answer}.", remedy=credential)
    if status == 429:
        # The other form of Retry-After, a date, is left to the pauses of the retry policy.
        seconds: float | None = None
        with suppress(ValueError):
            seconds = float(response.headers.get("retry-after", ""))
        if seconds is not None and not 0 <= seconds <= _LONGEST_RETRY_AFTER:
            seconds = None
        return RateLimited(f"{at} limits the rate: {answer}.", retry_after_seconds=seconds)
    if response.is_redirect:
        target = one_line(response.headers.get("location", "nowhere"))
        return BackendError(
            f"{at} redirects to {target}, and redirects are not followed.",
            remedy="If that is the right server, put its URL into `url`.",
        )
    if response.is_server_error or status == 408:
        return Unavailable(f"{at} reports an error: {answer}.")
    return Rejected(f"{at} refused the request: {answer}.")
