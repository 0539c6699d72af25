"""What a request asks for as one thing, and a workflow takes as several: by its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from imagen.backends.comfyui import uploads
from imagen.backends.comfyui.capabilities import (
    CONTROL,
    FIDELITY,
    REFERENCE,
    RESTORER,
    UPSCALER,
    workflow_capabilities,
)
from imagen.backends.comfyui.models import refuse_other_family, server_name
from imagen.core.capabilities import ParameterOutcome, resolve_parameters
from imagen.core.text import did_you_mean
from imagen.core.ticket import Ticket
from imagen.errors import RequestError, WorkflowError
from imagen.graphs import Manifest, bind, edits
from imagen.graphs.edits import ControlNetUse
from imagen.graphs.tokens import nodes_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from imagen.backends.comfyui.workflows import WorkflowSet
    from imagen.core.capabilities import Parameter, Receipt
    from imagen.core.request import Control, Request
    from imagen.graphs import ControlNet, Workflow


_TOLD = (
    ("upscale", "method", UPSCALER),
    ("upscale", "factor", "width"),
    ("restore", "model", RESTORER),
)
"""Parts whose loss would be noticed, and the token that each needs."""


def split_parts(
    asked: Mapping[str, Any], parameters: Mapping[str, Parameter], size: tuple[int, int]
) -> dict[str, Any]:
    """Values for tokens, from the structured parameters that were asked for and are taken.

    An enlarged picture's size follows from `size`, the initial one's: width and height.
    """
    found = dict(_upscale(asked.get("upscale"), parameters, size))
    if restore := asked.get("restore"):
        found |= {FIDELITY: restore.fidelity, RESTORER: restore.model}
    if outpaint := asked.get("outpaint"):
        found |= outpaint.model_dump()
    return {name: v for name, v in found.items() if name in parameters and v is not None}


def report_unused_parts(
    asked: Mapping[str, Any], parameters: Mapping[str, Parameter], receipt: Receipt
) -> None:
    """What of a structured parameter has no token in this workflow goes into the receipt."""
    for name, part, token in _TOLD:
        value: Any = asked.get(name)
        given = getattr(value, part, None)
        if given is not None and token not in parameters:
            used = value.model_copy(update={part: None}).model_dump(exclude_none=True)
            why = f"this workflow has a {part} of its own"
            receipt[name] = ParameterOutcome(outcome="mapped", asked=value, used=used, why=why)


def _upscale(
    upscale: Any, parameters: Mapping[str, Parameter], size: tuple[int, int]
) -> Iterator[tuple[str, Any]]:
    if upscale is None:
        return
    yield UPSCALER, upscale.method
    for name, pixels in zip(("width", "height"), size, strict=True):
        if name in parameters:
            yield name, parameters[name].fit(name, max(1, round(pixels * upscale.factor)))


_PATCH = "model_patches"
_NONE = "a strength of 0 is none"


def drop_zero_strengths(asked: Sequence[Any], name: str, receipt: Receipt) -> tuple[Any, ...]:
    """Those LoRAs or control pictures whose strength is not 0; the receipt tells of the others."""
    used = tuple(one for one in asked if one.strength)
    if len(used) < len(asked):
        receipt[name] = ParameterOutcome(
            outcome="mapped", asked=list(asked), used=list(used), why=_NONE
        )
    return used


def assign_control_nets(
    controls: Sequence[Control],
    known: Mapping[str, ControlNet],
    upload: Callable[[str, str], str],
    receipt: Receipt,
) -> list[ControlNetUse]:
    """Each control picture with the net of its kind; `upload` gives a file's name in the graph.

    Raises RequestError for a kind that has no net. A net that patches the model works at all steps,
    and the receipt says so where that is not what was asked.
    """
    found = [_net(c, n, known, upload) for n, c in enumerate(controls)]
    whole = [net.kind for net in found if net.patches_model and (net.start, net.end) != (0, 1)]
    if whole:
        why = f"the net of {', '.join(whole)} works at all steps"
        used = [c.model_copy(update={"start": 0.0, "end": 1.0}) for c in controls]
        receipt["controls"] = ParameterOutcome(
            outcome="mapped", asked=list(controls), used=used, why=why
        )
    return found


def own_control_tokens(
    controls: Sequence[Control],
    parameters: Mapping[str, Parameter],
    upload: Callable[[str, str], str],
    receipt: Receipt,
) -> dict[str, Any]:
    """Values for the tokens of a workflow with a control net of its own.

    Raises RequestError for more pictures than one.
    """
    if len(controls) > 1:
        raise RequestError(f"controls: this workflow takes one image, not {len(controls)}.")
    (control,) = controls
    values = {
        CONTROL: upload(control.image, "controls.0"),
        "control_strength": control.strength,
        "control_start": control.start,
        "control_end": control.end,
    }
    taken = {name: value for name, value in values.items() if name in parameters}
    why = "the workflow has a control net of its own"
    receipt["controls"] = ParameterOutcome(
        outcome="mapped", asked=list(controls), used=[*taken], why=why
    )
    return taken


def _net(
    control: Control,
    number: int,
    known: Mapping[str, ControlNet],
    upload: Callable[[str, str], str],
) -> ControlNetUse:
    net = known.get(control.kind)
    if net is None:
        raise RequestError(
            f"This backend has no control of kind {control.kind!r}."
            + did_you_mean(control.kind, known),
            remedy=f"It has: {', '.join(known)}.",
        )
    return ControlNetUse(
        kind=control.kind,
        file=net.file,
        image=upload(control.image, f"controls.{number}"),
        strength=control.strength,
        start=control.start,
        end=control.end,
        union=net.union,
        patches_model=net.folder == _PATCH,
    )


_TASK, _WORKFLOW = "task", "workflow"
"""Under which a ticket holds what was asked of it, and which workflow the backend had."""
_ABOUT: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("image-to-image", "upscale", "restore", "preprocess"), ("image",)),
    "inpaint": ("image", "mask"),
    "edit": ("references",),
    "variation": ("variation_strength",),
}
"""What a workflow must take to do a task; without it, it would draw what nobody asked for."""
_FEATHER = 24
"""Pixels over which what is new beyond the sides fades in, where none are asked."""


def prepare_ticket(request: Request, workflows: WorkflowSet, *, id: str, backend: str) -> Ticket:
    """The ticket of one request, of which nothing has been sent.

    Raises RequestError for what can't be asked, and WorkflowError for a graph that can't run.
    """
    workflow = workflows.for_task(request.task, request.preprocess)
    work = _Preparation(request, workflow, workflows)
    graph = work.graph()
    _refuse_faults(workflow, graph)
    return Ticket(
        id=id,
        backend=backend,
        request=request.exactly(work.values),
        receipt=work.receipt,
        payload=graph,
        workflow=workflow.name,
        engine={
            _TASK: request.task,
            _WORKFLOW: workflows.reference,
            **uploads.engine_entry(work.uploads),
        },
    )


def manifest_of(ticket: Ticket, workflows: WorkflowSet) -> Manifest:
    """What is known of the workflow that a ticket was prepared with; the ticket has its graph.

    Nothing, where that workflow is gone or the backend has another one by now.
    """
    task = str(ticket.engine.get(_TASK, ticket.request.task))  # defaults may make it look another
    try:
        workflow = workflows.for_task(task, ticket.request.preprocess)
    except (RequestError, WorkflowError):
        return Manifest()
    return workflow.manifest if ticket.workflow in ("", workflow.name) else Manifest()


class _Preparation:
    """One request, and the workflow that will do it."""

    def __init__(self, request: Request, workflow: Workflow, workflows: WorkflowSet) -> None:
        self._task = request.task
        self._workflow = workflow
        self._repertoire = workflows
        self._capabilities = workflow_capabilities(workflows, request.task, workflow)
        self._parameters = self._capabilities.parameters
        self._addressed = {n: v for n, v in request.extra.items() if self._is_address(n)}
        extra = {n: v for n, v in request.extra.items() if n not in self._addressed}
        self._request = request.model_copy(update={"extra": extra})
        self._asked, self.receipt = resolve_parameters(self._request, self._capabilities)
        _refuse_other_work(self._task, self._parameters, workflow)
        self.values: dict[str, Any] = {}
        """What will be used, by the request's names."""
        self._sizes: dict[str, tuple[int, int]] = {}
        self.uploads: dict[str, uploads.ComfyUpload] = {}
        """The files to send, by what the graph calls them."""

    def graph(self) -> dict[str, Any]:
        """The workflow bound to the request, and cut to what no token can do."""
        tokens = self._tokens()
        self.values = self._defaults() | self._asked | self.values
        if self._pads_here():
            tokens.setdefault("mask", "")  # its node is taken out
        graph = self._with_model(self._workflow.graph)
        graph = bind(graph, {name: _plain(v) for name, v in tokens.items()})
        return self._steered(self._outpainted(self._with_references(self._with_literals(graph))))

    def _is_address(self, name: str) -> bool:
        return "." in name and name not in self._parameters

    def _defaults(self) -> dict[str, Any]:
        known = self._parameters.items()
        return {name: p.default for name, p in known if p.default is not None}

    def _tokens(self) -> dict[str, Any]:
        """A value for each token: its part of what was asked, what was asked, or its default."""
        sent = self._pictures()
        parts = split_parts(self._asked, self._parameters, self._sizes.get("image", (0, 0)))
        report_unused_parts(self._asked, self._parameters, self.receipt)
        self._tell_of_settled(parts, self._task)
        self.values |= parts
        own = self._first_reference() | self._own_control()
        values = self._defaults() | self._asked | parts | sent | own
        return values | self._second_prompts(values)

    def _tell_of_settled(self, parts: dict[str, Any], by: str) -> None:
        """A parameter of its own goes behind the part of another that means the same."""
        for name, used in parts.items():
            asked = self._asked.get(name)
            if asked not in (None, used, self._parameters[name].default):
                why = f"{by} settles it"
                self.receipt[name] = ParameterOutcome(
                    outcome="mapped", asked=asked, used=used, why=why
                )

    def _second_prompts(self, values: dict[str, Any]) -> dict[str, Any]:
        """A second text encoder is told what the first is, where it is told nothing."""
        told = {
            second: values[first]
            for first, second in (("prompt", "prompt_2"), ("negative", "negative_2"))
            if second in self._parameters and second not in values and first in values
        }
        self.values |= told
        return told

    def _pictures(self) -> dict[str, str]:
        """The pictures asked for, as the graph calls them; a default lies at the server."""
        return {
            name: self._uploaded(self._asked[name], name)
            for name, parameter in self._parameters.items()
            if parameter.type == "image" and self._asked.get(name) not in (None, parameter.default)
        }

    def _uploaded(self, path: str, what: str) -> str:
        upload, picture = uploads.plan_upload(path, what)
        self.uploads[upload.literal] = upload
        self._sizes[what] = (picture.width, picture.height)
        return upload.literal

    def _first_reference(self) -> dict[str, str]:
        paths = self._asked.get("references", ())
        return {self._reference: self._uploaded(paths[0], "references.0")} if paths else {}

    def _own_control(self) -> dict[str, Any]:
        """The control picture for a workflow that has a net of its own."""
        controls = self._asked.get("controls")
        if not controls or CONTROL not in self._parameters:
            return {}
        return own_control_tokens(controls, self._parameters, self._uploaded, self.receipt)

    @property
    def _reference(self) -> str:
        """The token that takes the first reference."""
        return REFERENCE if REFERENCE in self._parameters else "image"

    def _with_model(self, graph: Mapping[str, Any]) -> Mapping[str, Any]:
        """With the model that is asked for where the workflow names its own."""
        asked = self._asked.get("model")
        if asked is None:
            return graph
        manifest, dirs = self._workflow.manifest, self._repertoire.dirs
        refuse_other_family(asked, manifest, dirs)
        self.values["model"] = used = server_name(asked)
        if used != asked:
            why = "a ComfyUI server has folders of its own"
            self.receipt["model"] = ParameterOutcome(
                outcome="mapped", asked=asked, used=used, why=why
            )
        place = edits.place_of_model(graph)
        if place.token not in ("", "model"):
            self.receipt.pop(place.token, None)
            self._tell_of_settled({place.token: used}, "model")
            self.values.pop(place.token, None)
        return edits.with_model(graph, place, used)

    def _with_literals(self, graph: dict[str, Any]) -> dict[str, Any]:
        """What was asked for by node and input, where no token is."""
        for name, value in self._addressed.items():
            address = edits.resolve_address(self._workflow.graph, name)
            graph, used = edits.with_value(graph, address, name, value)
            self.values[name] = used
            self.receipt[name] = ParameterOutcome(outcome="applied", asked=value)
        return graph

    def _with_references(self, graph: dict[str, Any]) -> dict[str, Any]:
        further = list(enumerate(self._asked.get("references", ())))[1:]
        if not further:
            return graph
        images = [self._uploaded(path, f"references.{n}") for n, path in further]
        return edits.with_references(graph, self._node_of(self._reference), images)

    def _outpaints(self) -> bool:
        """Whether by a workflow that only repaints."""
        return self._task == "outpaint" and "outpaint" not in self._parameters

    def _pads_here(self) -> bool:
        """Whether neither the padding nor its mask came with the request."""
        return self._outpaints() and "mask" not in self._asked

    def _outpainted(self, graph: dict[str, Any]) -> dict[str, Any]:
        """With ComfyUI's own padding, where none came."""
        sides = self._request.outpaint
        if sides is None or not self._outpaints():
            return graph
        self.receipt["outpaint"] = ParameterOutcome(outcome="applied", asked=sides)
        self.values["outpaint"] = sides
        if not self._pads_here():
            return graph
        image, mask = self._node_of("image"), self._node_of("mask")
        feather = self._request.feather or _FEATHER
        return edits.with_padding(graph, image, mask, sides, feather)

    def _steered(self, graph: dict[str, Any]) -> dict[str, Any]:
        """With the LoRAs and the control pictures that have no token of their own."""
        if "loras" in self._asked and "loras" not in self._workflow.tokens:
            self.values["loras"] = drop_zero_strengths(self._asked["loras"], "loras", self.receipt)
            graph = edits.with_loras(graph, self.values["loras"])
        if "controls" in self._asked and not {"controls", CONTROL} & self._workflow.tokens:
            used = drop_zero_strengths(self._asked["controls"], "controls", self.receipt)
            self.values["controls"] = used
            found = assign_control_nets(
                used, self._repertoire.controls, self._uploaded, self.receipt
            )
            graph = edits.with_controls(graph, found)
        return graph

    def _node_of(self, token: str) -> str:
        nodes = nodes_with(self._workflow.graph, token)
        if not nodes:
            raise WorkflowError(f"The workflow {self._workflow.name!r} has no token {token!r}.")
        return nodes[0]


def _plain(value: Any) -> Any:
    """As JSON has it: a graph holds no values of ours."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _refuse_other_work(task: str, parameters: Mapping[str, Any], workflow: Workflow) -> None:
    for name in _ABOUT.get(task, ()):
        if name not in parameters:
            raise WorkflowError(
                f"The workflow {workflow.name!r} can't do {task}: it takes no {name}.",
                remedy=f"Give it a token for that, or name another workflow: tasks.{task}.",
            )


def _refuse_faults(workflow: Workflow, graph: Mapping[str, Any]) -> None:
    from imagen.graphs.validate import find_structural_faults

    # Which nodes give something away only the server knows: here each may.
    faults = find_structural_faults(graph, workflow.manifest.output or tuple(graph))
    if faults:
        lines = "\n  ".join(
            [f"The workflow {workflow.name!r} can't run:"] + [f.sentence for f in faults]
        )
        remedy = "\n".join(dict.fromkeys(fault.remedy for fault in faults if fault.remedy))
        raise WorkflowError(lines, remedy=remedy)
