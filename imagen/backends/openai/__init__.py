"""Any server of the OpenAI Images API as an engine."""

from imagen.backends.openai.adapter import OpenAI, adapter
from imagen.backends.openai.config import OpenAIConfig

__all__ = ["OpenAI", "OpenAIConfig", "adapter"]
