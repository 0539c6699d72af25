"""Servers with A1111's API: A1111, Forge, reForge, SD.Next, and others that speak it."""

from __future__ import annotations

from imagen.backends.a1111.adapter import A1111, adapter
from imagen.backends.a1111.config import A1111Config

__all__ = ["A1111", "A1111Config", "adapter"]
