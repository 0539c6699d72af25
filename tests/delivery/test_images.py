"""Images are uploaded to Supabase, each with its row."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from simulators.supabase import ANON_KEY, BUCKET, SERVICE_KEY, Bucket, Supabase, SupabaseSwitches
from simulators.supabase.storage import StoredObject
from support import generation_records as records

from imagen.core.request import Request
from imagen.delivery import images as sink
from imagen.errors import ConfigError, ImagenError, OutputError, Rejected, Unavailable
from imagen.outputs import metadata
from imagen.outputs.convert import convert_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.library.records import Delivery
    from imagen.outputs.metadata import Kind

_SEED = "18446744073709551615"
_PATH = f"2026-11-24/a-red-fox-in-snow-{_SEED}.png"
_USER = "aaaaaaaa-0000-4000-8000-000000000001"
_OTHER = "22222222-2222-4333-8444-555555555555"


@pytest.fixture
def cloud() -> Iterator[Supabase]:
    with Supabase() as cloud:
        yield cloud


@pytest.fixture
def delivery(cloud: Supabase, tmp_path: Path) -> Delivery:
    return _delivery(cloud, tmp_path)


def _delivery(cloud: Supabase, folder: Path, id: str = records.ID, colour: int = 7) -> Delivery:
    entry = records.make_record(
        records.make_image(folder, f"fox{colour}.png", colour=colour), id=id
    )
    (made,) = sink.deliveries(entry, records.settings(), records.environ(cloud))
    return made


def _send(delivery: Delivery, there: Supabase, **settings: object) -> dict[str, object]:
    return sink.send(delivery, records.settings(**settings), records.environ(there), {})


def _paths(cloud: Supabase) -> list[str]:
    return [path for _, path in cloud.objects]


def test_an_image_is_uploaded_and_its_row_inserted(
    cloud: Supabase, delivery: Delivery, tmp_path: Path
) -> None:
    facts = _send(delivery, cloud)
    assert facts["bucket"] == BUCKET
    assert facts["path"] == _PATH
    stored = cloud.objects[BUCKET, _PATH]
    assert stored.data == (tmp_path / "fox7.png").read_bytes()
    assert stored.media_type == "image/png"
    (row,) = cloud.rows("imagen", "images")
    sidecar = row.pop("sidecar")
    assert row == {
        "id": facts["id"],
        "owner_user_id": records.OWNER,
        "bucket": BUCKET,
        "path": _PATH,
        "prompt": "A red fox, in snow",
        "prompt_sha256": "10327813b9248a1d6b03c777964d4b0407749b9401913ae7976ac980ffeecf62",
        "backend": "studio",
        "model": "sd15.safetensors",
        "seed": 2**64 - 1,
        "steps": 4,
        "width": 8,
        "height": 8,
        "latency_seconds": 2.5,
        "cost_usd": 0.006,
        "tags": [],
        "created_at": "2026-11-24T12:30:00+00:00",
    }
    assert sidecar["resolved"] == {"prompt": "A red fox, in snow", "steps": 4}


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_an_image_is_uploaded_with_its_own_format(
    cloud: Supabase, tmp_path: Path, kind: Kind
) -> None:
    png = records.make_image(tmp_path)
    path = tmp_path / f"fox.{kind}"
    path.write_bytes(convert_image(png.path.read_bytes(), kind).data)
    digest = sha256(path.read_bytes()).hexdigest()
    changes = {"path": path, "sha256": digest, "media_type": f"image/{kind}"}
    entry = records.make_record(png.model_copy(update=changes))
    (delivery,) = sink.deliveries(entry, records.settings(), records.environ(cloud))
    facts = _send(delivery, cloud)
    assert facts["path"] == _PATH.replace(".png", f".{kind}")
    stored = cloud.objects[BUCKET, facts["path"]]
    assert stored.media_type == f"image/{kind}"
    assert metadata.read_texts(stored.data) == metadata.read_texts(path.read_bytes())


def test_a_style_does_not_change_the_prompt_hash_of_the_row(
    cloud: Supabase, tmp_path: Path
) -> None:
    typed = Request(prompt="a fox", style="photo")
    entry = records.make_record(
        records.make_image(tmp_path), prompt="a fox, photo, 50mm", asked=typed
    )
    (delivery,) = sink.deliveries(entry, records.settings(), records.environ(cloud))
    _send(delivery, cloud)
    (row,) = cloud.rows("imagen", "images")
    assert row["prompt_sha256"] == sha256(b"a fox").hexdigest()


def test_the_row_has_no_path_of_this_machine(cloud: Supabase, delivery: Delivery) -> None:
    _send(delivery, cloud)
    (row,) = cloud.rows("imagen", "images")
    assert row["sidecar"]["graph"] == {"1": {"inputs": {"model": "sd15.safetensors"}}}


def test_an_image_sent_twice_is_stored_once(cloud: Supabase, delivery: Delivery) -> None:
    assert _send(delivery, cloud) == _send(delivery, cloud)
    assert (_paths(cloud), len(cloud.rows("imagen", "images"))) == ([_PATH], 1)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(SupabaseSwitches(broken=1), id="503"),
        pytest.param(SupabaseSwitches(throttled=1), id="429"),
        pytest.param(SupabaseSwitches(broken_uploads=1), id="upload not taken"),
        pytest.param(SupabaseSwitches(lost_uploads=1), id="upload taken, answer lost"),
        pytest.param(SupabaseSwitches(lost_uploads=1, forgets_metadata=True), id="and no marks"),
        pytest.param(SupabaseSwitches(broken_inserts=1), id="row not taken"),
        pytest.param(SupabaseSwitches(lost_inserts=1), id="row taken, answer lost"),
    ],
)
def test_a_temporary_error_leaves_one_object_and_one_row(
    cloud: Supabase, delivery: Delivery, trouble: SupabaseSwitches
) -> None:
    cloud.switches = trouble
    assert _send(delivery, cloud)["path"] == _PATH
    assert (_paths(cloud), len(cloud.rows("imagen", "images"))) == ([_PATH], 1)


def test_a_missing_row_of_an_uploaded_image_is_inserted_later(
    cloud: Supabase, delivery: Delivery
) -> None:
    cloud.switches = SupabaseSwitches(broken_inserts=9)
    with pytest.raises(Unavailable):
        _send(delivery, cloud)
    assert (_paths(cloud), cloud.rows("imagen", "images")) == ([_PATH], [])
    cloud.switches = SupabaseSwitches()
    assert _send(delivery, cloud)["path"] == _PATH
    assert (_paths(cloud), len(cloud.rows("imagen", "images"))) == ([_PATH], 1)


def test_an_outage_is_retryable(cloud: Supabase, delivery: Delivery) -> None:
    cloud.stop()
    with pytest.raises(Unavailable) as caught:
        _send(delivery, cloud)
    assert caught.value.retryable
    cloud.start()
    assert _send(delivery, cloud)["path"] == _PATH


def test_two_images_of_one_name_get_two_paths(cloud: Supabase, tmp_path: Path) -> None:
    first, second = (_delivery(cloud, tmp_path, id, n) for n, id in enumerate((records.ID, _OTHER)))
    assert [_send(one, cloud)["path"] for one in (first, second, first, second)] == [
        _PATH,
        f"2026-11-24/a-red-fox-in-snow-{_SEED}-2.png",
        _PATH,
        f"2026-11-24/a-red-fox-in-snow-{_SEED}-2.png",
    ]
    assert len(cloud.rows("imagen", "images")) == 2


def test_a_numbered_path_is_kept_after_a_lost_answer(cloud: Supabase, tmp_path: Path) -> None:
    _send(_delivery(cloud, tmp_path, records.ID, 0), cloud)
    cloud.switches = SupabaseSwitches(lost_uploads=1)
    second = _delivery(cloud, tmp_path, _OTHER, 1)
    assert _send(second, cloud)["path"] == f"2026-11-24/a-red-fox-in-snow-{_SEED}-2.png"
    assert len(cloud.objects) == 2


def test_more_than_twenty_images_of_one_name_get_their_own_paths(
    cloud: Supabase, tmp_path: Path
) -> None:
    ids = [f"{n:08d}-2222-4333-8444-555555555555" for n in range(22)]
    sent = [_send(_delivery(cloud, tmp_path, id, n), cloud) for n, id in enumerate(ids)]
    assert len(cloud.objects) == 22
    assert sent[19]["path"] == f"2026-11-24/a-red-fox-in-snow-{_SEED}-20.png"
    assert sent[21]["path"] == f"2026-11-24/a-red-fox-in-snow-{_SEED}-{sent[21]['id']}.png"


def test_the_service_key_is_sent_only_to_the_project(cloud: Supabase, delivery: Delivery) -> None:
    with Supabase() as other:
        cloud.switches = SupabaseSwitches(redirect=f"{other.url}/storage/v1/bucket/{BUCKET}")
        with pytest.raises(ImagenError) as caught:
            _send(delivery, cloud)
        assert other.requests == []
    assert "redirects are not followed" in caught.value.message
    assert SERVICE_KEY not in str(caught.value)
    assert not caught.value.retryable
    assert [seen.headers["apikey"] for seen in cloud.requests] == [SERVICE_KEY]
    assert SERVICE_KEY not in delivery.model_dump_json()


def test_an_image_above_the_size_limit_is_not_sent(tmp_path: Path) -> None:
    with Supabase(buckets=[Bucket(name=BUCKET, file_size_limit=10)]) as cloud:
        with pytest.raises(Rejected, match="accepts at most 10"):
            _send(_delivery(cloud, tmp_path), cloud)
        assert cloud.objects == {}


def test_a_media_type_the_bucket_refuses_is_not_sent(tmp_path: Path) -> None:
    with Supabase(buckets=[Bucket(name=BUCKET, allowed_mime_types=("image/jpeg",))]) as cloud:
        with pytest.raises(Rejected, match="image/png"):
            _send(_delivery(cloud, tmp_path), cloud)
        assert cloud.objects == {}


def test_a_missing_file_is_reported(cloud: Supabase, delivery: Delivery, tmp_path: Path) -> None:
    (tmp_path / "fox7.png").unlink()
    with pytest.raises(OutputError, match="No such file") as caught:
        _send(delivery, cloud)
    assert not caught.value.retryable


def test_a_changed_file_is_not_uploaded(
    cloud: Supabase, delivery: Delivery, tmp_path: Path
) -> None:
    (tmp_path / "fox7.png").write_bytes(b"other")
    with pytest.raises(OutputError, match="was not uploaded: it changed after it was saved"):
        _send(delivery, cloud)
    assert cloud.objects == {}


def test_the_record_in_the_image_replaces_a_missing_sidecar(
    cloud: Supabase, tmp_path: Path
) -> None:
    entry = records.make_record(records.make_image(tmp_path, sidecar=False))
    (made,) = sink.deliveries(entry, records.settings(), records.environ(cloud))
    _send(made, cloud)
    assert cloud.rows("imagen", "images")[0]["sidecar"]["backend"] == "studio"


@pytest.mark.parametrize("text", ["", "no json", "[1]"])
def test_an_invalid_sidecar_does_not_stop_an_upload(
    cloud: Supabase, delivery: Delivery, tmp_path: Path, text: str
) -> None:
    (tmp_path / "fox7.png.json").write_text(text)
    _send(delivery, cloud)
    assert cloud.rows("imagen", "images")[0]["sidecar"]["seed"] == 2**64 - 1


def test_characters_that_postgresql_refuses_are_removed(cloud: Supabase, tmp_path: Path) -> None:
    entry = records.make_record(records.make_image(tmp_path), prompt="a\0b")
    (made,) = sink.deliveries(entry, records.settings(), records.environ(cloud))
    _send(made, cloud)
    assert cloud.rows("imagen", "images")[0]["prompt"] == "ab"


def test_each_image_is_a_delivery_with_its_share_of_the_cost(
    cloud: Supabase, tmp_path: Path
) -> None:
    images = [records.make_image(tmp_path, f"{n}.png", colour=n) for n in range(3)]
    made = sink.deliveries(records.make_record(*images), records.settings(), records.environ(cloud))
    assert [(one.part, one.payload["row"]["cost_usd"]) for one in made] == [
        (0, 0.002),
        (1, 0.002),
        (2, 0.002),
    ]
    assert len({one.payload["row"]["id"] for one in made}) == 3


@pytest.mark.parametrize(
    "more",
    [{"state": "failed"}, {"source": "import"}],
    ids=["failed", "taken in from elsewhere"],
)
def test_imported_and_failed_generations_are_not_uploaded(
    cloud: Supabase, tmp_path: Path, more: dict[str, str]
) -> None:
    entry = records.make_record(records.make_image(tmp_path), **more)
    assert sink.deliveries(entry, records.settings(), records.environ(cloud)) == []


def test_outputs_that_are_not_images_are_not_uploaded(cloud: Supabase, tmp_path: Path) -> None:
    video = records.make_image(tmp_path).model_copy(update={"media_type": "video/mp4"})
    assert (
        sink.deliveries(records.make_record(video), records.settings(), records.environ(cloud))
        == []
    )


def test_a_missing_bucket_names_the_remedy(tmp_path: Path) -> None:
    with Supabase(buckets=[]) as cloud, pytest.raises(Rejected) as caught:
        _send(_delivery(cloud, tmp_path), cloud)
    assert "Bucket not found (404 NoSuchBucket)" in caught.value.message
    assert "docs/supabase.sql" in caught.value.remedy


def test_a_wrong_key_names_its_variable(cloud: Supabase, delivery: Delivery) -> None:
    environ = {"SUPABASE_URL": cloud.url, "SUPABASE_SERVICE_KEY": ANON_KEY}
    with pytest.raises(ImagenError) as caught:
        sink.send(delivery, records.settings(), environ, {})
    assert (caught.value.code, caught.value.retryable) == ("unauthorized", False)
    assert "SUPABASE_SERVICE_KEY" in caught.value.remedy
    assert ANON_KEY not in str(caught.value)


def test_an_upload_needs_an_owner(cloud: Supabase, delivery: Delivery) -> None:
    with pytest.raises(ConfigError, match="owner_user_id is not set"):
        _send(delivery, cloud, owner_user_id=None)


def test_a_signed_url_shows_the_image(cloud: Supabase, delivery: Delivery, tmp_path: Path) -> None:
    facts = _send(delivery, cloud)
    url = sink.signed_url(
        records.settings(),
        records.environ(cloud),
        bucket=str(facts["bucket"]),
        path=str(facts["path"]),
        seconds=60,
    )
    assert url.startswith(f"{cloud.url}/storage/v1/object/sign/{BUCKET}/{_PATH}?token=")
    assert SERVICE_KEY not in url
    assert _read(url) == (tmp_path / "fox7.png").read_bytes()


def _read(url: str) -> bytes:
    import httpx

    return httpx.get(url, trust_env=False).content


def test_the_record_in_the_image_replaces_an_unreadable_sidecar(
    cloud: Supabase, delivery: Delivery, tmp_path: Path
) -> None:
    sidecar = tmp_path / "fox7.png.json"
    sidecar.unlink()
    sidecar.mkdir()
    _send(delivery, cloud)
    (row,) = cloud.rows("imagen", "images")
    assert row["sidecar"]["resolved"] == {"prompt": "A red fox, in snow", "steps": 4}
    assert "graph" not in row["sidecar"]


def test_an_image_without_a_free_path_is_refused(cloud: Supabase, delivery: Delivery) -> None:
    stem, id = _PATH.removesuffix(".png"), _send(delivery, cloud)["id"]
    ends = ["", *(f"-{n}" for n in range(2, 21)), f"-{id}"]
    for end in ends:
        cloud.objects[BUCKET, f"{stem}{end}.png"] = StoredObject(
            data=b"another's", media_type="image/png", metadata={}
        )
    with pytest.raises(Rejected, match=r"No free path for fox7\.png in the bucket"):
        _send(delivery, cloud)
    assert len(cloud.objects) == len(ends)


def test_a_job_of_another_user_needs_no_owner_of_its_own(cloud: Supabase, tmp_path: Path) -> None:
    record = records.make_record(records.make_image(tmp_path), owner=_USER)
    chosen = records.settings(owner_user_id=None)
    for one in sink.deliveries(record, chosen, records.environ(cloud)):
        sink.send(one, chosen, records.environ(cloud), {})
    assert [row["owner_user_id"] for row in cloud.rows("imagen", "images")] == [_USER]


def test_the_owner_of_a_job_comes_before_the_configured_one(
    cloud: Supabase, tmp_path: Path
) -> None:
    record = records.make_record(records.make_image(tmp_path), owner=_USER)
    chosen = records.settings()
    for one in sink.deliveries(record, chosen, records.environ(cloud)):
        sink.send(one, chosen, records.environ(cloud), {})
    assert [row["owner_user_id"] for row in cloud.rows("imagen", "images")] == [_USER]
