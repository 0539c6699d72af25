"""From a file and the environment to Settings, with all that is wrong found at once."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from unicodedata import category
from warnings import warn

from pydantic import ValidationError

from imagen.config.paths import BACKSLASH, default_state_dir, default_workflow_dir, expanded, find
from imagen.config.secrets import exposed, texts
from imagen.config.settings import Settings, SwitchWord
from imagen.core.text import did_you_mean
from imagen.core.validation import Problem, problems
from imagen.errors import ConfigError, ConfigWarning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from imagen.config.settings import LibrarySettings
    from imagen.config.yaml_document import Document

VARIABLES = {
    "IMAGEN_CONFIG": "the configuration file",
    "IMAGEN_BACKEND": "default_backend",
    "IMAGEN_OUTPUT": "output.directory",
    "IMAGEN_STATE": "state_dir",
    "IMAGEN_WORKFLOWS": "workflow_dirs",
    "IMAGEN_LIBRARY": "library.url",
    "IMAGEN_CLOUD_SYNC": "output.cloud_sync",
    "IMAGEN_PREVIEW": "output.preview",
}
"""The environment variables, and what each overrides; an empty one overrides nothing.

IMAGEN_WORKFLOWS holds several folders as PATH does.
"""


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration with its faults, and what is left of it without them."""

    settings: Settings
    """Of all that is sound; of defaults where nothing is."""
    problems: tuple[Problem, ...]
    document: Document | None

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is allowed, and surely not meant."""
        if self.document is None or self.document.text.strip():
            return ()
        write = f"`imagen config init --detect --write {self.document.source}`"
        remedy = f"{write} writes a configuration for your engines."
        return (Problem((), "the file is empty, so the defaults apply", remedy),)

    def located(self, found: Iterable[Problem]) -> tuple[Problem, ...]:
        """The problems with the lines they stand on, in the order of these."""
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
    """The settings in force: the file's (or the defaults, where there is none), with the
    environment's over them.

    An empty file is a ConfigWarning. Raises ConfigError, which names each key that is off and its
    line.
    """
    checked = check(path, environ=environ, cwd=cwd)
    if checked.problems:
        raise _refusal(checked)
    for one in checked.warnings:
        warn(f"{checked.settings.source}: {one.sentence}. {one.remedy}", ConfigWarning, 2)
    return checked.settings


def check(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Checked:
    """The settings and all that is wrong with them, but for what only an adapter can tell.

    Raises ConfigError for a file that is not there, or is no YAML.
    """
    source = find(path, environ=environ, cwd=cwd)
    document = _read(source) if source else None
    values = _filled(document.values) if document else {}
    found = _faults(values) if document else []
    sound = _without(values, found) if found else values
    settings = _overridden(_settings(sound, source, environ), environ, cwd)
    checked = Checked(settings, (), document)
    return replace(checked, problems=checked.located(found))


def _read(source: Path) -> Document:
    from imagen.config.yaml_document import read  # the YAML parser, which no default needs

    return read(source)


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    """Without the keys that have no value: a section of comments only is an empty one."""
    known = {k: v for k, v in values.items() if v is not None or k not in Settings.model_fields}
    for section in ("backends", "styles"):
        if isinstance(known.get(section), dict):
            known[section] = {k: {} if v is None else v for k, v in known[section].items()}
    return known


def _faults(values: dict[str, Any]) -> list[Problem]:
    """All that is wrong; where a secret stands, only that: other sentences might quote it."""
    secrets = exposed(values)
    others = [*_untyped(values), *_with_control_characters(values), *_invalid(values)]
    return secrets + [p for p in others if not any(_within(s.path, p.path) for s in secrets)]


def _within(path: tuple[str | int, ...], above: tuple[str | int, ...]) -> bool:
    return path[: len(above)] == above


def _invalid(values: dict[str, Any]) -> list[Problem]:
    found = [
        Problem((old,), f"this key is now called {new}", f"Write `{new}:` instead of `{old}:`.")
        for old, new in _RENAMED.items()
        if old in values
    ]
    try:
        Settings.model_validate({k: v for k, v in values.items() if k not in _RENAMED})
    except ValidationError as error:
        return [*found, *problems(error, model=Settings)]
    return found


_RENAMED = {"backend": "default_backend"}
"""Keys of earlier versions, and what they are called now."""


def _with_control_characters(values: dict[str, Any]) -> Iterator[Problem]:
    """Texts with control characters; a prompt may have lines."""
    for path, text in texts(values):
        key = next((part for part in reversed(path) if isinstance(part, str)), "")
        control = None if key in _WITH_LINES else _control_in(text)
        if control is not None:
            is_block = text.endswith("\n") and text.rstrip("\n").isprintable()
            remedy = "Write it on one line, without | or >." if is_block else BACKSLASH
            yield Problem(path, f"holds {control}", remedy)


def _control_in(text: str) -> str | None:
    """The first control character of a text, in words."""
    found = next((c for c in text if category(c) in ("Cc", "Zl", "Zp")), None)
    return found and _CONTROLS.get(found, f"the control character U+{ord(found):04X}")


_WITH_LINES = ("prompt", "negative", "prompt_2", "negative_2", "preview_command")
"""Keys whose text may have several lines."""
_CONTROLS = {"\n": "a line break", "\t": "a tab", "\r": "a carriage return"}


def _untyped(values: dict[str, Any]) -> list[Problem]:
    blocks = values.get("backends")
    return [
        Problem(("backends", name, "type"), "must be the name of a kind of backend")
        for name, block in (blocks.items() if isinstance(blocks, dict) else ())
        if isinstance(block, dict) and not isinstance(block.get("type", ""), str)
    ]


def _without(values: dict[str, Any], faults: list[Problem]) -> dict[str, Any]:
    """The values but for the faulty ones: a whole section, or a single backend."""
    bad = {fault.path[: 2 if fault.path[:1] == ("backends",) else 1] for fault in faults}
    kept = {key: value for key, value in values.items() if (key,) not in bad}
    if "backends" in kept:
        blocks = kept["backends"].items()
        kept["backends"] = {k: block for k, block in blocks if ("backends", k) not in bad}
    return kept


def _settings(values: dict[str, Any], source: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of sound values, with the paths of the file counted from its folder."""
    state = environ.get("IMAGEN_STATE") or values.get("state_dir") or default_state_dir(environ)
    folders = values.get("workflow_dirs") or _own_workflows(environ)
    settings = Settings.model_validate(values | {"state_dir": state, "workflow_dirs": folders})
    if source is None:
        return settings
    folder = source.absolute().parent
    placed = settings.model_copy(
        update={
            "workflow_dirs": tuple(folder / expanded(p, environ) for p in settings.workflow_dirs),
            "state_dir": folder / expanded(settings.state_dir, environ),
            "backends": _placed(settings.backends, folder, environ),
            "library": _library(settings.library, settings.library.url, folder, environ),
        }
    )
    return placed.read_from(source)


def _own_workflows(environ: Mapping[str, str]) -> list[Path]:
    """The usual folder of a person's own workflows, once there is one."""
    folder = default_workflow_dir(environ)
    return [folder] if folder is not None and os.path.isdir(folder) else []


def _placed(value: Any, folder: Path, environ: Mapping[str, str]) -> Any:
    """In a backend's block, a text that begins with `./`, `../` or `~/` is a path.

    The same goes for Windows's own backslashes, on every system.
    """
    if isinstance(value, dict):
        return {key: _placed(inner, folder, environ) for key, inner in value.items()}
    if isinstance(value, list):
        return [_placed(inner, folder, environ) for inner in value]
    if isinstance(value, str) and value.startswith((".\\", "..\\", "~\\")):
        value = value.replace("\\", "/")
    if isinstance(value, str) and value.startswith(("./", "../", "~/")):
        return str(folder / expanded(Path(value), environ))
    return value


def _overridden(settings: Settings, environ: Mapping[str, str], cwd: Path | None) -> Settings:
    """The settings with the environment's over them, whose paths count from the directory."""
    here = cwd or Path()
    named = {name: environ[name] for name in VARIABLES if environ.get(name)}
    for name, text in named.items():
        if control := _control_in(text):
            raise ConfigError(f"The environment variable {name} holds {control}.")
    folders = named.get("IMAGEN_WORKFLOWS", "").split(os.pathsep)
    directory = expanded(Path(named.get("IMAGEN_OUTPUT", settings.output.directory)), environ)
    switches = {key: _switch(named, name) for name, key in _SWITCHES.items() if name in named}
    update = {
        "default_backend": named.get("IMAGEN_BACKEND", settings.default_backend),
        "output": settings.output.model_copy(update={"directory": here / directory} | switches),
    }
    if "IMAGEN_LIBRARY" in named:
        update["library"] = _library(settings.library, named["IMAGEN_LIBRARY"], here, environ)
    if "IMAGEN_STATE" in named:
        update["state_dir"] = here / expanded(Path(named["IMAGEN_STATE"]), environ)
    if "IMAGEN_WORKFLOWS" in named:
        update["workflow_dirs"] = tuple(here / expanded(Path(f), environ) for f in folders if f)
    return settings.model_copy(update=update)


_SWITCHES = {"IMAGEN_CLOUD_SYNC": "cloud_sync", "IMAGEN_PREVIEW": "preview"}


def _switch(named: Mapping[str, str], name: str) -> str:
    value = named[name].lower()
    if value not in get_args(SwitchWord):
        raise ConfigError(
            f"The environment variable {name} must be auto, on or off, not {named[name]!r}."
            + did_you_mean(value, get_args(SwitchWord))
        )
    return value


def _library(
    library: LibrarySettings, url: str | None, folder: Path, environ: Mapping[str, str]
) -> LibrarySettings:
    """With a file's path counted from `folder`; an address stays as it is."""
    if url is not None and "://" not in url:
        url = str(folder / expanded(Path(url), environ))
    return library.model_copy(update={"url": url})


def _refusal(checked: Checked) -> ConfigError:
    source = checked.document.source if checked.document else None
    lines = [f"{source}, line {problem.line}: {problem.sentence}" for problem in checked.problems]
    remedies = [problem.remedy for problem in checked.problems]
    advice = "`imagen config validate` says what to do about each."
    remedy = remedies[0] if len(remedies) == 1 else advice
    return ConfigError("\n".join(lines), remedy=remedy, problems=checked.problems)
