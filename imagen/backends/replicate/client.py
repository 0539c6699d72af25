"""The HTTP client of Replicate's API, and its answers as typed values."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from imagen.backends.replicate import errors
from imagen.backends.replicate.config import parse_model_reference, read_api_token
from imagen.core.json_values import as_list, as_mapping, as_text, as_time, parse_json
from imagen.core.request import LARGEST_SEED
from imagen.core.text import one_line
from imagen.errors import BackendError, Lost, Rejected, RequestError, Unavailable
from imagen.net import http

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from imagen.backends.replicate.config import ModelReference, ReplicateConfig

_SHORT_READ_SECONDS = 10.0  # for small questions, which can be repeated
_LONG_READ_SECONDS = 60.0
_GRACE_SECONDS = 20.0
"""How much longer than `wait_seconds` the answer to a submission may take."""
_SHORTEST_DEADLINE = 5
_PAGES = 10
"""How many pages of 100 predictions are searched at most."""
_HIDDEN = "hidden"
"""The version id of a model without versions."""

_ENDED = frozenset({"succeeded", "failed", "canceled", "aborted"})
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SEED = re.compile(r"[Uu]sing seed:?\s*(\d{1,20})")
_PROGRESS_BAR = re.compile(r"(\d{1,3})%\|[^|\r\n]*\|\s*(\d{1,6})/(\d{1,6})")
_SLACK_SECONDS = 1.0
_LONGEST_SECONDS = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One job at Replicate."""

    id: str
    status: str
    """starting, processing, succeeded, failed, canceled or aborted."""
    model: str = ""
    version: str = ""
    input: Mapping[str, object] = field(default_factory=dict)
    output: object = None
    error: str = ""
    logs: str = ""
    predict_seconds: float | None = None
    """Seconds of compute."""
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    deadline: datetime | None = None
    is_removed: bool = False
    """Whether Replicate has deleted the input and output."""

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    @property
    def steps(self) -> tuple[int, int] | None:
        """Steps done and steps in all, from the last progress bar in the log."""
        bars = _PROGRESS_BAR.findall(self.logs[-20_000:])
        return (int(bars[-1][1]), int(bars[-1][2])) if bars else None

    @property
    def seed(self) -> int | None:
        """The random seed that the log names."""
        match = _SEED.search(self.logs[:20_000])
        seed = int(match[1]) if match else None
        return seed if seed is None or seed <= LARGEST_SEED else None

    @property
    def queued_seconds(self) -> float | None:
        return _seconds_between(self.created_at, self.started_at)

    def is_late(self, deadline_seconds: float) -> bool:
        """Whether Replicate stopped it at its deadline."""
        if self.status != "canceled":
            return self.status == "aborted"
        if _seconds_between(self.deadline, self.completed_at) is not None:
            return True
        lasted = _seconds_between(self.created_at, self.completed_at)
        return (lasted or 0.0) >= deadline_seconds - _SLACK_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What the API says about a model, a version of it, or a deployment."""

    model: str
    """`owner/name`."""
    version: str = ""
    document: object = None
    """The answer that holds the input schema."""
    hardware: str = ""
    """For a deployment: the machine it runs on."""


class RecentPredictions(NamedTuple):
    """The latest predictions of the account."""

    predictions: list[Prediction]
    """The newest first."""
    clock_offset: timedelta
    """How far the API's clock is ahead of this machine's."""
    is_complete: bool
    """Whether the list goes back to the time that was asked for."""


class ReplicateClient:
    """The API with one token; connections are kept alive until `close`. Thread-safe.

    Raises Unauthorized where the variable of the token is not set.
    """

    def __init__(self, config: ReplicateConfig) -> None:
        self._config = config
        self.base_url = config.base_url.rstrip("/")
        self.field_names: Mapping[str, str] = {}
        """Request fields by the model's input names, for error messages."""
        self.has_rejected_input = False
        """Whether the API has rejected an input: then the cached schema may be outdated."""
        self._credential = {"Authorization": f"Bearer {read_api_token(config)}"}
        self._short: dict[str, Any] = {
            "timeout": self._timeouts(_SHORT_READ_SECONDS),
            "seconds": 3 * _SHORT_READ_SECONDS,
        }
        self._latest_version = ""
        self._http = http.HttpClient(
            self.base_url,
            connect_seconds=config.connect_seconds,
            read_seconds=_LONG_READ_SECONDS,
            tls=http.tls(self.base_url, None),
        )

    def close(self) -> None:
        self._http.close()

    def credential_for(self, url: str) -> dict[str, str]:
        """The token's header for Replicate's own hosts, and no header for any other."""
        target, own = urlsplit(url), urlsplit(self.base_url)
        if (target.scheme, target.netloc) == (own.scheme, own.netloc):
            return self._credential
        host = f".{target.hostname or ''}"
        is_delivery = target.scheme == "https" and host.endswith(".replicate.delivery")
        return self._credential if is_delivery else {}

    def create(self, values: Mapping[str, object]) -> Prediction:
        """Create a prediction; it may have ended already when the answer comes."""
        reference = self._config.reference
        if reference.is_deployment:
            path = f"/deployments/{reference.owner}/{reference.name}/predictions"
            return self._read_prediction(self._submit(path, {"input": values}))
        if version := reference.version or self._latest_version:
            body = {"version": version, "input": values}
            return self._read_prediction(self._submit("/predictions", body))
        response = self._submit(f"/models/{reference.model}/predictions", {"input": values})
        if response.status_code != 404:
            return self._read_prediction(response)
        # Community models have no endpoint of their own: they run by version.
        version = self.model_info(reference).version
        if not version or version == _HIDDEN:
            raise Rejected(
                f"{reference.model} cannot be run: it has no version at Replicate.",
                remedy=f"See https://replicate.com/{reference.model}.",
            )
        self._latest_version = version
        return self.create(values)

    def get(self, id: str) -> Prediction:
        """The prediction's current state; raises Lost where the API does not know it."""
        response = self._send("GET", f"/predictions/{quote(id, safe='')}", **self._short)
        if response.status_code == 404:
            raise Lost(f"Replicate does not know the prediction {one_line(id, limit=130)}.")
        return self._read_prediction(response)

    def cancel(self, id: str) -> None:
        """Ask Replicate to cancel a prediction."""
        path = f"/predictions/{quote(id, safe='')}/cancel"
        self._check(self._send("POST", path, **self._short))

    def recent(self, since: datetime) -> RecentPredictions:
        """The predictions of this account that were created since then."""
        predictions: list[Prediction] = []
        clock_offset, query = timedelta(), ""
        for _ in range(_PAGES):
            response = self._send("GET", f"/predictions{query}", **self._short)
            page = as_mapping(self._json(self._check(response)))
            if not isinstance(page.get("results"), list):
                raise self._unexpected_answer()  # else it would look like an empty account
            clock_offset = _clock_offset(response)
            predictions += parse_predictions(page)
            oldest = predictions[-1].created_at if predictions else None
            next_url = page.get("next")
            if (oldest and oldest < since + clock_offset) or not isinstance(next_url, str):
                return RecentPredictions(predictions, clock_offset, is_complete=True)
            query = f"?{urlsplit(next_url).query}"  # the query only, whatever host it names
        return RecentPredictions(predictions, clock_offset, is_complete=False)

    def account(self) -> str:
        """The name of the account that the token belongs to."""
        return one_line(as_text(self._get("/account").get("username")))

    def model_info(self, reference: ModelReference) -> ModelInfo:
        """What the API says about the model, with its input schema."""
        model, version = reference.model, reference.version
        hardware = ""
        if reference.is_deployment:
            deployment = self._get(f"/deployments/{reference.owner}/{reference.name}")
            release = as_mapping(deployment.get("current_release"))
            configuration = as_mapping(release.get("configuration"))
            hardware = one_line(as_text(configuration.get("hardware")))
            try:
                runs = parse_model_reference(f"{release.get('model')}:{release.get('version')}")
            except ValueError as error:
                raise self._unexpected_answer() from error
            model, version = runs.model, runs.version
        if version:
            document = self._get(f"/models/{model}/versions/{version}")
            return ModelInfo(model=model, version=version, document=document, hardware=hardware)
        document = self._get(f"/models/{model}")
        latest = as_mapping(document.get("latest_version"))
        return ModelInfo(model=model, version=as_text(latest.get("id")), document=document)

    def upload(self, data: bytes, name: str, media_type: str) -> tuple[str, str]:
        """Upload a file; returns its id and its URL."""
        response = self._send("POST", "/files", files={"content": (name, data, media_type)})
        if response.status_code == 413:
            raise Rejected(f"{one_line(name)} is too large: Replicate takes files up to 100 MB.")
        answer = as_mapping(self._json(self._check(response)))
        id, url = answer.get("id"), as_mapping(answer.get("urls")).get("get")
        if not isinstance(id, str) or not isinstance(url, str):
            raise BackendError(f"{self.base_url} took a file and did not say where it is.")
        return id, url

    def delete(self, file_id: str) -> None:
        """Delete an uploaded file."""
        self._check(self._send("DELETE", f"/files/{quote(file_id, safe='')}", **self._short))

    def _get(self, path: str) -> dict[str, object]:
        return as_mapping(self._json(self._check(self._send("GET", path, **self._short))))

    def _submit(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        config = self._config
        seconds = max(_SHORTEST_DEADLINE, round(config.deadline_seconds))
        headers = {"Content-Type": "application/json", "Cancel-After": f"{seconds}s"}
        if config.wait_seconds:
            headers["Prefer"] = f"wait={config.wait_seconds}"
        try:
            content = json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")
        except (ValueError, TypeError) as error:
            raise RequestError(f"The input cannot be sent as JSON: {error}.") from error
        timeout = self._timeouts(config.wait_seconds + _GRACE_SECONDS)
        return self._send("POST", path, content=content, headers=headers, timeout=timeout)

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        if self._http.is_closed:  # by the main thread, which no longer waits for this one
            raise BackendError("The backend was closed while it worked.")
        headers = self._credential | kwargs.pop("headers", {})
        try:
            return self._http.request(method, self.base_url + path, headers=headers, **kwargs)
        except Unavailable as error:
            if error.remedy or not http.not_sent(error):
                raise
            remedy = "Check the network connection and https://replicatestatus.com."
            hint = f"\n{self._config.hint}" if self._config.hint else ""
            raise error.with_remedy(remedy + hint) from error

    def _check(self, response: httpx.Response) -> httpx.Response:
        """The response; raises the error of one that is not a success."""
        if response.is_success:
            return response
        if errors.rejects_an_input(response):
            self.has_rejected_input = True
        raise errors.response_error(response, self.base_url, self._config, self.field_names)

    def _read_prediction(self, response: httpx.Response) -> Prediction:
        prediction = parse_prediction(self._json(self._check(response)))
        if prediction is None:
            raise self._unexpected_answer()
        return prediction

    def _json(self, response: httpx.Response) -> object:
        try:
            return parse_json(response.content)
        except ValueError as error:
            raise self._unexpected_answer() from error

    def _unexpected_answer(self) -> BackendError:
        return BackendError(
            f"{self.base_url} does not answer like Replicate's API.",
            remedy=f"Check backends.{self._config.name}.base_url.",
        )

    def _timeouts(self, read_seconds: float) -> httpx.Timeout:
        connect_seconds = self._config.connect_seconds
        return http.timeouts(connect_seconds=connect_seconds, read_seconds=read_seconds)


def parse_prediction(answer: object) -> Prediction | None:
    """A prediction; None for anything else."""
    values = as_mapping(answer)
    id, status = values.get("id"), values.get("status")
    if not isinstance(id, str) or not _ID.fullmatch(id) or not isinstance(status, str):
        return None
    predict_seconds: float | None = None
    seconds = as_mapping(values.get("metrics")).get("predict_time")
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        predict_seconds = float(seconds) if 0 <= seconds <= _LONGEST_SECONDS else None
    return Prediction(
        id=id,
        status=status,
        model=one_line(as_text(values.get("model"))),
        version=one_line(as_text(values.get("version"))),
        input=as_mapping(values.get("input")),
        output=values.get("output"),
        error=as_text(values.get("error")),
        logs=as_text(values.get("logs")),
        predict_seconds=predict_seconds,
        created_at=as_time(values.get("created_at")),
        started_at=as_time(values.get("started_at")),
        completed_at=as_time(values.get("completed_at")),
        deadline=as_time(values.get("deadline")),
        is_removed=values.get("data_removed") is True,
    )


def parse_predictions(answer: object) -> list[Prediction]:
    """One page of the list of predictions, the newest first."""
    predictions = map(parse_prediction, as_list(as_mapping(answer).get("results")))
    return [prediction for prediction in predictions if prediction is not None]


def _seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """None where one is unknown or the end is before the start."""
    seconds = (end - start).total_seconds() if start and end else -1.0
    return seconds if seconds >= 0 else None


def _clock_offset(response: httpx.Response) -> timedelta:
    """How far the API's clock is ahead of this machine's, by the date of its answer."""
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(response.headers.get("date", ""))
    except (TypeError, ValueError):
        return timedelta()
    return date.astimezone(UTC) - datetime.now(UTC)
