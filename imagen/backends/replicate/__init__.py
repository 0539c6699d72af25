"""Any image model on replicate.com, by its own input schema."""

from imagen.backends.replicate.adapter import Replicate, adapter
from imagen.backends.replicate.config import ReplicateConfig

__all__ = ["Replicate", "ReplicateConfig", "adapter"]
