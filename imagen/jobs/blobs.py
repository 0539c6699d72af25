"""Files by the SHA-256 of their bytes, for jobs that run later or on another machine.

The library has a row for each of them; the bytes are in PostgreSQL, in a folder, in S3-compatible
storage or in Supabase. A file stays while a job, a schedule or an image of the library needs it.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import delete, exists, select, text, update

from imagen.core.filesystem import make_private_folder, read_at_most, write_whole
from imagen.core.image_file import LARGEST_BYTES, media_type
from imagen.core.text import bare_address, did_you_mean, one_line
from imagen.errors import (
    BackendError,
    ConfigError,
    LibraryError,
    LibraryUnreachable,
    MissingDependency,
    OutputError,
)
from imagen.library.schema import blobs, images, job_blobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.config import Settings
    from imagen.delivery.supabase import SupabaseClient
    from imagen.library import Library

_GRACE_MS = 24 * 3600 * 1000
"""A file is stored before the job that needs it."""
_RETRY_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_KEEP = text(
    "INSERT INTO blobs (sha256, size_bytes, used_ms, data) VALUES (:sha256, :size, :now, :data) "
    "ON CONFLICT (sha256) DO UPDATE SET used_ms = excluded.used_ms, "
    "data = COALESCE(excluded.data, blobs.data)"
)


class _BlobPlace(Protocol):
    """Where the bytes are, if not in the library itself."""

    def has(self, digest: str) -> bool: ...
    def write(self, digest: str, data: bytes) -> None: ...
    def read(self, digest: str) -> bytes | None: ...
    def remove(self, digest: str) -> None: ...


class BlobStore:
    """The stored files of one library. Threads may share it.

    Methods raise LibraryError; LibraryUnreachable if the bytes cannot be reached now.
    """

    def __init__(self, library: Library, place: _BlobPlace | None, *, is_shared: bool) -> None:
        self.library = library
        self._place = place
        self.is_shared = is_shared
        """Whether other machines can read what this one stores."""

    def put(self, source: bytes | Path) -> str:
        """Store a file unless it is there already; its hash. Raises OutputError for a bad file."""
        try:
            data = source if isinstance(source, bytes) else read_at_most(source, LARGEST_BYTES + 1)
        except OSError as error:
            raise OutputError(f"{source!s} cannot be read: {error.strerror or error}.") from error
        if len(data) > LARGEST_BYTES:
            raise OutputError(f"A file is larger than {LARGEST_BYTES // 2**20} MiB: {source!s}")
        digest = sha256(data).hexdigest()
        now = round(time.time() * 1000)
        is_in_row = self._place is None
        with self.library.writing() as connection:
            # First without the bytes: they need not be sent twice.
            known = update(blobs).where(blobs.c.sha256 == digest).values(used_ms=now)
            if is_in_row:
                known = known.where(blobs.c.data.is_not(None))
            if not connection.execute(known).rowcount:
                row = {"sha256": digest, "size": len(data), "now": now}
                connection.execute(_KEEP, row | {"data": data if is_in_row else None})
        if self._place is not None and not self._place.has(digest):
            self._place.write(digest, data)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of a stored file. Raises LibraryError if they are missing or were changed."""
        data = self._place.read(digest) if self._place is not None else None
        if data is None:  # here, or stored before `blobs` was changed
            with self.library.reading() as connection:
                data = connection.scalar(select(blobs.c.data).where(blobs.c.sha256 == digest))
        if data is None:
            raise LibraryError(f"The file with the SHA-256 {digest[:12]}… is not stored any more.")
        if sha256(data).hexdigest() != digest:
            raise LibraryError(
                f"The stored file with the SHA-256 {digest[:12]}… was changed or is damaged."
            )
        return data

    def has(self, digest: str) -> bool:
        """Whether a file is stored."""
        with self.library.reading() as connection:
            known = select(blobs.c.sha256).where(blobs.c.sha256 == digest)
            return connection.scalar(known) is not None

    def delete(self, digest: str) -> None:
        """Remove a file; nothing happens if it is not there."""
        with self.library.writing() as connection:
            connection.execute(delete(blobs).where(blobs.c.sha256 == digest))
            if self._place is not None:
                self._place.remove(digest)

    def prune(self, *, now_ms: int | None = None) -> int:
        """Remove the files that no job, schedule or image needs, a day after their last use.

        Returns how many were removed.
        """
        oldest = (round(time.time() * 1000) if now_ms is None else now_ms) - _GRACE_MS
        unused = (
            blobs.c.used_ms < oldest,
            ~exists().where(job_blobs.c.sha256 == blobs.c.sha256),
            ~exists().where(images.c.sha256 == blobs.c.sha256),
        )
        with self.library.reading() as connection:
            digests = connection.scalars(select(blobs.c.sha256).where(*unused)).all()
        removed = 0
        for digest in digests:
            # In one transaction, so that a `put` of the same file comes before or after both.
            with self.library.writing() as connection:
                one = delete(blobs).where(blobs.c.sha256 == digest, *unused)
                if connection.execute(one).rowcount:
                    removed += 1
                    if self._place is not None:
                        self._place.remove(digest)
        return removed


def open_blobs(
    settings: Settings, library: Library, environ: Mapping[str, str] = os.environ
) -> BlobStore:
    """The store that the settings name. Raises ConfigError and MissingDependency."""
    chosen = settings.blobs
    if chosen == "auto":
        chosen = "postgres" if not library.is_sqlite else ""
    if not chosen:
        own = settings.state_dir.absolute() / "blobs"
        return BlobStore(library, _FolderBlobs(own, is_own=True), is_shared=False)
    if chosen == "postgres":
        if library.is_sqlite:
            raise ConfigError(
                "blobs is postgres, but the library is not in PostgreSQL.",
                remedy="Set library.url to postgresql://user@host/database, or leave out blobs.",
            )
        return BlobStore(library, None, is_shared=True)
    if chosen == "supabase":
        return BlobStore(library, _SupabaseBlobs(settings, environ), is_shared=True)
    if chosen.startswith("s3://"):
        return BlobStore(library, _S3Blobs(chosen), is_shared=True)
    if os.path.isabs(chosen):
        return BlobStore(library, _FolderBlobs(Path(chosen), is_own=False), is_shared=True)
    raise ConfigError(
        f"blobs: {one_line(chosen, limit=80)!r} is not a place for files."
        + did_you_mean(chosen, ("auto", "postgres", "supabase")),
        remedy="Use auto, postgres, supabase, a URL such as s3://bucket/prefix, or a folder: "
        "/srv/imagen, ./blobs.",
    )


class _FolderBlobs:
    """A folder, with a subfolder for the first two digits of each hash."""

    def __init__(self, folder: Path, *, is_own: bool) -> None:
        self._folder = folder
        self._is_own = is_own

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

    def has(self, digest: str) -> bool:
        return self._path(digest).is_file()

    def write(self, digest: str, data: bytes) -> None:
        path = self._path(digest)
        try:
            make_private_folder(self._folder, is_own=self._is_own)
            make_private_folder(path.parent)
            write_whole(path, data, is_private=True)
        except OSError as error:
            raise self._error(error) from error

    def read(self, digest: str) -> bytes | None:
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(error) from error

    def remove(self, digest: str) -> None:
        try:
            self._path(digest).unlink(missing_ok=True)
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> LibraryError:
        return LibraryError(
            f"The folder {self._folder} of stored files cannot be used: {error.strerror or error}.",
            remedy="Set blobs or state_dir in imagen.yaml.",
        )


class _S3Blobs:
    """S3-compatible storage. Its credentials and endpoint come from the environment alone."""

    def __init__(self, url: str) -> None:
        try:
            from obstore.exceptions import BaseError, NotFoundError
            from obstore.store import S3Store
        except ModuleNotFoundError as error:
            raise MissingDependency("obstore", "s3", purpose="files in S3 storage") from error
        self._url = url
        self._missing = FileNotFoundError, NotFoundError
        try:
            self._store = S3Store.from_url(
                url,
                retry_config={"retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
                client_options={  # they replace those of the environment
                    "timeout": timedelta(seconds=_ANSWER_SECONDS),
                    "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"),
                },
            )
        except (BaseError, ValueError) as error:
            raise ConfigError(
                f"blobs: {one_line(bare_address(url), limit=80)} cannot be used.",
                remedy="Write it as s3://bucket/prefix, and set AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY and, for another service than AWS, AWS_ENDPOINT_URL.",
            ) from error

    def has(self, digest: str) -> bool:
        with self._translate_errors(), suppress(*self._missing):
            self._store.head(digest)
            return True
        return False

    def write(self, digest: str, data: bytes) -> None:
        with self._translate_errors():
            self._store.put(digest, data)

    def read(self, digest: str) -> bytes | None:
        with self._translate_errors(), suppress(*self._missing):
            return bytes(self._store.get(digest).bytes())
        return None

    def remove(self, digest: str) -> None:
        with self._translate_errors(), suppress(*self._missing):
            self._store.delete(digest)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
            raise LibraryError(
                f"{self._url} refused the access of imagen.",
                remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and grant this key access "
                "to the bucket.",
            ) from error
        except (BaseError, OSError) as error:  # not quoted: it may hold a signed URL
            raise LibraryUnreachable(f"{self._url} cannot be reached.") from error


class _SupabaseBlobs:
    """Objects below `blobs/` in the bucket of `cloud`, which must be private."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._bucket = settings.cloud.bucket

    def has(self, digest: str) -> bool:
        with self._connect() as client:
            return client.has_object(self._bucket, _object_path(digest))

    def write(self, digest: str, data: bytes) -> None:
        kind = media_type(data) or "application/octet-stream"
        with self._connect() as client:
            if client.bucket(self._bucket).is_public:
                raise ConfigError(
                    f"blobs is supabase, but everybody can read the bucket {self._bucket}.",
                    remedy="Make the bucket private, or choose another place for blobs.",
                )
            client.upload(self._bucket, _object_path(digest), data, kind, owner=digest)

    def read(self, digest: str) -> bytes | None:
        with self._connect() as client:
            path = _object_path(digest)
            is_there = client.has_object(self._bucket, path)
            return client.download(self._bucket, path) if is_there else None

    def remove(self, digest: str) -> None:
        with self._connect() as client:
            client.remove(self._bucket, _object_path(digest))

    @contextmanager
    def _connect(self) -> Iterator[SupabaseClient]:
        from imagen.delivery.supabase import connect

        try:
            with connect(self._settings, self._environ) as client:
                yield client
        except BackendError as error:
            kind = LibraryUnreachable if error.retryable else LibraryError
            raise kind(error.message, remedy=error.remedy) from error


def _object_path(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"
