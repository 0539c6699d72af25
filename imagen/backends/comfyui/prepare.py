"""From a request to a ticket: bind the workflow's tokens, and edit what no token can do."""

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
    from collections.abc import Iterator, Mapping

    from imagen.backends.comfyui.workflows import WorkflowSet
    from imagen.core.request import Request
    from imagen.graphs import Workflow

_TASK, _WORKFLOW = "task", "workflow"
"""The keys under which a ticket holds its task, and the workflow of the backend."""
_NEEDED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("image-to-image", "upscale", "restore", "preprocess"), ("image",)),
    "inpaint": ("image", "mask"),
    "edit": ("references",),
    "variation": ("variation_strength",),
}
"""The parameters that a workflow must have to do a task; without them it would do another."""
_NOTICEABLE_PARTS = (
    ("upscale", "method", UPSCALER),
    ("upscale", "factor", "width"),
    ("restore", "model", RESTORER),
)
"""Parts of parameters that the receipt mentions where a workflow lacks the token for them."""
_FEATHER = 24
"""Pixels over which an outpainted border fades in, where the request does not say."""
_PATCHES = "model_patches"
"""The folder of ControlNets that patch the model."""


def prepare_ticket(request: Request, workflows: WorkflowSet, *, id: str, backend: str) -> Ticket:
    """The ticket of one request; nothing is sent.

    Raises RequestError for a request that the workflow cannot do, and WorkflowError for a graph
    that cannot run.
    """
    from imagen.graphs.validate import find_structural_faults

    workflow = workflows.for_task(request.task, request.preprocess)
    preparation = _Preparation(request, workflow, workflows)
    graph = preparation.build_graph()
    # Which nodes give an output only the server knows: here each may.
    faults = find_structural_faults(graph, workflow.manifest.output or tuple(graph))
    if faults:
        sentences = "\n  ".join(fault.sentence for fault in faults)
        raise WorkflowError(
            f"The workflow {workflow.name!r} cannot run:\n  {sentences}",
            remedy="\n".join(dict.fromkeys(fault.remedy for fault in faults if fault.remedy)),
        )
    return Ticket(
        id=id,
        backend=backend,
        request=request.exactly(preparation.values),
        receipt=preparation.receipt,
        payload=graph,
        workflow=workflow.name,
        engine={
            _TASK: request.task,
            _WORKFLOW: workflows.reference,
            **uploads.engine_entry(preparation.uploads),
        },
    )


def manifest_of(ticket: Ticket, workflows: WorkflowSet) -> Manifest:
    """The manifest of the workflow that a ticket was prepared with; the ticket has its graph.

    An empty one where that workflow is gone, or the backend has another one by now.
    """
    task = str(ticket.engine.get(_TASK, ticket.request.task))  # defaults may change its look
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
        self._workflows = workflows
        capabilities = workflow_capabilities(workflows, request.task, workflow)
        self._parameters = capabilities.parameters
        self._addressed = {
            name: value
            for name, value in request.extra.items()
            if "." in name and name not in self._parameters
        }
        """Values by node and input, where no token is."""
        extra = {n: v for n, v in request.extra.items() if n not in self._addressed}
        self._request = request.model_copy(update={"extra": extra})
        self._asked, self.receipt = resolve_parameters(self._request, capabilities)
        for name in _NEEDED.get(request.task, ()):
            if name not in self._parameters:
                raise WorkflowError(
                    f"The workflow {workflow.name!r} cannot do {request.task}: it has no "
                    f"parameter {name!r}.",
                    remedy="Give it a token for that, or name another workflow: "
                    f"tasks.{request.task}.",
                )
        self._defaults: dict[str, Any] = {
            name: parameter.default
            for name, parameter in self._parameters.items()
            if parameter.default is not None
        }
        self.values: dict[str, Any] = {}
        """What will be used, by the request's names."""
        self._sizes: dict[str, tuple[int, int]] = {}
        self.uploads: dict[str, uploads.ComfyUpload] = {}
        """The files to upload, by their names in the graph."""

    def build_graph(self) -> dict[str, Any]:
        tokens = self._token_values()
        self.values = self._defaults | self._asked | self.values
        # A workflow that only inpaints outpaints too, after the request or the server padded.
        is_outpaint = self._task == "outpaint" and "outpaint" not in self._parameters
        is_unpadded = is_outpaint and "mask" not in self._asked
        if is_unpadded:
            tokens.setdefault("mask", "")  # its node is replaced
        graph: Mapping[str, Any] = self._workflow.graph
        if self._asked.get("model") is not None:
            graph = self._with_model(graph, self._asked["model"])
        bound = bind(graph, {name: _as_json(value) for name, value in tokens.items()})
        bound = self._with_addressed_values(bound)
        further = list(enumerate(self._asked.get("references", ())))[1:]
        if further:
            images = [self._upload(path, f"references.{number}") for number, path in further]
            bound = edits.with_references(bound, self._node_of(self._reference_token), images)
        sides = self._request.outpaint
        if is_outpaint and sides is not None:
            self.receipt["outpaint"] = ParameterOutcome(outcome="applied", asked=sides)
            self.values["outpaint"] = sides
            if is_unpadded:
                image, mask = self._node_of("image"), self._node_of("mask")
                feather = self._request.feather or _FEATHER
                bound = edits.with_padding(bound, image, mask, sides, feather)
        if "loras" in self._asked and "loras" not in self._workflow.tokens:
            self.values["loras"] = self._drop_zero_strengths("loras")
            bound = edits.with_loras(bound, self.values["loras"])
        if "controls" in self._asked and not {"controls", CONTROL} & self._workflow.tokens:
            self.values["controls"] = self._drop_zero_strengths("controls")
            bound = edits.with_controls(bound, self._control_nets(self.values["controls"]))
        return bound

    def _token_values(self) -> dict[str, Any]:
        """A value for each token: a part of what was asked, what was asked, or a default."""
        images = {  # a default is a file of the server
            name: self._upload(self._asked[name], name)
            for name, parameter in self._parameters.items()
            if parameter.type == "image" and self._asked.get(name) not in (None, parameter.default)
        }
        parts = {
            name: value
            for name, value in self._split_parameters()
            if name in self._parameters and value is not None
        }
        self._report_missing_parts()
        for name, used in parts.items():
            self._report_replaced(name, used, by=self._task)
        self.values |= parts
        own: dict[str, Any] = {}
        if references := self._asked.get("references", ()):
            own[self._reference_token] = self._upload(references[0], "references.0")
        if self._asked.get("controls") and CONTROL in self._parameters:
            own |= self._own_control_values()
        values = self._defaults | self._asked | parts | images | own
        # A second text encoder gets the text of the first, unless it has its own.
        second = {
            token: values[first]
            for first, token in (("prompt", "prompt_2"), ("negative", "negative_2"))
            if token in self._parameters and token not in values and first in values
        }
        self.values |= second
        return values | second

    def _split_parameters(self) -> Iterator[tuple[str, Any]]:
        """Structured parameters as the values of tokens."""
        if upscale := self._asked.get("upscale"):
            yield UPSCALER, upscale.method
            for name, pixels in zip(
                ("width", "height"), self._sizes.get("image", (0, 0)), strict=True
            ):
                if name in self._parameters:
                    size = max(1, round(pixels * upscale.factor))
                    yield name, self._parameters[name].fit(name, size)
        if restore := self._asked.get("restore"):
            yield FIDELITY, restore.fidelity
            yield RESTORER, restore.model
        if outpaint := self._asked.get("outpaint"):
            yield from outpaint.model_dump().items()

    def _report_missing_parts(self) -> None:
        for name, part, token in _NOTICEABLE_PARTS:
            value: Any = self._asked.get(name)
            if getattr(value, part, None) is not None and token not in self._parameters:
                used = value.model_copy(update={part: None}).model_dump(exclude_none=True)
                self._report_mapped(name, value, used, f"this workflow has a {part} of its own")

    def _report_replaced(self, name: str, used: object, *, by: str) -> None:
        """Report a parameter that gives way to a part of another one."""
        asked = self._asked.get(name)
        if asked not in (None, used, self._parameters[name].default):
            self._report_mapped(name, asked, used, f"{by} determines it")

    def _report_mapped(self, name: str, asked: Any, used: Any, why: str) -> None:
        self.receipt[name] = ParameterOutcome(outcome="mapped", asked=asked, used=used, why=why)

    def _upload(self, path: str, parameter: str) -> str:
        """Plan the upload of a file; returns its name in the graph."""
        upload, image = uploads.plan_upload(path, parameter)
        self.uploads[upload.graph_name] = upload
        self._sizes[parameter] = (image.width, image.height)
        return upload.graph_name

    @property
    def _reference_token(self) -> str:
        """The token that takes the first reference image."""
        return REFERENCE if REFERENCE in self._parameters else "image"

    def _with_model(self, graph: Mapping[str, Any], asked: str) -> Mapping[str, Any]:
        """The graph with the requested model in place of the workflow's own."""
        refuse_other_family(asked, self._workflow.manifest, self._workflows.dirs)
        self.values["model"] = used = server_name(asked)
        if used != asked:
            why = "a ComfyUI server loads models from its own folders"
            self._report_mapped("model", asked, used, why)
        place = edits.place_of_model(graph)
        if place.token not in ("", "model"):
            self.receipt.pop(place.token, None)
            self._report_replaced(place.token, used, by="model")
            self.values.pop(place.token, None)
        return edits.with_model(graph, place, used)

    def _with_addressed_values(self, graph: dict[str, Any]) -> dict[str, Any]:
        for name, value in self._addressed.items():
            address = edits.resolve_address(self._workflow.graph, name)
            graph, used = edits.with_value(graph, address, name, value)
            self.values[name] = used
            self.receipt[name] = ParameterOutcome(outcome="applied", asked=value)
        return graph

    def _drop_zero_strengths(self, name: str) -> tuple[Any, ...]:
        """The LoRAs or control images whose strength is not 0; the receipt mentions the others."""
        asked = self._asked[name]
        used = tuple(one for one in asked if one.strength)
        if len(used) < len(asked):
            self._report_mapped(name, list(asked), list(used), "a strength of 0 has no effect")
        return used

    def _own_control_values(self) -> dict[str, Any]:
        """Values for the tokens of a workflow with its own ControlNet."""
        controls = self._asked["controls"]
        if len(controls) > 1:
            raise RequestError(f"controls: this workflow takes one image, not {len(controls)}.")
        (control,) = controls
        values = {
            CONTROL: self._upload(control.image, "controls.0"),
            "control_strength": control.strength,
            "control_start": control.start,
            "control_end": control.end,
        }
        taken = {name: value for name, value in values.items() if name in self._parameters}
        why = "the workflow has its own ControlNet"
        self._report_mapped("controls", list(controls), [*taken], why)
        return taken

    def _control_nets(self, controls: tuple[Any, ...]) -> list[ControlNetUse]:
        """Each control image with the ControlNet of its kind.

        A ControlNet that patches the model works at all steps, which the receipt mentions.
        """
        known, uses = self._workflows.controls, []
        for number, control in enumerate(controls):
            net = known.get(control.kind)
            if net is None:
                raise RequestError(
                    f"Unknown control {control.kind!r}.{did_you_mean(control.kind, known)}",
                    remedy=f"This backend has: {', '.join(known)}.",
                )
            uses.append(
                ControlNetUse(
                    kind=control.kind,
                    file=net.file,
                    image=self._upload(control.image, f"controls.{number}"),
                    strength=control.strength,
                    start=control.start,
                    end=control.end,
                    union=net.union,
                    patches_model=net.folder == _PATCHES,
                )
            )
        whole = [use.kind for use in uses if use.patches_model and (use.start, use.end) != (0, 1)]
        if whole:
            why = f"the ControlNet of {', '.join(whole)} works at all steps"
            used = [one.model_copy(update={"start": 0.0, "end": 1.0}) for one in controls]
            self._report_mapped("controls", list(controls), used, why)
        return uses

    def _node_of(self, token: str) -> str:
        nodes = nodes_with(self._workflow.graph, token)
        if not nodes:
            raise WorkflowError(f"The workflow {self._workflow.name!r} has no token {token!r}.")
        return nodes[0]


def _as_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value
