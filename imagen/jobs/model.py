"""Job: the durable record of one ticket, from planned to done."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from imagen.core.request import Request
from imagen.core.ticket import Ticket
from imagen.library.records import GenerationRecord


class Job(BaseModel):
    """One ticket and its progress. JSON in and out; holds no secret."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ticket: Ticket
    request: Request = Field(description="As the user gave it; the ticket has it complete.")
    first: int = Field(0, description="The number of its first image in the request, from 0.")
    output: dict[str, JsonValue] = Field(
        default_factory=dict, description="The output settings: where its images are saved."
    )
    kind: str = Field("", description="The kind of the backend's adapter.")
    caller: str = Field("", description="Who asked for it, in the ledger.")
    began: datetime = Field(
        default_factory=lambda: datetime.now().astimezone(),
        description="When work on it began; also used in the names of its files.",
    )
    record: GenerationRecord | None = Field(
        None, description="What the library records of it, once it is finished."
    )
    deferred_to: str = Field(
        "", description="The library in which another command records it, if its own did not."
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, data: object) -> object:
        """Job files written before these fields were renamed."""
        if not isinstance(data, dict):
            return data
        old = {"asked": "request", "entry": "record"}
        return {old.get(name, name): value for name, value in data.items()}

    @property
    def state(self) -> Literal["planned", "submitted", "saved", "failed"]:
        """How far it is: not submitted, perhaps at its engine, its images on disk, or failed."""
        if self.record is not None:
            return "saved" if self.record.state == "done" else "failed"
        return "submitted" if self.ticket.submitted else "planned"

    @property
    def id(self) -> str:
        return self.ticket.id

    def with_ticket(self, ticket: Ticket) -> Job:
        return self.model_copy(update={"ticket": ticket})

    def with_id(self, id: str) -> Job:
        """The job under a new id, which no engine knows."""
        return self.with_ticket(self.ticket.model_copy(update={"id": id}))

    def with_record(self, record: GenerationRecord) -> Job:
        return self.model_copy(update={"record": record})

    def start(self) -> Job:
        """The job, beginning now."""
        return self.model_copy(update={"began": datetime.now().astimezone()})

    def as_unsubmitted(self) -> Job:
        """The job, once it is certain that its engine never received it."""
        return self.with_ticket(self.ticket.model_copy(update={"submitted": False}))
