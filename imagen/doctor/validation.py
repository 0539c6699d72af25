"""What is wrong with a configuration, the backends' own blocks included; no engine is asked."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagen import delivery, outputs
from imagen.backends import configure
from imagen.config import Settings, check, find, variables
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.core.validation import Path as KeyPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that is wrong with a configuration, and what may yet keep it from working."""

    source: Path | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def report(path: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Report:
    """The report on the configuration named, or on the one in force.

    Raises ConfigError where there is none of that name.
    """
    source = find(path, environ=environ)
    try:
        checked = check(path, environ=environ)
    except ConfigError as error:
        if not error.problems:
            raise
        return Report(source=source, problems=error.problems)
    settings = checked.settings
    found = [
        *_names(settings),
        *_all_blocks(settings),
        *_default(settings, checked.problems, environ),
    ]
    warnings = [
        *checked.warnings,
        *(w for name in settings.backends for w in unset(name, settings, environ)),
        *_cloud(settings, environ),
    ]
    return Report(
        source=source,
        problems=checked.with_lines([*checked.problems, *found]),
        warnings=checked.with_lines(warnings),
    )


def block_problems(name: str, settings: Settings) -> list[Problem]:
    """What is wrong with one backend, as far as it can be known without its engine."""
    at = ("backends", name)
    try:
        adapter, config = configure(name, settings.backends, settings.shared())
        with closing(adapter.open_redacted(config)) as engine:
            if not adapter.is_service:
                engine.capabilities()
    except UnknownBackend as error:
        return [Problem((*at, "type"), error.message, error.remedy)]
    except Unauthorized:
        return []  # a variable that is not set: `unset` tells
    except ImagenError as error:
        found = getattr(error, "problems", ())
        return list(found) or [Problem(_blamed(at, settings, error), error.message, error.remedy)]
    return []


def unset(
    name: str, settings: Settings, environ: Mapping[str, str] = os.environ
) -> Iterator[Problem]:
    """A problem for each environment variable that a backend needs and that is not set."""
    block = settings.backends.get(name, {})
    for path, variable in variables(needed(name, settings)):
        if environ.get(variable):
            continue
        if len(path) == 1 and path[0] not in block:  # left out, or written by another name
            path = next(((key,) for key, value in block.items() if value == variable), path)
        # What does not look like a variable's name may be the secret itself.
        shown = f" {variable}" if is_variable_name(variable) else ""
        what = f"the environment variable{shown} named here is not set"
        yield Problem(("backends", name, *path), what, f"Set it before {name} is used.")


def needed(name: str, settings: Settings) -> Mapping[str, Any]:
    """The block of a backend, with what a service leaves out: it needs its credential.

    Other kinds can do without the variable that they name by default.
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


def _names(settings: Settings) -> Iterator[Problem]:
    """What is wrong with the template of the names, and with the format of the images."""
    try:
        outputs.check_output_settings(settings.output)
    except ConfigError as error:
        yield Problem(("output", "name"), error.message.removeprefix("output.name "), error.remedy)
    except OutputError as error:
        yield Problem(("output", "format"), f"can't be used. {error.message}", error.remedy)


def _all_blocks(settings: Settings) -> Iterator[Problem]:
    for name in settings.backends:
        yield from block_problems(name, settings)


def _cloud(settings: Settings, environ: Mapping[str, str]) -> Iterator[Problem]:
    if delivery.is_owner_missing(settings, environ):
        switch = settings.output.cloud_sync
        yield Problem(
            ("owner_user_id",),
            f"is not set, so no image is uploaded although output.cloud_sync is {switch}",
            "Set it to the id of a user of the Supabase project, or set output.cloud_sync to off.",
        )


def _default(
    settings: Settings, found: tuple[Problem, ...], environ: Mapping[str, str]
) -> Iterator[Problem]:
    """What is wrong with the choice of the default backend."""
    name = settings.default_backend
    told = any(problem.path[:2] in (("backends",), ("backends", name)) for problem in found)
    if name in settings.backends or told:
        return
    by = " IMAGEN_BACKEND says so." if environ.get("IMAGEN_BACKEND") else ""
    try:
        configure(name, settings.backends, settings.shared())
    except UnknownBackend as error:
        yield Problem(("default_backend",), f"{error.message}{by}", error.remedy)


def _blamed(at: KeyPath, settings: Settings, error: ImagenError) -> KeyPath:
    """The key that an error of opening a backend is about, as far as its words tell."""
    block = settings.backends.get(str(at[-1]), {})
    if isinstance(error, MissingDependency):
        return (*at, "type")
    parameters = block.get("parameters")
    for name in parameters if isinstance(parameters, dict) else ():
        if repr(name) in error.message:
            return (*at, "parameters", name)
    return (*at, "workflow") if str(block.get("workflow", "\0")) in error.message else at
