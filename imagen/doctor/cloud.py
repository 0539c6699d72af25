"""The cloud: whether it is on, answers, and has the bucket that pictures go to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from imagen.doctor.findings import Check, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.config import Settings
    from imagen.delivery.supabase import SupabaseBucket
    from imagen.doctor.findings import State

_NEEDED = 3
"""An address, a key, and an owner."""


def checks(settings: Settings, environ: Mapping[str, str], *, quick: bool) -> Iterator[Check]:
    """One."""
    look = partial(_look, settings, environ, quick=quick)
    yield Check(section="cloud", subject="cloud", look=look)


def _look(settings: Settings, environ: Mapping[str, str], *, quick: bool) -> Iterator[Finding]:
    from imagen.delivery import missing_settings
    from imagen.delivery.supabase import connect

    switch = settings.output.cloud_sync
    lacking = missing_settings(settings, environ, owned=True)
    if switch == "off":
        yield Finding(subject="cloud", state="note", says="off: pictures stay on this machine")
    elif lacking:
        yield _lacking(lacking, must=switch == "on")
    elif quick:
        yield Finding(subject="cloud", says="configured, and not asked")
    else:
        with connect(settings, environ) as project:
            yield from _of(project.bucket(settings.cloud.bucket), project.url, settings)


def _lacking(names: list[str], *, must: bool) -> Finding:
    """Where only a part is set, somebody meant it to be on."""
    says = f"off, for want of {' and '.join(names)}"
    state: State = "note" if len(names) == _NEEDED else "warning"
    return Finding(subject="cloud", state="broken" if must else state, says=says)


def _of(bucket: SupabaseBucket, url: str, settings: Settings) -> Iterator[Finding]:
    kind = "public" if bucket.is_public else "private"
    limit = f", files of up to {bucket.max_bytes / 2**20:.0f} MiB" if bucket.max_bytes else ""
    yield Finding(subject="cloud", says=f"{url}, {kind} bucket {bucket.name}{limit}")
    if bucket.is_public and settings.cloud.metadata == "full":
        yield Finding(
            subject="cloud",
            state="warning",
            says="the bucket is public, and cloud.metadata: full puts every prompt there",
            remedies=("Set cloud.metadata to auto, or make the bucket private.",),
        )
