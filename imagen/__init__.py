"""Generate images with any engine.

    from imagen import Request, generate, load_settings

    generations = generate(Request(prompt="a red fox in snow"), load_settings(), backend="mock")
    print(generations[0].saved[0].path)

Every public name is loaded on first use, so that importing imagen is fast.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from imagen.backends import Adapter, Backend, BackendConfig, Health, open_backend
    from imagen.comparison import compare
    from imagen.config import Settings, load_settings
    from imagen.core.capabilities import Capabilities, Parameter, ParameterOutcome, Receipt
    from imagen.core.request import Control, Lora, Outpaint, Request, Restore, Upscale
    from imagen.core.result import Facts, Output, Progress, Result, no_progress
    from imagen.core.ticket import Ticket
    from imagen.errors import (
        BackendError,
        Cancelled,
        ConfigError,
        Failed,
        ImagenError,
        LibraryError,
        Lost,
        MissingDependency,
        OutputError,
        OverBudget,
        RateLimited,
        Rejected,
        RequestError,
        SomeFailed,
        TimedOut,
        Unauthorized,
        Unavailable,
        UnknownBackend,
        WorkflowError,
    )
    from imagen.jobs.recover import RecoveredJob, recover, recover_all, resume
    from imagen.outputs import SavedImage
    from imagen.pipeline.generate import Generation, generate, upscale_locally
    from imagen.pipeline.record import open_library_synced
else:
    _HOMES = {
        "imagen.backends": "Adapter Backend BackendConfig Health open_backend",
        "imagen.core.capabilities": "Capabilities ParameterOutcome Parameter Receipt",
        "imagen.comparison": "compare",
        "imagen.config": "Settings load_settings",
        "imagen.errors": (
            "BackendError Cancelled ConfigError Failed ImagenError LibraryError Lost "
            "MissingDependency OutputError OverBudget RateLimited Rejected RequestError "
            "SomeFailed TimedOut Unauthorized Unavailable UnknownBackend WorkflowError"
        ),
        "imagen.jobs.recover": "RecoveredJob recover recover_all resume",
        "imagen.pipeline.generate": "Generation upscale_locally generate",
        "imagen.outputs": "SavedImage",
        "imagen.pipeline.record": "open_library_synced",
        "imagen.core.request": "Control Lora Outpaint Request Restore Upscale",
        "imagen.core.result": "Facts Output Progress Result no_progress",
        "imagen.core.ticket": "Ticket",
    }

    def __getattr__(name):
        from importlib import import_module

        for home, names in _HOMES.items():
            if name in names.split():
                return getattr(import_module(home), name)
        raise AttributeError(f"module 'imagen' has no attribute {name!r}")


__all__ = [
    "Adapter",
    "Backend",
    "BackendConfig",
    "BackendError",
    "Cancelled",
    "Capabilities",
    "ConfigError",
    "Control",
    "Facts",
    "Failed",
    "Generation",
    "Health",
    "ImagenError",
    "LibraryError",
    "Lora",
    "Lost",
    "MissingDependency",
    "Outpaint",
    "Output",
    "OutputError",
    "OverBudget",
    "Parameter",
    "ParameterOutcome",
    "Progress",
    "RateLimited",
    "Receipt",
    "RecoveredJob",
    "Rejected",
    "Request",
    "RequestError",
    "Restore",
    "Result",
    "SavedImage",
    "Settings",
    "SomeFailed",
    "Ticket",
    "TimedOut",
    "Unauthorized",
    "Unavailable",
    "UnknownBackend",
    "Upscale",
    "WorkflowError",
    "compare",
    "generate",
    "load_settings",
    "no_progress",
    "open_backend",
    "open_library_synced",
    "recover",
    "recover_all",
    "resume",
    "upscale_locally",
]
