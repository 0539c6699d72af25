"""The Replicate adapter: one model on replicate.com as one backend."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from imagen.backends.base import Adapter, Health, Model, tag_errors_with_backend
from imagen.backends.model_choice import ChosenModel
from imagen.backends.replicate import input_schema
from imagen.backends.replicate.capabilities import build_capabilities
from imagen.backends.replicate.config import (
    MODEL_FORMS,
    ReplicateConfig,
    is_model_reference,
    parse_model_reference,
)
from imagen.backends.replicate.input_names import map_inputs
from imagen.backends.replicate.input_schema import parse_inputs
from imagen.backends.replicate.outputs import estimate_cost
from imagen.backends.replicate.payload import bind_input, resolve_wrapping_seed
from imagen.backends.replicate.pricing import load_price_table
from imagen.core.capabilities import ParameterOutcome
from imagen.core.image_file import read_image_file
from imagen.core.text import one_line
from imagen.core.ticket import Ticket, new_id
from imagen.errors import BackendError, ConfigError, ImagenError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imagen.backends.replicate.client import ReplicateClient
    from imagen.backends.replicate.input_names import InputMapping
    from imagen.backends.replicate.input_schema import ModelSchema
    from imagen.backends.replicate.payload import BoundInput
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress, Result


class Replicate:
    """One model on Replicate.

    What it takes follows from the model's input schema. Where none is known yet, it is asked for
    once, which costs nothing; from then on `capabilities` and `prepare` reach nobody.
    """

    def __init__(self, config: ReplicateConfig, *, new_id: Callable[[], str] = new_id) -> None:
        self._config = config
        self._new_id = new_id
        self._client: ReplicateClient | None = None
        self._known: ModelSchema | None = None
        self._others: dict[str, Replicate] = {}
        """Backends for the models that requests have named."""

    @property
    def engine(self) -> str:
        """The API: its machines have no memory that we could fill."""
        return f"replicate {self._config.model}"

    def capabilities(self, task: Task = "text-to-image", model: str | None = None) -> Capabilities:
        return self._with(model)._offered(task)

    def _offered(self, task: Task) -> Capabilities:
        return build_capabilities(self._vocabulary(), task, self._config.parameters)

    def prepare(self, request: Request) -> Ticket:
        """Bind the model's input; faults of the request are found here, before anything is paid."""
        asked = request.model
        engine = self._with(asked)
        if asked is None:
            return engine._prepared(request)
        if not is_model_reference(asked):
            return _with_own_input(engine._prepared(_in_own_input(request)), asked)
        left_out = () if engine is self else _given(self._config)
        chosen = ChosenModel(config=engine._config, name=asked, left_out=left_out)
        return chosen.put_into(engine._prepared(request), asked)

    def _with(self, model: str | None) -> Replicate:
        """This backend, or one like it for the model that a request names.

        Raises RequestError for what names no model of Replicate's. Where the backend's own model
        has an input called `model`, a value for that is meant.
        """
        if model is None or model == self._config.model:
            return self
        if not is_model_reference(model):
            if _OWN_INPUT not in self._vocabulary().own:
                raise RequestError(
                    f"model must look like {MODEL_FORMS}, not {one_line(model)!r}.",
                    remedy="https://replicate.com/explore lists models.",
                )
            return self
        if model not in self._others:
            changes = {"model": model, **_NOTHING}
            self._others[model] = Replicate(self._config.model_copy(update=changes))
        return self._others[model]

    def _prepared(self, request: Request) -> Ticket:
        capabilities = self._offered(request.task)
        asked, receipt = resolve_wrapping_seed(request, capabilities)
        parameters = capabilities.parameters.items()
        defaults = {name: p.default for name, p in parameters if p.default is not None}
        known, vocabulary = self._kept(), self._vocabulary()
        bound = bind_input(vocabulary, defaults | asked, receipt)
        pixels = list(_pixels(vocabulary, bound))
        payload = {
            "model": known.model,
            "input": bound.input,
            "files": bound.files,
            "input_pixels": pixels,
            "hardware": known.hardware,
        }
        return Ticket(
            id=self._new_id(),
            backend=self._config.name,
            request=request.exactly(bound.values),
            receipt=bound.receipt,
            payload={name: value for name, value in payload.items() if value or name == "input"},
            estimate=estimate_cost(known, bound, pixels),
        )

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        return self._with(ticket.request.model)._collected(ticket, on_progress)

    def _collected(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        from imagen.backends.replicate.job import ReplicateJob

        self._known = self._known or input_schema.load_schema(self._config)
        with tag_errors_with_backend(self._config.name):
            try:
                result = ReplicateJob(ticket, self._informed(), self._config, on_progress).result()
            except BackendError:
                self._refresh(is_refused=True)
                raise
        self._refresh()
        return result

    def check(self) -> Health:
        from imagen.backends.replicate.capabilities import check_health

        try:
            return check_health(self.client(), self._config)
        except ImagenError as error:
            remedies = tuple(error.remedy.splitlines()) or (
                f"See https://replicate.com/{self._config.reference.model}.",
            )
            return Health(ok=False, summary=error.message, remedies=remedies)

    def models(self) -> tuple[Model, ...]:
        """The configured one, and those whose price is known: Replicate has thousands."""
        priced = (price.model for price in load_price_table().prices)
        return tuple(
            Model(
                kind="checkpoint",
                name=name,
                family=parse_model_reference(name).family,
                is_default=name == self._config.model,
            )
            for name in dict.fromkeys((self._config.model, *priced))
        )

    def free(self) -> None:
        """Holds no memory of ours."""

    def close(self) -> None:
        for other in self._others.values():
            other.close()
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def client(self) -> ReplicateClient:
        """The connection to the API, made when it is first needed."""
        if self._client is None:
            from imagen.backends.replicate.client import ReplicateClient

            self._client = ReplicateClient(self._config)
        return self._client

    def _kept(self) -> ModelSchema:
        """What is known of the model; asked for where nothing is."""
        if self._known is None:
            self._known = input_schema.load_schema(self._config) or self._asked()
        return self._known

    def _asked(self) -> ModelSchema:
        from imagen.backends.replicate.errors import ATTEMPTS
        from imagen.net.http import is_timeout
        from imagen.net.retry import retry

        with tag_errors_with_backend(self._config.name):
            ask = partial(self.client().page, self._config.reference)
            return input_schema.save_schema(
                retry(ask, attempts=ATTEMPTS, unless=is_timeout), self._config
            )

    def _vocabulary(self) -> InputMapping:
        known = self._kept()
        found = map_inputs(known.model, parse_inputs(known.schemas))
        if not found.tasks:
            raise ConfigError(
                f"{known.model} takes neither a prompt nor a picture: it can't be a backend.",
                remedy=f"Its inputs: {', '.join(found.inputs) or 'none'}.",
            )
        return found

    def _informed(self) -> ReplicateClient:
        """The connection, with our names of the inputs as far as they are known."""
        client = self.client()
        if self._known is not None:
            fields = self._vocabulary().fields.items()
            client.ours = {theirs.name: ours for ours, theirs in fields}
        return client

    def _refresh(self, *, is_refused: bool = False) -> None:
        """Ask for the schema anew, where it is old or the API has refused one of its inputs."""
        known, client = self._known, self._client
        if client is None or self._config.input_schema is not None:
            return
        is_stale = known is not None and known.is_stale() and not is_refused
        if client.is_outdated or is_stale:
            with suppress(ImagenError):
                self._known = input_schema.save_schema(
                    client.page(self._config.reference), self._config
                )
                client.is_outdated = False


_OWN_INPUT = "input_model"
"""What a request calls an input that the model itself calls `model`."""
_NOTHING: Mapping[str, Any] = {"parameters": {}, "input_schema": None}
"""The keys of a block that say something of its own model, as if they were not there."""


def _given(config: ReplicateConfig) -> tuple[str, ...]:
    return tuple(key for key in _NOTHING if getattr(config, key))


def _in_own_input(request: Request) -> Request:
    """The request with its `model` as a value for the model's own input of that name."""
    return request.with_values({"model": None, _OWN_INPUT: request.model})


def _with_own_input(ticket: Ticket, asked: str) -> Ticket:
    fate = ParameterOutcome(
        outcome="mapped", asked=asked, used={_OWN_INPUT: asked}, why="the model's input"
    )
    receipt = {name: one for name, one in ticket.receipt.items() if name != _OWN_INPUT}
    return ticket.model_copy(update={"receipt": receipt | {"model": fate}})


def _pixels(vocabulary: InputMapping, bound: BoundInput) -> Iterator[int]:
    """The pixels of each picture that goes in; raises RequestError for one that can't be read."""
    for name, paths in bound.files.items():
        if vocabulary.inputs[name].is_picture:
            for path in [paths] if isinstance(paths, str) else paths:
                picture = read_image_file(path, name)
                yield picture.width * picture.height


adapter = Adapter(
    ReplicateConfig,
    Replicate,
    summary="Runs a model in the cloud of replicate.com, for money.",
    is_service=True,
)
