"""Albums, saved views, facets and zip files over HTTP."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import pytest
from support.image_server import COLOURS, image_server, uid_of

from imagen.library import find_image_by_id
from imagen.library.trash import move_to_trash
from imagen.runtime.image_archive import unique_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.live_server import LiveServer

_API = "/api/v1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with image_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[LiveServer]:
    """A server for one test, which deletes images."""
    with image_server(tmp_path) as server:
        yield server


def _open_zip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}
        return {one.filename: archive.read(one) for one in archive.infolist()}


def test_an_album_is_created_changed_and_deleted(server: LiveServer) -> None:
    client = server.client
    body = {"name": "Foxes", "images": [uid_of(1), uid_of(2)]}
    album = client.post(f"{_API}/albums", json=body).raise_for_status().json()
    assert (album["name"], album["images"], album["cover"]) == ("Foxes", 2, uid_of(2))
    place = f"{_API}/albums/{album['id']}"
    change = {"name": "Red", "add": [uid_of(3)], "remove": [uid_of(1)]}
    changed = client.patch(place, json=change).raise_for_status().json()
    assert (changed["name"], changed["images"], changed["cover"]) == ("Red", 2, uid_of(3))
    assert client.get(f"{_API}/albums").json() == [changed] == [client.get(place).json()]
    found = client.get(f"{_API}/images", params={"album": album["id"]}).json()["images"]
    assert [image["uid"] for image in found] == [uid_of(3), uid_of(2)]
    facets = client.get(f"{_API}/facets").json()
    assert facets["albums"] == [{"name": album["id"], "images": 2}]
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == 404
    assert client.get(f"{_API}/facets").json()["albums"] == []


def test_an_album_with_an_unknown_image_is_not_created(server: LiveServer) -> None:
    body = {"name": "Foxes", "images": [f"{uid_of(0)[:-1]}9"]}
    assert server.client.post(f"{_API}/albums", json=body).status_code == 404
    assert server.client.get(f"{_API}/albums").json() == []


def test_views_are_saved_and_deleted(server: LiveServer) -> None:
    client = server.client
    body = {"name": "Best", "filters": {"q": "fox", "star": "1"}}
    view = client.post(f"{_API}/saved-views", json=body).raise_for_status().json()
    assert view["filters"] == body["filters"]
    place = f"{_API}/saved-views/{view['id']}"
    assert client.patch(place, json={"name": "Better"}).json()["name"] == "Better"
    assert [one["name"] for one in client.get(f"{_API}/saved-views").json()] == ["Better"]
    assert client.delete(place).status_code == 204
    assert client.delete(place).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("albums", {"name": ""}),
        ("albums", {"name": "x" * 150}),
        ("saved-views", {"name": "x", "filters": {"q": 1}}),
        ("saved-views", {"name": "x", "filters": {"q": "x" * 2001}}),
    ],
)
def test_wrong_names_and_filters_are_refused(
    server: LiveServer, path: str, body: dict[str, object]
) -> None:
    assert server.client.post(f"{_API}/{path}", json=body).status_code == 400


@pytest.mark.parametrize(
    ("filters", "colours"),
    [
        ({"shape": "landscape", "text": "red"}, ["red"]),
        ({"shape": "square"}, []),
        ({"size": "64x48", "text": "blue"}, ["blue"]),
        ({"cost": "free", "text": "green"}, ["green"]),
        ({"cost": "paid"}, []),
        ({"max_cost": "0.5", "text": "grey"}, ["grey"]),
        ({"model": ["nope", "dream.safetensors"], "text": "white"}, ["white"]),
        ({"lora": "ink"}, []),
        ({"album": "unknown"}, []),
    ],
)
def test_images_and_facets_take_the_same_filters(
    server: LiveServer, filters: dict[str, str], colours: list[str]
) -> None:
    found = server.client.get(f"{_API}/images", params=filters).raise_for_status().json()
    assert [image["prompt"].split()[1] for image in found["images"]] == colours
    facets = server.client.get(f"{_API}/facets", params=filters).raise_for_status().json()
    assert facets["total"] == len(colours)
    index = server.client.get(f"{_API}/images/index", params=filters).raise_for_status().content
    assert int.from_bytes(index[24:28], "little") == len(colours)


@pytest.mark.parametrize("query", ["size=64", "shape=round", "cost=cheap", "max_cost=-1"])
def test_a_wrong_filter_is_refused(server: LiveServer, query: str) -> None:
    assert server.client.get(f"{_API}/facets?{query}").status_code == 400


def test_a_zip_file_has_the_files_as_they_are(server: LiveServer) -> None:
    folder = server.runtime.settings.output.directory
    answer = server.client.get(f"{_API}/images/zip", params={"ids": f"{uid_of(0)},{uid_of(2)}"})
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].startswith('attachment; filename="imagen-')
    assert _open_zip(answer.content) == {
        name: (folder / name).read_bytes() for name in ("fox-red.png", "fox-blue.png")
    }


def test_a_zip_file_may_have_all_that_match_or_come_from_a_form(server: LiveServer) -> None:
    every = _open_zip(server.client.get(f"{_API}/images/zip").content)
    assert set(every) == {f"fox-{colour}.png" for colour in COLOURS}
    form = server.client.post(f"{_API}/images/zip", data={"ids": uid_of(1)})
    assert set(_open_zip(form.content)) == {"fox-green.png"}


def test_a_zip_file_says_what_is_not_in_it(own_server: LiveServer) -> None:
    library, folder = own_server.runtime.library, own_server.runtime.settings.output.directory
    move_to_trash(library, find_image_by_id(library, uid_of(0)))
    (folder / "fox-green.png").unlink()
    ids = ",".join(map(uid_of, (0, 1, 2)))
    parts = _open_zip(own_server.client.get(f"{_API}/images/zip", params={"ids": ids}).content)
    assert set(parts) == {"fox-red.png", "fox-blue.png", "not-included.txt"}
    assert parts["not-included.txt"].decode().startswith(f"{uid_of(1)}: ")
    none = own_server.client.get(f"{_API}/images/zip", params={"ids": uid_of(1)})
    assert none.status_code == 404


def test_names_in_a_zip_file_are_unique() -> None:
    taken = {"fox.png", "fox (2).png"}
    assert unique_name("Fox.png", taken) == "Fox (3).png"
    assert unique_name("owl.png", taken) == "owl.png"
    assert unique_name("fox", {"fox"}) == "fox (2)"
