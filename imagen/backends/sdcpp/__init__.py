"""stable-diffusion.cpp: its program sd-cli on this machine, or a running sd-server."""

from __future__ import annotations

from imagen.backends.sdcpp.adapter import SdCpp, adapter
from imagen.backends.sdcpp.config import SdCppConfig

__all__ = ["SdCpp", "SdCppConfig", "adapter"]
