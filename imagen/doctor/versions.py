"""Versions: of imagen, of what it runs on, and of the packages that only some need."""

from __future__ import annotations

import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from imagen import __version__
from imagen.doctor.findings import Finding
from imagen.errors import install_command

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALWAYS = ("httpx", "pillow", "pydantic", "sqlalchemy", "websockets")
_EXTRAS = {
    "postgres": ("psycopg",),
    "diffusers": ("diffusers", "torch", "transformers", "accelerate", "peft", "safetensors"),
}
"""To each extra, the packages that it brings."""


def look() -> Iterator[Finding]:
    """What a report of a fault should tell."""
    yield Finding(subject="imagen", says=__version__)
    yield Finding(subject="Python", says=platform.python_version())
    yield Finding(subject="platform", says=platform.platform())
    yield Finding(subject="SQLite", says=sqlite3.sqlite_version)
    yield Finding(subject="packages", says=_listed(_ALWAYS))
    for name, packages in _EXTRAS.items():
        there = [package for package in packages if _version(package)]
        missing = [package for package in packages if package not in there]
        yield extra(name, there, missing)


def extra(name: str, there: list[str], missing: list[str]) -> Finding:
    """What is there of an extra, and what it is without."""
    subject, install = f"extra {name}", (f"{install_command(name)} brings it.",)
    if not there:
        return Finding(subject=subject, state="note", says="not installed", remedies=install)
    if missing:
        says = f"{_listed(there)}; without {', '.join(missing)}"
        return Finding(subject=subject, state="warning", says=says, remedies=install)
    return Finding(subject=subject, says=_listed(there))


def _listed(packages: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"{name} {_version(name)}" for name in packages)


def _version(package: str) -> str:
    """ "" where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
