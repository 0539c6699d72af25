"""The table of what each engine does matches the capabilities of the adapters."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from simulators.a1111 import A1111Server
from simulators.replicate import MODELS
from support.model_file_samples import SD1, VAE, safetensors, write_file
from support.pages import section

from imagen.backends import open_backend
from imagen.core.request import TASKS
from imagen.graphs import list_workflows

if TYPE_CHECKING:
    from collections.abc import Iterator

_NONE = "–"
Blocks = list[dict[str, Any]]


def _table() -> list[list[str]]:
    lines = section("docs/backends.md", "What each engine does").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [rows[0], *rows[2:]]


def _comfyui() -> Blocks:
    bases = [known.name for known in list_workflows() if known.manifest.task == "text-to-image"]
    return [{"type": "comfyui", "workflow": name} for name in bases]


def _a1111() -> Blocks:
    """A server with every extension, which was asked before."""
    with A1111Server() as server:
        block = {"type": "a1111", "url": server.url, "cache_dir": str(Path("cache").absolute())}
        with closing(open_backend("one", {"one": block})) as engine:
            engine.check()
    return [block]


def _sdcpp(**more: Any) -> Blocks:
    """An SD 1 with every optional file, and a FLUX.1, which takes references."""
    sd1 = write_file(Path("sd1.safetensors").absolute(), safetensors(SD1 | VAE))
    flux = {"double_blocks.0.img_attn.qkv.weight": (1, 64), "img_in.weight": (1, 64)}
    dev = flux | {"guidance_in.in_layer.weight": (1, 1)}
    kontext = write_file(Path("kontext.safetensors").absolute(), safetensors(dev))
    whole = {"model": str(sd1), "controlnets": {"canny": str(sd1)}, "upscale_models": [str(sd1)]}
    return [
        {"type": "sdcpp", **whole, **more},
        {"type": "sdcpp", "diffusion_model": str(kontext), **more},
    ]


def _diffusers() -> Blocks:
    names = ("StableDiffusionPipeline", "Flux2KleinPipeline", "FluxPipeline")
    for name in names:
        Path(name).mkdir()
        Path(name, "model_index.json").write_text(json.dumps({"_class_name": name}))
    nets = {"controlnets": {"canny": str(Path("net").absolute())}}
    return [{"type": "diffusers", "model": str(Path(name).absolute()), **nets} for name in names]


def _replicate() -> Blocks:
    blocks: Blocks = []
    for number, (model, schemas) in enumerate(sorted(MODELS.items())):
        path = Path(f"{number}.json").absolute()
        path.write_text(json.dumps(schemas))
        blocks.append({"type": "replicate", "model": model, "input_schema": str(path)})
    return blocks


def _openai() -> Blocks:
    return [{"type": "openai"}]


def _mock() -> Blocks:
    return [{"type": "mock"}]


_ENGINES = {
    "comfyui": _comfyui,
    "a1111": _a1111,
    "diffusers": _diffusers,
    "sdcpp": _sdcpp,
    "replicate": _replicate,
    "openai": _openai,
    "mock": _mock,
}


def _tasks(blocks: Blocks) -> Iterator[str]:
    for block in blocks:
        with closing(open_backend("one", {"one": block})) as engine:
            yield from engine.capabilities().tasks


def test_the_table_has_a_row_for_each_task_and_a_column_for_each_engine() -> None:
    head, *rows = _table()
    assert head[1:] == [f"`{engine}`" for engine in _ENGINES]
    assert [row[0] for row in rows] == list(TASKS)


@pytest.mark.parametrize("engine", _ENGINES)
def test_the_table_matches_the_adapter(engine: str) -> None:
    head, *rows = _table()
    column = head.index(f"`{engine}`")
    tasks = {row[0] for row in rows if row[column] != _NONE}
    assert tasks == set(_tasks(_ENGINES[engine]()))
