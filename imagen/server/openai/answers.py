"""What clients of OpenAI's Images API get: images as base64 or URLs, in answers and events."""

from __future__ import annotations

import hmac
import time
from base64 import b64encode
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import ConfigDict, Field

from imagen.core.image_file import open_image
from imagen.errors import Failed, NotFound
from imagen.jobs.image_files import find_image_file
from imagen.outputs.convert import convert_image
from imagen.outputs.redact import strip_paths
from imagen.views.base import View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.library import LibraryImage
    from imagen.runtime import Runtime
    from imagen.server.openai.bodies import OpenaiImageBody, OutputFormat
    from imagen.server.openai.submit import SubmittedCall

_URL_SECONDS = 3600


class OpenaiTokens(View):
    """Of which kind the tokens are."""

    image_tokens: int = 0
    text_tokens: int = 0


class OpenaiUsage(View):
    """Tokens, of which imagen uses none."""

    input_tokens: int = 0
    input_tokens_details: OpenaiTokens = OpenaiTokens()
    output_tokens: int = 0
    output_tokens_details: OpenaiTokens = OpenaiTokens()
    total_tokens: int = 0


class _Sparse(View):
    """A view whose answer leaves out what is None, as OpenAI does."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)


class OpenaiImage(_Sparse):
    """An image, in one of two ways."""

    b64_json: str | None = None
    url: str | None = None


class OpenaiImageFacts(View):
    """What imagen knows about an image."""

    id: str = Field(description="Its unique ID in the library.")
    seed: int | None


class OpenaiJobFacts(View):
    """What imagen knows about the job."""

    job: str
    images: tuple[OpenaiImageFacts, ...]
    warnings: tuple[str, ...] = Field(
        (), description="Parameters that the backend did not honour, and images that failed."
    )


class OpenaiImages(_Sparse):
    """Generated images. There are fewer than asked for if some failed."""

    created: int = Field(description="Seconds since 1970.")
    data: tuple[OpenaiImage, ...]
    background: Literal["transparent", "opaque"] | None = Field(
        None, description="Left out if it is unknown."
    )
    output_format: str
    quality: str
    size: str = Field(description="Such as `1024x768`.")
    usage: OpenaiUsage = OpenaiUsage()
    imagen: OpenaiJobFacts


class EncodedImage(NamedTuple):
    """An image as a client wants it."""

    data: bytes
    size: str
    is_transparent: bool

    @property
    def b64(self) -> str:
        return b64encode(self.data).decode()

    @property
    def background(self) -> Literal["transparent", "opaque"]:
        return "transparent" if self.is_transparent else "opaque"


def encode(data: bytes, format: OutputFormat, compression: int | None = None) -> EncodedImage:
    """An image in this format. Raises OutputError if it cannot be converted."""
    quality = None if compression is None or format == "png" else max(1, compression)
    converted = convert_image(data, format, quality).data
    with open_image(BytesIO(converted)) as image:
        width, height = image.size
        return EncodedImage(converted, f"{width}x{height}", image.has_transparency_data)


def encode_image(image: LibraryImage, body: OpenaiImageBody, runtime: Runtime) -> EncodedImage:
    """An image of the library as the call wants it. Raises OutputError and LibraryError."""
    file = find_image_file(image, runtime.library, runtime.settings)
    return encode(file.read_bytes(), body.format, body.output_compression)


def facts_of(
    submitted: SubmittedCall, images: Sequence[LibraryImage], warnings: Sequence[str] = ()
) -> OpenaiJobFacts:
    """What imagen adds to an answer."""
    lines = (*submitted.warnings, *warnings)
    return OpenaiJobFacts(
        job=submitted.id,
        images=tuple(OpenaiImageFacts(id=image.uid, seed=image.seed) for image in images),
        warnings=lines if submitted.caller.is_local else tuple(map(strip_paths, lines)),
    )


def no_images() -> Failed:
    """The error of a job that is done and has no image any more."""
    return Failed("The job has ended without an image.")


def quality_of(body: OpenaiImageBody) -> str:
    """What an answer says of the quality: that of the call."""
    return body.quality or "auto"


def build_answer(
    images: Sequence[LibraryImage], body: OpenaiImageBody, facts: OpenaiJobFacts, runtime: Runtime
) -> OpenaiImages:
    """The answer with these images as base64."""
    encoded = [encode_image(image, body, runtime) for image in images]
    return OpenaiImages(
        created=int(images[0].created.timestamp()),
        data=tuple(OpenaiImage(b64_json=one.b64) for one in encoded),
        background=encoded[0].background,
        output_format=body.format,
        quality=quality_of(body),
        size=encoded[0].size,
        imagen=facts,
    )


def build_url_answer(
    images: Sequence[LibraryImage],
    body: OpenaiImageBody,
    facts: OpenaiJobFacts,
    *,
    base_url: str,
    key: bytes,
) -> OpenaiImages:
    """The answer with addresses of these images."""
    compression = "" if body.output_compression is None else body.output_compression
    expires = int(time.time()) + _URL_SECONDS
    data: list[OpenaiImage] = []
    for image in images:
        name = f"{image.uid}.{body.format}"
        signature = _sign(name, expires, str(compression), key)
        query = f"expires={expires}&compression={compression}&signature={signature}"
        data.append(OpenaiImage(url=f"{base_url}v1/images/files/{name}?{query}"))
    return OpenaiImages(
        created=int(images[0].created.timestamp()),
        data=tuple(data),
        background=None,
        output_format=body.format,
        quality=quality_of(body),
        size=f"{images[0].width}x{images[0].height}",
        imagen=facts,
    )


def check_signature(name: str, expires: int, compression: str, signature: str, key: bytes) -> None:
    """Raises NotFound unless this server signed the address and it has not expired."""
    right = _sign(name, expires, compression, key).encode()
    if not hmac.compare_digest(right, signature.encode()) or expires < time.time():
        raise NotFound("This address of an image is not valid, or has expired.")


def _sign(name: str, expires: int, compression: str, key: bytes) -> str:
    return hmac.new(key, f"{name}\n{expires}\n{compression}".encode(), sha256).hexdigest()
