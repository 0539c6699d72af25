"""Pydantic's faults, as sentences: the key's path, what is wrong, and the nearest right key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: where, and what."""

    path: Path
    what: str

    @property
    def sentence(self) -> str:
        return f"{dotted(self.path)}: {self.what}"


def dotted(path: Path) -> str:
    """`backends.studio.url`, `loras[0].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def problems(error: ValidationError, *, at: Path = (), model: type[BaseModel]) -> list[Problem]:
    """Each fault of a validation of `model`, whose values lie under the path `at`."""
    return list(_problems(error, at, model))


def sentences(error: ValidationError, *, model: type[BaseModel]) -> str:
    """Each fault of a validation of `model` on a line of its own."""
    return "\n".join(problem.sentence for problem in problems(error, model=model))


def _problems(error: ValidationError, at: Path, model: type[BaseModel]) -> Iterator[Problem]:
    for detail in error.errors(include_url=False, include_context=True):
        yield Problem((*at, *detail["loc"]), _what(detail, model))


def _what(detail: ErrorDetails, model: type[BaseModel]) -> str:
    if detail["type"] == "extra_forbidden":
        known = _keys_at(model, detail["loc"][:-1])
        return f"unknown key.{did_you_mean(str(detail['loc'][-1]), known)}"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    shown = _shown(detail["input"])
    said = f"{message[:1].lower()}{message[1:]}" + (f", not {shown}" if shown else "")
    return said + _range(detail, model)


def _range(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """` (16 to 16384)`, where the fault is of a range."""
    if not detail["type"].startswith(("greater_than", "less_than")) or len(detail["loc"]) > 1:
        return ""
    schema = model.model_json_schema()["properties"].get(str(detail["loc"][0]), {})
    limits: dict[str, Any] = next(
        (s for s in (schema, *schema.get("anyOf", ())) if "minimum" in s), {}
    )
    if "maximum" not in limits:
        return ""
    return f" ({limits['minimum']} to {limits['maximum']})"


def _shown(value: Any) -> str:
    """Short values as written; long or nested ones, which may hold anything, not at all."""
    text = repr(value)
    return text if isinstance(value, int | float | str | bool) and len(text) <= 60 else ""


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that the model nested at `path` takes; none where the path leaves the models."""
    fields = model.model_fields
    for part in path:
        annotation = fields[str(part)].annotation if str(part) in fields else None
        inner = getattr(annotation, "model_fields", None)
        if inner is None:
            return []
        fields = inner
    return list(fields)
