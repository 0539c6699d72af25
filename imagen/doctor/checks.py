"""The checks of `imagen doctor`, in the order in which their findings are shown."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import ConfigDict

from imagen import __version__, delivery
from imagen.backends import open_backend
from imagen.config import check, variables
from imagen.core.text import is_variable_name, one_line
from imagen.doctor.config_check import (
    check_config,
    complete_block,
    find_backend_problems,
    find_unset_variables,
)
from imagen.errors import ConfigError, ImagenError, install_command
from imagen.jobs import file_store
from imagen.preview import plan_preview

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from imagen.config import OutputSettings, Settings

State = Literal["ok", "note", "warning", "broken"]
"""A note is worth knowing, and nothing is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    __pydantic_config__: ClassVar = ConfigDict(use_attribute_docstrings=True)

    subject: str
    state: State = "ok"
    says: str = ""
    remedies: tuple[str, ...] = ()
    """What to do about it, a sentence each."""
    section: str = ""
    """Filled in by `examine`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to check; `look` may access files and servers, and raise ImagenError."""

    section: str
    subject: str
    look: Callable[[], Iterable[Finding]]
    when_late: State = "broken"
    """The state if it does not finish in time."""


def finding_of(subject: str, error: ImagenError) -> Finding:
    """An error as a finding."""
    remedies = tuple(error.remedy.splitlines())
    return Finding(subject=subject, state="broken", says=error.message, remedies=remedies)


def list_checks(settings: Settings, environ: Mapping[str, str], *, quick: bool) -> list[Check]:
    """All checks of a configuration; with `quick` only those that ask no server."""
    credentials = partial(check_credentials, settings, environ)
    preview = partial(check_preview, settings.output, environ)
    cloud = partial(check_cloud, settings, environ, quick=quick)
    return [
        Check(section="credentials", subject="credentials", look=credentials),
        *backend_checks(settings, environ, quick=quick),
        Check(section="disk", subject="disk", look=partial(check_disk, settings)),
        Check(section="jobs", subject="jobs", look=partial(check_jobs, settings.state_dir)),
        *library_checks(settings, environ, quick=quick),
        *queue_checks(settings, environ, quick=quick),
        Check(section="cloud", subject="cloud", look=cloud),
        Check(section="preview", subject="preview", look=preview),
    ]


# -- Configuration ---------------------------------------------------------------------------------


def check_configuration(
    path: Path | None, environ: Mapping[str, str]
) -> tuple[list[Finding], Settings | None]:
    """What is wrong with the configuration, and the settings without the invalid values.

    None if they are unknown: then nothing else can be checked.
    """
    try:
        result = check_config(path, environ=environ)
        settings = check(path, environ=environ).settings
    except ConfigError as error:
        return [finding_of("imagen.yaml", error)], None
    findings: list[Finding] = []
    if result.source is None:
        write = "`imagen config init --detect --write` writes one for the engines it finds."
        says = "there is none, and the defaults apply"
        findings.append(Finding(subject="imagen.yaml", state="note", says=says, remedies=(write,)))
    elif not result.problems:
        findings.append(Finding(subject="imagen.yaml", says=str(result.source.absolute())))
    for problem in result.problems:
        line = f"line {problem.line}: " if problem.line else ""
        finding = Finding(
            subject=str(result.source or "defaults"),
            state="broken",
            says=f"{line}{problem.sentence}",
            remedies=tuple(problem.remedy.splitlines()),
        )
        findings.append(finding)
    try:
        delivery.check_settings(settings, environ)
    except ConfigError as error:
        findings.append(finding_of("switches", error))
    return findings, settings


# -- Credentials -----------------------------------------------------------------------------------


def check_credentials(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """For each variable that is needed, whether it is set; never its value."""
    users: dict[str, dict[str, None]] = {}
    for name in dict.fromkeys([*settings.backends, settings.default_backend]):
        for _, variable in variables(complete_block(name, settings)):
            users.setdefault(variable, {})[name] = None
    needed: list[tuple[tuple[str, ...], State, str]] = [
        ((variable,), "broken", ", ".join(names)) for variable, names in users.items()
    ]
    if variable := settings.library.password_env:
        needed.append(((variable,), "warning", "the library"))
    for hook in settings.webhooks:
        if hook.secret_env:
            needed.append(((hook.secret_env,), "broken", "the signature of a webhook"))
    cloud, switches = settings.cloud, (settings.output.cloud_sync, settings.usage.mirror)
    has_some = settings.owner_user_id or any(map(environ.get, (cloud.url_env, *cloud.key_env)))
    if "on" in switches or ("auto" in switches and has_some):
        needed.append(((cloud.url_env,), "note", "the cloud"))
        needed.append((cloud.key_env, "note", "the cloud"))
    if not needed:
        return [Finding(subject="credentials", says="none is needed")]
    findings: list[Finding] = []
    for names, state, user in needed:
        # What does not look like a variable's name may be the secret itself.
        shown = {n: n if is_variable_name(n) else "(not a variable name)" for n in names}
        # Of several variables for the same credential, the first that is set is used.
        present = next((name for name in names if environ.get(name, "").strip()), None)
        if present is not None:
            found = Finding(subject=shown[present], says=f"set, for {user}")
        else:
            remedy = f"Set {'it' if len(names) == 1 else 'one of them'} before {user} is used."
            found = Finding(
                subject=" or ".join(shown.values()),
                state=state,
                says=f"not set; {user} needs it",
                remedies=(remedy,),
            )
        findings.append(found)
    return findings


# -- Backends --------------------------------------------------------------------------------------


def backend_checks(
    settings: Settings, environ: Mapping[str, str], *, quick: bool
) -> Iterator[Check]:
    """A check for each backend, in the order of the configuration."""
    for name in settings.backends:
        look = partial(_check_backend, name, settings, environ, quick=quick)
        yield Check(section="backends", subject=name, look=look)
    if not settings.backends:
        mock = Finding(
            subject="mock",
            state="note",
            says="only the mock, which paints without a model",
            remedies=(
                "`imagen config init --detect --write` sets up the engines of this machine.",
            ),
        )
        yield Check(section="backends", subject="mock", look=lambda: [mock])


def _check_backend(
    name: str, settings: Settings, environ: Mapping[str, str], *, quick: bool
) -> Iterator[Finding]:
    """Whether a backend could work now, and what it lacks."""
    if find_backend_problems(name, settings):
        says = "cannot be used: its configuration is wrong, as reported above"
        yield Finding(subject=name, state="broken", says=says)
        return
    if any(find_unset_variables(name, settings, environ)):
        yield Finding(subject=name, state="broken", says="cannot be used without its credential")
        return
    if quick:
        yield Finding(subject=name, says="configured; its engine was not asked")
        return
    with closing(open_backend(name, settings.backends, settings.shared())) as engine:
        health = engine.check()
    gpus = (f"GPU {gpu.sentence}" for gpu in health.gpus)
    facts = "; ".join([*(f"{fact} {value}" for fact, value in health.facts), *gpus])
    yield Finding(
        subject=name,
        state="ok" if health.ok else "broken",
        says=(facts if health.ok else health.summary) or health.summary,
        remedies=health.remedies,
    )
    for missing in health.lacking:
        remedies = (missing.remedy,) if missing.remedy else ()
        says = f"cannot {missing.what} now: {missing.why}"
        yield Finding(subject=name, state="note", says=says, remedies=remedies)


# -- Disk and jobs ---------------------------------------------------------------------------------

_LOW_SPACE_BYTES = 10**9
_MAX_JOBS_SHOWN = 5


def check_disk(settings: Settings) -> Iterator[Finding]:
    """For each folder that imagen writes to, whether it is writable and has space."""
    yield _check_folder("output.directory", settings.output.directory, "output.directory")
    yield _check_folder("state_dir", settings.state_dir, "state_dir, or IMAGEN_STATE")
    if settings.library.enabled and "://" not in settings.library_at:
        folder = Path(settings.library_at).parent
        yield _check_folder("library.url", folder, "library.url, or IMAGEN_LIBRARY")


def _check_folder(subject: str, folder: Path, keys: str) -> Finding:
    """A folder that does not exist yet is checked by its nearest existing parent."""
    whole = folder.absolute()
    existing = next(place for place in (whole, *whole.parents) if os.path.lexists(place))
    remedies = (f"Name another folder: {keys}.",)
    if not os.path.isdir(existing):
        says = f"{existing} is not a folder"
        return Finding(subject=subject, state="broken", says=says, remedies=remedies)
    if not os.access(existing, os.W_OK | os.X_OK):
        says = f"{existing} is not writable"
        return Finding(subject=subject, state="broken", says=says, remedies=remedies)
    return check_space(subject, whole, shutil.disk_usage(existing).free)


def check_space(subject: str, folder: Path, free: int) -> Finding:
    """Whether this many free bytes are enough."""
    says = f"{folder}, {free / 10**9:.1f} GB free"
    if free >= _LOW_SPACE_BYTES:
        return Finding(subject=subject, says=says)
    remedies = ("Free some space on this disk.",)
    return Finding(subject=subject, state="warning", says=says, remedies=remedies)


def check_jobs(state_dir: Path) -> Iterator[Finding]:
    """The jobs that interrupted processes left, and those that a living process works on."""
    ids = file_store.list_ids(state_dir)
    idle = [id for id in ids if not file_store.is_worked_on(id, state_dir)]
    if busy := len(ids) - len(idle):
        yield Finding(subject="at work", says=f"{busy} {'job' if busy == 1 else 'jobs'}")
    if not idle:
        yield Finding(subject="interrupted", says="none")
        return
    names = ", ".join(idle[:_MAX_JOBS_SHOWN]) + (", …" if len(idle) > _MAX_JOBS_SHOWN else "")
    count = f"{len(idle)} {'job is' if len(idle) == 1 else 'jobs are'}"
    yield Finding(
        subject="interrupted",
        state="warning",
        says=f"{count} unfinished: {names}",
        remedies=("Finish them with: imagen resume",),
    )


# -- Library ---------------------------------------------------------------------------------------

_RETRY = "Retry with: imagen sync --retry"


def library_checks(
    settings: Settings, environ: Mapping[str, str], *, quick: bool
) -> Iterator[Check]:
    """Whether the library opens and is intact, and what its outbox holds."""
    at, section = settings.library_at, "library"
    finding = None
    if not settings.library.enabled:
        finding = Finding(subject="library", state="note", says="off: library.enabled is false")
    elif "://" not in at and not os.path.lexists(at):  # opening it would create it
        finding = Finding(subject="library", says=f"{at}, not created yet")
    elif quick and "://" in at:
        finding = Finding(subject="library", says=f"{at}, not asked")
    if finding is not None:
        yield Check(section=section, subject="library", look=partial(list, [finding]))
        return
    for subject, look in (("library", _check_library), ("outbox", _check_outbox)):
        yield Check(section=section, subject=subject, look=partial(look, settings, environ))
    if not quick:
        integrity = partial(_check_integrity, settings, environ)
        yield Check(section=section, subject="integrity", look=integrity, when_late="warning")


def _check_library(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    from imagen.library import Query, count_images, open_library
    from imagen.library.migrations import version_of

    with open_library(settings, environ=environ) as library:
        with library.reading() as connection:
            schema_version = version_of(connection)
        images = count_images(library, Query())
    count = f"{images} {'image' if images == 1 else 'images'}"
    says = f"{library.at}, version {schema_version}, {count}"
    if not library.is_read_only:
        yield Finding(subject="library", says=says)
        return
    yield Finding(
        subject="library",
        state="warning",
        says=f"{says}; it is read-only",
        remedies=("Give imagen write permission for its file and folder.",),
    )


def queue_checks(settings: Settings, environ: Mapping[str, str], *, quick: bool) -> Iterator[Check]:
    """The check of the queue, where there is a library that may be asked."""
    at = settings.library_at
    is_there = not quick if "://" in at else os.path.lexists(at)
    if settings.library.enabled and is_there:

        def look() -> Iterable[Finding]:
            from imagen.doctor.queue_check import check_queue  # with SQLAlchemy

            return check_queue(settings, environ)

        yield Check(section="queue", subject="queue", look=look, when_late="warning")


def _check_outbox(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    from imagen.library import open_library
    from imagen.library.outbox import list_unsent

    with open_library(settings, environ=environ) as library:
        unsent = list_unsent(library)
    pending = [one for one in unsent if one.state != "stuck"]
    counts = Counter(one.delivery.kind for one in pending)
    kinds = ", ".join(f"{number} for the {kind}" for kind, number in counts.items())
    errors = dict.fromkeys(one_line(one.last_error) for one in pending if one.last_error)
    if not pending:
        yield Finding(subject="outbox", says="empty")
    elif not errors:
        remedies = ("`imagen sync` sends them now.",)
        yield Finding(subject="outbox", state="note", says=f"{kinds} pending", remedies=remedies)
    else:
        says = f"{kinds} waiting for a retry: {'; '.join(errors)}"
        yield Finding(subject="outbox", state="warning", says=says, remedies=(_RETRY,))
    stuck = ((o.delivery.kind, one_line(o.last_error)) for o in unsent if o.state == "stuck")
    for (kind, why), number in Counter(stuck).items():
        says = f"{number} for the {kind} stuck: {why}"
        yield Finding(subject="outbox", state="broken", says=says, remedies=(_RETRY,))


def _check_integrity(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What SQLite finds wrong with its file, and whether the full-text search works."""
    from imagen.library import Query, open_library, search_images

    faults: list[str] = []
    with open_library(settings, environ=environ) as library:
        if library.is_sqlite:
            with library.reading() as connection:
                # https://www.sqlite.org/pragma.html#pragma_quick_check
                lines = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
            faults = [one_line(line) for line in lines if line != "ok"]
        search_images(library, Query(text="imagen"), limit=1)
    if not faults:
        yield Finding(subject="integrity", says="intact and searchable")
    rebuild = (
        "Your image files are not affected. Move the library's file away, and `imagen library add` "
        "creates another from them."
    )
    for fault in faults:
        yield Finding(subject="integrity", state="broken", says=fault, remedies=(rebuild,))


# -- Cloud and preview -----------------------------------------------------------------------------

_CLOUD_SETTINGS = 3
"""A URL, a key and an owner."""


def check_cloud(
    settings: Settings, environ: Mapping[str, str], *, quick: bool
) -> Iterator[Finding]:
    """Whether the cloud is on, answers, and has the bucket for images."""
    from imagen.delivery import missing_settings
    from imagen.delivery.supabase import connect

    switch = settings.output.cloud_sync
    names = missing_settings(settings, environ, owned=True)
    if switch == "off":
        yield Finding(subject="cloud", state="note", says="off: images stay on this machine")
        return
    if names:
        # If some of them are set, somebody meant it to be on.
        state: State = "note" if len(names) == _CLOUD_SETTINGS else "warning"
        yield Finding(
            subject="cloud",
            state="broken" if switch == "on" else state,
            says=f"off: {' and '.join(names)} {'is' if len(names) == 1 else 'are'} not set",
        )
        return
    if quick:
        yield Finding(subject="cloud", says="configured, and not asked")
        return
    with connect(settings, environ) as project:
        bucket = project.bucket(settings.cloud.bucket)
    kind = "public" if bucket.is_public else "private"
    limit = f", files of up to {bucket.max_bytes / 2**20:.0f} MiB" if bucket.max_bytes else ""
    yield Finding(subject="cloud", says=f"{project.url}, {kind} bucket {bucket.name}{limit}")
    if bucket.is_public and settings.cloud.metadata == "full":
        yield Finding(
            subject="cloud",
            state="warning",
            says="the bucket is public, and cloud.metadata: full publishes every prompt",
            remedies=("Set cloud.metadata to auto, or make the bucket private.",),
        )


def check_preview(settings: OutputSettings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Where new images would be shown, as if on a terminal, which is not queried."""
    if settings.preview == "off":
        yield Finding(subject="preview", state="note", says="off")
        return
    try:
        planned = plan_preview(settings, environ=environ, is_tty=True)
    except ConfigError as error:
        remedies = tuple(error.remedy.splitlines())
        yield Finding(subject="preview", state="warning", says=error.message, remedies=remedies)
        return
    if planned is None and environ.get("TMUX"):
        viewer = settings.preview_command.split()[0]
        says = f"nowhere: the viewer {viewer!r} is not on the PATH"
        remedies = ("Install it, or name another in output.preview_command.",)
        yield Finding(subject="preview", state="note", says=says, remedies=remedies)
    elif planned is None:
        says = "nowhere: this is neither tmux nor a terminal that is known to show images"
        yield Finding(subject="preview", state="note", says=says)
    elif planned.way != "tmux":
        yield Finding(subject="preview", says=f"in the terminal, with {planned.way}'s protocol")
    else:
        programs = ("tmux", planned.viewer[0])
        missing = [p for p in programs if shutil.which(p, path=environ.get("PATH")) is None]
        says = f"in a tmux window, with {' '.join(planned.viewer)}"
        if missing:
            says = f"{missing[0]!r} is not on the PATH"
        yield Finding(subject="preview", state="warning" if missing else "ok", says=says)


# -- Versions --------------------------------------------------------------------------------------

_PACKAGES = ("httpx", "pillow", "pydantic", "sqlalchemy", "websockets")
_EXTRAS = {
    "postgres": ("psycopg",),
    "diffusers": ("diffusers", "torch", "transformers", "accelerate", "peft", "safetensors"),
}
"""The packages that each extra brings."""


def check_versions() -> Iterator[Finding]:
    """The versions that a bug report should contain."""
    yield Finding(subject="imagen", says=__version__)
    yield Finding(subject="Python", says=platform.python_version())
    yield Finding(subject="platform", says=platform.platform())
    yield Finding(subject="SQLite", says=sqlite3.sqlite_version)
    yield Finding(subject="packages", says=_list_versions(_PACKAGES))
    for name, packages in _EXTRAS.items():
        present = [package for package in packages if _version(package)]
        missing = [package for package in packages if package not in present]
        yield check_extra(name, present, missing)


def check_extra(name: str, present: Sequence[str], missing: Sequence[str]) -> Finding:
    """Whether an extra is installed, in part or whole."""
    subject, remedies = f"extra {name}", (f"Install it with: {install_command(name)}",)
    if not present:
        return Finding(subject=subject, state="note", says="not installed", remedies=remedies)
    if missing:
        says = f"{_list_versions(present)}; without {', '.join(missing)}"
        return Finding(subject=subject, state="warning", says=says, remedies=remedies)
    return Finding(subject=subject, says=_list_versions(present))


def _list_versions(packages: Iterable[str]) -> str:
    return ", ".join(f"{name} {_version(name)}" for name in packages)


def _version(package: str) -> str:
    """The version of an installed package, or ""."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
