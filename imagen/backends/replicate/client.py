"""What can be asked of Replicate's API over HTTP."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from imagen.backends.replicate import errors
from imagen.backends.replicate.config import api_token, parse_model_reference
from imagen.core.json_values import as_mapping, as_time, parse_json
from imagen.core.request import LARGEST_SEED
from imagen.core.text import one_line
from imagen.errors import BackendError, Lost, Rejected, RequestError, Unavailable
from imagen.net import http

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from imagen.backends.replicate.config import ModelReference, ReplicateConfig


_SHORT_ANSWER_SECONDS = 10.0  # for a small question, which is asked again if need be
_LONG_ANSWER_SECONDS = 60.0
_GRACE_SECONDS = 20.0
"""How much longer than it was asked to a submission may be held."""
_SHORTEST_DEADLINE = 5
_PAGES = 10
"""How many pages of 100 predictions are looked through at most."""
_HIDDEN = "hidden"
"""The version of a model that has none."""


class RecentPredictions(NamedTuple):
    """What was made of late."""

    predictions: list[Prediction]
    """The newest first."""
    ahead: timedelta
    """How far the API's clock is ahead of ours."""
    is_all: bool
    """Whether there were no more since then."""


class ReplicateClient:
    """The API with one token; connections are kept alive until `close`; for any number of threads.

    Raises Unauthorized where the variable of the token is not set.
    """

    def __init__(self, config: ReplicateConfig) -> None:
        self._config = config
        self.at = config.base_url.rstrip("/")
        self.ours: Mapping[str, str] = {}
        """Our names of the model's inputs, for the words of refusals."""
        self.is_outdated = False
        """Whether the API has refused an input: then the schema is read anew."""
        self._credential = {"Authorization": f"Bearer {api_token(config)}"}
        self._soon: dict[str, Any] = {
            "timeout": self._timeouts(_SHORT_ANSWER_SECONDS),
            "seconds": 3 * _SHORT_ANSWER_SECONDS,
        }
        self._latest = ""
        self._http = http.HttpClient(
            self.at,
            connect_seconds=config.connect_seconds,
            read_seconds=_LONG_ANSWER_SECONDS,
            tls=http.tls(self.at, None),
        )

    def credential_for(self, url: str) -> dict[str, str]:
        """The header with the token, for Replicate's own hosts; nothing for any other."""
        asked, own = urlsplit(url), urlsplit(self.at)
        if (asked.scheme, asked.netloc) == (own.scheme, own.netloc):
            return self._credential
        host = f".{asked.hostname or ''}"
        is_theirs = asked.scheme == "https" and host.endswith(".replicate.delivery")
        return self._credential if is_theirs else {}

    def create(self, values: Mapping[str, Any]) -> Prediction:
        """Begin a prediction; it may have ended by the time the answer comes."""
        reference = self._config.reference
        if reference.is_deployment:
            path = f"/deployments/{reference.owner}/{reference.name}/predictions"
            return self._begin(path, {"input": values})
        version = reference.version or self._latest
        if version:
            return self._begin("/predictions", {"version": version, "input": values})
        response = self._post(f"/models/{reference.model}/predictions", {"input": values})
        if response.status_code != 404:
            return self._prediction(response)
        self._latest = self._latest_version(reference)
        return self.create(values)

    def get(self, id: str) -> Prediction:
        """A prediction as it is now; raises Lost where the API doesn't know it."""
        response = self._send("GET", f"/predictions/{quote(id, safe='')}", **self._soon)
        if response.status_code == 404:
            raise Lost(f"Replicate does not know the prediction {one_line(id, limit=130)}.")
        return self._prediction(response)

    def cancel(self, id: str) -> None:
        """Ask for a prediction to be stopped."""
        path = f"/predictions/{quote(id, safe='')}/cancel"
        self._succeeded(self._send("POST", path, **self._soon))

    def recent(self, since: datetime) -> RecentPredictions:
        """The predictions of this token's account that were created since then."""
        found: list[Prediction] = []
        ahead, query = timedelta(), ""
        for _ in range(_PAGES):
            response = self._send("GET", f"/predictions{query}", **self._soon)
            said = as_mapping(self._json(self._succeeded(response)))
            if not isinstance(said.get("results"), list):
                raise self._no_api()  # or we would take it for an account without predictions
            ahead = _ahead(response)
            found += parse_predictions(said)
            oldest = found[-1].created_at if found else None
            following = said.get("next")
            if (oldest and oldest < since + ahead) or not isinstance(following, str):
                return RecentPredictions(found, ahead, is_all=True)
            query = f"?{urlsplit(following).query}"  # whatever host it names
        return RecentPredictions(found, ahead, is_all=False)

    def account(self) -> str:
        """Whose token it is."""
        return one_line(str(self._get("/account").get("username") or ""))

    def page(self, reference: ModelReference) -> ModelInfo:
        """What is known of the model, with its input schema."""
        if reference.is_deployment:
            return self._deployed(reference)
        if reference.version:
            return self._version(reference.model, reference.version)
        said = self._get(f"/models/{reference.model}")
        latest = as_mapping(said.get("latest_version"))
        return ModelInfo(model=reference.model, version=str(latest.get("id") or ""), document=said)

    def upload(self, data: bytes, name: str, media_type: str) -> tuple[str, str]:
        """Put a file on the API's shelf: its id and its address there."""
        response = self._send("POST", "/files", files={"content": (name, data, media_type)})
        if response.status_code == 413:
            raise Rejected(f"{one_line(name)} is too large: Replicate takes files up to 100 MB.")
        said = as_mapping(self._json(self._succeeded(response)))
        address = as_mapping(said.get("urls")).get("get")
        id = said.get("id")
        if not isinstance(address, str) or not isinstance(id, str):
            raise BackendError(f"{self.at} took a file and did not say where it is.")
        return id, address

    def delete(self, file_id: str) -> None:
        """Take a file off the shelf."""
        path = f"/files/{quote(file_id, safe='')}"
        self._succeeded(self._send("DELETE", path, **self._soon))

    def close(self) -> None:
        self._http.close()

    def _begin(self, path: str, body: Mapping[str, Any]) -> Prediction:
        return self._prediction(self._post(path, body))

    def _post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        config = self._config
        seconds = max(_SHORTEST_DEADLINE, round(config.deadline_seconds))
        headers = {"Content-Type": "application/json", "Cancel-After": f"{seconds}s"}
        if config.wait_seconds:
            headers["Prefer"] = f"wait={config.wait_seconds}"
        return self._send(
            "POST",
            path,
            content=_encoded(body),
            headers=headers,
            timeout=self._timeouts(config.wait_seconds + _GRACE_SECONDS),
        )

    def _prediction(self, response: httpx.Response) -> Prediction:
        found = parse_prediction(self._json(self._succeeded(response)))
        if found is None:
            raise self._no_api()
        return found

    def _latest_version(self, reference: ModelReference) -> str:
        """The id of a model's latest version: models of the community have no endpoint."""
        version = self.page(reference).version
        if not version or version == _HIDDEN:
            raise Rejected(
                f"{reference.model} can't be run: Replicate has no version of it.",
                remedy=f"See https://replicate.com/{reference.model}.",
            )
        return version

    def _version(self, model: str, version: str) -> ModelInfo:
        said = self._get(f"/models/{model}/versions/{version}")
        return ModelInfo(model=model, version=version, document=said)

    def _deployed(self, reference: ModelReference) -> ModelInfo:
        said = self._get(f"/deployments/{reference.owner}/{reference.name}")
        release = as_mapping(said.get("current_release"))
        hardware = as_mapping(release.get("configuration")).get("hardware")
        runs = self._released(f"{release.get('model')}:{release.get('version')}")
        page = self._version(runs.model, runs.version)
        return ModelInfo(
            model=page.model,
            version=page.version,
            document=page.document,
            hardware=one_line(str(hardware or "")),
        )

    def _released(self, text: str) -> ModelReference:
        try:
            return parse_model_reference(text)
        except ValueError as error:
            raise self._no_api() from error

    def _get(self, path: str) -> dict[str, Any]:
        response = self._send("GET", path, **self._soon)
        return as_mapping(self._json(self._succeeded(response)))

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        if self._http.is_closed:  # by a thread that is no longer waited for
            raise BackendError("The backend was closed while it worked.")
        headers = self._credential | kwargs.pop("headers", {})
        try:
            return self._http.request(method, self.at + path, headers=headers, **kwargs)
        except Unavailable as error:
            if not error.remedy and http.not_sent(error):
                raise error.with_remedy(self._unreachable()) from error
            raise

    def _succeeded(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        self.is_outdated = self.is_outdated or errors.has_rejected_input(response)
        raise errors.response_error(response, self.at, self._config, self.ours)

    def _json(self, response: httpx.Response) -> Any:
        try:
            return parse_json(response.content)
        except ValueError as error:
            raise self._no_api() from error

    def _no_api(self) -> BackendError:
        return BackendError(
            f"{self.at} does not answer like Replicate's API.",
            remedy=f"See that backends.{self._config.name}.base_url is its address.",
        )

    def _unreachable(self) -> str:
        lines = ["See that this machine is online: https://replicatestatus.com tells of the API."]
        return "\n".join([*lines, *([self._config.hint] if self._config.hint else [])])

    def _timeouts(self, read_seconds: float) -> httpx.Timeout:
        return http.timeouts(
            connect_seconds=self._config.connect_seconds, read_seconds=read_seconds
        )


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (ValueError, TypeError) as error:
        raise RequestError(f"The input can't be sent as JSON: {error}.") from error


def _ahead(response: httpx.Response) -> timedelta:
    """How far the API's clock is ahead of ours, by the date of its answer."""
    from email.utils import parsedate_to_datetime

    try:
        there = parsedate_to_datetime(response.headers.get("date", ""))
    except (TypeError, ValueError):
        return timedelta()
    return there.astimezone(UTC) - datetime.now(UTC)


_ENDED = frozenset({"succeeded", "failed", "canceled", "aborted"})
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SEED = re.compile(r"[Uu]sing seed:?\s*(\d{1,20})")
_SLACK_SECONDS = 1.0
_LONGEST_SECONDS = 1e9
_BAR = re.compile(r"(\d{1,3})%\|[^|\r\n]*\|\s*(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One job at Replicate."""

    id: str
    status: str
    """starting, processing, succeeded, failed, canceled or aborted."""
    model: str = ""
    version: str = ""
    input: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    error: str = ""
    logs: str = ""
    predict_seconds: float | None = None
    """Seconds of compute."""
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    deadline: datetime | None = None
    is_removed: bool = False
    """Whether input and output were deleted."""

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    @property
    def steps(self) -> tuple[int, int] | None:
        """How many steps are done, and how many there are, by the last bar in its log."""
        bars = _BAR.findall(self.logs[-20_000:])
        return (int(bars[-1][1]), int(bars[-1][2])) if bars else None

    @property
    def seed(self) -> int | None:
        """The seed that its log says was drawn."""
        told = _SEED.search(self.logs[:20_000])
        seed = int(told[1]) if told else None
        return seed if seed is None or seed <= LARGEST_SEED else None

    @property
    def queued_seconds(self) -> float | None:
        """How long it waited before it began."""
        return _between(self.created_at, self.started_at)

    def is_late(self, seconds: float) -> bool:
        """Whether it was stopped because it took this long, or before it could begin."""
        if self.status != "canceled":
            return self.status == "aborted"
        lasted = _between(self.created_at, self.completed_at)
        past_deadline = _between(self.deadline, self.completed_at)
        return past_deadline is not None or (lasted or 0.0) >= seconds - _SLACK_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What is known of a model, a version of it, or a deployment."""

    model: str
    """`owner/name`."""
    version: str = ""
    """The version's id."""
    document: Any = None
    """What holds the input schema."""
    hardware: str = ""
    """For a deployment: the machine it runs on."""


def parse_prediction(said: Any) -> Prediction | None:
    """A prediction; None for what is none."""
    found = as_mapping(said)
    id, status = found.get("id"), found.get("status")
    if not isinstance(id, str) or not _ID.fullmatch(id) or not isinstance(status, str):
        return None
    return Prediction(
        id=id,
        status=status,
        model=one_line(_text(found.get("model"))),
        version=one_line(_text(found.get("version"))),
        input=as_mapping(found.get("input")),
        output=found.get("output"),
        error=_text(found.get("error")),
        logs=_text(found.get("logs")),
        predict_seconds=_seconds(as_mapping(found.get("metrics")).get("predict_time")),
        created_at=as_time(found.get("created_at")),
        started_at=as_time(found.get("started_at")),
        completed_at=as_time(found.get("completed_at")),
        deadline=as_time(found.get("deadline")),
        is_removed=found.get("data_removed") is True,
    )


def parse_predictions(said: Any) -> list[Prediction]:
    """One page of a listing, the most recent first."""
    results = as_mapping(said).get("results")
    found = (parse_prediction(one) for one in (results if isinstance(results, list) else ()))
    return [one for one in found if one is not None]


def _between(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds from one to the other; None where one is unknown, or they stand the wrong way."""
    seconds = (end - start).total_seconds() if start and end else -1.0
    return seconds if seconds >= 0 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _seconds(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= _LONGEST_SECONDS else None
