"""Our files on their way into a model's input: within it where they are small, else uploaded."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.backends.replicate.errors import ATTEMPTS
from imagen.errors import ImagenError, RequestError
from imagen.net.retry import retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.replicate.client import ReplicateClient

_LARGEST_WITHIN = 256 * 1000
"""Bytes of a `data:` address that the API takes as part of an input (its documentation: 256 kB)."""

Files = dict[str, str | list[str]]
"""For each input that takes a file's address, our file or files."""
Uploads = dict[str, dict[str, str]]
"""What lies on Replicate's shelf, by the hash of its content: `id` and `url`."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One of our files."""

    data: bytes
    name: str
    media_type: str

    @property
    def hash(self) -> str:
        return sha256(self.data).hexdigest()

    @property
    def within(self) -> str:
        """As a `data:` address."""
        return f"data:{self.media_type};base64,{b64encode(self.data).decode('ascii')}"

    @property
    def is_small(self) -> bool:
        return len(self.within) <= _LARGEST_WITHIN


def load(files: Files) -> dict[str, list[Loaded]]:
    """The files' content; raises RequestError for one that can't be read."""
    return {
        name: [_load(name, path) for path in ([paths] if isinstance(paths, str) else paths)]
        for name, paths in files.items()
    }


def upload(loaded: Mapping[str, list[Loaded]], client: ReplicateClient, uploads: Uploads) -> None:
    """Put what is large on Replicate's shelf, each content once; `uploads` grows as they arrive."""
    for one in (file for files in loaded.values() for file in files):
        if not one.is_small and one.hash not in uploads:
            upload = partial(client.upload, one.data, one.name, one.media_type)
            id, url = retry(upload, attempts=ATTEMPTS)
            uploads[one.hash] = {"id": id, "url": url}


def addressed(files: Files, loaded: Mapping[str, list[Loaded]], uploads: Uploads) -> dict[str, Any]:
    """The inputs that take a file's address, with the addresses."""
    addresses = {
        name: [one.within if one.is_small else uploads[one.hash]["url"] for one in many]
        for name, many in loaded.items()
    }
    return {
        name: all if isinstance(files[name], list) else all[0] for name, all in addresses.items()
    }


def forget(uploads: Uploads, client: ReplicateClient) -> None:
    """Take off the shelf what was uploaded; what stays there expires within a day."""
    for one in uploads.values():
        with suppress(ImagenError):
            client.delete(one["id"])


def _load(name: str, path: str) -> Loaded:
    from mimetypes import guess_type

    from imagen.core.image_format import media_type

    file = Path(path).expanduser()
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise RequestError(f"{name}: there is no file {file}.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{name}: {file} can't be read: {reason}.") from error
    kind = media_type(data) or guess_type(file.name)[0] or "application/octet-stream"
    return Loaded(data, file.name, kind)
