"""Commands in their own processes, with real streams and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator


def _imagen(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imagen", *arguments],
        input=stdin,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(autouse=True)
def _fox() -> None:
    Image.radial_gradient("L").convert("RGB").resize((64, 48)).save("fox.png")


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyUI]:
    with ComfyUI() as server:
        yield server


@pytest.fixture
def _configured(server: ComfyUI) -> None:
    """Two models on a simulated ComfyUI."""
    blocks = {
        name: {"type": "comfyui", "url": server.url, "workflow": name}
        for name in ("sdxl", "flux2-klein")
    }
    Path("imagen.yaml").write_text(json.dumps({"default_backend": "sdxl", "backends": blocks}))


def test_a_request_is_read_from_a_pipe() -> None:
    wanted = json.dumps({"prompt": "un renard 🦊", "width": 32, "height": 32, "seed": 3})
    ran = _imagen("generate", "--from-json", "-", "-o", "fox-3.png", "-q", stdin=wanted)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "fox-3.png\n", "")
    kept = json.loads(Path("fox-3.png.json").read_text(encoding="utf-8"))
    assert (kept["request"]["prompt"], kept["seed"]) == ("un renard 🦊", 3)


def test_errors_are_printed_in_a_limited_encoding() -> None:
    ran = _imagen("outpaint", "fox.png", "--to", "32x32", PYTHONIOENCODING="ascii")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("imagen: --to 32x32 is smaller than the image")


@pytest.mark.usefixtures("_configured")
@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("generate x --image fox.png --strength 0.5 --size 64x48", (64, 48)),
        ("outpaint fox.png x --left 64 --bottom 16", (128, 64)),
        ("edit fox.png snow -b flux2-klein --size 64x48", (64, 48)),
        ("upscale fox.png --factor 3 -b sdxl", (192, 144)),
        ("upscale fox.png --factor 4 --prompt x", (256, 192)),
    ],
    ids=["image to image", "outpaint", "edit", "upscale by a model", "upscale and draw over"],
)
def test_image_tasks_run_on_a_server(line: str, size: tuple[int, int]) -> None:
    ran = _imagen(*line.split(), "-q", "-o", "made.png")
    assert (ran.returncode, ran.stdout) == (0, "made.png\n"), ran.stderr
    with Image.open("made.png") as made:
        assert made.size == size


@pytest.mark.usefixtures("_configured")
def test_the_server_creates_and_keeps_a_control_image() -> None:
    arguments = ["--control", "canny:fox.png:0.5:0-0.6", "--preprocess", "-o", "made.png"]
    ran = _imagen("generate", "x", *arguments, "-q")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["made-canny.png", "made.png"]


@pytest.mark.usefixtures("_configured")
def test_models_lists_the_models_of_a_server() -> None:
    ran = _imagen("models", "--kind", "sampler")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("sdxl, flux2-klein:\n  samplers: ")


@pytest.mark.parametrize(
    "shortage",
    [
        "MemoryError()",
        "OSError(errno.ENOMEM, 'Cannot allocate memory')",
        "ImportError('libXau.so.6: failed to map segment from shared object')",
        'RuntimeError("can\'t start new thread")',
    ],
)
def test_out_of_memory_is_reported(tmp_path: Path, shortage: str) -> None:
    package = tmp_path / "PIL" / "__init__.py"
    package.parent.mkdir()
    package.write_text(f"import errno\nraise {shortage}\n")

    ran = _imagen("generate", "a fox", "-q", PYTHONPATH=str(tmp_path))

    assert (ran.returncode, ran.stdout) == (1, "")
    assert "Out of memory." in ran.stderr
    assert "imagen resume" in ran.stderr
    assert "Traceback" not in ran.stderr
