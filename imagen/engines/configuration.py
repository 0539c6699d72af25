"""The settings in use, without their secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.backends import configure
from imagen.config import VARIABLES, masked, variables
from imagen.core.text import bare_address, is_variable_name
from imagen.doctor import find_backend_problems
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.config import Settings


def describe_settings(settings: Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    """Every key with its value; also the file, the variables it names, and the problems.

    Secrets are masked.
    """
    blocks: dict[str, dict[str, Any]] = {}
    for name, block in settings.backends.items():
        try:
            _, config = configure(name, settings.backends, settings.shared())
        except ImagenError:
            blocks[name] = block  # as it is in the file
        else:
            blocks[name] = {"type": block.get("type", name), **config.model_dump(mode="json")}
    values = settings.model_dump(mode="json") | {"backends": blocks}
    for webhook in values["webhooks"]:
        bare = bare_address(webhook["url"])
        webhook["url"] = bare if webhook["url"].rstrip("/") == bare else f"{bare}/…"
    named = [name for _, name in variables(blocks) if is_variable_name(name)]
    shown: dict[str, Any] = masked(values)
    return shown | {
        "file": str(settings.source) if settings.source else None,
        "environment": {  # whether each variable is set, never its value
            **{name: "set" for name in VARIABLES if environ.get(name)},
            **{name: "set" if environ.get(name) else "unset" for name in named},
        },
        "problems": [
            problem.sentence
            for name in settings.backends
            for problem in find_backend_problems(name, settings)
        ],
    }
