"""HTTP for adapters: one client factory, and one place where httpx's errors become ours."""

from __future__ import annotations

import re
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

import httpx

from imagen.backends.addresses import is_loopback
from imagen.errors import (
    BackendError,
    ConfigError,
    ImagenError,
    RateLimited,
    Rejected,
    Unauthorized,
    Unavailable,
)
from imagen.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LONGEST_RETRY_AFTER = 86400.0

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


def client(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    connect_seconds: float = 10.0,
    read_seconds: float = 60.0,
    tls: ssl.SSLContext | None = None,
) -> httpx.Client:
    """A client that keeps connections alive, follows no redirect, and uses no proxy at home.

    `tls` is what the function of that name gives; without it nothing but http is spoken, so no time
    goes into reading certificates.
    """
    with translated(url):
        base = httpx.URL(url)
    try:
        return httpx.Client(
            base_url=base,
            headers=headers,
            timeout=timeouts(connect_seconds=connect_seconds, read_seconds=read_seconds),
            verify=tls or not url.startswith("http:"),
            follow_redirects=False,
            trust_env=not is_loopback(url),
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        # What else it says may hold the proxy's password.
        why = f": {error}" if isinstance(error, ImportError) else "."
        raise ConfigError(
            f"The proxy that the environment names (HTTP_PROXY, ALL_PROXY) can't be used{why}",
            remedy="It must look like http://host:port.",
        ) from error


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
def translated(at: str) -> Iterator[None]:
    """Turns httpx's errors into ours; `at` is the address to name in them."""
    try:
        yield
    except tuple(ERRORS) as error:
        _raise_ours(error, at)


def _raise_ours(error: Exception, at: str) -> NoReturn:
    if _is_about_certificates(error):
        raise Unavailable(
            f"{at} can't be trusted: {one_line(str(error))}.",
            remedy="Set the environment variable SSL_CERT_FILE, or `ca_file` where the backend has "
            "that key, to the certificate of the authority that signed the server's.",
        ) from error
    ours, sentence = ERRORS[next(kind for kind in type(error).__mro__ if kind in ERRORS)]
    raise ours(sentence.format(at=at, why=_reason(error))) from error


def _reason(error: Exception) -> str:
    """In the system's words, without its number."""
    return _NUMBERED.sub("", one_line(str(error))).rstrip(".") or type(error).__name__


def _is_about_certificates(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def never_sent(error: BaseException) -> bool:
    """Whether the request behind this error of ours certainly never left."""
    return isinstance(error.__cause__, _NEVER_SENT)


def never_answered(error: BaseException) -> bool:
    """Whether the request behind this error was taken, and nothing came back in time."""
    return isinstance(error.__cause__, httpx.ReadTimeout)


def was_too_slow(error: BaseException) -> bool:
    """Whether the time for making a connection has passed: to begin again would double it."""
    return isinstance(error.__cause__, httpx.ConnectTimeout)


def is_nobody_there(error: BaseException) -> bool:
    """Whether nothing answers at the address: it refuses connections, or the line breaks.

    A server that is slow, a network that is down, or a gateway that tells of trouble is another
    matter: it may be there.
    """
    cause = error.__cause__
    if isinstance(cause, httpx.ConnectError):
        return _was_refused(cause)
    return isinstance(cause, httpx.RemoteProtocolError | httpx.ReadError)


def _was_refused(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error is not None


def answered(response: httpx.Response, at: str, *, credential: str = "") -> httpx.Response:
    """The response, if it is a success; `credential` says what to set where there is none."""
    if response.is_success:
        return response
    raise refusal(response, at, credential=credential)


def refusal(response: httpx.Response, at: str, *, credential: str = "") -> BackendError:
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
