"""Keys of requests: what is requested twice with one key is made once."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imagen.core.filesystem import file_sha256
from imagen.library import paths_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.config import Settings
    from imagen.core.request import Request
    from imagen.jobs.sql_store import SqlJobStore
    from imagen.jobs.submit import JobRequest


class KeyCounter:
    """Keys of the requests of one command, in which equal requests differ by their number."""

    def __init__(self, settings: Settings, salt: str = "") -> None:
        self._settings = settings
        self._folder = str(settings.output.directory.absolute())
        self._salt = salt
        self._hashes: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def key_of(self, request: Request, backend: str, output_name: str = "", **more: bool) -> str:
        """The key of a request: the same for the same request, files and output folder.

        `more` are other things that make a difference, if they are true.
        """
        values = request.model_dump(
            mode="json", exclude_defaults=True, exclude=request.unset_additions
        )
        for name in ("image", "mask"):
            if values.get(name):
                values[name] = self._hash(values[name])
        if "references" in values:
            values["references"] = list(map(self._hash, values["references"]))
        for control in values.get("controls", ()):
            control["image"] = self._hash(control["image"])
        workflow = str(self._settings.backends.get(backend, {}).get("workflow", ""))
        others = sorted(name for name, value in more.items() if value)
        parts = [values, backend, workflow, self._folder, output_name, self._salt, *others]
        digest = sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        self._counts[digest] += 1
        return f"{digest}.{self._counts[digest]}"

    def _hash(self, path: str) -> str:
        """The hash of an image; its name if it cannot be read, which is refused later."""
        if path not in self._hashes:
            try:
                self._hashes[path] = file_sha256(Path(path).expanduser())
            except (OSError, ValueError):
                self._hashes[path] = path
        return self._hashes[path]


class KnownRows(NamedTuple):
    """Which requests were submitted before."""

    new: dict[int, str]
    """The keys of those that are to be submitted, by their places in the list."""
    done: dict[int, list[Path]]
    """The images of those that are there."""
    waiting: dict[int, str]
    """The jobs of those that have not ended."""
    ended: dict[int, str]
    """The jobs of those that ended without success, and can be tried again."""
    lost: dict[int, str]
    """The jobs that may have run and cost money."""


def find_known_rows(rows: Sequence[JobRequest], store: SqlJobStore) -> KnownRows:
    """Sort requests by what became of them when they were submitted before, with the same keys.

    A request whose images were deleted is new, with another key.
    """
    known = KnownRows({}, {}, {}, {}, {})
    open_rows = {number: str(row.key) for number, row in enumerate(rows)}
    repeated = 0
    while open_rows:
        jobs = store.find_keys(list(open_rows.values()))
        done = {number: jobs[key] for number, key in open_rows.items() if key in jobs}
        done = {number: job for number, job in done.items() if job.state == "done"}
        paths = paths_of(store.library, [job.ticket_id for job in done.values()])
        missing: dict[int, str] = {}
        repeated += 1
        for number, key in open_rows.items():
            job = jobs.get(key)
            if job is None:
                known.new[number] = key
            elif job.state == "done":
                files = paths[job.ticket_id]
                if files and all(path.is_file() for path, is_here in files if is_here):
                    known.done[number] = [file.path for file in files]
                else:
                    missing[number] = f"{rows[number].key}~{repeated}"
            elif job.state == "lost":
                known.lost[number] = job.id
            elif job.state in ("failed", "cancelled"):
                known.ended[number] = job.id
            else:
                known.waiting[number] = job.id
        open_rows = missing
    return known._replace(new=dict(sorted(known.new.items())))
