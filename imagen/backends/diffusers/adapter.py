"""One diffusers backend: a model on this machine's own card, or its processor."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING

from imagen.backends.base import Adapter, Health
from imagen.backends.diffusers import capabilities as abilities
from imagen.backends.diffusers.config import DiffusersConfig
from imagen.backends.diffusers.model_source import read_source
from imagen.backends.diffusers.plan import plan
from imagen.core.ticket import Ticket, new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.backends.base import Model
    from imagen.backends.diffusers.model_source import Source
    from imagen.backends.model_choice import ChosenModel
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress, Result


class Diffusers:
    """One model; nothing of torch is imported before `check` or `collect`."""

    def __init__(self, config: DiffusersConfig, *, new_id: Callable[[], str] = new_id) -> None:
        self._config = config
        self._new_id = new_id
        self._chosen: dict[str, tuple[Source, ChosenModel[DiffusersConfig]]] = {}
        """The models that requests have named: `models_dir` may take long to read."""

    @property
    def engine(self) -> str:
        """All backends on one device share the one pipeline that this process keeps there."""
        return f"diffusers {self._config.device}"

    @cached_property
    def source(self) -> Source:
        return read_source(self._config)

    def capabilities(self, task: Task = "text-to-image", model: str | None = None) -> Capabilities:
        source, config, _ = self._with(model)
        return abilities.capabilities(task, source, config)

    def prepare(self, request: Request) -> Ticket:
        source, config, chosen = self._with(request.model)
        made = plan(request, source, config)
        ticket = Ticket(
            id=self._new_id(),
            backend=self._config.name,
            request=made.request,
            receipt=made.receipt,
            payload=made.payload(source),
        )
        return ticket if chosen is None else chosen.put_into(ticket, str(request.model))

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        """Draw it; of a ticket whose process died nothing is left, so it is drawn again."""
        from imagen.backends.diffusers.errors import require_packages

        require_packages()
        from imagen.backends.diffusers.run import Run

        source, config, _ = self._with(ticket.request.model)
        made = plan(ticket.request, source, config)
        return Run(ticket, made, source, config).result(on_progress)

    def _with(
        self, model: str | None
    ) -> tuple[Source, DiffusersConfig, ChosenModel[DiffusersConfig] | None]:
        """The block's own model, or the one that a request names; and the block that fits it."""
        if model is None:
            return self.source, self._config, None
        from imagen.backends.diffusers.choosing import choose_model

        if model not in self._chosen:
            found = choose_model(model, self._config)
            self._chosen[model] = read_source(found.config), found
        source, chosen = self._chosen[model]
        return source, chosen.config, chosen

    def check(self) -> Health:
        from imagen.backends.diffusers.check import health

        return health(self._config)

    def models(self) -> tuple[Model, ...]:
        from imagen.backends.diffusers.offers import offers

        return tuple(offers(self._config, self.source))

    def free(self) -> None:
        """Give the card back, which only a run can have taken."""
        run = sys.modules.get("imagen.backends.diffusers.run")
        if run is not None:
            run.KEPT.drop()

    def close(self) -> None:
        """The pipeline stays loaded for the next call of this process."""


adapter = Adapter(
    DiffusersConfig,
    Diffusers,
    summary="Runs models on this machine's own card, with torch.",
)
