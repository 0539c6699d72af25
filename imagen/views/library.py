"""The library as a whole as JSON: what was added to it, checked and copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from imagen.views.base import View

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.library import AddedFiles, ConsistencyReport, LibraryImage
    from imagen.library.consistency import Inconsistency


class AddedImageView(View):
    """An image that was added."""

    path: str
    id: str = Field(description="Of its generation.")
    tool: str = Field(description="The program that made it; empty if unknown.")
    has_settings: bool = Field(description="Whether the file says how it was made.")


class AddProblemView(View):
    """A file that could not be added."""

    path: str
    what: str


class AddedFilesView(View):
    """What became of the files of some folders."""

    added: tuple[AddedImageView, ...]
    known: int
    moved: tuple[str, ...]
    problems: tuple[AddProblemView, ...]
    skipped: int

    @classmethod
    def of(cls, files: AddedFiles) -> AddedFilesView:
        return cls(
            added=tuple(
                AddedImageView(
                    path=str(one.path), id=one.id, tool=one.tool, has_settings=one.has_settings
                )
                for one in files.added
            ),
            known=files.known,
            moved=tuple(map(str, files.moved)),
            problems=tuple(
                AddProblemView(path=str(one.path), what=one.what) for one in files.problems
            ),
            skipped=files.skipped,
        )


class InconsistencyView(View):
    """An image that is not as the library has it."""

    id: str = Field(description="Of its generation.")
    path: str
    now: str | None = Field(description="Where the file is.")
    is_fixed: bool

    @classmethod
    def of(cls, one: Inconsistency) -> InconsistencyView:
        now = str(one.now) if one.now else None
        return cls(id=one.id, path=str(one.path), now=now, is_fixed=one.is_fixed)


class ConsistencyView(View):
    """What a check of the library found."""

    ok: bool
    checked: int
    elsewhere: int
    missing: tuple[InconsistencyView, ...]
    forgotten: tuple[InconsistencyView, ...]
    moved: tuple[InconsistencyView, ...]
    changed: tuple[InconsistencyView, ...]
    returned: tuple[InconsistencyView, ...]
    untrashed: tuple[InconsistencyView, ...]
    sidecars: tuple[InconsistencyView, ...]
    thumbnails: int

    @classmethod
    def of(cls, report: ConsistencyReport) -> ConsistencyView:
        def views(found: list[Inconsistency]) -> tuple[InconsistencyView, ...]:
            return tuple(map(InconsistencyView.of, found))

        return cls(
            ok=report.is_ok,
            checked=report.checked,
            elsewhere=report.elsewhere,
            missing=views(report.missing),
            forgotten=views(report.forgotten),
            moved=views(report.moved),
            changed=views(report.changed),
            returned=views(report.returned),
            untrashed=views(report.untrashed),
            sidecars=views(report.sidecars),
            thumbnails=report.thumbnails,
        )


class CopiedImageView(View):
    """An image of another machine, and its copy on this one."""

    id: str
    path: str


class CopiedImagesView(View):
    """What `library fetch` copied."""

    images: tuple[CopiedImageView, ...]
    here: int = Field(description="How many were on this machine already.")
    problems: tuple[str, ...]

    @classmethod
    def of(
        cls, copied: list[tuple[LibraryImage, Path]], here: int, problems: list[str]
    ) -> CopiedImagesView:
        images = tuple(CopiedImageView(id=image.id, path=str(path)) for image, path in copied)
        return cls(images=images, here=here, problems=tuple(problems))
