"""Starts `imagen sync` in the background, so that no command waits for those who are told."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from imagen.errors import ImagenError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from subprocess import Popen

    from imagen.config import Settings

VARIABLE = "IMAGEN_BACKGROUND_SYNC"
"""Set to `off`, nothing is started."""
_WRONGLY_ASKED = 2
_started: list[Popen[bytes]] = []
"""Python complains of a process that is forgotten while it runs."""


@contextmanager
def told_of(settings: Settings, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Whatever was made in the block, or failed there, is told once it is over."""
    try:
        yield
    except ImagenError as error:
        if error.exit_code != _WRONGLY_ASKED:
            start(settings, environ)
        raise
    start(settings, environ)


def start(settings: Settings, environ: Mapping[str, str] = os.environ) -> bool:
    """Send what is due, where anyone is told of anything; whether that was begun.

    That it can't be begun is nobody's trouble: the next command, or `imagen sync`, sends it.
    """
    with suppress(ImagenError, OSError):
        if _is_wanted(settings, environ):
            _start(settings)
            return True
    return False


def _is_wanted(settings: Settings, environ: Mapping[str, str]) -> bool:
    if not settings.library.enabled or environ.get(VARIABLE, "").lower() == "off":
        return False
    from imagen import delivery

    return delivery.is_any_enabled(settings, environ)


def _start(settings: Settings) -> None:
    from subprocess import DEVNULL, Popen

    words = [sys.executable, "-P", "-m", "imagen", "sync", "--quiet", "--unless-running"]
    if settings.source is not None:
        words += ["--config", str(settings.source.absolute())]
    _started.append(Popen(words, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, **_apart()))


def _apart() -> dict[str, Any]:
    """Beyond the reach of a Ctrl-C, and of the end of this terminal."""
    if sys.platform == "win32":
        from subprocess import CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS

        return {"creationflags": DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
