"""The simulated Replicate: its routes, with answers in the forms recorded from the real one."""

from __future__ import annotations

import re
import threading
import time
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

from imagen.core.image_file import media_type
from imagen.testing.http_server import CUT, HttpAnswer, HttpServer, json_answer
from simulators.replicate import models
from simulators.replicate.failure_switches import TOKEN, ReplicateSwitches
from simulators.replicate.predictions import Prediction, Predictions, format_time, paint_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagen.testing.http_server import HeldPort, HttpRequest

_PREFER = re.compile(r"wait(?:=([1-9]|[1-9][0-9]|60))?")
_CANCEL_AFTER = re.compile(r"(\d+)s")
_SHORTEST_DEADLINE_SECONDS = 5
_LONGEST_WAIT_SECONDS = 60
_PAGE = 100
_FILE_LIFETIME_SECONDS = 86400
_BODY_KEYS = {"input", "webhook", "webhook_events_filter", "stream"}
_THROTTLED = (
    "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per "
    "minute with a burst of 1 requests while you have less than $5.0 in credit. Your rate limit "
    "resets in ~{seconds}s."
)


class Replicate:
    """A simulated Replicate; it runs from `start`, or entering `with`, until `stop`.

    `token` is the one that it accepts. Any further argument is one of the `ReplicateSwitches`,
    which may be replaced while it runs.
    """

    _server: HttpServer | None = None
    _held: HeldPort | None = None

    def __init__(
        self,
        *,
        token: str = TOKEN,
        port: int = 0,
        switches: ReplicateSwitches | None = None,
        **more: Any,
    ) -> None:
        self.switches = replace(switches or ReplicateSwitches(), **more)
        self.requests: list[HttpRequest] = []
        self.jobs = Predictions()
        self.uploaded_files: dict[str, bytes] = {}
        """By id; deleted ones are not in it."""
        self._output_files: dict[str, bytes] = {}
        self._port = port
        self._token = token
        self._struck: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The `base_url`; it stays the same across restarts."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def submissions(self) -> int:
        """How many predictions were created: each would have been paid for."""
        return len(self.jobs)

    def at_work(self) -> bool:
        """Whether any prediction has not ended."""
        return not all(job.has_ended for job in self.jobs.newest_first())

    def start(self) -> None:
        """Open the port; without effect while it is open."""
        if self._server is None:
            if self._held is not None:
                self._held.release()
            self._server = HttpServer(self._answer, port=self._port, name="replicate")
            self._port = self._server.port

    def stop(self) -> None:
        """Close the port and every connection; twice is fine."""
        server, self._server = self._server, None
        if server is not None:
            self._held = server.stop()

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        self.requests.append(request)
        if request.path.startswith("/delivery/"):
            return self._download(request.path)
        if request.headers.get("authorization") != f"Bearer {self._token}":
            detail = "You did not pass a valid authentication token"
            return _problem(401, detail, "Unauthenticated")
        for method, pattern, route in _ROUTES:
            match = re.fullmatch(pattern, request.path)
            if method == request.method and match is not None:
                return route(self, request, *match.groups())
        return _not_found()

    def _get_account(self, _: HttpRequest) -> HttpAnswer:
        return json_answer({"type": "user", "username": "stand-in"})

    def _get_model(self, _: HttpRequest, model: str) -> HttpAnswer:
        if model not in models.MODELS:
            return _not_found()
        owner, _slash, name = model.partition("/")
        return json_answer(
            {
                "owner": owner,
                "name": name,
                "url": f"https://replicate.com/{model}",
                "is_official": model != models.COMMUNITY,
                "visibility": "public",
                "latest_version": _version_as_json(model),
            }
        )

    def _get_version(self, _: HttpRequest, model: str, version: str) -> HttpAnswer:
        is_known = model in models.MODELS and version == models.version_of(model)
        return json_answer(_version_as_json(model)) if is_known else _not_found()

    def _get_deployment(self, _: HttpRequest, deployment: str) -> HttpAnswer:
        if deployment != models.DEPLOYMENT:
            return _not_found()
        owner, _slash, name = deployment.partition("/")
        release = {
            "number": 1,
            "model": models.COMMUNITY,
            "version": models.version_of(models.COMMUNITY),
            "configuration": {"hardware": "gpu-t4", "min_instances": 0, "max_instances": 1},
        }
        return json_answer({"owner": owner, "name": name, "current_release": release})

    def _run_official(self, request: HttpRequest, model: str) -> HttpAnswer:
        if model not in models.MODELS or model == models.COMMUNITY:
            return _not_found()
        return self._create(request, model, "hidden")

    def _run_deployment(self, request: HttpRequest, deployment: str) -> HttpAnswer:
        if deployment != models.DEPLOYMENT:
            return _not_found()
        version = models.version_of(models.COMMUNITY)
        return self._create(request, models.COMMUNITY, version, deployment=deployment)

    def _run_version(self, request: HttpRequest) -> HttpAnswer:
        version = request.json().get("version")
        model = next((name for name in models.MODELS if models.version_of(name) == version), "")
        if not model:
            detail = (
                "The specified version does not exist (or perhaps you don't have permission to "
                "use it?)"
            )
            return _problem(422, detail, "Invalid version or not permitted")
        return self._create(request, model, version, keys=_BODY_KEYS | {"version"})

    def _create(
        self,
        request: HttpRequest,
        model: str,
        version: str,
        *,
        deployment: str = "",
        keys: set[str] = _BODY_KEYS,
    ) -> HttpAnswer:
        body = request.json()
        refused = self._refuse(body, model, keys)
        if refused is not None:
            return refused
        cancel_after = _CANCEL_AFTER.fullmatch(request.headers.get("cancel-after", ""))
        with self._lock:
            now = time.time()
            deadline = None
            if cancel_after is not None:
                deadline = now + max(_SHORTEST_DEADLINE_SECONDS, int(cancel_after[1]))
            job = Prediction(
                id=f"p{len(self.jobs):025d}",
                model=model,
                version=version,
                input=body["input"],
                switches=self.switches,
                created=now,
                deadline=deadline,
                deployment=deployment,
            )
            job.output = self._generate(job.id, models.defaults(model) | dict(body["input"]))
            self.jobs.add(job)
        if self.switches.lose_answer and self._strikes("lost", 1):
            garbled = HttpAnswer(status=201, body=b'{"id": "p00')
            answers = {"drop": CUT, "500": _internal_error(), "garbled": garbled}
            return answers[self.switches.lose_answer]
        prefer = _PREFER.fullmatch(request.headers.get("prefer", ""))
        if prefer is not None:
            job.wait(float(prefer[1] or _LONGEST_WAIT_SECONDS))
        return json_answer(job.as_json(self.url), 201 if job.has_ended else 202)

    def _refuse(self, body: Mapping[str, Any], model: str, keys: set[str]) -> HttpAnswer | None:
        switches = self.switches
        if switches.no_credit:
            return _problem(
                402,
                "You have insufficient credit to run this model. Go to "
                "https://replicate.com/account/billing#billing to purchase credit.",
                "Insufficient credit",
            )
        if self._strikes("throttled", switches.throttled):
            return _throttled(switches.throttle, switches.throttle_seconds)
        if self._strikes("broken", switches.broken):
            return _internal_error()
        fields = [
            {"type": "additional_property_not_allowed", "field": key, "description": "unknown"}
            for key in body.keys() - keys
        ] or models.find_invalid_fields(model, body.get("input"))
        if switches.refused_input:
            field = f"input.{switches.refused_input}"
            fields.append({"type": "enum", "field": field, "description": "is not what it was"})
        if not fields:
            return None
        detail = "".join(f"- {each['field']}: {each['description']}\n" for each in fields)
        return _problem(422, detail, "Input validation failed", invalid_fields=fields)

    def _generate(self, id: str, values: Mapping[str, Any]) -> object:
        """Paint the output files, and return the output in the form of `shape`."""
        count, suffix = int(values.get("num_outputs") or 1), values.get("output_format") or "png"
        links = [
            f"{self.url.removesuffix('/v1')}/delivery/{id}/{index}.{suffix}"
            for index in range(count)
        ]
        files = paint_outputs(values, count)
        self._output_files |= dict(zip(links, files, strict=True))
        shapes: dict[str, object] = {
            "list": links,
            "one": links[0],
            "data": [f"data:{media_type(f)};base64,{b64encode(f).decode()}" for f in files],
            "named": {"images": links, "seed": values.get("seed")},
            "words": ["I paint ", "no such thing."],
            "nothing": None,
        }
        return shapes[self.switches.shape]

    def _download(self, path: str) -> HttpAnswer:
        switches = self.switches
        if switches.redirect:
            return HttpAnswer(status=302, headers={"Location": switches.redirect})
        data = self._output_files.get(self.url.removesuffix("/v1") + path)
        if data is None or switches.gone:
            return _not_found()
        if self._strikes("page", switches.page):
            return HttpAnswer(body=b"<html>Log in</html>", headers={"Content-Type": "text/html"})
        is_cut = self._strikes("cut_short", switches.cut_short)
        return HttpAnswer(body=data, missing=len(data) // 2 if is_cut else 0)

    def _list_predictions(self, request: HttpRequest) -> HttpAnswer:
        """One page; `cursor` is where it begins."""
        if self._strikes("unsteady", self.switches.unsteady):
            return _problem(503, "Service temporarily unavailable")
        if self.switches.portal:
            return json_answer({"welcome": "to the hotel"})
        start = int(request.query.get("cursor", "0"))
        jobs = self.jobs.newest_first()
        page = [job.as_json(self.url) for job in jobs[start : start + _PAGE]]
        has_more = start + _PAGE < len(jobs)
        following = f"{self.url}/predictions?cursor={start + _PAGE}" if has_more else None
        return json_answer({"next": following, "previous": None, "results": page})

    def _get_prediction(self, _: HttpRequest, id: str) -> HttpAnswer:
        job = self.jobs.get(id)
        if job is None or job.switches.forgotten:
            return _not_found()
        if self._strikes("unsteady", self.switches.unsteady):
            return _problem(503, "Service temporarily unavailable")
        return json_answer(job.as_json(self.url))

    def _cancel_prediction(self, _: HttpRequest, id: str) -> HttpAnswer:
        job = self.jobs.get(id)
        if job is None:
            return _not_found()
        job.cancel()
        return json_answer(job.as_json(self.url))

    def _upload_file(self, request: HttpRequest) -> HttpAnswer:
        head, _, rest = request.body.partition(b"\r\n\r\n")
        content = rest[: rest.rfind(b"\r\n--")]
        kind = re.search(rb"Content-Type: ([^\r\n]+)", head)
        digest = sha256(content).hexdigest()
        id = f"file{len(self.uploaded_files)}{digest[:16]}"
        self.uploaded_files[id] = content
        file = {
            "id": id,
            "urls": {"get": f"{self.url}/files/{id}"},
            "size": len(content),
            "content_type": kind[1].decode() if kind else "application/octet-stream",
            "checksums": {"sha256": digest},
            "metadata": {},
            "created_at": format_time(time.time()),
            "expires_at": format_time(time.time() + _FILE_LIFETIME_SECONDS),
        }
        return json_answer(file, 201)

    def _delete_file(self, _: HttpRequest, id: str) -> HttpAnswer:
        return HttpAnswer(status=204) if self.uploaded_files.pop(id, None) else _not_found()

    def _strikes(self, switch: str, times: int) -> bool:
        """Whether a switch that strikes this many times does so now."""
        with self._lock:
            if self._struck[switch] >= times:
                return False
            self._struck[switch] += 1
            return True


def _version_as_json(model: str) -> dict[str, object]:
    schema = {"openapi": "3.0.2", "components": {"schemas": models.MODELS[model]}}
    return {"id": models.version_of(model), "cog_version": "0.14.12", "openapi_schema": schema}


def _problem(status: int, detail: str, title: str = "", **more: object) -> HttpAnswer:
    content: dict[str, object] = {"detail": detail, "status": status, **more}
    return json_answer(content | ({"title": title} if title else {}), status)


def _not_found() -> HttpAnswer:
    return _problem(404, "The requested resource could not be found.")


def _internal_error() -> HttpAnswer:
    return _problem(500, "Internal server error")


def _throttled(form: str, seconds: int) -> HttpAnswer:
    """429, with the pause in one of three forms."""
    if form == "header":
        return json_answer({"detail": "Request was throttled."}, 429, Retry_After=str(seconds))
    if form == "body":
        content = {"detail": "Request was throttled.", "status": 429, "retry_after": seconds}
        return json_answer(content, 429)
    return json_answer({"detail": _THROTTLED.format(seconds=seconds)}, 429)


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES: tuple[tuple[str, str, Callable[..., HttpAnswer]], ...] = (
    ("GET", "/v1/account", Replicate._get_account),
    ("GET", f"/v1/models/{_NAME}", Replicate._get_model),
    ("GET", rf"/v1/models/{_NAME}/versions/(\w+)", Replicate._get_version),
    ("GET", f"/v1/deployments/{_NAME}", Replicate._get_deployment),
    ("POST", f"/v1/models/{_NAME}/predictions", Replicate._run_official),
    ("POST", f"/v1/deployments/{_NAME}/predictions", Replicate._run_deployment),
    ("POST", "/v1/predictions", Replicate._run_version),
    ("GET", "/v1/predictions", Replicate._list_predictions),
    ("GET", r"/v1/predictions/(\w+)", Replicate._get_prediction),
    ("POST", r"/v1/predictions/(\w+)/cancel", Replicate._cancel_prediction),
    ("POST", "/v1/files", Replicate._upload_file),
    ("DELETE", r"/v1/files/(\w+)", Replicate._delete_file),
)
