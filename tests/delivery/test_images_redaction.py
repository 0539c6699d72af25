"""What an uploaded image and its row reveal, by the policy."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from simulators.supabase import BUCKET, Bucket, Supabase
from support import generation_records as records

from imagen.delivery import images as sink
from imagen.outputs import read_texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SEED = "18446744073709551615"


@pytest.fixture
def cloud() -> Iterator[Supabase]:
    with Supabase() as cloud:
        yield cloud


def _send(there: Supabase, folder: Path, **settings: object) -> str:
    """The path of the uploaded image."""
    entry = records.make_record(records.make_image(folder))
    (made,) = sink.deliveries(entry, records.settings(), records.environ(there))
    facts = sink.send(made, records.settings(**settings), records.environ(there), {})
    return str(facts["path"])


def test_a_private_bucket_gets_all_metadata(cloud: Supabase, tmp_path: Path) -> None:
    path = _send(cloud, tmp_path)
    assert b"A red fox" in cloud.objects[BUCKET, path].data


def test_a_public_bucket_gets_no_prompt(tmp_path: Path) -> None:
    with Supabase(buckets=[Bucket(name=BUCKET, public=True)]) as cloud:
        path = _send(cloud, tmp_path)
        (uploaded,) = [seen for seen in cloud.requests if seen.is_upload]
        (row,) = cloud.rows("imagen", "images")
    assert "fox" not in path
    assert path.startswith("2026-11-24/")
    assert path.endswith(f"-{_SEED}.png")
    assert b"fox" not in uploaded.body
    assert "fox" not in str(uploaded.headers)
    # The row is not public: its owner alone reads it.
    assert row["prompt"] == "A red fox, in snow"


def test_the_path_in_a_public_bucket_is_a_hash(tmp_path: Path) -> None:
    with Supabase(buckets=[Bucket(name=BUCKET, public=True)]) as cloud:
        path = _send(cloud, tmp_path)
        stored = cloud.objects[BUCKET, path]
    # By the hash of the whole file a prompt could be guessed.
    assert path == f"2026-11-24/{sha256(stored.data).hexdigest()[:12]}-{_SEED}.png"
    (tmp_path / "shown.png").write_bytes(stored.data)
    found = read_texts(tmp_path / "shown.png", ("imagen",))
    assert found is not None
    assert "A red fox" not in found.get("imagen", "")


@pytest.mark.parametrize(
    ("policy", "has_hash"), [("no_prompt", True), ("none", False)], ids=["no_prompt", "none"]
)
def test_a_configured_policy_applies_to_the_row_too(
    cloud: Supabase, tmp_path: Path, policy: str, has_hash: bool
) -> None:
    path = _send(cloud, tmp_path, cloud={"metadata": policy})
    (row,) = cloud.rows("imagen", "images")
    assert row["prompt"] is None
    assert (row["prompt_sha256"] is not None) is has_hash
    assert "fox" not in str(row)
    assert b"fox" not in cloud.objects[BUCKET, path].data
