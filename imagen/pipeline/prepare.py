"""From a request to tickets: its style, its pictures made ready, its defaults, its runs."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from imagen import inputs, outputs
from imagen.backends import open_backend
from imagen.core.capabilities import (
    UNREAD,
    ParameterOutcome,
    Receipt,
    not_honoured,
    refuse_unable,
    translate_words,
    with_translated,
)
from imagen.core.image_file import is_url
from imagen.core.prompt_syntax import lora_tags
from imagen.core.request import Request
from imagen.core.text import did_you_mean
from imagen.errors import ImagenError, RequestError
from imagen.pipeline.resolve import (
    apply_style,
    check_limits,
    draw_over_default,
    resolve_request,
    split_runs,
    style_default_prompt,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.backends import Backend
    from imagen.config import Settings
    from imagen.core.capabilities import Capabilities
    from imagen.core.prompt_syntax import LoraTag
    from imagen.core.request import Control
    from imagen.core.ticket import Ticket
    from imagen.inputs import PreparedInputs
    from imagen.net.public_images import FetchedImage


_NOT_FOR_ADAPTERS = {"latent_batch": None, "max_compute": None}
"""An adapter knows a batch by its count; limits are held here."""


def open_named(name: str, settings: Settings) -> Backend:
    """Open the backend configured under this name."""
    return open_backend(name, settings.backends, settings.shared())


def prepare(
    engine: Backend, request: Request, settings: Settings, *, strict: bool = False
) -> list[Ticket]:
    """A ticket for each run that the request needs; nothing is submitted.

    Where a control picture is yet to be made of its file, the tickets are a plan: they show what
    will be asked, and `imagen.pipeline.generate.ready` makes them ready to be made.
    """
    outputs.check_output_settings(settings.output)
    outputs.refuse_unwritable(settings.output.directory)
    asked, idle = inputs.check_request(apply_style(request, settings))
    capabilities = _capabilities(engine, asked)
    asked = draw_over_default(request, asked, capabilities)
    asked = _with_local_own_images(asked, capabilities, settings)
    if request.style is not None:
        style = settings.styles[request.style]
        asked, unused = style_default_prompt(asked, style, capabilities)
        idle = idle | unused
    asked, shaped = inputs.resolve_aspect(asked, capabilities, _largest(settings))
    tags = _tags_to_apply(asked, capabilities)
    written, asked = asked.prompt, _with_loras_of(tags, asked)
    planned = {n for n, _ in to_preprocess(engine, asked, capabilities, settings)}
    # Before defaults come in: a sampler's name may carry the scheduler that is not asked for.
    named, translated = translate_words(asked.asked(), capabilities.parameters)
    asked = Request.exactly(named) if translated else asked
    staged = _staged(_with_preprocess(asked, planned, False), capabilities, settings)
    complete = resolve_request(staged.request, settings, capabilities)
    complete, batch = _settle_batch(complete, asked, capabilities)
    several = (
        run.model_copy(update=_NOT_FOR_ADAPTERS) for run in split_runs(complete, capabilities)
    )
    prepared = [_told_of_batch(engine.prepare(run), complete, batch) for run in several]
    for ticket in prepared:  # a backend may have rounded up
        limited = ticket.request.model_copy(update={"max_compute": complete.max_compute})
        check_limits(limited, settings.limits)
    prepared = [_told_of_limit(ticket, complete.max_compute) for ticket in prepared]
    prepared = [
        _told_of_staging(ticket, asked, staged, idle | shaped, planned) for ticket in prepared
    ]
    prepared = [_told_of_names(ticket, translated) for ticket in prepared]
    if tags:
        prepared = [_told_of_tags(ticket, written, tags) for ticket in prepared]
    if len(prepared) > 1:
        prepared = [_told_of_split(ticket, complete.count, len(prepared)) for ticket in prepared]
    if strict:
        refuse_unhonoured(prepared[0])
    return prepared


def with_local_images(
    request: Request,
    settings: Settings,
    fetch: Callable[[str, str], FetchedImage] | None = None,
) -> Request:
    """The request with files in place of the URLs of its images, where the settings allow those.

    Raises RequestError for one that can't be fetched.
    """
    if not settings.inputs.allow_urls:
        return request

    def local(path: str, what: str) -> str:
        return _fetched(path, what, settings, fetch) if is_url(path) else path

    values: dict[str, Any] = {
        name: local(path, name)
        for name in ("image", "mask")
        if (path := getattr(request, name)) and is_url(path)
    }
    if any(map(is_url, request.references)):
        paths = enumerate(request.references)
        values["references"] = tuple(local(path, f"references.{n}") for n, path in paths)
    if any(is_url(control.image) for control in request.controls):
        values["controls"] = tuple(
            control.model_copy(update={"image": local(control.image, f"controls.{n}")})
            for n, control in enumerate(request.controls)
        )
    return request.with_values(values) if values else request


def _with_local_own_images(
    request: Request, capabilities: Capabilities, settings: Settings
) -> Request:
    """The same for the images of the backend's own parameters."""
    own = inputs.image_parameters(request, capabilities).items() if request.extra else ()
    urls = {name: path for name, path in own if settings.inputs.allow_urls and is_url(path)}
    fetched = {name: _fetched(path, name, settings) for name, path in urls.items()}
    return request.with_values(fetched) if fetched else request


def _fetched(
    url: str,
    what: str,
    settings: Settings,
    fetch: Callable[[str, str], FetchedImage] | None = None,
) -> str:
    """The file in which the image at this URL is now."""
    from imagen.net.public_images import fetch_image

    image = (fetch or fetch_image)(url, what)
    return str(inputs.cache_image(image.data, image.name, settings.state_dir / "inputs"))


def to_preprocess(
    engine: Backend, request: Request, capabilities: Capabilities, settings: Settings
) -> Iterator[tuple[int, Control]]:
    """Each control whose picture this backend makes in a run before, with its number.

    Raises RequestError for one that it can't make at all.
    """
    for number, control in enumerate(request.controls):
        if not control.preprocess or "controls" not in capabilities.parameters:
            continue
        if control.kind in capabilities.preprocesses_in_run:
            continue
        if control.kind not in preprocessors(engine):
            raise _cannot_preprocess(engine, control.kind, settings)
        yield number, control


def preprocessors(engine: Backend) -> tuple[str, ...]:
    """The kinds of control picture that a backend makes in a run of their own."""
    capabilities = engine.capabilities("preprocess")
    return capabilities.preprocessors if "preprocess" in capabilities.tasks else ()


def capabilities_for(engine: Backend, request: Request, settings: Settings) -> Capabilities:
    """What the backend takes for the task that the request comes to."""
    return _capabilities(engine, inputs.check_request(apply_style(request, settings))[0])


def refuse_unhonoured(ticket: Ticket) -> None:
    """Raises RequestError where a parameter was clamped or dropped."""
    faults = not_honoured(ticket.receipt)
    if faults:
        raise RequestError(
            f"Refused under --strict, since {ticket.backend} can't honour all of the request:\n"
            + "\n".join(faults),
            remedy="Leave these out, or leave --strict out to go on without them.",
        )


def _capabilities(engine: Backend, request: Request) -> Capabilities:
    """Outpainting is inpainting on a larger canvas to a backend that knows no better."""
    capabilities = engine.capabilities(request.task, request.model)
    tasks = capabilities.tasks
    if request.task == "outpaint" and "outpaint" not in tasks and "inpaint" in tasks:
        return engine.capabilities("inpaint", request.model)
    refuse_unable(request.task, capabilities)
    return capabilities


def _staged(request: Request, capabilities: Capabilities, settings: Settings) -> PreparedInputs:
    return inputs.prepare_inputs(
        request, capabilities, settings.state_dir / "inputs", largest=_largest(settings)
    )


def _largest(settings: Settings) -> tuple[int, int]:
    return settings.limits.max_width, settings.limits.max_height


def _with_preprocess(request: Request, numbers: set[int], whether: bool) -> Request:
    if not numbers:
        return request
    controls = (
        control.model_copy(update={"preprocess": whether}) if n in numbers else control
        for n, control in enumerate(request.controls)
    )
    return request.model_copy(update={"controls": tuple(controls)})


def _tags_to_apply(request: Request, capabilities: Capabilities) -> list[LoraTag]:
    """The LoRA tags of the prompt, where the engine has LoRAs but does not read tags itself."""
    read = capabilities.prompt_syntax
    if read is None or "loras" in read or "loras" not in capabilities.parameters:
        return []
    return [tag for tag in lora_tags(request.prompt or "") if tag.strength is not None]


def _with_loras_of(tags: list[LoraTag], request: Request) -> Request:
    """The request with these tags of its prompt as LoRAs."""
    if not tags:
        return request
    prompt = request.prompt or ""
    for tag in tags:
        prompt = prompt.replace(tag.text, "")
    loras = [{"name": tag.name, "strength": tag.strength} for tag in tags]
    return request.with_values({"prompt": prompt.strip(" ,"), "loras": (*request.loras, *loras)})


def _told_of_tags(ticket: Ticket, written: str | None, tags: list[LoraTag]) -> Ticket:
    fate = ticket.receipt.get("prompt")
    if fate is None or fate.outcome == "dropped":
        return ticket
    applied = (f"{tag.text} is applied as --lora {tag.name}:{tag.strength:g}" for tag in tags)
    why = "; ".join([*applied, *([fate.why] if fate.why else [])])
    prompt = ParameterOutcome(outcome="mapped", asked=written, used=ticket.request.prompt, why=why)
    return ticket.model_copy(update={"receipt": ticket.receipt | {"prompt": prompt}})


def _told_of_staging(
    ticket: Ticket, asked: Request, staged: PreparedInputs, idle: Receipt, planned: set[int]
) -> Ticket:
    """The receipt in the user's words, and the pictures by the user's names."""
    receipt = _in_own_words(ticket.receipt, asked, staged.request)
    settled = {
        name: fate
        for name, fate in staged.receipt.items()
        if name not in receipt or receipt[name].outcome not in ("clamped", "mapped")
    }
    changes: dict[str, Any] = {
        "receipt": receipt | settled | idle,
        "inputs": staged.inputs,
        "warnings": (*staged.warnings, *ticket.warnings),
        "request": _with_preprocess(ticket.request, planned, True),
    }
    return ticket.model_copy(update=changes)


def _told_of_names(ticket: Ticket, translated: Receipt) -> Ticket:
    receipt = with_translated(ticket.receipt, translated)
    return ticket.model_copy(update={"receipt": receipt})


def _in_own_words(receipt: Receipt, asked: Request, staged: Request) -> Receipt:
    """What was asked as it was before it was staged, and what was used without our folders."""
    original, now = asked.asked(), staged.asked()
    changed = {name: value for name, value in original.items() if now.get(name) != value}

    def told(name: str, fate: ParameterOutcome) -> ParameterOutcome:
        if name not in original and UNREAD in fate.why:  # a default, or a copy of the first prompt
            fate = fate.model_copy(update={"why": ""})
        used = outputs.strip_folders(fate.model_dump()["used"], staged)
        return fate.model_copy(update={"asked": changed.get(name, fate.asked), "used": used})

    return {name: told(name, fate) for name, fate in receipt.items()}


def _settle_batch(
    request: Request, asked: Request, capabilities: Capabilities
) -> tuple[Request, Receipt]:
    """Whether its images are made together, and the receipt of it.

    The batch that a workflow or a model makes by itself, where no count was asked for, is one.
    """
    is_its_own = asked.count is None and (request.count or 1) > 1 and not capabilities.batch_seeds
    if request.latent_batch is None:
        return request.model_copy(update={"latent_batch": is_its_own or None}), {}
    parameter = capabilities.parameters.get("count")
    if not request.latent_batch or (parameter and parameter.max != 1):
        return request, {
            "latent_batch": ParameterOutcome(outcome="applied", asked=request.latent_batch)
        }
    why = "this backend makes one image at a time"
    without = request.model_copy(update={"latent_batch": None})
    return without, {"latent_batch": ParameterOutcome(outcome="dropped", asked=True, why=why)}


def _told_of_batch(ticket: Ticket, request: Request, batch: Receipt) -> Ticket:
    whole = ticket.request.model_copy(update={"latent_batch": request.latent_batch})
    return ticket.model_copy(update={"request": whole, "receipt": ticket.receipt | batch})


def _told_of_limit(ticket: Ticket, max_compute: float | None) -> Ticket:
    if max_compute is None:
        return ticket
    fate = ParameterOutcome(outcome="applied", asked=max_compute)
    if ticket.request.compute is None:
        why = "this backend decides the size or the steps itself"
        fate = ParameterOutcome(outcome="dropped", asked=max_compute, why=why)
    return ticket.model_copy(update={"receipt": ticket.receipt | {"max_compute": fate}})


def _told_of_split(ticket: Ticket, count: int | None, among: int) -> Ticket:
    fate = ParameterOutcome(
        outcome="mapped", asked=count, used=f"{among} runs, each with the seed that follows"
    )
    return ticket.model_copy(update={"receipt": ticket.receipt | {"count": fate}})


def _cannot_preprocess(engine: Backend, kind: str, settings: Settings) -> RequestError:
    known = preprocessors(engine)
    able = [name for name in settings.backends if _preprocesses(name, kind, settings)]
    return RequestError(
        f"This backend can't make a control picture of kind {kind!r}."
        + did_you_mean(kind, known)
        + (f" It makes: {', '.join(known)}." if known else " It makes none."),
        remedy=(
            f"Make it first, with: imagen preprocess {kind} FILE --backend {able[0]}"
            if able
            else "Give a ready control picture, or configure a backend that makes one: "
            "a ComfyUI server does, with the right nodes."
        ),
    )


def _preprocesses(name: str, kind: str, settings: Settings) -> bool:
    with suppress(ImagenError), closing(open_named(name, settings)) as engine:
        return kind in preprocessors(engine)
    return False
