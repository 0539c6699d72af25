"""Local files reach a model's input as data URLs or uploads."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from simulators.replicate import Replicate
from support.replicate_backend import (
    REQUEST,
    collect_progress,
    generate,
    prepare_ticket,
    replicate_config,
    submitted_bodies,
)

from imagen.backends.replicate.client import ReplicateClient
from imagen.backends.replicate.job import ReplicateJob
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.errors import Cancelled, Lost, RateLimited, Rejected, RequestError

if TYPE_CHECKING:
    from imagen.core.result import Progress

pytestmark = pytest.mark.usefixtures("replicate_token")

_DEV, _FLUX2 = "black-forest-labs/flux-dev", "black-forest-labs/flux-2-pro"


def _small_file(name: str = "small.png") -> str:
    Image.new("RGB", (64, 64), "teal").save(name)
    return str(Path(name).absolute())


def _large_file(name: str = "large.png") -> str:
    Image.frombytes("RGB", (400, 400), os.urandom(400 * 400 * 3)).save(name)
    return str(Path(name).absolute())


def _request_with(image: str) -> Request:
    return REQUEST.with_values({"image": image, "strength": 0.5})


def _file_requests(cloud: Replicate) -> list[str]:
    return [seen.method for seen in cloud.requests if "/files" in seen.path]


def test_a_small_file_is_sent_as_a_data_url() -> None:
    with Replicate() as cloud:
        generate(cloud, _request_with(_small_file()), model=_DEV)
    assert submitted_bodies(cloud)[0]["input"]["image"].startswith(
        "data:image/png;base64,iVBORw0KGgo"
    )
    assert _file_requests(cloud) == []


def test_a_large_file_is_uploaded_and_deleted_afterwards() -> None:
    path = _large_file()
    with Replicate() as cloud:
        generate(cloud, _request_with(path), model=_DEV)
        sent = submitted_bodies(cloud)[0]["input"]["image"]
        assert sent.startswith(f"{cloud.url}/files/file0")
    assert (_file_requests(cloud), cloud.uploaded_files) == (["POST", "DELETE"], {})
    content = next(seen.body for seen in cloud.requests if seen.path == "/v1/files")
    assert Path(path).read_bytes() in content


def test_the_same_content_is_uploaded_once() -> None:
    path = _large_file()
    Path("again.png").write_bytes(Path(path).read_bytes())
    both = Request(prompt="x", references=(path, str(Path("again.png").absolute()), _small_file()))
    with Replicate() as cloud:
        generate(cloud, both, model=_FLUX2)
    first, second, third = submitted_bodies(cloud)[0]["input"]["input_images"]
    assert first == second
    assert third.startswith("data:image/png;base64,")
    assert _file_requests(cloud) == ["POST", "DELETE"]


def test_uploads_are_deleted_after_a_cancellation() -> None:
    def cancel(progress: Progress) -> None:
        if progress.stage == "running":
            raise Cancelled

    with Replicate(seconds=60) as cloud, pytest.raises(Cancelled):
        generate(cloud, _request_with(_large_file()), cancel, model=_DEV)
    assert cloud.uploaded_files == {}


class _OneUploadClient(ReplicateClient):
    """Uploads one file and rejects the next."""

    def upload(self, data: bytes, name: str, media_type: str) -> tuple[str, str]:
        self.upload = self.refuse  # type: ignore[method-assign]
        return super().upload(data, name, media_type)

    def refuse(self, data: bytes, name: str, media_type: str) -> tuple[str, str]:
        raise Rejected(f"There is no room for the {len(data)} bytes of {name} ({media_type}).")


def test_an_upload_is_deleted_where_the_next_one_is_refused() -> None:
    both = Request(prompt="x", references=(_large_file(), _large_file("other.png")))
    with Replicate() as cloud:
        config = replicate_config(cloud.url, model=_FLUX2)
        with (
            closing(_OneUploadClient(config)) as client,
            pytest.raises(Rejected, match=r"of other\.png"),
        ):
            ReplicateJob(
                prepare_ticket(cloud, both, model=_FLUX2), client, config, no_progress
            ).run()
    assert (_file_requests(cloud), cloud.uploaded_files) == (["POST", "DELETE"], {})


def test_a_job_with_an_upload_is_resumed() -> None:
    from support.replicate_backend import open_replicate

    request = _request_with(_large_file())
    with Replicate() as cloud, closing(open_replicate(cloud.url, model=_DEV)) as engine:
        ticket = next(
            p.ticket for p in collect_progress(cloud, request, model=_DEV) if p.ticket is not None
        )
        assert list(ticket.engine) == ["began", "uploads"]
        assert len(engine.collect(ticket, no_progress).images) == 1
    assert cloud.submissions == 1


def test_a_job_with_a_file_is_found_after_a_lost_answer() -> None:
    with Replicate(lose_answer="drop") as cloud:
        assert len(generate(cloud, _request_with(_small_file()), model=_DEV).images) == 1
    assert cloud.submissions == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "image: there is no file", id="missing"),
        pytest.param(b"not an image", "is not an image that imagen can read", id="not an image"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "image: ", id="damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_before_anything_is_sent(
    content: bytes | None, words: str
) -> None:
    if content is not None:
        Path("it.png").write_bytes(content)
    with Replicate() as cloud, pytest.raises(RequestError, match=words):
        generate(cloud, _request_with("it.png"), model=_DEV)
    assert submitted_bodies(cloud) == []


def test_uploads_stay_while_the_job_may_still_run() -> None:
    with (
        Replicate(seconds=60, unsteady=999) as cloud,
        pytest.raises(Lost, match="gave no state of the job"),
    ):
        generate(cloud, _request_with(_large_file()), model=_DEV, lost_seconds=0.1)
    assert len(cloud.uploaded_files) == 1
    assert "DELETE" not in _file_requests(cloud)


def test_uploads_are_deleted_where_the_submission_is_rejected() -> None:
    with Replicate(throttled=9) as cloud, pytest.raises(RateLimited):
        generate(cloud, _request_with(_large_file()), model=_DEV)
    assert cloud.uploaded_files == {}
