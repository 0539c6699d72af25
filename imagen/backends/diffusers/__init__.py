"""The diffusers backend: runs models on this machine's GPU or CPU, in this process."""

from __future__ import annotations

from imagen.backends.diffusers.adapter import Diffusers, adapter
from imagen.backends.diffusers.config import DiffusersConfig

__all__ = ["Diffusers", "DiffusersConfig", "adapter"]
