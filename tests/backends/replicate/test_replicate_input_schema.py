"""Input schemas are parsed in every form in which they occur."""

from __future__ import annotations

from typing import Any

import pytest

from imagen.backends.replicate.input_names import (
    SizeInputs,
    find_size_inputs,
    parse_pixels,
    parse_ratio,
)
from imagen.backends.replicate.input_schema import (
    ModelInput,
    build_parameter,
    find_schemas,
    parse_inputs,
)
from imagen.errors import ConfigError

pytestmark = pytest.mark.usefixtures("replicate_token")

_TOP = {"type": "object", "properties": {"prompt": {"type": "string"}}}


def _parse_input(said: dict[str, Any], **others: Any) -> ModelInput:
    return parse_inputs({"Input": {"properties": {"it": said}}, **others})["it"]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(_TOP, id="the schema alone"),
        pytest.param({"Input": _TOP, "Output": {}}, id="schemas"),
        pytest.param({"components": {"schemas": {"Input": _TOP}}}, id="an OpenAPI document"),
        pytest.param(
            {"id": "v", "openapi_schema": {"components": {"schemas": {"Input": _TOP}}}},
            id="a version",
        ),
        pytest.param(
            {
                "owner": "acme",
                "latest_version": {"openapi_schema": {"components": {"schemas": {"Input": _TOP}}}},
            },
            id="a model",
        ),
    ],
)
def test_a_schema_is_found_in_every_kind_of_document(document: Any) -> None:
    assert find_schemas(document) == {"Input": _TOP}


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(None, id="nothing"),
        pytest.param([], id="a list"),
        pytest.param({"latest_version": None}, id="no version"),
        pytest.param({"components": {"schemas": {}}}, id="no input"),
        pytest.param({"Input": {"properties": []}}, id="no properties"),
    ],
)
def test_a_document_without_a_schema_has_none(document: Any) -> None:
    assert find_schemas(document) is None


_HUGE = 10**400
_CYCLE = {"allOf": [{"$ref": "#/X"}] * 100}


@pytest.mark.parametrize(
    ("said", "others"),
    [
        pytest.param({"$ref": "#/X"}, {"X": _CYCLE}, id="a cycle"),
        pytest.param(
            {"$ref": "#/X0"},
            {f"X{n}": {"anyOf": [{"$ref": f"#/X{n + 1}"}] * 100} for n in range(2000)},
            id="a chain of many branches",
        ),
        pytest.param({"type": "integer", "default": _HUGE}, {}, id="a huge default"),
        pytest.param({"type": "number", "default": _HUGE}, {}, id="a huge default of a fraction"),
        pytest.param({"type": "integer", "minimum": _HUGE}, {}, id="a huge minimum"),
        pytest.param({"type": "integer", "maximum": -1e300}, {}, id="a huge negative maximum"),
        pytest.param({"type": "integer", "enum": [_HUGE, True, None]}, {}, id="huge choices"),
        pytest.param({"type": "string", "enum": ["x"] * 2001}, {}, id="too many choices"),
        pytest.param({"type": "integer", "minimum": 2, "maximum": 1}, {}, id="a limit below"),
        pytest.param({"type": ["string"], "format": [], "items": 1}, {}, id="odd types"),
    ],
)
def test_a_limit_beyond_64_bits_is_ignored(said: dict[str, Any], others: dict[str, Any]) -> None:
    found = _parse_input(said, **others)
    assert (found.default, found.min, found.max, found.choices) == (None, None, None, ())


@pytest.mark.parametrize(
    "required", [None, True, "it", {"it": 1}, [[], []], [{}, None]], ids=lambda said: str(said)
)
def test_an_invalid_list_of_required_inputs_requires_nothing(required: Any) -> None:
    found = parse_inputs({"Input": {"required": required, "properties": {"it": {}}}})
    assert not found["it"].is_required


def test_inputs_with_unprintable_names_are_left_out() -> None:
    properties: dict[str, Any] = {"\x1b[2J": {}, "a\nb": {}, "seed": {}}
    assert list(parse_inputs({"Input": {"properties": properties}})) == ["seed"]


def test_a_schema_with_too_many_inputs_is_refused() -> None:
    properties: dict[str, Any] = {f"a{n}": {} for n in range(501)}
    with pytest.raises(ConfigError, match="has more than 500 inputs"):
        parse_inputs({"Input": {"properties": properties}})


def test_definitions_beside_the_properties_are_resolved() -> None:
    document = {"properties": {"it": {"$ref": "#/$defs/X"}}, "$defs": {"X": {"type": "integer"}}}
    schemas = find_schemas(document)
    assert schemas is not None
    assert parse_inputs(schemas)["it"].type == "int"


def test_referenced_schemas_are_kept() -> None:
    schemas = {
        "Input": {"properties": {"it": {"$ref": "#/X"}}},
        "X": {"$ref": "#/Y"},
        "Y": {"type": "integer"},
        "Z": {},
    }
    found = find_schemas(schemas)
    assert found is not None
    assert list(found) == ["Input", "X", "Y"]


@pytest.mark.parametrize("choice", [f"1:{'9' * 400}", f"{'9' * 400}:1", f"{'9' * 200} MP"])
def test_a_choice_with_too_many_digits_is_not_a_size(choice: str) -> None:
    assert (parse_ratio(choice), parse_pixels(choice)) == (None, None)


def test_unreferenced_schemas_are_dropped() -> None:
    refers = {"properties": {"it": {"allOf": [{"$ref": "#/components/schemas/choice"}]}}}
    schemas = {"Input": refers, "choice": {"enum": ["a"]}, "PredictionRequest": {"huge": 1}}
    assert set(find_schemas(schemas) or {}) == {"Input", "choice"}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        pytest.param({"type": "integer"}, "int", id="integer"),
        pytest.param({"type": "number"}, "float", id="number"),
        pytest.param({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string", id="null"),
        pytest.param({"type": "array"}, "list", id="array"),
        pytest.param({"type": "spaghetti"}, "json", id="unknown"),
        pytest.param("not even an object", "json", id="not an object"),
    ],
)
def test_each_json_type_has_its_parameter_type(said: Any, kind: str) -> None:
    assert _parse_input(said).type == kind


def test_choices_are_resolved_through_a_reference() -> None:
    said = {"allOf": [{"$ref": "#/components/schemas/ratio"}], "default": "1:1"}
    found = _parse_input(said, ratio={"type": "string", "enum": ["1:1", "2:3"]})
    assert (found.choices, found.default, found.type) == (("1:1", "2:3"), "1:1", "string")


def test_a_schema_that_refers_to_itself_is_parsed() -> None:
    assert (
        _parse_input({"$ref": "#/components/schemas/loop"}, loop={"$ref": "x/loop"}).type == "json"
    )


def test_inputs_keep_the_order_of_their_author() -> None:
    properties = {"b": {"x-order": 1}, "c": {}, "a": {"x-order": 0}}
    assert list(parse_inputs({"Input": {"properties": properties}})) == ["a", "b", "c"]


def test_a_multiple_is_read_from_the_description() -> None:
    said = {"type": "integer", "description": "Must be a multiple of 32 (else it is rounded)."}
    assert build_parameter(_parse_input(said)).multiple_of == 32


@pytest.mark.parametrize(
    ("said", "default"),
    [
        pytest.param({"type": "integer", "default": 4.0}, 4, id="an integral float"),
        pytest.param({"type": "number", "default": 7}, 7.0, id="an int"),
        pytest.param({"type": "integer", "default": -1, "minimum": 0}, None, id="out of range"),
        pytest.param({"type": "string", "enum": ["a"], "default": "b"}, None, id="not a choice"),
        pytest.param({"type": "integer", "default": True}, None, id="of another type"),
        pytest.param({"type": "boolean", "default": False}, False, id="false"),
    ],
)
def test_a_default_of_another_type_or_range_is_ignored(said: dict[str, Any], default: Any) -> None:
    assert build_parameter(_parse_input(said)).default == default


@pytest.mark.parametrize(
    ("name", "kind"), [("init_image", "image"), ("lora_file", "string"), ("mask", "image")]
)
def test_an_image_input_is_recognized_by_its_name(name: str, kind: str) -> None:
    said = {"Input": {"properties": {name: {"type": "string", "format": "uri"}}}}
    assert build_parameter(parse_inputs(said)[name]).type == kind


@pytest.mark.parametrize(
    ("choice", "ratio"),
    [("16:9", 16 / 9), ("1024x512", 2.0), ("match_input_image", None), ("0:1", None)],
)
def test_an_aspect_ratio_is_parsed(choice: str, ratio: float | None) -> None:
    assert parse_ratio(choice) == ratio


@pytest.mark.parametrize(
    ("choice", "pixels"),
    [
        ("1", 1e6),
        ("0.25", 250_000.0),
        ("2 MP", 2e6),
        ("2K", 2048.0**2),
        ("0K", None),
        ("1.2.3", None),
        ("None", None),
    ],
)
def test_a_pixel_count_is_parsed(choice: str, pixels: float | None) -> None:
    assert parse_pixels(choice) == pixels


def test_a_model_without_size_inputs_has_none() -> None:
    assert find_size_inputs({}) == SizeInputs()
    assert not find_size_inputs({}).is_known


def test_a_list_of_sizes_counts_as_a_list_of_ratios() -> None:
    inputs = parse_inputs(
        {"Input": {"properties": {"size": {"type": "string", "enum": ["1024x1024", "1536x1024"]}}}}
    )
    assert find_size_inputs(inputs).values_for(900, 600) == {"size": "1536x1024"}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"type": "integer", "enum": [2.5, True, "a", None]}, id="invalid choices"),
        pytest.param({"type": "integer", "allOf": 7, "anyOf": "x", "oneOf": None}, id="no lists"),
        pytest.param({"type": ["integer"], "$ref": 7}, id="a list of types"),
        pytest.param({"type": "integer", "multipleOf": float("inf")}, id="an endless step"),
        pytest.param({"type": "number", "default": float("nan")}, id="not a number"),
        pytest.param({"type": "number", "minimum": True, "maximum": "9"}, id="no range"),
    ],
)
def test_a_malformed_schema_is_parsed_as_far_as_possible(said: dict[str, Any]) -> None:
    found = build_parameter(_parse_input(said))
    assert (found.default, found.min, found.max, found.multiple_of) == (None, None, None, None)
    assert found.choices is None
