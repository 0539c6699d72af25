"""The configurations that `imagen config init` prints: a short sample, and one with every key."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.core.filesystem import part_in, place_new
from imagen.core.text import encode_like
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.config.yaml_document import Document


_FULL = "imagen.example.yaml"


def sample() -> str:
    """What most people set: a configuration that works."""
    return Path(__file__).with_name("sample.yaml").read_text("utf-8")


def example() -> str:
    """The same with every other key at its default, most of them as comments."""
    package = Path(__file__).parent.parent
    installed = package / _FULL
    return (installed if installed.is_file() else package.parent / _FULL).read_text("utf-8")


def with_backends(text: str, blocks: Mapping[str, Mapping[str, Any]]) -> str:
    """A sample with these backends and the mock instead of its own; the first is the default."""
    lines = text.split("\n")
    start = lines.index("backends:")
    end = next(i for i in range(start + 1, len(lines)) if lines[i] and lines[i][0] != " ")
    lines[start:end] = [*format_yaml({"backends": {**blocks, "mock": {"type": "mock"}}}), ""]
    at = next(i for i, line in enumerate(lines) if line.startswith("default_backend:"))
    lines[at : at + 1] = format_yaml({"default_backend": next(iter(blocks), "mock")})
    return "\n".join(lines)


def format_yaml(values: Mapping[str, Any]) -> list[str]:
    """The lines of these values as YAML, in ASCII."""
    import yaml

    return yaml.safe_dump(values, sort_keys=False, width=96).splitlines()


@dataclass(frozen=True, slots=True)
class Addition:
    """What became of each block, by the backend's name."""

    path: Path
    added: tuple[str, ...]
    present: tuple[str, ...] = ()
    """The file has exactly this block already."""
    differing: tuple[str, ...] = ()
    """The file has another block of this name, which was kept."""
    is_new_file: bool = False
    """The file was missing or empty, and is now the sample with these backends."""


def add_backends(
    path: Path, blocks: Mapping[str, Mapping[str, Any]], *, template: str | None = None
) -> Addition:
    """Add these blocks to `backends` of a configuration file; all other text stays as it is.

    A backend of the same name is never replaced. A missing or empty file becomes the sample
    configuration, or this template, with these backends, the first of them the default.

    Raises ConfigError where the file is not YAML, where the blocks can't be added without changing
    other settings, or where the file can't be written; the file is then unchanged.
    """
    from imagen.config.yaml_document import insert_backends

    target, old, document = _read(path)
    if not document.text.strip():
        _replace(target, old, with_backends(template or sample(), blocks).encode())
        return Addition(path, tuple(blocks), is_new_file=True)
    existing = document.backends
    new = {name: dict(block) for name, block in blocks.items() if name not in existing}
    if new:
        _replace(target, old, encode_like(insert_backends(document, new), old or b""))
    present = tuple(name for name in blocks if existing.get(name) == blocks[name])
    differing = tuple(name for name in blocks if name not in new and name not in present)
    return Addition(path, tuple(new), present, differing)


def write_new(path: Path, text: str) -> None:
    """Write a configuration where no file is, or an empty one; raises ConfigError elsewhere."""
    target, old, document = _read(path)
    if document.text.strip():
        raise ConfigError(
            f"{path} already has a configuration, and is left as it is.",
            remedy="`imagen config init --detect --write` adds the backends of your engines to it. "
            "To write another file, name it: --write PATH.",
        )
    _replace(target, old, text.encode())


def _read(path: Path) -> tuple[Path, bytes | None, Document]:
    """The file itself, behind links, what it holds (None where it is missing), and as read."""
    from imagen.config.yaml_document import parse, read_bytes

    target = path.resolve()
    old = read_bytes(target) if os.path.lexists(target) else None
    return target, old, parse(path, old or b"")


def _replace(path: Path, old: bytes | None, new: bytes) -> None:
    """Write the file whole, unless another program changed it since it held `old`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part_in(path.parent) as part:
            part.write_bytes(new)
            if old is None:
                is_written = place_new(part, path)
            elif is_written := path.read_bytes() == old:
                shutil.copymode(path, part)
                os.replace(part, path)
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}.") from error
    if not is_written:
        raise ConfigError(
            f"{path} was changed by another program meanwhile, and is left as it is.",
            remedy="Run the command again.",
        )
