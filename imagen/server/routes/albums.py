"""Albums of images, and saved views."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from imagen.library import LibraryImage
from imagen.library.albums import (
    change_album,
    create_album,
    delete_album,
    delete_view,
    find_album,
    list_albums,
    list_saved_views,
    rename_album,
    rename_view,
    save_view,
)
from imagen.runtime import Runtime
from imagen.server.routes.images import MOST_CHANGED, find_all
from imagen.server.state import RuntimeOf
from imagen.views.albums import AlbumView, SavedViewView
from imagen.views.base import View

router = APIRouter(tags=["albums"])

Name = Annotated[str, Field(min_length=1, max_length=200)]
SomeImages = Annotated[
    tuple[Annotated[str, Field(max_length=60)], ...], Field(max_length=MOST_CHANGED)
]
ViewFilters = Annotated[
    dict[Annotated[str, Field(max_length=40)], Annotated[str, Field(max_length=2000)]],
    Field(max_length=40, description="As in the address of the page."),
]


class NewAlbum(View):
    """An album to create."""

    name: Name
    images: SomeImages = Field((), description="IDs of images to add to it.")


class AlbumChange(View):
    """What to change about an album."""

    name: Name | None = None
    add: SomeImages = Field((), description="IDs of images to add.")
    remove: SomeImages = Field((), description="IDs of images to take out; they stay.")


class NewView(View):
    """Filters to save; those that had the name before are replaced."""

    name: Name
    filters: ViewFilters


class ViewName(View):
    """Another name for a saved view."""

    name: Name


@router.get("/albums")
def list_all_albums(runtime: RuntimeOf) -> tuple[AlbumView, ...]:
    """List the albums by name, with their number of images and their cover."""
    return tuple(map(AlbumView.of, list_albums(runtime.library)))


@router.post("/albums", status_code=201)
def add_album(body: NewAlbum, runtime: RuntimeOf) -> AlbumView:
    """Create an album."""
    images = _find_some(body.images, runtime)
    album = create_album(runtime.library, body.name)
    if images:
        album = change_album(runtime.library, album.id, add=images)
    return AlbumView.of(album)


@router.get("/albums/{id}")
def get_album(id: str, runtime: RuntimeOf) -> AlbumView:
    """One album. Its images are those that `GET /images?album=…` lists."""
    return AlbumView.of(find_album(runtime.library, id))


@router.patch("/albums/{id}")
def edit_album(id: str, change: AlbumChange, runtime: RuntimeOf) -> AlbumView:
    """Rename an album, add images to it, and take others out."""
    album = find_album(runtime.library, id)
    add, remove = _find_some(change.add, runtime), _find_some(change.remove, runtime)
    if change.name is not None:
        album = rename_album(runtime.library, album.id, change.name)
    if add or remove:
        album = change_album(runtime.library, album.id, add=add, remove=remove)
    return AlbumView.of(album)


@router.delete("/albums/{id}", status_code=204)
def remove_album(id: str, runtime: RuntimeOf) -> None:
    """Delete an album. Its images stay."""
    delete_album(runtime.library, id)


@router.get("/saved-views")
def list_views(runtime: RuntimeOf) -> tuple[SavedViewView, ...]:
    """List the saved views by name."""
    return tuple(map(SavedViewView.of, list_saved_views(runtime.library)))


@router.post("/saved-views", status_code=201)
def add_view(body: NewView, runtime: RuntimeOf) -> SavedViewView:
    """Save filters of the gallery under a name."""
    return SavedViewView.of(save_view(runtime.library, body.name, body.filters))


@router.patch("/saved-views/{id}")
def edit_view(id: str, body: ViewName, runtime: RuntimeOf) -> SavedViewView:
    """Rename a saved view."""
    return SavedViewView.of(rename_view(runtime.library, id, body.name))


@router.delete("/saved-views/{id}", status_code=204)
def remove_view(id: str, runtime: RuntimeOf) -> None:
    """Delete a saved view."""
    delete_view(runtime.library, id)


def _find_some(ids: tuple[str, ...], runtime: Runtime) -> list[LibraryImage]:
    return find_all(ids, runtime.library) if ids else []
