"""The arena over HTTP: blind pairs, votes, the ranking, and what each scope may."""

from __future__ import annotations

import csv
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.live_server import live_server, server_settings

from imagen.library.tokens import add_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from support.live_server import LiveServer

_MODELS = ("kestrel", "osprey", "merlin")
_SMALL = {"width": 64, "height": 48}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with a comparison of three models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("server"))
        settings = server_settings({name: {"type": "mock"} for name in _MODELS})
    with live_server(settings) as server:
        _compare(server, "a hill")
        yield server


def _compare(server: LiveServer, prompt: str) -> str:
    body = {"request": {"prompt": prompt, "seed": 7, **_SMALL}, "models": [*_MODELS]}
    made = server.client.post("/api/v1/comparisons", json=body).raise_for_status().json()
    server.wait_for_job(made["job"])
    return str(made["id"])


def _post(server: LiveServer, path: str, **body: Any) -> httpx.Response:
    answer: httpx.Response = server.client.post(f"/api/v1/arena/{path}", json=body)
    return answer


def _draw(server: LiveServer, **body: Any) -> Any:
    return _post(server, "pairs", **body).raise_for_status().json()


def _ranking(server: LiveServer, **query: Any) -> Any:
    return server.client.get("/api/v1/arena/ranking", params=query).raise_for_status().json()


def test_sets_are_comparisons_of_several_models(server: LiveServer) -> None:
    (one,) = server.client.get("/api/v1/arena/sets").json()["sets"]
    assert (one["kind"], one["name"], one["contenders"]) == ("models", "a hill", 3)
    single = {"request": {"prompt": "alone", **_SMALL}, "models": ["osprey"]}
    made = server.client.post("/api/v1/comparisons", json=single).json()
    server.wait_for_job(made["job"])
    assert len(server.client.get("/api/v1/arena/sets").json()["sets"]) == 1


def test_nothing_tells_the_images_of_a_pair_apart(server: LiveServer) -> None:
    answers = [_post(server, "pairs", voter="spy")]
    pair = answers[0].json()
    answers += [
        server.client.get(f"/api/v1/arena/pairs/{pair['id']}/{side}") for side in ("left", "right")
    ]
    answers.append(server.client.get("/api/v1/arena/sets"))
    told = b"".join(
        b"".join(name + value for name, value in answer.headers.raw) + answer.content
        for answer in answers
    ).lower()
    hashes = [
        file["sha256"]
        for cell in server.client.get(f"/api/v1/comparisons/{_compare(server, 'a hill 2')}").json()[
            "cells"
        ]
        for file in cell["files"]
    ]
    for word in (*_MODELS, "mock", ".png", "exif", "xmp", "iccp", "etag", "disposition", *hashes):
        assert word.encode() not in told, word
    left, right = (Image.open(BytesIO(answer.content)) for answer in answers[1:3])
    assert (left.format, left.size, left.mode) == (right.format, right.size, right.mode)
    assert left.format == "WEBP"
    assert left.size == (pair["width"], pair["height"]) == (64, 48)
    names = [
        {name for name in answer.headers if name not in ("date", "content-length")}
        for answer in answers[1:3]
    ]
    assert names[0] == names[1]


def test_a_vote_reveals_the_two_and_is_counted_once(server: LiveServer) -> None:
    pair = _draw(server, voter="eve")
    assert (pair["number"], pair["voter"], pair["prompt"] in ("a hill", "a hill 2")) == (
        1,
        "eve",
        True,
    )
    body = {"pair": pair["id"], "choice": "left", "milliseconds": 1200, "key": "k"}
    first, again = (_post(server, "votes", **body) for _ in range(2))
    assert (first.status_code, again.json()) == (201, first.json())
    vote = first.json()
    assert {vote["left"]["backend"], vote["right"]["backend"]} < {*_MODELS}
    assert (vote["choice"], vote["voter"], vote["milliseconds"]) == ("left", "eve", 1200)
    other = _post(server, "votes", **body | {"key": "other"})
    assert (other.status_code, other.json()["code"]) == (400, "request")
    assert _draw(server, voter="eve")["number"] == 2


def test_undo_shows_the_pair_again(server: LiveServer) -> None:
    pair = _draw(server, voter="undo")
    vote = _post(server, "votes", pair=pair["id"], choice="right").json()
    undone = _post(server, "undo", voter="undo").json()
    assert (undone["vote"], undone["pair"]) == (vote["id"], pair)
    again = _post(server, "undo", voter="undo")
    assert (again.status_code, again.json()["detail"]) == (404, "There is no vote to undo.")
    assert _ranking(server, voter="undo")["votes"] == 0
    assert _post(server, "votes", pair=pair["id"], choice="tie").status_code == 201


def test_a_set_is_voted_on_whole_before_a_pair_comes_again(server: LiveServer) -> None:
    id = _compare(server, "a lake")
    seen = []
    for _ in range(6):
        pair = _draw(server, set=id, voter="all")
        vote = _post(server, "votes", pair=pair["id"], choice="skip").json()
        seen.append(frozenset((vote["left"]["image"], vote["right"]["image"])))
    assert len({*seen[:3]}) == len({*seen[3:]}) == 3


def test_the_next_pair_is_another_than_the_one_on_the_screen(server: LiveServer) -> None:
    id = _compare(server, "a river")
    first = _draw(server, set=id, voter="pre")
    second = _draw(server, set=id, voter="pre", besides=[first["id"]])
    votes = [
        _post(server, "votes", pair=pair["id"], choice="skip").json() for pair in (first, second)
    ]
    images = [{vote[side]["image"] for side in ("left", "right")} for vote in votes]
    assert images[0] != images[1]


def test_the_ranking_is_that_of_the_votes(server: LiveServer) -> None:
    id = _compare(server, "a forest")
    order = {name: n for n, name in enumerate(_MODELS)}
    for number in range(30):
        voter = "one" if number % 3 else "two"
        pair = _draw(server, set=id, voter=voter)
        # Voters cannot know; the test looks, votes, takes it back, and votes for the first.
        vote = _post(server, "votes", pair=pair["id"], choice="skip", key="look").json()
        _post(server, "undo", set=id, voter=voter)
        left, right = (order[vote[side]["backend"]] for side in ("left", "right"))
        _post(server, "votes", pair=pair["id"], choice="left" if left < right else "right")
    ranking = _ranking(server, set=id)
    assert [one["backend"] for one in ranking["contenders"]] == [*_MODELS]
    assert [one["rank_first"] for one in ranking["contenders"]][::2] == [1, 2]
    assert sum(one["votes"] for one in ranking["contenders"]) == 60
    assert (ranking["votes"], 0 < ranking["more_votes"] < 100) == (30, True)
    assert all(one["needs_more"] for one in ranking["contenders"])
    assert 0 <= ranking["left"]["low"] <= ranking["left"]["share"] <= ranking["left"]["high"] <= 1
    voters = {one["name"]: one["votes"] for one in ranking["voters"]}
    assert (voters["one"], voters["two"]) == (20, 10)
    (prompt,) = [one for one in ranking["prompts"] if one["name"] == "a forest"]
    assert _ranking(server, prompt=prompt["id"], voter="two")["votes"] == 10
    csv_file = server.client.get(f"/api/v1/arena/export?what=ranking&set={id}")
    assert csv_file.headers["content-disposition"] == 'attachment; filename="arena-ranking.csv"'
    rows = [*csv.DictReader(StringIO(csv_file.text))]
    assert [row["backend"] for row in rows] == [*_MODELS]
    votes = server.client.get(f"/api/v1/arena/export?set={id}&format=json").json()["votes"]
    assert votes == server.client.get(f"/api/v1/arena/votes?set={id}").json()["votes"]
    assert len(votes) == 30


def test_chosen_images_are_ranked(server: LiveServer) -> None:
    listed = server.client.get("/api/v1/images?limit=3").json()["images"]
    uids = [image["uid"] for image in listed]
    made = _post(server, "sets", images=uids, name="=best").json()
    assert (made["kind"], made["contenders"], made["votes"]) == ("images", 3, 0)
    pair = _draw(server, set=made["id"])
    assert (pair["kind"], pair["prompt"]) == ("images", "")
    vote = _post(server, "votes", pair=pair["id"], choice="left").json()
    ranking = _ranking(server, set=made["id"])
    assert ranking["contenders"][0]["image"] == vote["left"]["image"]
    assert {one["image"] for one in ranking["contenders"]} == {*uids}
    assert _ranking(server)["kind"] == "models"
    # An image in the trash is not shown any more.
    server.client.post("/api/v1/trash", json={"images": uids[:2]}).raise_for_status()
    gone = _post(server, "pairs", set=made["id"])
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
    assert "at least two models" in gone.json()["remedy"]


def test_images_of_other_sizes_are_shown_in_one(server: LiveServer) -> None:
    for size in ({"width": 64, "height": 128}, {"width": 128, "height": 128}):
        body = {"request": {"prompt": "sizes", "seed": 1, **size}, "backend": "osprey"}
        server.wait_for_job(server.client.post("/api/v1/generations", json=body).json()["jobs"][0])
    uids = [one["uid"] for one in server.client.get("/api/v1/images?text=sizes").json()["images"]]
    made = _post(server, "sets", images=uids).json()
    pair = _draw(server, set=made["id"])
    files = [
        server.client.get(f"/api/v1/arena/pairs/{pair['id']}/{side}") for side in ("left", "right")
    ]
    assert {Image.open(BytesIO(file.content)).size for file in files} == {
        (pair["width"], pair["height"])
    }


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("pairs", {"set": "compare-nope"}, 404, "no set 'compare-nope'"),
        ("pairs", {"set": "../out"}, 404, "no set '../out'"),
        ("pairs", {"voter": "x" * 65}, 400, "at most 64 characters"),
        ("pairs", {"voter": "a\u202eb"}, 400, "at most 64 characters"),
        ("votes", {"pair": "x", "choice": "left"}, 404, "no pair 'x'"),
        ("votes", {"pair": "x", "choice": "best"}, 400, "choice"),
        ("sets", {"images": ["abc123.1", "abc124.1"]}, 400, "at least two images"),
        ("undo", {"set": "compare-nope"}, 404, "no set"),
    ],
)
def test_a_wrong_body_gets_a_sentence(
    server: LiveServer, path: str, body: dict[str, Any], status: int, sentence: str
) -> None:
    answer = _post(server, path, **body)
    assert (answer.status_code, sentence in answer.json()["detail"]) == (status, True), answer.text


def test_only_pairs_that_were_drawn_have_images(server: LiveServer) -> None:
    assert server.client.get("/api/v1/arena/pairs/x/left").status_code == 404
    pair = _draw(server)
    assert server.client.get(f"/api/v1/arena/pairs/{pair['id']}/up").status_code == 400
    assert server.client.get("/api/v1/arena/ranking?prompt=x").status_code == 404
    assert server.client.get("/api/v1/arena/ranking?set=compare-x").status_code == 404


def test_tokens_vote_in_their_own_name_and_readers_only_look(
    server: LiveServer,
) -> None:
    library = server.runtime.library
    reader, ada = (
        add_token(library, "reader", ["read"]),
        add_token(library, "ada", ["read", "generate"]),
    )
    with live_server(server.runtime.settings, has_worker=False, is_public=True) as public:

        def as_(secret: str) -> dict[str, str]:
            return {"Authorization": f"Bearer {secret}"}

        client = public.client
        assert client.get("/api/v1/arena/ranking").status_code == 401
        for path in ("sets", "ranking", "votes", "export"):
            assert client.get(f"/api/v1/arena/{path}", headers=as_(reader)).status_code == 200
        for path in ("sets", "pairs", "votes", "undo"):
            answer = client.post(f"/api/v1/arena/{path}", json={}, headers=as_(reader))
            assert answer.status_code == 403, path
        names = [
            client.post("/api/v1/arena/pairs", json=body, headers=as_(ada)).json()["voter"]
            for body in ({}, {"voter": "bob"})
        ]
        assert names == ["ada", "ada/bob"]
