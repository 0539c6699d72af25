"""What tools answer: a sentence, small images, links, and structured data."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING

from mcp.types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from pydantic import Field

from imagen.core.image_file import DECODE_ERRORS, open_image
from imagen.core.text import format_usd, one_line
from imagen.errors import ImagenError
from imagen.jobs.model import ENDED
from imagen.runtime.image_files import find_shown_file
from imagen.views.base import Moment, View

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.library import LibraryImage
    from imagen.runtime import Runtime
    from imagen.views.generations import ResultView
    from imagen.views.images import ImageView

SIDE = 768
"""Pixels of the longer side of an image in an answer."""
_MOST_BYTES = 140_000
"""Of all images in one answer, which hosts limit; base64 makes a third more of it."""
_MOST_IMAGES = 4
_SIZES = ((1.0, 80), (0.75, 75), (0.5, 70), (0.35, 60))
"""Sides and JPEG qualities to try, from the largest file."""


class ToolImage(View):
    """An image of the library."""

    id: str = Field(description="Its id, for the other tools.")
    uri: str = Field(description="The resource with the whole file.")
    path: str | None = Field(description="Where the file is; null for hosts on other machines.")
    width: int | None
    height: int | None
    seed: int | None
    backend: str
    model: str
    prompt: str
    created: Moment

    @classmethod
    def of(cls, image: ImageView) -> ToolImage:
        return cls(
            id=image.uid,
            uri=image_uri(image.uid),
            path=image.path,
            width=image.width,
            height=image.height,
            seed=image.seed,
            backend=image.backend,
            model=image.model,
            prompt=image.prompt,
            created=image.created,
        )


class JobOutcome(View):
    """What became of a job so far."""

    job: str = Field(description="Its id, for get_job and cancel_job.")
    state: str
    is_over: bool = Field(description="If not, ask again with get_job.")
    fraction: float | None = Field(description="How much is done, from 0 to 1; null if unknown.")
    images: tuple[ToolImage, ...]
    cost_usd: float | None = Field(description="In US dollars; null if unknown.")
    warnings: tuple[str, ...]
    error: str | None
    sheet: str | None = Field(None, description="The contact sheet of a comparison, a path.")

    @classmethod
    def of(
        cls, result: ResultView, fraction: float | None, sheet: str | None, warnings: Sequence[str]
    ) -> JobOutcome:
        costs = [one.facts.get("cost_usd") for one in result.generations]
        known = [float(cost) for cost in costs if isinstance(cost, int | float)]
        error = result.error
        return cls(
            job=result.job.id,
            state=result.job.state,
            is_over=result.job.state in ENDED,
            fraction=fraction,
            images=tuple(map(ToolImage.of, result.images)),
            cost_usd=sum(known) if costs and len(known) == len(costs) else None,
            warnings=tuple(dict.fromkeys([*warnings, *result.warnings])),
            error=error and f"{error.message} {error.remedy}".strip(),
            sheet=sheet,
        )

    @property
    def sentence(self) -> str:
        """For the model: what it got, or what to do."""
        lines = []
        if not self.is_over:
            done = "" if self.fraction is None else f", {self.fraction:.0%} done"
            lines.append(f"Job {self.job} is {self.state}{done}. Ask again with get_job.")
        elif self.error:
            lines.append(f"Job {self.job} has {self.state}: {self.error}")
        for image in self.images:
            size = f"{image.width}×{image.height}" if image.width else "unknown size"
            seed = "" if image.seed is None else f", seed {image.seed}"
            model = f" with {image.model}" if image.model else ""
            place = image.path or image.uri
            lines.append(f"{place} ({size}{seed}, {image.backend}{model}, id {image.id})")
        if self.sheet:
            lines.append(f"Contact sheet: {self.sheet}")
        if self.cost_usd:
            lines.append(f"Cost: {format_usd(self.cost_usd)}.")
        return "\n".join([*lines, *self.warnings])


class ImagesOutcome(View):
    """A page of images, newest first."""

    images: tuple[ToolImage, ...]
    after: int | None = Field(description="For the next page; null if this is the last.")


class BackendModels(View):
    """A backend and what it offers."""

    backend: str
    kind: str
    title: str
    is_default: bool
    is_cloud: bool = Field(description="Whether requests leave for a service, which may charge.")
    tasks: tuple[str, ...]
    models: tuple[str, ...] = Field(description="Names for `model`, as `backend/model`.")
    loras: tuple[str, ...]
    error: str | None


class ModelsOutcome(View):
    """What can be named as `model`."""

    backends: tuple[BackendModels, ...]


def image_uri(uid: str) -> str:
    return f"imagen://images/{uid}"


def answer(sentence: str, data: View, *more: ContentBlock) -> CallToolResult:
    """A result of a sentence, structured data, and more."""
    text = TextContent(type="text", text=sentence)
    return CallToolResult(content=[text, *more], structured_content=data.as_data())


def show_images(
    images: Sequence[LibraryImage], runtime: Runtime, *, side: int = SIDE
) -> list[ContentBlock]:
    """A small JPEG of the first images, and a link to each."""
    blocks: list[ContentBlock] = []
    for image in images[:_MOST_IMAGES]:
        with suppress(ImagenError, *DECODE_ERRORS):  # the links remain
            file, _ = find_shown_file(image, runtime.library, runtime.settings)
            shown = min(len(images), _MOST_IMAGES)
            blocks.append(show_file(file, side=side, most_bytes=_MOST_BYTES // shown))
    return [*blocks, *map(link_image, images)]


def show_file(file: Path, *, side: int = SIDE, most_bytes: int = _MOST_BYTES) -> ImageContent:
    """An image as a small JPEG. Raises what Pillow raises."""
    with open_image(file) as image:
        image.draft("RGB", (side, side))
        whole = image.convert("RGBA") if "A" in image.getbands() else image.convert("RGB")
    if whole.mode == "RGBA":
        from PIL import Image

        whole = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
    for share, quality in _SIZES:
        small = whole.copy()
        small.thumbnail((round(side * share), round(side * share)))
        data = BytesIO()
        small.save(data, "JPEG", quality=quality)
        if data.tell() <= most_bytes:
            break
    encoded = b64encode(data.getvalue()).decode()
    return ImageContent(type="image", data=encoded, mime_type="image/jpeg")


def link_image(image: LibraryImage) -> ResourceLink:
    return ResourceLink(
        type="resource_link",
        uri=image_uri(image.uid),
        name=image.path.name,
        description=one_line(image.prompt, limit=100) or None,
        mime_type=image.media_type,
        size=image.size_bytes,
    )
