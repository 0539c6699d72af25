"""From the record of an image to the request that generates it again."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from imagen.core.request import Request
from imagen.core.text import one_line
from imagen.errors import LibraryError, OutputError, RequestError
from imagen.graphs import list_workflow_names
from imagen.outputs import read_full_record
from imagen.outputs.provenance import find_provenance, is_graph, request_from_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.config import Settings
    from imagen.outputs import ImageRecord

IMPORTED_WORKFLOWS = "workflows"
"""The folder in the state directory for workflows that were imported for a single run."""
_RECORDED_GRAPHS = "again"
_IMAGE_FIELDS = ("image", "mask", "feather", "outpaint", "upscale", "references", "controls")
_SHARING_NOISE = ("comfyui", "replicate")
"""Kinds of backend that draw the noise of a whole batch from one seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """The record of an image, and the image itself if it still exists."""

    record: ImageRecord
    told_by: str
    """`sidecar`, `imagen`, `parameters`, `invokeai`, `prompt`, or `library`."""
    image: Path | None
    folder: Path
    """Where its input images are looked for first."""


def find_source(word: str, settings: Settings) -> ImageSource:
    """The record of an image, which is named by its file or by its id in the library.

    A sidecar of this image says most, then the metadata in the file, then the library, which also
    knows images whose metadata was removed. Raises OutputError for a file without a
    record, RequestError for an unknown id.
    """
    if not os.path.exists(word):
        return _find_in_library(word, settings)
    path = Path(word)
    record = read_full_record(path)
    if record is not None:
        image: Path | None = path
        if record.source == "sidecar" and path.suffix == ".json":
            image = path.with_suffix("") if os.path.isfile(path.with_suffix("")) else None
        return ImageSource(record=record, told_by=record.source, image=image, folder=path.parent)
    if settings.library.enabled and os.path.isfile(path):
        with suppress(RequestError):
            return _find_in_library(word, settings)
    raise OutputError(
        f"{path} does not say how it was generated, and the library does not know it.",
        remedy="It cannot be reproduced. Describe what it shows with: imagen generate",
    )


def _find_in_library(word: str, settings: Settings) -> ImageSource:
    from imagen.jobs.image_files import find_image_file
    from imagen.library import find_image, load_record
    from imagen.pipeline.record import open_library_synced

    with open_library_synced(settings) as library:
        image = find_image(library, word)
        record = load_record(library, image)
        path: Path | None = Path(word) if os.path.isfile(word) else None
        with suppress(LibraryError, OutputError):
            path = path or find_image_file(image, library, settings)
    return ImageSource(record=record, told_by="library", image=path, folder=image.path.parent)


def find_input_places(found: ImageSource, settings: Settings) -> list[Path]:
    """Other files that the library knows of the images that this one was generated from.

    Only the library's own records name paths on this computer.
    """
    record = found.record
    hashes = {str(known.get("sha256")) for known in record.inputs}
    named = (Path(value) for value in record.request.values() if isinstance(value, str))
    places = [path for path in named if found.told_by == "library" and path.is_absolute()]
    if not (hashes and settings.library.enabled):
        return places
    from imagen.inputs import cache_image
    from imagen.jobs.blobs import open_blobs
    from imagen.library import find_paths
    from imagen.pipeline.record import open_library_synced

    with suppress(LibraryError), open_library_synced(settings) as library:
        places += find_paths(library, hashes)
        if not any(map(os.path.isfile, places)):
            blobs = open_blobs(settings, library)
            for known in record.inputs:
                with suppress(LibraryError, OutputError):
                    data = blobs.get(str(known.get("sha256")))
                    name = str(known.get("name") or "image")
                    places.append(cache_image(data, name, settings.state_dir / "inputs"))
    return places


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What to request so that an image is generated again."""

    request: Request
    """Its input images have names without folders; they are yet to be located."""
    index: int = 0
    """Which of the generated images corresponds to the original."""
    batch: int = 1
    """How many images will be generated."""
    batch_then: int = 1
    """How many were generated then."""
    shares_noise: bool = False
    """Whether all images were generated in one latent batch."""
    unread: Mapping[str, Any] = field(default_factory=dict)
    """Recorded values that no request can have."""


def reproduce_request(record: ImageRecord, *, elsewhere: bool = False) -> Reproduction:
    """The request for a recorded image; `elsewhere` is for another backend than the recorded one.

    The same backend gets all values that were used; another gets the original request, with the
    seed. An image of a batch is generated alone if its seed is enough for that; otherwise the whole
    batch is. Raises RequestError for a record with values that no request can have.
    """
    if record.source not in ("sidecar", "imagen"):
        provenance = find_provenance(record)
        request, unfit = request_from_values(provenance.values)
        return _reproduce_foreign(request, unread={**provenance.unread, **unfit})
    values = reproduce_values(record.request, record.resolved, record.receipt, elsewhere=elsewhere)
    index, batch = _as_int(record.file.get("index")), _as_int(record.resolved.get("count")) or 1
    # Older records do not say whether an image shares its noise with the others of its batch: the
    # seed of an image after the first shows it, and for the first the kind of backend.
    shares_noise = batch > 1 and (
        record.resolved.get("latent_batch") is True
        or (
            find_provenance(record).kind in _SHARING_NOISE
            if index == 0
            else record.file.get("seed") == record.resolved.get("seed")
        )
    )
    if shares_noise and not elsewhere:
        request = Request.of(values | {"latent_batch": True})
        return Reproduction(
            request=request, index=index, batch=batch, batch_then=batch, shares_noise=True
        )
    seed = record.file.get("seed", record.resolved.get("seed"))
    alone: dict[str, object] = {"count": None, "latent_batch": None}
    alone |= {"seed": seed} if type(seed) is int else {}
    request = Request.of(values | alone)
    return Reproduction(request=request, batch_then=batch, shares_noise=shares_noise)


def reproduce_graph(record: ImageRecord) -> Reproduction:
    """The request for a workflow that is the recorded graph: only the values of its tokens.

    Its input images are on the server, under the names in the graph.
    """
    from imagen.graphs.importer.parameters import token_values  # seldom needed

    request, _ = request_from_values(token_values(record.graph))
    return _reproduce_foreign(request, index=_as_int(record.file.get("index")))


def _reproduce_foreign(
    request: Request, *, index: int = 0, unread: Mapping[str, Any] | None = None
) -> Reproduction:
    """A batch of another program shares its noise."""
    batch = request.count or 1
    if batch > 1:
        request = request.model_copy(update={"latent_batch": True})
    return Reproduction(
        request=request,
        index=index,
        batch=batch,
        batch_then=batch,
        shares_noise=batch > 1,
        unread=unread or {},
    )


def reproduce_values(
    request: Mapping[str, Any],
    used: Mapping[str, Any],
    receipt: Mapping[str, Any],
    *,
    elsewhere: bool,
) -> dict[str, Any]:
    """The request values for a recorded image, from its original request and the values used.

    Values of input images come from the original request, unless they were dropped. A model belongs
    to the recorded backend: another uses its own.
    """
    if elsewhere or not used:
        # Several requested images are jobs of their own, each with its seed.
        run = {n: used[n] for n in ("seed", "count") if n in used and (n == "seed" or n in request)}
        return {n: v for n, v in request.items() if not (elsewhere and n == "model")} | run
    values = {name: value for name, value in used.items() if name not in _IMAGE_FIELDS}
    for name in _IMAGE_FIELDS:
        outcome = receipt.get(name)
        is_dropped = isinstance(outcome, dict) and outcome.get("outcome") == "dropped"
        if name in request and not is_dropped:
            values[name] = request[name]
    return values


def refuse_without_content(source: str, recorded: Request, request: Request) -> None:
    """Raises RequestError if an image records nothing to reproduce, and nothing replaces it."""
    has_content = recorded.prompt or recorded.seed is not None or recorded.image
    if not (has_content or request.prompt or request.image):
        raise RequestError(
            f"{source} does not say what it shows.",
            remedy="Say it with --prompt, or send the graph of a ComfyUI image with --graph.",
        )


def with_recorded_workflow(settings: Settings, backend: str, record: ImageRecord) -> Settings:
    """Settings in which this backend runs the workflow that generated the image, if it is known.

    Raises RequestError if the workflow no longer exists and the backend is not configured.
    """
    name = record.workflow
    if not name:
        return settings
    imported = settings.state_dir / IMPORTED_WORKFLOWS / f"{name}.json"
    if PureWindowsPath(name).name == name and os.path.isfile(imported):
        return settings.with_workflow(backend, str(imported.absolute()))
    if name in list_workflow_names(settings.workflow_dirs):
        return settings.with_workflow(backend, name)
    if backend not in settings.backends:
        raise RequestError(
            f"The image was generated with the workflow {one_line(name)!r}, which was not found.",
            remedy="Name its file with --workflow, or send the recorded graph with --graph.",
        )
    return settings


def with_recorded_graph(settings: Settings, backend: str, graph: Mapping[str, Any]) -> Settings:
    """Settings in which this backend's workflow is the recorded graph, with tokens where possible.

    Without any options it runs as it was. The workflow is saved in the state directory under the
    hash of the graph. Raises RequestError if there is no graph, or the backend is not a ComfyUI;
    WorkflowError for a graph that cannot run.
    """
    if not is_graph(graph):
        raise RequestError(
            "The image has no graph: it was not generated by ComfyUI, or does not record it.",
            remedy="Leave --graph out.",
        )
    if settings.backends.get(backend, {}).get("type", backend) != "comfyui":
        raise RequestError(
            f"{backend} is not a ComfyUI and cannot run a graph.",
            remedy="Name a backend of type comfyui with --backend, or leave --graph out.",
        )
    from imagen.graphs.importer import detect_in_text, import_workflow, write_workflow

    text = json.dumps(graph, sort_keys=True)
    name = sha256(text.encode()).hexdigest()[:16]
    document = detect_in_text(text, "The recorded graph")
    workflow = import_workflow(document, title="The graph of an image")
    folder = settings.state_dir / _RECORDED_GRAPHS
    path, _ = write_workflow(folder, name, workflow, force=True, is_private=True)
    return settings.with_workflow(backend, str(path.absolute()))


def _as_int(value: object) -> int:
    return value if type(value) is int else 0
