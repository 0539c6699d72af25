"""What is recorded in the library: a generation, its images, and the deliveries it needs."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from imagen.core.json_values import json_safe
from imagen.core.request import Request
from imagen.core.ticket import Ticket

GenerationState = Literal["done", "failed"]
DeliveryKind = Literal["cloud", "mirror", "webhook"]
_JsonSafe = BeforeValidator(json_safe)
"""For what an engine reported, which may be anything."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StoredImage(_Record):
    """One saved image of a generation."""

    path: Path = Field(description="Absolute.")
    sidecar: Path | None = None
    index: int = Field(0, description="Which of the batch, from 0.")
    media_type: str = ""
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    sha256: str
    size_bytes: int


class Delivery(_Record):
    """One message about a generation, for one delivery target."""

    kind: DeliveryKind
    destination: str = Field("", description="The URL of a webhook, hashed; else empty.")
    generation: str = Field(description="The generation's id.")
    part: int = Field(0, description="Which of its images, if each is delivered by itself.")
    payload: Annotated[dict[str, Any], _JsonSafe] = Field(
        description="JSON with all that is needed except the bytes of files."
    )


class GenerationRecord(_Record):
    """One finished or failed generation. JSON in and out; holds no secret."""

    id: str = Field(description="The ticket's: a canonical lower-case UUID.")
    backend: str = Field(description="The configured name.")
    kind: str = Field("", description="The kind of its adapter: comfyui, replicate, …")
    state: GenerationState = "done"
    ticket: Ticket
    request: Request = Field(description="As the user gave it; the ticket has it complete.")
    facts: Annotated[dict[str, Any], _JsonSafe] = Field(
        default_factory=dict, description="As in Result.facts; NaN and infinities are null."
    )
    warnings: Annotated[tuple[str, ...], _JsonSafe] = ()
    error: Annotated[dict[str, str] | None, _JsonSafe] = Field(
        None, description="`code` and `message`, if it failed."
    )
    created_at: AwareDatetime = Field(description="When the work began.")
    ended_at: AwareDatetime
    caller: Annotated[str, _JsonSafe] = Field("", description="Who is named in the ledger.")
    owner: str = Field(
        "", description="The Supabase user who gets its images; by default `owner_user_id`."
    )
    images: tuple[StoredImage, ...] = ()
    source: Literal["imagen", "import"] = Field(
        "imagen", description="`import` if it was added from files."
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, data: object) -> object:
        """Job files written before these fields were renamed."""
        if not isinstance(data, dict):
            return data
        old = {"pictures": "images", "asked": "request"}  # in job files of earlier versions
        return {old.get(name, name): value for name, value in data.items()}

    @property
    def model(self) -> str:
        """The model's name as the engine reported it; empty if it did not."""
        models = self.facts.get("models")
        first = models[0] if isinstance(models, list | tuple) and models else ""
        return str(self.facts.get("model") or first)

    @property
    def prompt_sha256(self) -> str:
        """Of the prompt as typed, so that the text of a style does not change it."""
        typed = self.request.prompt or ""
        return sha256(typed.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def cost_usd(self) -> float | None:
        """The actual cost as the engine or its price list gives it."""
        cost = self.facts.get("cost_usd")
        return cost if isinstance(cost, int | float) else None
