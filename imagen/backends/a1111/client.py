"""The HTTP client of A1111's API: what a server has, its progress, and one job in one request."""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from imagen.backends.a1111.errors import NO_API, answer_error
from imagen.core.image_file import download_fault
from imagen.core.json_values import as_list, as_mapping, as_text, parse_json
from imagen.core.text import one_line
from imagen.errors import BackendError, Failed, Lost
from imagen.net import http
from imagen.net.urls import read_authorization

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from imagen.backends.a1111.config import A1111Config

_READ_SECONDS = 60.0
_SHORT_READ_SECONDS = 10.0  # for a look at a job, which can be repeated
_SENT = "send_request_body.complete"
_SD_CPP_HASH = "8888888888"
"""What stable-diffusion.cpp's server gives as the hash of its model."""
_HASH = re.compile(r" \[[0-9a-f]{4,64}\]$")
_LARGEST_PREVIEW = 4 << 20

Program = Literal["a1111", "forge", "sdnext", "sd.cpp", "imagen"]
"""Programs with differences that matter. reForge and others count as A1111."""
PROGRAM_NAMES: Mapping[Program, str] = {
    "a1111": "A1111 or compatible",
    "forge": "Forge",
    "sdnext": "SD.Next",
    "sd.cpp": "stable-diffusion.cpp",
    "imagen": "imagen",
}


class A1111Info(BaseModel):
    """What a server says about itself."""

    model_config = ConfigDict(frozen=True)

    program: Program = "a1111"
    model: str = ""
    """The selected checkpoint."""
    models: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    upscalers: tuple[str, ...] = ()
    latent_upscalers: tuple[str, ...] = ()
    loras: dict[str, str] = {}
    """The path of each, as the server needs it, by name."""
    vaes: tuple[str, ...] = ()
    restorers: tuple[str, ...] = ()
    controlnets: tuple[str, ...] = ()
    preprocessors: tuple[str, ...] = ()


class A1111Progress(NamedTuple):
    """One look at what the server works on, whoever asked for it."""

    is_idle: bool
    is_interrupted: bool
    fraction: float
    step: int | None
    steps: int | None
    preview: bytes | None


class A1111Task(NamedTuple):
    """One look at a job by its id."""

    is_queued: bool
    is_active: bool
    preview: bytes | None
    preview_number: int

    @property
    def is_known(self) -> bool:
        """Whether the server has it, in its queue or at work."""
        return self.is_queued or self.is_active


class A1111Answer(NamedTuple):
    """The answer to a job."""

    images: tuple[bytes, ...]
    info: Mapping[str, object]


class A1111Client:
    """One server.

    Only an answer in the form of the API counts as the server's: any other may come from a
    gateway, and says nothing about a job.
    """

    def __init__(self, config: A1111Config, environ: Mapping[str, str] = os.environ) -> None:
        self.base_url = config.base_url
        self._config = config
        self._headers = read_authorization(
            bearer_env=config.bearer_env, basic_env=config.basic_env, environ=environ
        )
        self._http = self.open_connection()

    def open_connection(self) -> http.HttpClient:
        """A connection for one job, which is closed where the job is given up."""
        config = self._config
        return http.HttpClient(
            self.base_url,
            headers=self._headers,
            connect_seconds=config.connect_seconds,
            read_seconds=_READ_SECONDS,
            tls=http.tls(self.base_url, config.ca_file),
        )

    @property
    def is_closed(self) -> bool:
        return self._http.is_closed

    def close(self) -> None:
        self._http.close()

    def info(self) -> A1111Info:
        """Ask the server what it has; lists that it does not have are empty."""
        options = self._send("GET", "/sdapi/v1/options")
        if options.status_code in (404, 405):
            raise BackendError(f"{self.base_url} does not serve A1111's API.", remedy=NO_API)
        settings = as_mapping(self._parse(self._check(options)))
        if "sd_model_checkpoint" not in settings:
            raise self._not_understood("it has no sd_model_checkpoint")
        models = self._list("/sdapi/v1/sd-models")
        loras = {
            name: as_text(as_mapping(one).get("path")) or name
            for one in self._list("/sdapi/v1/loras")
            if (name := _name(one))
        }
        vaes = self._list("/sdapi/v1/sd-vae") or self._list("/sdapi/v1/sd-modules")
        nets = self._list("/controlnet/model_list", key="model_list")
        return A1111Info(
            program=_find_program(settings, models),
            model=without_hash(one_line(as_text(settings["sd_model_checkpoint"]))),
            models=tuple(dict.fromkeys(map(without_hash, _names(models)))),
            samplers=tuple(n for n in _names(self._list("/sdapi/v1/samplers")) if n != "default"),
            schedulers=tuple(
                n for n in _names(self._list("/sdapi/v1/schedulers")) if n != "default"
            ),
            upscalers=tuple(n for n in _names(self._list("/sdapi/v1/upscalers")) if n != "None"),
            latent_upscalers=_names(self._list("/sdapi/v1/latent-upscale-modes")),
            loras=loras,
            vaes=_names(vaes),
            restorers=_names(self._list("/sdapi/v1/face-restorers")),
            controlnets=tuple(n for n in _names(nets) if n != "None"),
            preprocessors=_names(self._list("/controlnet/module_list", key="module_list"))
            if nets
            else (),
        )

    def progress(self, *, has_preview: bool) -> A1111Progress | None:
        """What the server works on; None for a server that does not tell."""
        query = "" if has_preview else "?skip_current_image=true"
        response = self._send("GET", f"/sdapi/v1/progress{query}", is_short=True)
        if response.status_code in (404, 405):
            return None
        values = as_mapping(self._parse(self._check(response)))
        state = as_mapping(values.get("state"))
        if "job_count" not in state:
            raise self._not_understood("it has no state")
        step, steps = _number(state.get("sampling_step")), _number(state.get("sampling_steps"))
        is_sdnext = "id" in values  # which counts steps before it counts jobs
        fraction = values.get("progress")
        return A1111Progress(
            is_idle=state["job_count"] == 0 and not (is_sdnext and step),
            is_interrupted=state.get("interrupted") is True,
            fraction=fraction if isinstance(fraction, float) and 0 <= fraction <= 1 else 0.0,
            step=step if steps else None,
            steps=steps or None,
            preview=_image_data(values.get("current_image")),
        )

    def task(self, id: str, preview_number: int = -1) -> A1111Task | None:
        """The job of this id; None where the server has no jobs by id."""
        body = {"id_task": id, "id_live_preview": preview_number, "live_preview": True}
        response = self._send("POST", "/internal/progress", json=body, is_short=True)
        values = as_mapping(self._parse(response)) if response.is_success else {}
        if "active" not in values:
            return None
        return A1111Task(
            is_queued=values.get("queued") is True,
            is_active=values.get("active") is True,
            preview=_image_data(values.get("live_preview")),
            preview_number=_number(values.get("id_live_preview")),
        )

    def generate(
        self,
        path: str,
        body: Mapping[str, object],
        on_sent: Callable[[], None],
        connection: http.HttpClient,
    ) -> A1111Answer:
        """Run one job, which lasts as long as this request; `on_sent` is called once it is sent.

        An error before that means that the server does not have the job.
        """

        def trace(event: str, _: Mapping[str, object]) -> None:
            if event.endswith(_SENT):
                on_sent()

        config = self._config
        response = connection.request(
            "POST",
            path,
            content=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            limit=http.LARGEST_FILE,
            seconds=config.total_seconds,
            timeout=http.timeouts(
                connect_seconds=config.connect_seconds, read_seconds=config.total_seconds
            ),
            extensions={"trace": trace},
        )
        if not response.is_success:
            raise answer_error(
                response,
                self.base_url,
                backend=config.name,
                credential=config.credential_remedy,
            )
        try:
            values = as_mapping(self._parse(response))
            encoded = [values["image"]] if "image" in values else values.get("images")
            if not isinstance(encoded, list):
                raise self._not_understood("it has no images")
        except BackendError as error:
            raise Lost(error.message, remedy=error.remedy, is_certain=False) from error
        images = []
        for number, text in enumerate(encoded, 1):
            data = _image_data(text, limit=http.LARGEST_FILE)
            fault = "is not base64" if data is None else download_fault(data, "image.png")
            if data is None or fault:
                raise Failed(f"Image {number} from {self.base_url} {fault}.")
            images.append(data)
        try:
            info = as_mapping(parse_json(as_text(values.get("info")) or "{}"))
        except ValueError:
            info = {}
        return A1111Answer(tuple(images), info)

    def interrupt(self) -> None:
        """Stop what the server works on now, whoever asked for it."""
        self._check(self._send("POST", "/sdapi/v1/interrupt", is_short=True))

    def unload(self) -> None:
        """Remove the checkpoint from the GPU."""
        self._check(self._send("POST", "/sdapi/v1/unload-checkpoint"))

    def _list(self, path: str, *, key: str = "") -> list[object]:
        """An optional list; empty where the server does not have it."""
        response = self._send("GET", path)
        if response.status_code in (404, 405, 422, 500):
            return []
        answer = self._parse(self._check(response))
        return as_list(as_mapping(answer).get(key) if key else answer)

    def _send(
        self, method: str, path: str, *, is_short: bool = False, **kwargs: Any
    ) -> httpx.Response:
        if self.is_closed:  # by the main thread, which no longer waits for this one
            raise BackendError("The backend was closed while it worked.")
        if is_short:
            kwargs["timeout"] = http.timeouts(
                connect_seconds=self._config.connect_seconds, read_seconds=_SHORT_READ_SECONDS
            )
        return self._http.request(method, path, **kwargs)

    def _check(self, response: httpx.Response) -> httpx.Response:
        credential = self._config.credential_remedy
        return http.check_response(response, self.base_url, credential=credential)

    def _parse(self, response: httpx.Response) -> object:
        try:
            return parse_json(response.content, max_bytes=http.LARGEST_FILE, strict_numbers=False)
        except ValueError as error:
            raise self._not_understood(f"it {error}") from error

    def _not_understood(self, why: str) -> BackendError:
        return BackendError(
            f"{self.base_url} does not answer like A1111's API: {why}.",
            remedy="Check that the URL is that of the server, and not of a login page.",
        )


def without_hash(title: str) -> str:
    """The name in the title of a checkpoint; the hash is added once the server has read it."""
    return _HASH.sub("", title)


def _find_program(settings: Mapping[str, object], models: list[object]) -> Program:
    """Which program answers, by what only its answers contain."""
    if "imagen_version" in settings:
        return "imagen"
    if "forge_preset" in settings:
        return "forge"
    if any(key.startswith("diffusers_") for key in settings):
        return "sdnext"
    is_cpp = any(as_mapping(model).get("hash") == _SD_CPP_HASH for model in models)
    return "sd.cpp" if is_cpp else "a1111"


def _name(entry: object) -> str:
    """The name by which requests mean an entry of a list."""
    if isinstance(entry, str):
        return one_line(entry)
    values = as_mapping(entry)
    return one_line(as_text(values.get("title") or values.get("name") or values.get("model_name")))


def _names(entries: list[object]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(_name, entries))))


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _image_data(text: object, *, limit: int = _LARGEST_PREVIEW) -> bytes | None:
    """The bytes of an image in base64, with or without the head of a data URL."""
    if not isinstance(text, str) or not text or len(text) > limit * 2:
        return None
    head, comma, rest = text.partition(",")
    if comma and not head.startswith("data:"):
        return None
    try:
        return b64decode(rest if comma else text, validate=True)
    except ValueError:
        return None
