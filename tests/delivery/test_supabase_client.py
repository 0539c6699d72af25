"""The client of a Supabase project: retries, refusals and ownership."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simulators.supabase import ANON_KEY, BUCKET, SERVICE_KEY, Supabase, Table, key
from support import generation_records as records
from support.raw_server import RawServer
from support.webhook_receiver import Receiver

from imagen.delivery.supabase import SupabaseClient as Client
from imagen.errors import (
    ImagenError,
    OutputError,
    RateLimited,
    Rejected,
    RequestError,
    Unauthorized,
    Unavailable,
)
from imagen.testing.http_server import HttpAnswer, json_answer

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from simulators.supabase import SupabaseSwitches

_ROW = {
    "id": records.ID,
    "owner_user_id": records.OWNER,
    "bucket": BUCKET,
    "path": "a.png",
    "backend": "studio",
}


@pytest.fixture
def cloud() -> Iterator[Supabase]:
    with Supabase() as cloud:
        yield cloud


def _client(url: str, token: str = SERVICE_KEY) -> Client:
    return Client(url, token, sleep=lambda _: None)


def _insert(
    cloud: Supabase, *, schema: str = "imagen", token: str = SERVICE_KEY, **row: Any
) -> None:
    with _client(cloud.url, token) as client:
        client.insert(schema, "images", _ROW | row)


def _upload(cloud: Supabase, *, owner: str = "me", data: bytes = b"png") -> bool:
    with _client(cloud.url) as client:
        return client.upload(BUCKET, "a.png", data, "image/png", owner=owner)


def test_temporary_errors_are_tried_three_times(cloud: Supabase) -> None:
    cloud.switches = _trouble(broken=3)
    with pytest.raises(Unavailable), _client(cloud.url) as client:
        client.bucket(BUCKET)
    assert len(cloud.requests) == 3


def test_a_timeout_is_not_retried() -> None:
    """It would double the deadline; the outbox comes back later."""

    def behave(connection: socket.socket) -> None:
        while connection.recv(65536):  # and no word in TLS
            pass

    with RawServer(behave) as server:
        url = f"https://127.0.0.1:{server.port}"
        with (
            Client(url, SERVICE_KEY, connect_seconds=0.2, sleep=lambda _: None) as client,
            pytest.raises(Unavailable, match="did not answer in https"),
        ):
            client.bucket(BUCKET)
        assert server.connections == 1


def _trouble(**switches: Any) -> SupabaseSwitches:
    from simulators.supabase import SupabaseSwitches

    return SupabaseSwitches(**switches)


def test_a_long_retry_after_is_not_waited_for(cloud: Supabase) -> None:
    cloud.switches = _trouble(throttled=9, throttle_seconds=30)
    with pytest.raises(RateLimited) as caught, _client(cloud.url) as client:
        client.bucket(BUCKET)
    assert (caught.value.retry_after_seconds, len(cloud.requests)) == (30.0, 1)


def test_a_refusal_is_not_retried(cloud: Supabase) -> None:
    with pytest.raises(Rejected), _client(cloud.url) as client:
        client.bucket("nope")
    assert len(cloud.requests) == 1


def test_a_path_of_another_owner_is_recognized(cloud: Supabase) -> None:
    assert [_upload(cloud, owner=owner) for owner in ("me", "me", "you")] == [True, True, False]


def test_ownership_falls_back_to_the_bytes(cloud: Supabase) -> None:
    cloud.switches = _trouble(forgets_metadata=True)
    assert [_upload(cloud, data=data) for data in (b"png", b"png", b"gnp")] == [True, True, False]


def test_an_object_deleted_meanwhile_is_not_owned() -> None:
    duplicate = {"statusCode": "409", "error": "Duplicate", "message": "x", "code": ""}
    missing = {"statusCode": "404", "error": "not_found", "message": "x", "code": "NoSuchKey"}
    answers = json_answer(duplicate, 400), json_answer(missing, 400)
    with Receiver(*answers) as there, _client(there.url) as client:
        assert client.upload(BUCKET, "a.png", b"x", "image/png", owner="me") is False


def test_an_empty_file_is_not_uploaded(cloud: Supabase) -> None:
    with pytest.raises(OutputError):
        _upload(cloud, data=b"")
    assert cloud.requests == []


@pytest.mark.parametrize("path", ["../secret", "a?download=1", "é.png"])
def test_an_invalid_path_is_not_requested(cloud: Supabase, path: str) -> None:
    with pytest.raises(RequestError), _client(cloud.url) as client:
        client.sign(BUCKET, path, seconds=60)
    assert cloud.requests == []


def test_an_existing_row_is_not_changed(cloud: Supabase) -> None:
    _insert(cloud, path="a.png")
    _insert(cloud, path="b.png")
    assert [row["path"] for row in cloud.rows("imagen", "images")] == ["a.png"]


def test_a_conflict_with_the_same_id_is_a_success() -> None:
    said = {"code": "23505", "message": "x", "details": f"Key (id)=({records.ID}) already exists."}
    with Receiver(json_answer(said, 409)) as there, _client(there.url) as client:
        client.insert("imagen", "images", _ROW)
        assert there.requests[0].path == "/rest/v1/images?on_conflict=id"


def test_any_other_conflict_is_an_error() -> None:
    said = {"code": "23505", "message": "x", "details": "Key (path)=(a.png) already exists."}
    with (
        Receiver(json_answer(said, 409)) as there,
        _client(there.url) as client,
        pytest.raises(Rejected, match=r"Key \(path\)=\(a\.png\) already exists"),
    ):
        client.insert("imagen", "images", _ROW)


@pytest.mark.parametrize(
    ("change", "code", "remedy"),
    [
        pytest.param({"schema": "x"}, "PGRST106", "Exposed schemas", id="schema"),
        pytest.param({"schema": "mai"}, "PGRST205", "docs/supabase.sql", id="table"),
        pytest.param({"mood": 1}, "PGRST204", "set another name in `cloud.db_table`", id="column"),
        pytest.param({"owner_user_id": "me"}, "22P02", "owner_user_id", id="owner"),
    ],
)
def test_a_refused_row_names_the_remedy(
    cloud: Supabase, change: dict[str, Any], code: str, remedy: str
) -> None:
    with pytest.raises(Rejected, match=code) as caught:
        _insert(cloud, **change)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("token", "code", "remedy"),
    [
        pytest.param(ANON_KEY, "42501", "Use the service key", id="anon"),
        pytest.param(key("authenticated"), "42501", "Use the service key", id="user"),
        pytest.param(key("service_role", secret="x"), "PGRST301", "the service key", id="other"),
        pytest.param(key("service_role", expires=1.0), "PGRST303", "service key", id="expired"),
    ],
)
def test_a_refused_key_names_the_remedy(
    cloud: Supabase, token: str, code: str, remedy: str
) -> None:
    with pytest.raises(Unauthorized, match=code) as caught:
        _insert(cloud, token=token)
    assert remedy in caught.value.remedy
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    ("hidden", "kind"),
    [
        ("404", Rejected),
        ("415", Rejected),
        ("403", Unauthorized),
        ("429", RateLimited),
        ("503", Unavailable),
        ("odd", Rejected),
    ],
)
def test_the_status_in_the_body_replaces_400(hidden: str, kind: type[ImagenError]) -> None:
    said = {"statusCode": hidden, "error": "e", "message": "No.", "code": "Any"}
    with (
        Receiver(json_answer(said, 400), times=3) as there,
        _client(there.url) as client,
        pytest.raises(kind, match="refused the request: No"),
    ):
        client.bucket(BUCKET)


def test_control_characters_of_a_server_are_removed() -> None:
    said = {"statusCode": "404", "message": "\x1b[31mred\nalert", "code": "\x1b]0;x"}
    with (
        Receiver(json_answer(said, 400)) as there,
        _client(there.url) as client,
        pytest.raises(Rejected) as caught,
    ):
        client.bucket(BUCKET)
    assert caught.value.message.endswith("refused the request: [31mred alert (404 ]0;x).")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(HttpAnswer(body=b"<html>welcome to the hotel</html>"), id="a portal"),
        pytest.param(json_answer({"signedURL": "https://elsewhere.example/x"}), id="elsewhere"),
        pytest.param(json_answer({"signedURL": "/object/sign/a\x1b[31m"}), id="control characters"),
    ],
)
def test_an_answer_of_another_server_is_not_accepted(answer: HttpAnswer) -> None:
    with (
        Receiver(answer) as there,
        _client(there.url) as client,
        pytest.raises(Unavailable, match="not from Supabase"),
    ):
        client.sign(BUCKET, "a.png", seconds=60)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(HttpAnswer(status=404, body=b"<html>"), Rejected, id="another server"),
        pytest.param(HttpAnswer(status=400, body=b"[1]"), Rejected, id="a list"),
        pytest.param(json_answer({"code": {"a": 1}}, 400), Rejected, id="unknown form"),
    ],
)
def test_a_refusal_of_unknown_form_is_still_an_error(
    answer: HttpAnswer, kind: type[ImagenError]
) -> None:
    with (
        Receiver(answer) as there,
        _client(there.url) as client,
        pytest.raises(kind),
    ):
        client.bucket(BUCKET)


def test_the_project_url_can_have_a_path() -> None:
    said = json_answer({"name": BUCKET, "public": True})
    with Receiver(said) as there, _client(f"{there.url}/base/") as client:
        assert client.bucket(BUCKET).is_public
        assert there.requests[0].path == f"/base/storage/v1/bucket/{BUCKET}"


def test_a_table_may_lack_optional_columns() -> None:
    small = Table(schema="imagen", name="images", columns={"id": "uuid"})
    with Supabase(tables=[small]) as cloud, pytest.raises(Rejected, match="PGRST204"):
        _insert(cloud)
