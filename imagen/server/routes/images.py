"""The images of the library: search, tag, rate, trash and delete them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Response
from pydantic import Field, field_validator

from imagen.errors import NotFound, OutputError, RequestError
from imagen.library import (
    Library,
    LibraryImage,
    find_failure,
    find_image_by_id,
    find_images_by_uid,
    load_detail,
    load_record,
    search_failures,
    search_images,
)
from imagen.library import Query as ImageQuery
from imagen.library.detail import build_sidecar
from imagen.library.facets import count_facets
from imagen.library.image_index import read_revision
from imagen.library.schema import stored_text
from imagen.library.search import CostClass, Shape
from imagen.library.tags import change_tags, count_values, parse_tag, set_rating
from imagen.library.trash import (
    delete_for_good,
    is_here,
    list_trashed,
    move_back,
    move_to_trash,
    require_here,
    require_trashed,
)
from imagen.outputs import strip_folders
from imagen.outputs.provenance import read_graph_values, request_from_values
from imagen.outputs.redact import redact_record, strip_paths
from imagen.runtime.caller import Caller
from imagen.runtime.drift import compare_images, plan_again
from imagen.runtime.reuse import build_request_again
from imagen.server.state import CallerOf, RuntimeOf, require
from imagen.views.base import View
from imagen.views.images import (
    AgainView,
    DeletedImagesView,
    DriftView,
    FailuresPageView,
    FailureView,
    ImageDriftView,
    ImageFacetsView,
    ImageRecordView,
    ImagesPageView,
    ImagesView,
    ImageView,
    LibraryEntryView,
    ReuseView,
    ShownImageView,
    ValueCountView,
    image_views,
)

router = APIRouter(tags=["images"])

MOST_IMAGES = 500
MOST_CHANGED = 1000
_FIRST_YEAR, _LAST_YEAR = 1971, 2200
_KEY = re.compile(r"\d{15,19}")
_LARGEST_KEY = 2**63 - 1

Limit = Annotated[int, Query(ge=1, le=MOST_IMAGES, description="The most images of a page.")]
After = Annotated[
    str | None,
    Query(max_length=60, description="The last image of the page before: its ID, or its key."),
]
ImageIds = Annotated[
    tuple[Annotated[str, Field(max_length=60)], ...], Field(min_length=1, max_length=MOST_CHANGED)
]


class MakerFilters(View):
    """Which generations to find. All conditions must hold."""

    text: str = Field("", max_length=1000, description='Words of the prompt: `red "in snow" -cat`.')
    backend: str | None = Field(None, max_length=200)
    model: tuple[Annotated[str, Field(max_length=1000)], ...] = Field(
        (), max_length=100, description="Of this model; may be repeated for any of several."
    )
    since: datetime | None = Field(None, description="From this moment on.")
    until: datetime | None = Field(None, description="Before this moment.")

    @field_validator("text", "backend")
    @classmethod
    def _storable(cls, value: str | None) -> str | None:
        return value and stored_text(value)

    @field_validator("model")
    @classmethod
    def _all_storable(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(stored_text, values))

    @field_validator("since", "until")
    @classmethod
    def _with_zone(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            raise ValueError(f"must be between {_FIRST_YEAR} and {_LAST_YEAR}")
        return moment and moment.astimezone()

    def query(self) -> ImageQuery:
        return ImageQuery(
            text=self.text,
            backend=self.backend,
            models=self.model,
            since=self.since,
            until=self.until,
        )


class ImageFilters(MakerFilters):
    """Which images to find. All conditions must hold."""

    rating: int | None = Field(None, ge=1, le=5, description="At least so many stars.")
    tag: tuple[str, ...] = Field((), max_length=20, description="With this tag; may be repeated.")
    lora: tuple[Annotated[str, Field(max_length=1000)], ...] = Field(
        (), max_length=20, description="Made with this LoRA; may be repeated."
    )
    album: str | None = Field(None, max_length=60, description="In the album with this id.")
    shape: Shape | None = None
    size: str | None = Field(
        None, pattern=r"^\d{1,6}x\d{1,6}$", description="Exactly so large: `1024x768`."
    )
    cost: CostClass | None = Field(
        None, description="Free, paid, or of unknown cost. Images of your own engines are free."
    )
    max_cost: float | None = Field(
        None, ge=0, le=1e6, allow_inf_nan=False, description="At most so many US dollars each."
    )
    trash: bool = Field(False, description="Only images in the trash; otherwise only others.")
    missing: bool = Field(
        False, description="Only images whose file was missing when it was checked."
    )

    def query(self) -> ImageQuery:
        return replace(
            super().query(),
            rating=self.rating,
            tags=tuple(map(parse_tag, self.tag)),
            loras=tuple(map(stored_text, self.lora)),
            album=self.album and stored_text(self.album),
            shape=self.shape,
            size=_parse_size(self.size),
            cost=self.cost,
            max_cost=self.max_cost,
            in_trash=self.trash,
            is_missing=self.missing,
        )


def _parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, height = map(int, text.split("x"))
    return width, height


class CountedImages(ImageFilters):
    """Which images to count."""

    utc_offset: int = Field(
        0,
        ge=-1440,
        le=1440,
        description="Minutes that the clock of the days and months is ahead of UTC.",
    )


class ListedImages(ImageFilters):
    """A page of images, or those with these ids."""

    limit: Limit = 50
    after: After = None
    ids: str | None = Field(
        None,
        max_length=60 * MOST_IMAGES,
        description="Only these images, by their unique ids with commas between them, in this "
        "order; unknown ones are left out.",
    )


class ListedFailures(MakerFilters):
    """A page of failed generations."""

    limit: Limit = 50
    after: After = None


class ImageMarks(View):
    """What to change about an image."""

    add_tags: tuple[str, ...] = Field((), max_length=100)
    remove_tags: tuple[str, ...] = Field((), max_length=100)
    rating: int | None = Field(
        None, ge=1, le=5, description="Stars; null removes the rating. Left out, it stays."
    )


class MarkedImages(ImageMarks):
    """What to change about several images."""

    images: ImageIds = Field(description="Their IDs.")


class ChosenImages(View):
    """Some images."""

    images: ImageIds = Field(description="Their IDs.")


class DoomedImages(View):
    """Which images in the trash to delete for good; by default all on this machine."""

    images: tuple[Annotated[str, Field(max_length=60)], ...] | None = Field(
        None, max_length=MOST_CHANGED, description="Their IDs."
    )
    older_than_days: float | None = Field(
        None,
        ge=0,
        le=36500,
        allow_inf_nan=False,
        description="Only those that have been in the trash for so many days.",
    )


def split_ids(ids: str) -> tuple[str, ...]:
    """Unique ids with commas between them. Raises RequestError if they are too many."""
    uids = tuple(uid for uid in ids.split(",") if uid)
    if len(uids) > MOST_IMAGES:
        raise RequestError(f"ids: at most {MOST_IMAGES} images at once.")
    return uids


def find_key(after: str | None, library: Library) -> int | None:
    """The key of the image after which a page begins: named by its ID or its key."""
    if after is None:
        return None
    if _KEY.fullmatch(after):
        return min(int(after), _LARGEST_KEY)
    return find_image_by_id(library, after).key


@router.get("/images")
def list_images(
    listed: Annotated[ListedImages, Query()], runtime: RuntimeOf, caller: CallerOf
) -> ImagesPageView:
    """List images, newest first."""
    library = runtime.library
    if listed.ids is not None:
        found = find_images_by_uid(library, split_ids(listed.ids))
        return ImagesPageView(images=image_views(found, is_local=caller.is_local), after=None)
    images, key = search_images(
        library, listed.query(), find_key(listed.after, library), listed.limit
    )
    after = None if key is None else images[-1].uid
    return ImagesPageView(images=image_views(images, is_local=caller.is_local), after=after)


@router.get("/failures")
def list_failures(
    listed: Annotated[ListedFailures, Query()], runtime: RuntimeOf, caller: CallerOf
) -> FailuresPageView:
    """List failed generations and their errors, newest first."""
    older_than = None if listed.after is None else find_failure(runtime.library, listed.after)
    failures, after = search_failures(runtime.library, listed.query(), older_than, listed.limit)
    if not caller.is_local:
        failures = tuple(replace(one, message=strip_paths(one.message)) for one in failures)
    return FailuresPageView(
        failures=tuple(map(FailureView.of, failures)), after=after.generation if after else None
    )


@router.get("/tags")
def list_tags(runtime: RuntimeOf) -> tuple[ValueCountView, ...]:
    """List all tags, and how many images have each."""
    return _value_counts(count_values(runtime.library, "tag"))


@router.get("/facets")
def list_facets(counted: Annotated[CountedImages, Query()], runtime: RuntimeOf) -> ImageFacetsView:
    """What the images that match can be filtered by, and how many images each choice finds.

    The counts of a facet ignore the filter by that facet itself. Values with many images come
    first; days and months are newest first.
    """
    library, query = runtime.library, counted.query()
    return _read_facets(library, read_revision(library), query, counted.utc_offset)


@lru_cache(maxsize=16)
def _read_facets(
    library: Library, _revision: str, query: ImageQuery, utc_offset: int
) -> ImageFacetsView:
    """They are counted again once an image has changed."""
    return ImageFacetsView.of(count_facets(library, query, utc_offset))


def _value_counts(counts: dict[str, int]) -> tuple[ValueCountView, ...]:
    return tuple(ValueCountView(name=name, images=count) for name, count in counts.items())


@router.patch("/images")
def change_images(marked: MarkedImages, runtime: RuntimeOf, caller: CallerOf) -> ImagesView:
    """Tag and rate several images."""
    return _change(find_all(marked.images, runtime.library), marked, runtime.library, caller)


@router.get("/images/{id}")
def get_image(id: str, runtime: RuntimeOf, caller: CallerOf) -> ShownImageView:
    """One image: how it was made, and what the library knows about it."""
    library = runtime.library
    image = find_image_by_id(library, id)
    record = read_graph_values(load_record(library, image))
    values = ImageRecordView.values_of(record)
    for known in (record.request, record.resolved):
        values = strip_folders(values, request_from_values(known)[0])
    detail = load_detail(library, image)
    if not caller.is_local:
        values = redact_record(values, "full")
        detail = replace(detail, warnings=tuple(map(strip_paths, detail.warnings)))
    entry = LibraryEntryView.of_detail(image, detail, is_local=caller.is_local)
    return ShownImageView(**values, library=entry)


@router.get("/images/{id}/metadata", response_class=Response)
def get_metadata(id: str, runtime: RuntimeOf) -> Response:
    """The JSON sidecar of an image, which `imagen again` reads."""
    image = find_image_by_id(runtime.library, id)
    return Response(build_sidecar(runtime.library, image), media_type="application/json")


@router.get("/images/{id}/use")
def get_request(id: str, runtime: RuntimeOf) -> ReuseView:
    """The request that generates an image again, for `POST /generations`."""
    image = find_image_by_id(runtime.library, id)
    request, backend = build_request_again(image, runtime)
    return ReuseView(request=request, backend=backend)


@router.get("/images/{id}/again")
def plan_image_again(
    id: str,
    runtime: RuntimeOf,
    caller: CallerOf,
    backend: Annotated[
        str, Query(max_length=100, description="By default that of the image.")
    ] = "",
    model: Annotated[
        str | None, Query(max_length=300, description="In place of the backend's own.")
    ] = None,
) -> AgainView:
    """The request that generates an image again on a backend, and what will differ.

    Nothing is sent.
    """
    image = find_image_by_id(runtime.library, id)
    plan = plan_again(image, runtime, backend=backend, model=model)
    return AgainView(
        request=plan.request,
        backend=plan.backend,
        drift=tuple(DriftView.of(one, is_local=caller.is_local) for one in plan.drifts),
        warnings=plan.warnings,
    )


@router.get("/images/{id}/drift")
def get_drift(
    id: str,
    runtime: RuntimeOf,
    caller: CallerOf,
    original: Annotated[str, Query(max_length=60, description="The ID of the other image.")],
) -> ImageDriftView:
    """How an image differs from the one that it was generated again from."""
    library = runtime.library
    old, new = find_image_by_id(library, original), find_image_by_id(library, id)
    drifts, likeness = compare_images(old, new, runtime)
    return ImageDriftView(
        drift=tuple(DriftView.of(one, is_local=caller.is_local) for one in drifts),
        identical=(likeness.identical or "no") if likeness else None,
        difference=likeness.difference if likeness else None,
    )


@router.patch("/images/{id}")
def change_image(id: str, marks: ImageMarks, runtime: RuntimeOf, caller: CallerOf) -> ImageView:
    """Tag and rate an image."""
    image = find_image_by_id(runtime.library, id)
    return _change([image], marks, runtime.library, caller).images[0]


@router.delete("/images/{id}")
def trash_image(id: str, runtime: RuntimeOf, caller: CallerOf) -> ImageView:
    """Move an image to the trash."""
    return trash_images(ChosenImages(images=(id,)), runtime, caller).images[0]


@router.post("/trash")
def trash_images(chosen: ChosenImages, runtime: RuntimeOf, caller: CallerOf) -> ImagesView:
    """Move images and their sidecars to the trash."""
    images = find_all(chosen.images, runtime.library)
    for image in images:
        require_here(image)
    for image in images:
        move_to_trash(runtime.library, image)
    return _reload(images, runtime.library, caller)


@router.post("/trash/restore")
def restore_images(chosen: ChosenImages, runtime: RuntimeOf, caller: CallerOf) -> ImagesView:
    """Put images in the trash back to where they were."""
    images = find_all(chosen.images, runtime.library)
    for image in images:
        require_trashed(image)
    for image in images:
        try:
            move_back(runtime.library, image)
        except OutputError as error:  # another file has its name by now
            raise HTTPException(409, strip_paths(f"{error.message} {error.remedy}")) from error
    return _reload(images, runtime.library, caller)


@router.post("/trash/empty", dependencies=[Depends(require("admin"))])
def empty_trash(doomed: DoomedImages, runtime: RuntimeOf, caller: CallerOf) -> DeletedImagesView:
    """Delete images in the trash for good, with their files and sidecars."""
    library, images, days = runtime.library, doomed.images, doomed.older_than_days
    if images is not None and days is not None:
        raise RequestError("older_than_days cannot be combined with images.")
    if images is not None:
        chosen = find_all(images, library)
        for image in chosen:
            require_trashed(image)
    else:
        before = None if days is None else datetime.now(UTC) - timedelta(days=days)
        chosen = [one for one in list_trashed(library, before=before) if is_here(one)]
    left = [path for image in chosen if (path := delete_for_good(library, image)) is not None]
    return DeletedImagesView(
        images=image_views(chosen, is_local=caller.is_local),
        left=tuple(str(path) if caller.is_local else path.name for path in left),
    )


def find_all(ids: tuple[str, ...], library: Library) -> list[LibraryImage]:
    """These images, each once; unique ids are looked up together. Raises NotFound."""
    known = {image.uid: image for image in find_images_by_uid(library, ids)}
    found = [known.get(id) or find_image_by_id(library, id) for id in ids]
    return list({image.key: image for image in found}.values())


def _change(
    images: list[LibraryImage], marks: ImageMarks, library: Library, caller: Caller
) -> ImagesView:
    change_tags(library, images, add=marks.add_tags, remove=marks.remove_tags)
    if "rating" in marks.model_fields_set:
        set_rating(library, images, marks.rating)
    return _reload(images, library, caller)


def _reload(images: list[LibraryImage], library: Library, caller: Caller) -> ImagesView:
    """The same images as they are now."""
    now = find_images_by_uid(library, [image.uid for image in images])
    if not now:
        raise NotFound("The image was deleted meanwhile.")
    return ImagesView(images=image_views(now, is_local=caller.is_local))
