"""Result: the bytes and facts that a backend returns, never paths; and its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.core.ticket import Ticket

Stage = Literal["submitted", "queued", "loading", "running", "fetching", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output of a job: usually an image, sometimes a video, a sound or a text."""

    data: bytes
    media_type: str
    """`image/png`, `video/mp4`, `text/plain`, …"""
    seed: int | None = None
    index: int = 0
    """Its number in the batch, from 0."""
    name: str = ""
    """The name that the engine gave it: data, never a path to write to."""
    source: str = ""
    """The part of the engine that produced it: for ComfyUI the id of the node."""

    @property
    def is_image(self) -> bool:
        return self.media_type.startswith("image/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one job; None means unknown, never zero. Times are seconds."""

    model: str = ""
    models: tuple[str, ...] = ()
    """The model files used, as the engine names them."""
    seed: int | None = None
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    latency_seconds: float | None = None
    """From submission to the last byte; None if a process that died had submitted it."""
    queued_seconds: float | None = None
    executing_seconds: float | None = None
    cost_usd: float | None = None
    cost_basis: str = ""
    """How the cost was calculated, in a sentence."""
    cached: bool | None = None
    """Whether the engine answered from its cache without computing."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    """What only this kind of engine reports; JSON."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Facts:
        """The facts as recorded in JSON, without those that this version does not know."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a backend returned for one ticket."""

    outputs: tuple[Output, ...]
    facts: Facts = field(default_factory=Facts)
    warnings: tuple[str, ...] = ()
    """Sentences for the user about a job that succeeded."""

    @property
    def images(self) -> tuple[Output, ...]:
        return tuple(output for output in self.outputs if output.is_image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of one job, reported on each step and at least once a second."""

    stage: Stage
    fraction: float = 0.0
    """0 to 1; never decreases within one job."""
    node: str = ""
    """The part of the work that is running, in words."""
    step: int | None = None
    steps: int | None = None
    queue_position: int | None = None
    """How many jobs are ahead in the queue: 0 is next."""
    image: int | None = None
    """The number of the image in progress, from 1, if one command makes several."""
    images: int | None = None
    """How many images the command makes; None if it makes one."""
    preview: bytes | None = None
    """A small preview of the unfinished image, JPEG or PNG."""
    ticket: Ticket | None = None
    """The ticket, if it changed: the engine has the job, or has named its files."""


OnProgress = Callable[[Progress], None]
"""Called by every adapter while it works; may raise `Cancelled` or `LetGo`."""


def no_progress(progress: Progress) -> None:
    """An `OnProgress` that ignores progress."""


def count_images(on_progress: OnProgress, made: int, images: int) -> OnProgress:
    """An `OnProgress` for one job of several, which adds the number of images made before it."""
    if images < 2:
        return on_progress

    def report(progress: Progress) -> None:
        on_progress(replace(progress, image=made + (progress.image or 1), images=images))

    return report
