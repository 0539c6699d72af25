"""Submit requests to the queue: check them against their backends, and write them as jobs."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imagen.config import load_settings
from imagen.core.capabilities import not_honoured
from imagen.core.image_file import blob_name, parse_blob_name, read_image_file
from imagen.core.prompt_syntax import lora_tags
from imagen.core.request import Request
from imagen.core.text import one_line
from imagen.core.ticket import new_id
from imagen.errors import BackendError, ImagenError, RequestError
from imagen.inputs import check_request, image_parameters
from imagen.jobs.blobs import open_blobs
from imagen.jobs.model import INTERPOLATION, JobSpec, NewJob
from imagen.jobs.sql_store import open_job_store
from imagen.library.tokens import find_token
from imagen.pipeline.budgets import refuse_over_budget
from imagen.pipeline.generate import open_named, with_local_images
from imagen.pipeline.pools import members_of
from imagen.pipeline.prepare import Preparation
from imagen.pipeline.record import find_caller
from imagen.pipeline.resolve import apply_style, count_seeds, draw_seed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from pydantic import JsonValue

    from imagen.backends import Backend
    from imagen.config import Settings
    from imagen.config.settings import ImageFormat
    from imagen.core.request import Control
    from imagen.core.ticket import Ticket
    from imagen.jobs.blobs import BlobStore
    from imagen.jobs.model import JobKind
    from imagen.jobs.sql_store import SqlJobStore

_NAME_LENGTH = 200
_SYNTAX = frozenset("()[]{}<>|")
"""Characters of which some engines read some, so that a strict check may differ by prompt."""


@dataclass(frozen=True, kw_only=True)
class SubmitOptions:
    """How requests are submitted."""

    backend: str
    """The name of a backend or a pool."""
    priority: int = 0
    """Jobs with a higher priority go first."""
    at: datetime | None = None
    """Not before this moment."""
    after: str | None = None
    """The job that must be done before: its id, or the beginning of it."""
    strict: bool = False
    over_budget: bool = False
    """Whether budgets do not apply."""
    workflow: str = ""
    """The ComfyUI workflow, if it is not the backend's own."""
    key: str | None = None
    """Submitted twice with one key, it is submitted once."""
    caller: str = ""
    """Who asks for it, in the ledger; by default as the configuration says."""
    is_served: bool = False
    """Whether a worker is certain to run it: no warning that there is none."""
    owner: str = ""
    """The Supabase user who gets the images; by default `owner_user_id`."""


class JobRequest(NamedTuple):
    """One of several requests that are submitted together."""

    request: Request
    backend: str
    output_name: str = ""
    """The template of its file names, if it has its own."""
    label: str = ""
    """How listings name it, if not by its prompt."""
    key: str | None = None
    comparison: Mapping[str, JsonValue] | None = None
    id: str = ""
    """The id of its job, if it is to be one job with a fixed id."""
    output_format: ImageFormat | None = None
    """The format of its files, if it has its own."""


@dataclass
class Submission:
    """What was submitted."""

    id: str
    """The parent of all jobs, or the only job."""
    ids: list[str]
    """The jobs, without their parent."""
    jobs: int
    warnings: list[str] = field(default_factory=list)


class RowError(NamedTuple):
    """What is wrong with one of several requests."""

    row: int
    """Its place in the list, from 0."""
    error: ImagenError


class RefusedRows(RequestError):
    """Some of several requests cannot be submitted; none was."""

    def __init__(self, rows: Sequence[RowError]) -> None:
        lines = [f"request {row + 1}: {error.message}" for row, error in rows]
        remedies = dict.fromkeys(one.error.remedy for one in rows if one.error.remedy)
        super().__init__("\n".join(lines), remedy="\n".join(remedies))
        self.rows = tuple(rows)


def submit_request(
    request: Request | Sequence[Request],
    settings: Settings,
    options: SubmitOptions,
    *,
    store: SqlJobStore | None = None,
) -> Submission:
    """Submit one request, or several that a person sees as one; see `submit_requests`.

    It is one job, or a parent and several if it needs more: one for each image, unless its backend
    makes batches, and one for each control image that must be made first.
    """
    requests = [request] if isinstance(request, Request) else request
    try:
        return submit_requests(
            [JobRequest(one, options.backend) for one in requests],
            settings,
            options,
            kind="request",
            name=name_of(requests[0]),
            store=store,
        )
    except RefusedRows as refused:
        raise refused.rows[0].error from None


def submit_requests(
    rows: Sequence[JobRequest],
    settings: Settings,
    options: SubmitOptions,
    *,
    kind: JobKind,
    name: str,
    id: str = "",
    sheet: Mapping[str, JsonValue] | None = None,
    is_extended: bool = False,
    store: SqlJobStore | None = None,
) -> Submission:
    """Check requests against their backends, and submit the jobs that they need in one transaction.

    No engine is contacted. A request to a pool is checked against each of its backends that this
    configuration has. Random seeds are drawn, and input images are copied to where workers find
    them. The jobs have a parent of this kind, name and id; a `request` that needs one job has none.
    With a `sheet`, the last job draws the sheet of this comparison once the others have ended. One
    that `is_extended` has these jobs already, and gets more.

    Raises RefusedRows if requests are wrong or cannot be honoured, OverBudget if together they
    exceed a budget for one run, RequestError if the job to wait for is unknown or failed.
    """
    with _RequestChecks(settings, options) as checks, ExitStack() as opened:
        # First without the library, which a request that is refused does not need.
        blobs = None if store is None else open_blobs(settings, store.library)
        checked = _check_all(rows, checks, blobs)
        warnings = _check_budgets(checked, settings, options)
        if store is None:
            store = opened.enter_context(open_job_store(settings))
        after = None if options.after is None else store.resolve_id(options.after)
        plan = _JobPlan(settings, options, store, after=after, id=id)
        for row, request, check in checked:
            plan.add_request(row, request, check)
        if sheet is not None and not is_extended:
            plan.add_sheet(name, rows, sheet)
        warnings += _check_token(checked, settings, plan.caller, store)
        has_parent = kind != "request" or len(plan.jobs) > 1
        if is_extended and sheet is not None:
            ids = [id, *store.extend(id, plan.jobs, sheet)]
        else:
            ids = store.submit(plan.with_parent(kind, name) if has_parent else [plan.only_job()])
        if not options.is_served:
            warnings += _warn_unserved({row.backend for row in rows}, settings, store)
    children = ids[1:] if has_parent else ids
    return Submission(id=ids[0], ids=children, jobs=len(children), warnings=warnings)


def plan_requests(
    rows: Sequence[JobRequest],
    settings: Settings,
    options: SubmitOptions,
    *,
    blobs: BlobStore | None = None,
) -> tuple[list[Sequence[Ticket]], list[str]]:
    """The tickets that each request needs, and warnings; nothing is submitted.

    Requests that differ only in texts and seeds share tickets. `blobs` has the images of requests
    that name stored files. Raises what `submit_requests` raises
    for a wrong request or a budget.
    """
    with _RequestChecks(settings, options) as checks:
        checked = _check_all(rows, checks, blobs)
    return [one.check.tickets for one in checked], _check_budgets(checked, settings, options)


def check_specs(
    rows: Sequence[JobRequest], settings: Settings, options: SubmitOptions, store: SqlJobStore
) -> list[JobSpec]:
    """What to submit later for each request, which is checked now: with its images, no seed drawn.

    Raises what `submit_requests` raises.
    """
    with _RequestChecks(settings, options) as checks:
        checked = _check_all(rows, checks, None)
    _check_budgets(checked, settings, options)
    plan = _JobPlan(settings, options, store, after=None, id="")
    return [plan.spec_of(*one) for one in checked]


def affinity_of(request: Request, backend: str, settings: Settings, workflow: str = "") -> str:
    """The model that a request loads, whatever the backend: of its own, or of the backend's block.

    A pool has that of its first backend that this configuration has.
    """
    named = apply_style(request, settings).model or workflow
    for member in () if named else settings.members(backend):
        block = settings.backends.get(member, {})
        tasks = block.get("tasks")
        of_task = tasks.get(request.task) if isinstance(tasks, dict) else None
        values = (of_task, *map(block.get, ("model", "diffusion_model", "workflow")))
        named = next((str(value) for value in values if value), "")
        if named:
            break
    return one_line(named or backend, limit=_NAME_LENGTH)


def name_of(request: Request) -> str:
    """How listings name a request: by its prompt, else its task and its image."""
    image = Path(request.image).name if request.image else ""
    return one_line(request.prompt or f"{request.task} {image}".strip(), limit=_NAME_LENGTH)


# --- checking ---


class _Check(NamedTuple):
    """What was found out about all requests that differ only in their texts and seeds."""

    tickets: Sequence[Ticket] = ()
    """Those of the backend that needs the most jobs; none where no backend was asked."""
    controls: Mapping[int, Control] = {}
    """The controls whose image must be made first, by their number."""
    images: tuple[str, ...] = ()
    """The backend's own parameters that name an image."""
    seeds: int = 0
    """How many seeds all of the backends take; 0 if one takes none."""
    drawn: tuple[str, ...] = ()
    """The seeds to draw."""
    warnings: tuple[str, ...] = ()


class _RequestChecks:
    """Checks requests against their backends, which it keeps open; once for each shape."""

    def __init__(self, settings: Settings, options: SubmitOptions) -> None:
        self.settings = settings
        self._options = options
        self._open = ExitStack()
        self._engines: dict[str, Backend] = {}
        self._checks: dict[str, _Check | ImagenError] = {}

    def __enter__(self) -> _RequestChecks:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def check(self, request: Request, backend: str) -> _Check:
        """What a request needs; raises RequestError if its backend cannot honour it."""
        # Requests that differ only in this are honoured alike, so that one check will do.
        same: dict[str, object] = {"template": None}
        same["seed"] = request.seed and (0 if request.seed > 0 else -1)
        for name in ("prompt", "negative"):
            text = getattr(request, name)
            if text and not lora_tags(text) and not (self._options.strict and _SYNTAX & {*text}):
                same[name] = "x"
        alike = request.model_copy(update=same).model_dump_json(exclude_defaults=True)
        shape = f"{backend}\n{alike}"
        found = self._checks.get(shape)
        if found is None:
            try:
                found = self._check(request, backend)
            except ImagenError as error:
                found = error
            self._checks[shape] = found
        if isinstance(found, ImagenError):
            raise found
        return found

    def _check(self, request: Request, backend: str) -> _Check:
        is_configured = INTERPOLATION in self.settings.backends
        if backend == INTERPOLATION and not is_configured and request.task == "upscale":
            check_request(apply_style(request, self.settings))
            read_image_file(str(request.image))
            return _Check()
        members = members_of(backend, self.settings)
        if not members:
            what = f"None of the backends of {backend} is configured here, so the request was"
            return _Check(warnings=(f"{what} not checked against them.",))
        plans = [self._prepare(request, member, backend) for member in members]
        styled, _ = check_request(apply_style(request, self.settings))
        parameters = [plan.capabilities.parameters for plan in plans]
        drawn = [
            name
            for name in ("seed", "variation_seed")
            if getattr(styled, name) is None
            and (name == "seed" or styled.variation_strength is not None)
            and all(name in each for each in parameters)
            and (
                (name == "seed" and request.seed == -1)
                or any(each[name].default is None for each in parameters)
            )
        ]
        # Those of the backend with the most jobs, and then the highest cost, stand for all.
        tickets = max(
            (plan.tickets for plan in plans),
            key=lambda each: (
                len(each),
                sum(one.estimate.usd or 0 for one in each if one.estimate),
            ),
        )
        return _Check(
            tickets=tickets,
            controls={n: one for plan in plans for n, one in plan.controls_to_make.items()},
            images=tuple({n for p in plans for n in image_parameters(request, p.capabilities)}),
            seeds=min(count_seeds(each["seed"]) if "seed" in each else 0 for each in parameters),
            drawn=tuple(drawn),
            warnings=(*not_honoured(tickets[0].receipt), *tickets[0].warnings),
        )

    def _prepare(self, request: Request, member: str, backend: str) -> Preparation:
        settings = self.settings
        if self._options.workflow:
            settings = settings.with_workflow(member, self._options.workflow)
        if member not in self._engines:
            opened = closing(open_named(member, settings))
            self._engines[member] = self._open.enter_context(opened)
        try:
            return Preparation(
                self._engines[member], request, settings, strict=self._options.strict
            )
        except (RequestError, BackendError) as error:
            if member == backend:
                raise
            message = f"{member}, which is in the pool {backend}, cannot do it: {error.message}"
            raise error.replace(message=message) from error


class _CheckedRow(NamedTuple):
    row: JobRequest
    request: Request
    """Its images are files of this machine."""
    check: _Check


def _check_all(
    rows: Sequence[JobRequest], checks: _RequestChecks, blobs: BlobStore | None
) -> list[_CheckedRow]:
    """Each row with what it needs; raises RefusedRows with everything that is wrong."""
    checked: list[_CheckedRow] = []
    wrong: list[RowError] = []
    for number, row in enumerate(rows):
        try:
            request = with_local_images(row.request, checks.settings, blobs=blobs)
            check = checks.check(request, row.backend)
            for control in check.controls.values():
                checks.check(_control_request(control), row.backend)
        except ImagenError as error:
            wrong.append(RowError(number, error))
        else:
            checked.append(_CheckedRow(row, request, check))
    if wrong:
        raise RefusedRows(wrong)
    return checked


def _control_request(control: Control) -> Request:
    """The request that makes the image of a control."""
    return Request(image=control.image, preprocess=control.kind)


def _check_budgets(
    checked: Sequence[_CheckedRow], settings: Settings, options: SubmitOptions
) -> list[str]:
    """Warnings about the requests, and about budgets for one run; raises OverBudget.

    Budgets for a day or a month count when a job is sent to its engine.
    """
    warnings = dict.fromkeys(text for one in checked for text in one.check.warnings)
    of_one_run = tuple(budget for budget in settings.budgets if budget.per == "run")
    if options.over_budget or not of_one_run:
        return [*warnings]
    tickets = [ticket for one in checked for ticket in one.check.tickets]
    limited = settings.model_copy(update={"budgets": of_one_run})
    return [*warnings, *refuse_over_budget(tickets, limited)]


def _check_token(
    checked: Sequence[_CheckedRow], settings: Settings, caller: str, store: SqlJobStore
) -> list[str]:
    """Warnings about the budget of the caller's token; raises OverBudget.

    It counts again when a job is sent to its engine, together with all others of the caller.
    """
    with store.library.reading() as connection:
        token = find_token(connection, caller)
        if token is None or token.budget is None:
            return []
        tickets = [ticket for one in checked for ticket in one.check.tickets]
        own = settings.model_copy(update={"budgets": (token.budget,)})
        return refuse_over_budget(tickets, own, connection=connection, caller=caller)


def _warn_unserved(names: Collection[str], settings: Settings, store: SqlJobStore) -> list[str]:
    """A sentence for each backend or pool that no worker serves now."""
    workers = store.workers()
    if not workers:
        return ["No worker is running. Start one with: imagen worker"]
    served = {backend for worker in workers for backend in worker.backends}
    return [
        f"No running worker serves {name}. Its jobs wait until one does."
        for name in sorted(names)
        if name != INTERPOLATION and not served & {name, *settings.members(name)}
    ]


# --- the jobs ---


class _JobPlan:
    """The jobs that requests need, in the order in which they are to run."""

    def __init__(
        self,
        settings: Settings,
        options: SubmitOptions,
        store: SqlJobStore,
        *,
        after: str | None,
        id: str,
    ) -> None:
        self.jobs: list[NewJob] = []
        self._settings = settings
        self._options = options
        self._store = store
        self._after = after
        self.caller = options.caller or find_caller(settings.usage)
        self._parent = id or new_id()
        self._output = _portable_output(settings)
        self._blobs: BlobStore | None = None
        self._names: dict[str, str] = {}
        """The names of input images in the blob store, by their paths."""
        self._controls: dict[tuple[str, ...], str] = {}
        """The jobs that make control images, by what they and those before them make."""

    def add_request(self, row: JobRequest, request: Request, check: _Check) -> None:
        """Add the jobs of one request: those for its control images, then those for its images."""
        template = row.output_name or str(self._output["name"])
        after, controls = self._after, dict[int, str]()
        path: tuple[str, ...] = (row.backend,)
        for number, control in sorted(check.controls.items()):
            path = (*path, control.kind, control.image)
            if path not in self._controls:
                spec = self._spec(
                    row, self._with_blobs(_control_request(control)), f"{template}-{control.kind}"
                )
                self._controls[path] = self.add(name_of(spec.request), spec, after=after)
            after = controls[number] = self._controls[path]
        whole = self.spec_of(row, request, check)
        first = 0
        for number, one in enumerate(_split(whole.request, check, is_whole=bool(row.id))):
            spec = whole.model_copy(
                update={
                    "request": one,
                    "first": first,
                    "control_jobs": controls,
                    "comparison": dict(row.comparison or {}),
                }
            )
            key = row.key and (f"{row.key}/{number}" if number else row.key)
            self.add(row.label or name_of(request), spec, after=after, key=key, id=row.id)
            first += one.count or 1

    def add_sheet(
        self, name: str, rows: Sequence[JobRequest], sheet: Mapping[str, JsonValue]
    ) -> None:
        """Add the job that draws the sheet of a comparison."""
        spec = self._spec(rows[-1], rows[-1].request, str(self._output["name"]))
        self.add(name, spec.model_copy(update={"comparison": dict(sheet)}), kind="sheet")

    def add(
        self,
        name: str,
        spec: JobSpec,
        *,
        kind: JobKind = "image",
        after: str | None = None,
        key: str | None = None,
        id: str = "",
    ) -> str:
        """Add one job; its id."""
        options = self._options
        number = len(self.jobs)
        if key is None and options.key is not None:
            key = f"{options.key}/{number}"
        job = NewJob(
            id=id or new_id(),
            kind=kind,
            name=one_line(name, limit=_NAME_LENGTH),
            spec=spec,
            affinity=affinity_of(spec.request, spec.backend, self._settings, spec.workflow),
            priority=options.priority,
            due=options.at,
            parent=self._parent,
            number=number,
            after=after,
            key=key,
            blobs=stored_images(spec.request),
            caller=self.caller,
        )
        self.jobs.append(job)
        return job.id

    def with_parent(self, kind: JobKind, name: str) -> list[NewJob]:
        """All jobs, after their parent."""
        parent = NewJob(
            id=self._parent,
            kind=kind,
            name=one_line(name, limit=_NAME_LENGTH),
            priority=self._options.priority,
            due=self._options.at,
            key=self._options.key,
            caller=self.caller,
        )
        return [parent, *self.jobs]

    def only_job(self) -> NewJob:
        """The job, if there is no other: it needs no parent."""
        (job,) = self.jobs
        return job.model_copy(update={"parent": None, "key": self._options.key})

    def spec_of(self, row: JobRequest, request: Request, check: _Check) -> JobSpec:
        """What a request is, on any machine; its seeds are not drawn."""
        template = row.output_name or str(self._output["name"])
        return self._spec(row, self._with_blobs(request, check.images), template)

    def _spec(self, row: JobRequest, request: Request, template: str) -> JobSpec:
        style = self._settings.styles.get(request.style or "")
        own = {} if style is None else {str(request.style): style.model_dump(mode="json")}
        return JobSpec(
            request=request,
            backend=row.backend,
            strict=self._options.strict,
            workflow=self._options.workflow,
            output=self._output
            | {"name": template}
            | ({"format": row.output_format} if row.output_format else {}),
            styles=own,
            is_over_budget=self._options.over_budget,
            owner=self._options.owner,
        )

    def _with_blobs(self, request: Request, own: Sequence[str] = ()) -> Request:
        """The request with its images, and the backend's `own` ones, in the blob store."""
        values: dict[str, object] = {
            name: self._store_image(path)
            for name in ("image", "mask")
            if (path := getattr(request, name))
        }
        if request.references:
            values["references"] = tuple(map(self._store_image, request.references))
        if request.controls:
            values["controls"] = tuple(
                control.model_copy(update={"image": self._store_image(control.image)})
                for control in request.controls
            )
        values |= {name: self._store_image(str(request.extra[name])) for name in own}
        return request.with_values(values) if values else request

    def _store_image(self, path: str) -> str:
        """The name under which workers find an image."""
        if path not in self._names:
            if self._blobs is None:
                self._blobs = open_blobs(self._settings, self._store.library)
            file = Path(path).expanduser()
            self._names[path] = blob_name(self._blobs.put(file), file.name)
        return self._names[path]


def _split(request: Request, check: _Check, *, is_whole: bool) -> Iterator[Request]:
    """The request of each job, with its seeds drawn; one that `is_whole` is one job."""
    drawn = {name: draw_seed() % check.seeds for name in check.drawn}
    if is_whole or len(check.tickets) < 2:
        yield request.with_values(drawn) if drawn else request
        return
    given = None if request.draws_seed else request.seed
    seed = drawn.get("seed", check.tickets[0].request.seed if given is None else given)
    first = 0
    for ticket in check.tickets:
        values = drawn | {"count": ticket.request.count}
        if seed is not None and check.seeds:
            values["seed"] = (seed + first) % check.seeds
        yield request.with_values(values)
        first += ticket.images


def stored_images(request: Request) -> tuple[str, ...]:
    """The hashes of the stored images that a request names."""
    images = [request.image, request.mask, *request.references, *request.extra.values()]
    images += [control.image for control in request.controls]
    stored = (parse_blob_name(image) for image in images if isinstance(image, str))
    return tuple(sorted({one[0] for one in stored if one is not None}))


def _portable_output(settings: Settings) -> dict[str, JsonValue]:
    """The output settings as any worker can follow them.

    The configured folder becomes each worker's own where workers may be on other machines, and a
    relative one is below it; a worker of this machine gets the absolute path.
    """
    output = settings.output.model_dump(mode="json")
    directory = settings.output.directory
    if not settings.is_library_shared:
        output["directory"] = str(directory.absolute())
    elif directory == load_settings(settings.source).output.directory:
        del output["directory"]
    return output
