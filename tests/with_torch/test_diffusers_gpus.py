"""The GPUs that torch reports."""

from __future__ import annotations

import pytest
import torch

from imagen.backends.base import Gpu
from imagen.backends.diffusers.pipeline import list_gpus


@pytest.mark.skipif(torch.cuda.is_available(), reason="This machine has a GPU.")
def test_no_gpu_is_listed_without_one() -> None:
    assert [gpu for gpu in list_gpus() if gpu.vram_total_bytes is not None] == []


@pytest.fixture
def _one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "GPU")


@pytest.mark.usefixtures("_one_gpu")
def test_gpu_is_listed_with_name_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3 << 30, 8 << 30))
    card = Gpu(name="GPU", vram_total_bytes=8 << 30, vram_free_bytes=3 << 30)
    assert list_gpus() == (card,)


@pytest.mark.usefixtures("_one_gpu")
def test_gpu_without_memory_information_is_listed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> tuple[int, int]:
        raise RuntimeError("CUDA error: exclusive")

    monkeypatch.setattr(torch.cuda, "mem_get_info", refuse)
    assert list_gpus() == (Gpu(name="GPU"),)
