"""Credentials: of each variable that is needed, whether it is set; never what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.config import variables
from imagen.core.text import is_variable_name
from imagen.doctor.findings import Finding
from imagen.doctor.validation import needed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.config import Settings
    from imagen.doctor.findings import State


def look(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """A finding for each variable."""
    none = Finding(subject="credentials", says="none is needed")
    return [*_needed(settings, environ)] or [none]


def _needed(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    users: dict[str, list[str]] = {}
    for variable, user in _of_backends(settings):
        users.setdefault(variable, []).append(user)
    for variable, names in users.items():
        yield _finding((variable,), "broken", environ, ", ".join(dict.fromkeys(names)))
    if variable := settings.library.password_env:
        yield _finding((variable,), "warning", environ, "the library")
    for hook in settings.webhooks:
        if hook.secret_env:
            yield _finding((hook.secret_env,), "broken", environ, "the signature of a webhook")
    if _is_cloud_meant(settings, environ):
        yield _finding((settings.cloud.url_env,), "note", environ, "the cloud")
        yield _finding(settings.cloud.key_env, "note", environ, "the cloud")


def _is_cloud_meant(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Who has set nothing of it has never heard of it; what is wrong with it is told elsewhere."""
    switches = (settings.output.cloud_sync, settings.usage.mirror)
    names = (settings.cloud.url_env, *settings.cloud.key_env)
    has_begun = settings.owner_user_id or any(environ.get(name) for name in names)
    return "on" in switches or ("auto" in switches and bool(has_begun))


def _of_backends(settings: Settings) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys([*settings.backends, settings.default_backend]):
        for _, variable in variables(needed(name, settings)):
            yield variable, name


def _finding(
    names: tuple[str, ...], unset: State, environ: Mapping[str, str], user: str
) -> Finding:
    """Of several variables that mean the same, the first that is set counts."""
    found = next((name for name in names if environ.get(name, "").strip()), None)
    if found is not None:
        return Finding(subject=_shown(found), says=f"set, for {user}")
    subject = " or ".join(map(_shown, names))
    remedy = f"Set {'it' if len(names) == 1 else 'one of them'} before {user} is used."
    says = f"not set; {user} needs it"
    return Finding(subject=subject, state=unset, says=says, remedies=(remedy,))


def _shown(name: str) -> str:
    """What does not look like a variable's name may be the secret itself."""
    return name if is_variable_name(name) else "(no name of a variable)"
