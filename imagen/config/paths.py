"""Where things lie on this machine: the configuration, the state, and what `~` means."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.core.filesystem import make_private_folder
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE_NAME = "imagen.yaml"
BACKSLASH = (
    "In double quotes, YAML reads \\ as the start of an escape. "
    "Write a path in single quotes, or with forward slashes."
)


def find(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Path | None:
    """The configuration in force: the one named, else the first of the usual ones; or None.

    Raises ConfigError where one is named, here or by IMAGEN_CONFIG, and does not exist.
    """
    here = cwd or Path()
    named = path or _path(environ.get("IMAGEN_CONFIG"))
    if named is None:
        return next((place for place in usual(environ, here) if os.path.isfile(place)), None)
    found = here / expanded(named, environ)
    by = "" if path else ", which IMAGEN_CONFIG names,"
    try:
        os.stat(found)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(
            f"The configuration {found}{by} does not exist.",
            remedy=f"`imagen config init --write {found}` writes one.",
        ) from error
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"The configuration {found}{by} can't be read: {reason}.") from error
    return found


def usual(environ: Mapping[str, str], here: Path) -> Iterator[Path]:
    """Where a configuration is looked for when none is named, in order."""
    yield here / FILE_NAME
    home = _home(environ)
    config_home = _absolute(environ.get("XDG_CONFIG_HOME")) or (home and home / ".config")
    for folder in (config_home, _absolute(environ.get("APPDATA"))):
        if folder is not None:
            yield folder / FILE_NAME


def place_to_write(environ: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Path:
    """The configuration in force, or that IMAGEN_CONFIG names; else where the user's own belongs.

    Without a home directory that is the working directory.
    """
    here = cwd or Path()
    if named := _path(environ.get("IMAGEN_CONFIG")):
        return here / expanded(named, environ)
    return find(environ=environ, cwd=cwd) or (_config_home(environ) or here) / FILE_NAME


def _config_home(environ: Mapping[str, str]) -> Path | None:
    home = _home(environ)
    places = (
        _absolute(environ.get("XDG_CONFIG_HOME")),
        _absolute(environ.get("APPDATA")),
        home and home / ".config",
    )
    return next((place for place in places if place is not None), None)


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """Where tickets lie unless `state_dir` says otherwise; raises ConfigError without a home."""
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA"):
        if base := _absolute(environ.get(name)):
            return base / "imagen"
    home = _home(environ)
    if home is None:
        raise ConfigError(
            "There is no home directory to keep the tickets of running jobs in.",
            remedy="Name a directory in the environment variable IMAGEN_STATE, or set HOME.",
        )
    return home / ".local/state/imagen"


def default_library(environ: Mapping[str, str]) -> Path:
    """The library's file unless `library.url` says otherwise; ConfigError without a home."""
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        if base := _absolute(environ.get(name)):
            return base / "imagen" / "library.db"
    home = _home(environ)
    if home is None:
        raise ConfigError(
            "There is no home directory to keep the library in.",
            remedy="Name a file in the environment variable IMAGEN_LIBRARY, or set HOME.",
        )
    return home / ".local/share/imagen/library.db"


def make_own_folder(folder: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Make the state folder, or the library's, for its owner only; raises OSError.

    One that is there already is tightened only at its default place: another may hold more.
    """
    is_default = False
    with suppress(ConfigError):
        is_default = folder in (default_state_dir(environ), default_library(environ).parent)
    make_private_folder(folder, is_own=is_default)


def default_workflow_dir(environ: Mapping[str, str]) -> Path | None:
    """Where a person's own workflows lie unless `workflow_dirs` says otherwise.

    None where there is no home directory.
    """
    base = _config_home(environ)
    return base and base / "imagen" / "workflows"


def expanded(path: Path, environ: Mapping[str, str]) -> Path:
    """With `~` and `~somebody` replaced by the home directory."""
    home = _home(environ)
    if path.parts[:1] == ("~",) and home is not None:
        return home.joinpath(*path.parts[1:])
    return Path(os.path.expanduser(path))


def _home(environ: Mapping[str, str]) -> Path | None:
    if home := environ.get("HOME") or environ.get("USERPROFILE"):
        return Path(home)
    try:
        return Path.home()
    except RuntimeError:
        return None


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _absolute(text: str | None) -> Path | None:
    """Relative ones mean nothing here, and are passed over."""
    return Path(text) if text and Path(text).is_absolute() else None
