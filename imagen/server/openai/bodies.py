"""What clients of OpenAI's Images API send: as JSON, or as a form with files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from starlette.datastructures import UploadFile

from imagen.errors import RequestError

if TYPE_CHECKING:
    from fastapi import Request as HttpRequest

LONGEST_PROMPT = 32_000
MOST_IMAGES = 16
MOST_NEW_IMAGES = 10
_LARGEST_IMAGE = 50 * 2**20
_MOST_FIELDS = 100
_IMAGE_FIELD = re.compile(r"image(?:\[\d{0,3}\])?")
_DIGEST = re.compile(r"[0-9a-f]{64}")

OutputFormat = Literal["png", "jpeg", "webp"]


class OpenaiImageBody(BaseModel):
    """What to generate. Fields that are not listed are accepted too.

    Those that are parameters of a request, such as `seed`, `steps` and `negative_prompt`, are used,
    also under the names that other tools have for them, and so are parameters that the backend has.
    All others are ignored.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    prompt: str = Field(min_length=1, max_length=LONGEST_PROMPT, description="What to show.")
    model: str | None = Field(
        None,
        max_length=500,
        description="A backend, a pool, a model of the default backend, `backend/model`, or an "
        "alias; by default the backend of the server.",
    )
    n: int | None = Field(
        None, ge=1, le=MOST_NEW_IMAGES, description="How many images; by default 1."
    )
    size: str | None = Field(
        None, max_length=40, description="Such as `1024x768`; `auto` is the backend's own size."
    )
    quality: str | None = Field(None, max_length=40, description="For backends that have it.")
    background: str | None = Field(None, max_length=40, description="For backends that have it.")
    output_format: OutputFormat | None = Field(None, description="By default png.")
    output_compression: int | None = Field(
        None, ge=0, le=100, description="The quality of JPEG and WebP; 100 is the best."
    )
    response_format: Literal["b64_json", "url"] | None = Field(
        None, description="A URL is one of this server, and works for an hour without a token."
    )
    stream: bool | None = Field(None, description="Answer with events.")
    partial_images: int | None = Field(
        None, ge=0, le=3, description="How many previews of each image a stream has, at most."
    )
    imagen: dict[str, JsonValue] | None = Field(
        None, description="Any parameters of a request; in a form, as the text of a JSON object."
    )

    @property
    def format(self) -> OutputFormat:
        return self.output_format or "png"


class OpenaiImageSource(BaseModel):
    """An image in JSON."""

    model_config = ConfigDict(extra="allow", frozen=True)

    image_url: str | None = Field(
        None, description="A data URL; other URLs only if `inputs.allow_urls` is true."
    )
    file_id: str | None = Field(None, description="The SHA-256 of an upload, or `image:ID`.")

    @property
    def name(self) -> str:
        if self.file_id is not None and _DIGEST.fullmatch(self.file_id):
            return f"blob:{self.file_id}/image.png"
        return self.file_id or self.image_url or ""


class OpenaiEditBody(OpenaiImageBody):
    """What to change, in which images."""

    images: tuple[OpenaiImageSource, ...] | None = Field(
        None, max_length=MOST_IMAGES, description="In a form, files named `image` or `image[]`."
    )
    image: str | tuple[str, ...] | None = Field(
        None, description="Data URLs in JSON, or files in a form."
    )
    mask: OpenaiImageSource | str | None = Field(
        None, description="Its transparent areas are repainted in the first image."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUpload:
    """A file of a form."""

    data: bytes
    name: str


ImageInput = ImageUpload | str
"""A file of a form, or how JSON names an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCall:
    """A call of one of the two routes."""

    body: OpenaiImageBody
    images: tuple[ImageInput, ...] = ()
    mask: ImageInput | None = None
    is_edit: bool = False

    @property
    def others(self) -> dict[str, Any]:
        """The fields that OpenAI's API does not have, or that only some backends have."""
        own = {"quality": self.body.quality, "background": self.body.background}
        every = {**own, **(self.body.model_extra or {})}
        return {name: value for name, value in every.items() if value is not None}


async def read_edit(http: HttpRequest) -> ImageCall:
    """The call of an edit. Raises RequestValidationError and RequestError for a wrong body."""
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            values = json.loads(await http.body())
        except ValueError as error:
            raise RequestError("The body is not valid JSON.") from error
        body = _validate(values)
        named = (body.image,) if isinstance(body.image, str) else body.image or ()
        sources = (*(source.name for source in body.images or ()), *named)
        drawn = body.mask.name if isinstance(body.mask, OpenaiImageSource) else body.mask
        return _edit_call(body, sources, drawn or None)
    if kind != "multipart/form-data":
        raise RequestError(
            "The content type of the body must be multipart/form-data or application/json."
        )
    async with http.form(max_files=MOST_IMAGES + 1, max_fields=_MOST_FIELDS) as form:
        images: list[ImageInput] = []
        mask: ImageInput | None = None
        fields: dict[str, object] = {}
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                if value.size is not None and value.size > _LARGEST_IMAGE:
                    raise RequestError(f"{name}: larger than {_LARGEST_IMAGE >> 20} MiB.")
                file = ImageUpload(data=await value.read(), name=value.filename or "")
                mask = file if name == "mask" else mask
                images += [file] if _IMAGE_FIELD.fullmatch(name) else []
            elif _IMAGE_FIELD.fullmatch(name):
                images.append(value)
            elif name == "mask":
                mask = value or None
            elif value != "" or name == "prompt":
                fields[name] = value
    if isinstance(text := fields.get("imagen"), str):
        try:
            fields["imagen"] = json.loads(text)
        except ValueError as error:
            raise RequestError("imagen: not valid JSON.") from error
    return _edit_call(_validate(fields), tuple(images), mask)


def _validate(values: object) -> OpenaiEditBody:
    try:
        return OpenaiEditBody.model_validate(values)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]
        raise RequestValidationError(faults) from error


def _edit_call(
    body: OpenaiEditBody, images: tuple[ImageInput, ...], mask: ImageInput | None
) -> ImageCall:
    if not images:
        raise RequestError("image: is missing")
    if len(images) > MOST_IMAGES:
        raise RequestError(f"image: at most {MOST_IMAGES} images, not {len(images)}.")
    return ImageCall(body=body, images=images, mask=mask, is_edit=True)


def typed_text(value: Any, kind: str) -> Any:
    """The value of a parameter of this type, which a form has as text."""
    if not isinstance(value, str) or kind in ("string", "image"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
