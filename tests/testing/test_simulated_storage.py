"""The Storage of a simulated Supabase answers in the forms of the real one."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from simulators.supabase import ANON_KEY, BUCKET, Bucket, Supabase, key
from simulators.supabase.tokens import signed
from support.supabase_client import BEARER, PNG, said, service, stranger, upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

_DOTS = f"Invalid key: {BUCKET}/../x.png contains dot path segment"
Refusal = tuple[int, str, str, str, str]


@pytest.fixture
def cloud() -> Iterator[Supabase]:
    bucket = Bucket(name=BUCKET, file_size_limit=10, allowed_mime_types=("image/png",))
    with Supabase(buckets=[bucket]) as cloud:
        yield cloud


@pytest.fixture
def http(cloud: Supabase) -> Iterator[httpx.Client]:
    with service(cloud) as client:
        yield client


def test_a_bucket_tells_whether_it_is_public(http: httpx.Client) -> None:
    told = http.get(f"/storage/v1/bucket/{BUCKET}").json()
    assert (told["id"], told["public"], told["file_size_limit"]) == (BUCKET, False, 10)
    assert told["allowed_mime_types"] == ["image/png"]


def test_a_bucket_can_be_made_once(http: httpx.Client) -> None:
    wanted = {"id": "more", "name": "more", "public": True}
    assert http.post("/storage/v1/bucket", json=wanted).json() == {"name": "more"}
    assert said(http.post("/storage/v1/bucket", json=wanted)) == (
        *(400, "409", "Duplicate", "The resource already exists", "BucketAlreadyExists"),
    )


def test_an_upload_is_answered_with_its_key(http: httpx.Client, cloud: Supabase) -> None:
    answer = upload(http)
    assert (answer.status_code, answer.json()["Key"]) == (200, f"{BUCKET}/a.png")
    assert cloud.objects[BUCKET, "a.png"].data == b"png"


def test_an_upload_to_a_path_that_is_taken_is_a_duplicate(http: httpx.Client) -> None:
    upload(http)
    assert said(upload(http)) == (
        *(400, "409", "Duplicate", "The resource already exists", "KeyAlreadyExists"),
    )


def test_an_upsert_keeps_the_id(http: httpx.Client) -> None:
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
def test_storage_hides_the_status_in_the_body(
    http: httpx.Client, path: str, kind: str, content: bytes, refusal: Refusal
) -> None:
    headers = {"Content-Type": kind}
    answer = http.post(f"/storage/v1/object/{path}", content=content, headers=headers)
    assert said(answer) == refusal


def test_an_empty_upload_is_taken(http: httpx.Client) -> None:
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
def test_whoever_is_not_the_service_may_not_upload(
    cloud: Supabase, token: str, message: str
) -> None:
    with stranger(cloud, token) as http:
        assert said(upload(http)) == (400, "403", "Unauthorized", message, "AccessDenied")


def test_an_upload_needs_the_header_of_authorization(cloud: Supabase) -> None:
    with stranger(cloud) as http:
        answer = upload(http)
    assert said(answer)[3:] == (
        "headers must have required property 'authorization'",
        "InvalidRequest",
    )


def test_a_private_object_is_nowhere_for_strangers(cloud: Supabase, http: httpx.Client) -> None:
    upload(http)
    with stranger(cloud) as other:
        plain = other.get(f"/storage/v1/object/{BUCKET}/a.png")
        public = other.get(f"/storage/v1/object/public/{BUCKET}/a.png")
    assert (said(plain)[4], said(public)[4]) == ("NoSuchBucket", "NoSuchBucket")


def test_everybody_reads_what_is_in_a_public_bucket() -> None:
    with Supabase(buckets=[Bucket(name="open", public=True)]) as cloud, stranger(cloud) as http:
        http.post("/storage/v1/object/open/a.png", content=b"png", headers=PNG | BEARER)
        assert http.get("/storage/v1/object/public/open/a.png").content == b"png"


@pytest.mark.parametrize("place", ["object", "object/authenticated"])
def test_an_object_comes_back(http: httpx.Client, place: str) -> None:
    upload(http)
    answer = http.get(f"/storage/v1/{place}/{BUCKET}/a.png")
    assert (answer.content, answer.headers["content-type"]) == (b"png", "image/png")
    assert answer.headers["etag"] == '"bff139fa05ac583f685a523ab3d110a0"'


def test_a_head_has_no_body(http: httpx.Client) -> None:
    upload(http)
    answer = http.head(f"/storage/v1/object/{BUCKET}/a.png")
    assert (answer.headers["content-length"], answer.content) == ("3", b"")


def test_an_object_tells_of_itself(http: httpx.Client) -> None:
    upload(http, **{"x-metadata": b64encode(b'{"whose":"ours"}').decode()})
    told = http.get(f"/storage/v1/object/info/{BUCKET}/a.png").json()
    assert (told["name"], told["size"], told["content_type"]) == ("a.png", 3, "image/png")
    assert told["metadata"] == {"whose": "ours"}


def test_metadata_that_is_no_json_is_none(http: httpx.Client) -> None:
    upload(http, **{"x-metadata": "&&&"})
    assert http.get(f"/storage/v1/object/info/{BUCKET}/a.png").json()["metadata"] == {}


def test_a_missing_object_is_not_found(http: httpx.Client) -> None:
    answer = http.get(f"/storage/v1/object/{BUCKET}/none.png")
    assert said(answer) == (400, "404", "not_found", "Object not found", "NoSuchKey")
    assert said(http.put(f"/storage/v1/object/{BUCKET}/none.png"))[4] == "NoSuchKey"


def test_an_object_is_deleted_once(http: httpx.Client) -> None:
    upload(http)
    path = f"/storage/v1/object/{BUCKET}/a.png"
    assert http.delete(path).json() == {"message": "Successfully deleted"}
    assert said(http.delete(path))[4] == "NoSuchKey"


def _signed(http: httpx.Client, seconds: Any = 60) -> httpx.Response:
    upload(http)
    body = {} if seconds is None else {"expiresIn": seconds}
    return http.post(f"/storage/v1/object/sign/{BUCKET}/a.png", json=body)


def test_a_signed_address_serves_everybody(cloud: Supabase, http: httpx.Client) -> None:
    link = _signed(http).json()["signedURL"]
    assert link.startswith(f"/object/sign/{BUCKET}/a.png?token=")
    with stranger(cloud) as other:
        answer = other.get(f"/storage/v1{link}&download=cat.png")
    assert answer.content == b"png"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=cat.png; filename*=UTF-8''cat.png"
    )


def test_a_signed_address_is_for_one_object_and_ends(cloud: Supabase, http: httpx.Client) -> None:
    link = _signed(http).json()["signedURL"]
    upload(http, "b.png")
    expired = signed({"url": f"{BUCKET}/a.png", "exp": 1.0})
    with stranger(cloud) as other:
        another = other.get(f"/storage/v1{link.replace('a.png', 'b.png')}")
        tampered = other.get(f"/storage/v1{link}x")
        late = other.get(f"/storage/v1/object/sign/{BUCKET}/a.png?token={expired}")
    assert [said(answer)[3] for answer in (another, tampered, late)] == [
        "signature verification failed",
        "signature verification failed",
        '"exp" claim timestamp check failed',
    ]


@pytest.mark.parametrize(
    ("seconds", "message"),
    [(None, "body must have required property 'expiresIn'"), (0, "body/expiresIn must be >= 1")],
)
def test_a_signature_needs_its_seconds(http: httpx.Client, seconds: Any, message: str) -> None:
    assert said(_signed(http, seconds))[3:] == (message, "InvalidRequest")


def test_a_missing_object_is_not_signed(http: httpx.Client) -> None:
    answer = http.post(f"/storage/v1/object/sign/{BUCKET}/none.png", json={"expiresIn": 60})
    assert said(answer)[4] == "NoSuchKey"


def test_an_unknown_route_is_a_plain_404(http: httpx.Client) -> None:
    answer = http.get("/storage/v1/nope")
    told = {"message": "Route GET:/nope not found", "error": "Not Found", "statusCode": 404}
    assert (answer.status_code, answer.json()) == (404, told)
