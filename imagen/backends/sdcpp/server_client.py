"""The HTTP client of sd-server's own API, /sdcpp/v1, whose jobs are polled."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from imagen.core.image_file import download_fault
from imagen.core.json_values import as_list, as_mapping, as_text, parse_json
from imagen.core.text import one_line
from imagen.errors import BackendError, Lost, Rejected
from imagen.net import http
from imagen.net.urls import read_authorization

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from imagen.backends.sdcpp.config import SdCppConfig

T = TypeVar("T")

_READ_SECONDS = 60.0
_SHORT_READ_SECONDS = 10.0  # for a look at a job, which can be repeated
_GONE = {404: "job not found", 410: "job expired"}
"""The server does not know the job, or has discarded its result after 10 minutes."""
_NOT_ACCEPTED = {429: "job queue is full", 500: "server_error"}
_BUSY = 409
_ACTIVE_STATES = ("queued", "generating")
_STATES = (*_ACTIVE_STATES, "completed", "failed", "cancelled")


class SdServerInfo(NamedTuple):
    """What a server says about itself."""

    model: str = ""
    samplers: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()
    max_images: int = 0
    largest_side: int = 0


class SdServerJobStatus(NamedTuple):
    """One look at a job."""

    id: str
    status: str
    queue_position: int = 0
    images: tuple[bytes, ...] = ()
    """Complete, in their order."""
    error: str = ""
    queued_seconds: float | None = None
    executing_seconds: float | None = None

    @property
    def is_active(self) -> bool:
        return self.status in _ACTIVE_STATES


class SdServerClient:
    """One server.

    Only an answer in sd-server's own form counts as the server's: any other may come from a
    gateway, and raises a BackendError that says nothing about a job.
    """

    def __init__(self, config: SdCppConfig, environ: Mapping[str, str] = os.environ) -> None:
        self.base_url = config.url.rstrip("/")
        self._config = config
        headers = read_authorization(bearer_env=config.bearer_env, environ=environ)
        self._http = http.HttpClient(
            self.base_url,
            headers=headers,
            connect_seconds=config.connect_seconds,
            read_seconds=_READ_SECONDS,
            tls=http.tls(self.base_url, None),
        )

    @property
    def is_closed(self) -> bool:
        return self._http.is_closed

    def close(self) -> None:
        self._http.close()

    def info(self) -> SdServerInfo:
        return self._parse(self._check(self._send("GET", "/sdcpp/v1/capabilities")), _parse_info)

    def submit(self, body: Mapping[str, object]) -> str:
        """Submit a job; returns its id.

        Raises Lost where the server may have accepted it all the same, and any other BackendError
        where it certainly did not.
        """
        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        try:
            response = self._send("POST", "/sdcpp/v1/img_gen", content=content, headers=headers)
            is_server_error = bool(_server_error(response))
            is_refused = is_server_error and (
                response.status_code == 400 or _is_error(response, _NOT_ACCEPTED)
            )
            if not is_refused and response.status_code != 413:
                return self._parse(self._check(response), _parse_job_id)
        except BackendError as error:
            if http.not_sent(error):
                raise
            what = http.describe_lost_submission(error, self.base_url)
            raise Lost(
                f"{what}, and sd-server has no list in which to look for the job.",
                remedy=error.remedy,
                is_certain=False,
            ) from error
        if response.status_code == 413:
            raise Rejected(
                f"The request is too large for {self.base_url}.",
                remedy="Use smaller images, or raise the limit of the proxy in front of it.",
            )
        raise http.response_error(response, self.base_url)

    def job(self, id: str) -> SdServerJobStatus:
        """The job's current state; raises Lost where the server does not know it."""
        timeout = http.timeouts(
            connect_seconds=self._config.connect_seconds, read_seconds=_SHORT_READ_SECONDS
        )
        path = f"/sdcpp/v1/jobs/{id}"
        response = self._send("GET", path, limit=http.LARGEST_FILE, timeout=timeout)
        if _is_error(response, _GONE):
            raise Lost(
                f"{self.base_url} does not know the job {id}: it was restarted, or discarded the "
                "result after 10 minutes."
            )
        return self._parse(self._check(response), partial(_parse_job, id=id))

    def cancel(self, id: str) -> bool:
        """Cancel the job; False where the server is working on it, which it cannot interrupt."""
        response = self._send("POST", f"/sdcpp/v1/jobs/{id}/cancel", limit=http.LARGEST_FILE)
        if response.status_code == _BUSY and _server_error(response):
            return False
        if not _is_error(response, _GONE):
            self._parse(self._check(response), partial(_parse_job, id=id))
        return True

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        if self.is_closed:  # by the main thread, which no longer waits for this one
            raise BackendError("The backend was closed while it worked.")
        return self._http.request(method, path, **kwargs)

    def _check(self, response: httpx.Response) -> httpx.Response:
        config = self._config
        credential = f"Name the variable of its token in backends.{config.name}.bearer_env."
        if config.bearer_env:
            credential = f"Set {config.bearer_env} to a token that it accepts."
        return http.check_response(response, self.base_url, credential=credential)

    def _parse(self, response: httpx.Response, parse: Callable[[object], T]) -> T:
        """The parsed answer; raises BackendError where something else answered."""
        try:
            return parse(parse_json(response.content, max_bytes=http.LARGEST_FILE))
        except ValueError as error:
            raise BackendError(
                f"{self.base_url} does not answer like sd-server: its answer {error}.",
                remedy="Check that the URL is that of an sd-server of stable-diffusion.cpp.",
            ) from error


def _server_error(response: httpx.Response) -> str:
    """The error text of sd-server; "" where the answer is not in its form."""
    try:
        answer = as_mapping(parse_json(response.content))
    except ValueError:
        return ""
    return as_text(answer.get("error")) if answer.keys() <= {"error", "message"} else ""


def _is_error(response: httpx.Response, errors: Mapping[int, str]) -> bool:
    """Whether the answer is one of these errors of sd-server, by status."""
    expected = errors.get(response.status_code)
    return expected is not None and _server_error(response) == expected


def _parse_info(answer: object) -> SdServerInfo:
    values = as_mapping(answer)
    if not isinstance(values.get("samplers"), list):
        raise ValueError("has no list of samplers")
    limits = as_mapping(values.get("limits"))
    loras = [as_mapping(lora).get("path") for lora in as_list(values.get("loras"))]
    return SdServerInfo(
        model=one_line(str(as_mapping(values.get("model")).get("name") or "")),
        samplers=_texts(values.get("samplers")),
        schedulers=_texts(values.get("schedulers")),
        loras=_texts(loras),
        max_images=_number(limits.get("max_batch_count")),
        largest_side=_number(limits.get("max_width")),
    )


def _parse_job_id(answer: object) -> str:
    id = as_mapping(answer).get("id")
    if not isinstance(id, str) or not id.replace("_", "").replace("-", "").isalnum():
        raise ValueError("has no usable job id")
    return id


def _parse_job(answer: object, id: str) -> SdServerJobStatus:
    values = as_mapping(answer)
    status = values.get("status")
    if values.get("id") != id or status not in _STATES:
        raise ValueError("is not the requested job")
    images: tuple[bytes, ...] = ()
    if status == "completed":
        images = _parse_images(as_mapping(values.get("result")).get("images"))
    created, started, ended = (values.get(key) for key in ("created", "started", "completed"))
    return SdServerJobStatus(
        id=id,
        status=str(status),
        queue_position=max(0, _number(values.get("queue_position")) - 1),
        images=images,
        error=one_line(str(as_mapping(values.get("error")).get("message") or "")),
        queued_seconds=_seconds_between(created, started),
        executing_seconds=_seconds_between(started, ended),
    )


def _parse_images(answer: object) -> tuple[bytes, ...]:
    """The content of each image, in order; raises ValueError for one that is not complete."""
    if not isinstance(answer, list):
        raise ValueError("is a finished job without a list of images")
    images = []
    entries = sorted(map(as_mapping, answer), key=lambda entry: _number(entry.get("index")))
    for number, entry in enumerate(entries, 1):
        try:
            data = b64decode(as_text(entry["b64_json"]), validate=True)
        except (KeyError, ValueError) as error:
            raise ValueError(f"holds no base64 for image {number}") from error
        if damage := download_fault(data, "image.png"):
            raise ValueError(f"holds image {number}, which {damage}")
        images.append(data)
    return tuple(images)


def _seconds_between(first: object, last: object) -> float | None:
    """The server counts whole seconds."""
    if not isinstance(first, int) or not isinstance(last, int):
        return None
    return float(max(0, last - first))


def _texts(value: object) -> tuple[str, ...]:
    return tuple(one_line(text) for text in as_list(value) if isinstance(text, str) and text)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
