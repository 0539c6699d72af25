"""Images of the library as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from imagen.views.base import Moment, View

if TYPE_CHECKING:
    from imagen.library import LibraryImage


class ImageView(View):
    """An image of the library."""

    id: str = Field(description="The short ID, for people.")
    uid: str = Field(description="The unique ID, for programs: `<generation>.<number from 1>`.")
    generation: str = Field(description="The id of its generation.")
    index: int = Field(description="Its number in the generation, from 0.")
    created: Moment
    backend: str
    model: str
    prompt: str
    path: str
    sidecar: str | None
    host: str = Field(description="The machine that `path` is a path of.")
    media_type: str
    width: int | None
    height: int | None
    seed: int | None
    size_bytes: int
    sha256: str
    rating: int | None
    tags: tuple[str, ...]
    is_trashed: bool
    trashed: Moment | None
    trashed_from: str | None = Field(description="The path to put it back to.")
    is_missing: bool = Field(description="Whether its file was missing when it was checked.")
    cloud: dict[str, JsonValue] | None = Field(description="Its bucket and path in the cloud.")

    @classmethod
    def of(cls, image: LibraryImage) -> ImageView:
        return cls(
            id=image.id,
            uid=image.uid,
            generation=image.generation,
            index=image.number,
            created=image.created,
            backend=image.backend,
            model=image.model,
            prompt=image.prompt,
            path=str(image.path),
            sidecar=str(image.sidecar) if image.sidecar else None,
            host=image.host,
            media_type=image.media_type,
            width=image.width,
            height=image.height,
            seed=image.seed,
            size_bytes=image.size_bytes,
            sha256=image.sha256,
            rating=image.rating,
            tags=image.tags,
            is_trashed=image.is_trashed,
            trashed=image.trashed,
            trashed_from=str(image.trashed_from) if image.trashed_from else None,
            is_missing=image.is_missing,
            cloud=dict(image.cloud) or None,
        )


class ImagesPageView(View):
    """A page of images, newest first."""

    images: tuple[ImageView, ...]
    after: str | None = Field(description="The last image, after which the next page begins.")
