"""The settings in force as plain values: defaults included, secrets masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.backends import configure
from imagen.config import VARIABLES, Settings, masked, variables
from imagen.core.text import bare_address, is_variable_name
from imagen.doctor import block_problems
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from collections.abc import Mapping


def resolved(settings: Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    """Every key with its value; also the file, the variables named in it, and what is wrong."""
    blocks = {name: _block(name, settings) for name in settings.backends}
    values = settings.model_dump(mode="json") | {"backends": blocks}
    faults = [p.sentence for name in settings.backends for p in block_problems(name, settings)]
    for webhook in values["webhooks"]:
        bare = bare_address(webhook["url"])
        webhook["url"] = bare if webhook["url"].rstrip("/") == bare else f"{bare}/…"
    shown: dict[str, Any] = masked(values)
    return shown | {
        "file": str(settings.source) if settings.source else None,
        "environment": _environment(blocks, environ),
        "problems": faults,
    }


def _block(name: str, settings: Settings) -> dict[str, Any]:
    """The backend's block with its defaults; as it stands in the file, where it is faulty."""
    raw = settings.backends[name]
    try:
        _, config = configure(name, settings.backends, settings.shared())
    except ImagenError:
        return raw
    return {"type": raw.get("type", name), **config.model_dump(mode="json")}


def _environment(blocks: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Of each variable that counts, whether it is set; never what it holds."""
    names = [name for _, name in variables(blocks) if is_variable_name(name)]
    named = dict.fromkeys(names, "unset")
    own = {variable: "set" for variable in VARIABLES if environ.get(variable)}
    return own | {name: "set" if environ.get(name) else state for name, state in named.items()}
