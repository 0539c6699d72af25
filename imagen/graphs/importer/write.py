"""Write an imported workflow: choose its name, format its two files, save them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from imagen.core.filesystem import make_private_folder, remove_parts, write_whole
from imagen.core.text import one_line
from imagen.errors import OutputError, WorkflowError

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.graphs.importer.parameters import ProposedWorkflow

_MAX_NAME = 80
_NAME = re.compile(rf"\w[\w .+-]{{0,{_MAX_NAME - 1}}}")
_RESERVED_BY_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_YAML_WIDTH = 96


def check_name(name: str) -> str:
    """Return `name`. Raises WorkflowError if a workflow cannot have it."""
    is_valid = _NAME.fullmatch(name) and not _RESERVED_BY_WINDOWS.fullmatch(name)
    if not is_valid or name.endswith((".", " ", ".json", ".yaml", ".yml")):
        raise WorkflowError(
            f"{one_line(name, limit=90)!r} is not a valid workflow name.",
            remedy=f"Use at most {_MAX_NAME} letters, digits, dashes, dots or spaces, without a "
            "folder and without .json at the end.",
        )
    return name


def suggest_name(stem: str) -> str:
    """A workflow name from a file's name: `My Portrait (2)` becomes `my-portrait-2`."""
    name = re.sub(r"[^\w.+]+", "-", stem.lower()).strip("-._+ ")[:_MAX_NAME].rstrip("-._+ ")
    return f"{name}-workflow" if _RESERVED_BY_WINDOWS.fullmatch(name) else name or "workflow"


def format_workflow(proposal: ProposedWorkflow) -> tuple[str, str]:
    """The content of the graph's file and of the manifest's."""
    import yaml  # nothing else here needs it

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as blocks, and repeats a value rather than linking it."""

        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
            return True

    def write_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, write_text)
    values = proposal.manifest.model_dump(mode="json", exclude_none=True)
    manifest = yaml.dump(
        _without_empty(values),
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=_YAML_WIDTH,
    )
    return json.dumps(proposal.graph, indent=2, ensure_ascii=False) + "\n", manifest


def _without_empty(value: Any) -> Any:
    """Drop empty values at any depth, but a default may be an empty text."""
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    if not isinstance(value, dict):
        return value
    filled = {name: _without_empty(inner) for name, inner in value.items()}
    return {n: v for n, v in filled.items() if n == "default" or v not in ("", [], {}, None)}


def write_workflow(
    folder: Path,
    name: str,
    proposal: ProposedWorkflow,
    *,
    force: bool = False,
    is_private: bool = False,
) -> tuple[Path, Path]:
    """Write `<name>.json` and `<name>.yaml` into the folder and return their paths.

    Raises WorkflowError if the workflow exists and `force` is not set, OutputError if the files
    cannot be written.
    """
    paths = folder / f"{name}.json", folder / f"{name}.yaml"
    present = [path for path in (*paths, folder / f"{name}.yml") if path.exists()]
    if present and not force:
        raise WorkflowError(
            f"The workflow {name!r} already exists: {present[0]}.",
            remedy="Choose another name with --name, or replace it with --force.",
        )
    try:
        if is_private:
            make_private_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        remove_parts(folder)
        for path, text in zip(paths, format_workflow(proposal), strict=True):
            write_whole(path, text.encode(), is_private=is_private)
    except OSError as error:
        place = error.filename or folder
        raise OutputError(f"Cannot write {place}: {error.strerror}.") from error
    return paths
