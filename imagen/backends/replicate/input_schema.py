"""A model's inputs, parsed from its OpenAPI schema; and the cache of schemas on disk.

A schema is requested once, and then used for a week without asking the API.
"""

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
from imagen.core.json_values import MAX_BYTES, as_list, as_mapping, as_text, as_time, parse_json
from imagen.core.text import one_line
from imagen.errors import ConfigError, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.backends.replicate.client import ModelInfo
    from imagen.backends.replicate.config import ReplicateConfig
    from imagen.core.capabilities import Kind

InputType = Literal["int", "float", "bool", "string", "list", "json"]
Schemas = dict[str, object]
"""`components.schemas`: the schema called `Input`, and those it refers to."""

_TYPES: Mapping[object, InputType] = {
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
_MULTIPLE_OF = re.compile(r"multiples? of (\d{1,4})\b")
_IMAGE_NAME = re.compile(r"image|img|mask|photo|pict", re.IGNORECASE)
_KEYS = (
    *("type", "items", "description", "default", "minimum", "maximum", "enum", "multipleOf"),
    *("format", "x-order"),
)
"""The keys of a schema that are read."""
_MAX_DEPTH = 20
_MAX_INPUTS = 500
_MAX_CHOICES = 2000
_LARGEST_NUMBER = 2**64
_LONGEST_DESCRIPTION = 300
_FRESH = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput:
    """One input of a model."""

    name: str
    type: InputType = "json"
    default: Any = None
    min: int | float | None = None
    max: int | float | None = None
    multiple_of: int | None = None
    """From the schema or its description."""
    choices: tuple[Any, ...] = ()
    description: str = ""
    is_file: bool = False
    """Whether it takes the URL of a file, or a list of such URLs."""
    is_required: bool = False

    @property
    def is_image(self) -> bool:
        return self.is_file and _IMAGE_NAME.search(self.name) is not None

    @property
    def lowest(self) -> int | float | None:
        return min(self.choices) if self.choices else self.min

    @property
    def highest(self) -> int | float | None:
        return max(self.choices) if self.choices else self.max


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSchema:
    """What is known about a model without asking the API."""

    model: str
    """`owner/name`; for a deployment, of the model it runs."""
    schemas: Schemas
    version: str = ""
    hardware: str = ""
    read_at: str = ""
    """When it was read, as an ISO date; "" for the user's own file, which is never outdated."""

    def is_stale(self, now: datetime | None = None) -> bool:
        read_at = as_time(self.read_at)
        return read_at is not None and (now or datetime.now(UTC)) - read_at > _FRESH


def load_schema(config: ReplicateConfig) -> ModelSchema | None:
    """The schema from the user's file or from the cache; None where there is neither.

    Raises ConfigError for a user's file that cannot be read or holds no schema.
    """
    if config.input_schema is not None:
        path = config.input_schema
        try:
            document = parse_json(read_at_most(path.expanduser(), MAX_BYTES + 1))
        except OSError as error:
            raise ConfigError(f"input_schema: {path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise ConfigError(f"input_schema: {path} {error}.") from error
        schemas = find_schemas(document)
        if schemas is None:
            raise ConfigError(
                f"input_schema: {path} holds no input schema.",
                remedy="Save the answer of https://api.replicate.com/v1/models/OWNER/NAME.",
            )
        return ModelSchema(model=config.reference.model, schemas=schemas)
    values = read_learned(_cache_path(config))
    texts = (values.get(key, "") for key in ("model", "version", "hardware", "read_at"))
    is_valid = all(isinstance(text, str) for text in texts) and find_schemas(values.get("schemas"))
    try:
        return ModelSchema(**values) if is_valid else None
    except TypeError:  # written by another version of imagen
        return None


def save_schema(info: ModelInfo, config: ReplicateConfig) -> ModelSchema:
    """The schema in an answer of the API, also written to the cache if possible.

    Raises Rejected where the answer holds no schema.
    """
    redactor = Redactor(credentials(config))  # a gateway may echo the request in it
    schemas = redactor.value(find_schemas(info.document))
    if schemas is None:
        raise Rejected(
            f"Replicate has no input schema of {info.model}, so imagen cannot run it.",
            remedy=f"Name a file with the schema: backends.{config.name}.input_schema.",
        )
    schema = ModelSchema(
        model=info.model,
        schemas=schemas,
        version=info.version,
        hardware=redactor.text(info.hardware),
        read_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if config.input_schema is None:
        write_learned(_cache_path(config), asdict(schema))
    return schema


def _cache_path(config: ReplicateConfig) -> Path | None:
    """Named after what was requested, not after what was answered."""
    if config.cache_dir is None:
        return None
    key = sha256(f"{config.base_url}\0{config.model}".encode()).hexdigest()[:16]
    reference = config.reference
    return config.cache_dir / "replicate" / f"{reference.owner}-{reference.name}-{key}.json"


def find_schemas(document: object) -> Schemas | None:
    """The schemas in a model, a version, an OpenAPI document or an input schema alone.

    None where there are none.
    """
    values = as_mapping(document)
    for key in ("latest_version", "openapi_schema", "components", "schemas"):
        if isinstance(values.get(key), dict):
            return find_schemas(values[key])
    if isinstance(as_mapping(values.get("Input")).get("properties"), dict):
        needed, open_names = set[str](), ["Input"]
        while open_names:
            name = open_names.pop()
            if name in values and name not in needed:
                needed.add(name)
                open_names += _references(values[name])
        return {name: schema for name, schema in values.items() if name in needed}
    if not isinstance(values.get("properties"), dict):
        return None
    return {**as_mapping(values.get("$defs")), "Input": values}


def _references(schema: object) -> Iterator[str]:
    """The names of all schemas that a schema refers to."""
    if isinstance(schema, dict):
        if name := _referred_name(schema):
            yield name
        for value in schema.values():
            yield from _references(value)
    for value in as_list(schema):
        yield from _references(value)


def _referred_name(schema: Mapping[str, object]) -> str:
    """The last part of `$ref`; "" without one."""
    return as_text(schema.get("$ref")).rsplit("/", 1)[-1]


def parse_inputs(schemas: Mapping[str, object]) -> dict[str, ModelInput]:
    """The inputs by name, in the order that the model's author chose."""
    top = as_mapping(schemas.get("Input"))
    required = as_list(top.get("required"))
    properties = as_mapping(top.get("properties"))
    if len(properties) > _MAX_INPUTS:
        raise ConfigError(f"The model's input schema has more than {_MAX_INPUTS} inputs.")
    resolved: dict[str, dict[str, object]] = {}
    inputs: list[tuple[float, ModelInput]] = []
    for name, schema in properties.items():
        if name.isprintable():
            order = _as_number(as_mapping(schema).get("x-order"))
            flat = _resolve(schema, schemas, resolved)
            model_input = _parse_input(name, flat, is_required=name in required)
            inputs.append((math.inf if order is None else order, model_input))
    return {found.name: found for _, found in sorted(inputs, key=lambda pair: pair[0])}


def _resolve(
    schema: object,
    schemas: Mapping[str, object],
    resolved: dict[str, dict[str, object]],
    depth: int = 0,
) -> dict[str, object]:
    """The keys of a schema that are read, with those of the schemas it refers to or combines.

    `resolved` holds the named schemas; each is read once, so that cycles end.
    """
    values = as_mapping(schema)
    own = {key: values[key] for key in _KEYS if key in values}
    if depth == _MAX_DEPTH:
        return own
    if name := _referred_name(values):
        if name not in resolved:
            resolved[name] = {}
            resolved[name] = _resolve(schemas.get(name), schemas, resolved, depth + 1)
        own = resolved[name] | own
    for key in ("allOf", "anyOf", "oneOf"):
        for part in as_list(values.get(key)):
            if as_mapping(part).get("type") != "null":
                own = _resolve(part, schemas, resolved, depth + 1) | own
    return own


def _parse_input(name: str, schema: Mapping[str, object], *, is_required: bool) -> ModelInput:
    type_name = schema.get("type")
    kind = _TYPES.get(type_name, "json") if isinstance(type_name, str) else "json"
    description = one_line(str(schema.get("description") or ""), limit=_LONGEST_DESCRIPTION)
    choices = _parse_choices(schema, kind)
    lowest, highest = _as_number(schema.get("minimum")), _as_number(schema.get("maximum"))
    if lowest is not None and highest is not None and lowest > highest:
        lowest = highest = None
    multiple_of: int | None = None
    if kind == "int" and choices:
        multiple_of = math.gcd(*choices) or None
    elif kind == "int":
        match = _MULTIPLE_OF.search(description)
        step = _as_number(schema.get("multipleOf")) or (int(match[1]) if match else None)
        multiple_of = int(step) if step and step >= 1 else None
    items = as_mapping(schema.get("items"))
    return ModelInput(
        name=name,
        type=kind,
        default=_parse_default(schema.get("default"), kind),
        min=lowest,
        max=highest,
        multiple_of=multiple_of,
        choices=choices,
        description=description,
        is_file="uri" in (schema.get("format"), items.get("format")),
        is_required=is_required,
    )


def _parse_choices(schema: Mapping[str, object], kind: InputType) -> tuple[Any, ...]:
    choices = as_list(schema.get("enum"))
    if kind not in ("int", "float", "string") or len(choices) > _MAX_CHOICES:
        return ()
    if kind == "string":
        return tuple(choice for choice in choices if isinstance(choice, str))
    wanted = int if kind == "int" else (int, float)
    return tuple(c for c in choices if isinstance(c, wanted) and _as_number(c) is not None)


def _parse_default(value: object, kind: InputType) -> object:
    """The default, if it is of the input's own type."""
    if isinstance(value, bool) or kind == "bool":
        return value if isinstance(value, bool) and kind == "bool" else None
    if isinstance(value, int | float) and _as_number(value) is None:
        return None
    if kind == "float" and isinstance(value, int):
        return float(value)
    if kind == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, _CLASSES[kind]) else None


def _as_number(value: object) -> int | float | None:
    """A number within the range that a model can mean; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER:
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def build_parameter(
    model_input: ModelInput, *, default: object = None, description: str = ""
) -> Parameter:
    """An input as a parameter of the backend's capabilities."""
    kind: Kind = "json" if model_input.type == "list" else model_input.type
    if model_input.type == "string" and model_input.is_image:
        kind = "image"
    is_number = model_input.type in ("int", "float")
    lowest, highest = model_input.lowest, model_input.highest
    if default is None:
        # The schema's own default, unless it contradicts the schema: `-1` for a seed means none.
        value, choices, step = model_input.default, model_input.choices, model_input.multiple_of
        is_valid = value is not None and (not choices or value in choices)
        if is_valid and is_number:
            is_valid = (lowest is None or value >= lowest) and (highest is None or value <= highest)
            is_valid = is_valid and not (step and value % step)
        default = value if is_valid else None
    are_texts = all(isinstance(choice, str) for choice in model_input.choices)
    return Parameter(
        type=kind,
        default=default,
        min=lowest if is_number else None,
        max=highest if is_number else None,
        multiple_of=model_input.multiple_of if model_input.type == "int" else None,
        choices=model_input.choices if are_texts and model_input.choices else None,
        description=description
        or model_input.description
        or f"The model's input {model_input.name}.",
    )
