"""A workflow put where the user's workflows live: its name, its two texts, its two files."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from imagen.core.filesystem import make_private_folder, remove_parts, write_whole
from imagen.core.text import one_line
from imagen.errors import OutputError, WorkflowError

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.graphs.importer.propose import Proposal

_NAME = re.compile(r"\w[\w .+-]{0,79}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST = 80
_WIDE = 96


def shelf_name(name: str) -> str:
    """`name`, if it can be the name of a workflow; raises WorkflowError where it can't."""
    sound = _NAME.fullmatch(name) and not _RESERVED.fullmatch(name)
    if not sound or name.endswith((".", " ", ".json", ".yaml", ".yml")):
        raise WorkflowError(
            f"{one_line(name, limit=90)!r} can't be the name of a workflow.",
            remedy=f"Use at most {_LONGEST} letters, digits, dashes, dots or spaces: no folder, "
            "and no .json at the end.",
        )
    return name


def name_of(stem: str) -> str:
    """A name made of a file's: `My Portrait (2)` is `my-portrait-2`."""
    name = re.sub(r"[^\w.+]+", "-", stem.lower()).strip("-._+ ")[:_LONGEST].rstrip("-._+ ")
    return f"{name}-workflow" if _RESERVED.fullmatch(name) else name or "workflow"


def written(proposal: Proposal) -> tuple[str, str]:
    """The texts of the graph's file and of the manifest's."""
    import yaml  # nothing but this needs to write any

    graph = json.dumps(proposal.graph, indent=2, ensure_ascii=False) + "\n"
    manifest = yaml.dump(
        _said(proposal), Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=_WIDE
    )
    return graph, manifest


def put(
    folder: Path, name: str, proposal: Proposal, *, force: bool = False, is_private: bool = False
) -> tuple[Path, Path]:
    """Write `<name>.json` and `<name>.yaml` into the folder, and say where they are.

    Raises WorkflowError where there is such a workflow already, but for `force`; OutputError for
    what can't be written.
    """
    paths = folder / f"{name}.json", folder / f"{name}.yaml"
    there = [path for path in (*paths, folder / f"{name}.yml") if path.exists()]
    if there and not force:
        raise WorkflowError(
            f"There is a workflow {name!r} already: {there[0]}.",
            remedy="Give it another name with --name, or replace that one with --force.",
        )
    try:
        if is_private:
            make_private_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        remove_parts(folder)
        for path, text in zip(paths, written(proposal), strict=True):
            write_whole(path, text.encode(), is_private=is_private)
    except OSError as error:
        raise OutputError(f"{error.filename or folder} can't be written: {error.strerror}.") from (
            error
        )
    return paths


def _said(proposal: Proposal) -> dict[str, Any]:
    """The manifest without what it does not say."""
    said = proposal.manifest.model_dump(mode="json", exclude_none=True)
    said["parameters"] = {name: _filled(one) for name, one in said["parameters"].items()}
    said["models"] = [_filled(one) for one in said["models"]]
    said["nodes"] = [_filled(one) for one in said["nodes"]]
    return _filled(said)


def _filled(said: dict[str, Any]) -> dict[str, Any]:
    """A default may be an empty text; nothing else that is empty says anything."""
    return {k: v for k, v in said.items() if k == "default" or v not in ("", [], {}, None)}


def _dumper() -> Any:
    """YAML as a person would write it: texts of several lines as such."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes each value once, however often it occurs."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper
