"""The cloud of these tests, which may break down at will."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sync_lab import Lab

from imagen.testing.supabase import Supabase

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A folder with a configuration, and the cloud that it names."""
    with Supabase() as cloud:
        yield Lab(cloud, monkeypatch)
