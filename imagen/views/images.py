"""Images of the library as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue

from imagen.outputs.redact import strip_paths
from imagen.views.base import Moment, View
from imagen.views.requests import RequestValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imagen.library import FailedGeneration, ImageDetail, LibraryImage
    from imagen.library.facets import Facets
    from imagen.outputs import ImageRecord
    from imagen.outputs.convert import ConvertedImage
    from imagen.reproduce import Drift


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
    path: str | None = Field(description="Null for clients on other machines.")
    sidecar: str | None
    host: str | None = Field(description="The machine that `path` is a path of.")
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
    def of(cls, image: LibraryImage, *, is_local: bool = True) -> ImageView:
        """Without paths unless it is for this machine."""
        return cls(
            id=image.id,
            uid=image.uid,
            generation=image.generation,
            index=image.number,
            created=image.created,
            backend=image.backend,
            model=image.model,
            prompt=image.prompt,
            path=str(image.path) if is_local else None,
            sidecar=str(image.sidecar) if image.sidecar and is_local else None,
            host=image.host if is_local else None,
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
            trashed_from=str(image.trashed_from) if image.trashed_from and is_local else None,
            is_missing=image.is_missing,
            cloud=dict(image.cloud) or None,
        )


def image_views(images: Iterable[LibraryImage], *, is_local: bool = True) -> tuple[ImageView, ...]:
    """All of them as JSON."""
    return tuple(ImageView.of(image, is_local=is_local) for image in images)


class ImagesPageView(View):
    """A page of images, newest first."""

    images: tuple[ImageView, ...]
    after: str | None = Field(
        description="The last image, after which the next page begins; null on the last page."
    )


class ImagesView(View):
    """Some images."""

    images: tuple[ImageView, ...]


class DeletedImagesView(ImagesView):
    """Images that were deleted for good, as they were."""

    left: tuple[str, ...] = Field(
        description="Files that were not deleted because their content has changed."
    )


class ValueCountView(View):
    """A value that images can be filtered by, and how many images have it."""

    name: str
    images: int


class ImageFacetsView(View):
    """What images can be filtered by."""

    total: int = Field(description="How many images match.")
    backends: tuple[ValueCountView, ...]
    models: tuple[ValueCountView, ...]
    ratings: tuple[ValueCountView, ...]
    tags: tuple[ValueCountView, ...]
    loras: tuple[ValueCountView, ...]
    albums: tuple[ValueCountView, ...] = Field(description="By the id of the album.")
    shapes: tuple[ValueCountView, ...]
    sizes: tuple[ValueCountView, ...] = Field(description="`1024x768`; the most common ones.")
    costs: tuple[ValueCountView, ...]
    months: tuple[ValueCountView, ...] = Field(description="`2026-11`.")
    days: tuple[ValueCountView, ...] = Field(description="`2026-11-27`; the newest ones.")

    @classmethod
    def of(cls, facets: Facets) -> ImageFacetsView:
        counts: dict[str, Any] = {
            name: tuple(ValueCountView(name=value, images=many) for value, many in found.items())
            for name in cls.model_fields
            if name != "total"
            for found in [getattr(facets, name)]
        }
        return cls(total=facets.total, **counts)


class ReuseView(View):
    """The request that generates an image again, as `POST /generations` takes it."""

    request: RequestValues
    backend: str


class DriftView(View):
    """One difference between an image and the one that it is generated again from."""

    what: str = Field(description="backend, engine, model, version, workflow, parameter, …")
    name: str = Field(description="The parameter, the program, the input of a node, …")
    then: str = Field(description="In words, shortened; empty for nothing.")
    now: str = Field(description="In words, shortened; empty for nothing.")
    why: str
    sentence: str

    @classmethod
    def of(cls, drift: Drift, *, is_local: bool = True) -> DriftView:
        shown: Callable[[str], str] = str if is_local else strip_paths
        return cls(
            what=drift.what,
            name=shown(drift.name),
            then=shown(drift.then_text),
            now=shown(drift.now_text),
            why=shown(drift.why),
            sentence=shown(drift.sentence),
        )


class AgainView(ReuseView):
    """How an image would be generated again, and what is known to differ."""

    drift: tuple[DriftView, ...]
    warnings: tuple[str, ...]


class ImageDriftView(View):
    """How an image differs from another one that it was generated again from."""

    drift: tuple[DriftView, ...]
    identical: Literal["file", "pixels", "no"] | None = Field(
        description="Byte for byte, or once decoded; null if they were not compared."
    )
    difference: float | None = Field(
        description="The average difference of a channel of a pixel, 0 to 1; 1 if the sizes differ."
    )


class ImageDeliveryView(View):
    """A delivery of an image."""

    kind: str
    host: str | None = Field(description="Of a webhook, whose URL may be secret.")
    state: str
    attempts: int
    due: Moment
    last_error: str


class LibraryEntryView(ImageView):
    """An image of the library, and what belongs to its generation."""

    source: str = Field(description="`imagen`, or `import` if it was added from files.")
    kind: str = Field(description="The kind of engine.")
    caller: str
    ended: Moment
    warnings: tuple[str, ...]
    cost: float | None
    estimated_cost: float | None
    currency: str | None
    is_paid: bool | None = Field(
        description="Whether its engine is a paid service; null if that is unknown."
    )
    deliveries: tuple[ImageDeliveryView, ...]

    @classmethod
    def of_detail(
        cls, image: LibraryImage, detail: ImageDetail, *, is_local: bool = True
    ) -> LibraryEntryView:
        row = detail.ledger_row
        return cls(
            **dict(ImageView.of(image, is_local=is_local)),
            source=detail.source,
            kind=detail.kind,
            caller=detail.caller,
            ended=detail.ended,
            warnings=detail.warnings,
            cost=row.cost if row else None,
            estimated_cost=row.estimated_cost if row else None,
            currency=row.currency if row and row.cost is not None else None,
            is_paid=row.is_paid if row else None,
            deliveries=tuple(
                ImageDeliveryView(
                    kind=one.delivery.kind,
                    host=urlsplit(one.delivery.destination).hostname,
                    state=one.state,
                    attempts=one.attempts,
                    due=one.due,
                    last_error=one.last_error,
                )
                for one in detail.deliveries
            ),
        )


class ImageRecordView(View):
    """How an image was made, as its file or the library says it."""

    source: str = Field(description="Where that was found: `sidecar`, `imagen`, `parameters`, …")
    backend: str
    workflow: str
    request: dict[str, JsonValue] = Field(description="As requested.")
    resolved: dict[str, JsonValue] = Field(description="Every value that was used.")
    receipt: dict[str, JsonValue]
    facts: dict[str, JsonValue]
    tool: str
    graph: dict[str, JsonValue] = Field(description="What was sent to the engine.")
    inputs: tuple[dict[str, JsonValue], ...]
    file: dict[str, JsonValue]

    @classmethod
    def values_of(cls, record: ImageRecord) -> dict[str, Any]:
        return {name: getattr(record, name) for name in ImageRecordView.model_fields}


class ShownImageView(ImageRecordView):
    """An image of the library, and how it was made."""

    library: LibraryEntryView


class FailureErrorView(View):
    """Why a generation failed."""

    code: str
    message: str


class FailureView(View):
    """A generation that failed."""

    id: str = Field(description="The short ID, for people.")
    generation: str
    created: Moment
    backend: str
    model: str
    prompt: str
    caller: str
    error: FailureErrorView

    @classmethod
    def of(cls, failure: FailedGeneration) -> FailureView:
        return cls(
            id=failure.id,
            generation=failure.generation,
            created=failure.created,
            backend=failure.backend,
            model=failure.model,
            prompt=failure.prompt,
            caller=failure.caller,
            error=FailureErrorView(code=failure.code, message=failure.message),
        )


class FailuresPageView(View):
    """A page of failed generations, newest first."""

    failures: tuple[FailureView, ...]
    after: str | None = Field(description="Where the next page begins; null on the last page.")


class ConvertedImageView(View):
    """A file that `convert` wrote."""

    source: str
    path: str
    media_type: str
    width: int | None
    height: int | None
    size_bytes: int
    quality: int | None
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, source: str, path: str, converted: ConvertedImage) -> ConvertedImageView:
        from imagen.outputs import metadata

        width, height = metadata.size(converted.data)
        return cls(
            source=source,
            path=path,
            media_type=f"image/{metadata.kind(converted.data)}",
            width=width,
            height=height,
            size_bytes=len(converted.data),
            quality=converted.quality,
            warnings=converted.remarks,
        )
