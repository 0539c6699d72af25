"""The Replicate adapter: one model on replicate.com as a backend."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from imagen.backends.base import Adapter, Health, Model, tag_errors_with_backend
from imagen.backends.model_choice import ChosenModel
from imagen.backends.replicate.capabilities import build_capabilities, check_health
from imagen.backends.replicate.config import (
    MODEL_FORMS,
    ReplicateConfig,
    is_model_reference,
    parse_model_reference,
)
from imagen.backends.replicate.input_names import map_inputs
from imagen.backends.replicate.input_schema import load_schema, parse_inputs, save_schema
from imagen.backends.replicate.payload import bind_input, resolve_wrapping_seed
from imagen.backends.replicate.pricing import (
    PredictionUsage,
    calculate_cost,
    find_price,
    load_price_table,
)
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

_INPUT_MODEL = "input_model"
"""The parameter for a model's own input that is called `model`."""
_MODEL_SETTINGS: Mapping[str, Any] = {"parameters": {}, "input_schema": None}
"""The keys of a block that belong to its own model, with their empty values."""


class Replicate:
    """One model on Replicate.

    Its capabilities follow from its input schema. An unknown schema is requested once, which costs
    nothing; from then on `capabilities` and `prepare` make no request.
    """

    def __init__(self, config: ReplicateConfig, *, new_id: Callable[[], str] = new_id) -> None:
        self._config = config
        self._new_id = new_id
        self._client: ReplicateClient | None = None
        self._schema: ModelSchema | None = None
        self._others: dict[str, Replicate] = {}
        """Backends for the models that requests have named."""

    @property
    def engine(self) -> str:
        return f"replicate {self._config.model}"

    def capabilities(self, task: Task = "text-to-image", model: str | None = None) -> Capabilities:
        backend = self._with_model(model)
        return build_capabilities(backend._mapping(), task, backend._config.parameters)

    def prepare(self, request: Request) -> Ticket:
        """Bind the model's input; faults of the request are found before anything is paid."""
        model = request.model
        backend = self._with_model(model)
        if model is None:
            return backend._prepare(request)
        if is_model_reference(model):
            is_own = backend is self
            settings = (key for key in _MODEL_SETTINGS if getattr(self._config, key))
            left_out = () if is_own else tuple(settings)
            chosen = ChosenModel(config=backend._config, name=model, left_out=left_out)
            return chosen.put_into(backend._prepare(request), model)
        # The value of the model's own input called `model`.
        ticket = backend._prepare(request.with_values({"model": None, _INPUT_MODEL: model}))
        outcome = ParameterOutcome(
            outcome="mapped", asked=model, used={_INPUT_MODEL: model}, why="the model's input"
        )
        receipt = {name: one for name, one in ticket.receipt.items() if name != _INPUT_MODEL}
        return ticket.model_copy(update={"receipt": receipt | {"model": outcome}})

    def _with_model(self, model: str | None) -> Replicate:
        """This backend, or one for the model that a request names.

        A name of another form is a value for the model's own input called `model`; raises
        RequestError where it has no such input.
        """
        if model is None or model == self._config.model:
            return self
        if not is_model_reference(model):
            if _INPUT_MODEL not in self._mapping().extra:
                raise RequestError(
                    f"model must look like {MODEL_FORMS}, not {one_line(model)!r}.",
                    remedy="https://replicate.com/explore lists models.",
                )
            return self
        if model not in self._others:
            changes = {"model": model, **_MODEL_SETTINGS}
            self._others[model] = Replicate(self._config.model_copy(update=changes))
        return self._others[model]

    def _prepare(self, request: Request) -> Ticket:
        schema, mapping = self._load_schema(), self._mapping()
        capabilities = build_capabilities(mapping, request.task, self._config.parameters)
        values, receipt = resolve_wrapping_seed(request, capabilities)
        parameters = capabilities.parameters.items()
        defaults = {name: p.default for name, p in parameters if p.default is not None}
        bound = bind_input(mapping, defaults | values, receipt)
        pixels = list(_input_pixels(bound))
        images = int(bound.values.get("count") or 1)
        width, height = (int(bound.values.get(side) or 0) for side in ("width", "height"))
        is_size_known = bool(mapping.size.sides and width and height)
        usage = PredictionUsage(
            images=images,
            input_pixels=pixels,
            output_pixels=[width * height] * images if is_size_known else None,
        )
        price = find_price(schema.model, bound.input, hardware=schema.hardware)
        payload = {
            "model": schema.model,
            "input": bound.input,
            "files": bound.files,
            "input_pixels": pixels,
            "hardware": schema.hardware,
        }
        return Ticket(
            id=self._new_id(),
            backend=self._config.name,
            request=request.exactly(bound.values),
            receipt=bound.receipt,
            payload={name: value for name, value in payload.items() if value or name == "input"},
            estimate=calculate_cost(price, usage),
        )

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        from imagen.backends.replicate.job import ReplicateJob

        backend = self._with_model(ticket.request.model)
        if backend is not self:
            return backend.collect(ticket, on_progress)
        self._schema = self._schema or load_schema(self._config)
        with tag_errors_with_backend(self._config.name):
            client = self.client()
            if self._schema is not None:
                fields = self._mapping().fields.items()
                client.field_names = {model_input.name: field for field, model_input in fields}
            try:
                result = ReplicateJob(ticket, client, self._config, on_progress).run()
            except BackendError:
                if client.has_rejected_input:
                    self._refresh_schema(client)
                raise
        is_stale = self._schema is not None and self._schema.is_stale()
        if client.has_rejected_input or is_stale:
            self._refresh_schema(client)
        return result

    def check(self) -> Health:
        try:
            return check_health(self.client(), self._config)
        except ImagenError as error:
            remedies = tuple(error.remedy.splitlines()) or (
                f"See https://replicate.com/{self._config.reference.model}.",
            )
            return Health(ok=False, summary=error.message, remedies=remedies)

    def models(self) -> tuple[Model, ...]:
        """The configured model and those with a known price: Replicate has thousands."""
        priced = (price.model for price in load_price_table().prices)
        return tuple(
            Model(
                kind="checkpoint",
                name=name,
                family=parse_model_reference(name).family,
                is_default=name == self._config.model,
                usd=_price_of_image(name),
            )
            for name in dict.fromkeys((self._config.model, *priced))
        )

    def free(self) -> None:
        """Nothing to free: the models run on Replicate's machines."""

    def close(self) -> None:
        for other in self._others.values():
            other.close()
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def client(self) -> ReplicateClient:
        """The connection to the API, opened on first use."""
        if self._client is None:
            from imagen.backends.replicate.client import ReplicateClient

            self._client = ReplicateClient(self._config)
        return self._client

    def _load_schema(self) -> ModelSchema:
        """The model's schema, requested where none is known."""
        if self._schema is None:
            self._schema = load_schema(self._config)
        if self._schema is None:
            from imagen.backends.replicate.errors import ATTEMPTS
            from imagen.net.http import is_timeout
            from imagen.net.retry import retry

            with tag_errors_with_backend(self._config.name):
                ask = partial(self.client().model_info, self._config.reference)
                info = retry(ask, attempts=ATTEMPTS, unless=is_timeout)
                self._schema = save_schema(info, self._config)
        return self._schema

    def _refresh_schema(self, client: ReplicateClient) -> None:
        """Request the schema anew, unless it is the user's file."""
        if self._config.input_schema is None:
            with suppress(ImagenError):
                info = client.model_info(self._config.reference)
                self._schema = save_schema(info, self._config)
                client.has_rejected_input = False

    def _mapping(self) -> InputMapping:
        schema = self._load_schema()
        mapping = map_inputs(schema.model, parse_inputs(schema.schemas))
        if not mapping.tasks:
            raise ConfigError(
                f"{schema.model} takes neither a prompt nor an image, so imagen cannot use it.",
                remedy=f"Its inputs: {', '.join(mapping.inputs) or 'none'}.",
            )
        return mapping


def _input_pixels(bound: BoundInput) -> Iterator[int]:
    """The pixels of each input image; raises RequestError for one that cannot be read."""
    for name, paths in bound.files.items():
        if bound.mapping.inputs[name].is_image:
            for path in [paths] if isinstance(paths, str) else paths:
                image = read_image_file(path, name)
                yield image.width * image.height


def _price_of_image(model: str) -> float | None:
    """What an image of a model costs, where that does not depend on its inputs."""
    prices = [one for one in load_price_table().prices if one.model == model]
    (only,) = prices if len(prices) == 1 else (None,)
    return only.usd if only is not None and only.unit == "image" and not only.when else None


adapter = Adapter(
    ReplicateConfig,
    Replicate,
    summary="Runs a model in the cloud of replicate.com, for money.",
    label="Replicate",
    is_service=True,
)
