"""Where the configuration, the state directory and the library are on this machine."""

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
BACKSLASH_REMEDY = (
    "In double quotes, YAML reads \\ as the start of an escape. "
    "Write a path in single quotes, or with forward slashes."
)
# platformdirs would move these folders on macOS, and on Windows below %LOCALAPPDATA%\imagen\imagen.
_CONFIG = ("XDG_CONFIG_HOME", "APPDATA", ".config")
_STATE = ("XDG_STATE_HOME", "LOCALAPPDATA", ".local/state")
_DATA = ("XDG_DATA_HOME", "LOCALAPPDATA", ".local/share")
"""The variables of Linux and of Windows that name a folder, and its default in the home folder."""


def find(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Path | None:
    """The configuration in use: the one named, or the first of the usual ones, or None.

    Raises ConfigError if one is named, here or by IMAGEN_CONFIG, and does not exist.
    """
    here = cwd or Path()
    variable = environ.get("IMAGEN_CONFIG")
    if path is None and not variable:
        return next(filter(os.path.isfile, usual(environ, here)), None)
    found = here / expand_home(path or Path(variable or ""), environ)
    by = "" if path else " (named by IMAGEN_CONFIG)"
    try:
        os.stat(found)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(
            f"Configuration {found}{by} not found.",
            remedy=f"`imagen config init --write {found}` writes one.",
        ) from error
    except (OSError, ValueError) as error:  # a name that is too long, or contains NUL
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"Cannot read the configuration {found}{by}: {reason}.") from error
    return found


def usual(environ: Mapping[str, str], here: Path) -> Iterator[Path]:
    """Where a configuration is looked for if none is named, in order."""
    yield here / FILE_NAME
    linux, windows, in_home = _CONFIG
    for folder in (_user_folder(environ, linux, in_home), _absolute(environ.get(windows))):
        if folder is not None:
            yield folder / FILE_NAME


def place_to_write(environ: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Path:
    """The configuration in use, or the one that IMAGEN_CONFIG names; else the user's own place.

    Without a home directory that is the working directory.
    """
    here = cwd or Path()
    if named := environ.get("IMAGEN_CONFIG"):
        return here / expand_home(Path(named), environ)
    return find(environ=environ, cwd=cwd) or (_user_folder(environ, *_CONFIG) or here) / FILE_NAME


def default_config_folder(name: str, environ: Mapping[str, str]) -> Path | None:
    """The user's own folder of this name, `workflows` or `wildcards`, that is used unless others
    are configured; None without a home directory."""
    base = _user_folder(environ, *_CONFIG)
    return base and base / "imagen" / name


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """The default of `state_dir`; raises ConfigError without a home directory."""
    base = _user_folder(environ, *_STATE)
    if base is None:
        raise ConfigError(
            "There is no home directory for the state of running jobs.",
            remedy="Name a directory in the environment variable IMAGEN_STATE, or set HOME.",
        )
    return base / "imagen"


def default_library(environ: Mapping[str, str]) -> Path:
    """The default of `library.url`; raises ConfigError without a home directory."""
    base = _user_folder(environ, *_DATA)
    if base is None:
        raise ConfigError(
            "There is no home directory for the library.",
            remedy="Name a file in the environment variable IMAGEN_LIBRARY, or set HOME.",
        )
    return base / "imagen" / "library.db"


def host_name(environ: Mapping[str, str] = os.environ) -> str:
    """The name of this machine in the library: IMAGEN_HOST, else that of the system.

    A container gets another name from the system each time.
    """
    from platform import node

    return environ.get("IMAGEN_HOST") or node()


def make_own_folder(folder: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Create the state directory, or the library's folder, for its owner only; raises OSError.

    The permissions of an existing one are restricted only at its default place: another folder may
    hold other files too.
    """
    is_default = False
    with suppress(ConfigError):
        is_default = folder in (default_state_dir(environ), default_library(environ).parent)
    make_private_folder(folder, is_own=is_default)


def expand_home(path: Path, environ: Mapping[str, str]) -> Path:
    """The path with `~` and `~somebody` replaced by the home directory."""
    home = _home(environ)
    if path.parts[:1] == ("~",) and home is not None:
        return home.joinpath(*path.parts[1:])
    return Path(os.path.expanduser(path))


def _user_folder(environ: Mapping[str, str], *names: str) -> Path | None:
    """The folder that one of these variables names, or the last name in the home directory."""
    *variables, in_home = names
    folders = (_absolute(environ.get(name)) for name in variables)
    home = _home(environ)
    return next(filter(None, folders), home and home / in_home)


def _home(environ: Mapping[str, str]) -> Path | None:
    if home := environ.get("HOME") or environ.get("USERPROFILE"):
        return Path(home)
    try:
        return Path.home()
    except RuntimeError:
        return None


def _absolute(text: str | None) -> Path | None:
    """The path, unless it is relative: the XDG specification says to ignore those."""
    return Path(text) if text and Path(text).is_absolute() else None
