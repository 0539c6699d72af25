"""The interface of a backend: everything that an adapter imports."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    TypeVar,
    runtime_checkable,
)

from pydantic import BaseModel, ConfigDict, Field, field_validator

from imagen.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress, Result
    from imagen.core.ticket import Ticket


_DESCRIBED = ConfigDict(use_attribute_docstrings=True)
"""So that the JSON schema of a dataclass describes its fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCapability:
    """Something that a backend cannot do until a file or a package is installed."""

    __pydantic_config__: ClassVar = _DESCRIBED

    what: str
    """A task, or one kind of it: `upscale`, `control canny`."""
    why: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU of an engine."""

    __pydantic_config__: ClassVar = _DESCRIBED

    name: str
    vram_total_bytes: int | None = None
    """None means unknown."""
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
    """Whether a backend is ready to work, and what to do if it is not."""

    ok: bool
    summary: str = "ok"
    """One line: `ok`, or the first problem."""
    remedies: tuple[str, ...] = ()
    """What to do, a sentence each."""
    facts: tuple[tuple[str, str], ...] = ()
    """What the engine reports: (`version`, `0.3.64`), …"""
    gpus: tuple[Gpu, ...] = ()
    """The GPUs that the engine reports."""
    lacking: tuple[MissingCapability, ...] = ()
    """Optional features that are missing; they do not affect health."""


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
    """Something that an engine offers: a model file, a sampler or a scheduler."""

    __pydantic_config__: ClassVar = _DESCRIBED

    kind: ModelKind
    name: str
    """The name in a request."""
    family: str = ""
    """`sdxl`, `flux1`, …, if it is known."""
    size_bytes: int | None = None
    vram_bytes: int | None = None
    """What it needs on the GPU; None means unknown."""
    is_default: bool = False
    """Whether it is used where a request names no model."""
    usd: float | None = None
    """What an image costs, where the service has a price for an image; None means unknown."""


class Backend(Protocol):
    """Turns requests into images.

    `capabilities` and `prepare` do not contact the engine. `collect` submits the ticket unless it
    was submitted before, waits, and fetches the outputs. It calls `on_progress` on each step and
    at least once a second; if that raises `Cancelled`, `collect` stops the job at the engine
    before it raises. If it raises `LetGo`, a job of an engine that goes on by itself is left as it
    is. Right before it submits a job, `collect` reports `Progress(stage="submitted", ticket=…)`.
    """

    @property
    def engine(self) -> str:
        """Identifies the engine: backends with the same value share its memory."""

    def capabilities(self, task: Task = "text-to-image", model: str | None = None) -> Capabilities:
        """What the backend accepts for a task, with the model that a request may name.

        For a task that it cannot do, this is what it accepts for its first task. Raises
        RequestError for a model that it cannot use.
        """

    def models(self) -> tuple[Model, ...]:
        """What the engine offers; raises BackendError where the engine cannot be asked."""

    def check(self) -> Health: ...
    def prepare(self, request: Request) -> Ticket: ...
    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result: ...
    def free(self) -> None:
        """Ask the engine to unload its models; never raises for an engine that is gone."""

    def close(self) -> None:
        """Close connections; may be called twice."""


@runtime_checkable
class CountsJobs(Protocol):
    """A backend whose engine can be asked how many jobs it has, of any process."""

    def count_jobs(self) -> int:
        """How many jobs run or wait there; raises BackendError where it cannot be asked."""


@contextmanager
def tag_errors_with_backend(backend: str) -> Iterator[None]:
    """Sets `backend` in each BackendError of the block."""
    try:
        yield
    except BackendError as error:
        raise error.replace(backend=backend) from error


class Detection(NamedTuple):
    """The result of a search for an engine."""

    blocks: Mapping[str, Mapping[str, Any]]
    """Configuration blocks by name, for what the engine can run now."""
    left_out: tuple[MissingCapability, ...] = ()
    """What the engine cannot run yet, and why."""


_PERIODS = {"s": 1, "m": 60, "h": 3600}


def parse_rate(text: str) -> tuple[int, float]:
    """A number of jobs, and of seconds, from a text such as `10/1m`; raises ValueError."""
    match = re.fullmatch(r"(\d{1,6})/(\d{0,6}(?:\.\d{1,3})?)([smh])", text.replace(" ", ""))
    jobs, seconds = 0, 0.0
    if match is not None:
        jobs, seconds = int(match[1]), float(match[2] or 1) * _PERIODS[match[3]]
    if jobs < 1 or seconds <= 0:
        raise ValueError("must be a number of jobs and a time, such as 10/1m, 1/30s or 500/1h")
    return jobs, seconds


class BackendConfig(BaseModel):
    """Base class of the configuration block of a backend; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(exclude=True, description="The configured name; imagen fills it in.")
    title: str = Field("", description="A line about this backend, for listings.")
    hint: str = Field("", description="Your own advice, shown when it cannot be reached.")
    resource: str = Field(
        "",
        description="What its jobs take turns on, such as a GPU that several backends share; by "
        "default its engine.",
    )
    at_once: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="How many of its jobs workers run at once; by default 1, and 4 for an online "
        "service.",
    )
    rate: str = Field("", description="How many jobs it may start in a time, such as 10/1m.")

    @field_validator("rate")
    @classmethod
    def _check_rate(cls, rate: str) -> str:
        if rate:
            parse_rate(rate)
        return rate


Config = TypeVar("Config", bound=BackendConfig)


@dataclass(frozen=True)
class Adapter(Generic[Config]):
    """How to open one kind of backend from its configuration block."""

    config: type[Config]
    open: Callable[[Config], Backend]
    summary: str = ""
    """The kind of engine, in one line."""
    label: str = ""
    """The kind of engine as people write it: `ComfyUI`."""
    is_service: bool = False
    """Whether it is an online service: its credential must be set, and the parameters of a model
    may have to be requested once."""
    is_synchronous: bool = False
    """Whether a job ends with the connection that submitted it: no other process can collect it."""
    detect: Callable[[str], Detection] | None = None
    """Looks for the engine at a URL or path; for "" at its usual place."""

    def connect(self, block: Mapping[str, Any]) -> Backend:
        """The backend of a block; raises pydantic's ValidationError for an invalid one."""
        return self.open_redacted(self.config.model_validate(block))

    def open_redacted(self, config: Config) -> Backend:
        """The backend of a configuration; its messages never contain its credentials."""
        from imagen.backends.redact import redact_backend  # here: it needs the types above

        return redact_backend(self.open(config), config)
