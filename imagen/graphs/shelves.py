"""Finding workflows: a path, then the user's folders in order, then those that ship with imagen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.core.text import did_you_mean
from imagen.errors import WorkflowError
from imagen.graphs.graph import read_graph
from imagen.graphs.manifest import read_manifest
from imagen.graphs.workflow import Workflow, inferred_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUNDLED = "bundled"
_PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedWorkflow:
    """One workflow on the shelves: readable or not, reachable by its name or hidden by another."""

    name: str
    source: str
    workflow: Workflow | None = None
    error: WorkflowError | None = None
    """Why it can't be read."""
    hidden_by: str = ""
    """The source of the workflow of the same name that comes first."""


def bundled(package: Path = _PACKAGE) -> Path:
    """The folder of the workflows that ship with imagen: within an installed package, or beside
    the package in a checkout."""
    installed = package / "workflows"
    return installed if installed.is_dir() else package.parent / "workflows"


def find(name_or_path: str, dirs: Sequence[Path] = ()) -> Workflow:
    """The workflow of a file, or of a name in `dirs` or among the bundled ones.

    Only that one is read. Raises WorkflowError where there is none, or it can't be read.
    """
    if _is_path(name_or_path):
        path = Path(name_or_path).expanduser()
        return _read(path, str(path))
    for name, path, source in _shelved(dirs):
        if name == name_or_path:
            return _read(path, source)
    raise _not_found(name_or_path, dirs)


def entries(dirs: Sequence[Path] = ()) -> list[ListedWorkflow]:
    """Everything on the shelves, by name: also what can't be read, and what another hides."""
    first: dict[str, str] = {}
    found = [
        _entry(name, path, source, hidden_by=first.setdefault(name, source))
        for name, path, source in _shelved(dirs)
    ]
    return sorted(found, key=lambda entry: (entry.name, entry.hidden_by))


def listing(dirs: Sequence[Path] = ()) -> list[Workflow]:
    """Every workflow that `find` would give for a name; `entries` has the others too."""
    return [entry.workflow for entry in entries(dirs) if entry.workflow and not entry.hidden_by]


def names(dirs: Sequence[Path] = ()) -> list[str]:
    """The name of every workflow on the shelves; none of them is read."""
    return sorted({name for name, _, _ in _shelved(dirs)})


def _shelved(dirs: Sequence[Path]) -> Iterator[tuple[str, Path, str]]:
    for folder in dict.fromkeys(dirs):
        for path in _graphs_in(folder.expanduser()):
            yield path.stem, path, str(path)
    for path in _graphs_in(bundled()):
        yield path.stem, path, BUNDLED


def _graphs_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".json")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise WorkflowError(
            f"The folder of workflows {folder} can't be read: {error.strerror}."
        ) from error


def _entry(name: str, path: Path, source: str, *, hidden_by: str) -> ListedWorkflow:
    hider = "" if hidden_by == source else hidden_by
    try:
        workflow = _read(path, source)
    except WorkflowError as error:
        return ListedWorkflow(name=name, source=source, error=error, hidden_by=hider)
    return ListedWorkflow(name=name, source=source, workflow=workflow, hidden_by=hider)


def _is_path(text: str) -> bool:
    return text.lower().endswith(".json") or "/" in text or "\\" in text


def _read(path: Path, source: str) -> Workflow:
    graph = read_graph(path)
    beside = _manifest_beside(path)
    manifest = read_manifest(beside) if beside else inferred_manifest(graph)
    return Workflow(path.stem, graph, manifest, source)


def _manifest_beside(path: Path) -> Path | None:
    candidates = (path.with_suffix(suffix) for suffix in (".yaml", ".yml"))
    return next((path for path in candidates if os.path.isfile(path)), None)


def _not_found(name: str, dirs: Sequence[Path]) -> WorkflowError:
    known = names(dirs)
    absent = [str(folder) for folder in dirs if not os.path.isdir(folder.expanduser())]
    gone = f"\nNo such folder of workflows: {', '.join(absent)}." if absent else ""
    return WorkflowError(
        f"There is no workflow called {name!r}.{did_you_mean(name, known)}",
        remedy=f"Known: {', '.join(known)}; or give the path of a .json file.{gone}",
    )
