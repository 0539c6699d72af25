"""The configurations that `imagen config init` prints: a short sample, and one with every key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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
