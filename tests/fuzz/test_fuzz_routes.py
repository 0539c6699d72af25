"""Every route answers whatever the OpenAPI document allows, in time and as it is documented."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.live_server import LiveServer, live_server, server_settings
from support.openai_server import png

from imagen.config import Limits, ServerSettings
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXAMPLES = int(os.environ.get("IMAGEN_FUZZ_EXAMPLES", "3"))
_LONGEST_SECONDS = 10.0
_ENDLESS = {"GET /api/v1/events"}
_PREFIXES = ("/api/v1/", "/v1/", "/sdapi/", "/controlnet/", "/")
_CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance]
_SIDE = 32
_SMALL: dict[str, dict[str, Any]] = {
    "/sdapi/": {"width": _SIDE, "height": _SIDE, "steps": 1, "batch_size": 1, "n_iter": 1},
    "/v1/": {"size": f"{_SIDE}x{_SIDE}", "n": 1},
    "/": {"prompt": "a fox", "width": _SIDE, "height": _SIDE, "count": 1, "steps": 1},
}
"""By the beginning of a path: values with which a request can be run."""


class Target:
    """A server with one thing of each kind, and their ids by the beginning of their paths."""

    def __init__(self, server: LiveServer) -> None:
        client, request = server.client, _SMALL["/"]
        answer = client.post("/api/v1/generations", params={"wait": 20}, json={"request": request})
        result = answer.raise_for_status().json()
        body = {"models": ["mock"], "request": request}
        compared = client.post("/api/v1/comparisons", json=body).raise_for_status().json()
        headers = {"Content-Type": "image/png"}
        upload = client.post("/api/v1/uploads", content=png(), headers=headers)
        self.ids = {
            "/api/v1/jobs/": result["job"]["id"],
            "/api/v1/generations/": result["job"]["id"],
            "/api/v1/images/": result["images"][0]["uid"],
            "/api/v1/uploads/": upload.raise_for_status().json()["sha256"],
            "/api/v1/comparisons/": compared["id"],
            "/api/v1/backends/": "mock",
            "/api/v1/workflows/": "sdxl",
        }
        document = client.get("/api/v1/openapi.json").raise_for_status().json()
        schema = schemathesis.openapi.from_dict(document)
        schema.config.update(base_url=server.url)
        results: list[Any] = [*schema.get_all_operations()]
        self.operations = [one.ok() for one in results]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with ComfyUI() as comfy:
        settings = server_settings(
            {
                "mock": {"type": "mock"},
                "studio": {"type": "comfyui", "url": comfy.url, "workflow": "sdxl"},
            },
            folder=tmp_path_factory.mktemp("server"),
            limits=Limits(max_width=256, max_height=256),
            server=ServerSettings(comfyui="studio"),
        )
        with live_server(settings) as server:
            yield Target(server)


@pytest.mark.parametrize("prefix", _PREFIXES)
def test_no_route_fails_or_hangs(target: Target, prefix: str) -> None:
    faults: list[str] = []
    for operation in target.operations:
        first = next(one for one in _PREFIXES if operation.path.startswith(one))
        if first == prefix and operation.label not in _ENDLESS:
            faults += _fuzz(operation, target, GenerationMode.POSITIVE)
            if operation.body or [*operation.iter_parameters()]:
                faults += _fuzz(operation, target, GenerationMode.NEGATIVE)
    assert not faults, "\n".join(faults)


def _fuzz(operation: Any, target: Target, mode: GenerationMode) -> list[str]:
    """What was wrong with the answers to calls that the document allows, or that it does not.

    Every second call that it allows is one that can work.
    """
    faults: dict[str, str] = {}
    numbers = itertools.count()

    @settings(
        max_examples=_EXAMPLES if mode is GenerationMode.POSITIVE else max(1, _EXAMPLES // 2),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def call(case: Any) -> None:
        if next(numbers) % 2 and mode is GenerationMode.POSITIVE:
            _make_possible(case, target)
        _bound(case)
        began = time.monotonic()
        answer = case.call(timeout=2 * _LONGEST_SECONDS)
        fault = _find_fault(case, answer, time.monotonic() - began)
        if fault:
            faults.setdefault(fault[:40], f"{case.as_curl_command()[:500]}: {fault}")

    call()
    return [*faults.values()]


def _find_fault(case: Any, answer: Any, seconds: float) -> str:
    kind = "".join(answer.headers.get("content-type", ""))
    if answer.status_code >= 500:
        return f"{answer.status_code}: {answer.text[:500]}"
    if seconds > _LONGEST_SECONDS:
        return f"took {seconds:.1f} s"
    is_native = case.path.startswith("/api/v1/")
    if answer.status_code >= 400 and is_native and kind != "application/problem+json":
        return f"an error as {kind}: {answer.text[:200]}"
    try:
        case.validate_response(answer, checks=_CHECKS)
    except FailureGroup as group:
        return "; ".join(str(one)[:500] for one in group.exceptions)
    return ""


def _make_possible(case: Any, target: Target) -> None:
    """Name something that exists, and ask for images that are quickly made."""
    known = next((id for start, id in target.ids.items() if case.path.startswith(start)), None)
    if known is not None and case.path_parameters and case.method != "DELETE":
        first = next(iter(case.path_parameters))
        case.path_parameters = {**case.path_parameters, first: known}
    if not isinstance(case.body, dict):
        return
    small = next(values for start, values in _SMALL.items() if case.path.startswith(start))
    if isinstance(case.body.get("request"), dict):
        case.body = {**case.body, "request": {**case.body["request"], **small}}
    elif not case.path.startswith("/api/v1/"):
        case.body = {**case.body, **small}


def _bound(case: Any) -> None:
    """Wait for no job for long, ask for few images, and send no endless URL."""
    case.query = {k: v[:20] if isinstance(v, list) else v for k, v in (case.query or {}).items()}
    case.headers = {k: v for k, v in (case.headers or {}).items() if k.lower() != "prefer"}
    if "wait" in case.query:
        case.query = {**case.query, "wait": 0.1}
    outer = case.body if isinstance(case.body, dict) else {}
    inner = outer.get("request")
    for values in (outer, inner if isinstance(inner, dict) else {}):
        for name in ("count", "n", "batch_size", "n_iter"):
            if isinstance(values.get(name), int):
                values[name] = min(values[name], 2)
