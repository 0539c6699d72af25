"""What a backend is: all that the author of an adapter imports."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from imagen.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress, Result
    from imagen.core.ticket import Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCapability:
    """One thing that a backend could do, and can't now for want of something."""

    what: str
    """A task, or one kind of it: `upscale`, `control canny`."""
    why: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A graphics card of an engine."""

    name: str
    vram_total_bytes: int | None = None
    """None is unknown."""
    vram_free_bytes: int | None = None

    @property
    def sentence(self) -> str:
        """`NVIDIA RTX 4090, 20.0 of 24.0 GiB VRAM free`, as far as it is known."""
        total, free = self.vram_total_bytes, self.vram_free_bytes
        if total is None:
            return self.name
        size = f"{total / 2**30:.1f} GiB VRAM"
        return f"{self.name}, {size if free is None else f'{free / 2**30:.1f} of {size} free'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a backend could work now, and what to do where it could not."""

    ok: bool
    summary: str = "ok"
    """One line: `ok`, or the first thing that is missing."""
    remedies: tuple[str, ...] = ()
    """What to do about it, a sentence each."""
    facts: tuple[tuple[str, str], ...] = ()
    """What the engine says of itself: (`version`, `0.3.64`), …"""
    gpus: tuple[Gpu, ...] = ()
    """The graphics cards that the engine reports."""
    lacking: tuple[MissingCapability, ...] = ()
    """What else it could do with more: makes nobody ill."""


ModelKind = Literal[
    "checkpoint",
    "diffusion_model",
    "lora",
    "controlnet",
    "upscaler",
    "vae",
    "text_encoder",
    "sampler",
    "scheduler",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One thing that a backend's engine has on offer: a file of weights, or a sampler."""

    kind: ModelKind
    name: str
    """As the engine takes it in a request."""
    family: str = ""
    """`sdxl`, `flux1`, …, where it is known."""
    size_bytes: int | None = None
    vram_bytes: int | None = None
    """What it needs on the card; None is unknown."""
    is_default: bool = False
    """Whether it is the one that is used where a request names no model."""


class Backend(Protocol):
    """Something that turns a request into pictures.

    `capabilities` and `prepare` are pure: they reach no engine. `collect` submits the ticket unless
    it was submitted already, waits, and fetches; it calls `on_progress` on each step and at least
    once a second, and where that raises `Cancelled` it stops the work at the engine before it lets
    go. Once the engine has the work, `collect` tells `Progress(stage="submitted", ticket=…)`.
    """

    @property
    def engine(self) -> str:
        """Which engine this is, in any words: backends of one engine share its memory."""

    def capabilities(self, task: Task = "text-to-image", model: str | None = None) -> Capabilities:
        """What it takes for this task, with the model that a request names in place of its own.

        For a task that it can't do, what it takes for its first. Raises RequestError for a model
        that it can't use.
        """

    def models(self) -> tuple[Model, ...]:
        """What its engine has on offer; raises BackendError where that can't be asked."""

    def check(self) -> Health: ...
    def prepare(self, request: Request) -> Ticket: ...
    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result: ...
    def free(self) -> None:
        """Ask the engine to give back the memory of its models; never raises for an engine gone."""

    def close(self) -> None:
        """Let go of connections; twice is fine."""


@contextmanager
def tag_errors_with_backend(backend: str) -> Iterator[None]:
    """Names the backend in each BackendError of the block."""
    try:
        yield
    except BackendError as error:
        raise error.replace(backend=backend) from error


class Detection(NamedTuple):
    """What a search for an engine found."""

    blocks: Mapping[str, Mapping[str, Any]]
    """Blocks of the configuration, by name, for what the engine can run now."""
    left_out: tuple[MissingCapability, ...] = ()
    """What the engine can't run yet, or was not found, and why."""


class BackendConfig(BaseModel):
    """Base of every backend's own block of the configuration: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(exclude=True, description="The configured name; imagen fills it in.")
    title: str = Field("", description="A line about this backend, for listings.")
    hint: str = Field("", description="Your own advice, shown when it can't be reached.")


Config = TypeVar("Config", bound=BackendConfig)


@dataclass(frozen=True)
class Adapter(Generic[Config]):
    """How to build one kind of backend from its own block of the configuration."""

    config: type[Config]
    open: Callable[[Config], Backend]
    summary: str = ""
    """What kind of engine this is, in a line."""
    is_service: bool = False
    """Whether it is somebody's service: its credential must be set, and what a model takes may
    have to be asked of it, once."""
    detect: Callable[[str], Detection] | None = None
    """Look for the engine at an address, or at its usual place for ""."""

    def connect(self, block: Mapping[str, Any]) -> Backend:
        """The backend of this block; raises pydantic's ValidationError for a block that is off."""
        return self.open_redacted(self.config.model_validate(block))

    def open_redacted(self, config: Config) -> Backend:
        """The backend of this configuration, whose messages never hold its credentials."""
        from imagen.backends.redact import redact_backend  # here: it needs the types above

        return redact_backend(self.open(config), config)
