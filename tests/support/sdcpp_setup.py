"""A stable-diffusion.cpp backend on the fake sd-cli, with small weight files."""

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

FAKE_SD_CLI = Path(__file__).with_name("fake_sd_cli.py")
SMALL_IMAGE = {"width": 64, "height": 64, "seed": 7, "steps": 2}


class SdCppSetup:
    """A folder with a model, and the fake sd-cli that runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = write(folder / "sd15.safetensors", sd15())

    def block(self, way: str = "ok", **more: Any) -> dict[str, Any]:
        """A configuration block whose program behaves this way."""
        command = [sys.executable, "-S", str(FAKE_SD_CLI), way]
        base = {
            "type": "sdcpp",
            "binary": command,
            "model": str(self.model),
            "cache_dir": str(self.folder.parent / "programs"),
        }
        return {name: value for name, value in (base | more).items() if value is not None}

    def open(self, way: str = "ok", **more: Any) -> Backend:
        """A backend called `rigged`."""
        return open_backend("rigged", {"rigged": self.block(way, **more)})

    def open_sdcpp(self, way: str = "ok", **more: Any) -> SdCpp:
        """The same backend, with its own type."""
        engine = self.open(way, **more)
        assert isinstance(engine, SdCpp)
        return engine

    def generate(
        self, way: str = "ok", asked: dict[str, Any] | None = None, **more: Any
    ) -> SdCppRun:
        """Generate the images of one request."""
        request = Request(prompt="a fox").with_values(SMALL_IMAGE | (asked or {}))
        reports: list[Progress] = []
        with closing(self.open(way, **more)) as engine:
            ticket = engine.prepare(request)
            return SdCppRun(ticket, engine.collect(ticket, reports.append), reports)

    def write_weights(self, name: str, shapes: Shapes) -> str:
        """Write a small weight file with these tensors."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(write(path, shapes))

    def write_taesd(self) -> str:
        return str(write(self.folder / "taesd.safetensors", taesd()))

    def run_ports(self) -> list[int]:
        """The port of each run of the fake, open while it lives."""
        note = Path("starts")
        return list(map(int, note.read_text("utf-8").split())) if note.exists() else []

    def last_arguments(self) -> list[str]:
        """The arguments of the last run."""
        return Path("arguments").read_text("utf-8").split("\0")

    def is_running(self) -> bool:
        """Whether any run of the fake still lives."""
        return any(map(_is_open, self.run_ports()))


class SdCppRun:
    """The ticket, result and progress of one run."""

    def __init__(self, ticket: Ticket, result: Result, reports: list[Progress]) -> None:
        self.ticket = ticket
        self.result = result
        self.reports = reports


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
