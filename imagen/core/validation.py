"""Pydantic's errors as sentences: the path of the key, what is wrong, and the nearest valid key."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from imagen.core.text import did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: where it is, what is wrong, and what to do about it."""

    path: Path
    what: str
    remedy: str = ""
    line: int | None = None
    """Its line in the file, from 1, if it is in a file."""

    @property
    def sentence(self) -> str:
        return f"{dotted(self.path)}: {self.what}" if self.path else self.what


def dotted(path: Path) -> str:
    """`backends.studio.url`, `loras[0].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def problems(error: ValidationError, *, at: Path = (), model: type[BaseModel]) -> list[Problem]:
    """The problems in a validation of `model`, whose values are at the path `at`."""
    return [
        Problem(
            (*at, *detail["loc"]), describe_detail(detail, model), remedy=_remedy(detail, model)
        )
        for detail in error.errors(include_url=False, include_context=True)
    ]


def sentences(error: ValidationError, *, model: type[BaseModel]) -> str:
    """The problems in a validation of `model`, each on its own line."""
    return "\n".join(problem.sentence for problem in problems(error, model=model))


def describe_detail(detail: ErrorDetails, model: type[BaseModel] | None = None) -> str:
    """What is wrong with one value, in plain words; the model knows similar keys and its range."""
    if detail["type"] == "extra_forbidden":
        known = _fields_at(model, detail["loc"][:-1]) if model else {}
        return f"unknown key.{did_you_mean(str(detail['loc'][-1]), known)}"
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"] in _WANTED:
        limits = {  # 1 for 1.0, as the limit is written in the model
            name: int(limit) if isinstance(limit, float) and limit.is_integer() else limit
            for name, limit in detail.get("ctx", {}).items()
        }
        wanted = _WANTED[detail["type"]].format(**limits)
        return f"must {wanted}{_not(detail['input'])}" + _range(detail, model)
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{message[:1].lower()}{message[1:]}" + _not(detail["input"]) + _range(detail, model)


_WANTED = {
    "dict_type": "be a mapping with keys and values",
    "model_type": "be a mapping with keys and values",
    "model_attributes_type": "be a mapping with keys and values",
    "list_type": "be a list",
    "tuple_type": "be a list",
    "string_type": "be text",
    "too_short": "list at least {min_length}",
    "string_too_short": "have at least {min_length} character",
    "int_type": "be a whole number",
    "int_parsing": "be a whole number",
    "int_from_float": "be a whole number",
    "float_type": "be a number",
    "float_parsing": "be a number",
    "bool_type": "be true or false",
    "bool_parsing": "be true or false",
    "finite_number": "be a finite number",
    "greater_than": "be more than {gt}",
    "greater_than_equal": "be at least {ge}",
    "less_than": "be less than {lt}",
    "less_than_equal": "be at most {le}",
    "literal_error": "be {expected}",
}
"""Plain words, with types of YAML and JSON instead of Python's."""


def _remedy(detail: ErrorDetails, model: type[BaseModel]) -> str:
    *parents, last = detail["loc"] or ("",)
    fields = _fields_at(model, tuple(parents))
    if detail["type"] == "extra_forbidden":
        known = ", ".join(name for name, field in fields.items() if not field.exclude)
        return f"Known here: {known}." if known else ""
    if detail["type"] == "string_type" and isinstance(detail["input"], bool | int | float):
        return "Put it in quotes if it is meant as text."
    field = fields.get(str(last))
    if field is None or not field.description:
        return ""
    default = _shown(field.default)
    return field.description + (f" The default is {default}." if default else "")


def _range(detail: ErrorDetails, model: type[BaseModel] | None) -> str:
    """` (16 to 16384)`, if a value is out of range."""
    if (
        model is None
        or not detail["type"].startswith(("greater_than", "less_than"))
        or len(detail["loc"]) > 1
    ):
        return ""
    schema = model.model_json_schema()["properties"].get(str(detail["loc"][0]), {})
    limits: dict[str, Any] = next(
        (s for s in (schema, *schema.get("anyOf", ())) if "minimum" in s), {}
    )
    if "maximum" not in limits:
        return ""
    return f" ({limits['minimum']} to {limits['maximum']})"


def _not(value: Any) -> str:
    shown = _shown(value)
    return f", not {shown}" if shown else ""


def _shown(value: Any) -> str:
    """A short value as written; "" for a long or nested one, which may contain anything."""
    text = repr(value) if isinstance(value, int | float | str | bool) else ""
    return text if len(text) <= 60 else ""


def _fields_at(model: type[BaseModel], path: Path) -> dict[str, FieldInfo]:
    """The fields of the model nested at `path`; none if there is no model there."""
    found: Any = model
    for part in path:
        fields = _fields(found)
        found = (
            fields[str(part)].annotation
            if str(part) in fields
            else next((a for a in reversed(get_args(found)) if a is not Ellipsis), None)
        )
    return _fields(found)


def _fields(annotation: Any) -> dict[str, FieldInfo]:
    """The fields of the model, or of the first model in an optional one."""
    optional = get_origin(annotation) in (UnionType, Union)
    candidates = get_args(annotation) if optional else (annotation,)
    return next((c.model_fields for c in candidates if hasattr(c, "model_fields")), {})
