"""For tests: the contract of every backend, and a simulated ComfyUI that fails on request.

`BackendContract` needs pytest (`pip install "imagen-backends[testing]"`);
`imagen.testing.comfyui` needs only what imagen itself needs.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagen.testing.contract import BackendContract, Rig
else:

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'imagen.testing' has no attribute {name!r}")
        from imagen.testing import contract

        return getattr(contract, name)


__all__ = ["BackendContract", "Rig"]
