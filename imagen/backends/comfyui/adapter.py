"""The ComfyUI adapter: one backend for any workflow that a ComfyUI server can run."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from imagen.backends.base import Adapter, Health, tag_errors_with_backend
from imagen.backends.comfyui.config import ComfyUIConfig, base_url
from imagen.core.ticket import new_id
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.backends.base import Detection, Model
    from imagen.backends.comfyui.client import ComfyClient
    from imagen.backends.comfyui.workflows import WorkflowSet
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress, Result
    from imagen.core.ticket import Ticket
    from imagen.graphs import Workflow


class ComfyUIBackend:
    """The workflows of one configuration block on one server."""

    def __init__(self, config: ComfyUIConfig, *, new_id: Callable[[], str] = new_id) -> None:
        self._config = config
        self._new_id = new_id
        self._client: ComfyClient | None = None

    @property
    def engine(self) -> str:
        """The server: it has one memory, whatever workflows run there."""
        return f"comfyui {base_url(self._config.url)}"

    @cached_property
    def workflows(self) -> WorkflowSet:
        """Which workflow does which task."""
        from imagen.backends.comfyui.workflows import WorkflowSet

        return WorkflowSet(self._config)

    @property
    def workflow(self) -> Workflow:
        """The workflow that the block names."""
        return self.workflows.base

    def capabilities(
        self,
        task: Task = "text-to-image",
        model: str | None = None,  # noqa: ARG002 - the workflow decides
    ) -> Capabilities:
        from imagen.backends.comfyui.capabilities import capabilities

        return capabilities(self.workflows, task)

    def prepare(self, request: Request) -> Ticket:
        """Bind the workflow; faults of its graph are found here, before anything is sent."""
        from imagen.backends.comfyui.prepare import prepare_ticket

        return prepare_ticket(request, self.workflows, id=self._new_id(), backend=self._config.name)

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        from imagen.backends.comfyui.job import ComfyJob
        from imagen.backends.comfyui.prepare import manifest_of

        with tag_errors_with_backend(self._config.name):
            manifest = manifest_of(ticket, self.workflows)
            return ComfyJob(ticket, self.client(), self._config, manifest, on_progress).run()

    def check(self) -> Health:
        from imagen.backends.comfyui.capabilities import check_health

        try:
            return check_health(self.client(), self.workflows)
        except ImagenError as error:
            remedies = tuple(error.remedy.splitlines()) or ("See the server's own log.",)
            return Health(ok=False, summary=error.message, remedies=remedies)

    def models(self) -> tuple[Model, ...]:
        from imagen.backends.comfyui.models import list_server_models

        with tag_errors_with_backend(self._config.name):
            dirs, default = self._config.workflow_dirs, self.workflows.default_model
            return list_server_models(self.client(), dirs, default)

    def count_jobs(self) -> int:
        with tag_errors_with_backend(self._config.name):
            queue = self.client().queue()
        return len(queue.running) + len(queue.pending)

    def free(self) -> None:
        """Best effort: a server that is gone holds no memory."""
        from contextlib import suppress

        with suppress(ImagenError):
            self.client().free()

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def client(self) -> ComfyClient:
        """The client of the server, created when it is first needed."""
        if self._client is None:
            from imagen.backends.comfyui.client import ComfyClient

            self._client = ComfyClient(self._config)
        return self._client


def _detect(url: str) -> Detection:
    from imagen.backends.comfyui.capabilities import detect

    return detect(url)


adapter = Adapter(
    ComfyUIConfig,
    ComfyUIBackend,
    summary="Runs workflows on a local or remote ComfyUI server.",
    label="ComfyUI",
    detect=_detect,
)
