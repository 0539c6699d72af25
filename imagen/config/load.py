"""Load the settings from a file and the environment, and find all their problems at once."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from unicodedata import category
from warnings import warn

from pydantic import ValidationError

from imagen.config.paths import (
    BACKSLASH_REMEDY,
    default_config_folder,
    default_state_dir,
    expand_home,
    find,
)
from imagen.config.pools import find_chain_problems, find_pool_problems
from imagen.config.secrets import find_secrets, list_texts
from imagen.config.settings import Settings, SwitchWord
from imagen.core.text import did_you_mean
from imagen.core.validation import Problem, problems
from imagen.errors import ConfigError, ConfigWarning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imagen.config.settings import LibrarySettings
    from imagen.config.yaml_document import ConfigDocument

VARIABLES = {
    "IMAGEN_CONFIG": "the configuration file",
    "IMAGEN_BACKEND": "default_backend",
    "IMAGEN_OUTPUT": "output.directory",
    "IMAGEN_STATE": "state_dir",
    "IMAGEN_WORKFLOWS": "workflow_dirs",
    "IMAGEN_LIBRARY": "library.url",
    "IMAGEN_HOST": "the name of this machine in the library",
    "IMAGEN_CLOUD_SYNC": "output.cloud_sync",
    "IMAGEN_PREVIEW": "output.preview",
}
"""The environment variables, and what each overrides; an empty one overrides nothing.

IMAGEN_WORKFLOWS holds several folders, separated as in PATH.
"""
_FOLDER_KEYS = {"workflow_dirs": "workflows", "wildcard_dirs": "wildcards"}
"""Keys with folders of the user's own, and the name of the default folder of each."""
_SWITCHES = {"IMAGEN_CLOUD_SYNC": "cloud_sync", "IMAGEN_PREVIEW": "preview"}
_RENAMED = {"backend": "default_backend"}
_KEYS_WITH_LINES = ("prompt", "negative", "prompt_2", "negative_2", "preview_command")
"""Keys whose text may have several lines."""
_CONTROL_NAMES = {"\n": "a line break", "\t": "a tab", "\r": "a carriage return"}


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration and its problems."""

    settings: Settings
    """The settings of the valid values, and defaults for the others."""
    problems: tuple[Problem, ...]
    document: ConfigDocument | None

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is allowed and probably a mistake."""
        if self.document is None or self.document.text.strip():
            return ()
        write = f"`imagen config init --detect --write {self.document.source}`"
        remedy = f"{write} writes a configuration for your engines."
        return (Problem((), "the file is empty, so the defaults apply", remedy),)

    def with_lines(self, found: Iterable[Problem]) -> tuple[Problem, ...]:
        """The problems with their lines in the file, in this order."""
        if self.document is None:
            return tuple(found)
        placed = [replace(p, line=p.line or self.document.line(p.path)) for p in found]
        return tuple(sorted(placed, key=lambda problem: problem.line or 0))


def load_settings(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Settings:
    """The settings in use: those of the file, or the defaults if there is none, with the
    environment's over them.

    An empty file is a ConfigWarning. Raises ConfigError that names each invalid key and its line.
    """
    checked = check(path, environ=environ, cwd=cwd)
    source, found = checked.settings.source, checked.problems
    if found:
        advice = "`imagen config validate` says what to do about each."
        raise ConfigError(
            "\n".join(f"{source}, line {problem.line}: {problem.sentence}" for problem in found),
            remedy=found[0].remedy if len(found) == 1 else advice,
            problems=found,
        )
    for warning in checked.warnings:
        warn(f"{source}: {warning.sentence}. {warning.remedy}", ConfigWarning, 2)
    return checked.settings


def check(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Checked:
    """The settings and everything wrong with them, except what only an adapter can tell.

    Raises ConfigError for a file that does not exist or is not YAML.
    """
    source = find(path, environ=environ, cwd=cwd)
    document, values, found = None, dict[str, Any](), list[Problem]()
    if source is not None:
        from imagen.config.yaml_document import read  # the defaults need no YAML parser

        document = read(source)
        # A section may consist of comments only: leave out keys without a value.
        values = {
            k: v
            for k, v in document.values.items()
            if v is not None or k not in Settings.model_fields
        }
        for section in ("backends", "styles"):
            if isinstance(values.get(section), dict):
                values[section] = {k: {} if v is None else v for k, v in values[section].items()}
        found = _find_problems(values)
    # Leave out what is invalid: a whole section, or a single backend.
    invalid = {p.path[: 2 if p.path[:1] == ("backends",) else 1] for p in found}
    valid = {key: value for key, value in values.items() if (key,) not in invalid}
    if found and "backends" in valid:
        blocks = valid["backends"].items()
        valid["backends"] = {k: block for k, block in blocks if ("backends", k) not in invalid}
    settings = _apply_environment(_build_settings(valid, source, environ), environ, cwd)
    if not invalid & {("pools",), ("failover",), ("backends",)}:
        blocks = values.get("backends", {})
        found += [*find_pool_problems(settings, blocks), *find_chain_problems(settings, blocks)]
    checked = Checked(settings, (), document)
    return replace(checked, problems=checked.with_lines(found))


# -- Problems --------------------------------------------------------------------------------------


def _find_problems(values: dict[str, Any]) -> list[Problem]:
    """All problems. Of a key that holds a secret only that one: others might quote the secret."""
    secrets = find_secrets(values)
    hidden = {problem.path for problem in secrets}
    others: list[Problem] = []
    for path, text in list_texts(values):
        key = next((part for part in reversed(path) if isinstance(part, str)), "")
        control = None if key in _KEYS_WITH_LINES else _find_control_character(text)
        if control is not None:
            is_block = text.endswith("\n") and text.rstrip("\n").isprintable()
            remedy = "Write it on one line, without | or >." if is_block else BACKSLASH_REMEDY
            others.append(Problem(path, f"contains {control}", remedy))
    blocks = values.get("backends")
    for name, block in blocks.items() if isinstance(blocks, dict) else ():
        if isinstance(block, dict) and not isinstance(block.get("type", ""), str):
            what = "must be the name of a backend type"
            others.append(Problem(("backends", name, "type"), what))
    for old, new in _RENAMED.items():
        if old in values:
            remedy = f"Write `{new}:` instead of `{old}:`."
            others.append(Problem((old,), f"is now called {new}", remedy))
    try:
        Settings.model_validate({k: v for k, v in values.items() if k not in _RENAMED})
    except ValidationError as error:
        others += problems(error, model=Settings)
    return secrets + [
        problem
        for problem in others
        if not any(problem.path == path[: len(problem.path)] for path in hidden)
    ]


def _find_control_character(text: str) -> str | None:
    """The first control character of a text, in words."""
    found = next((c for c in text if category(c) in ("Cc", "Zl", "Zp")), None)
    return found and _CONTROL_NAMES.get(found, f"the control character U+{ord(found):04X}")


# -- Settings --------------------------------------------------------------------------------------


def _build_settings(
    values: dict[str, Any], source: Path | None, environ: Mapping[str, str]
) -> Settings:
    """The settings of valid values. Relative paths start at the file's folder."""
    state = environ.get("IMAGEN_STATE") or values.get("state_dir") or default_state_dir(environ)
    folders: dict[str, object] = {}
    for key in _FOLDER_KEYS:
        own = default_config_folder(_FOLDER_KEYS[key], environ)
        usual = [own] if own is not None and os.path.isdir(own) else []
        folders[key] = values.get(key) or usual
    settings = Settings.model_validate(values | {"state_dir": state, **folders})
    if source is None:
        return settings
    base = source.absolute().parent
    resolved = settings.model_copy(
        update={
            **{
                key: tuple(base / expand_home(folder, environ) for folder in getattr(settings, key))
                for key in _FOLDER_KEYS
            },
            "state_dir": base / expand_home(settings.state_dir, environ),
            "backends": _resolve_paths(settings.backends, base, environ),
            "blobs": _resolve_paths(settings.blobs, base, environ),
            "library": _with_url(settings.library, settings.library.url, base, environ),
        }
    )
    return resolved.with_source(source)


def _resolve_paths(value: Any, base: Path, environ: Mapping[str, str]) -> Any:
    """In a backend's block, a text that begins with `./`, `../` or `~/` is a path.

    The backslashes of Windows work on every system.
    """
    if isinstance(value, dict):
        return {key: _resolve_paths(inner, base, environ) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolve_paths(inner, base, environ) for inner in value]
    if isinstance(value, str) and value.startswith((".\\", "..\\", "~\\")):
        value = value.replace("\\", "/")
    if isinstance(value, str) and value.startswith(("./", "../", "~/")):
        return str(base / expand_home(Path(value), environ))
    return value


def _with_url(
    library: LibrarySettings, url: str | None, base: Path, environ: Mapping[str, str]
) -> LibrarySettings:
    """The library at this URL, or in this file, whose path starts at `base`."""
    if url is not None and "://" not in url:
        url = str(base / expand_home(Path(url), environ))
    return library.model_copy(update={"url": url})


def _apply_environment(
    settings: Settings, environ: Mapping[str, str], cwd: Path | None
) -> Settings:
    """The settings with the environment's over them. Relative paths start at `cwd`."""
    here = cwd or Path()
    named = {name: environ[name] for name in VARIABLES if environ.get(name)}
    for name, text in named.items():
        if control := _find_control_character(text):
            raise ConfigError(f"The environment variable {name} contains {control}.")
    output: dict[str, object] = {}
    for name, key in _SWITCHES.items():
        word = named.get(name, "auto").lower()
        if word not in get_args(SwitchWord):
            raise ConfigError(
                f"The environment variable {name} must be auto, on or off, not {named[name]!r}."
                + did_you_mean(word, get_args(SwitchWord))
            )
        if name in named:
            output[key] = word
    directory = Path(named.get("IMAGEN_OUTPUT", settings.output.directory))
    output["directory"] = here / expand_home(directory, environ)
    update: dict[str, object] = {
        "default_backend": named.get("IMAGEN_BACKEND", settings.default_backend),
        "output": settings.output.model_copy(update=output),
    }
    if "IMAGEN_LIBRARY" in named:
        update["library"] = _with_url(settings.library, named["IMAGEN_LIBRARY"], here, environ)
    if "IMAGEN_STATE" in named:
        update["state_dir"] = here / expand_home(Path(named["IMAGEN_STATE"]), environ)
    if "IMAGEN_WORKFLOWS" in named:
        folders = filter(None, named["IMAGEN_WORKFLOWS"].split(os.pathsep))
        update["workflow_dirs"] = tuple(here / expand_home(Path(f), environ) for f in folders)
    return settings.model_copy(update=update)
