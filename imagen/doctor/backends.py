"""Backends: whether each could work now, and what it lacks."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from imagen.backends import open_backend
from imagen.doctor.findings import Check, Finding
from imagen.doctor.validation import block_problems, unset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends import Health
    from imagen.config import Settings

_ONLY_MOCK = "only the mock, which paints without a model"
_FIND = "`imagen config init --detect --write` sets up the engines of this machine."


def checks(settings: Settings, environ: Mapping[str, str], *, quick: bool) -> Iterator[Check]:
    """One for each backend, in the order of the configuration; the mock where there is no other."""
    looks = _configured if quick else _asked
    for name in settings.backends:
        look = partial(looks, name, settings, environ)
        yield Check(section="backends", subject=name, look=look)
    if not settings.backends:
        yield Check(section="backends", subject="mock", look=_mock)


def _mock() -> Iterator[Finding]:
    yield Finding(subject="mock", state="note", says=_ONLY_MOCK, remedies=(_FIND,))


def _configured(name: str, settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What can be told without its engine; what is wrong stands in full under its own heading."""
    if block_problems(name, settings):
        says = "can't be used: its configuration is wrong, as told above"
        yield Finding(subject=name, state="broken", says=says)
    elif any(unset(name, settings, environ)):
        yield Finding(subject=name, state="broken", says="can't be used without its credential")
    else:
        yield Finding(subject=name, says="configured; its engine was not asked")


def _asked(name: str, settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    (configured,) = _configured(name, settings, environ)
    if configured.state != "ok":
        yield configured
        return
    with closing(open_backend(name, settings.backends, settings.shared())) as engine:
        health = engine.check()
    yield from _of(name, health)


def _of(name: str, health: Health) -> Iterator[Finding]:
    gpus = (f"GPU {gpu.sentence}" for gpu in health.gpus)
    facts = "; ".join([*(f"{fact} {value}" for fact, value in health.facts), *gpus])
    yield Finding(
        subject=name,
        state="ok" if health.ok else "broken",
        says=(facts if health.ok else health.summary) or health.summary,
        remedies=health.remedies,
    )
    for lack in health.lacking:
        remedies = (lack.remedy,) if lack.remedy else ()
        says = f"can't do {lack.what} for now: {lack.why}"
        yield Finding(subject=name, state="note", says=says, remedies=remedies)
