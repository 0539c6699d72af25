"""Who may use the server: names, origins, tokens, scopes and sessions, over real sockets."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme
from fastapi.routing import APIRoute, iter_route_contexts
from support.live_server import live_server, server_settings

from imagen.config import ServerSettings
from imagen.library.tokens import add_token, list_tokens, revoke_tokens
from imagen.runtime import open_runtime
from imagen.runtime.caller import scopes_up_to
from imagen.server.app import create_app
from imagen.server.security import is_open
from imagen.server.state import scope_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.live_server import LiveServer

_SECRET = "correct-horse-battery-staple"
_JOBS = "/api/v1/jobs"
_ME = "/api/v1/session"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server for this machine alone."""
    server = ServerSettings(
        allowed_hosts=("images.example.org", "*.lan"), cors_origins=("https://app.example.org",)
    )
    settings = server_settings(folder=tmp_path_factory.mktemp("local"), server=server)
    with live_server(settings, has_worker=False) as live:
        yield live


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that other machines can reach, below a path."""
    settings = server_settings(
        folder=tmp_path_factory.mktemp("public"), server=ServerSettings(base_path="/pics")
    )
    with live_server(settings, has_worker=False, is_public=True, secret=_SECRET) as live:
        yield live


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def _basic(secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{secret}".encode()).decode()}


def _raw(live: LiveServer, text: str) -> bytes:
    """The answer to these bytes, until the server closes the connection."""
    port = httpx.URL(live.url).port or 0
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text.replace("\n", "\r\n").encode("latin-1"))
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/pics/", 200),
        ("/pics/health", 200),
        ("/pics/v1/images/files/x/y", 404),
        ("/pics/v1/images", 401),
        ("/pics/api/v1/jobs", 401),
        ("/pics/healthy", 401),
        ("/pics/mcp", 401),
    ],
)
def test_few_paths_are_open_to_all(public: LiveServer, path: str, status: int) -> None:
    assert public.client.get(path).status_code == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8080", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("LOCALHOST.:1", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("192.168.1.5", 421),
        ("", 421),
        ("images.example.org", 401),
        ("a.lan", 401),
        ("lan", 421),
        ("evillan", 421),
    ],
)
def test_a_name_that_is_not_the_servers_is_refused(
    local: LiveServer, host: str, status: int
) -> None:
    """DNS rebinding: a page of evil.example whose name leads to this machine."""
    assert local.client.get(_JOBS, headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {}, 400),
        ("POST", {"Origin": "http://127.0.0.1:{port}"}, 400),
        ("POST", {"Origin": "https://evil.example"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("POST", {"Origin": "http://127.0.0.1:1"}, 403),
        ("POST", {"Origin": "https://app.example.org"}, 400),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", {"Sec-Fetch-Site": "same-site"}, 403),
        ("POST", {"Sec-Fetch-Site": "same-origin"}, 400),
        ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
        ("DELETE", {"Origin": "https://evil.example"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", {"Origin": "https://evil.example"}, 403),
        ("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
    ],
)
def test_a_page_of_another_server_is_refused(
    local: LiveServer, method: str, headers: dict[str, str], status: int
) -> None:
    port = httpx.URL(local.url).port
    headers = {name: value.format(port=port) for name, value in headers.items()}
    path = "/api/v1/generations" if method == "POST" else _JOBS
    assert local.client.request(method, path, headers=headers).status_code == status


def test_a_link_to_the_server_may_be_followed(local: LiveServer) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    for place, status in (("document", 200), ("iframe", 403)):
        answer = local.client.get(_JOBS, headers={**headers, "Sec-Fetch-Dest": place})
        assert answer.status_code == status


def test_only_configured_origins_get_cors_headers(local: LiveServer) -> None:
    asks = {"Access-Control-Request-Method": "POST"}
    for origin, allowed in (("https://app.example.org", True), ("https://evil.example", False)):
        answer = local.client.options(_JOBS, headers={"Origin": origin, **asks})
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
        answer = local.client.get(_JOBS, headers={"Origin": origin})
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed


@pytest.mark.parametrize("path", [_JOBS, "/nothing", "/api/v1/generations"])
def test_every_answer_has_the_headers_of_security(local: LiveServer, path: str) -> None:
    answer = local.client.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "server" not in answer.headers


@pytest.mark.parametrize("header", ["X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4"])
def test_what_a_proxy_passes_on_needs_a_token(local: LiveServer, header: str) -> None:
    name, _, value = header.partition(": ")
    assert local.client.get(_JOBS, headers={name: value}).status_code == 401


def test_the_key_of_a_client_that_needs_none_is_ignored(local: LiveServer) -> None:
    assert local.client.get(_JOBS, headers=_bearer("sk-anything")).status_code == 200


def test_a_public_server_answers_to_addresses(public: LiveServer) -> None:
    for host, status in (("192.168.1.5:8080", 401), ("[fe80::1]", 401), ("evil.example", 421)):
        assert public.client.get(_JOBS, headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (_bearer("wrong"), 401),
        (_bearer(_SECRET), 200),
        ({"Authorization": f"bearer  {_SECRET}"}, 200),
        (_basic(_SECRET), 200),
        (_basic("wrong"), 401),
        ({"Authorization": "Basic !!!"}, 401),
        ({"Authorization": f"Token {_SECRET}"}, 401),
        ({"Cookie": f"imagen_session={_SECRET}"}, 401),
        ({"Cookie": "imagen_session=9999999999.." + "0" * 64}, 401),
        ({"X-Forwarded-For": "127.0.0.1"}, 401),
    ],
)
def test_a_public_server_needs_a_token(
    public: LiveServer, headers: dict[str, str], status: int
) -> None:
    answer = public.client.get(_JOBS, headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["code"] == "unauthenticated"
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_route_that_does_not_exist_needs_a_token_too(public: LiveServer) -> None:
    for path in ("/nothing", "/api/v1/openapi.json", "/v1/models", "/sdapi/v1/options"):
        assert public.client.get(path).status_code == 401


def test_a_token_is_exchanged_for_a_cookie_that_scripts_cannot_read(public: LiveServer) -> None:
    with httpx.Client(base_url=public.url) as browser:
        assert browser.get(_ME).json() == {"name": "", "scopes": []}
        assert browser.post(_ME, json={"token": "wrong"}).status_code == 401
        answer = browser.post(f"/pics{_ME}", json={"token": _SECRET})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        for part in ("HttpOnly", "SameSite=strict", "Path=/pics", "Max-Age="):
            assert part in cookie
        assert _SECRET not in cookie
        assert "Secure" not in cookie
        assert browser.get(f"/pics{_ME}").json()["scopes"] == ["read", "generate", "admin"]
        evil = {"Sec-Fetch-Site": "cross-site"}
        assert browser.get(f"/pics{_JOBS}", headers=evil).status_code == 403
        assert browser.delete(f"/pics{_ME}").status_code == 204
        assert browser.get(f"/pics{_JOBS}").status_code == 401


def test_a_revoked_token_ends_with_its_sessions_and_streams(local: LiveServer) -> None:
    library = local.runtime.library
    secret = add_token(library, "phone", scopes_up_to("generate"))
    away = {"Host": "images.example.org"}
    until = time.monotonic() + 10
    with httpx.Client(base_url=local.url, headers=away, timeout=20) as browser:
        browser.post(_ME, json={"token": secret}).raise_for_status()
        cookie = browser.cookies["imagen_session"]
        browser.headers["Cookie"] = f"imagen_session={cookie}"
        assert browser.get(_ME).json()["name"] == "phone"
        with browser.stream("GET", "/api/v1/events") as stream:
            lines = stream.iter_lines()
            next(lines)
            revoke_tokens(library, ["phone"])
            while browser.get(_JOBS, headers=_bearer(secret)).status_code != 401:
                assert time.monotonic() < until
            assert browser.get(_JOBS).status_code == 401
            local.client.post("/api/v1/generations", json={"request": {"prompt": "a fox"}})
            for _ in lines:  # ends with the next event
                assert time.monotonic() < until


def test_a_session_cannot_be_changed(local: LiveServer) -> None:
    secret = add_token(local.runtime.library, "reader", scopes_up_to("read"))
    away = {"Host": "images.example.org"}
    answer = local.client.post(_ME, json={"token": secret}, headers=away)
    local.client.cookies.clear()
    value = answer.cookies["imagen_session"]
    ends, name, sign = value.split(".")
    later = f"{int(ends) + 1}.{name}.{sign}"
    for forged in (later, f"{ends}.admin.{sign}", f"{ends}.{name}.{'0' * 64}", f"1.{name}.{sign}"):
        headers = {**away, "Cookie": f"imagen_session={forged}"}
        assert local.client.get(_JOBS, headers=headers).status_code == 401
    headers = {**away, "Cookie": f"imagen_session={value}"}
    assert local.client.get(_JOBS, headers=headers).status_code == 200
    assert local.client.post("/api/v1/generations", json={}, headers=headers).status_code == 403


def test_an_expired_token_is_refused(local: LiveServer) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    secret = add_token(local.runtime.library, "old", ["read"], expires=past)
    away = {"Host": "images.example.org"}
    assert local.client.get(_JOBS, headers={**away, **_bearer(secret)}).status_code == 401


def test_tokens_are_managed_by_admins_and_shown_once(public: LiveServer) -> None:
    admin = _bearer(_SECRET)
    body = {"name": "kid", "rate": "2/1h", "budget_usd": 1, "days": 2}
    made = public.client.post("/api/v1/tokens", json=body, headers=admin)
    assert (made.status_code, made.json()["scopes"]) == (201, ["read", "generate"])
    listed = public.client.get("/api/v1/tokens", headers=admin)
    assert made.json()["token"] not in listed.text
    (token,) = listed.json()["tokens"]
    assert (token["rate"], token["budget_usd"], token["budget_per"]) == ("2/1h", 1.0, "month")
    assert list_tokens(public.runtime.library)[0].sha256 not in listed.text
    again = public.client.post("/api/v1/tokens", json=body, headers=admin)
    assert again.status_code == 400
    wrong = public.client.post("/api/v1/tokens", json={**body, "rate": "x"}, headers=admin)
    assert "10/1m" in wrong.json()["detail"]
    assert public.client.delete("/api/v1/tokens/kid", headers=admin).status_code == 204
    assert public.client.delete("/api/v1/tokens/kid", headers=admin).status_code == 404


def test_every_route_requires_a_scope(local: LiveServer) -> None:
    """Walk all routes: a token that may read changes nothing."""
    secret = add_token(local.runtime.library, "walker", ["read"])
    away = {"Host": "images.example.org"}
    reader = {**away, **_bearer(secret)}
    routes = [
        (one.path or "", method, scope_of(one.original_route))
        for one in iter_route_contexts(create_app(local.runtime).routes)
        if isinstance(one.original_route, APIRoute)
        for method in one.original_route.methods or ()
    ]
    assert len(routes) > 20
    for path, method, scope in routes:
        assert is_open(path) is (scope is None), path
        if scope in ("generate", "admin"):
            url = path.replace("{", "").replace("}", "").replace(":path", "")
            answer = local.client.request(method, url, headers=reader)
            assert answer.status_code == 403, (method, path)
    changing = {method for _, method, scope in routes if scope == "read"}
    assert changing <= {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("path", [f"/pics{_ME}", _ME])
def test_a_proxy_may_keep_or_remove_the_base_path(public: LiveServer, path: str) -> None:
    assert public.client.get(path, headers=_bearer(_SECRET)).json()["name"] == ""
    assert public.client.get("/picsx" + _JOBS, headers=_bearer(_SECRET)).status_code == 404


def test_headers_of_a_client_cannot_add_headers_to_an_answer(local: LiveServer) -> None:
    path = "/api/v1/jobs/%0d%0aX-Evil:%201/"
    answer = _raw(local, f"GET {path} HTTP/1.1\nHost: localhost\nConnection: close\n\n")
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"\r\nx-evil" not in head
    for text in ("GET / HTTP/1.1\nHost: localhost\nHost: evil\n\n", "GET /\x01 HTTP/1.1\n\n"):
        assert _raw(local, text).split(b" ", 2)[1] == b"400"


def test_a_slow_client_does_not_hinder_others(local: LiveServer) -> None:
    port = httpx.URL(local.url).port or 0
    slow = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(100)]
    try:
        for number, connection in enumerate(slow):
            body = "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
            connection.sendall(b"POST /api/v1/generations HTTP/1.1\r\nHost: localhost\r\n")
            if number % 2:
                connection.sendall(body.encode())
        assert local.client.get(_JOBS).status_code == 200
    finally:
        for connection in slow:
            connection.close()


def test_many_open_streams_delay_no_other_client(local: LiveServer) -> None:
    """benchmarks/server.py measures 1000."""
    port = httpx.URL(local.url).port or 0
    streams = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(150)]
    try:
        for connection in streams:
            connection.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert all(one.recv(12) == b"HTTP/1.1 200" for one in streams)
        assert local.client.get(_JOBS).status_code == 200
    finally:
        for connection in streams:
            connection.close()


def test_the_library_keeps_only_hashes(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = server_settings(folder=tmp_path_factory.mktemp("hashes"))
    with open_runtime(settings, has_worker=False) as runtime:
        secret = add_token(runtime.library, "phone", ["read"])
        assert secret not in repr(list_tokens(runtime.library))
        stored = [
            path.read_bytes() for path in (settings.state_dir.parent).rglob("*") if path.is_file()
        ]
    assert stored
    assert not any(secret.encode() in data for data in stored)


def test_tls_by_files(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    server = ServerSettings(tls_cert=cert, tls_key=key)
    settings = server_settings(folder=tmp_path, server=server)
    with live_server(settings, has_worker=False, secret=_SECRET) as live:
        assert live.url.startswith("https://")
        with httpx.Client(base_url=live.url, verify=trust) as browser:
            answer = browser.post(_ME, json={"token": _SECRET})
            assert "Secure" in answer.headers["set-cookie"]
            assert browser.get(_JOBS).status_code == 200


def test_nothing_gets_past_a_proxy_without_a_token(tmp_path: Path) -> None:
    """A proxy that hides the client's name and address, as nginx does by default."""
    server = ServerSettings(require_token=True)
    with live_server(server_settings(folder=tmp_path, server=server), has_worker=False) as live:
        assert live.client.get(_JOBS).status_code == 401
        secret = add_token(live.runtime.library, "phone", ["read"])
        assert live.client.get(_JOBS, headers=_bearer(secret)).status_code == 200


def test_only_trusted_proxies_say_who_the_client_is(tmp_path: Path) -> None:
    forwarded = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}
    for proxies, is_secure in ((("127.0.0.0/8",), True), (("10.0.0.1",), False)):
        server = ServerSettings(trusted_proxies=proxies)
        settings = server_settings(folder=tmp_path / proxies[0][:3], server=server)
        with live_server(settings, has_worker=False) as live:
            assert live.client.get(_JOBS).status_code == 401
            secret = add_token(live.runtime.library, "phone", ["read"])
            answer = live.client.post(_ME, json={"token": secret}, headers=forwarded)
            assert ("Secure" in answer.headers["set-cookie"]) is is_secure


def test_a_client_that_stops_sending_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagen.server.listen._HEADER_SECONDS", 0.2)
    monkeypatch.setattr("imagen.server.security._BODY_SECONDS", 0.2)
    with live_server(server_settings(folder=tmp_path), has_worker=False) as live:
        assert _raw(live, "GET / HTTP/1.1\nHost: loc") == b""
        post = "POST /api/v1/generations HTTP/1.1\nHost: localhost\nConnection: close\n"
        answer = _raw(live, f"{post}Content-Type: application/json\nContent-Length: 9\n\n{{")
        assert answer.split(b" ", 2)[1] == b"408"
        with socket.create_connection(("127.0.0.1", httpx.URL(live.url).port or 0)) as patient:
            for _ in range(2):  # a pause between requests is allowed
                patient.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert patient.recv(12) == b"HTTP/1.1 404"
                while b"not_found" not in patient.recv(65536):
                    pass
                time.sleep(0.3)
