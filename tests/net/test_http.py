"""httpx's errors, and unsuccessful answers, become imagen's errors."""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from support.raw_server import RawServer, answer

from imagen.errors import (
    BackendError,
    ConfigError,
    ImagenError,
    MissingDependency,
    RateLimited,
    Rejected,
    Unauthorized,
    Unavailable,
    install_command,
)
from imagen.net import http

if TYPE_CHECKING:
    from pathlib import Path

AT = "http://studio:8188"

GENERAL = {"HTTPError", "RequestError", "TransportError", "TimeoutException", "NetworkError"}
GENERAL |= {"ProtocolError", "StreamError"}
"""Never raised themselves: something more particular is."""
MISTAKES = {"CookieConflict", "RequestNotRead", "ResponseNotRead", "StreamClosed", "StreamConsumed"}
"""Raised only by a bug of imagen, as is an error for a status: imagen checks statuses itself."""
MISTAKES |= {"HTTPStatusError"}


def test_every_error_of_httpx_is_translated() -> None:
    names = {
        name
        for name, kind in vars(httpx).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert {kind.__name__ for kind in http.ERRORS} == names - GENERAL - MISTAKES


@pytest.mark.parametrize(
    ("error", "ours", "sentence"),
    [
        pytest.param(
            httpx.ConnectError("[Errno 111] Connection refused"),
            Unavailable,
            "http://studio:8188 cannot be reached: Connection refused.",
            id="refused",
        ),
        pytest.param(
            httpx.ConnectTimeout("timed out"),
            Unavailable,
            "http://studio:8188 did not accept the connection in time.",
            id="slow to connect",
        ),
        pytest.param(
            httpx.ReadTimeout("timed out"),
            Unavailable,
            "http://studio:8188 received the request but did not answer in time.",
            id="slow to answer",
        ),
        pytest.param(
            httpx.RemoteProtocolError("Server disconnected\x1b[2J without sending a response."),
            Unavailable,
            "http://studio:8188 closed the connection, or does not speak HTTP: "
            "Server disconnected[2J without sending a response.",
            id="broke off",
        ),
        pytest.param(
            httpx.UnsupportedProtocol("no protocol"),
            ConfigError,
            "http://studio:8188 is not an http or https URL: no protocol.",
            id="another protocol",
        ),
    ],
)
def test_an_error_becomes_a_sentence(
    error: Exception, ours: type[ImagenError], sentence: str
) -> None:
    with pytest.raises(ImagenError) as caught, http.translate_errors(AT):
        raise error
    assert type(caught.value) is ours
    assert caught.value.message == sentence
    assert caught.value.__cause__ is error


def test_an_untrusted_certificate_says_where_to_name_its_authority() -> None:
    deep = httpx.ConnectError("certificate verify failed")
    deep.__cause__ = OSError("handshake")
    deep.__cause__.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    with pytest.raises(Unavailable) as caught, http.translate_errors(AT):
        raise deep
    assert "cannot be trusted" in caught.value.message
    assert "SSL_CERT_FILE, or `ca_file` where the backend has that key" in caught.value.remedy


def test_is_timeout_differs_from_a_refused_connection() -> None:
    assert http.is_timeout(_raised(httpx.ConnectTimeout("")))
    assert not http.is_timeout(_raised(httpx.ConnectError("")))


def test_other_exceptions_are_not_translated() -> None:
    with pytest.raises(KeyError), http.translate_errors(AT):
        raise KeyError("x")


@pytest.mark.parametrize(
    ("cause", "never"),
    [
        pytest.param(httpx.ConnectError(""), True, id="no connection"),
        pytest.param(httpx.ConnectTimeout(""), True, id="no connection in time"),
        pytest.param(httpx.ReadTimeout(""), False, id="no answer"),
        pytest.param(httpx.RemoteProtocolError(""), False, id="half an answer"),
    ],
)
def test_not_sent_is_true_only_before_the_request_left(cause: Exception, never: bool) -> None:
    with pytest.raises(Unavailable) as caught, http.translate_errors(AT):
        raise cause
    assert http.not_sent(caught.value) is never


def _raised(error: Exception, because: Exception | None = None) -> Unavailable:
    with pytest.raises(Unavailable) as caught, http.translate_errors(AT):
        raise error from because
    return caught.value


@pytest.mark.parametrize(
    ("error", "is_refused"),
    [
        pytest.param(_raised(httpx.ConnectError(""), ConnectionRefusedError()), True, id="refused"),
        pytest.param(_raised(httpx.ConnectError(""), OSError()), False, id="network down"),
        pytest.param(_raised(httpx.ReadTimeout("")), False, id="slow"),
        pytest.param(_raised(httpx.ReadError("")), True, id="broken line"),
        pytest.param(Unavailable("502"), False, id="a gateway's answer"),
    ],
)
def test_is_connection_refused_differs_from_a_slow_server(
    error: Unavailable, is_refused: bool
) -> None:
    assert http.is_connection_refused(error) is is_refused


@pytest.mark.parametrize(
    ("response", "ours", "sentence"),
    [
        pytest.param(
            httpx.Response(401, text="who are you"),
            Unauthorized,
            "http://studio:8188 refused access: 401 who are you.",
            id="401",
        ),
        pytest.param(
            httpx.Response(403, html="<html>no</html>"),
            Unauthorized,
            "http://studio:8188 refused access: 403 Forbidden.",
            id="403 in HTML",
        ),
        pytest.param(
            httpx.Response(429),
            RateLimited,
            "http://studio:8188 limits the rate: 429 Too Many Requests.",
            id="429",
        ),
        pytest.param(
            httpx.Response(503, text="warming\n\x1b[1mup."),
            Unavailable,
            "http://studio:8188 reports an error: 503 warming [1mup.",
            id="503",
        ),
        pytest.param(
            httpx.Response(302, headers={"location": "http://else/"}),
            BackendError,
            "http://studio:8188 redirects to http://else/, and redirects are not followed.",
            id="302",
        ),
        pytest.param(
            httpx.Response(418, text="teapot"),
            Rejected,
            "http://studio:8188 refused the request: 418 teapot.",
            id="418",
        ),
    ],
)
def test_each_status_becomes_an_error(
    response: httpx.Response, ours: type[BackendError], sentence: str
) -> None:
    error = http.response_error(response, AT)
    assert type(error) is ours
    assert error.message == sentence


def test_refused_access_says_what_to_set() -> None:
    assert http.response_error(httpx.Response(401), AT, credential="Set IT.").remedy == "Set IT."


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("0", 0.0, id="at once"),
        pytest.param("-1", None, id="negative"),
        pytest.param("nan", None, id="no number"),
        pytest.param("Wed, 21 Oct 2026 07:28:00 GMT", None, id="a date"),
    ],
)
def test_retry_after_is_read_in_seconds(told: str, seconds: float | None) -> None:
    error = http.response_error(httpx.Response(429, headers={"retry-after": told}), AT)
    assert isinstance(error, RateLimited)
    assert error.retry_after_seconds == seconds


def test_check_response_returns_a_success() -> None:
    response = httpx.Response(200)
    assert http.check_response(response, AT) is response


def test_certificates_are_read_for_https_only(tmp_path: Path) -> None:
    assert http.tls("http://studio:8188", tmp_path / "not-there.pem") is None
    assert isinstance(http.tls("https://studio", None), ssl.SSLContext)


def test_an_invalid_ca_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("not a certificate")
    with pytest.raises(ConfigError, match=r"ca_file '.*ca\.pem' cannot be used"):
        http.tls("https://studio", path)


@pytest.mark.parametrize(
    "proxy",
    [
        pytest.param("gopher://me:hunter2secret@nowhere", id="no such scheme"),
        pytest.param("http://me@nowhere:hunter2secret", id="no such port"),
    ],
)
def test_an_invalid_proxy_is_a_config_error(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ConfigError, match="The proxy in the environment") as caught:
        http.HttpClient("http://studio:8188")
    assert "hunter2" not in str(caught.value)


def test_a_socks_proxy_without_its_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://nowhere")
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(MissingDependency) as caught:
        http.HttpClient("http://studio:8188")
    assert str(caught.value) == (
        "The Python package 'socksio' is needed for a SOCKS proxy and is not installed.\n"
        f"Install it with: {install_command('socks')}"
    )


def test_an_invalid_url_is_not_blamed_on_a_proxy() -> None:
    with pytest.raises(ConfigError, match="is not a valid URL"):
        http.HttpClient("http://studio:port")


def test_no_proxy_is_used_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://nowhere")
    with RawServer(answer(b"here")) as server, http.HttpClient(server.url) as client:
        assert client.request("GET", "/").content == b"here"
