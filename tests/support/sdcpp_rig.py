"""Puts the sdcpp adapter before its stand-in."""

from __future__ import annotations

import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.backends import open_backend
from imagen.backends.sdcpp import SdCpp
from imagen.core.request import Request
from support.tiny_weights import sd15, taesd, write

if TYPE_CHECKING:
    from imagen.backends import Backend
    from imagen.core.result import Progress, Result
    from imagen.core.ticket import Ticket
    from support.tiny_weights import Shapes

STAND_IN = Path(__file__).with_name("stand_in.py")
PICTURE = {"width": 64, "height": 64, "seed": 7, "steps": 2}


class Bench:
    """A folder with models, and the stand-in that runs them; what it can do is asked once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = write(folder / "sd15.safetensors", sd15())

    def block(self, way: str = "ok", **more: Any) -> dict[str, Any]:
        """A block of the configuration whose program behaves this way."""
        command = [sys.executable, "-S", str(STAND_IN), way]
        base = {
            "type": "sdcpp",
            "binary": command,
            "model": str(self.model),
            "cache_dir": str(self.folder.parent / "programs"),
        }
        return {name: value for name, value in (base | more).items() if value is not None}

    def open(self, way: str = "ok", **more: Any) -> Backend:
        """A backend called `rigged` of that block."""
        return open_backend("rigged", {"rigged": self.block(way, **more)})

    def sdcpp(self, way: str = "ok", **more: Any) -> SdCpp:
        """The same, as what it is."""
        engine = self.open(way, **more)
        assert isinstance(engine, SdCpp)
        return engine

    def made(self, way: str = "ok", asked: dict[str, Any] | None = None, **more: Any) -> Made:
        """Prepare and collect one request."""
        request = Request(prompt="a fox").with_values(PICTURE | (asked or {}))
        told: list[Progress] = []
        with closing(self.open(way, **more)) as engine:
            ticket = engine.prepare(request)
            return Made(ticket, engine.collect(ticket, told.append), told)

    def file(self, name: str, shapes: Shapes) -> str:
        """A small file of weights with these tensors."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(write(path, shapes))

    def taesd(self) -> str:
        return str(write(self.folder / "taesd.safetensors", taesd()))

    def starts(self) -> list[int]:
        """The port of each run of the stand-in, open while it lives."""
        note = Path("starts")
        return list(map(int, note.read_text("utf-8").split())) if note.exists() else []

    def arguments(self) -> list[str]:
        """The arguments of the last run."""
        return Path("arguments").read_text("utf-8").split("\0")

    def is_at_work(self) -> bool:
        """Whether any run of the stand-in still lives."""
        return any(map(_is_open, self.starts()))


class Made:
    """What one run gave."""

    def __init__(self, ticket: Ticket, result: Result, told: list[Progress]) -> None:
        self.ticket = ticket
        self.result = result
        self.told = told


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


_LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
LORA: Shapes = {
    f"{_LAYER}.lora_down.weight": (4, 768),
    f"{_LAYER}.lora_up.weight": (320, 4),
}
ESRGAN: Shapes = {
    "conv_first.weight": (64, 3, 3, 3),
    "body.0.rdb1.conv1.weight": (32, 64, 3, 3),
    "conv_up1.weight": (64, 64, 3, 3),
    "conv_up2.weight": (64, 64, 3, 3),
    "conv_last.weight": (3, 64, 3, 3),
}
CONTROL: Shapes = {
    "control_model.zero_convs.0.0.weight": (320, 320, 1, 1),
    "control_model.input_hint_block.0.weight": (16, 3, 3, 3),
}
