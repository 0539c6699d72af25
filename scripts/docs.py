"""Rewrites the generated blocks of README.md and docs/.

    python scripts/docs.py            rewrites them
    python scripts/docs.py --check    exits 1 and names each stale block

A block is between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic_core import PydanticUndefined

from imagen.backends import load_adapter
from imagen.cli import COMMANDS, cli
from imagen.config import (
    VARIABLES,
    Budget,
    CloudJobs,
    CloudSettings,
    InputSettings,
    JobSettings,
    LibrarySettings,
    Limits,
    OutputSettings,
    ServerSettings,
    Settings,
    Style,
    UsageSettings,
    Webhook,
)
from imagen.core.capabilities import Parameter
from imagen.core.request import Request
from imagen.errors import ImagenError
from imagen.graphs import ControlNet, Manifest, ManifestModel, NodePack, list_workflows
from imagen.graphs.tokens import ALIASES
from imagen.testing.comfyui import FailureSwitches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from imagen.graphs import Workflow

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n).*?(?=<!-- end -->)", re.DOTALL)
_WIDTH = 80
_SHOWN = ("steps", "cfg", "guidance", "sampler", "scheduler")
_FROM_TEXT = "text-to-image"
_TASKS = ("image-to-image", "inpaint", "outpaint", "edit", "variation")


def pages() -> list[Path]:
    """Every page that may contain generated blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rewrite(text: str) -> str:
    """Return the page with each generated block replaced."""
    return _BLOCK.sub(lambda match: f"{match[1]}\n{_generate(match[2])}\n\n", text)


def stale_blocks(text: str) -> list[str]:
    """The names of the blocks that differ from the code."""
    now = _BLOCK.finditer(rewrite(text))
    return [old[2] for old, new in zip(_BLOCK.finditer(text), now, strict=True) if old[0] != new[0]]


def _generate(name: str) -> str:
    kind, *words = name.split()
    return _GENERATORS[kind](*words)


def _help(*words: str) -> str:
    """What `imagen WORDS --help` prints, on a terminal of 80 columns."""
    command: click.Command = cli
    context = click.Context(
        cli, info_name="imagen", terminal_width=_WIDTH, help_option_names=["-h", "--help"]
    )
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None, f"no command {word}"
        command, context = found, click.Context(found, info_name=word, parent=context)
    return f"```text\n{command.get_help(context)}\n```"


def _commands() -> str:
    rows = [(f"[`{name}`](#imagen-{name})", what) for name, (_, what) in COMMANDS.items()]
    return _table(("command", "purpose"), rows)


def _defaults() -> str:
    head = ("workflow", "size", *_SHOWN, "ComfyUI", "licence")
    return _table(head, [_defaults_row(workflow) for workflow in _models_from_text()])


def _models_from_text() -> list[Workflow]:
    """The text-to-image workflows, which backends name."""
    return [workflow for workflow in list_workflows() if workflow.manifest.task == _FROM_TEXT]


def _defaults_row(workflow: Workflow) -> Iterator[str]:
    known = {name: p.default for name, p in workflow.parameters.items()}
    yield f"[`{workflow.name}`](#{workflow.name})"
    yield f"{known['width']}x{known['height']}"
    yield from (_plain(known[name]) if name in known else "" for name in _SHOWN)
    yield workflow.manifest.comfyui
    yield workflow.manifest.licence


def _tasks() -> str:
    head = ("workflow", "family", *_TASKS, "control")
    return _table(head, [_tasks_row(w) for w in _models_from_text() if w.manifest.tasks])


def _tasks_row(workflow: Workflow) -> Iterator[str]:
    manifest = workflow.manifest
    by_task = {str(task): name for task, name in manifest.tasks.items()}
    yield from (f"`{workflow.name}`", manifest.family)
    yield from (f"`{by_task[task]}`" if task in by_task else "" for task in _TASKS)
    yield ", ".join(manifest.controls)


def _models() -> str:
    first = _models_from_text()
    known = {file.file for workflow in first for file in workflow.manifest.files}
    more = [
        workflow
        for workflow in list_workflows()
        if workflow.manifest.task != _FROM_TEXT and _is_more(workflow.manifest, known)
    ]
    return "\n\n".join(_models_of(workflow) for workflow in (*first, *more))


def _is_more(manifest: Manifest, known: set[str]) -> bool:
    """Whether it needs nodes or files that no text-to-image workflow needs."""
    return bool(manifest.nodes) or any(file.file not in known for file in manifest.files)


def _models_of(workflow: Workflow) -> str:
    manifest = workflow.manifest
    files = {
        f.file: (f"[`{f.file}`]({f.source})", f.folder, f.size, f.licence) for f in manifest.files
    }
    needs = f" Needs ComfyUI {manifest.comfyui} or later." if manifest.comfyui else ""
    packs = "".join(f" Needs the custom nodes [{p.name}]({p.source})." for p in manifest.nodes)
    about = f"**{manifest.title}.** {manifest.description}{needs}{packs}"
    head = ("file", "folder below `models/`", "size", "licence")
    table = f"\n\n{_table(head, files.values())}" if files else ""
    return f"#### {workflow.name}\n\n{about}{table}"


def _config(kind: str) -> str:
    return _fields(load_adapter(kind).config)


def _settings() -> str:
    sections: dict[str, type[BaseModel]] = {
        "output": OutputSettings,
        "inputs": InputSettings,
        "limits": Limits,
        "library": LibrarySettings,
        "cloud": CloudSettings,
        "cloud.jobs": CloudJobs,
        "usage": UsageSettings,
        "jobs": JobSettings,
        "server": ServerSettings,
        "budgets[]": Budget,
        "webhooks[]": Webhook,
        "styles.NAME": Style,
    }
    inner = {name.removesuffix("[]").partition(".")[0] for name in sections}
    rows = [*_rows(Settings, skip=inner)]
    for name, model in sections.items():
        parts = {one.removeprefix(f"{name}.") for one in sections}
        rows += _rows(model, f"{name}.", skip=parts)
    return _table(("key", "default", "meaning"), rows)


def _environment() -> str:
    rows = [(f"`{name}`", f"`{key}`" if " " not in key else key) for name, key in VARIABLES.items()]
    return _table(("variable", "sets"), rows)


def _errors() -> str:
    head = ("class", "`code`", "exit code", "retryable", "when")
    return _table(head, _errors_below(ImagenError, 0))


def _errors_below(error: type[ImagenError], depth: int) -> Iterator[tuple[str, ...]]:
    retryable = "yes" if error.retryable else ""
    name = "&emsp;" * depth + f"`{error.__name__}`"
    yield name, f"`{error.code}`", str(error.exit_code), retryable, _first_line(error)
    for kind in error.__subclasses__():
        yield from _errors_below(kind, depth + 1)


def _manifest() -> str:
    return _fields(Manifest)


def _model() -> str:
    return _fields(ManifestModel)


def _control() -> str:
    return _fields(ControlNet)


def _nodes() -> str:
    return _fields(NodePack)


def _http() -> str:
    """Every route of the server, by its subject, and every type."""
    from http_reference import describe_routes

    return describe_routes()


def _parameter() -> str:
    return _fields(Parameter)


def _request() -> str:
    rows = [(f"`{name}`", field.description or "") for name, field in Request.model_fields.items()]
    return _table(("field", "meaning"), rows)


def _aliases() -> str:
    rows = [(f"`{name}`", f"`{ours}`") for name, ours in sorted(ALIASES.items())]
    return _table(("name in a graph", "parameter"), rows)


def _switches() -> str:
    _, _, switches = inspect.getdoc(FailureSwitches).partition("\n\n")  # type: ignore[union-attr]
    return re.sub(r"(?m)^(The websocket|The run|HTTP)$", r"**\1**\n", switches)


_GENERATORS: dict[str, Callable[..., str]] = {
    "aliases": _aliases,
    "commands": _commands,
    "config": _config,
    "control": _control,
    "defaults": _defaults,
    "environment": _environment,
    "errors": _errors,
    "help": _help,
    "http": _http,
    "switches": _switches,
    "manifest": _manifest,
    "model": _model,
    "models": _models,
    "nodes": _nodes,
    "parameter": _parameter,
    "request": _request,
    "settings": _settings,
    "tasks": _tasks,
}


def _fields(model: type[BaseModel]) -> str:
    return _table(("key", "default", "meaning"), _rows(model))


def _rows(
    model: type[BaseModel], prefix: str = "", skip: Iterable[str] = ()
) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        if not field.exclude and name not in skip:
            yield f"`{prefix}{name}`", _default(field), field.description or ""


def _default(field: FieldInfo) -> str:
    if field.default_factory is dict:
        return "`{}`"
    if field.default_factory is not None:
        return "see below"
    return "required" if field.default is PydanticUndefined else f"`{_plain(field.default)}`"


def _plain(value: Any) -> str:
    """Format as YAML and JSON do."""
    if isinstance(value, tuple):
        return "[]" if not value else json.dumps(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and value:
        return value
    return json.dumps(value)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = [list(head)]
    lines = [cells[0], ["---"] * len(cells[0]), *map(list, rows)]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n")[0]


def main(arguments: list[str]) -> int:
    """Rewrite every page, or with --check print which blocks are stale."""
    texts = {page: page.read_text(encoding="utf-8") for page in pages()}
    if "--check" in arguments:
        found = [
            f"{p.relative_to(ROOT)}: {name} is stale"
            for p, text in texts.items()
            for name in stale_blocks(text)
        ]
        print(*found, sep="\n", end="\n" if found else "")  # noqa: T201
        return 1 if found else 0
    for page, text in texts.items():
        page.write_text(rewrite(text), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
