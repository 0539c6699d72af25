"""The HTTP client of sd-server: its own API, /sdcpp/v1, with jobs that are asked after."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.backends import http
from imagen.backends.addresses import secret
from imagen.errors import BackendError, Lost
from imagen.json_values import parse_json
from imagen.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from imagen.backends.sdcpp.config import SdCppConfig

_READ_SECONDS = 60.0
_GONE = (404, 410)
"""The server doesn't know the job; or knows that it had it, and threw it away after 10 minutes."""
_BUSY = 409


class About(NamedTuple):
    """What a server says of itself."""

    model: str = ""
    samplers: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()
    most_at_once: int = 0
    largest_side: int = 0


class Job(NamedTuple):
    """One look at a job."""

    status: str
    position: int = 0
    images: tuple[str, ...] = ()
    """In base64, in their order."""
    error: str = ""
    queued_seconds: float | None = None
    executing_seconds: float | None = None


class Client:
    """One server."""

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

    def about(self) -> About:
        """What the server has."""
        said = _mapping(self._json(self._succeeded(self._send("GET", "/sdcpp/v1/capabilities"))))
        limits = _mapping(said.get("limits"))
        return About(
            model=one_line(str(_mapping(said.get("model")).get("name") or "")),
            samplers=_words(said.get("samplers")),
            schedulers=_words(said.get("schedulers")),
            loras=_words([_mapping(lora).get("path") for lora in _list(said.get("loras"))]),
            most_at_once=_number(limits.get("max_batch_count")),
            largest_side=_number(limits.get("max_width")),
        )

    def submit(self, body: Mapping[str, Any]) -> str:
        """The id of the job that the server made of it."""
        answer = self._succeeded(
            self._send(
                "POST",
                "/sdcpp/v1/img_gen",
                content=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
            )
        )
        job = _mapping(self._json(answer)).get("id")
        if not isinstance(job, str) or not job.replace("_", "").replace("-", "").isalnum():
            raise BackendError(f"{self.at} took the job and gave it no id that can be used.")
        return job

    def job(self, id: str) -> Job:
        """How the job stands; raises Lost where the server doesn't know it."""
        response = self._send("GET", f"/sdcpp/v1/jobs/{id}", limit=http.LARGEST_FILE)
        if response.status_code in _GONE:
            raise Lost(
                f"{self.at} does not know the job {id}: it was restarted since, or threw away "
                "what nobody fetched within 10 minutes."
            )
        return _job(_mapping(self._json(self._succeeded(response))))

    def cancel(self, id: str) -> bool:
        """Take the job back; False where it is at work, which this server can't interrupt."""
        response = self._send("POST", f"/sdcpp/v1/jobs/{id}/cancel")
        if response.status_code == _BUSY:
            return False
        if response.status_code not in _GONE:
            self._succeeded(response)
        return True

    def close(self) -> None:
        self._http.close()

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        if self._http.is_closed:  # a thread that nobody waits for any more
            raise BackendError("The backend was closed while it worked.")
        return self._http.request(method, path, **kwargs)

    def _succeeded(self, response: httpx.Response) -> httpx.Response:
        name = self._config.name
        credential = f"Name the variable that holds its token in backends.{name}.bearer_env."
        if self._config.bearer_env:
            credential = f"Set {self._config.bearer_env} to a token that it accepts."
        return http.answered(response, self.at, credential=credential)

    def _json(self, response: httpx.Response) -> Any:
        try:
            return parse_json(response.content, max_bytes=http.LARGEST_FILE)
        except ValueError as error:
            raise BackendError(
                f"{self.at} does not answer like sd-server: what it sent {error}.",
                remedy="Is that an sd-server of stable-diffusion.cpp?",
            ) from error


def _headers(config: SdCppConfig, environ: Mapping[str, str]) -> dict[str, str]:
    if not config.bearer_env:
        return {}
    remedy = f"Set {config.bearer_env} to the token of the server."
    return {"Authorization": f"Bearer {secret(config.bearer_env, environ, remedy=remedy)}"}


def _job(said: Mapping[str, Any]) -> Job:
    images = [_mapping(one) for one in _list(_mapping(said.get("result")).get("images"))]
    images.sort(key=lambda one: _number(one.get("index")))
    created, started, ended = (said.get(name) for name in ("created", "started", "completed"))
    return Job(
        status=str(said.get("status") or ""),
        position=max(0, _number(said.get("queue_position")) - 1),
        images=tuple(str(one.get("b64_json") or "") for one in images),
        error=one_line(str(_mapping(said.get("error")).get("message") or "")),
        queued_seconds=_between(created, started),
        executing_seconds=_between(started, ended),
    )


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
