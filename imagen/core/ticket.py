"""Ticket: all that is needed to submit a job, and to find it again after a crash."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from imagen.core.capabilities import ParameterOutcome
from imagen.core.request import Request


def new_id() -> str:
    """A random UUID (version 4) in its canonical form; the uuid module takes 6 ms to import."""
    return id_from(os.urandom(16).hex())


def id_from(digits: str) -> str:
    """The same out of 32 hexadecimal digits, or more."""
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputImage:
    """One picture that the user gave, by its name alone: where it lies is nobody's business."""

    parameter: str
    """`image`, `mask`, `controls.0`, `references.1`, or a name of the backend's own."""
    name: str
    """The file's, as the user calls it."""
    sha256: str
    """Of the user's file."""
    width: int
    """Pixels, the right way up."""
    height: int


class Estimate(BaseModel):
    """What one job will cost, as far as anyone can tell beforehand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd: float | None = Field(None, ge=0, description="None is unknown, never zero.")
    basis: str = Field(description="How that comes about, in a sentence: the rate, its date.")


class Ticket(BaseModel):
    """One job for one backend. JSON in and out; holds no secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(description="Ours: a canonical lower-case UUID.")
    backend: str = Field(description="The configured name of the backend.")
    workflow: str = Field("", description="The name of the ComfyUI workflow.")
    request: Request = Field(description="Complete: every value that will be used.")
    receipt: dict[str, ParameterOutcome] = Field(description="What became of each parameter.")
    payload: dict[str, Any] = Field(
        default_factory=dict, description="What the engine is sent: for ComfyUI the bound graph."
    )
    inputs: tuple[InputImage, ...] = Field((), description="The pictures that the user gave.")
    warnings: tuple[str, ...] = Field((), description="What the user should know beforehand.")
    estimate: Estimate | None = Field(
        None, description="Where the engine's owner is paid for each job."
    )
    submitted: bool = Field(False, description="Whether the engine may have it.")
    engine: dict[str, Any] = Field(default_factory=dict, description="The engine's own ids.")

    @property
    def images(self) -> int:
        """How many images it asks for."""
        return self.request.count or 1

    def sent(self, **engine: Any) -> Ticket:
        """The ticket once the engine has, or may have, the job."""
        return self.model_copy(update={"submitted": True, "engine": self.engine | engine})
