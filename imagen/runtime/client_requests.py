"""Requests of clients: a client names no file of this machine, only what it uploaded or can see."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from imagen.batch.expand import expand_request
from imagen.batch.wildcards import Wildcards
from imagen.core.image_file import blob_name, is_url, parse_blob_name, read_image_bytes
from imagen.core.prompt_syntax import lora_tags
from imagen.core.request import Request
from imagen.core.text import one_line
from imagen.errors import NotFound, RequestError
from imagen.jobs.image_files import find_image_file
from imagen.library import find_image_by_id
from imagen.views.uploads import UploadView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.core.image_file import ImageFile
    from imagen.runtime.runtime import Runtime

INPUT_FORMATS = ("PNG", "JPEG", "WEBP")
"""What clients may send, by Pillow's names."""
_LIBRARY_IMAGE = re.compile(r"image:([0-9a-fA-F-]{3,36}(?:\.\d{1,4})?|last(?:~\d{1,6})?)")
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,", re.IGNORECASE)
_PATH = re.compile(r"^[/\\~]|^[A-Za-z]:[/\\]|(?:^|[/\\])\.\.(?:[/\\]|$)|^[A-Za-z][A-Za-z0-9+.-]+:/")
"""What a name of a model does not begin with or contain: absolute paths, `..`, URLs."""
_MOST_DEPTH = 16
"""Of lists and objects in the parameters of a backend."""


def parse_client_request(values: Mapping[str, object], runtime: Runtime) -> Request:
    """The request of a client, with its images among the stored files.

    An image is `blob:<sha256>/<name>`, as an upload answers, `image:<id>` of the library, or a data
    URL; also a URL on the public internet, if the settings allow it. Raises RequestError for
    anything else, and for names that are paths or URLs.
    """
    if "template" in values:
        raise RequestError("template: not a parameter of a request.")
    return admit_request(Request.of(dict(values)), runtime)


def admit_request(request: Request, runtime: Runtime) -> Request:
    """The request of a client with its images among the stored files; raises RequestError."""
    refuse_paths(request)
    changes: dict[str, object] = {}
    for name in ("image", "mask"):
        if path := getattr(request, name):
            changes[name] = resolve_input(path, name, runtime)
    if request.references:
        changes["references"] = tuple(
            resolve_input(path, f"references.{n}", runtime)
            for n, path in enumerate(request.references)
        )
    if request.controls:
        changes["controls"] = tuple(
            one.model_copy(update={"image": resolve_input(one.image, f"controls.{n}", runtime)})
            for n, one in enumerate(request.controls)
        )
    extra = {name: resolve_extra(value, name, runtime) for name, value in request.extra.items()}
    if extra:
        changes["extra"] = extra
    return request.with_values(changes) if changes else request


def expand_wildcards(request: Request, runtime: Runtime) -> list[Request]:
    """The requests that a client's request with wildcards stands for; raises RequestError."""
    requests = expand_request(request, Wildcards(runtime.settings.wildcard_dirs), runtime.settings)
    for one in requests:
        refuse_paths(one)
    return requests


def resolve_input(word: str, parameter: str, runtime: Runtime) -> str:
    """The stored file that a client names, as `blob:<sha256>/<name>`; raises RequestError."""
    if (blob := parse_blob_name(word)) is not None:
        digest, name = blob
        if not runtime.blobs.has(digest):
            raise NotFound(f"{parameter}: there is no upload {digest[:12]}…", remedy="Upload it.")
        return blob_name(digest, safe_name(name))
    if (match := _LIBRARY_IMAGE.fullmatch(word)) is not None:
        image = find_image_by_id(runtime.library, match[1])
        file = find_image_file(image, runtime.library, runtime.settings)
        return blob_name(runtime.blobs.put(file), safe_name(image.path.name))
    if (match := _DATA_URL.match(word)) is not None:
        return store_base64(word[match.end() :], parameter, runtime)
    if is_url(word) and runtime.settings.inputs.allow_urls:
        from imagen.net.public_images import fetch_image  # with httpx

        fetched = fetch_image(word, parameter)
        return store_image(fetched.data, parameter, runtime, name=fetched.name)
    raise RequestError(
        f"{parameter}: {one_line(word, limit=60)!r} is not an image that a client can name.",
        remedy="Upload it and name the upload, name an image of the library as image:ID, or send "
        "a data URL.",
    )


def store_base64(text: str, parameter: str, runtime: Runtime) -> str:
    """Store an image that was sent in base64; raises RequestError if it is not an image."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"{parameter}: not valid base64.") from error
    return store_image(data, parameter, runtime)


def store_image(data: bytes, parameter: str, runtime: Runtime, *, name: str = "") -> str:
    """Store an image that a client sent: `blob:<sha256>/<name>`; raises as `store_upload`."""
    return store_upload(data, parameter, runtime, name=name).image


def store_upload(data: bytes, parameter: str, runtime: Runtime, *, name: str = "") -> UploadView:
    """Store an image that a client sent.

    Raises RequestError if it is not a complete PNG, JPEG or WebP image, or has too many pixels.
    """
    image = read_client_image(data, parameter, runtime)
    ending = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}[image.kind]
    digest = runtime.blobs.put(data)
    return UploadView(
        image=blob_name(digest, safe_name(name or f"{parameter}.{ending}")),
        sha256=digest,
        width=image.width,
        height=image.height,
        media_type=image.media_type,
        size_bytes=len(data),
    )


def read_client_image(data: bytes, parameter: str, runtime: Runtime) -> ImageFile:
    """Check an image that a client sent; raises RequestError as `store_upload`."""
    most = runtime.settings.server.max_image_megapixels
    return read_image_bytes(data, parameter, formats=INPUT_FORMATS, most=most)


def safe_name(name: str) -> str:
    """A file name from outside, without folders and characters that any system refuses."""
    bare = re.split(r"[/\\]", name)[-1]
    return re.sub(r"[^\w.() -]|^\.+", "_", bare)[-80:] or "image"


def resolve_extra(value: object, name: str, runtime: Runtime, *, depth: int = 0) -> object:
    """A parameter of the backend's own, in which texts may name images too."""
    if depth > _MOST_DEPTH:
        raise RequestError(f"{name}: nested too deeply.")
    if isinstance(value, list | tuple):
        return [resolve_extra(item, name, runtime, depth=depth + 1) for item in value]
    if isinstance(value, dict):
        return {
            key: resolve_extra(item, name, runtime, depth=depth + 1) for key, item in value.items()
        }
    if not isinstance(value, str):
        return value
    if value.startswith(("blob:", "image:", "data:image/")):
        return resolve_input(value, name, runtime)
    if _PATH.search(value):
        raise RequestError(f"{name}: clients cannot name files or URLs.")
    return value


def refuse_paths(request: Request) -> None:
    """Raises RequestError for models that are named by paths or URLs."""
    for parameter, name in _named_models(request):
        if _PATH.search(name) or name.startswith("."):
            raise RequestError(
                f"{parameter}: {one_line(name, limit=60)!r} is a path or a URL.",
                remedy="Name a model as the backend lists it.",
            )


def _named_models(request: Request) -> Iterator[tuple[str, str]]:
    texts = request.prompt, request.prompt_2, request.negative, request.negative_2
    yield "model", request.model or ""
    yield from (("loras", lora.name) for lora in request.loras)
    yield "upscale", (request.upscale.method if request.upscale else None) or ""
    yield "restore", (request.restore.model if request.restore else None) or ""
    yield from (("prompt", tag.name) for tag in lora_tags(" ".join(filter(None, texts))))
