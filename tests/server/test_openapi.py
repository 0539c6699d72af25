"""The OpenAPI document describes every route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from support.live_server import server_settings

from imagen.runtime import open_runtime
from imagen.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    settings = server_settings(folder=tmp_path_factory.mktemp("server"))
    with open_runtime(settings, has_worker=False) as runtime:
        yield create_app(runtime).openapi()


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for path in document["paths"].values() for one in path.values()]


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(document).validate()


def test_ids_of_operations_are_unique_and_short(document: dict[str, Any]) -> None:
    ids = [one["operationId"] for one in _operations(document)]
    assert {"list_jobs", "submit_generation", "post_sdapi_v1_txt2img"} <= set(ids)
    assert len(set(ids)) == len(ids)
    assert [id for id in ids if len(id) > 50] == []


def test_each_route_has_a_summary_a_subject_and_a_scope(document: dict[str, Any]) -> None:
    for one in _operations(document):
        assert 3 < len(one["summary"]) <= 100, one["operationId"]
        assert one["tags"], one["operationId"]
        assert one["x-imagen-scope"] in ("read", "generate", "admin", None)


def test_errors_are_problems_or_have_the_shape_of_the_api(document: dict[str, Any]) -> None:
    native = document["paths"]["/api/v1/jobs"]["get"]["responses"]
    foreign = document["paths"]["/sdapi/v1/samplers"]["get"]["responses"]
    assert list(native["default"]["content"]) == ["application/problem+json"]
    assert "content" not in foreign["default"]
    assert "422" not in {status for one in _operations(document) for status in one["responses"]}


def test_fields_that_openai_answers_leave_out_are_not_required(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert "required" not in schemas["OpenaiImage"]
    assert schemas["OpenaiImages"]["required"] == [
        "created", "data", "output_format", "quality", "size", "imagen",
    ]  # fmt: skip
