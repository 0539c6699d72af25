"""Writes the reference of the HTTP API from its OpenAPI document."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from imagen.config import LibrarySettings, ServerSettings, Settings
from imagen.runtime import open_runtime
from imagen.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REF = "#/components/schemas/"
_SUBJECTS = {
    "generations": "Generations",
    "jobs": "Jobs",
    "batches": "Batches",
    "comparisons": "Comparisons",
    "arena": "Arena",
    "events": "Events",
    "images": "Images",
    "uploads": "Uploads",
    "operations": "Image operations",
    "backends": "Backends and models",
    "workflows": "Workflows",
    "system": "The server",
    "access": "Tokens and sessions",
    "simple": "Simple API",
    "openai": "OpenAI",
    "a1111": "A1111",
    "comfyui": "ComfyUI, with server.comfyui",
}
"""The headings of the tags, in this order; others follow."""


def describe_routes() -> str:
    """Markdown for each route, and for each type that they take or answer."""
    document = _read_document()
    by_tag: dict[str, list[str]] = {tag: [] for tag in _SUBJECTS}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = next(iter(operation.get("tags", ())), "other")
            by_tag.setdefault(tag, []).append(_describe_route(method.upper(), path, operation))
    parts = [
        f"## {_SUBJECTS.get(tag, tag.capitalize())}\n\n" + "\n\n".join(routes)
        for tag, routes in by_tag.items()
        if routes
    ]
    schemas = sorted(document["components"]["schemas"].items())
    types = [_describe_type(name, schema) for name, schema in schemas]
    return "\n\n".join([*parts, "## Types", *types])


def _read_document() -> dict[str, Any]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(
            state_dir=folder,
            library=LibrarySettings(url=str(folder / "library.db")),
            backends={"studio": {"type": "comfyui", "workflow": "sdxl"}},
            server=ServerSettings(comfyui="studio"),
        )
        with open_runtime(settings, has_worker=False) as runtime:
            return create_app(runtime).openapi()


def _describe_route(method: str, path: str, operation: Mapping[str, Any]) -> str:
    scope = operation["x-imagen-scope"]
    needs = f"Scope `{scope}`" if scope else "No token"
    lines = [f"### {method} {path}", f"{operation['summary']}."]
    lines += [operation["description"]] if operation["description"] else []
    lines.append(f"{needs} · `{operation['operationId']}`")
    if parameters := operation.get("parameters"):
        rows = [
            (
                f"`{one['name']}`",
                one["in"],
                _type_of(one["schema"]),
                "required" if one.get("required") else _default(one["schema"]),
                one.get("description") or one["schema"].get("description", ""),
            )
            for one in parameters
        ]
        lines.append(_table(("parameter", "in", "type", "default", "meaning"), rows))
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        lines.append(f"Body `{kind}`: {_type_of(content.get('schema', {}))}")
    lines.append("\n".join(_describe_answers(operation["responses"])))
    return "\n\n".join(lines)


def _describe_answers(responses: Mapping[str, Any]) -> Iterator[str]:
    """A line for each answer, without the errors that every route may answer."""
    for status, response in responses.items():
        if status in ("default", "422"):
            continue
        kinds = [
            f"`{kind}` {_type_of(content.get('schema', {}))}".strip()
            for kind, content in response.get("content", {}).items()
        ]
        said = response.get("description", "")
        words = [said.rstrip(".")] if said and said != "Successful Response" else []
        yield f"- {status}: {'; '.join([*words, *kinds]) or 'empty'}"


def _describe_type(name: str, schema: Mapping[str, Any]) -> str:
    lines = [f"### {name}"]
    lines += [schema["description"]] if schema.get("description") else []
    required = schema.get("required", ())
    if properties := schema.get("properties"):
        rows = [
            (
                f"`{field}`",
                _type_of(inner),
                "required" if field in required else _default(inner),
                inner.get("description", ""),
            )
            for field, inner in properties.items()
        ]
        lines.append(_table(("field", "type", "default", "meaning"), rows))
    else:
        lines.append(_type_of(schema))
    return "\n\n".join(lines)


def _default(schema: Mapping[str, Any]) -> str:
    value = schema.get("default")
    return "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _type_of(schema: Mapping[str, Any]) -> str:
    """A type in a few words, with links to those that have a name."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return f"[{name}](#{name.lower()})"
    for key, word in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")):
        if key in schema:
            return word.join(dict.fromkeys(map(_type_of, schema[key])))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{value}`" for value in values)
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_type_of(schema.get('items', {}))}"
    if kind == "object" and isinstance(inner := schema.get("additionalProperties"), dict):
        return f"object of {_type_of(inner)}"
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "from"), ("maximum", "to"), ("maxLength", "at most"))
        if key in schema
    ]
    if schema.get("format"):
        bounds.insert(0, schema["format"])
    return " ".join([kind or "any", *([f"({' '.join(bounds)})"] if bounds else [])])


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
