"""Prepare a request for one backend: resolve it, prepare its images, and build its tickets."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imagen import inputs, outputs
from imagen.core.capabilities import (
    UNREAD,
    ParameterOutcome,
    Receipt,
    not_honoured,
    refuse_unable,
    translate_words,
    with_translated,
)
from imagen.core.image_file import is_url, parse_blob_name
from imagen.core.prompt_syntax import lora_tags
from imagen.core.request import Request
from imagen.core.text import did_you_mean, one_line
from imagen.errors import ImagenError, LibraryError, LibraryUnreachable, RequestError
from imagen.pipeline.pools import open_named
from imagen.pipeline.resolve import (
    apply_style,
    check_limits,
    draw_over_default,
    resolve_request,
    split_runs,
    style_default_prompt,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagen.backends import Backend
    from imagen.config import Settings
    from imagen.core.capabilities import Capabilities
    from imagen.core.prompt_syntax import LoraTag
    from imagen.core.request import Control
    from imagen.core.ticket import Ticket
    from imagen.inputs import PreparedInputs
    from imagen.jobs.blobs import BlobStore
    from imagen.net.public_images import FetchedImage


def prepare(
    engine: Backend, request: Request, settings: Settings, *, strict: bool = False
) -> list[Ticket]:
    """A ticket for each job that the request needs; nothing is submitted.

    If control images must be made first, the tickets are a plan: they show what will be sent.
    Raises RequestError, with `strict` also if a parameter cannot be honoured.
    """
    return Preparation(engine, request, settings, strict=strict).tickets


class Preparation:
    """A request that is resolved for one backend, with a ticket for each job."""

    controls_to_make: Mapping[int, Control]
    """Controls whose image must be made first, in a job of its own, by their number."""
    capabilities: Capabilities
    """What the backend takes for the task of the request."""
    tickets: list[Ticket]
    """A plan if there are `controls_to_make`: then `with_control_images` has the tickets to run."""

    def __init__(
        self, engine: Backend, request: Request, settings: Settings, *, strict: bool = False
    ) -> None:
        outputs.check_output_settings(settings.output)
        outputs.refuse_unwritable(settings.output.directory)
        self._engine = engine
        self._settings = settings
        self._largest = settings.limits.max_width, settings.limits.max_height
        request = request.model_copy(update={"template": None})  # the prompt is what counts
        styled, self._receipt = inputs.check_request(apply_style(request, settings))
        self.capabilities = capabilities = _find_capabilities(engine, styled)
        styled = draw_over_default(request, styled, capabilities)
        if styled.extra and settings.inputs.allow_urls:
            own = inputs.image_parameters(styled, capabilities).items()
            urls = {name: path for name, path in own if is_url(path)}
            styled = styled.with_values({n: _download(u, n, settings) for n, u in urls.items()})
        if styled.extra and settings.is_for_clients:
            _refuse_other_files(inputs.image_parameters(styled, capabilities), settings)
        if request.style is not None:
            style = settings.styles[request.style]
            styled, unused = style_default_prompt(styled, style, capabilities)
            self._receipt |= unused
        styled, aspect = inputs.resolve_aspect(styled, capabilities, self._largest)
        self._receipt |= aspect
        self._prompt = styled.prompt
        styled, self._tags = _apply_lora_tags(styled, capabilities)
        self.controls_to_make = _controls_to_make(engine, styled, capabilities, settings)
        # Before defaults are filled in: the name of a sampler may include a scheduler.
        named, self._translated = translate_words(styled.asked(), capabilities.parameters)
        self._request = Request.exactly(named) if self._translated else styled
        self.tickets = self._prepare(self._request, preprocess=False)
        if strict:
            refuse_unhonoured(self.tickets[0])

    def with_control_images(self, images: Mapping[int, str]) -> list[Ticket]:
        """The tickets to run, with the files of the control images that were made, by number.

        They name the user's own images, as the plan does.
        """
        controls = tuple(
            control.model_copy(update={"image": images[number], "preprocess": False})
            if number in images
            else control
            for number, control in enumerate(self._request.controls)
        )
        request = self._request.model_copy(update={"controls": controls})
        plan = self.tickets[0]
        return [
            ticket.model_copy(update={"inputs": plan.inputs})
            for ticket in self._prepare(request, preprocess=None)
        ]

    def _prepare(self, request: Request, *, preprocess: bool | None) -> list[Ticket]:
        """The tickets of the request, with this value of `preprocess` for controls to make."""
        staged = inputs.prepare_inputs(
            self._with_preprocess(request, preprocess),
            self.capabilities,
            self._settings.state_dir / "inputs",
            largest=self._largest,
        )
        complete = resolve_request(staged.request, self._settings, self.capabilities)
        complete, batch = _settle_batch(complete, self._request, self.capabilities)
        # An adapter knows a batch by its count, and limits are checked here.
        runs = [
            run.model_copy(update={"latent_batch": None, "max_compute": None})
            for run in split_runs(complete, self.capabilities)
        ]
        common = batch
        if len(runs) > 1:
            used = f"{len(runs)} runs, each with the seed that follows"
            count = ParameterOutcome(outcome="mapped", asked=complete.count, used=used)
            common = batch | {"count": count}
        tickets = [self._engine.prepare(run) for run in runs]
        is_plan = preprocess is not None
        return [self._complete(one, complete, staged, common, is_plan=is_plan) for one in tickets]

    def _complete(
        self,
        ticket: Ticket,
        request: Request,
        staged: PreparedInputs,
        common: Receipt,
        *,
        is_plan: bool,
    ) -> Ticket:
        """The engine's ticket with a receipt in the user's words and the user's own file names."""
        used = ticket.request.model_copy(update={"latent_batch": request.latent_batch})
        # A backend may have rounded up.
        check_limits(
            used.model_copy(update={"max_compute": request.max_compute}), self._settings.limits
        )
        receipt = _in_own_words(ticket.receipt, self._request, staged.request)
        receipt |= {
            name: outcome
            for name, outcome in staged.receipt.items()
            if name not in receipt or receipt[name].outcome not in ("clamped", "mapped")
        }
        receipt = with_translated(receipt | self._receipt, self._translated) | common
        if request.max_compute is not None:
            outcome = ParameterOutcome(outcome="applied", asked=request.max_compute)
            if used.compute is None:
                why = "this backend decides the size or the steps itself"
                outcome = outcome.model_copy(update={"outcome": "dropped", "why": why})
            receipt["max_compute"] = outcome
        prompt = receipt.get("prompt")
        if self._tags and prompt is not None and prompt.outcome != "dropped":
            tags = [f"{t.text} is applied as --lora {t.name}:{t.strength:g}" for t in self._tags]
            why = "; ".join([*tags, prompt.why] if prompt.why else tags)
            receipt["prompt"] = ParameterOutcome(
                outcome="mapped", asked=self._prompt, used=used.prompt, why=why
            )
        return ticket.model_copy(
            update={
                "request": self._with_preprocess(used, True) if is_plan else used,
                "receipt": receipt,
                "inputs": staged.inputs,
                "warnings": (*staged.warnings, *ticket.warnings),
            }
        )

    def _with_preprocess(self, request: Request, preprocess: bool | None) -> Request:
        """The request in which controls that are yet to be made have this value of `preprocess`."""
        if preprocess is None or not self.controls_to_make:
            return request
        controls = (
            control.model_copy(update={"preprocess": preprocess})
            if number in self.controls_to_make
            else control
            for number, control in enumerate(request.controls)
        )
        return request.model_copy(update={"controls": tuple(controls)})


def refuse_unhonoured(ticket: Ticket) -> None:
    """Raises RequestError if a parameter was clamped or dropped."""
    faults = not_honoured(ticket.receipt)
    if faults:
        raise RequestError(
            f"Refused under --strict, since {ticket.backend} cannot honour all of the request:\n"
            + "\n".join(faults),
            remedy="Leave these parameters out, or leave out --strict.",
        )


def _refuse_other_files(files: Mapping[str, str], settings: Settings) -> None:
    """Raises RequestError for files that were not stored for a request.

    Which parameters of a backend's own are files, only its capabilities say.
    """
    folder = os.path.abspath(settings.state_dir / "inputs")
    for name, path in files.items():
        if not Path(os.path.abspath(path)).is_relative_to(folder):
            raise RequestError(
                f"{name}: {one_line(path, limit=60)!r} is not an image that a client can name.",
                remedy="Upload it and name the upload.",
            )


def _find_capabilities(engine: Backend, request: Request) -> Capabilities:
    """What the backend takes for the task of the request; raises RequestError if it cannot do it.

    A backend that cannot outpaint can inpaint on a larger canvas.
    """
    capabilities = engine.capabilities(request.task, request.model)
    tasks = capabilities.tasks
    if request.task == "outpaint" and "outpaint" not in tasks and "inpaint" in tasks:
        return engine.capabilities("inpaint", request.model)
    refuse_unable(request.task, capabilities)
    return capabilities


def with_local_images(
    request: Request,
    settings: Settings,
    fetch: Callable[[str, str], FetchedImage] | None = None,
    *,
    blobs: BlobStore | None = None,
) -> Request:
    """The request with files of this machine in place of image URLs and of stored files.

    URLs are downloaded if the settings allow them. `blobs` has the files of a request of the
    queue; without it, `blob:` is the beginning of a file's name like any other. Raises RequestError
    if a file cannot be downloaded or is not stored any more.
    """

    def local(path: str, what: str) -> str:
        stored = parse_blob_name(path) if blobs is not None else None
        if blobs is not None and stored is not None:
            return _load_stored(*stored, what, blobs, settings)
        is_allowed = settings.inputs.allow_urls
        return _download(path, what, settings, fetch) if is_allowed and is_url(path) else path

    values: dict[str, object] = {
        name: local(path, name) for name in ("image", "mask") if (path := getattr(request, name))
    }
    values["references"] = tuple(
        local(path, f"references.{n}") for n, path in enumerate(request.references)
    )
    values["controls"] = tuple(
        control.model_copy(update={"image": local(control.image, f"controls.{n}")})
        for n, control in enumerate(request.controls)
    )
    if blobs is not None:  # which parameters of a workflow are images, only its backend knows
        values["extra"] = {
            name: local(value, name) if isinstance(value, str) and parse_blob_name(value) else value
            for name, value in request.extra.items()
        }
    changed = {name: value for name, value in values.items() if value != getattr(request, name)}
    return request.with_values(changed) if changed else request


def _load_stored(digest: str, name: str, what: str, blobs: BlobStore, settings: Settings) -> str:
    """The path of the file into which a stored one was written."""
    try:
        data = blobs.get(digest)
    except LibraryUnreachable:
        raise
    except LibraryError as error:
        raise RequestError(f"{what}: {name} cannot be read. {error.message}") from error
    return str(inputs.cache_image(data, name, settings.state_dir / "inputs"))


def _download(
    url: str,
    what: str,
    settings: Settings,
    fetch: Callable[[str, str], FetchedImage] | None = None,
) -> str:
    """The path of the file into which the image at this URL was downloaded."""
    from imagen.net.public_images import fetch_image

    image = (fetch or fetch_image)(url, what)
    return str(inputs.cache_image(image.data, image.name, settings.state_dir / "inputs"))


def _controls_to_make(
    engine: Backend, request: Request, capabilities: Capabilities, settings: Settings
) -> dict[int, Control]:
    """The controls whose image this backend makes in a job of its own, by their number.

    Raises RequestError for a kind that it cannot make.
    """
    found: dict[int, Control] = {}
    for number, control in enumerate(request.controls):
        if not control.preprocess or "controls" not in capabilities.parameters:
            continue
        if control.kind in capabilities.preprocesses_in_run:
            continue
        known = preprocessors(engine)
        if control.kind not in known:
            able = []
            for name in settings.backends:
                with suppress(ImagenError), closing(open_named(name, settings)) as other:
                    if control.kind in preprocessors(other):
                        able.append(name)
            raise RequestError(
                f"This backend cannot make a control image of kind {control.kind!r}."
                + did_you_mean(control.kind, known)
                + (f" It makes: {', '.join(known)}." if known else " It makes none."),
                remedy=f"Make it first: imagen preprocess {control.kind} FILE --backend {able[0]}"
                if able
                else "Give a finished control image, or configure a backend that makes one, such as"
                " a ComfyUI server with the right nodes.",
            )
        found[number] = control
    return found


def preprocessors(engine: Backend) -> tuple[str, ...]:
    """The kinds of control image that a backend makes in a job of its own."""
    capabilities = engine.capabilities("preprocess")
    return capabilities.preprocessors if "preprocess" in capabilities.tasks else ()


def _apply_lora_tags(request: Request, capabilities: Capabilities) -> tuple[Request, list[LoraTag]]:
    """The request with the LoRA tags of its prompt as LoRAs, and these tags.

    Only if the engine has LoRAs but does not read tags itself.
    """
    read = capabilities.prompt_syntax
    if read is None or "loras" in read or "loras" not in capabilities.parameters:
        return request, []
    prompt = request.prompt or ""
    tags = [tag for tag in lora_tags(prompt) if tag.strength is not None]
    if not tags:
        return request, []
    for tag in tags:
        prompt = prompt.replace(tag.text, "")
    loras = [{"name": tag.name, "strength": tag.strength} for tag in tags]
    values = {"prompt": prompt.strip(" ,"), "loras": (*request.loras, *loras)}
    return request.with_values(values), tags


def _in_own_words(receipt: Receipt, original: Request, staged: Request) -> Receipt:
    """The receipt with values as the user gave them, and without the folders of prepared files."""
    given, now = original.asked(), staged.asked()
    changed = {name: value for name, value in given.items() if now.get(name) != value}
    restored: Receipt = {}
    for name, outcome in receipt.items():
        changes: dict[str, object] = {
            "asked": changed.get(name, outcome.asked),
            "used": outputs.strip_folders(outcome.model_dump()["used"], staged),
        }
        if name not in given and UNREAD in outcome.why:  # a default, or a copy of the first prompt
            changes["why"] = ""
        restored[name] = outcome.model_copy(update=changes)
    return restored


def _settle_batch(
    request: Request, original: Request, capabilities: Capabilities
) -> tuple[Request, Receipt]:
    """Whether the images are made in one latent batch, and the receipt of that parameter.

    A batch that a workflow or a model makes by itself, without a count in the request, is one.
    """
    if request.latent_batch is None:
        is_own = (
            original.count is None and (request.count or 1) > 1 and not capabilities.batch_seeds
        )
        return request.model_copy(update={"latent_batch": is_own or None}), {}
    parameter = capabilities.parameters.get("count")
    if not request.latent_batch or (parameter and parameter.max != 1):
        outcome = ParameterOutcome(outcome="applied", asked=request.latent_batch)
        return request, {"latent_batch": outcome}
    why = "this backend makes one image at a time"
    outcome = ParameterOutcome(outcome="dropped", asked=True, why=why)
    return request.model_copy(update={"latent_batch": None}), {"latent_batch": outcome}
