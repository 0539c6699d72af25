"""The HTTP client of the Images API: requests, streamed or plain answers, and errors."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from imagen.backends.openai.config import KEYS_PAGE
from imagen.backends.openai.models import TokenUsage
from imagen.core.image_file import LARGEST_BYTES
from imagen.core.json_values import as_list, as_mapping, as_text, parse_json
from imagen.core.text import one_line
from imagen.errors import (
    BackendError,
    Failed,
    Lost,
    RateLimited,
    Rejected,
    RequestError,
    Unauthorized,
    Unavailable,
)
from imagen.net import http
from imagen.net.sse import EventParser
from imagen.net.urls import read_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from imagen.backends.openai.config import OpenAIConfig

    OnPreview = Callable[[bytes], None]

Body = dict[str, Any]
Files = list[tuple[str, tuple[str, bytes, str]]]
"""Input images as httpx takes them: the field, and name, content and media type."""

_SHORT_READ_SECONDS = 20.0
_EVENTS = "text/event-stream"
_JOB_ID = re.compile(r"[0-9a-f-]{1,64}")
_FAILED = 424
"""How imagen's own server answers for a job that failed."""
_MODERATION = ("moderation_blocked", "content_policy_violation", "image_generation_user_error")
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_MAY_BE_CHARGED = (
    "The Images API has no jobs that could be looked up: the image may have been made, and charged."
)


class ImagesAnswer(NamedTuple):
    """A complete answer with at least one image."""

    images: tuple[bytes, ...]
    usage: TokenUsage
    model: str = ""
    """What the server says that it used."""
    seeds: tuple[int | None, ...] = ()
    """Of the images, as far as a server of imagen says so."""
    warnings: tuple[str, ...] = ()


class ImagesClient:
    """One server. Only an answer in the form of the API counts as the server's.

    A gateway may answer in its place, which says nothing about an image.
    """

    def __init__(self, config: OpenAIConfig, environ: Mapping[str, str] = os.environ) -> None:
        self.base_url = config.url.rstrip("/")
        self._config = config
        self._received: _Events | None = None
        headers: dict[str, str] = {}
        if variable := config.api_key_env:
            page = f" ({KEYS_PAGE})" if config.is_openai else ""
            key = read_secret(variable, environ, remedy=f"Set {variable} to an API key{page}.")
            headers["Authorization"] = f"Bearer {key}"
        self._http = http.HttpClient(
            self.base_url,
            headers=headers,
            connect_seconds=config.connect_seconds,
            read_seconds=config.total_seconds,
            tls=http.tls(self.base_url, None),
        )

    def close(self) -> None:
        self._http.close()

    def abort(self) -> None:
        """Close the connections of requests that are under way."""
        self._http.abort()

    def list_models(self) -> list[Mapping[str, object]]:
        """The models as the server describes them."""
        timeout = http.timeouts(
            connect_seconds=self._config.connect_seconds, read_seconds=_SHORT_READ_SECONDS
        )
        response = self._http.request("GET", "/models", at=self.base_url, timeout=timeout)
        if not response.is_success:
            raise self._error(response)
        try:
            answer = as_mapping(parse_json(response.content))
        except ValueError:
            answer = {}
        if not isinstance(answer.get("data"), list):
            raise BackendError(
                f"{self.base_url} does not answer like the OpenAI API: /models has no list.",
                remedy="Check the URL: it usually ends with /v1.",
            )
        return [as_mapping(model) for model in as_list(answer["data"])]

    @property
    def job_id(self) -> str:
        """The job of the last request at imagen's own server; "" while it is not known."""
        return self._received.job_id if self._received is not None else ""

    def cancel_job(self, id: str) -> None:
        """Cancel a job of imagen's own server."""
        self._ask_imagen("POST", f"/api/v1/jobs/{id}/cancel")

    def job_state(self, id: str) -> str:
        """The state of a job of imagen's own server."""
        return as_text(self._ask_imagen("GET", f"/api/v1/jobs/{id}").get("state"))

    def _ask_imagen(self, method: str, path: str) -> dict[str, object]:
        root = self.base_url.removesuffix("/v1")
        response = self._http.request(method, f"{root}{path}", at=self.base_url)
        if not response.is_success:
            raise self._error(response)
        try:
            return as_mapping(parse_json(response.content))
        except ValueError as error:
            raise BackendError(f"{self.base_url} does not answer like imagen: {error}.") from error

    def is_imagen(self) -> bool:
        """Whether the server is imagen's own."""
        root = self.base_url.removesuffix("/v1")
        response = self._http.request("GET", f"{root}/health", at=self.base_url)
        try:
            return "is_engine_ready" in as_mapping(parse_json(response.content))
        except ValueError:
            return False

    def has_images_api(self) -> bool:
        """Whether the server has the route for images, which refuses a GET."""
        response = self._http.request("GET", "/images/generations", at=self.base_url)
        return response.status_code != 404

    def generate(
        self, body: Body, files: Files, *, key: str, on_preview: OnPreview
    ) -> ImagesAnswer:
        """The images of one request; `key` is its Idempotency-Key.

        Raises Lost where the server may have made the images, and any other BackendError where it
        certainly did not.
        """
        received = self._received = _Events(on_preview)
        if files:
            texts = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in body.items()}
            content: dict[str, Any] = {"data": texts, "files": files}
        else:
            content = {"json": body}
        try:
            response = self._http.request(
                "POST",
                "/images/edits" if files else "/images/generations",
                at=self.base_url,
                limit=http.LARGEST_FILE,
                seconds=self._config.total_seconds,
                on_piece=received.add,
                headers={"Idempotency-Key": key},
                **content,
            )
        except BackendError as error:
            if http.not_sent(error):
                raise
            what = http.describe_lost_submission(error, self.base_url)
            raise _lost(f"{what}.", error.remedy) from error
        if not response.is_success:
            raise self._error(response)
        if received.is_stream:
            return self._read_events(received.events)
        try:
            answer = as_mapping(parse_json(response.content, max_bytes=http.LARGEST_FILE))
        except ValueError as error:
            raise _lost(f"{self.base_url} does not answer like the Images API: {error}.") from error
        if not isinstance(answer.get("data"), list):
            raise _lost(f"{self.base_url} does not answer like the Images API: it has no `data`.")
        return self._read_images(as_list(answer["data"]), answer)

    def _read_events(self, events: list[Mapping[str, object]]) -> ImagesAnswer:
        for event in events:
            if "error" in event:
                raise self._error_of(as_mapping(event["error"]), 500)
        completed = [one for one in events if as_text(one.get("type")).endswith(".completed")]
        if not completed:
            raise _lost(f"The stream of {self.base_url} ended without an image.")
        return self._read_images(completed, completed[-1])

    def _read_images(
        self, entries: list[Any] | list[Mapping[str, object]], answer: Mapping[str, object]
    ) -> ImagesAnswer:
        images = tuple(self._read_image(as_mapping(entry)) for entry in entries)
        if not images:
            raise Failed(f"{self.base_url} ended the request without an image.")
        usage = as_mapping(answer.get("usage"))
        sources = [answer] if "data" in answer else map(as_mapping, entries)
        facts = [as_mapping(one.get("imagen")) for one in sources]
        seeds = [
            as_mapping(image).get("seed") for one in facts for image in as_list(one.get("images"))
        ]
        warnings = [as_text(text) for one in facts for text in as_list(one.get("warnings"))]
        details = as_mapping(usage.get("input_tokens_details"))
        out = as_mapping(usage.get("output_tokens_details"))
        text_out = _count(out.get("text_tokens"))
        return ImagesAnswer(
            images=images,
            usage=TokenUsage(
                text_in=_count(details.get("text_tokens" if details else "input_tokens")),
                image_in=_count(details.get("image_tokens")),
                image_out=max(0, _count(usage.get("output_tokens")) - text_out),
                text_out=text_out,
            ),
            model=one_line(as_text(answer.get("model"))),
            seeds=tuple(seed if isinstance(seed, int) else None for seed in seeds),
            warnings=tuple(dict.fromkeys(map(one_line, warnings))),
        )

    def _read_image(self, entry: Mapping[str, object]) -> bytes:
        """The content of one image; raises Failed if it has none."""
        try:
            if data := as_text(entry.get("b64_json")):
                image = b64decode(data.partition(",")[2] if data[:5] == "data:" else data)
            elif url := as_text(entry.get("url")):
                image = self._download(urljoin(f"{self.base_url}/", url))
            else:
                raise Failed(f"{self.base_url} sent an entry without an image.")
        except (Base64Error, ValueError) as error:
            raise Failed(f"{self.base_url} sent an image that cannot be decoded.") from error
        return image

    def _download(self, url: str) -> bytes:
        """An image at the server itself, or at a public host, which gets no key."""
        if urlsplit(url)[:2] == urlsplit(self.base_url)[:2]:
            response = self._http.request("GET", url, limit=LARGEST_BYTES)
            return http.check_response(response, self.base_url).content
        from imagen.net.public_images import fetch_image

        try:
            return fetch_image(url, "The image").data
        except RequestError as error:
            raise Failed(error.message, remedy=error.remedy) from error

    def _error(self, response: httpx.Response) -> BackendError:
        """What an unsuccessful answer means."""
        try:
            answer = as_mapping(parse_json(response.content))
        except ValueError:
            answer = {}
        said = answer.get("error") or answer.get("detail") or answer.get("message")
        if not said and response.is_server_error:  # a gateway's, which may have sent the request on
            return _lost(http.response_error(response, self.base_url).message)
        error = as_mapping(said) or {"message": said if isinstance(said, str) else ""}
        limited = http.response_error(response, self.base_url)
        wait = limited.retry_after_seconds if isinstance(limited, RateLimited) else None
        if not (error.get("message") or error.get("code")):
            return limited
        return self._error_of(error, response.status_code, wait)

    def _error_of(
        self, error: Mapping[str, object], status: int, wait: float | None = None
    ) -> BackendError:
        """What an error in the API's own form means."""
        at, config = self.base_url, self._config
        code, kind = as_text(error.get("code")), as_text(error.get("type"))
        reason = one_line(as_text(error.get("message")), limit=500).rstrip(".") or code
        if code in _MODERATION or kind in _MODERATION:
            return Rejected(
                f"{at} refused the prompt or an image: {reason}.", remedy="Change the prompt."
            )
        if code in _NO_CREDIT or status == 402:
            return Rejected(f"{at} requires payment: {reason}.", remedy="Add credit, then retry.")
        if status in (401, 403):
            place = config.api_key_env or f"the variable of backends.{config.name}.api_key_env"
            remedy = f"Set {place} to a key that it accepts."
            return Unauthorized(f"{at} refused access: {reason}.", remedy=remedy)
        if status == 404 or code == "model_not_found":
            remedy = f"See: imagen models --backend {config.name}."
            return Rejected(f"{at} does not know this model or path: {reason}.", remedy=remedy)
        if status == 429:
            return RateLimited(f"{at} limits the rate: {reason}.", retry_after_seconds=wait)
        if status == 503:
            return Unavailable(f"{at} is unavailable: {reason}.")
        if status >= 500 or status == _FAILED:
            return Failed(f"{at} could not make the image: {reason}.")
        name = one_line(as_text(error.get("param")))
        return Rejected(f"{at} refused the request: {f'{name}: ' if name else ''}{reason}.")


class _Events:
    """The events of an answer that is a stream, as they arrive."""

    def __init__(self, on_preview: OnPreview) -> None:
        self.is_stream = False
        self.job_id = ""
        self.events: list[Mapping[str, object]] = []
        """All but the unfinished images."""
        self._on_preview = on_preview
        self._parser = EventParser()

    def add(self, response: httpx.Response, piece: bytes) -> None:
        self.is_stream = response.headers.get("content-type", "").startswith(_EVENTS)
        id = response.headers.get("imagen-job", "")
        self.job_id = id if _JOB_ID.fullmatch(id) else ""
        for data in self._parser.feed(piece) if self.is_stream else ():
            try:
                event = as_mapping(parse_json(data))
                if as_text(event.get("type")).endswith(".partial_image"):
                    self._on_preview(b64decode(as_text(event.get("b64_json"))))
                else:
                    self.events.append(event)
            except ValueError:  # `[DONE]`, or what this version does not know
                continue


def _lost(message: str, remedy: str = "") -> Lost:
    return Lost(message, remedy=remedy, is_certain=False).with_remedy(_MAY_BE_CHARGED)


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
