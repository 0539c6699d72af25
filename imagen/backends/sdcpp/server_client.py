"""The HTTP client of sd-server: its own API, /sdcpp/v1, with jobs that are asked after."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from imagen.core.image_file import download_fault
from imagen.core.json_values import parse_json
from imagen.core.text import one_line
from imagen.errors import BackendError, Lost, Rejected
from imagen.net import http
from imagen.net.urls import read_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from imagen.backends.sdcpp.config import SdCppConfig

T = TypeVar("T")

_READ_SECONDS = 60.0
_SHORT_READ_SECONDS = 10.0  # for a look at a job, which is repeated if need be
_GONE = {404: "job not found", 410: "job expired"}
"""The server doesn't know the job; or knows that it had it, and threw it away after 10 minutes."""
_NOT_TAKEN = {429: "job queue is full", 500: "server_error"}
_BUSY = 409
_STATES = ("queued", "generating", "completed", "failed", "cancelled")


class ServerInfo(NamedTuple):
    """What a server says of itself."""

    model: str = ""
    samplers: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()
    most_at_once: int = 0
    largest_side: int = 0


class SdServerJobStatus(NamedTuple):
    """One look at a job."""

    status: str
    position: int = 0
    images: tuple[bytes, ...] = ()
    """Whole, in their order."""
    error: str = ""
    queued_seconds: float | None = None
    executing_seconds: float | None = None


class SdServerClient:
    """One server. Only an answer in sd-server's own shape is its word: any other may be a
    gateway's, and raises a BackendError from which nothing follows about a job."""

    def __init__(self, config: SdCppConfig, environ: Mapping[str, str] = os.environ) -> None:
        self.at = config.url.rstrip("/")
        self._config = config
        self._http = http.HttpClient(
            self.at,
            headers=_headers(config, environ),
            connect_seconds=config.connect_seconds,
            read_seconds=_READ_SECONDS,
            tls=http.tls(self.at, None),
        )

    def about(self) -> ServerInfo:
        """What the server has."""
        response = self._send("GET", "/sdcpp/v1/capabilities")
        return self._read(self._succeeded(response), _about)

    def submit(self, body: Mapping[str, Any]) -> str:
        """The id of the job that the server made of it.

        Raises Lost where the server may have taken it all the same, and any other BackendError
        where it certainly did not.
        """
        try:
            response = self._send(
                "POST",
                "/sdcpp/v1/img_gen",
                content=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
            )
            word = _word(response)
            is_refused = word and (response.status_code == 400 or _says(response, _NOT_TAKEN))
            if not is_refused and response.status_code != 413:
                return self._read(self._succeeded(response), _job_id)
        except BackendError as error:
            if http.not_sent(error):
                raise
            what = http.describe_lost_submission(error, self.at)
            raise Lost(
                f"{what}, and sd-server has no list in which to look for the job.",
                remedy=error.remedy,
                is_certain=False,
            ) from error
        if response.status_code == 413:
            raise Rejected(
                f"{self.at} takes no request as large as this one.",
                remedy="Use smaller images, or raise the limit of the proxy before the server.",
            )
        raise http.response_error(response, self.at)

    def job(self, id: str) -> SdServerJobStatus:
        """How the job is doing; raises Lost where the server doesn't know it."""
        timeout = http.timeouts(
            connect_seconds=self._config.connect_seconds, read_seconds=_SHORT_READ_SECONDS
        )
        response = self._send(
            "GET", f"/sdcpp/v1/jobs/{id}", limit=http.LARGEST_FILE, timeout=timeout
        )
        if _says(response, _GONE):
            raise Lost(
                f"{self.at} does not know the job {id}: it was restarted since, or threw away "
                "what nobody fetched within 10 minutes."
            )
        return self._read(self._succeeded(response), partial(_job, id=id))

    def cancel(self, id: str) -> bool:
        """Take the job back; False where it is at work, which this server can't interrupt."""
        response = self._send("POST", f"/sdcpp/v1/jobs/{id}/cancel", limit=http.LARGEST_FILE)
        if response.status_code == _BUSY and _word(response):
            return False
        if not _says(response, _GONE):
            self._read(self._succeeded(response), partial(_job, id=id))
        return True

    @property
    def is_closed(self) -> bool:
        return self._http.is_closed

    def close(self) -> None:
        self._http.close()

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        if self.is_closed:  # by a thread that is no longer waited for
            raise BackendError("The backend was closed while it worked.")
        return self._http.request(method, path, **kwargs)

    def _succeeded(self, response: httpx.Response) -> httpx.Response:
        name = self._config.name
        credential = f"Name the variable that holds its token in backends.{name}.bearer_env."
        if self._config.bearer_env:
            credential = f"Set {self._config.bearer_env} to a token that it accepts."
        return http.check_response(response, self.at, credential=credential)

    def _read(self, response: httpx.Response, read: Callable[[Any], T]) -> T:
        """What sd-server says; raises BackendError where something else answered."""
        try:
            return read(parse_json(response.content, max_bytes=http.LARGEST_FILE))
        except ValueError as error:
            raise BackendError(
                f"{self.at} does not answer like sd-server: what it sent {error}.",
                remedy="Is that an sd-server of stable-diffusion.cpp?",
            ) from error


def _headers(config: SdCppConfig, environ: Mapping[str, str]) -> dict[str, str]:
    if not config.bearer_env:
        return {}
    remedy = f"Set {config.bearer_env} to the token of the server."
    return {"Authorization": f"Bearer {read_secret(config.bearer_env, environ, remedy=remedy)}"}


def _word(response: httpx.Response) -> str:
    """What sd-server says where it refuses; "" where the answer is not in its shape."""
    try:
        said = _mapping(parse_json(response.content))
    except ValueError:
        return ""
    word = said.get("error")
    return word if isinstance(word, str) and said.keys() <= {"error", "message"} else ""


def _says(response: httpx.Response, words: Mapping[int, str]) -> bool:
    """Whether sd-server refuses with one of these words, by status."""
    expected = words.get(response.status_code)
    return expected is not None and _word(response) == expected


def _about(said: Any) -> ServerInfo:
    said = _mapping(said)
    if not isinstance(said.get("samplers"), list):
        raise ValueError("has no list of samplers")
    limits = _mapping(said.get("limits"))
    return ServerInfo(
        model=one_line(str(_mapping(said.get("model")).get("name") or "")),
        samplers=_words(said.get("samplers")),
        schedulers=_words(said.get("schedulers")),
        loras=_words([_mapping(lora).get("path") for lora in _list(said.get("loras"))]),
        most_at_once=_number(limits.get("max_batch_count")),
        largest_side=_number(limits.get("max_width")),
    )


def _job_id(said: Any) -> str:
    id = _mapping(said).get("id")
    if not isinstance(id, str) or not id.replace("_", "").replace("-", "").isalnum():
        raise ValueError("has no job id that can be used")
    return id


def _job(said: Any, id: str) -> SdServerJobStatus:
    said = _mapping(said)
    status = said.get("status")
    if said.get("id") != id or status not in _STATES:
        raise ValueError("is not the job that was asked for")
    images = _images(_mapping(said.get("result")).get("images")) if status == "completed" else ()
    created, started, ended = (said.get(name) for name in ("created", "started", "completed"))
    return SdServerJobStatus(
        status=status,
        position=max(0, _number(said.get("queue_position")) - 1),
        images=images,
        error=one_line(str(_mapping(said.get("error")).get("message") or "")),
        queued_seconds=_between(created, started),
        executing_seconds=_between(started, ended),
    )


def _images(said: Any) -> tuple[bytes, ...]:
    if not isinstance(said, list):
        raise ValueError("is a finished job without a list of images")
    images = sorted(map(_mapping, said), key=lambda one: _number(one.get("index")))
    return tuple(_image(one.get("b64_json"), number) for number, one in enumerate(images, 1))


def _image(text: Any, number: int) -> bytes:
    """The bytes of one image, if they are whole."""
    try:
        data = b64decode(text, validate=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"for image {number} is not in base64") from error
    if wrong := download_fault(data, "image.png"):
        raise ValueError(f"for image {number} {wrong}")
    return data


def _between(first: Any, last: Any) -> float | None:
    """The server counts whole seconds."""
    if not isinstance(first, int) or not isinstance(last, int):
        return None
    return float(max(0, last - first))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _words(value: Any) -> tuple[str, ...]:
    return tuple(one_line(word) for word in _list(value) if isinstance(word, str) and word)


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
