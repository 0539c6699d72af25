"""The record of an image: all of it in the sidecar, and the reproducible part in the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from hashlib import sha256
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from imagen.outputs.metadata.a1111 import format_parameters

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
"""The version of the sidecar and of the embedded record; the value of `imagen` in both."""


def build_embedded_record(output: Output, result: Result, ticket: Ticket, asked: Request) -> str:
    """The record in the image: equal for equal requests, so without times and job ids."""
    facts = result.facts
    entry: dict[str, object] = {
        "imagen": SIDECAR_FORMAT,
        "backend": ticket.backend,
        **({"workflow": ticket.workflow} if ticket.workflow else {}),
        "request": _set_fields(asked),
        "resolved": _set_fields(ticket.request),
        "receipt": {
            # `asked` is in the request already.
            name: {
                key: value
                for key, value in outcome.model_dump().items()
                if key != "asked" and value not in (None, "")
            }
            for name, outcome in ticket.receipt.items()
        },
        "model": facts.model,
        "models": facts.models,
        "seed": find_seed(output, result, ticket),
        "index": output.index,
    }
    if ticket.inputs:
        entry["inputs"] = [asdict(known) for known in ticket.inputs]
    plain = _json_value(entry, _file_names(ticket, asked))
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def build_parameters_text(
    output: Output, result: Result, ticket: Ticket, size: tuple[int | None, int | None]
) -> str:
    """The text that other tools read, with the values that were used."""
    facts, request = result.facts, ticket.request
    used = {
        name: getattr(request, name) if getattr(facts, name, None) is None else getattr(facts, name)
        for name in _USED
    }
    model = facts.model or next(iter(facts.models), "")
    feather = ticket.receipt.get("feather")
    values = used | {
        "feather": feather.asked if feather and feather.outcome == "applied" else None,
        "seed": find_seed(output, result, ticket),
        "size": f"{size[0]}x{size[1]}" if size[0] else None,
        "model": PureWindowsPath(model).stem or None,
        "backend": ticket.backend,
        "version": "imagen",
    }
    return format_parameters(request.prompt or "", request.negative or "", values)


def build_sidecar(
    output: Output,
    result: Result,
    ticket: Ticket,
    asked: Request,
    *,
    written: Mapping[str, object],
) -> bytes:
    """The whole record as JSON; `written` describes the file."""
    facts = {f.name: getattr(result.facts, f.name) for f in fields(result.facts)}
    whole = {
        "imagen": SIDECAR_FORMAT,
        **written,
        "seed": find_seed(output, result, ticket),
        "index": output.index,
        "backend": ticket.backend,
        "workflow": ticket.workflow,
        "ticket": ticket.id,
        "request": _set_fields(asked),
        "inputs": [asdict(known) for known in ticket.inputs],
        "resolved": _set_fields(ticket.request),
        "receipt": {name: outcome.model_dump() for name, outcome in ticket.receipt.items()},
        "graph": ticket.payload,
        "facts": facts,
        "warnings": result.warnings,
    }
    text = json.dumps(_json_value(whole, _file_names(ticket, asked)), ensure_ascii=False, indent=2)
    # A lone surrogate has no UTF-8; as `\ud83d` it is valid JSON and is read back unchanged.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def describe_file(data: bytes, media_type: str, name: str, now: datetime) -> dict[str, str]:
    """What the sidecar says about the file itself."""
    return {
        "file": name,
        "sha256": sha256(data).hexdigest(),
        "media_type": media_type,
        "created": now.isoformat(timespec="seconds"),
    }


def find_seed(output: Output, result: Result, ticket: Ticket) -> int | None:
    """The seed of this one image, if it is known."""
    known = (output.seed, result.facts.seed, ticket.request.seed)
    return next((seed for seed in known if seed is not None), None)


def _set_fields(request: Request) -> dict[str, object]:
    """The fields of the request that have a value."""
    return {k: v for k, v in request.model_dump().items() if v not in (None, (), {})}


def strip_folders(value: Any, request: Request) -> Any:
    """`value` as JSON, with file names in place of the paths that the request has."""
    return _json_value(value, {path: bare_name(path) for path in _paths(request, set())})


def _file_names(ticket: Ticket, asked: Request) -> dict[str, str]:
    """The file name of every path; the folders are private."""
    own = {known.parameter for known in ticket.inputs}
    requests = asked, ticket.request
    return {path: bare_name(path) for request in requests for path in _paths(request, own)}


def _paths(request: Request, own: set[str]) -> Iterator[str]:
    """Every path in the request; `own` are the backend's image parameters."""
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
    """Whether this is an absolute path on any system."""
    path = PureWindowsPath(text)
    fewest = 1 if path.drive else 2  # `/imagine a fox` is a prompt
    return bool(path.root) and len(path.parts) > fewest and "\n" not in text


def bare_name(reference: str) -> str:
    """The file name of a path or a URL; `data:` for a data URL."""
    if reference.startswith("data:"):
        return "data:"
    path = reference.split("?")[0].split("#")[0] if "://" in reference else reference
    return PureWindowsPath(path).name


def _json_value(value: object, names: Mapping[str, str]) -> object:
    """`value` as JSON can hold it, with file names in place of paths."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {str(key): _json_value(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item, names) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else str(value)
