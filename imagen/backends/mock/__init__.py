"""The mock: an adapter that paints, for trying things out, for tests, and for failing on demand."""

from __future__ import annotations

from imagen.backends.mock.adapter import Mock, MockConfig, adapter

__all__ = ["Mock", "MockConfig", "adapter"]
