"""Shell completion of the values of options and arguments.

No server is contacted. Errors are suppressed by the caller.
"""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagen.config import Settings

_RECENT = 20


def complete_files(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Files, which the shell completes itself."""
    return [CompletionItem(incomplete, type="file")]


def complete_backends(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The configured backends, and the mock."""
    blocks = {"mock": {"type": "mock"}} | _settings(ctx).backends
    kinds = ((name, str(block.get("type", name))) for name, block in blocks.items())
    return [CompletionItem(name, help=kind) for name, kind in kinds if name.startswith(incomplete)]


def complete_backends_and_pools(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What a request may be sent to."""
    return complete_backends(ctx, param, incomplete) + complete_pools(ctx, param, incomplete)


def complete_backend_list(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The backends after the last comma that are not in the list yet."""
    before, comma, last = incomplete.rpartition(",")
    found = complete_backends(ctx, param, last)
    new = [item for item in found if item.value not in before.split(",")]
    return [CompletionItem(f"{before}{comma}{item.value}", help=item.help) for item in new]


def complete_styles(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The styles in the configuration."""
    return _matching(_settings(ctx).styles, incomplete)


def complete_workflows(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The bundled workflows and those in the user's folders, or files."""
    from imagen import graphs

    found = _matching(graphs.list_workflow_names(_settings(ctx).workflow_dirs), incomplete)
    return found or complete_files(ctx, param, incomplete)


def complete_models(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The models in the backend's `models_dir`, or the mock's, or files."""
    from imagen.backends import configure
    from imagen.backends.mock.adapter import CHECKPOINTS
    from imagen.backends.model_choice import list_models

    settings = _settings(ctx)
    name = str(ctx.params.get("backend") or settings.default_backend)
    name = settings.members(name)[0]
    _, config = configure(name, settings.backends, settings.shared())
    folder = None if getattr(config, "url", "") else getattr(config, "models_dir", None)
    is_mock = settings.backends.get(name, {}).get("type", name) == "mock"
    names = list_models(folder) if folder is not None else CHECKPOINTS if is_mock else ()
    return _matching(names, incomplete) or complete_files(ctx, param, incomplete)


def complete_samplers(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The sampler names that all engines understand."""
    from imagen.core.samplers import COMFYUI_SAMPLERS

    return _matching(COMFYUI_SAMPLERS, incomplete)


def complete_schedulers(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The scheduler names that all engines understand."""
    from imagen.core.samplers import COMFYUI_SCHEDULERS

    return _matching(COMFYUI_SCHEDULERS, incomplete)


def complete_images(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """`last` and the newest images of the library, with their prompts."""
    from imagen.core.text import one_line
    from imagen.library.recent import recent_images

    settings = _settings(ctx)
    if not settings.library.enabled:
        return []
    found = recent_images(settings.library_at, _RECENT)
    known = (
        {"last": found[0].prompt, **{image.id: image.prompt for image in found}} if found else {}
    )
    return [
        CompletionItem(id, help=one_line(prompt, limit=60) or None)
        for id, prompt in known.items()
        if id.startswith(incomplete)
    ]


def complete_images_and_files(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """IDs, or files if one begins with the text or no ID does."""
    is_file = incomplete and any(glob.iglob(f"{glob.escape(incomplete)}*"))
    found = [] if is_file else complete_images(ctx, param, incomplete)
    return found or complete_files(ctx, param, incomplete)


def complete_jobs(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """`last` and the jobs that were interrupted."""
    from imagen.jobs import file_store

    jobs = file_store.list_ids(_settings(ctx).state_dir)
    return _matching(["last", *jobs] if jobs else [], incomplete)


def complete_queued_jobs(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """`last` and the newest jobs of the queue, and the interrupted ones of commands."""
    from imagen.jobs import file_store

    settings = _settings(ctx)
    known: dict[str, str] = {}
    if settings.library.enabled and os.path.exists(settings.library_at):
        from imagen.core.text import one_line
        from imagen.jobs.sql_store import open_job_store

        with open_job_store(settings) as store:
            newest = store.list_jobs(limit=_RECENT)
        known = {job.id[:8]: f"{job.state}: {one_line(job.name, limit=60)}" for job in newest}
        known = ({"last": known[newest[0].id[:8]]} if newest else {}) | known
    known |= dict.fromkeys(file_store.list_ids(settings.state_dir), "interrupted")
    return [
        CompletionItem(name, help=text)
        for name, text in known.items()
        if name.startswith(incomplete)
    ]


def complete_pools(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The pools of the configuration, with their backends."""
    pools = _settings(ctx).pools.items()
    return [
        CompletionItem(name, help=", ".join(members))
        for name, members in pools
        if name.startswith(incomplete) and name.isprintable()
    ]


def complete_commands(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The commands that may follow the given ones."""
    command: click.Command | None = ctx.find_root().command
    for name in ctx.params.get("names") or ():
        command = command.get_command(ctx, name) if isinstance(command, click.Group) else None
    if not isinstance(command, click.Group):
        return []
    return command.shell_complete(click.Context(command), incomplete)


def _settings(ctx: click.Context) -> Settings:
    from imagen.config import load_settings

    return load_settings(ctx.params.get("config_path") or ctx.find_root().params.get("config_path"))


def _matching(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """The names that begin with the text, except those with a line break, which shells split."""
    return [
        CompletionItem(name) for name in names if name.startswith(incomplete) and name.isprintable()
    ]
