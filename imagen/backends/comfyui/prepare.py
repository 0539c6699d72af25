"""From a request to a ticket: values into tokens, pictures to be sent, and the graph cut to fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from imagen.backends.comfyui import uploads
from imagen.backends.comfyui.capabilities import CONTROL, REFERENCE, workflow_capabilities
from imagen.backends.comfyui.models import name_on_server, refuse_other_family
from imagen.backends.comfyui.parts import parts_of, tell_of_lost
from imagen.backends.comfyui.steering import nets, own_control, working
from imagen.core.capabilities import ParameterOutcome, resolve_parameters
from imagen.core.ticket import Ticket
from imagen.errors import RequestError, WorkflowError
from imagen.graphs import Manifest, bind, edits
from imagen.graphs.tokens import nodes_with

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.comfyui.workflows import WorkflowSet
    from imagen.core.request import Request
    from imagen.graphs import Workflow

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


def prepared(request: Request, repertoire: WorkflowSet, *, id: str, backend: str) -> Ticket:
    """The ticket of one request, of which nothing has been sent.

    Raises RequestError for what can't be asked, and WorkflowError for a graph that can't run.
    """
    workflow = repertoire.for_task(request.task, request.preprocess)
    work = _Preparation(request, workflow, repertoire)
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
            _WORKFLOW: repertoire.reference,
            **uploads.written(work.uploads),
        },
    )


def manifest_of(ticket: Ticket, repertoire: WorkflowSet) -> Manifest:
    """What is known of the workflow that a ticket was prepared with; the ticket has its graph.

    Nothing, where that workflow is gone or the backend has another one by now.
    """
    task = str(ticket.engine.get(_TASK, ticket.request.task))  # defaults may make it look another
    try:
        workflow = repertoire.for_task(task, ticket.request.preprocess)
    except (RequestError, WorkflowError):
        return Manifest()
    return workflow.manifest if ticket.workflow in ("", workflow.name) else Manifest()


class _Preparation:
    """One request, and the workflow that will do it."""

    def __init__(self, request: Request, workflow: Workflow, repertoire: WorkflowSet) -> None:
        self._task = request.task
        self._workflow = workflow
        self._repertoire = repertoire
        self._capabilities = workflow_capabilities(repertoire, request.task, workflow)
        self._parameters = self._capabilities.parameters
        self._addressed = {n: v for n, v in request.extra.items() if self._is_address(n)}
        extra = {n: v for n, v in request.extra.items() if n not in self._addressed}
        self._request = request.model_copy(update={"extra": extra})
        self._asked, self.receipt = resolve_parameters(self._request, self._capabilities)
        _refuse_other_work(self._task, self._parameters, workflow)
        self.values: dict[str, Any] = {}
        """What will be used, by the request's names."""
        self._sizes: dict[str, tuple[int, int]] = {}
        self.uploads: dict[str, uploads.Upload] = {}
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
        parts = parts_of(self._asked, self._parameters, self._sizes.get("image", (0, 0)))
        tell_of_lost(self._asked, self._parameters, self.receipt)
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
        upload, picture = uploads.upload_of(path, what)
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
        return own_control(controls, self._parameters, self._uploaded, self.receipt)

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
        self.values["model"] = used = name_on_server(asked)
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
            self.values["loras"] = working(self._asked["loras"], "loras", self.receipt)
            graph = edits.with_loras(graph, self.values["loras"])
        if "controls" in self._asked and not {"controls", CONTROL} & self._workflow.tokens:
            used = working(self._asked["controls"], "controls", self.receipt)
            self.values["controls"] = used
            found = nets(used, self._repertoire.controls, self._uploaded, self.receipt)
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
