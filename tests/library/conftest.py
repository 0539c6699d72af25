"""A library in each kind of database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from library_samples import settings_at

from imagen.library import open_library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.library import Library


@pytest.fixture
def library(library_url: str) -> Iterator[Library]:
    """An empty library, in SQLite and in PostgreSQL in turn."""
    with open_library(settings_at(library_url)) as library:
        yield library
