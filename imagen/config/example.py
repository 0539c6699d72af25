"""imagen.example.yaml: every key with its default."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME = "imagen.example.yaml"


def example() -> str:
    """The text of the example, which is a configuration that works."""
    package = Path(__file__).parent.parent
    installed = package / _NAME
    return (installed if installed.is_file() else package.parent / _NAME).read_text("utf-8")


def example_with(blocks: Mapping[str, Mapping[str, Any]], notes: Iterable[str] = ()) -> str:
    """The example with these backends instead of its own, the first of them the default.

    The mock stays. `notes` stand below them as comments.
    """
    lines = example().split("\n")
    start = lines.index("backends:")
    end = next(i for i in range(start + 1, len(lines)) if lines[i] and lines[i][0] != " ")
    lines[start:end] = [
        *format_yaml({"backends": {**blocks, "mock": {"type": "mock"}}}),
        *(f"  # {note}" for note in notes),
        "",
    ]
    at = lines.index("default_backend: mock")
    lines[at : at + 1] = format_yaml({"default_backend": next(iter(blocks), "mock")})
    return "\n".join(lines)


def format_yaml(values: Mapping[str, Any]) -> list[str]:
    """The lines of these values as YAML, in ASCII."""
    import yaml

    return yaml.safe_dump(values, sort_keys=False, width=96).splitlines()
