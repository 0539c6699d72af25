"""Uploads and changed images as JSON."""

from __future__ import annotations

from pydantic import Field, JsonValue

from imagen.views.base import View
from imagen.views.images import ImageView


class UploadView(View):
    """A stored image, which requests can name for at least 24 hours."""

    image: str = Field(description="How a request names it: `blob:<sha256>/<name>`.")
    sha256: str
    width: int
    height: int
    media_type: str
    size_bytes: int


class ChangedImageView(UploadView):
    """The result of an operation on an image."""

    warnings: tuple[str, ...] = Field(description="What its format cannot hold.")
    saved: ImageView | None = Field(
        description="As it was added to the library, if that was asked."
    )


class OperationView(View):
    """An operation on an image, and its parameters."""

    name: str
    label: str = Field(description="Its name for people.")
    description: str
    parameters: dict[str, JsonValue] = Field(description="A JSON Schema of an object.")


class OperationsView(View):
    """All operations on images."""

    operations: tuple[OperationView, ...]
