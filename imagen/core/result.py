"""What a backend gives back: bytes and facts, never paths; and how far along it is."""

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
    """One thing that was made: as a rule a picture, sometimes a video, a sound or a text."""

    data: bytes
    media_type: str
    """`image/png`, `video/mp4`, `text/plain`, …"""
    seed: int | None = None
    index: int = 0
    """Which of a batch, from 0."""
    name: str = ""
    """What the engine called it: data, never a path to write to."""
    source: str = ""
    """The part of the engine that made it: for ComfyUI the node's id."""

    @property
    def is_image(self) -> bool:
        return self.media_type.startswith("image/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one run; None means unknown, never zero. Times are seconds."""

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
    """From submission to the last byte; None where a process that died had submitted it."""
    queued_seconds: float | None = None
    executing_seconds: float | None = None
    cost_usd: float | None = None
    cost_basis: str = ""
    """How the cost was reckoned, in a sentence."""
    cached: bool | None = None
    """Whether the engine answered from its cache without computing."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    """What only this kind of engine tells; JSON."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Facts:
        """The facts that were kept as JSON; what this version does not know is left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came back of one ticket."""

    outputs: tuple[Output, ...]
    facts: Facts = field(default_factory=Facts)
    warnings: tuple[str, ...] = ()
    """Sentences for the user about a run that succeeded."""

    @property
    def images(self) -> tuple[Output, ...]:
        return tuple(output for output in self.outputs if output.is_image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far along one run is. Told on each step, and at least once a second of waiting."""

    stage: Stage
    fraction: float = 0.0
    """Of the whole, 0 to 1; never falls within one run."""
    node: str = ""
    """The part of the work that runs now, in words."""
    step: int | None = None
    steps: int | None = None
    queue_position: int | None = None
    """How many are before ours: 0 is next."""
    image: int | None = None
    """Which image is being made, from 1, where one command makes several."""
    images: int | None = None
    """How many images the command makes; None where it makes one."""
    preview: bytes | None = None
    """A small picture of the unfinished work, JPEG or PNG."""
    ticket: Ticket | None = None
    """The ticket, where it changed: the engine has the work, or has named its files."""


OnProgress = Callable[[Progress], None]
"""Called by every adapter while it works; it may raise `Cancelled`."""


def no_progress(progress: Progress) -> None:
    """An `OnProgress` for those who don't want to know."""


def count_images(on_progress: OnProgress, made: int, images: int) -> OnProgress:
    """An `OnProgress` for one run of several, which says how many images were made before it."""
    if images < 2:
        return on_progress

    def counted(progress: Progress) -> None:
        on_progress(replace(progress, image=made + (progress.image or 1), images=images))

    return counted
