"""A folder with a configuration, a library and a simulated Supabase, and commands in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulators.supabase import SERVICE_KEY, Supabase
from sqlalchemy import update

from imagen.cli import run
from imagen.config import Settings, load_settings
from imagen.library import Query, outbox, search_images
from imagen.library.schema import outbox as rows
from imagen.pipeline.record import open_library_synced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from imagen.library.outbox import PendingDelivery


OWNER = "99999999-8888-4777-8666-555555555555"


class SyncFolder:
    """The working folder of a test, with Supabase enabled."""

    def __init__(self, cloud: Supabase, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cloud = cloud
        self._patch = monkeypatch
        self.set(SUPABASE_URL=cloud.url, SUPABASE_SERVICE_KEY=SERVICE_KEY)
        self.configure()

    def set(self, **variables: str) -> None:
        """Set environment variables."""
        for name, value in variables.items():
            self._patch.setenv(name, value)

    def configure(self, **more: Any) -> None:
        """Write imagen.yaml with these additional keys."""
        Path("imagen.yaml").write_text(json.dumps(configuration(**more)))

    def make(self, *arguments: str, many: int = 1) -> None:
        """Generate images, each by its own command."""
        for seed in range(1, many + 1):
            words = ["generate", "a fox", "--size", "32x32", "--seed", str(seed), "--quiet"]
            assert run([*words, *arguments]) == 0

    @property
    def settings(self) -> Settings:
        return load_settings()

    def left(self) -> list[PendingDelivery]:
        """The deliveries that are not sent yet."""
        with open_library_synced(load_settings()) as library:
            return outbox.list_unsent(library)

    def states(self, kind: str = "cloud") -> list[tuple[str, int]]:
        """State and attempts of each pending delivery of a kind."""
        return [(one.state, one.attempts) for one in self.left() if one.delivery.kind == kind]

    def pass_time(self) -> None:
        """Let every back-off and every claim of a dead process expire."""
        let_time_pass(Path())

    def ids(self) -> list[str]:
        """The ids of the images in the library, the oldest first."""
        with open_library_synced(load_settings()) as library:
            return [image.id for image in reversed(search_images(library, Query()).images)]

    def uploads(self) -> list[str]:
        """The path of each upload, including refused ones and those whose answer was lost."""
        return [seen.below for seen in self.cloud.requests if seen.is_upload]

    def there(self) -> tuple[int, int, int]:
        """How many objects, image rows and usage rows the cloud has."""
        images, usage = self.cloud.rows("imagen", "images"), self.cloud.rows("mai", "imagen_usage")
        return len(self.cloud.objects), len(images), len(usage)


def configuration(**more: Any) -> dict[str, Any]:
    """The configuration of a folder that holds everything."""
    own = {"owner_user_id": OWNER, "state_dir": "state", "library": {"url": "library.db"}}
    return own | more


def let_time_pass(folder: Path) -> None:
    """Let every back-off and every claim in this folder's library expire."""
    settings = load_settings(folder / "imagen.yaml")
    with open_library_synced(settings) as library, library.writing() as connection:
        later = update(rows).where(rows.c.state == "waiting")
        connection.execute(later.values(due_ms=0, claimed_until_ms=0))


def count_unsent(folder: Path) -> tuple[int, int]:
    """How many deliveries are pending, and how many images are in the cloud."""
    with open_library_synced(load_settings(folder / "imagen.yaml")) as library:
        images = search_images(library, Query()).images
        return len(outbox.list_unsent(library)), sum(bool(image.cloud) for image in images)


@contextmanager
def running_imagen(*arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """The command line as a process of its own, which is killed after the block if it runs on."""
    with start_imagen(*arguments, **environ) as process:
        try:
            yield process
        finally:
            process.kill()


def start_imagen(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    """A command as its own process."""
    return subprocess.Popen(
        [sys.executable, "-m", "imagen", *arguments],
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(happened: Callable[[], bool], *, seconds: float = 30) -> bool:
    """Whether it happens within that time."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def without_times(text: str) -> str:
    """`waiting until 12:31:05` as `waiting until TIME`."""
    return re.sub(r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d", "TIME", text)
