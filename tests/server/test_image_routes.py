"""Images of the library are found, shown, marked, trashed and deleted over HTTP."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.image_server import COLOURS, image_server, uid_of
from support.library_samples import make_image, make_record

from imagen.cli import run
from imagen.library import find_image_by_id, record_generation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer

_NEWEST = len(COLOURS) - 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server whose images the tests do not move."""
    with image_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[LiveServer]:
    """A server for one test, which deletes images."""
    with image_server(tmp_path) as server:
        yield server


def _get(server: LiveServer, path: str, **params: Any) -> Any:
    return server.client.get(f"/api/v1/{path}", params=params).raise_for_status().json()


def _found(server: LiveServer, **params: Any) -> list[str]:
    return [image["uid"] for image in _get(server, "images", **params)["images"]]


def test_images_are_listed_in_pages(server: LiveServer) -> None:
    first = _get(server, "images", limit=5)
    assert [image["uid"] for image in first["images"]] == [uid_of(n) for n in range(7, 2, -1)]
    assert first["after"] == uid_of(3)
    last = _get(server, "images", limit=5, after=first["after"])
    assert [image["uid"] for image in last["images"]] == [uid_of(n) for n in (2, 1, 0)]
    assert last["after"] is None


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({"text": "orange"}, [5]),
        ({"text": "fox -red", "limit": 2}, [7, 6]),
        ({"backend": "studio"}, [6, 4, 2, 0]),
        ({"backend": "stu\0dio", "text": "blue"}, [2]),
        ({"model": "dream.safetensors", "text": "red"}, [0]),
        ({"since": "2026-11-27T12:06:00Z"}, [7, 6]),
        ({"until": "2026-11-27T12:01:00Z"}, [0]),
        ({"trash": "true"}, []),
        ({"missing": "true"}, []),
        ({"tag": "nowhere"}, []),
        ({"ids": f"{uid_of(1)},{uid_of(4)},unknown.1,{uid_of(2)}"}, [1, 4, 2]),
        ({"after": "99999999999999999999"[:19], "limit": 1}, [7]),
    ],
)
def test_images_are_filtered(
    server: LiveServer, filters: dict[str, str | int], numbers: list[int]
) -> None:
    assert _found(server, **filters) == [uid_of(number) for number in numbers]


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("images?nope=1", 400, "nope: "),
        ("images?rating=6", 400, "rating: "),
        ("images?limit=0", 400, "limit: "),
        ("images?text=-", 400, ""),
        ("images?since=0001-01-01", 400, "since: "),
        ("images?tag=,", 400, "not a valid tag"),
        ("images?after=unknown", 404, "was not found"),
        ("failures?after=ffffffff", 400, "was not found"),
        ("images/ffffffff-0000-4000-8000-000000000000.1", 404, "was not found"),
        ("images/ffffffff-0000-4000-8000-000000000000.1/file", 404, "was not found"),
        ("images/ffffffff-0000-4000-8000-000000000000.1/thumbnail", 404, "was not found"),
        ("images/%2e%2e%2fout%2ffox-red.png", 404, ""),
        ("images/fox-red.png/file", 404, "was not found"),
        ("images/%00/file", 404, "was not found"),
        ("images/0000000/use", 400, "matches several"),
    ],
)
def test_a_wrong_question_is_a_problem(
    server: LiveServer, path: str, status: int, sentence: str
) -> None:
    answer = server.client.get(f"/api/v1/{path}")
    assert (answer.status_code, sentence in answer.text) == (status, True), answer.text


def test_an_id_never_names_a_file(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a file in the working directory whose name looks like an id."""
    monkeypatch.chdir(server.runtime.settings.output.directory)
    Path("abc").write_bytes(Path("fox-red.png").read_bytes())
    assert server.client.get("/api/v1/images/abc/file").status_code == 404


def test_an_image_is_shown_as_the_command_shows_it(
    server: LiveServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = server.runtime.settings
    monkeypatch.setenv("IMAGEN_LIBRARY", settings.library_at)
    monkeypatch.setenv("IMAGEN_STATE", str(settings.state_dir))
    shown = _get(server, f"images/{uid_of(1)}")
    run(["show", uid_of(1), "--json"])
    assert shown == json.loads(capsys.readouterr().out)
    run(["history", "--json"])
    assert _get(server, "images", limit=20) == json.loads(capsys.readouterr().out)
    run(["history", "--failed", "--json"])
    assert _get(server, "failures") == json.loads(capsys.readouterr().out)


def test_metadata_are_those_of_the_sidecar(server: LiveServer) -> None:
    sidecar = _get(server, f"images/{uid_of(1)}/metadata")
    assert (sidecar["file"], sidecar["ticket"]) == ("fox-green.png", uid_of(1)[:-2])
    assert str(server.runtime.settings.output.directory) not in json.dumps(sidecar)


def test_marks_of_one_image_and_of_several(server: LiveServer) -> None:
    client, before = server.client, server.runtime.store.last_event()
    body: dict[str, Any] = {"add_tags": ["Night", "for mother"], "rating": 4}
    one = client.patch(f"/api/v1/images/{uid_of(0)}", json=body).raise_for_status().json()
    assert (one["tags"], one["rating"]) == (["for mother", "night"], 4)
    body = {"images": [uid_of(0), uid_of(2)], "remove_tags": ["night"], "add_tags": ["x"]}
    both = client.patch("/api/v1/images", json=body).raise_for_status().json()["images"]
    assert [image["tags"] for image in both] == [["for mother", "x"], ["x"]]
    assert both[0]["rating"] == 4
    assert _found(server, tag="x") == [uid_of(2), uid_of(0)]
    assert _get(server, "tags") == [
        {"name": "for mother", "images": 1},
        {"name": "x", "images": 2},
    ]
    facets = _get(server, "facets")
    assert facets["ratings"] == [{"name": "4", "images": 1}]
    assert facets["backends"] == [{"name": "other", "images": 4}, {"name": "studio", "images": 4}]
    unrated = client.patch(f"/api/v1/images/{uid_of(0)}", json={"rating": None}).json()
    assert (unrated["rating"], unrated["tags"]) == (None, ["for mother", "x"])
    assert _get(server, "facets")["ratings"] == []
    kinds = {event.kind for event in server.runtime.store.events_after(before)}
    assert kinds == {"images_changed"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", f"images/{uid_of(0)}", {"rating": 6}),
        ("PATCH", f"images/{uid_of(0)}", {"add_tags": ["a,b"]}),
        ("PATCH", f"images/{uid_of(0)}", {"tags": ["a"]}),
        ("PATCH", "images", {"images": []}),
        ("POST", "trash/restore", {"images": [uid_of(0)]}),
        ("POST", "trash/empty", {"images": [uid_of(0)]}),
        ("POST", "trash/empty", {"images": [], "older_than_days": 1}),
    ],
)
def test_a_wrong_change_is_refused(
    server: LiveServer, method: str, path: str, body: dict[str, Any]
) -> None:
    assert server.client.request(method, f"/api/v1/{path}", json=body).status_code == 400


def test_images_go_to_the_trash_and_back_and_are_deleted(own_server: LiveServer) -> None:
    client, out = own_server.client, own_server.runtime.settings.output.directory
    client.delete(f"/api/v1/images/{uid_of(1)}").raise_for_status()
    client.post("/api/v1/trash", json={"images": [uid_of(2), uid_of(2)]}).raise_for_status()
    assert _found(own_server, trash=True) == [uid_of(2), uid_of(1)]
    assert not (out / "fox-green.png").exists()
    assert client.get(f"/api/v1/images/{uid_of(1)}/file").status_code == 200
    (out / "fox-green.png").write_bytes(b"another file")
    restore = client.post("/api/v1/trash/restore", json={"images": [uid_of(1)]})
    assert (restore.status_code, "another file" in restore.text) == (409, True)
    (out / "fox-green.png").unlink()
    client.post("/api/v1/trash/restore", json={"images": [uid_of(1)]}).raise_for_status()
    assert (out / "fox-green.png").exists()
    client.get(f"/api/v1/images/{uid_of(2)}/thumbnail?size=640").raise_for_status()
    made = own_server.runtime.settings.state_dir / "thumbnails"
    assert len([*made.glob("*/640.webp")]) == 1
    young = client.post("/api/v1/trash/empty", json={"older_than_days": 1}).json()
    assert young == {"images": [], "left": []}
    deleted = client.post("/api/v1/trash/empty", json={}).raise_for_status().json()
    assert [image["uid"] for image in deleted["images"]] == [uid_of(2)]
    assert client.get(f"/api/v1/images/{uid_of(2)}").status_code == 404
    assert not [*made.glob("*/640.webp")]
    last = own_server.runtime.store.events_after(0)[-1]
    assert (last.kind, last.data) == ("images_removed", {"images": [uid_of(2)]})


def test_an_image_of_another_machine_is_shown_but_not_trashed(own_server: LiveServer) -> None:
    from sqlalchemy import text

    library = own_server.runtime.library
    image = find_image_by_id(library, uid_of(0))
    own_server.runtime.blobs.put(image.path)
    with library.writing() as connection:
        elsewhere = "UPDATE images SET host = 'elsewhere', path = '/there/fox.png' WHERE id = :key"
        connection.execute(text(elsewhere), {"key": image.key})
    file = own_server.client.get(f"/api/v1/images/{uid_of(0)}/file").raise_for_status()
    assert file.content == image.path.read_bytes()
    refused = own_server.client.delete(f"/api/v1/images/{uid_of(0)}")
    assert (refused.status_code, "another machine" in refused.text) == (400, True)


def test_a_client_of_another_machine_learns_no_path(server: LiveServer) -> None:
    made = server.client.post("/api/v1/tokens", json={"name": "phone", "scope": "generate"})
    headers = {"Authorization": f"Bearer {made.raise_for_status().json()['token']}"}
    until = time.monotonic() + 10
    while server.client.get("/api/v1/session", headers=headers).json()["name"] != "phone":
        assert time.monotonic() < until  # tokens are read now and then
        time.sleep(0.05)
    folder = str(server.runtime.settings.output.directory.parent)
    for path in ("images", f"images/{uid_of(1)}", "failures", f"images/{uid_of(1)}/use"):
        answer = server.client.get(f"/api/v1/{path}", headers=headers)
        assert (answer.status_code, folder in answer.text) == (200, False), path
    image = server.client.get("/api/v1/images", headers=headers).json()["images"][0]
    assert [image[name] for name in ("path", "sidecar", "host", "trashed_from")] == [None] * 4
    assert folder in server.client.get("/api/v1/images").text
    number, image_file = 90, server.runtime.settings.output.directory / "gone.png"
    image_file.write_bytes(b"gone")
    record = make_record(number, images=(make_image(number, path=image_file),))
    record_generation(server.runtime.library, record)
    image_file.unlink()
    gone = server.client.get(f"/api/v1/images/{record.id}.1/file", headers=headers)
    assert (gone.status_code, folder in gone.text, "gone.png" in gone.text) == (404, False, True)
