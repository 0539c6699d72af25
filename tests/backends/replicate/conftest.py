"""A token that the simulated Replicate accepts."""

from __future__ import annotations

import pytest

from imagen.testing.replicate import TOKEN


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", TOKEN)
