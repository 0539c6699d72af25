"""The graphics cards that torch tells of."""

from __future__ import annotations

import pytest
import torch

from imagen.backends.base import Gpu
from imagen.backends.diffusers.devices import list_gpus


@pytest.mark.skipif(torch.cuda.is_available(), reason="There is a card.")
def test_without_a_card_none_is_listed() -> None:
    assert [gpu for gpu in list_gpus() if gpu.vram_total_bytes is not None] == []


@pytest.fixture
def _one_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Card")


@pytest.mark.usefixtures("_one_card")
def test_a_card_has_a_name_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3 << 30, 8 << 30))
    card = Gpu(name="Card", vram_total_bytes=8 << 30, vram_free_bytes=3 << 30)
    assert list_gpus() == (card,)


@pytest.mark.usefixtures("_one_card")
def test_a_card_that_refuses_is_named_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> tuple[int, int]:
        raise RuntimeError("CUDA error: exclusive")

    monkeypatch.setattr(torch.cuda, "mem_get_info", refuse)
    assert list_gpus() == (Gpu(name="Card"),)
