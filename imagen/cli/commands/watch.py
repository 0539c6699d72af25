"""imagen watch: run a command for each image that appears in a folder."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.folders import name_after_input
from imagen.cli.generation import submit_options
from imagen.cli.options import config_option, quiet_option
from imagen.cli.parsing import PATH
from imagen.cli.queue_common import open_queue
from imagen.cli.queue_options import priority_option
from imagen.cli.request_words import requests_of
from imagen.cli.terminal import echo
from imagen.core.filesystem import make_private_folder
from imagen.core.ids import short_id
from imagen.core.text import did_you_mean, one_line
from imagen.errors import ImagenError, OutputError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imagen.cli.options import RunOptions
    from imagen.core.request import Request
    from imagen.inputs.watch import CompleteImage, FolderWatch, UnreadableImage
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.jobs.worker import StopRequest

_PROBE_SIDE = 512
_WITH_FILE: dict[str, Callable[[Sequence[str], str], list[str]]] = {
    "generate": lambda rest, file: [*rest, "--image", file],
    "preprocess": lambda rest, file: [*rest, file],
    **dict.fromkeys(("edit", "outpaint", "upscale", "restore"), lambda rest, file: [file, *rest]),
}
"""The words of each command with the image of which it is to make others."""


class _WatchCommand(Command):
    """A command that says where the options of the other command belong."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        has_command = "--" in args
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if has_command:
                raise
            ctx.fail(f"{error.message} Put -- before the command: imagen watch FOLDER -- COMMAND")


@click.command(cls=_WatchCommand)
@click.argument("folder", type=PATH)
@click.argument("words", nargs=-1, metavar="-- COMMAND...")
@click.option(
    "--existing/--no-existing",
    "is_existing",
    default=True,
    help="Take the images that are there at the start (the default), or only new ones.",
)
@click.option("--recursive", "-r", "is_recursive", is_flag=True, help="Also in folders below.")
@click.option(
    "--poll",
    "is_polled",
    is_flag=True,
    help="Look every second, for network shares, which report no changes.",
)
@click.option("--detach", is_flag=True, help="Leave the jobs to workers.")
@priority_option
@quiet_option
@config_option
def watch(
    folder: Path,
    words: tuple[str, ...],
    is_existing: bool,
    is_recursive: bool,
    is_polled: bool,
    detach: bool,
    priority: int | None,
    quiet: bool,
    config_path: Path | None,
) -> None:
    """Run a command for each image that appears in a folder.

    COMMAND is generate, edit, outpaint, upscale, restore or preprocess, without its image:

    \b
        imagen watch inbox -- upscale --factor 2

    Each image is made once, also after a restart. Ctrl-C stops it; jobs at servers go on there.
    """
    if not folder.is_dir():
        raise RequestError(f"There is no folder {folder}.")
    if not words:
        raise usage_error(
            f"The command is missing. Put it after --: imagen watch {folder} -- upscale"
        )
    from imagen.inputs.watch import FolderWatch, require_watchfiles

    require_watchfiles()
    with open_queue(config_path) as (store, _):
        template = _CommandTemplate(words, config_path, priority=priority or 0)
        run, backends = template.check()
        run = replace(run, quiet=quiet, as_json=False)
        output = run.settings.output.directory
        if os.path.realpath(output) == os.path.realpath(folder):
            raise usage_error(
                f"The images would be saved in {folder}, and be inputs again. Name another folder "
                "with --output, after the command."
            )
        watched = FolderWatch(folder.absolute(), is_recursive=is_recursive, excluded=[output])
        watched.scan(is_skipped=not is_existing)
        session = _Session(folder.absolute(), watched, template, store, run)
        if not quiet:
            echo(f"Watching {folder}. The images go to {output}. Ctrl-C stops it.", err=True)
        if detach and not store.workers():
            echo("No worker is running. Start one with: imagen worker", err=True)
        session.run(None if detach else backends, is_polled=is_polled, is_recursive=is_recursive)


class _CommandTemplate:
    """A command without its image."""

    def __init__(self, words: Sequence[str], config_path: Path | None, *, priority: int) -> None:
        self._name, *self._rest = words
        self._config_path = config_path
        self._priority = priority
        if self._name not in _WITH_FILE:
            shown = one_line(self._name, limit=40)
            raise usage_error(
                f"{shown!r} cannot be run for each image.{did_you_mean(shown, _WITH_FILE)} "
                f"Use one of: {', '.join(_WITH_FILE)}."
            )

    def requests(self, file: Path) -> list[tuple[Request, RunOptions]]:
        """The requests for one image; raises what the command raises."""
        words = [self._name, *_WITH_FILE[self._name](self._rest, str(file))]
        made = requests_of(words, self._config_path)
        return [(request, name_after_input(request, run)) for request, run in made]

    def check(self) -> tuple[RunOptions, list[str]]:
        """Check the command with an image; its options, and the backends that it needs."""
        from PIL import Image

        from imagen.jobs.model import INTERPOLATION
        from imagen.jobs.submit import JobRequest, RefusedRows, plan_requests
        from imagen.pipeline.pools import members_of

        with TemporaryDirectory() as folder:
            probe = Path(folder) / "image.png"
            Image.new("RGB", (_PROBE_SIDE, _PROBE_SIDE), "grey").save(probe)
            (request, run), *_ = self.requests(probe)
            refused = {
                "--dry-run": run.dry_run,
                "--output -": run.is_stdout,
                "--detach": run.queue.is_detached,
                "--output with the name of an image": run.output is not None and run.output.name,
            }
            for name, is_given in refused.items():
                if is_given:
                    raise usage_error(f"{name} cannot be used after --.")
            options = submit_options(request, run)
            try:
                plan_requests([JobRequest(request, options.backend)], run.settings, options)
            except RefusedRows as error:
                raise error.rows[0].error from None
        if options.backend == INTERPOLATION:
            return run, []
        return run, [*members_of(options.backend, run.settings)]

    def submit(self, image: CompleteImage, store: SqlJobStore) -> list[str]:
        """Submit the jobs for one image, unless they were submitted before; their ids."""
        from imagen.jobs.submit import submit_request

        ids: list[str] = []
        for number, (request, run) in enumerate(self.requests(image.path)):
            options = replace(
                submit_options(request, run),
                key=f"watch:{self.key_of(image, run)}.{number}",
                priority=self._priority,
            )
            ids += submit_request(request, run.settings, options, store=store).ids
        return ids

    def key_of(self, image: CompleteImage, run: RunOptions) -> str:
        """What is the same for the same content, command and output folder."""
        folder = os.path.abspath(run.settings.output.directory)
        parts = [self._name, *self._rest, folder, image.sha256]
        return sha256(json.dumps(parts).encode()).hexdigest()


class _SeenImages:
    """The keys of images that were submitted, in a file: the queue forgets ended jobs in time."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "watch" / "submitted.txt"
        self._keys: set[str] = set()
        with suppress(OSError):
            self._keys = {*self._path.read_text(encoding="ascii", errors="ignore").split()}

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def add(self, key: str) -> None:
        self._keys.add(key)
        with suppress(OSError):  # the key of the job is enough for some weeks
            make_private_folder(self._path.parent)
            with self._path.open("a", encoding="ascii") as file:
                file.write(f"{key}\n")


class _Session:
    """One run of the command."""

    def __init__(
        self,
        folder: Path,
        watched: FolderWatch,
        template: _CommandTemplate,
        store: SqlJobStore,
        run: RunOptions,
    ) -> None:
        from imagen.cli.batch_run import BatchWatch

        self._folder, self._watched, self._template = folder, watched, template
        self._store, self._run = store, run
        self._seen = _SeenImages(run.settings.state_dir)
        self._batch = BatchWatch(store, [], store.last_event(), run)

    def run(self, backends: Sequence[str] | None, *, is_polled: bool, is_recursive: bool) -> None:
        """Submit what appears until Ctrl-C, and run it unless `backends` is None.

        Raises OutputError once the folder is gone, and what makes a worker impossible.
        """
        from imagen.inputs.watch import watch_changes
        from imagen.jobs.worker import run_worker, stop_on_signals

        faults: list[ImagenError] = []
        ended = threading.Event()

        def work(stop: StopRequest) -> None:
            try:
                run_worker(self._run.settings, backends=backends or (), stop=stop)
            except ImagenError as error:
                faults.append(error)
                ended.set()

        with stop_on_signals() as stop:
            worker = threading.Thread(target=work, args=(stop,))
            if backends is not None:
                worker.start()
            try:
                for paths in watch_changes(
                    self._folder, ended, is_recursive=is_recursive, is_polled=is_polled
                ):
                    if stop.is_set:
                        ended.set()
                    elif not self._folder.is_dir():
                        raise OutputError(f"The folder {self._folder} was removed.")
                    else:
                        for image in self._watched.update(paths):
                            self._take(image)
                    self._batch.read_events()
            finally:
                if not stop.is_set:
                    stop.set()
                if backends is not None:
                    worker.join()
                    self._batch.read_events()
        if faults:
            raise faults[0]

    def _take(self, image: CompleteImage | UnreadableImage) -> None:
        """Submit the jobs for an image, or say why it cannot be done."""
        from imagen.inputs.watch import UnreadableImage

        name = one_line(image.path.name, limit=80)
        if isinstance(image, UnreadableImage):
            echo(f"{name}: {image.error.message}", err=True, hanging=2)
            return
        key = self._template.key_of(image, self._run)
        if key in self._seen:
            return
        try:
            ids = self._template.submit(image, self._store)
        except ImagenError as error:
            echo(f"{name}: {error}", err=True, hanging=2)
            if error.retryable:
                self._watched.put_back(image.path)
            return
        self._seen.add(key)
        self._batch.add(ids)
        if not self._run.quiet:
            shown = ", ".join(short_id(id, 0) for id in ids)
            echo(f"{name}: job {shown}", err=True, hanging=2)
