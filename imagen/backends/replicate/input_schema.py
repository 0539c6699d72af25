"""A model's inputs, read from the OpenAPI schema that Replicate keeps of it."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from imagen.backends.learned import read_learned, write_learned
from imagen.backends.redact import Redactor, credentials
from imagen.core.capabilities import Parameter
from imagen.core.filesystem import read_at_most
from imagen.core.json_values import MAX_BYTES, as_mapping, as_time, parse_json
from imagen.core.text import one_line
from imagen.errors import ConfigError, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.backends.replicate.client import ModelInfo
    from imagen.backends.replicate.config import ReplicateConfig
    from imagen.core.capabilities import Kind


InputType = Literal["int", "float", "bool", "string", "list", "json"]
Schemas = dict[str, Any]
"""`components.schemas`: the schema called `Input`, and those it refers to."""

_TYPES: Mapping[str, InputType] = {
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "string": "string",
    "array": "list",
}
_CLASSES: Mapping[InputType, type] = {
    "int": int,
    "float": float,
    "bool": bool,
    "string": str,
    "list": list,
    "json": object,
}
_MULTIPLE = re.compile(r"multiples? of (\d{1,4})\b")
_PICTURE = re.compile(r"image|img|mask|photo|picture", re.IGNORECASE)
_READ = (
    *("type", "items", "description", "default", "minimum", "maximum", "enum", "multipleOf"),
    *("format", "x-order"),
)
"""The keys of a schema that are read."""
_DEEPEST = 20
_MOST_INPUTS = 500
_MOST_CHOICES = 2000
_LARGEST = 2**64
_LONGEST_DESCRIPTION = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput:
    """One input of a model."""

    name: str
    type: InputType = "json"
    default: Any = None
    min: int | float | None = None
    max: int | float | None = None
    multiple_of: int | None = None
    """From the schema, or from the words of its description."""
    choices: tuple[Any, ...] = ()
    description: str = ""
    is_file: bool = False
    """Whether it, or each item of it, is the address of a file."""
    is_required: bool = False

    @property
    def is_picture(self) -> bool:
        return self.is_file and _PICTURE.search(self.name) is not None


def parse_inputs(schemas: Mapping[str, Any]) -> dict[str, ModelInput]:
    """The inputs, in the order that the model's author gave them."""
    top = as_mapping(schemas.get("Input"))
    required = top.get("required")
    needed = required if isinstance(required, list) else ()
    properties = as_mapping(top.get("properties"))
    if len(properties) > _MOST_INPUTS:
        raise ConfigError(f"The model's input schema has more than {_MOST_INPUTS} inputs.")
    known: dict[str, dict[str, Any]] = {}
    read = [
        (_order(said), _input(name, _merged(said, schemas, known), is_required=name in needed))
        for name, said in properties.items()
        if name.isprintable()
    ]
    return {found.name: found for _, found in sorted(read, key=lambda pair: pair[0])}


def find_schemas(document: Any) -> Schemas | None:
    """The schemas in what was saved of a model: its page, a version, the OpenAPI document, or the
    input schema alone; None where there are none."""
    said = as_mapping(document)
    for key in ("latest_version", "openapi_schema", "components", "schemas"):
        if isinstance(said.get(key), dict):
            return find_schemas(said[key])
    if isinstance(as_mapping(said.get("Input")).get("properties"), dict):
        return _needed(said)
    if not isinstance(said.get("properties"), dict):
        return None
    return {**as_mapping(said.get("$defs")), "Input": said}


def build_parameter(found: ModelInput, *, default: Any = None, description: str = "") -> Parameter:
    """How imagen shows an input to those who ask what a model takes."""
    texts = all(isinstance(choice, str) for choice in found.choices)
    numbers = found.type in ("int", "float")
    return Parameter(
        type=_kind(found),
        default=_within(found) if default is None else default,
        min=_least(found) if numbers else None,
        max=_most(found) if numbers else None,
        multiple_of=found.multiple_of if found.type == "int" else None,
        choices=found.choices if texts and found.choices else None,
        description=description or found.description or f"The model's input {found.name}.",
    )


def _within(found: ModelInput) -> Any:
    """The default, unless the schema contradicts itself; `-1` for a seed means none."""
    value = found.default
    if value is None or (found.choices and value not in found.choices):
        return None
    if found.type not in ("int", "float"):
        return value
    least, most, step = _least(found), _most(found), found.multiple_of
    too_small, too_large = least is not None and value < least, most is not None and value > most
    return None if too_small or too_large or (step and value % step) else value


def _kind(found: ModelInput) -> Kind:
    if found.type == "string":
        return "image" if found.is_picture else "string"
    return "json" if found.type == "list" else found.type


def _least(found: ModelInput) -> int | float | None:
    return min(found.choices) if found.choices else found.min


def _most(found: ModelInput) -> int | float | None:
    return max(found.choices) if found.choices else found.max


def _input(name: str, said: Mapping[str, Any], *, is_required: bool) -> ModelInput:
    kind = _TYPES.get(str(said.get("type")), "json")
    items = as_mapping(said.get("items"))
    description = one_line(str(said.get("description") or ""), limit=_LONGEST_DESCRIPTION)
    choices = _choices(said, kind)
    least, most = _number(said.get("minimum")), _number(said.get("maximum"))
    if least is not None and most is not None and least > most:
        least = most = None
    return ModelInput(
        name=name,
        type=kind,
        default=_default(said.get("default"), kind),
        min=least,
        max=most,
        multiple_of=_step(said, description, choices) if kind == "int" else None,
        choices=choices,
        description=description,
        is_file="uri" in (said.get("format"), items.get("format")),
        is_required=is_required,
    )


def _choices(said: Mapping[str, Any], kind: InputType) -> tuple[Any, ...]:
    given = said.get("enum")
    wanted = _CLASSES[kind] if kind in ("int", "string") else (int, float)
    choices = given if isinstance(given, list) and kind in ("int", "float", "string") else ()
    if len(choices) > _MOST_CHOICES:
        return ()
    return tuple(
        c
        for c in choices
        if isinstance(c, wanted) and (isinstance(c, str) or _number(c) is not None)
    )


def _step(said: Mapping[str, Any], description: str, choices: tuple[Any, ...]) -> int | None:
    if choices:
        return math.gcd(*choices) or None
    told = _MULTIPLE.search(description)
    step = _number(said.get("multipleOf")) or (int(told[1]) if told else None)
    return int(step) if step and step >= 1 else None


def _default(value: Any, kind: InputType) -> Any:
    """The default, if it is of the input's own type."""
    if isinstance(value, int | float) and _number(value) is None and not isinstance(value, bool):
        return None
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or kind == "bool":
        return value if isinstance(value, bool) and kind == "bool" else None
    return value if isinstance(value, _CLASSES[kind]) else None


def _merged(
    said: Any, schemas: Mapping[str, Any], known: dict[str, dict[str, Any]], depth: int = 0
) -> dict[str, Any]:
    """What is read of a schema, with what it refers to in its place; `known` grows by the named
    ones, each of which is read once, so that rings end and many references cost little."""
    found = as_mapping(said)
    own = {key: found[key] for key in _READ if key in found}
    if depth == _DEEPEST:
        return own
    if _refers(found):
        name = _name_of(found)
        if name not in known:
            known[name] = {}
            known[name] = _merged(schemas.get(name), schemas, known, depth + 1)
        own = known[name] | own
    for key in ("allOf", "anyOf", "oneOf"):
        listed = found.get(key)
        for part in listed if isinstance(listed, list) else ():
            if as_mapping(part).get("type") != "null":
                own = _merged(part, schemas, known, depth + 1) | own
    return own


def _refers(said: Mapping[str, Any]) -> bool:
    return isinstance(said.get("$ref"), str)


def _name_of(said: Mapping[str, Any]) -> str:
    return str(said["$ref"]).rsplit("/", 1)[-1]


def _needed(schemas: Mapping[str, Any]) -> Schemas:
    """`Input`, and what it refers to."""
    names, left = set[str](), ["Input"]
    while left:
        name = left.pop()
        if name in schemas and name not in names:
            names.add(name)
            left += _references(schemas[name])
    return {name: said for name, said in schemas.items() if name in names}


def _references(said: Any) -> Iterator[str]:
    if isinstance(said, dict):
        if _refers(said):
            yield _name_of(said)
        for inner in said.values():
            yield from _references(inner)
    for inner in said if isinstance(said, list) else ():
        yield from _references(inner)


def _order(said: Any) -> float:
    order = _number(as_mapping(said).get("x-order"))
    return math.inf if order is None else float(order)


def _number(value: Any) -> int | float | None:
    """A number of the schema; None for one beyond those that a model can mean."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not -_LARGEST <= value <= _LARGEST:
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


_FRESH = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSchema:
    """What is known of a model without asking."""

    model: str
    """`owner/name`; for a deployment, that of the model it runs."""
    schemas: Schemas
    version: str = ""
    hardware: str = ""
    read_at: str = ""
    """When it was read, as an ISO date; "" for a file of the user's, which is never outdated."""

    def is_stale(self, now: datetime | None = None) -> bool:
        """Whether it is older than a week."""
        read = as_time(self.read_at)
        return read is not None and (now or datetime.now(UTC)) - read > _FRESH


def load_schema(config: ReplicateConfig) -> ModelSchema | None:
    """What is known by the file that the configuration names, or else by an earlier answer.

    Raises ConfigError for a file that can't be read, or holds no input schema.
    """
    if config.input_schema is not None:
        schemas = _named(config.input_schema)
        return ModelSchema(model=config.reference.model, schemas=schemas)
    said = read_learned(_path(config))
    texts = [said.get(name, "") for name in ("model", "version", "hardware", "read_at")]
    sound = all(isinstance(text, str) for text in texts) and find_schemas(said.get("schemas"))
    try:
        return ModelSchema(**said) if sound else None
    except TypeError:  # another version's
        return None


def save_schema(page: ModelInfo, config: ReplicateConfig) -> ModelSchema:
    """What the API said of the model, written down for later; not to be able to is no matter.

    Raises Rejected where it said nothing of the inputs.
    """
    redactor = Redactor(credentials(config))  # a gateway may repeat the request in it
    schemas = redactor.value(find_schemas(page.document))
    if schemas is None:
        raise Rejected(
            f"Replicate tells no input schema of {page.model}: it can't be run by imagen.",
            remedy=f"Name a file that holds it: backends.{config.name}.input_schema.",
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = ModelSchema(
        model=page.model,
        schemas=schemas,
        version=page.version,
        hardware=redactor.text(page.hardware),
        read_at=now,
    )
    if config.input_schema is None:
        write_learned(_path(config), asdict(found))
    return found


def _named(path: Path) -> Schemas:
    try:
        said = parse_json(read_at_most(path.expanduser(), MAX_BYTES + 1))
    except OSError as error:
        raise ConfigError(f"input_schema: {path} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"input_schema: {path} {error}.") from error
    schemas = find_schemas(said)
    if schemas is None:
        raise ConfigError(
            f"input_schema: {path} holds no input schema.",
            remedy="Save what https://api.replicate.com/v1/models/OWNER/NAME answers.",
        )
    return schemas


def _path(config: ReplicateConfig) -> Path | None:
    """The file of this model; named by what is asked for, not by what was answered."""
    if config.cache_dir is None:
        return None
    which = sha256(f"{config.base_url}\0{config.model}".encode()).hexdigest()[:16]
    reference = config.reference
    return config.cache_dir / "replicate" / f"{reference.owner}-{reference.name}-{which}.json"
