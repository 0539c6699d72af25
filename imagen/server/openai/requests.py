"""Turn a call of OpenAI's Images API into a request to a backend."""

from __future__ import annotations

from contextlib import closing
from fnmatch import fnmatchcase
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.backends import open_backend
from imagen.core.field_names import OF_EITHER_SCALE, field_named, with_own_names
from imagen.core.image_file import parse_blob_name, read_image_bytes
from imagen.core.request import Request, read_size
from imagen.errors import NotFound, RequestError
from imagen.pipeline.pools import members_of
from imagen.runtime.client_requests import (
    INPUT_FORMATS,
    parse_client_request,
    resolve_input,
    store_image,
)
from imagen.runtime.model_directory import ModelChoice
from imagen.server.openai.bodies import MOST_NEW_IMAGES, ImageUpload, typed_text

if TYPE_CHECKING:
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Task
    from imagen.runtime import Runtime
    from imagen.server.openai.bodies import ImageCall, ImageInput

KNOWN_IDS = (
    *("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2", "chatgpt-image-latest"),
    *("dall-e-2", "dall-e-3"),
)
"""Ids of OpenAI that clients have built in; some show only these."""
_KNOWN_PATTERNS = ("gpt-image-*", "chatgpt-image-*", "dall-e-*")
_QUALITIES = {"standard": "medium", "hd": "high"}
"""The words of older models, for those that have others."""
_NOT_TAKEN = ("prompt", "count", "model", "style", "template", "extra", "width", "height", "aspect")
"""Fields of a request that are not read from fields of the same name."""


class BackendRequest(NamedTuple):
    """A request, and the backend or pool that is to have it."""

    request: Request
    backend: str
    warnings: tuple[str, ...] = ()


def find_model(id: str | None, runtime: Runtime) -> ModelChoice:
    """What an id stands for: an alias, a backend, a pool or a model. Raises NotFound."""
    if not id:
        return ModelChoice(runtime.backend, runtime.backend, None)
    aliases = runtime.settings.server.openai_aliases
    target = aliases.get(id) or next(
        (to for pattern, to in aliases.items() if fnmatchcase(id, pattern)), None
    )
    try:
        return runtime.models.find(target or id)
    except NotFound as error:
        if target is None and any(fnmatchcase(id, pattern) for pattern in _KNOWN_PATTERNS):
            return ModelChoice(id, runtime.backend, None)
        message, remedy = f"model: {error.message}", "GET /v1/models lists them."
        raise error.replace(message=message, remedy=remedy) from error


def build_request(call: ImageCall, runtime: Runtime) -> BackendRequest:
    """The request of a call, with its images stored.

    Raises RequestError for what is wrong with it, NotFound for an unknown model.
    """
    body, choice = call.body, find_model(call.body.model, runtime)
    other = call.others
    known = {name: value for name, value in other.items() if _is_field(name)}
    style = other.get("style")
    if isinstance(style, str) and style in runtime.settings.styles:
        known["style"] = style
    values = with_own_names(known) | with_own_names(body.imagen or {})
    values |= {"prompt": body.prompt}
    if body.n is not None:
        values["count"] = body.n
    if choice.model is not None:
        values["model"] = choice.model
    if body.size is not None and body.size.lower() != "auto":
        try:
            values |= zip(("width", "height"), read_size(body.size), strict=True)
        except RequestError as error:
            raise RequestError(f"size: {error.message}") from error
    if call.is_edit:
        is_redrawn = values.get("strength") is not None
        values |= _edit_values(call, choice.backend, runtime, is_redrawn=is_redrawn)
    request = parse_client_request(values, runtime)
    if (request.count or 1) > MOST_NEW_IMAGES:
        raise RequestError(f"n: at most {MOST_NEW_IMAGES} images, not {request.count}.")
    own, warnings = _own_values(call, request, choice.backend, runtime)
    if own:
        request = parse_client_request(values | {"extra": {**own, **request.extra}}, runtime)
    return BackendRequest(request, choice.backend, warnings)


def _own_values(
    call: ImageCall, request: Request, backend: str, runtime: Runtime
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields that are parameters of the backend's own, and what was wrong with others."""
    own: dict[str, Any] = {}
    warnings: list[str] = []
    rest = {name: value for name, value in call.others.items() if not _is_field(name)}
    members = _capabilities(backend, request.task, request.model, runtime) if rest else []
    for name in rest if members else ():
        if not all(name in one.parameters for one in members):
            continue
        parameter = members[0].parameters[name]
        value = typed_text(rest[name], parameter.type)
        if parameter.choices is not None and value not in parameter.choices:
            value = _QUALITIES.get(str(value)) if name == "quality" else None
        if parameter.choices is None or value in parameter.choices:
            own[name] = value
        else:
            warnings.append(f"{name}: ignored, since it is not one of this backend's choices.")
    return own, tuple(warnings)


def _is_field(name: str) -> bool:
    """Whether a field of a body is a parameter of a request."""
    field = field_named(name) or (name if name in Request.model_fields else None)
    return name == OF_EITHER_SCALE or (field is not None and field not in _NOT_TAKEN)


def _edit_values(
    call: ImageCall, backend: str, runtime: Runtime, *, is_redrawn: bool
) -> dict[str, object]:
    """The parameters that the images of an edit become.

    With a mask, the first image is inpainted and others are references. Without, all are references
    of an edit; a backend that does not edit redraws the first, as does a call with a strength.
    """
    stored = [_store(image, f"image.{n}", runtime) for n, image in enumerate(call.images)]
    if call.mask is not None:
        mask = _store_mask(call.mask, stored[0], runtime)
        return {"image": stored[0], "mask": mask, "references": stored[1:]}
    tasks = {task for one in _capabilities(backend, "edit", None, runtime) for task in one.tasks}
    if ("edit" in tasks and not is_redrawn) or "image-to-image" not in tasks:
        return {"references": stored}
    return {"image": stored[0], "references": stored[1:]}


def _capabilities(
    backend: str, task: Task, model: str | None, runtime: Runtime
) -> list[Capabilities]:
    """What a backend accepts, or each member of a pool."""
    settings = runtime.settings
    found: list[Capabilities] = []
    for member in members_of(backend, settings):
        with closing(open_backend(member, settings.backends, settings.shared())) as engine:
            found.append(engine.capabilities(task, model))
    return found


def _store(image: ImageInput, parameter: str, runtime: Runtime) -> str:
    """The stored file of an image that was sent or named."""
    if isinstance(image, ImageUpload):
        return store_image(image.data, parameter, runtime, name=image.name)
    return resolve_input(image, parameter, runtime)


def _store_mask(mask: ImageInput, image: str, runtime: Runtime) -> str:
    """The stored mask with white areas where the one that was sent is transparent."""
    from PIL import ImageChops

    digest, _ = parse_blob_name(_store(mask, "mask", runtime)) or ("", "")
    sent = read_image_bytes(runtime.blobs.get(digest), "mask", formats=INPUT_FORMATS)
    first, _ = parse_blob_name(image) or ("", "")
    whole = read_image_bytes(runtime.blobs.get(first), "image", formats=INPUT_FORMATS)
    if (sent.width, sent.height) != (whole.width, whole.height):
        raise RequestError(
            f"mask: it has {sent.width} × {sent.height} pixels, but the image has "
            f"{whole.width} × {whole.height}.",
            remedy="Make them the same size.",
        )
    pixels = sent.decode()
    alpha = pixels.convert("RGBA").getchannel("A")
    if not pixels.has_transparency_data or alpha.getextrema()[0] == 255:
        raise RequestError(
            "mask: nothing in it is transparent, so nothing would be repainted.",
            remedy="Make the areas transparent that are to be repainted.",
        )
    file = BytesIO()
    ImageChops.invert(alpha).save(file, "PNG", compress_level=1)
    return store_image(file.getvalue(), "mask", runtime, name="mask.png")
