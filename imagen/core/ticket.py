"""Ticket: everything needed to submit a job, and to find it again after a crash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from imagen.core.capabilities import ParameterOutcome
from imagen.core.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence


def new_id() -> str:
    """A random UUID in its canonical form."""
    return str(uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class InputImage:
    """An image that the user gave, without the folder it is in."""

    parameter: str
    """`image`, `mask`, `controls.0`, `references.1`, or a parameter of the backend's own."""
    name: str
    """The name of the user's file."""
    sha256: str
    """The hash of the user's file."""
    width: int
    """Pixels, the right way up."""
    height: int


class Estimate(BaseModel):
    """What one job will cost, as far as that can be known beforehand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd: float | None = Field(None, ge=0, description="None is unknown, never zero.")
    basis: str = Field(description="How it is calculated, in a sentence: the rate, its date.")


class Ticket(BaseModel):
    """A job that is prepared for one backend. JSON in and out; holds no secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(description="imagen's own id: a canonical lower-case UUID.")
    backend: str = Field(description="The configured name of the backend.")
    workflow: str = Field("", description="The name of the ComfyUI workflow.")
    request: Request = Field(description="Complete: every value that will be used.")
    receipt: dict[str, ParameterOutcome] = Field(description="What became of each parameter.")
    payload: dict[str, Any] = Field(
        default_factory=dict, description="What the engine gets: for ComfyUI the bound graph."
    )
    inputs: tuple[InputImage, ...] = Field((), description="The images that the user gave.")
    warnings: tuple[str, ...] = Field((), description="What the user should know beforehand.")
    estimate: Estimate | None = Field(None, description="The cost, if the engine charges for jobs.")
    submitted: bool = Field(False, description="Whether the engine may have the job.")
    engine: dict[str, Any] = Field(default_factory=dict, description="The engine's own ids.")

    @property
    def images(self) -> int:
        """How many images it requests."""
        return self.request.count or 1

    def sent(self, **engine: Any) -> Ticket:
        """The ticket once the engine has the job, or may have it."""
        return self.model_copy(update={"submitted": True, "engine": self.engine | engine})


def total_compute(tickets: Sequence[Ticket]) -> float | None:
    """Megapixels × steps of all images; None if an engine decides them itself."""
    each = [(ticket.request.compute, ticket.images) for ticket in tickets]
    known = [compute * images for compute, images in each if compute is not None]
    return sum(known) if len(known) == len(each) else None
