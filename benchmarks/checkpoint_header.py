"""The family of a 2 GB checkpoint from its header, beside the safetensors library reading it.

    python benchmarks/checkpoint_header.py

Needs the extra `diffusers`, which brings that library. The file is sparse: it takes no room.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from measure import in_turn, report

from imagen.model_files.identify import identify_model

TENSORS = 1130
ROWS, COLUMNS = 1208, 768
"""So that the whole is about 2 GB of 16-bit numbers, as SD 1.5 is."""
ATTENTION = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


def checkpoint(path: Path) -> Path:
    """As many tensors as an SD 1.5 has, with one that shows its family."""
    names = ["model.diffusion_model.input_blocks.0.0.weight", ATTENTION]
    names += [f"model.diffusion_model.middle_block.{number}.weight" for number in range(TENSORS)]
    size = ROWS * COLUMNS * 2
    header = {
        name: {
            "dtype": "F16",
            "shape": [ROWS, COLUMNS],
            "data_offsets": [at * size, at * size + size],
        }
        for at, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + len(names) * size)
    return path


def shapes(path: Path) -> dict[str, list[int]]:
    """What anyone must read who wants to know what a file holds."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint(Path(folder) / "sd15.safetensors")
        assert identify_model(path).family == "sd1"
        assert shapes(path)[ATTENTION] == [ROWS, COLUMNS]
        claim = in_turn(
            "the family of a 2 GB checkpoint / safetensors' shapes",
            lambda: identify_model(path),
            lambda: shapes(path),
            at_most=3.0,
            runs=30,
        )
    report([claim])


if __name__ == "__main__":
    main()
