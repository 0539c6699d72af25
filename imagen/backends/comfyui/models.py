"""The checkpoint that a request names, among those of the server."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.backends.model_choice import find_name, is_path, missing_model
from imagen.core.capabilities import ParameterOutcome
from imagen.core.text import one_line
from imagen.errors import ConfigError, RequestError
from imagen.graphs import list_workflows
from imagen.graphs.edits import ModelPlace, with_model
from imagen.graphs.graph import inputs_of
from imagen.graphs.model_names import FOLDERS, bare_name, base_name
from imagen.graphs.node_catalog import read_catalog
from imagen.model_files.identify import identify_model
from imagen.model_files.upscalers import choose_upscaler, is_family
from imagen.net.http import is_timeout
from imagen.net.retry import retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.comfyui.client import ComfyClient
    from imagen.core.ticket import Ticket
    from imagen.graphs import Manifest

_MAIN_FOLDERS = ("checkpoints", "diffusion_models", "controlnet", "model_patches")
_HEADERS: Mapping[str, str] = {
    "sd15": "sd1",
    "sd21": "sd2",
    "sd35": "sd3",
    "flux2-klein": "flux2",
}
"""What the header of a file calls the family of a manifest, where that differs."""


def name_on_server(asked: str) -> str:
    """What to look for at the server: of a path its last part, as a server has its own folders."""
    return base_name(asked) if is_path(asked) else asked


def refuse_other_family(model: str, manifest: Manifest, dirs: tuple[Path, ...]) -> None:
    """Raises RequestError where a model is known to be of another family than the workflow.

    It is known where a workflow loads a file of this name, and of a local file by its header. All
    else goes to the server, since a name alone does not show what a file holds.
    """
    known = {bare_name(name): family for name, family in families(dirs).items()}
    family = _family_of_file(model) or known.get(bare_name(base_name(model)), "")
    is_known = bool(family and manifest.family)
    if is_known and _header_family(family) != _header_family(manifest.family):
        names = [
            workflow.name
            for workflow in list_workflows(dirs)
            if _header_family(workflow.manifest.family) == _header_family(family)
        ]
        use = "Set `workflow` of the backend, or --workflow of generate, to one for that family"
        raise RequestError(
            f"model {one_line(base_name(model))!r} is of the family {family}, and the "
            f"workflow is for {manifest.family}.",
            remedy=f"{use}{': ' if names else ''}{', '.join(names)}.",
        )


def _family_of_file(model: str) -> str:
    path = Path(model).expanduser()
    if not (is_path(model) and os.path.isfile(path)):
        return ""
    try:
        return identify_model(path).family
    except ConfigError:
        return ""  # what the server has under this name may be whole


def _header_family(family: str) -> str:
    return _HEADERS.get(family, family)


def families(dirs: tuple[Path, ...]) -> dict[str, str]:
    """The family of each model file that a workflow speaks of."""
    return {
        base_name(file.file): workflow.manifest.family
        for workflow in list_workflows(dirs)
        for file in workflow.manifest.files
        if file.folder in _MAIN_FOLDERS
    }


def locate_model(
    client: ComfyClient, ticket: Ticket, manifest: Manifest, dirs: tuple[Path, ...]
) -> Ticket:
    """The ticket with the model by the name that the server has for it.

    Raises RequestError where the server lists none of that name, or several.
    """
    model = ticket.request.model
    if model is None:
        return ticket
    for node, name, choices in _choices(client, ticket.payload, model):
        found = find_name(model, choices)
        if found is None:
            raise missing_model(
                model, choices, f"on {client.at}", _remedy(ticket, FOLDERS.get(name, ""))
            )
        refuse_other_family(found, manifest, dirs)
        ticket = _renamed(ticket, ModelPlace(((node, name),), model), found)
    return ticket


def locate_upscaler(client: ComfyClient, ticket: Ticket) -> Ticket:
    """The ticket with an upscaler of the server, where the request names a family of them.

    Raises RequestError where the server has none of that family.
    """
    upscale = ticket.request.upscale
    family = upscale.method if upscale else None
    if upscale is None or family is None or not is_family(family):
        return ticket
    for node, name, choices in _choices(client, ticket.payload, family):
        found = choose_upscaler(family, choices, upscale.factor)
        if found is None:
            raise missing_model(
                family, choices, f"on {client.at}", f"See: imagen models --backend {ticket.backend}"
            )
        why = f"the installed upscaler of the family {family}"
        used = upscale.model_copy(update={"method": found})
        fate = ParameterOutcome(outcome="mapped", asked=upscale, used=used.model_dump(), why=why)
        extra = {key: found for key, value in ticket.request.extra.items() if value == family}
        ticket = ticket.model_copy(
            update={
                "request": ticket.request.with_values({"upscale": used, **extra}),
                "receipt": ticket.receipt | {"upscale": fate},
                "payload": with_model(ticket.payload, ModelPlace(((node, name),), family), found),
            }
        )
    return ticket


def _choices(
    client: ComfyClient, graph: Mapping[str, Any], model: str
) -> list[tuple[str, str, list[str]]]:
    """Each input that names the model and takes one of a list, and that list."""
    found: list[tuple[str, str, list[str]]] = []
    for node_id, node in graph.items():
        for name in [name for name, value in inputs_of(node).items() if value == model]:
            kind = str(node["class_type"])
            info = retry(partial(client.node_info, kind), unless=is_timeout)
            spec = read_catalog(info).get(kind)
            choices = spec.inputs[name].choices if spec and name in spec.inputs else None
            if choices is not None:
                names = [choice for choice in choices if isinstance(choice, str)]
                found.append((node_id, name, names))
    return found


def _remedy(ticket: Ticket, folder: str) -> str:
    if is_path(str(ticket.receipt["model"].asked)):
        where = f"models/{folder}" if folder else "its folder of models"
        return f"A ComfyUI server loads models from its own folders; put the file into {where}."
    return f"See: imagen models --backend {ticket.backend}"


def _renamed(ticket: Ticket, place: ModelPlace, model: str) -> Ticket:
    known = ticket.receipt["model"]
    is_same = model == known.asked
    changes = {"outcome": "applied" if is_same else "mapped", "used": None if is_same else model}
    fate = known.model_copy(update=changes)
    return ticket.model_copy(
        update={
            "request": ticket.request.with_values({"model": model}),
            "receipt": ticket.receipt | {"model": fate},
            "payload": with_model(ticket.payload, place, model),
        }
    )
