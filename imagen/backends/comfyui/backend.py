"""The ComfyUI adapter: any graph that a ComfyUI server can run, as one backend."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from imagen.backends.base import Adapter, Health
from imagen.backends.comfyui.config import ComfyUIConfig, base
from imagen.capabilities import settle
from imagen.errors import BackendError, ImagenError, WorkflowError
from imagen.graphs import bind, find
from imagen.ticket import Ticket, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagen.backends.base import Model
    from imagen.backends.comfyui.client import Client
    from imagen.capabilities import Capabilities
    from imagen.graphs import Workflow
    from imagen.request import Request, Task
    from imagen.result import OnProgress, Result


class ComfyUI:
    """One workflow on one server."""

    def __init__(self, config: ComfyUIConfig, *, new_id: Callable[[], str] = new_id) -> None:
        self._config = config
        self._new_id = new_id
        self._client: Client | None = None

    @property
    def engine(self) -> str:
        """The server: it has one memory, whatever workflows run there."""
        return f"comfyui {base(self._config.url)}"

    @cached_property
    def workflow(self) -> Workflow:
        return find(self._config.workflow, self._config.workflow_dirs)

    def capabilities(self, task: Task = "text-to-image") -> Capabilities:  # noqa: ARG002
        return self.workflow.capabilities(self._config.parameters)

    def prepare(self, request: Request) -> Ticket:
        """Bind the workflow; faults of its graph are found here, before anything is sent."""
        capabilities = self.capabilities()
        asked, receipt = settle(request, capabilities)
        values = _defaults(capabilities) | asked
        graph = bind(self.workflow.graph, {name: _plain(value) for name, value in values.items()})
        _refuse_faults(self.workflow, graph)
        return Ticket(
            id=self._new_id(),
            backend=self._config.name,
            request=request.exactly(values),
            receipt=receipt,
            payload=graph,
        )

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        from imagen.backends.comfyui.run import Run

        try:
            run = Run(ticket, self.client(), self._config, self.workflow.manifest, on_progress)
            return run.result()
        except BackendError as error:
            error.backend = self._config.name
            raise

    def check(self) -> Health:
        from imagen.backends.comfyui.check import health

        try:
            return health(self.client(), self.workflow, self._config)
        except ImagenError as error:
            return Health(ok=False, summary=error.message, remedies=_remedies(error))

    def models(self) -> tuple[Model, ...]:
        return ()

    def free(self) -> None:
        """Best effort: a server that is gone holds no memory."""
        from contextlib import suppress

        with suppress(ImagenError):
            self.client().free()

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def client(self) -> Client:
        """The connection to the server, made when it is first needed."""
        if self._client is None:
            from imagen.backends.comfyui.client import Client

            self._client = Client(self._config)
        return self._client


def _defaults(capabilities: Capabilities) -> dict[str, Any]:
    parameters = capabilities.parameters.items()
    return {name: known.default for name, known in parameters if known.default is not None}


def _plain(value: Any) -> Any:
    """As JSON has it: a graph holds no values of ours."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _refuse_faults(workflow: Workflow, graph: Mapping[str, Any]) -> None:
    from imagen.graphs.structure import structural_faults

    # Which nodes give something away only the server knows: here each may.
    faults = structural_faults(graph, workflow.manifest.output or tuple(graph))
    if faults:
        lines = "\n  ".join(
            [f"The workflow {workflow.name!r} can't run:"] + [f.sentence for f in faults]
        )
        remedy = "\n".join(dict.fromkeys(fault.remedy for fault in faults if fault.remedy))
        raise WorkflowError(lines, remedy=remedy)


def _remedies(error: ImagenError) -> tuple[str, ...]:
    return tuple(error.remedy.splitlines()) or ("See what the server says of it in its own log.",)


def _detect(url: str) -> Mapping[str, Mapping[str, Any]]:
    from imagen.backends.comfyui.check import detect

    return detect(url)


adapter = Adapter(
    ComfyUIConfig,
    ComfyUI,
    summary="Runs workflows on a ComfyUI server, yours or another's.",
    detect=_detect,
)
