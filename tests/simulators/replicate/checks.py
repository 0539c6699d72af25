"""What a simulated Replicate refuses: inputs that do not fit the model's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "array": (list,),
}


def faults(schemas: Mapping[str, Any], values: Any) -> list[dict[str, str]]:
    """`invalid_fields` for an input, empty where it is sound."""
    if not isinstance(values, dict):
        return [_fault("input", "invalid_type", "input must be an object")]
    return list(_faults(schemas, values))


def _faults(schemas: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    top = schemas["Input"]
    for name in top["required"]:
        if name not in values:
            yield _fault(f"input.{name}", "required", f"{name} is required")
    for name, value in values.items():
        said = top["properties"].get(name)
        if said is not None and value is not None:
            yield from _fault_of(f"input.{name}", name, _merged(said, schemas), value)


def _fault_of(
    place: str, name: str, said: Mapping[str, Any], value: Any
) -> Iterator[dict[str, str]]:
    wanted = _TYPES[said["type"]]
    if not isinstance(value, wanted) or (isinstance(value, bool) and said["type"] != "boolean"):
        yield _fault(place, "invalid_type", f"{name} must be of type {said['type']}")
    elif "enum" in said and value not in said["enum"]:
        known = ", ".join(f'"{choice}"' for choice in said["enum"])
        yield _fault(place, "enum", f"{name} must be one of the following: {known}")
    elif value < said.get("minimum", value):
        yield _fault(place, "number_gte", f"{name} must be at least {said['minimum']}")
    elif value > said.get("maximum", value):
        yield _fault(place, "number_lte", f"{name} must be at most {said['maximum']}")


def _merged(said: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(said)
    for part in merged.pop("allOf", ()):
        merged = schemas[part["$ref"].rpartition("/")[2]] | merged
    return merged


def _fault(place: str, kind: str, description: str) -> dict[str, str]:
    return {"type": kind, "field": place, "description": description}
