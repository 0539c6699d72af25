"""Write configurations: the two that `imagen config init` prints, and backends added to a file."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.core.filesystem import part_in, place_new
from imagen.core.text import encode_like
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.config.yaml_document import ConfigDocument

    Blocks = Mapping[str, Mapping[str, object]]

_FULL = "imagen.example.yaml"


def sample() -> str:
    """A short configuration that works, with what most people set."""
    return Path(__file__).with_name("sample.yaml").read_text("utf-8")


def example() -> str:
    """The same with every other key at its default, most of them in comments."""
    package = Path(__file__).parent.parent
    installed = package / _FULL
    return (installed if installed.is_file() else package.parent / _FULL).read_text("utf-8")


def with_backends(text: str, blocks: Blocks) -> str:
    """A sample with these backends and the mock instead of its own; the first is the default."""
    lines = text.split("\n")
    start = lines.index("backends:")
    end = next(i for i in range(start + 1, len(lines)) if lines[i] and lines[i][0] != " ")
    lines[start:end] = [*_format_yaml({"backends": {**blocks, "mock": {"type": "mock"}}}), ""]
    at = next(i for i, line in enumerate(lines) if line.startswith("default_backend:"))
    lines[at : at + 1] = _format_yaml({"default_backend": next(iter(blocks), "mock")})
    return "\n".join(lines)


def _format_yaml(values: Mapping[str, object]) -> list[str]:
    import yaml

    return yaml.safe_dump(values, sort_keys=False, width=96).splitlines()


@dataclass(frozen=True, slots=True)
class Addition:
    """The outcome for each block, by backend."""

    path: Path
    added: tuple[str, ...]
    present: tuple[str, ...] = ()
    """The file has exactly this block already."""
    differing: tuple[str, ...] = ()
    """The file has another block of this name, which was kept."""
    is_new_file: bool = False
    """The file was missing or empty, and is now the sample with these backends."""


def add_backends(path: Path, blocks: Blocks, *, template: str | None = None) -> Addition:
    """Add blocks to `backends` of a configuration file; all other text stays as it is.

    A backend of the same name is never replaced. A missing or empty file becomes the sample
    configuration, or this template, with these backends, the first of them the default.

    Raises ConfigError if the file is not YAML, if the blocks cannot be added without changing other
    settings, or if the file cannot be written; the file is then unchanged.
    """
    target, old, document = _read(path)
    if not document.text.strip():
        _replace(target, old, with_backends(template or sample(), blocks).encode())
        return Addition(path, tuple(blocks), is_new_file=True)
    existing = document.backends
    new = {name: dict(block) for name, block in blocks.items() if name not in existing}
    if new:
        # Insert the blocks into the text, and check that nothing else changes by it.
        from imagen.config.yaml_document import parse

        text = _insert_text(document, new)
        try:
            values = parse(document.source, text.encode()).values
        except ConfigError:
            values = {}
        if values != document.values | {"backends": {**document.backends, **new}}:
            lines = "\n".join(f"  {line}" for line in _format_yaml(new))
            raise ConfigError(
                f"{document.source} was not changed: adding backends would change other settings.",
                remedy=f"Add this to `backends` by hand:\n{lines}",
            )
        _replace(target, old, encode_like(text, old or b""))
    present = tuple(name for name in blocks if existing.get(name) == blocks[name])
    differing = tuple(name for name in blocks if name not in new and name not in present)
    return Addition(path, tuple(new), present, differing)


def write_new(path: Path, text: str) -> None:
    """Write a configuration that does not exist or is empty. Raises ConfigError for another."""
    target, old, document = _read(path)
    if document.text.strip():
        raise ConfigError(
            f"{path} already has a configuration and was not changed.",
            remedy="`imagen config init --detect --write` adds the backends of your engines to it. "
            "To write another file, name it: --write PATH.",
        )
    _replace(target, old, text.encode())


def _read(path: Path) -> tuple[Path, bytes | None, ConfigDocument]:
    """The file behind symbolic links, its content (None if it is missing), and its document."""
    from imagen.config.yaml_document import parse, read_bytes

    target = path.resolve()
    old = read_bytes(target) if os.path.lexists(target) else None
    return target, old, parse(path, old or b"")


def _replace(path: Path, old: bytes | None, new: bytes) -> None:
    """Write the file atomically, unless another program changed it since it held `old`."""
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
        raise ConfigError(f"Cannot write {path}: {error.strerror}.") from error
    if not is_written:
        raise ConfigError(
            f"Another program changed {path} at the same time; nothing was written.",
            remedy="Run the command again.",
        )


def _insert_text(document: ConfigDocument, new: Blocks) -> str:
    """The text with these blocks in it, which may mean something else now."""
    import yaml

    text, root = document.text, document.root
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    at = next((i for i, (key, _) in enumerate(pairs) if key.value == "backends"), None)
    mapping = root if at is None else pairs[at][1]
    values: Mapping[str, object] = {"backends": new} if at is None else new
    if isinstance(mapping, yaml.MappingNode) and mapping.flow_style:  # {a: {type: mock}}
        start = mapping.start_mark.index + 1
        inner = json.dumps(values, ensure_ascii=False)[1:-1]
        return f"{text[:start]}{inner}{', ' if mapping.value else ''}{text[start:]}"
    end, column = len(text), 0
    if at is not None:
        column = pairs[at][0].start_mark.column + 2
        if isinstance(mapping, yaml.MappingNode):
            column = mapping.start_mark.column
        following = [key.start_mark for key, _ in pairs[at + 1 :]]
        end = min((mark.index - mark.column for mark in following), default=end)
    before = text[:end].splitlines(keepends=True)
    while before:  # find the last line of the mapping at this column, or a comment in it
        indent = len(before[-1]) - len(before[-1].lstrip())
        if before[-1].strip() and (before[-1][indent] != "#" or indent >= column):
            break
        before.pop()
    head = "".join(before)
    line_end = "\r\n" if "\r\n" in text else "\n"
    lines = [" " * column + line + line_end for line in _format_yaml(values)]
    gap = "" if head.endswith("\n") or not head else line_end
    return head + gap + line_end * (at is None) + "".join(lines) + text[len(head) :]
