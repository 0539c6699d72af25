"""Files by the hash of their bytes, in each place that can keep them."""

from __future__ import annotations

import stat
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulators.s3 import S3Bucket
from simulators.supabase import BUCKET, SERVICE_KEY, Bucket, Supabase
from sqlalchemy import insert, text, update
from support.generation_records import make_image, make_record

from imagen.config import LibrarySettings, Settings
from imagen.core.image_file import blob_name
from imagen.core.request import Control, Request
from imagen.errors import ConfigError, LibraryError, LibraryUnreachable, OutputError, RequestError
from imagen.jobs.blobs import BlobStore, open_blobs
from imagen.library import open_library, record_generation
from imagen.library.schema import blobs, job_blobs
from imagen.pipeline.prepare import with_local_images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.library import Library

_DATA = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
_DIGEST = sha256(_DATA).hexdigest()
_DAY_MS = 24 * 3600 * 1000


def _supabase_environ(cloud: Supabase) -> dict[str, str]:
    return {"SUPABASE_URL": cloud.url, "SUPABASE_SERVICE_KEY": SERVICE_KEY}


def _open(place: str, library: Library, tmp_path: Path, **environ: str) -> BlobStore:
    settings = Settings(blobs=place, state_dir=tmp_path / "state")
    return open_blobs(settings, library, environ)


@pytest.fixture
def library(sqlite_path: str) -> Iterator[Library]:
    with open_library(Settings(library=LibrarySettings(url=sqlite_path))) as library:
        yield library


@pytest.fixture(params=["state", "folder", "postgres", "s3", "supabase"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BlobStore]:
    if request.param == "postgres":
        url = str(request.getfixturevalue("postgres_url"))
        with open_library(Settings(library=LibrarySettings(url=url))) as library:
            yield _open("auto", library, tmp_path)
        return
    library = request.getfixturevalue("library")
    if request.param == "s3":
        pytest.importorskip("obstore")
        with S3Bucket() as bucket:
            for name, value in bucket.environ.items():
                monkeypatch.setenv(name, value)
            yield _open("s3://files/below", library, tmp_path)
    elif request.param == "supabase":
        with Supabase() as cloud:
            yield _open("supabase", library, tmp_path, **_supabase_environ(cloud))
    else:
        place = "auto" if request.param == "state" else str(tmp_path / "shared")
        yield _open(place, library, tmp_path)


def test_a_file_comes_back_by_its_hash(store: BlobStore, tmp_path: Path) -> None:
    file = tmp_path / "in.png"
    file.write_bytes(_DATA)
    assert not store.has(_DIGEST)
    assert store.put(file) == _DIGEST
    assert store.put(_DATA) == _DIGEST
    assert store.has(_DIGEST)
    assert store.get(_DIGEST) == _DATA


def test_a_deleted_file_is_gone(store: BlobStore) -> None:
    store.put(_DATA)
    store.delete(_DIGEST)
    store.delete(_DIGEST)
    assert not store.has(_DIGEST)
    with pytest.raises(LibraryError, match="not stored any more"):
        store.get(_DIGEST)
    assert store.put(_DATA) == _DIGEST
    assert store.get(_DIGEST) == _DATA


def test_only_the_folder_of_the_state_directory_is_not_shared(
    store: BlobStore, request: pytest.FixtureRequest
) -> None:
    assert store.is_shared == (request.node.callspec.params["store"] != "state")


def test_files_are_kept_by_reference_and_pruned_a_day_after_their_last_use(
    store: BlobStore, tmp_path: Path
) -> None:
    library = store.library
    image = make_image(tmp_path)
    record_generation(library, make_record(image))
    needed = {store.put(image.path), store.put(b"of a job")}
    store.put(_DATA)
    with library.writing() as connection:
        job = {"job": "a-job", "sha256": sha256(b"of a job").hexdigest()}
        connection.execute(insert(job_blobs).values(job))
        connection.execute(text("UPDATE blobs SET used_ms = 1000"))
    assert store.prune(now_ms=1000 + _DAY_MS) == 0
    assert store.prune(now_ms=1001 + _DAY_MS) == 1
    assert not store.has(_DIGEST)
    assert all(store.has(digest) and store.get(digest) for digest in needed)


def test_using_a_file_again_keeps_it(store: BlobStore) -> None:
    store.put(_DATA)
    with store.library.writing() as connection:
        connection.execute(update(blobs).values(used_ms=1000))
    store.put(_DATA)
    assert store.prune() == 0
    assert store.get(_DIGEST) == _DATA


def test_a_changed_file_is_refused(library: Library, tmp_path: Path) -> None:
    store = _open("auto", library, tmp_path)
    store.put(_DATA)
    (file,) = (path for path in (tmp_path / "state" / "blobs").rglob("*") if path.is_file())
    file.write_bytes(b"something else")
    with pytest.raises(LibraryError, match="was changed or is damaged"):
        store.get(_DIGEST)


@pytest.mark.skipif(sys.platform == "win32", reason="no permissions of this kind")
def test_files_are_private(library: Library, tmp_path: Path) -> None:
    _open("auto", library, tmp_path).put(_DATA)
    for path in (tmp_path / "state" / "blobs").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_files_stored_before_the_place_was_changed_are_found(
    postgres_url: str, tmp_path: Path
) -> None:
    with open_library(Settings(library=LibrarySettings(url=postgres_url))) as library:
        _open("auto", library, tmp_path).put(_DATA)
        assert _open(str(tmp_path / "shared"), library, tmp_path).get(_DIGEST) == _DATA


def test_postgres_does_not_compress_them(postgres_url: str, tmp_path: Path) -> None:
    with open_library(Settings(library=LibrarySettings(url=postgres_url))) as library:
        _open("auto", library, tmp_path).put(bytes(100_000))
        with library.reading() as connection:
            size = connection.scalar(text("SELECT pg_column_size(data) FROM blobs"))
    assert size == 100_000


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("postgress", "Did you mean 'postgres'"),
        ("postgres", "the library is not in PostgreSQL"),
        ("files", "is not a place for files"),
        ("ftp://host/x", "is not a place for files"),
    ],
)
def test_a_wrong_place_is_refused(
    place: str, message: str, library: Library, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        _open(place, library, tmp_path)


def test_s3_that_is_down_is_unreachable_and_a_refused_key_is_not(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore")
    with S3Bucket() as bucket:
        for name, value in bucket.environ.items():
            monkeypatch.setenv(name, value)
        bucket.is_down = True
        monkeypatch.setattr("imagen.jobs.blobs._RETRY_SECONDS", 0.1)
        with pytest.raises(LibraryUnreachable, match="s3://files cannot be reached"):
            _open("s3://files", library, tmp_path).put(_DATA)
        bucket.is_down = False
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
        with pytest.raises(LibraryError, match="refused the access") as caught:
            _open("s3://files", library, tmp_path).put(_DATA)
        assert not caught.value.retryable


def test_a_public_bucket_of_supabase_is_refused(library: Library, tmp_path: Path) -> None:
    with Supabase(buckets=[Bucket(name=BUCKET, public=True)]) as cloud:
        store = _open("supabase", library, tmp_path, **_supabase_environ(cloud))
        with pytest.raises(ConfigError, match="everybody can read"):
            store.put(_DATA)
        assert not cloud.objects


def test_supabase_that_is_down_is_unreachable(library: Library, tmp_path: Path) -> None:
    with Supabase() as cloud:
        environ = _supabase_environ(cloud)
    with pytest.raises(LibraryUnreachable):
        _open("supabase", library, tmp_path, **environ).put(_DATA)


def test_an_unreadable_file_is_a_sentence(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing\.png cannot be read"):
        store.put(tmp_path / "missing.png")


def test_every_image_of_a_request_of_the_queue_becomes_a_file(
    library: Library, tmp_path: Path
) -> None:
    store = _open("auto", library, tmp_path)
    digest = store.put(_DATA)
    name = blob_name(digest, "fox.png")
    request = Request(
        prompt="a fox",
        image=name,
        mask=name,
        references=(name,),
        controls=(Control(kind="canny", image=name),),
        extra={"face": name, "words": "blob:of paint"},
    )
    settings = Settings(state_dir=tmp_path / "state")
    local = with_local_images(request, settings, blobs=store)
    paths = [local.image, local.mask, *local.references, local.controls[0].image]
    for path in (*paths, local.extra["face"]):
        assert path is not None
        assert Path(path).name == "fox.png"
        assert Path(path).read_bytes() == _DATA
    assert local.extra["words"] == "blob:of paint"


def test_an_image_that_is_not_stored_any_more_is_a_sentence(
    library: Library, tmp_path: Path
) -> None:
    request = Request(prompt="a fox", image=blob_name(_DIGEST, "fox.png"))
    store = _open("auto", library, tmp_path)
    with pytest.raises(RequestError, match=r"image: fox\.png cannot be read.*not stored any more"):
        with_local_images(request, Settings(state_dir=tmp_path / "state"), blobs=store)


def test_a_request_that_a_user_types_cannot_name_stored_files(
    library: Library, tmp_path: Path
) -> None:
    _open("auto", library, tmp_path).put(_DATA)
    request = Request(prompt="a fox", image=blob_name(_DIGEST, "fox.png"))
    assert with_local_images(request, Settings(state_dir=tmp_path / "state")) is request


def test_a_name_with_folders_stays_inside_of_the_cache(library: Library, tmp_path: Path) -> None:
    store = _open("auto", library, tmp_path)
    request = Request(image=blob_name(store.put(_DATA), "../../../fox.png"))
    local = with_local_images(request, Settings(state_dir=tmp_path / "state"), blobs=store)
    assert local.image is not None
    assert Path(local.image).parent == tmp_path / "state" / "inputs" / _DIGEST
