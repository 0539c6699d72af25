"""diffusers: models on this machine's own card, in this process; `adapter` is its door."""

from __future__ import annotations

from imagen.backends.diffusers.adapter import Diffusers, adapter
from imagen.backends.diffusers.config import DiffusersConfig

__all__ = ["Diffusers", "DiffusersConfig", "adapter"]
