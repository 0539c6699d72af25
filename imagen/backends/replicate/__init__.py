"""Any image model on replicate.com, driven by its input schema."""

from imagen.backends.replicate.adapter import Replicate, adapter
from imagen.backends.replicate.config import ReplicateConfig

__all__ = ["Replicate", "ReplicateConfig", "adapter"]
