"""The mock backend: paints images without an engine, for trials and tests, and fails on request."""

from __future__ import annotations

from imagen.backends.mock.adapter import Mock, MockConfig, adapter

__all__ = ["Mock", "MockConfig", "adapter"]
