"""The model files of a server: which it lists, and what it calls those of a request or graph."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.backends.base import Model
from imagen.backends.comfyui import errors
from imagen.backends.model_choice import find_name, is_path, model_not_found
from imagen.core.capabilities import ParameterOutcome
from imagen.core.json_values import as_mapping
from imagen.core.text import one_line
from imagen.errors import BackendError, ConfigError, Rejected, RequestError
from imagen.graphs import list_workflows
from imagen.graphs.edits import ModelPlace, with_model
from imagen.graphs.graph import inputs_of
from imagen.graphs.model_names import (
    FOLDERS,
    bare_name,
    base_name,
    is_model_file,
    match_model_names,
    names_file,
    spellings,
)
from imagen.graphs.node_catalog import read_catalog
from imagen.graphs.validate import check_value, fault_at
from imagen.model_files.identify import identify_model
from imagen.model_files.upscalers import choose_upscaler, is_family
from imagen.net.http import is_timeout
from imagen.net.retry import retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.base import ModelKind
    from imagen.backends.comfyui.client import ComfyClient
    from imagen.core.ticket import Ticket
    from imagen.graphs import Manifest
    from imagen.graphs.graph import Graph, Node

_MAIN_FOLDERS = ("checkpoints", "diffusion_models", "controlnet", "model_patches")
_HEADER_FAMILIES: Mapping[str, str] = {
    "sd15": "sd1",
    "sd21": "sd2",
    "sd35": "sd3",
    "flux2-klein": "flux2",
}
"""What the header of a file calls the family of a manifest, where that differs."""
_MAIN_KINDS = ("checkpoint", "diffusion_model")
_LISTED: tuple[tuple[ModelKind, str, str, str], ...] = (
    ("checkpoint", "CheckpointLoaderSimple", "ckpt_name", "checkpoints"),
    ("diffusion_model", "UNETLoader", "unet_name", "diffusion_models"),
    ("diffusion_model", "UnetLoaderGGUF", "unet_name", ""),
    ("lora", "LoraLoader", "lora_name", "loras"),
    ("controlnet", "ControlNetLoader", "control_net_name", "controlnet"),
    ("controlnet", "ModelPatchLoader", "name", "model_patches"),
    ("upscaler", "UpscaleModelLoader", "model_name", "upscale_models"),
    ("vae", "VAELoader", "vae_name", "vae"),
    ("text_encoder", "CLIPLoader", "clip_name", "text_encoders"),
    ("sampler", "KSampler", "sampler_name", ""),
    ("scheduler", "KSampler", "scheduler", ""),
)
"""For each kind: the node class and the input that list it, and its folder below models/."""
_UNCHECKED = ("UpscaleModelLoader", "TripleCLIPLoader", "QuadrupleCLIPLoader")
"""Loaders in the newer style, whose choices ComfyUI 0.3.64 does not check in a graph."""


def list_server_models(
    client: ComfyClient, dirs: tuple[Path, ...], default: str
) -> tuple[Model, ...]:
    """Everything that the server's own loaders and samplers list; `default` is the block's model.

    A size is known where the server lists the sizes of a whole folder; a family where a workflow
    loads the file. Raises BackendError where the server cannot be asked.
    """
    catalog = read_catalog(client.node_catalog())
    known = model_families(dirs)
    models: list[Model] = []
    for kind, node_class, input_name, folder in _LISTED:
        node = catalog.get(node_class)
        wanted = node.inputs.get(input_name) if node else None
        choices = (wanted.choices or ()) if wanted else ()
        names = [choice for choice in choices if isinstance(choice, str)]
        sizes = _file_sizes(client, folder) if names and folder else {}
        models += (
            Model(
                kind=kind,
                name=name,
                family=known.get(base_name(name), ""),
                size_bytes=sizes.get(name),
                is_default=kind in _MAIN_KINDS and spellings(default, names) == [name],
            )
            for name in names
        )
    return tuple(dict.fromkeys(models))


def _file_sizes(client: ComfyClient, folder: str) -> dict[str, int]:
    """The bytes of each file of a folder; empty where the server does not tell them."""
    try:
        files = [as_mapping(file) for file in client.folder(folder)]
    except BackendError:
        return {}
    sizes = ((file.get("name"), file.get("size")) for file in files)
    return {
        name: size
        for name, size in sizes
        if isinstance(name, str) and type(size) is int and size >= 0
    }


def model_families(dirs: tuple[Path, ...]) -> dict[str, str]:
    """The family of each model file that a workflow names."""
    return {
        base_name(file.file): workflow.manifest.family
        for workflow in list_workflows(dirs)
        for file in workflow.manifest.files
        if file.folder in _MAIN_FOLDERS
    }


def server_name(model: str) -> str:
    """What to look for on the server: the last part of a path, as a server has its own folders."""
    return base_name(model) if is_path(model) else model


def refuse_other_family(model: str, manifest: Manifest, dirs: tuple[Path, ...]) -> None:
    """Raises RequestError where a model is known to be of another family than the workflow.

    The family is known from the header of a local file, or where a workflow loads a file of this
    name. Everything else is left to the server: a name alone does not show what a file holds.
    """
    family, path = "", Path(model).expanduser()
    if is_path(model) and os.path.isfile(path):
        with suppress(ConfigError):  # the server may have an undamaged file of this name
            family = identify_model(path).family
    known = {bare_name(name): family for name, family in model_families(dirs).items()}
    family = family or known.get(bare_name(base_name(model)), "")
    if not (family and manifest.family):
        return
    header_family = _HEADER_FAMILIES.get(family, family)
    if header_family == _HEADER_FAMILIES.get(manifest.family, manifest.family):
        return
    names = [
        workflow.name
        for workflow in list_workflows(dirs)
        if _HEADER_FAMILIES.get(workflow.manifest.family, workflow.manifest.family) == header_family
    ]
    use = "Set `workflow` of the backend, or --workflow of generate, to one for that family"
    raise RequestError(
        f"model {one_line(base_name(model))!r} is of the family {family}, and the "
        f"workflow is for {manifest.family}.",
        remedy=f"{use}{': ' if names else ''}{', '.join(names)}.",
    )


def locate_model(
    client: ComfyClient, ticket: Ticket, manifest: Manifest, dirs: tuple[Path, ...]
) -> Ticket:
    """The ticket with the requested model by the name that the server has for it.

    Raises RequestError where the server lists no such model, or several.
    """
    model = ticket.request.model
    if model is None:
        return ticket
    for node, name, choices in _choices(client, ticket.payload, model):
        found = find_name(model, choices)
        if found is None:
            remedy = f"See: imagen models --backend {ticket.backend}"
            if is_path(str(ticket.receipt["model"].asked)):
                folder = FOLDERS.get(name, "")
                where = f"models/{folder}" if folder else "its folder of models"
                remedy = (
                    "A ComfyUI server loads models from its own folders; put the file into "
                    f"{where}."
                )
            raise model_not_found(model, choices, f"on {client.at}", remedy)
        refuse_other_family(found, manifest, dirs)
        outcome = ticket.receipt["model"]
        is_same = found == outcome.asked
        changes = {
            "outcome": "applied" if is_same else "mapped",
            "used": None if is_same else found,
        }
        ticket = ticket.model_copy(
            update={
                "request": ticket.request.with_values({"model": found}),
                "receipt": ticket.receipt | {"model": outcome.model_copy(update=changes)},
                "payload": with_model(ticket.payload, ModelPlace(((node, name),), model), found),
            }
        )
    return ticket


def locate_upscaler(client: ComfyClient, ticket: Ticket) -> Ticket:
    """The ticket with an upscaler of the server, where the request names a family of upscalers.

    Raises RequestError where the server has none of that family.
    """
    upscale = ticket.request.upscale
    family = upscale.method if upscale else None
    if upscale is None or family is None or not is_family(family):
        return ticket
    for node, name, choices in _choices(client, ticket.payload, family):
        found = choose_upscaler(family, choices, upscale.factor)
        if found is None:
            raise model_not_found(
                family, choices, f"on {client.at}", f"See: imagen models --backend {ticket.backend}"
            )
        why = f"the installed upscaler of the family {family}"
        used = upscale.model_copy(update={"method": found})
        outcome = ParameterOutcome(outcome="mapped", asked=upscale, used=used.model_dump(), why=why)
        extra = {key: found for key, value in ticket.request.extra.items() if value == family}
        ticket = ticket.model_copy(
            update={
                "request": ticket.request.with_values({"upscale": used, **extra}),
                "receipt": ticket.receipt | {"upscale": outcome},
                "payload": with_model(ticket.payload, ModelPlace(((node, name),), family), found),
            }
        )
    return ticket


def _choices(client: ComfyClient, graph: Graph, model: str) -> list[tuple[str, str, list[str]]]:
    """Each input that names the model and takes one of a list: node, input and list."""
    found: list[tuple[str, str, list[str]]] = []
    for node_id, node in graph.items():
        for name in [name for name, value in inputs_of(node).items() if value == model]:
            node_class = str(node["class_type"])
            info = retry(partial(client.node_info, node_class), unless=is_timeout)
            spec = read_catalog(info).get(node_class)
            choices = spec.inputs[name].choices if spec and name in spec.inputs else None
            if choices is not None:
                names = [choice for choice in choices if isinstance(choice, str)]
                found.append((node_id, name, names))
    return found


def match_unchecked_names(client: ComfyClient, graph: Graph, manifest: Manifest) -> dict[str, Node]:
    """A copy of the graph with the server's names of files that it does not check by itself.

    Those are the files of some loaders, and those named without their ending. Only the nodes in
    question are asked for. Raises Rejected for a file that is not there.
    """
    nodes = {node_id: node for node_id, node in graph.items() if _is_unchecked(node)}
    object_info: dict[str, object] = {}
    for node_class in sorted({str(node["class_type"]) for node in nodes.values()}):
        object_info |= client.node_info(node_class)
    if not nodes:
        return dict(graph)
    matched, catalog = match_model_names(nodes, object_info), read_catalog(object_info)
    faults = []
    for node_id, node in matched.items():
        spec = catalog.get(str(node["class_type"]))
        for name, value in inputs_of(node).items():
            if spec is not None and name in spec.inputs and names_file(value, name):
                wrong = check_value(value, name, spec.inputs[name], manifest)
                if wrong is not None:
                    faults.append(fault_at(matched, node_id, name, *wrong))
    if faults:
        raise Rejected(
            errors.list_faults("ComfyUI cannot run the workflow", faults),
            remedy=errors.list_remedies(faults),
        )
    return {**graph, **matched}


def _is_unchecked(node: object) -> bool:
    node_class = node.get("class_type") if isinstance(node, dict) else None
    if not isinstance(node_class, str):
        return False
    return node_class in _UNCHECKED or any(
        names_file(value, name) and not is_model_file(value)
        for name, value in inputs_of(node).items()
    )
