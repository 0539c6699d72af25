"""The desk of a simulated Replicate: what each request is answered."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from simulators.replicate import answer, models
from simulators.replicate.checks import faults
from simulators.replicate.jobs import Job, Jobs, iso, shown
from simulators.replicate.pictures import as_data, painted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulators.replicate.answer import Answer
    from simulators.replicate.failure_switches import ReplicateSwitches

_PREFER = re.compile(r"wait(?:=([1-9]|[1-9][0-9]|60))?")
_AFTER = re.compile(r"(\d+)s")
_SHORTEST_DEADLINE = 5
_WAIT = 60
_PAGE = 100
_SHELF_SECONDS = 86400
_BODY = {"input", "webhook", "webhook_events_filter", "stream"}
Shelf = dict[str, bytes]
"""Uploaded files by their id."""


class Seen(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Desk:
    """Takes requests, and answers them."""

    def __init__(self, token: str, switches: ReplicateSwitches) -> None:
        self.switches = switches
        self.url = ""
        self.requests: list[Seen] = []
        self.jobs = Jobs()
        self.shelf: Shelf = {}
        self._files: dict[str, bytes] = {}
        self._token = token
        self._done: Counter[str] = Counter()
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What this request is answered."""
        seen = Seen(method, path, headers, body)
        self.requests.append(seen)
        plain = urlsplit(path).path
        if plain.startswith("/delivery/"):
            return self._delivered(plain)
        if headers.get("authorization") != f"Bearer {self._token}":
            return answer.unauthenticated()
        for verb, pattern, act in _ROUTES:
            found = re.fullmatch(pattern, plain)
            if verb == method and found is not None:
                return act(self, seen, *found.groups())
        return answer.not_found()

    def account(self, _: Seen) -> Answer:
        return answer.as_json({"type": "user", "username": "stand-in"})

    def model(self, _: Seen, name: str) -> Answer:
        if name not in models.MODELS:
            return answer.not_found()
        owner, _slash, plain = name.partition("/")
        said = {"owner": owner, "name": plain, "url": f"https://replicate.com/{name}"}
        is_official = name != models.COMMUNITY
        more = {
            "is_official": is_official,
            "visibility": "public",
            "latest_version": _version(name),
        }
        return answer.as_json(said | more)

    def version(self, _: Seen, name: str, version: str) -> Answer:
        known = name in models.MODELS and version == models.version_of(name)
        return answer.as_json(_version(name)) if known else answer.not_found()

    def deployment(self, _: Seen, name: str) -> Answer:
        if name != models.DEPLOYMENT:
            return answer.not_found()
        owner, _slash, plain = name.partition("/")
        release = {
            "number": 1,
            "model": models.COMMUNITY,
            "version": models.version_of(models.COMMUNITY),
            "configuration": {"hardware": "gpu-t4", "min_instances": 0, "max_instances": 1},
        }
        return answer.as_json({"owner": owner, "name": plain, "current_release": release})

    def begin_official(self, seen: Seen, name: str) -> Answer:
        if name not in models.MODELS or name == models.COMMUNITY:
            return answer.not_found()
        return self._begin(seen, name, "hidden")

    def begin_deployed(self, seen: Seen, name: str) -> Answer:
        if name != models.DEPLOYMENT:
            return answer.not_found()
        version = models.version_of(models.COMMUNITY)
        return self._begin(seen, models.COMMUNITY, version, deployment=name)

    def begin_version(self, seen: Seen) -> Answer:
        version = json.loads(seen.body).get("version")
        model = next((name for name in models.MODELS if models.version_of(name) == version), "")
        if not model:
            return answer.problem(
                422,
                "The specified version does not exist (or perhaps you don't have permission to "
                "use it?)",
                "Invalid version or not permitted",
            )
        return self._begin(seen, model, version, keys=_BODY | {"version"})

    def listing(self, seen: Seen) -> Answer:
        """One page; `cursor` is where it begins."""
        if self._still("unsteady", self.switches.unsteady):
            return answer.problem(503, "Service temporarily unavailable")
        if self.switches.portal:
            return answer.as_json({"welcome": "to the hotel"})
        start = int(parse_qs(urlsplit(seen.path).query).get("cursor", ["0"])[0])
        jobs = self.jobs.newest_first()
        page = [shown(job, self.url) for job in jobs[start : start + _PAGE]]
        more = start + _PAGE < len(jobs)
        following = f"{self.url}/predictions?cursor={start + _PAGE}" if more else None
        return answer.as_json({"next": following, "previous": None, "results": page})

    def get(self, _: Seen, id: str) -> Answer:
        job = self.jobs.get(id)
        if job is None or job.switches.forgotten:
            return answer.not_found()
        if self._still("unsteady", self.switches.unsteady):
            return answer.problem(503, "Service temporarily unavailable")
        return answer.as_json(shown(job, self.url))

    def cancel(self, _: Seen, id: str) -> Answer:
        job = self.jobs.get(id)
        if job is None:
            return answer.not_found()
        job.cancel()
        return answer.as_json(shown(job, self.url))

    def upload(self, seen: Seen) -> Answer:
        head, _, rest = seen.body.partition(b"\r\n\r\n")
        content = rest[: rest.rfind(b"\r\n--")]
        kind = re.search(rb"Content-Type: ([^\r\n]+)", head)
        id = f"file{len(self.shelf)}{sha256(content).hexdigest()[:16]}"
        self.shelf[id] = content
        said = {
            "id": id,
            "urls": {"get": f"{self.url}/files/{id}"},
            "size": len(content),
            "content_type": kind[1].decode() if kind else "application/octet-stream",
            "checksums": {"sha256": sha256(content).hexdigest()},
            "metadata": {},
            "created_at": iso(time.time()),
            "expires_at": iso(time.time() + _SHELF_SECONDS),
        }
        return answer.as_json(said, 201)

    def delete(self, _: Seen, id: str) -> Answer:
        return answer.Answer(status=204) if self.shelf.pop(id, None) else answer.not_found()

    def _begin(
        self,
        seen: Seen,
        model: str,
        version: str,
        *,
        deployment: str = "",
        keys: set[str] = _BODY,
    ) -> Answer:
        body = json.loads(seen.body)
        refused = self._refused(body, model, keys)
        if refused is not None:
            return refused
        job = self._made(seen, body["input"], model, version, deployment)
        lost = self._lost()
        if lost is not None:
            return lost
        prefer = _PREFER.fullmatch(seen.headers.get("prefer", ""))
        if prefer is not None:
            job.settle(float(prefer[1] or _WAIT))
        return answer.as_json(shown(job, self.url), 201 if job.has_ended else 202)

    def _refused(self, body: Mapping[str, Any], model: str, keys: set[str]) -> Answer | None:
        trouble = self.switches
        if trouble.no_credit:
            return answer.no_credit()
        if self._still("throttled", trouble.throttled):
            return answer.throttled(trouble.throttle, trouble.throttle_seconds)
        if self._still("broken", trouble.broken):
            return answer.broken()
        wrong = [
            {"type": "additional_property_not_allowed", "field": key, "description": "unknown"}
            for key in body.keys() - keys
        ] or faults(models.MODELS[model], body.get("input"))
        if trouble.refused_input:
            field = f"input.{trouble.refused_input}"
            wrong.append({"type": "enum", "field": field, "description": "is not what it was"})
        return answer.invalid(wrong) if wrong else None

    def _made(
        self, seen: Seen, values: Mapping[str, Any], model: str, version: str, deployment: str
    ) -> Job:
        with self._lock:
            now = time.time()
            after = _AFTER.fullmatch(seen.headers.get("cancel-after", ""))
            id = f"p{len(self.jobs):025d}"
            job = Job(
                id=id,
                model=model,
                version=version,
                input=values,
                switches=self.switches,
                created=now,
                deadline=now + max(_SHORTEST_DEADLINE, int(after[1])) if after else None,
                deployment=deployment,
            )
            job.output = self._output(id, models.defaults(model) | dict(values))
            self.jobs.add(job)
            return job

    def _output(self, id: str, values: Mapping[str, Any]) -> Any:
        shape = self.switches.shape
        count, kind = int(values.get("num_outputs") or 1), values.get("output_format") or "png"
        links = [self._link(f"{id}/{index}.{kind}") for index in range(count)]
        pictures = painted(values, count)
        self._files |= dict(zip(links, pictures, strict=True))
        shapes: dict[str, Any] = {
            "list": links,
            "one": links[0],
            "data": [as_data(picture) for picture in pictures],
            "named": {"images": links, "seed": values.get("seed")},
            "words": ["I paint ", "no such thing."],
            "nothing": None,
        }
        return shapes[shape]

    def _link(self, name: str) -> str:
        return f"{self.url.removesuffix('/v1')}/delivery/{name}"

    def _delivered(self, path: str) -> Answer:
        trouble = self.switches
        if trouble.redirect:
            return answer.Answer(status=302, headers={"Location": trouble.redirect})
        data = self._files.get(self.url.removesuffix("/v1") + path)
        if data is None or trouble.gone:
            return answer.not_found()
        if self._still("page", trouble.page):
            page = {"Content-Type": "text/html"}
            return answer.Answer(body=b"<html>Log in</html>", headers=page)
        missing = len(data) // 2 if self._still("cut_short", trouble.cut_short) else 0
        return answer.Answer(body=data, missing=missing)

    def _lost(self) -> Answer | None:
        """What comes instead of the first answer, where answers get lost."""
        if not self.switches.lose_answer or not self._still("lost", 1):
            return None
        garbled = answer.Answer(status=201, body=b'{"id": "p00')
        return {"drop": answer.CUT, "500": answer.broken(), "garbled": garbled}[
            self.switches.lose_answer
        ]

    def _still(self, what: str, times: int) -> bool:
        """Whether this trouble has not yet come so often."""
        with self._lock:
            if self._done[what] >= times:
                return False
            self._done[what] += 1
            return True


def _version(model: str) -> dict[str, Any]:
    schema = {"openapi": "3.0.2", "components": {"schemas": models.MODELS[model]}}
    return {"id": models.version_of(model), "cog_version": "0.14.12", "openapi_schema": schema}


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", "/v1/account", Desk.account),
    ("GET", f"/v1/models/{_NAME}", Desk.model),
    ("GET", rf"/v1/models/{_NAME}/versions/(\w+)", Desk.version),
    ("GET", f"/v1/deployments/{_NAME}", Desk.deployment),
    ("POST", f"/v1/models/{_NAME}/predictions", Desk.begin_official),
    ("POST", f"/v1/deployments/{_NAME}/predictions", Desk.begin_deployed),
    ("POST", "/v1/predictions", Desk.begin_version),
    ("GET", "/v1/predictions", Desk.listing),
    ("GET", r"/v1/predictions/(\w+)", Desk.get),
    ("POST", r"/v1/predictions/(\w+)/cancel", Desk.cancel),
    ("POST", "/v1/files", Desk.upload),
    ("DELETE", r"/v1/files/(\w+)", Desk.delete),
)
