"""`imagen serve` as a process of its own, which may be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.config import Settings


class ServeProcess:
    """A server of the configuration in a folder; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = ""
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens, after the first time at the same port."""
        port = str(urlsplit(self.url).port) if self.url else "0"
        words = [sys.executable, "-m", "imagen", "serve", "--port", port]
        environ = os.environ | {
            "IMAGEN_CONFIG": str(self._folder / "imagen.yaml"),
            "IMAGEN_BACKGROUND_SYNC": "off",
        }
        with (self._folder / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=log, cwd=self._folder, env=environ, text=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("Listening on "), (self._folder / "serve.log").read_text("utf-8")
        self.url = line.split()[-1]

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        if self._process.stdout is not None:
            self._process.stdout.close()


def write_settings(
    folder: Path, backends: Mapping[str, dict[str, Any]], *, lease_seconds: float = 2.0
) -> Settings:
    """A configuration whose files are in this folder."""
    from imagen.config import load_settings

    values = {
        "default_backend": next(iter(backends)),
        "backends": dict(backends),
        "state_dir": str(folder / "state"),
        "library": {"url": str(folder / "library.db")},
        "output": {"directory": str(folder / "out")},
        "jobs": {"lease_seconds": lease_seconds, "deaths": 100},
    }
    (folder / "imagen.yaml").write_text(json.dumps(values), encoding="utf-8")
    return load_settings(folder / "imagen.yaml")


@contextmanager
def serve_process(folder: Path) -> Iterator[ServeProcess]:
    """A server of the configuration in this folder, for the block."""
    server = ServeProcess(folder)
    try:
        yield server
    finally:
        server.close()
