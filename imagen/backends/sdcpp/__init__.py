"""stable-diffusion.cpp: models in one program, without Python; `adapter` is its door."""

from __future__ import annotations

from imagen.backends.sdcpp.adapter import SdCpp, adapter
from imagen.backends.sdcpp.config import SdCppConfig

__all__ = ["SdCpp", "SdCppConfig", "adapter"]
