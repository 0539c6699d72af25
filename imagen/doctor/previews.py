"""Previews: where a picture would be shown."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from imagen.doctor.findings import Finding
from imagen.errors import ConfigError
from imagen.preview import plan_preview

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.config import OutputSettings


def look(settings: OutputSettings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Taken as on a terminal, which is not asked for what it draws."""
    switch = settings.preview
    if switch == "off":
        yield Finding(subject="preview", state="note", says="off")
        return
    try:
        planned = plan_preview(settings, environ=environ, is_tty=True)
    except ConfigError as error:
        yield Finding(
            subject="preview", state="warning", says=error.message, remedies=(error.remedy,)
        )
        return
    if planned is None:
        yield _nowhere(settings, inside_tmux=bool(environ.get("TMUX")))
    elif planned.way == "tmux":
        yield _window(planned.viewer, environ)
    else:
        yield Finding(subject="preview", says=f"in the terminal, by {planned.way}'s protocol")


def _nowhere(settings: OutputSettings, *, inside_tmux: bool) -> Finding:
    viewer = settings.preview_command.split()[0]
    says = "nowhere: not in tmux, nor in a terminal that is known to show pictures"
    if inside_tmux:
        says = f"nowhere: the viewer {viewer!r} is not on the PATH"
    remedy = ("Install it, or name another in output.preview_command.",) if inside_tmux else ()
    return Finding(subject="preview", state="note", says=says, remedies=remedy)


def _window(viewer: tuple[str, ...], environ: Mapping[str, str]) -> Finding:
    for program in ("tmux", viewer[0]):
        if shutil.which(program, path=environ.get("PATH")) is None:
            says = f"{program!r} is not on the PATH"
            return Finding(subject="preview", state="warning", says=says)
    return Finding(subject="preview", says=f"in a window of tmux, by {' '.join(viewer)}")
