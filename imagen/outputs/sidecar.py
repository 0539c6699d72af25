"""What is written down about a picture: all of it in the sidecar, what never varies in the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from hashlib import sha256
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from imagen.outputs.metadata import a1111

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from imagen.core.request import Request
    from imagen.core.result import Output, Result
    from imagen.core.ticket import Ticket

_USED = (
    *("steps", "sampler", "scheduler", "cfg", "guidance", "strength"),
    *("variation_seed", "variation_strength"),
)
SIDECAR_FORMAT = 1
"""Of the sidecar and of the entry in the picture; stands in both as `imagen`."""


def build_embedded_record(output: Output, result: Result, ticket: Ticket, asked: Request) -> str:
    """The entry for the picture: the same for the same request, so without times and job ids."""
    facts = result.facts
    entry: dict[str, Any] = {
        "imagen": SIDECAR_FORMAT,
        "backend": ticket.backend,
        **({"workflow": ticket.workflow} if ticket.workflow else {}),
        "request": _said(asked),
        "resolved": _said(ticket.request),
        "receipt": {name: _outcome(fate.model_dump()) for name, fate in ticket.receipt.items()},
        "model": facts.model,
        "models": facts.models,
        "seed": find_seed(output, result, ticket),
        "index": output.index,
    }
    if ticket.inputs:
        entry["inputs"] = [asdict(known) for known in ticket.inputs]
    return json.dumps(
        _plain(entry, _names(ticket, asked)), ensure_ascii=False, separators=(",", ":")
    )


def build_parameters_text(
    output: Output, result: Result, ticket: Ticket, size: tuple[int | None, int | None]
) -> str:
    """The text that other tools read, from what was really used."""
    facts, request = result.facts, ticket.request
    used = {
        name: getattr(request, name) if getattr(facts, name, None) is None else getattr(facts, name)
        for name in _USED
    }
    named = facts.model or next(iter(facts.models), "")
    feather = ticket.receipt.get("feather")
    values = used | {
        "feather": feather.asked if feather and feather.outcome == "applied" else None,
        "seed": find_seed(output, result, ticket),
        "size": f"{size[0]}x{size[1]}" if size[0] else None,
        "model": PureWindowsPath(named).stem or None,
        "backend": ticket.backend,
        "version": "imagen",
    }
    return a1111.format_parameters(request.prompt or "", request.negative or "", values)


def build_sidecar(
    output: Output, result: Result, ticket: Ticket, asked: Request, *, written: Mapping[str, Any]
) -> bytes:
    """The whole record as JSON; `written` says of the file what only its writer knows."""
    facts = {f.name: getattr(result.facts, f.name) for f in fields(result.facts)}
    whole = {
        "imagen": SIDECAR_FORMAT,
        **written,
        "seed": find_seed(output, result, ticket),
        "index": output.index,
        "backend": ticket.backend,
        "workflow": ticket.workflow,
        "ticket": ticket.id,
        "request": _said(asked),
        "inputs": [asdict(known) for known in ticket.inputs],
        "resolved": _said(ticket.request),
        "receipt": {name: fate.model_dump() for name, fate in ticket.receipt.items()},
        "graph": ticket.payload,
        "facts": facts,
        "warnings": result.warnings,
    }
    text = json.dumps(_plain(whole, _names(ticket, asked)), ensure_ascii=False, indent=2)
    # A lone surrogate has no UTF-8; as `\ud83d` it is valid JSON and comes back as it was.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def describe_file(data: bytes, media_type: str, name: str, now: datetime) -> dict[str, Any]:
    """What the sidecar says of the file itself."""
    return {
        "file": name,
        "sha256": sha256(data).hexdigest(),
        "media_type": media_type,
        "created": now.isoformat(timespec="seconds"),
    }


def find_seed(output: Output, result: Result, ticket: Ticket) -> int | None:
    """The seed of this one picture, as far as anyone knows it."""
    known = (output.seed, result.facts.seed, ticket.request.seed)
    return next((seed for seed in known if seed is not None), None)


def _said(request: Request) -> dict[str, Any]:
    """What the request says, without what it leaves open."""
    return {k: v for k, v in request.model_dump().items() if v not in (None, (), {})}


def _outcome(fate: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was asked, since the request stands in the same entry."""
    return {k: v for k, v in fate.items() if k != "asked" and v not in (None, "")}


def strip_folders(value: Any, request: Request) -> Any:
    """`value` as JSON can hold it, with the bare names of the files that the request names."""
    return _plain(value, {path: bare_name(path) for path in _paths(request, set())})


def _names(ticket: Ticket, asked: Request) -> dict[str, str]:
    """For each file that was given, the name alone: where it lies is nobody's business."""
    own = {known.parameter for known in ticket.inputs}
    requests = asked, ticket.request
    return {path: bare_name(path) for request in requests for path in _paths(request, own)}


def _paths(request: Request, own: set[str]) -> Iterator[str]:
    """Every file that the request names; `own` are the backend's parameters that are pictures."""
    yield from (path for path in (request.image, request.mask) if path)
    yield from request.references
    yield from (control.image for control in request.controls)
    upscaler = request.upscale.method if request.upscale else None
    restorer = request.restore.model if request.restore else None
    loras = (lora.name for lora in request.loras)
    models = (request.model or "", *loras, upscaler or "", restorer or "")
    yield from (name for name in models if is_absolute_path(name) or name.startswith(("~/", "~\\")))
    for name, value in request.extra.items():
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str) and (name in own or is_absolute_path(text)):
                yield text


def is_absolute_path(text: str) -> bool:
    """Whether this is a path from the root down, on any system."""
    path = PureWindowsPath(text)
    fewest = 1 if path.drive else 2  # `/imagine a fox` is no path
    return bool(path.root) and len(path.parts) > fewest and "\n" not in text


def bare_name(reference: str) -> str:
    """The file's name; of an address that of its path, and of data nothing."""
    if reference.startswith("data:"):
        return "data:"
    path = reference.split("?")[0].split("#")[0] if "://" in reference else reference
    return PureWindowsPath(path).name


def _plain(value: Any, names: Mapping[str, str]) -> Any:
    """`value` as JSON can hold it, with the names of files for their paths."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, names) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else str(value)
