"""A simulated ComfyUI for tests: `with ComfyUI() as server:` runs one at `server.url`.

It speaks HTTP and websocket on one port of this machine, runs graphs plausibly, and misbehaves as
`FailureSwitches` say: `ComfyUI(deaf_after_reconnect=True, step_seconds=0.1)`.
"""

from imagen.testing.comfyui.failure_switches import (
    BLOCKED,
    OUT_OF_MEMORY,
    FailureSwitches,
    GatewayAnswer,
    NodeError,
)
from imagen.testing.comfyui.server import ComfyUI

__all__ = ["BLOCKED", "OUT_OF_MEMORY", "ComfyUI", "FailureSwitches", "GatewayAnswer", "NodeError"]
