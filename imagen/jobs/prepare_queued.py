"""Make a job of a row of the queue: with the settings and the engine of the worker that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.config import OutputSettings
from imagen.config.settings import Style
from imagen.core.capabilities import ParameterOutcome
from imagen.errors import RequestError
from imagen.jobs.image_files import find_image_file
from imagen.library import images_of
from imagen.outputs import strip_folders
from imagen.pipeline.generate import create_jobs
from imagen.pipeline.prepare import Preparation, with_local_images

if TYPE_CHECKING:
    from imagen.backends import Backend
    from imagen.config import Settings
    from imagen.jobs.blobs import BlobStore
    from imagen.jobs.model import Job, JobSpec, QueuedJob
    from imagen.jobs.sql_store import SqlJobStore


def settings_of(spec: JobSpec, backend: str, settings: Settings) -> Settings:
    """The worker's settings with what the job brings: its output, style, workflow and owner.

    A relative output folder is below the worker's own.
    """
    own = settings.output
    given = {name: value for name, value in spec.output.items() if name in type(own).model_fields}
    if spec.output.get("cloud_sync") != "off":
        given.pop("cloud_sync", None)  # whether it can upload, the worker knows
    given["directory"] = str(own.directory / str(given.get("directory", "")))
    output = OutputSettings.model_validate(own.model_dump(mode="json") | given)
    styles = {name: Style.model_validate(style) for name, style in spec.styles.items()}
    changes: dict[str, object] = {"output": output, "styles": settings.styles | styles}
    if spec.is_over_budget:
        changes["budgets"] = ()
    if spec.owner:
        changes["owner_user_id"] = spec.owner
    settings = settings.model_copy(update=changes)
    return settings.with_workflow(backend, spec.workflow) if spec.workflow else settings


def prepare_job(
    row: QueuedJob, engine: Backend, settings: Settings, store: SqlJobStore, blobs: BlobStore
) -> Job:
    """The job of a row that no engine has, with a new ticket for this engine.

    Raises RequestError if the engine cannot honour the request.
    """
    spec = row.spec
    assert spec is not None
    request = with_local_images(spec.request, settings, blobs=blobs)
    # What was submitted to another machine names no file of this one.
    plan = Preparation(engine, request, settings.for_clients(), strict=spec.strict)
    tickets = plan.tickets
    if plan.controls_to_make:
        made = {
            number: _control_image(spec.control_jobs, number, settings, store)
            for number in plan.controls_to_make
        }
        tickets = plan.with_control_images(made)
    if len(tickets) > 1:
        raise RequestError(
            f"{row.backend} needs {len(tickets)} jobs for this request, which is one job.",
            remedy="Submit it again: the backends of its pool have changed since.",
        )
    # The request of the job names stored images; the receipt, the worker's own copies of them.
    receipt = {
        name: ParameterOutcome.model_validate(
            strip_folders(outcome.model_dump(mode="json"), request)
        )
        for name, outcome in tickets[0].receipt.items()
    }
    ticket = tickets[0].model_copy(update={"id": row.ticket_id, "receipt": receipt})
    if row.backend not in settings.members(spec.backend):
        moved = ParameterOutcome(
            outcome="mapped",
            asked=spec.backend,
            used=row.backend,
            why="failover: the backend that was named did not run it",
        )
        ticket = ticket.model_copy(update={"receipt": {**ticket.receipt, "backend": moved}})
    (job,) = create_jobs([ticket], spec.request, settings)
    return job.model_copy(update={"first": spec.first, "caller": row.caller})


def _control_image(
    jobs: dict[int, str], number: int, settings: Settings, store: SqlJobStore
) -> str:
    """The file of a control image that another job made, perhaps on another machine."""
    if number not in jobs:
        raise RequestError(
            f"No job makes the image of control {number}.",
            remedy="Submit it again: the backends of its pool have changed since.",
        )
    image = images_of(store.library, store.read(jobs[number]).ticket_id)[0]
    return str(find_image_file(image, store.library, settings))
