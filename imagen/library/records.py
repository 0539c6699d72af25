"""What is handed to the library: one generation that ended, its pictures, and who is to be told."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from imagen.core.request import Request
from imagen.core.ticket import Ticket
from imagen.library.stored import as_json

State = Literal["done", "failed"]
DeliveryKind = Literal["cloud", "mirror", "webhook"]
_Told = BeforeValidator(as_json)
"""What an engine said, which may be anything."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StoredImage(_Frozen):
    """One picture of a generation, where it lies."""

    path: Path = Field(description="Absolute.")
    sidecar: Path | None = None
    index: int = Field(0, description="Which of the batch, from 0.")
    media_type: str = ""
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    sha256: str
    size_bytes: int


class Delivery(_Frozen):
    """One thing that somebody elsewhere is to be told of a generation."""

    kind: DeliveryKind
    destination: str = Field("", description="The address of a webhook; empty for the others.")
    generation: str = Field(description="The generation's id.")
    part: int = Field(0, description="Which of its pictures, where each is told of by itself.")
    payload: Annotated[dict[str, Any], _Told] = Field(
        description="JSON: all that is needed but the bytes of files."
    )


class GenerationRecord(_Frozen):
    """One generation that came to its end. JSON in and out; holds no secret."""

    id: str = Field(description="The ticket's: a canonical lower-case UUID.")
    backend: str = Field(description="The configured name.")
    kind: str = Field("", description="The kind of its adapter: comfyui, replicate, …")
    state: State = "done"
    ticket: Ticket
    asked: Request = Field(description="As it was asked; the ticket has it complete.")
    facts: Annotated[dict[str, Any], _Told] = Field(
        default_factory=dict, description="As Result.facts has them; what is not finite is null."
    )
    warnings: Annotated[tuple[str, ...], _Told] = ()
    error: Annotated[dict[str, str] | None, _Told] = Field(
        None, description="`code` and `message`, where it failed."
    )
    created_at: AwareDatetime = Field(description="When the work began.")
    ended_at: AwareDatetime
    caller: Annotated[str, _Told] = Field("", description="Who asked for it, in the ledger.")
    pictures: tuple[StoredImage, ...] = ()
    source: Literal["imagen", "import"] = Field(
        "imagen", description="Whether it was made here, or taken in from elsewhere."
    )

    @property
    def model(self) -> str:
        """The model's name, as the engine told it; empty where it did not."""
        models = self.facts.get("models")
        first = models[0] if isinstance(models, list | tuple) and models else ""
        return str(self.facts.get("model") or first)

    @property
    def prompt_sha256(self) -> str:
        """Of the prompt as it was typed, so that a style's texts do not change it."""
        typed = self.asked.prompt or ""
        return sha256(typed.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def cost_usd(self) -> float | None:
        """What it did cost, as far as the engine's owner or its price list says."""
        cost = self.facts.get("cost_usd")
        return cost if isinstance(cost, int | float) else None
