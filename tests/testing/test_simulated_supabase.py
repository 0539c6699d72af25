"""The simulated Supabase answers in the forms of the real one: Storage, PostgREST, keys."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from simulators.supabase import (
    ANON_KEY,
    BUCKET,
    IMAGES,
    SERVICE_KEY,
    Bucket,
    Supabase,
    SupabaseSwitches,
    key,
)
from simulators.supabase.tokens import signed

if TYPE_CHECKING:
    from collections.abc import Iterator


BEARER = {"Authorization": f"Bearer {SERVICE_KEY}", "apikey": SERVICE_KEY}
PNG = {"Content-Type": "image/png"}
ROW = {
    "id": "11111111-2222-4333-8444-555555555555",
    "owner_user_id": "99999999-8888-4777-8666-555555555555",
    "bucket": BUCKET,
    "path": "a.png",
    "backend": "studio",
}


def service_client(cloud: Supabase) -> httpx.Client:
    """A client with the service key."""
    return httpx.Client(base_url=cloud.url, headers=BEARER, trust_env=False)


def other_client(cloud: Supabase, token: str = "") -> httpx.Client:
    """A client with another key, or without one."""
    headers = {"Authorization": f"Bearer {token}", "apikey": token} if token else {}
    return httpx.Client(base_url=cloud.url, headers=headers, trust_env=False)


def upload(http: httpx.Client, path: str = "a.png", **headers: str) -> httpx.Response:
    """Upload three bytes to this path."""
    place = f"/storage/v1/object/{BUCKET}/{path}"
    return http.post(place, content=b"png", headers=PNG | headers)


def insert(http: httpx.Client, row: Any, **more: Any) -> httpx.Response:
    """Insert a row into imagen.images."""
    headers = {"Content-Profile": "imagen", **more.pop("headers", {})}
    return http.post("/rest/v1/images", json=row, headers=headers, **more)


def refusal_of(answer: httpx.Response) -> tuple[int, str, str, str, str]:
    """A refusal of Storage: the HTTP status, and the body."""
    content = answer.json()
    hidden = content["statusCode"], content["error"], content["message"], content["code"]
    return (answer.status_code, *hidden)


_DOTS = f"Invalid key: {BUCKET}/../x.png contains dot path segment"
Refusal = tuple[int, str, str, str, str]


@pytest.fixture
def cloud() -> Iterator[Supabase]:
    bucket = Bucket(name=BUCKET, file_size_limit=10, allowed_mime_types=("image/png",))
    with Supabase(buckets=[bucket]) as cloud:
        yield cloud


@pytest.fixture
def http(cloud: Supabase) -> Iterator[httpx.Client]:
    with service_client(cloud) as client:
        yield client


def test_bucket_reports_whether_it_is_public(http: httpx.Client) -> None:
    content = http.get(f"/storage/v1/bucket/{BUCKET}").json()
    assert (content["id"], content["public"], content["file_size_limit"]) == (BUCKET, False, 10)
    assert content["allowed_mime_types"] == ["image/png"]


def test_bucket_can_be_created_once(http: httpx.Client) -> None:
    wanted = {"id": "more", "name": "more", "public": True}
    assert http.post("/storage/v1/bucket", json=wanted).json() == {"name": "more"}
    assert refusal_of(http.post("/storage/v1/bucket", json=wanted)) == (
        *(400, "409", "Duplicate", "The resource already exists", "BucketAlreadyExists"),
    )


def test_upload_returns_its_key(http: httpx.Client, cloud: Supabase) -> None:
    answer = upload(http)
    assert (answer.status_code, answer.json()["Key"]) == (200, f"{BUCKET}/a.png")
    assert cloud.objects[BUCKET, "a.png"].data == b"png"


def test_upload_to_an_existing_path_is_a_duplicate(http: httpx.Client) -> None:
    upload(http)
    assert refusal_of(upload(http)) == (
        *(400, "409", "Duplicate", "The resource already exists", "KeyAlreadyExists"),
    )


def test_upsert_keeps_the_id(http: httpx.Client) -> None:
    first = upload(http).json()
    assert upload(http, **{"x-upsert": "true"}).json() == first
    put = http.put(f"/storage/v1/object/{BUCKET}/a.png", content=b"new", headers=PNG)
    assert put.json() == first


@pytest.mark.parametrize(
    ("path", "kind", "content", "refusal"),
    [
        pytest.param(
            f"{BUCKET}/a%5Bb%5D.png",
            "image/png",
            b"x",
            (400, "400", "InvalidKey", "Invalid key: a[b].png", "InvalidKey"),
            id="key",
        ),
        pytest.param(
            f"{BUCKET}/..%2Fx.png",
            "image/png",
            b"x",
            (*(400, "400", "InvalidKey"), _DOTS, "InvalidKey"),
            id="dots",
        ),
        pytest.param(
            "nope/x.png",
            "image/png",
            b"x",
            (400, "404", "Bucket not found", "Bucket not found", "NoSuchBucket"),
            id="bucket",
        ),
        pytest.param(
            f"{BUCKET}/x.txt",
            "text/plain",
            b"x",
            (
                *(400, "415", "invalid_mime_type", "mime type text/plain is not supported"),
                "InvalidMimeType",
            ),
            id="type",
        ),
        pytest.param(
            f"{BUCKET}/x.png",
            "image/png",
            b"x" * 11,
            (
                *(400, "413", "Payload too large"),
                *("The object exceeded the maximum allowed size", "EntityTooLarge"),
            ),
            id="size",
        ),
    ],
)
def test_storage_sends_the_real_status_in_the_body(
    http: httpx.Client, path: str, kind: str, content: bytes, refusal: Refusal
) -> None:
    headers = {"Content-Type": kind}
    answer = http.post(f"/storage/v1/object/{path}", content=content, headers=headers)
    assert refusal_of(answer) == refusal


def test_empty_upload_is_accepted(http: httpx.Client) -> None:
    answer = http.post(f"/storage/v1/object/{BUCKET}/a.png", content=b"", headers=PNG)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("token", "message"),
    [
        pytest.param("x", "Invalid Compact JWS", id="garbage"),
        pytest.param(key("service_role", secret="y"), "signature verification failed", id="other"),
        pytest.param(
            key("service_role", expires=1.0), '"exp" claim timestamp check failed', id="expired"
        ),
        pytest.param(ANON_KEY, "new row violates row-level security policy", id="anon"),
    ],
)
def test_upload_without_the_service_key_is_refused(
    cloud: Supabase, token: str, message: str
) -> None:
    with other_client(cloud, token) as http:
        assert refusal_of(upload(http)) == (400, "403", "Unauthorized", message, "AccessDenied")


def test_upload_needs_the_authorization_header(cloud: Supabase) -> None:
    with other_client(cloud) as http:
        answer = upload(http)
    assert refusal_of(answer)[3:] == (
        "headers must have required property 'authorization'",
        "InvalidRequest",
    )


def test_private_object_is_not_found_without_the_service_key(
    cloud: Supabase, http: httpx.Client
) -> None:
    upload(http)
    with other_client(cloud) as other:
        plain = other.get(f"/storage/v1/object/{BUCKET}/a.png")
        public = other.get(f"/storage/v1/object/public/{BUCKET}/a.png")
    assert (refusal_of(plain)[4], refusal_of(public)[4]) == ("NoSuchBucket", "NoSuchBucket")


def test_public_bucket_is_readable_by_everybody() -> None:
    with Supabase(buckets=[Bucket(name="open", public=True)]) as cloud, other_client(cloud) as http:
        http.post("/storage/v1/object/open/a.png", content=b"png", headers=PNG | BEARER)
        assert http.get("/storage/v1/object/public/open/a.png").content == b"png"


@pytest.mark.parametrize("place", ["object", "object/authenticated"])
def test_object_can_be_downloaded(http: httpx.Client, place: str) -> None:
    upload(http)
    answer = http.get(f"/storage/v1/{place}/{BUCKET}/a.png")
    assert (answer.content, answer.headers["content-type"]) == (b"png", "image/png")
    assert answer.headers["etag"] == '"bff139fa05ac583f685a523ab3d110a0"'


def test_head_has_no_body(http: httpx.Client) -> None:
    upload(http)
    answer = http.head(f"/storage/v1/object/{BUCKET}/a.png")
    assert (answer.headers["content-length"], answer.content) == ("3", b"")


def test_object_info_describes_the_object(http: httpx.Client) -> None:
    upload(http, **{"x-metadata": b64encode(b'{"whose":"websocket"}').decode()})
    content = http.get(f"/storage/v1/object/info/{BUCKET}/a.png").json()
    assert (content["name"], content["size"], content["content_type"]) == ("a.png", 3, "image/png")
    assert content["metadata"] == {"whose": "websocket"}


def test_metadata_that_is_not_json_is_empty(http: httpx.Client) -> None:
    upload(http, **{"x-metadata": "&&&"})
    assert http.get(f"/storage/v1/object/info/{BUCKET}/a.png").json()["metadata"] == {}


def test_missing_object_is_not_found(http: httpx.Client) -> None:
    answer = http.get(f"/storage/v1/object/{BUCKET}/none.png")
    assert refusal_of(answer) == (400, "404", "not_found", "Object not found", "NoSuchKey")
    assert refusal_of(http.put(f"/storage/v1/object/{BUCKET}/none.png"))[4] == "NoSuchKey"


def test_object_can_be_deleted_once(http: httpx.Client) -> None:
    upload(http)
    path = f"/storage/v1/object/{BUCKET}/a.png"
    assert http.delete(path).json() == {"message": "Successfully deleted"}
    assert refusal_of(http.delete(path))[4] == "NoSuchKey"


def _signed(http: httpx.Client, seconds: Any = 60) -> httpx.Response:
    upload(http)
    body = {} if seconds is None else {"expiresIn": seconds}
    return http.post(f"/storage/v1/object/sign/{BUCKET}/a.png", json=body)


def test_signed_url_serves_everybody(cloud: Supabase, http: httpx.Client) -> None:
    link = _signed(http).json()["signedURL"]
    assert link.startswith(f"/object/sign/{BUCKET}/a.png?token=")
    with other_client(cloud) as other:
        answer = other.get(f"/storage/v1{link}&download=cat.png")
    assert answer.content == b"png"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=cat.png; filename*=UTF-8''cat.png"
    )


def test_signed_url_is_for_one_object_and_expires(cloud: Supabase, http: httpx.Client) -> None:
    link = _signed(http).json()["signedURL"]
    upload(http, "b.png")
    expired = signed({"url": f"{BUCKET}/a.png", "exp": 1.0})
    with other_client(cloud) as other:
        another = other.get(f"/storage/v1{link.replace('a.png', 'b.png')}")
        tampered = other.get(f"/storage/v1{link}x")
        late = other.get(f"/storage/v1/object/sign/{BUCKET}/a.png?token={expired}")
    assert [refusal_of(answer)[3] for answer in (another, tampered, late)] == [
        "signature verification failed",
        "signature verification failed",
        '"exp" claim timestamp check failed',
    ]


@pytest.mark.parametrize(
    ("seconds", "message"),
    [(None, "body must have required property 'expiresIn'"), (0, "body/expiresIn must be >= 1")],
)
def test_signing_requires_a_valid_expiry(http: httpx.Client, seconds: Any, message: str) -> None:
    assert refusal_of(_signed(http, seconds))[3:] == (message, "InvalidRequest")


def test_missing_object_is_not_signed(http: httpx.Client) -> None:
    answer = http.post(f"/storage/v1/object/sign/{BUCKET}/none.png", json={"expiresIn": 60})
    assert refusal_of(answer)[4] == "NoSuchKey"


def test_unknown_storage_route_is_404(http: httpx.Client) -> None:
    answer = http.get("/storage/v1/nope")
    content = {"message": "Route GET:/nope not found", "error": "Not Found", "statusCode": 404}
    assert (answer.status_code, answer.json()) == (404, content)


def test_inserted_row_is_not_returned_by_default(http: httpx.Client, cloud: Supabase) -> None:
    answer = insert(http, ROW)
    assert (answer.status_code, answer.content) == (201, b"")
    assert [(row["id"], row["tags"]) for row in cloud.rows("imagen", "images")] == [(ROW["id"], [])]


def test_inserted_row_is_returned_with_return_representation(http: httpx.Client) -> None:
    answer = insert(http, [ROW], headers={"Prefer": "return=representation"})
    assert [row["path"] for row in answer.json()] == ["a.png"]
    assert answer.headers["preference-applied"] == "return=representation"


def test_existing_key_is_a_conflict(http: httpx.Client) -> None:
    insert(http, ROW)
    answer = insert(http, ROW)
    assert (answer.status_code, answer.headers["proxy-status"]) == (409, "PostgREST; error=23505")
    assert answer.json() == {
        "code": "23505",
        "message": 'duplicate key value violates unique constraint "images_pkey"',
        "details": f"Key (id)=({ROW['id']}) already exists.",
        "hint": None,
    }


@pytest.mark.parametrize(("way", "path"), [("ignore", "a.png"), ("merge", "b.png")])
def test_conflict_is_resolved_by_preference(
    http: httpx.Client, cloud: Supabase, way: str, path: str
) -> None:
    insert(http, ROW)
    answer = insert(
        http,
        ROW | {"path": "b.png"},
        params={"on_conflict": "id"},
        headers={"Prefer": f"resolution={way}-duplicates"},
    )
    assert answer.status_code == 201
    assert [row["path"] for row in cloud.rows("imagen", "images")] == [path]


@pytest.mark.parametrize(
    ("row", "more", "status", "code"),
    [
        pytest.param(ROW, {"headers": {"Content-Profile": "x"}}, 406, "PGRST106", id="schema"),
        pytest.param(ROW, {"headers": {"Content-Profile": "mai"}}, 404, "PGRST205", id="table"),
        pytest.param(ROW | {"mood": "x"}, {}, 400, "PGRST204", id="column"),
        pytest.param([ROW, {"id": "x"}], {}, 400, "PGRST102", id="keys"),
        pytest.param(ROW | {"id": "x"}, {}, 400, "22P02", id="uuid"),
        pytest.param(ROW | {"path": None}, {}, 400, "23502", id="null"),
        pytest.param(ROW | {"path": "a\0"}, {}, 400, "22P05", id="NUL"),
        pytest.param(ROW, {"params": {"on_conflict": "path"}}, 400, "42P10", id="conflict"),
    ],
)
def test_invalid_row_is_refused(
    http: httpx.Client, row: Any, more: dict[str, Any], status: int, code: str
) -> None:
    answer = insert(http, row, **more)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_invalid_json_is_refused(http: httpx.Client) -> None:
    answer = http.post("/rest/v1/images", content=b"{", headers={"Content-Profile": "imagen"})
    assert answer.json()["message"] == "Empty or invalid json"


def test_unexposed_schema_is_refused_with_the_exposed_ones(http: httpx.Client) -> None:
    answer = insert(http, ROW, headers={"Content-Profile": "secret"})
    assert answer.json()["message"] == "Invalid schema: secret"
    assert answer.json()["hint"] == ("Only the following schemas are exposed: public, imagen, mai")


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        pytest.param(ANON_KEY, 401, "42501", id="anon"),
        pytest.param(key("authenticated"), 403, "42501", id="user"),
        pytest.param("x", 401, "PGRST301", id="garbage"),
        pytest.param(key("service_role", expires=1.0), 401, "PGRST303", id="expired"),
    ],
)
def test_insert_without_the_service_key_is_refused(
    cloud: Supabase, token: str, status: int, code: str
) -> None:
    with other_client(cloud, token) as http:
        answer = insert(http, ROW)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_gateway_requires_an_api_key(cloud: Supabase) -> None:
    with other_client(cloud) as http:
        answer = insert(http, ROW)
    assert (answer.status_code, answer.json()["message"]) == (401, "No API key found in request")


def test_api_key_without_a_token_is_anonymous(cloud: Supabase) -> None:
    with other_client(cloud) as http:
        answer = insert(http, ROW, headers={"apikey": SERVICE_KEY})
    assert (answer.status_code, answer.json()["code"]) == (401, "42501")


def test_rows_can_be_selected(http: httpx.Client) -> None:
    insert(http, ROW)
    insert(http, ROW | {"id": "22222222-2222-4333-8444-555555555555", "path": "b.png"})
    profile = {"Accept-Profile": "imagen"}
    chosen = {"path": "eq.b.png", "select": "path,backend", "limit": "5"}
    answer = http.get("/rest/v1/images", params=chosen, headers=profile)
    assert answer.json() == [{"path": "b.png", "backend": "studio"}]


def test_delete_is_not_supported(http: httpx.Client) -> None:
    answer = http.delete("/rest/v1/images", headers={"Content-Profile": "imagen"})
    assert answer.status_code == 405


def test_table_may_lack_columns() -> None:
    with Supabase(tables=[IMAGES.without("steps")]) as cloud, service_client(cloud) as http:
        refused = insert(http, ROW | {"steps": 4})
        insert(http, ROW)
        (row,) = cloud.rows("imagen", "images")
    assert (refused.status_code, refused.json()["code"]) == (400, "PGRST204")
    assert refused.json()["message"] == (
        "Could not find the 'steps' column of 'images' in the schema cache"
    )
    assert "steps" not in row


def test_lost_upload_is_stored(http: httpx.Client, cloud: Supabase) -> None:
    cloud.switches = SupabaseSwitches(lost_uploads=1)
    with pytest.raises(httpx.RemoteProtocolError):
        upload(http)
    assert list(cloud.objects) == [(BUCKET, "a.png")]


def test_lost_insert_is_stored(http: httpx.Client, cloud: Supabase) -> None:
    cloud.switches = SupabaseSwitches(lost_inserts=1)
    with pytest.raises(httpx.RemoteProtocolError):
        insert(http, ROW)
    assert len(cloud.rows("imagen", "images")) == 1


def test_wrong_key_refuses_every_key(http: httpx.Client, cloud: Supabase) -> None:
    cloud.switches = SupabaseSwitches(wrong_key=True)
    assert refusal_of(upload(http))[3] == "signature verification failed"
    assert insert(http, ROW).json()["code"] == "PGRST301"


def test_path_outside_storage_and_rest_is_404(http: httpx.Client) -> None:
    assert http.get("/auth/v1/user").status_code == 404


def test_restart_keeps_port_and_objects(http: httpx.Client, cloud: Supabase) -> None:
    upload(http)
    url = cloud.url
    cloud.stop()
    cloud.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/storage/v1/bucket/{BUCKET}", trust_env=False)
    cloud.start()
    cloud.start()
    assert (cloud.url, list(cloud.objects)) == (url, [(BUCKET, "a.png")])
