"""The adapter of the OpenAI Images API, for OpenAI itself and for any server that speaks it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from imagen.backends.base import (
    Adapter,
    Detection,
    Health,
    MissingCapability,
    Model,
    tag_errors_with_backend,
)
from imagen.backends.openai.capabilities import build_body, build_capabilities
from imagen.backends.openai.config import DEFAULT_URL, KEY_VARIABLE, OpenAIConfig, ServerKind
from imagen.backends.openai.models import estimate_cost, find_family, is_image_model
from imagen.core.capabilities import ParameterOutcome, resolve_parameters
from imagen.core.image_file import read_image_file
from imagen.core.json_values import as_text
from imagen.core.request import USUAL_SIDE
from imagen.core.text import one_line
from imagen.core.ticket import Estimate, Ticket, new_id
from imagen.errors import BackendError, ImagenError, LetGo, RequestError
from imagen.net.urls import is_private_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.openai.client import ImagesClient
    from imagen.backends.openai.models import ImagesFamily
    from imagen.core.capabilities import Capabilities, Receipt
    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress, Result

_DETECT_SECONDS = 1.0
_USUAL_URLS = ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8000/v1")
"""Where LocalAI and vLLM listen by default. sd-server is found by its own adapter."""
_OWNERS: Mapping[str, ServerKind] = {"vllm": "vllm", "localai": "localai"}


class OpenAI:
    """One server of the Images API."""

    def __init__(self, config: OpenAIConfig) -> None:
        self._config = config
        self._client: ImagesClient | None = None

    @property
    def engine(self) -> str:
        return self._config.url.rstrip("/")

    def capabilities(self, task: Task = "text-to-image", model: str | None = None) -> Capabilities:
        family = find_family(model or self._config.model_name)
        return build_capabilities(task, self._config, family)

    def prepare(self, request: Request) -> Ticket:
        config, model = self._config, request.model or self._config.model_name
        family = find_family(model)
        capabilities = build_capabilities(request.task, config, family)
        if request.task in ("inpaint", "outpaint") and request.image is None:
            raise RequestError(f"{request.task} needs an image.")
        if len(request.references) > family.references:
            raise RequestError(f"references: {model} takes at most {family.references} images.")
        requested, receipt = resolve_parameters(request, capabilities)
        parameters = capabilities.parameters.items()
        defaults = {name: one.default for name, one in parameters if one.default is not None}
        values = defaults | requested
        receipt = _choose_size(values, requested, receipt, family)
        return Ticket(
            id=new_id(),
            backend=config.name,
            request=request.exactly(values),
            receipt=receipt,
            payload=build_body(values, model, config, family),
            estimate=self._estimate(model, values),
        )

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        from imagen.backends.openai.client import ImagesClient
        from imagen.backends.openai.job import ImagesJob

        with tag_errors_with_backend(self._config.name):
            client = ImagesClient(self._config)  # of its own: to cancel is to close it
            try:
                result = ImagesJob(ticket, client, self._config, on_progress).run()
            except LetGo:  # the request goes on in its thread
                raise
            except BaseException:
                client.close()
                raise
            client.close()
            return result

    def check(self) -> Health:
        config = self._config
        try:
            names = [model.name for model in self.models()]
        except ImagenError as error:
            remedies = tuple(error.remedy.splitlines()) or (
                config.hint or f"Start the server, or correct backends.{config.name}.url.",
            )
            return Health(ok=False, summary=error.message, remedies=remedies)
        if config.model and config.model not in names:
            remedy = f"See: imagen models --backend {config.name}."
            summary = f"{self.engine} does not list the model {config.model}."
            return Health(ok=False, summary=summary, remedies=(remedy,))
        return Health(ok=True, facts=(("models", str(len(names))),))

    def models(self) -> tuple[Model, ...]:
        """What the server lists; of OpenAI's models, those that draw."""
        with tag_errors_with_backend(self._config.name):
            names = [one_line(as_text(one.get("id"))) for one in self.client().list_models()]
        default = self._config.model_name
        return tuple(
            Model(kind="checkpoint", name=name, is_default=name == default)
            for name in names
            if name and (is_image_model(name) or not self._config.is_openai)
        )

    def free(self) -> None:
        """Not possible with this API."""

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def client(self) -> ImagesClient:
        """The connection, opened on first use."""
        if self._client is None:
            from imagen.backends.openai.client import ImagesClient

            self._client = ImagesClient(self._config)
        return self._client

    def _estimate(self, model: str, values: Mapping[str, Any]) -> Estimate | None:
        """None for a server of one's own, which charges nothing."""
        if self._config.is_openai:
            size = f"{values['width']}x{values['height']}"
            return estimate_cost(model, size, str(values.get("quality")), values["count"])
        if is_private_host(self._config.url):
            return None
        return Estimate(basis=f"imagen does not know the prices of {self.engine}.")


def _choose_size(
    values: dict[str, Any], requested: Mapping[str, Any], receipt: Receipt, family: ImagesFamily
) -> Receipt:
    """Set the size in `values` to one that the model has; returns the receipt with what changed."""
    width, height = (requested.get(side) for side in ("width", "height"))
    source = values.get("image") or next(iter(values.get("references") or ()), None)
    if width is None and height is None and source is not None:
        image = read_image_file(source)
        width, height = image.width, image.height
    width = width or height or values.get("width") or USUAL_SIDE
    height = height or width
    chosen = dict(zip(("width", "height"), family.nearest_size(width, height), strict=True))
    values |= chosen
    changed = {
        side: ParameterOutcome(
            outcome="mapped",
            asked=receipt[side].asked,
            used=used,
            why="the nearest size that the model has",
        )
        for side, used in chosen.items()
        if side in requested and requested[side] != used
    }
    return receipt | changed


def detect(address: str, *, usual: tuple[str, ...] = _USUAL_URLS) -> Detection:
    """A block for OpenAI where its key is set, and for the servers at an address or the usual ones.

    Raises Unavailable where an address is given and no server answers there.
    """
    blocks: dict[str, dict[str, Any]] = {}
    left_out: list[MissingCapability] = []
    if not address:
        if os.environ.get(KEY_VARIABLE):
            blocks["openai"] = {"type": "openai", "url": DEFAULT_URL}
        else:
            left_out.append(MissingCapability(what="openai", why=f"{KEY_VARIABLE} is not set."))
    if address and urlsplit(address).path in ("", "/"):
        address = f"{address.rstrip('/')}/v1"
    for url in (address,) if address else usual:
        try:
            kind, model = _find_server(url, 10 if address else _DETECT_SECONDS)
        except BackendError as error:
            if address:
                raise
            left_out.append(MissingCapability(what="openai", why=error.message))
            continue
        if kind == "imagen" and not address:  # which would send its jobs to itself
            why = f"{url} is imagen's own server on this machine."
            left_out.append(MissingCapability(what="imagen", why=why))
            continue
        name = kind if kind != "other" else "images-api"
        block = {"type": "openai", "url": url, "server": kind, "model": model}
        blocks.setdefault(name, {key: value for key, value in block.items() if value})
    return Detection(blocks, tuple(left_out))


def _find_server(url: str, seconds: float) -> tuple[ServerKind, str]:
    """What answers at a URL, and its model if it has only one."""
    from imagen.backends.openai.client import ImagesClient

    client = ImagesClient(OpenAIConfig(name="openai", url=url, connect_seconds=seconds))
    try:
        models = client.list_models()
        if not client.has_images_api():
            raise BackendError(f"{url} has no Images API.")
        owners = [as_text(model.get("owned_by")).lower() for model in models]
        kind = next((_OWNERS[owner] for owner in owners if owner in _OWNERS), None)
        if kind is None and client.is_imagen():
            kind = "imagen"
    finally:
        client.close()
    only = as_text(models[0].get("id")) if len(models) == 1 else ""
    return kind or "other", one_line(only)


adapter = Adapter(
    OpenAIConfig,
    OpenAI,
    summary="Uses OpenAI's Images API, or any server that speaks it.",
    label="OpenAI",
    is_synchronous=True,
    detect=detect,
)
