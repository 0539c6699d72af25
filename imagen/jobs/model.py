"""Job, the durable record of one ticket; and the rows of the queue, which become jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from imagen.core.request import Request
from imagen.core.ticket import Ticket, new_id
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


QueueState = Literal[
    "held", "queued", "running", "cancelling", "done", "failed", "cancelled", "lost"
]
"""Where a job of the queue is. `held` waits for another job; `cancelling` could not be confirmed
to be cancelled yet; `lost` may have run and cost money, so that a person decides about it."""
ENDED: tuple[QueueState, ...] = ("done", "failed", "cancelled", "lost")
"""States in which nothing happens to a job by itself."""
JobKind = Literal["image", "sheet", "request", "batch", "grid"]
"""`image` runs on an engine; `sheet` draws the sheet of a comparison, without an engine. The others
are parents: a request that needs several jobs, a batch of requests, the cells of a comparison."""
INTERPOLATION = "interpolation"
"""The backend of images that are upscaled without an engine."""
HIGHEST_PRIORITY = 1000
PARENTS: tuple[JobKind, ...] = ("request", "batch", "grid")


class JobSpec(BaseModel):
    """What a job of the queue is to do. JSON in and out; means the same on every machine."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    request: Request = Field(description="As the user gave it; its images are named by blobs.")
    backend: str = Field(description="The name of a backend or a pool.")
    strict: bool = Field(False, description="Whether a parameter that is not honoured is an error.")
    workflow: str = Field("", description="The ComfyUI workflow, if it is not the backend's own.")
    output: dict[str, JsonValue] = Field(
        default_factory=dict, description="The output settings, as in `Job.output`."
    )
    first: int = Field(0, description="The number of its first image in the request, from 0.")
    styles: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict,
        description="The style that the request names, as the submitter's configuration has it.",
    )
    control_jobs: dict[int, str] = Field(
        default_factory=dict,
        description="The jobs that make its control images, by the number of the control.",
    )
    owner: str = Field(
        "", description="The Supabase user who gets its images; by default `owner_user_id`."
    )
    is_over_budget: bool = Field(False, description="Whether budgets do not apply to it.")
    comparison: dict[str, JsonValue] = Field(
        default_factory=dict, description="Of a cell or a sheet: its comparison, model and values."
    )


class NewJob(BaseModel):
    """A job to submit to the queue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(default_factory=new_id, description="Also the id of its ticket.")
    kind: JobKind = "image"
    name: str = Field("", description="A label for listings: the prompt, or the name of a batch.")
    spec: JobSpec | None = Field(None, description="None for a parent.")
    affinity: str = Field("", description="The model that it needs, whatever the backend.")
    priority: int = Field(0, ge=-1000, le=1000, description="The highest goes first.")
    due: datetime | None = Field(None, description="Not before this moment.")
    parent: str | None = None
    number: int = Field(0, description="Its place within its parent, from 0.")
    after: str | None = Field(None, description="The job that must be done before it.")
    key: str | None = Field(None, description="Submitted twice with one key, it is one job.")
    blobs: tuple[str, ...] = Field((), description="The hashes of its input files.")
    caller: str = ""


class Fence(NamedTuple):
    """What entitles a worker to write about a job: it is still the owner of this attempt."""

    job: str
    attempt: int


class QueuedJob(BaseModel):
    """A row of the queue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    parent: str | None
    number: int
    kind: JobKind
    name: str
    state: QueueState
    pool: str
    affinity: str
    priority: int
    due: datetime
    created: datetime
    started: datetime | None
    ended: datetime | None
    after: str | None
    ticket_id: str = Field(description="The id that its ticket has or gets: its generation's.")
    spec: JobSpec | None
    job: Job | None = Field(description="From when a worker has prepared it until it is done.")
    backend: str = Field(description="The backend that runs it or ran it last; empty before.")
    resource: str
    is_at_engine: bool = Field(description="Whether it takes one of the places of its resource.")
    attempt: int
    failures: int
    deaths: int
    owner: str = Field(description="The id of the worker that has it; empty if none has.")
    token: str | None
    cancel: bool
    reserved_usd: float | None
    progress: dict[str, JsonValue] | None
    error: dict[str, JsonValue] | None = Field(description="`code`, `message` and `remedy`.")
    caller: str

    @property
    def fence(self) -> Fence:
        return Fence(self.id, self.attempt)


class WaitingQueue(NamedTuple):
    """The due jobs of one pool that need one model and have one priority."""

    pool: str
    affinity: str
    priority: int
    jobs: int
    oldest: datetime
    """When the first of them became due."""


class Speed(NamedTuple):
    """How long the jobs of a model took on a backend."""

    seconds: float
    """A moving average."""
    last_seconds: float
    runs: int


class ServedResource(NamedTuple):
    """What the jobs of some backends take turns on, as a worker serves it."""

    name: str
    at_once: int
    backends: tuple[str, ...]


class WorkerInfo(BaseModel):
    """A worker, as it describes itself with each of its beats."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    host: str
    pid: int
    started: datetime
    seen: datetime
    resources: tuple[ServedResource, ...]
    facts: dict[str, JsonValue] = Field(default_factory=dict, description="What it does now.")

    @property
    def backends(self) -> tuple[str, ...]:
        return tuple(name for resource in self.resources for name in resource.backends)
