"""A simulated Supabase misbehaves by its switches, remembers what it saw, and comes back."""

from __future__ import annotations

import threading
from base64 import b64encode
from typing import TYPE_CHECKING

import httpx
import pytest
from simulators.supabase import BUCKET, SERVICE_KEY, Supabase, SupabaseSwitches
from simulators.supabase.__main__ import main
from support.supabase_client import ROW, insert, said, service, upload

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def cloud() -> Iterator[Supabase]:
    with Supabase() as cloud:
        yield cloud


@pytest.fixture
def http(cloud: Supabase) -> Iterator[httpx.Client]:
    with service(cloud) as client:
        yield client


def test_the_first_requests_may_be_broken(http: httpx.Client, cloud: Supabase) -> None:
    cloud.switches = SupabaseSwitches(broken=1, throttled=1, throttle_seconds=9)
    first, second, third = (http.get(f"/storage/v1/bucket/{BUCKET}") for _ in range(3))
    assert (first.status_code, second.status_code, third.status_code) == (503, 429, 200)
    assert second.headers["retry-after"] == "9"


def test_a_broken_upload_is_not_kept(http: httpx.Client, cloud: Supabase) -> None:
    cloud.switches = SupabaseSwitches(broken_uploads=1)
    assert (upload(http).status_code, cloud.objects) == (500, {})
    assert upload(http).status_code == 200


def test_a_lost_upload_is_kept(http: httpx.Client, cloud: Supabase) -> None:
    cloud.switches = SupabaseSwitches(lost_uploads=1)
    with pytest.raises(httpx.RemoteProtocolError):
        upload(http)
    assert list(cloud.objects) == [(BUCKET, "a.png")]


def test_a_broken_insert_is_not_kept(http: httpx.Client, cloud: Supabase) -> None:
    cloud.switches = SupabaseSwitches(broken_inserts=1)
    assert (insert(http, ROW).status_code, cloud.rows("imagen", "images")) == (503, [])


def test_a_lost_insert_is_kept(http: httpx.Client, cloud: Supabase) -> None:
    cloud.switches = SupabaseSwitches(lost_inserts=1)
    with pytest.raises(httpx.RemoteProtocolError):
        insert(http, ROW)
    assert len(cloud.rows("imagen", "images")) == 1


def test_in_an_outage_every_line_is_cut(http: httpx.Client, cloud: Supabase) -> None:
    cloud.switches = SupabaseSwitches(outage=True)
    with pytest.raises(httpx.RemoteProtocolError):
        http.get("/storage/v1/status")


def test_every_key_may_be_wrong(http: httpx.Client, cloud: Supabase) -> None:
    cloud.switches = SupabaseSwitches(wrong_key=True)
    assert said(upload(http))[3] == "signature verification failed"
    assert insert(http, ROW).json()["code"] == "PGRST301"


def test_every_request_may_be_sent_elsewhere(http: httpx.Client, cloud: Supabase) -> None:
    cloud.switches = SupabaseSwitches(redirect="http://127.0.0.1:1/")
    answer = http.get("/rest/v1/images")
    assert (answer.status_code, answer.headers["location"]) == (307, "http://127.0.0.1:1/")


def test_an_old_storage_forgets_metadata(http: httpx.Client, cloud: Supabase) -> None:
    cloud.switches = SupabaseSwitches(forgets_metadata=True)
    upload(http, **{"x-metadata": b64encode(b'{"whose":"ours"}').decode()})
    assert cloud.objects[BUCKET, "a.png"].metadata == {}


def test_every_request_is_remembered(http: httpx.Client, cloud: Supabase) -> None:
    upload(http)
    (seen,) = cloud.requests
    assert (seen.method, seen.path) == ("POST", f"/storage/v1/object/{BUCKET}/a.png")
    assert (seen.headers["apikey"], seen.body) == (SERVICE_KEY, b"png")


def test_what_is_no_part_of_it_has_no_route(http: httpx.Client) -> None:
    assert http.get("/auth/v1/user").status_code == 404


def test_a_project_comes_back_on_the_same_port(http: httpx.Client, cloud: Supabase) -> None:
    upload(http)
    url = cloud.url
    cloud.stop()
    cloud.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/storage/v1/bucket/{BUCKET}", trust_env=False)
    cloud.start()
    cloud.start()
    assert (cloud.url, list(cloud.objects)) == (url, [(BUCKET, "a.png")])


def test_a_supabase_runs_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    done = threading.Event()
    done.set()
    main(["--port", "0", "--public"], until=done)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("SUPABASE_URL=http://127.0.0.1:")
    assert second == f"SUPABASE_SERVICE_KEY={SERVICE_KEY}"
