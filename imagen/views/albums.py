"""Albums and saved views as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from imagen.views.base import Moment, View

if TYPE_CHECKING:
    from imagen.library.albums import Album, SavedView


class AlbumView(View):
    """An album of images."""

    id: str
    name: str
    created: Moment
    images: int = Field(description="How many of its images are not in the trash.")
    cover: str | None = Field(description="The unique id of the newest of them.")
    cover_version: str | None = Field(description="The parameter `v` of the cover's files.")

    @classmethod
    def of(cls, album: Album) -> AlbumView:
        return cls(
            id=album.id,
            name=album.name,
            created=album.created,
            images=album.images,
            cover=album.cover.uid if album.cover else None,
            cover_version=album.cover.sha256[:8] if album.cover else None,
        )


class SavedViewView(View):
    """Filters of the gallery under a name."""

    id: str
    name: str
    filters: dict[str, str] = Field(description="As in the address of the page.")
    created: Moment

    @classmethod
    def of(cls, view: SavedView) -> SavedViewView:
        return cls(id=view.id, name=view.name, filters=dict(view.filters), created=view.created)
