"""Check a configuration together with the backends' own blocks; no engine is asked."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen import delivery, outputs
from imagen.backends import configure
from imagen.config import Settings, check, find, find_pool_warnings, variables
from imagen.core.text import is_variable_name
from imagen.core.validation import Problem
from imagen.errors import (
    ConfigError,
    ImagenError,
    MissingDependency,
    OutputError,
    Unauthorized,
    UnknownBackend,
)
from imagen.pipeline.pools import members_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.core.validation import Path as KeyPath


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """Everything wrong with a configuration, and what may keep it from working."""

    source: Path | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def check_config(
    path: Path | None = None, *, environ: Mapping[str, str] = os.environ
) -> ConfigReport:
    """The report on the configuration at `path`, or on the one in use.

    Raises ConfigError if it does not exist.
    """
    source = find(path, environ=environ)
    try:
        checked = check(path, environ=environ)
    except ConfigError as error:
        if not error.problems:
            raise
        return ConfigReport(source=source, problems=error.problems)
    settings = checked.settings
    problems = list(checked.problems)
    try:
        outputs.check_output_settings(settings.output)
    except ConfigError as error:
        what = error.message.removeprefix("output.name ")
        problems.append(Problem(("output", "name"), what, error.remedy))
    except OutputError as error:
        what = f"cannot be used. {error.message}"
        problems.append(Problem(("output", "format"), what, error.remedy))
    warnings = list(checked.warnings)
    for name in settings.backends:
        problems += find_backend_problems(name, settings)
        warnings += find_unset_variables(name, settings, environ)
    problems += _default_backend_problems(settings, checked.problems, environ)
    warnings += find_pool_warnings(settings)
    warnings += _find_unlike_pools(settings)
    if delivery.is_owner_missing(settings, environ):
        switch = settings.output.cloud_sync
        what = f"is not set, so no image is uploaded although output.cloud_sync is {switch}"
        remedy = (
            "Set it to the id of a user of the Supabase project, or set output.cloud_sync to off."
        )
        warnings.append(Problem(("owner_user_id",), what, remedy))
    return ConfigReport(
        source=source,
        problems=checked.with_lines(problems),
        warnings=checked.with_lines(warnings),
    )


def find_backend_problems(name: str, settings: Settings) -> list[Problem]:
    """What is wrong with one backend, as far as it can be known without its engine."""
    path = ("backends", name)
    try:
        adapter, config = configure(name, settings.backends, settings.shared())
        with closing(adapter.open_redacted(config)) as engine:
            if not adapter.is_service:
                engine.capabilities()
    except UnknownBackend as error:
        return [Problem((*path, "type"), error.message, error.remedy)]
    except Unauthorized:
        return []  # `find_unset_variables` reports it
    except ConfigError as error:
        if error.problems:
            return list(error.problems)
        return [Problem(_guess_key(path, settings, error), error.message, error.remedy)]
    except ImagenError as error:
        return [Problem(_guess_key(path, settings, error), error.message, error.remedy)]
    return []


def _find_unlike_pools(settings: Settings) -> Iterator[Problem]:
    """A problem for each pool of which one backend cannot do what another is mainly for.

    The tasks of a service are not known without asking it.
    """
    for pool in settings.pools:
        tasks: dict[str, tuple[str, ...]] = {}
        for name in members_of(pool, settings):
            with suppress(ImagenError):
                adapter, config = configure(name, settings.backends, settings.shared())
                if not adapter.is_service:
                    with closing(adapter.open_redacted(config)) as engine:
                        tasks[name] = engine.capabilities().tasks
        unable = (
            f"{other} cannot do {known[0]}, as {name} does"
            for name, known in tasks.items()
            for other, its in tasks.items()
            if known[0] not in its
        )
        if what := next(unable, ""):
            yield Problem(("pools", pool), what, "Put backends that do the same into a pool.")


def _guess_key(path: KeyPath, settings: Settings, error: ImagenError) -> KeyPath:
    """The key that caused an error when a backend was opened, by the words of the error."""
    block = settings.backends.get(str(path[-1]), {})
    if isinstance(error, MissingDependency):
        return (*path, "type")
    parameters = block.get("parameters")
    for name in parameters if isinstance(parameters, dict) else ():
        if repr(name) in error.message:
            return (*path, "parameters", name)
    return (*path, "workflow") if str(block.get("workflow", "\0")) in error.message else path


def find_unset_variables(
    name: str, settings: Settings, environ: Mapping[str, str] = os.environ
) -> Iterator[Problem]:
    """A problem for each environment variable that a backend needs and that is not set."""
    block = settings.backends.get(name, {})
    for path, variable in variables(complete_block(name, settings)):
        if environ.get(variable):
            continue
        if len(path) == 1 and path[0] not in block:  # left out, or written under another name
            path = next(((key,) for key, value in block.items() if value == variable), path)
        # What does not look like a variable's name may be the secret itself.
        shown = f" {variable}" if is_variable_name(variable) else ""
        what = f"the environment variable{shown} named here is not set"
        yield Problem(("backends", name, *path), what, f"Set it before {name} is used.")


def complete_block(name: str, settings: Settings) -> Mapping[str, object]:
    """The block of a backend; of a service with its defaults, since it needs its credential.

    Other backends work without the variable that they name by default.
    """
    block = settings.backends.get(name, {})
    try:
        adapter, config = configure(name, settings.backends, settings.shared())
    except ImagenError:
        return block
    if adapter.is_service:
        return config.model_dump(mode="json")
    fields = type(config).model_fields
    usual = {key: field.get_default(call_default_factory=True) for key, field in fields.items()}
    return {key: value for key, value in block.items() if value != usual.get(key)}


def _default_backend_problems(
    settings: Settings, found: tuple[Problem, ...], environ: Mapping[str, str]
) -> Iterator[Problem]:
    name = settings.default_backend
    is_known = any(problem.path[:2] in (("backends",), ("backends", name)) for problem in found)
    if name in settings.backends or is_known:
        return
    by = " IMAGEN_BACKEND says so." if environ.get("IMAGEN_BACKEND") else ""
    try:
        members_of(name, settings)
    except UnknownBackend as error:
        yield Problem(("default_backend",), f"{error.message}{by}", error.remedy)
