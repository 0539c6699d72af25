"""The addresses of the page, and its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.live_server import live_server, server_settings

from imagen.config import ServerSettings
from imagen.server.routes import page

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer


@pytest.fixture
def built_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small page, as the build leaves one."""
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text('<script src="./assets/index-1.js"></script>')
    (folder / "assets" / "index-1.js").write_text("let page = 1;\n" * 100)
    (tmp_path / "secret.js").write_text("secret")
    monkeypatch.setattr(page, "BUILT_PAGE", folder)
    return folder


@pytest.mark.usefixtures("built_page")
@pytest.mark.parametrize(
    ("path", "script"),
    [
        ("/", "./assets/index-1.js"),
        ("/compare", "./assets/index-1.js"),
        ("/image/0a.1", "../assets/index-1.js"),
        ("/arena/ranking", "../assets/index-1.js"),
        ("/compare/0a/edit", "../../assets/index-1.js"),
    ],
)
def test_every_address_of_the_page_has_its_html(path: str, script: str, live: LiveServer) -> None:
    answer = live.client.get(path)
    assert answer.status_code == 200
    assert f'src="{script}"' in answer.text
    assert answer.headers["cache-control"] == "no-cache"
    assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.usefixtures("built_page")
def test_the_page_works_below_a_base_path(tmp_path: Path) -> None:
    settings = server_settings(folder=tmp_path, server=ServerSettings(base_path="/studio"))
    with live_server(settings) as server:
        for path in ("/studio/image/0a.1", "/image/0a.1"):  # as the proxy keeps or removes it
            assert 'src="../assets/index-1.js"' in server.client.get(path).text


@pytest.mark.usefixtures("built_page")
def test_files_of_the_page_are_compressed_and_kept_for_a_year(live: LiveServer) -> None:
    answer = live.client.get("/assets/index-1.js")
    assert answer.text.startswith("let page")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    plain = live.client.get("/assets/index-1.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == answer.text


@pytest.mark.usefixtures("built_page")
@pytest.mark.parametrize(
    "path",
    ["/assets/none.js", "/assets/..%2f..%2fsecret.js", "/assets/%2e%2e/secret.js", "/other"],
)
def test_other_files_are_not_found(path: str, live: LiveServer) -> None:
    assert live.client.get(path).status_code == 404


@pytest.mark.usefixtures("built_page")
def test_the_page_needs_no_token_but_its_data_does(tmp_path: Path) -> None:
    with live_server(server_settings(folder=tmp_path), secret="a-long-secret-token") as server:
        for path in ("/", "/settings", "/assets/index-1.js"):
            assert server.client.get(path).status_code == 200
        assert server.client.get("/api/v1/images").status_code == 401


def test_without_a_built_page_the_server_says_how_to_build_it(
    live: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "BUILT_PAGE", tmp_path / "none")
    answer = live.client.get("/")
    assert answer.status_code == 200
    assert "python scripts/build_web.py" in answer.text
