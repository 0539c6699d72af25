"""A client of a Supabase project: objects into its Storage, rows into its tables."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from imagen.backends.redact import Redactor
from imagen.core.json_values import parse_json
from imagen.delivery import refusals
from imagen.delivery.keys import is_sound
from imagen.errors import (
    ImagenError,
    OutputError,
    RequestError,
    Unavailable,
    foreign_cause,
)
from imagen.net import http
from imagen.net.retry import retry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import httpx

    from imagen.errors import BackendError

_STORAGE = "/storage/v1"
_REST = "/rest/v1"
_MARK = "imagen"
"""In an object's metadata: whose it is."""
_PATIENCE_SECONDS = 2.0
"""Whoever asks for more is left alone: the outbox comes back later."""
_ANSWER_SECONDS = 60.0
_SLOWEST_UPLOAD = 50_000
"""Bytes a second; what takes longer is cancelled, and sent again later."""
_SHOWN = TypeVar("_SHOWN", bound="_Answer")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Bucket(_Answer):
    """A bucket of Storage."""

    name: str
    is_public: bool = Field(False, alias="public")
    largest: int | None = Field(None, alias="file_size_limit", description="Bytes of one object.")
    media_types: tuple[str, ...] | None = Field(None, alias="allowed_mime_types")


class _Info(_Answer):
    size: int | None = None
    metadata: dict[str, Any] | None = None


class _Signed(_Answer):
    link: str = Field(alias="signedURL", pattern=r"^/object/sign/[!-~]+$")


class Supabase:
    """One project; its key goes to this address alone. Raises BackendError of every kind."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        key_names: str = "the service key",
        connect_seconds: float = 10.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._redactor = Redactor([key])
        self._credential = f"Put the service key of the project into {key_names}."
        self._sleep = sleep
        self._http = http.HttpClient(
            self.url,
            headers={"apikey": key, "Authorization": f"Bearer {key}"},
            connect_seconds=connect_seconds,
            tls=http.tls(self.url, None),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.close()
        if isinstance(error, ImagenError):
            raise self._redactor.redacted(error) from foreign_cause(error)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def bucket(self, name: str) -> Bucket:
        """What is known of a bucket."""
        answer = self._sent("GET", f"{_STORAGE}/bucket/{name}")
        return self._parsed(Bucket, self._succeeded(answer))

    def upload(self, bucket: str, path: str, data: bytes, media_type: str, *, owner: str) -> bool:
        """Put an object there; False where the path is taken by something that is not `owner`'s.

        Sent again after an answer was lost, it finds its own object, and that is a success.
        """
        if not data:
            raise OutputError(f"{path} has no bytes, and was not sent.")
        headers = {
            "Content-Type": media_type,
            "x-upsert": "false",
            "cache-control": "max-age=3600",
            "x-metadata": b64encode(json.dumps({_MARK: owner}).encode()).decode(),
        }
        answer = self._sent(
            "POST",
            _object(bucket, path),
            content=data,
            headers=headers,
            seconds=_ANSWER_SECONDS + len(data) / _SLOWEST_UPLOAD,
        )
        if not answer.is_success and refusals.told(answer).is_duplicate:
            return self._is_owned(bucket, path, data, owner)
        self._succeeded(answer)
        return True

    def _is_owned(self, bucket: str, path: str, data: bytes, owner: str) -> bool:
        """By its mark; by its bytes where a Storage keeps no marks."""
        answer = self._sent("GET", _object(bucket, path, "info/"))
        if not answer.is_success and refusals.told(answer).is_missing:
            return False
        info = self._parsed(_Info, self._succeeded(answer))
        mark = (info.metadata or {}).get(_MARK)
        if mark is not None:
            return bool(mark == owner)
        return info.size == len(data) and self.download(bucket, path) == data

    def download(self, bucket: str, path: str) -> bytes:
        """An object's bytes."""
        longest = http.LONGEST_SECONDS
        answer = self._sent("GET", _object(bucket, path), limit=http.LARGEST_FILE, seconds=longest)
        return self._succeeded(answer).content

    def sign(self, bucket: str, path: str, *, seconds: int) -> str:
        """An address at which everybody can read an object for so long."""
        body = {"expiresIn": seconds}
        answer = self._sent("POST", _object(bucket, path, "sign/"), json=body)
        link = self._parsed(_Signed, self._succeeded(answer)).link
        return f"{self.url}{_STORAGE}{link}"

    def insert(
        self, schema: str, table: str, row: Mapping[str, Any], *, optional: Collection[str] = ()
    ) -> str:
        """Put a row there, unless one with its `id` is there already.

        Where the table lacks an `optional` column, the row goes there without all of these, and
        the column's name is returned; otherwise "".
        """
        answer = self._posted(schema, table, row)
        lacking = "" if answer.is_success else refusals.told(answer).missing_column
        if lacking not in optional:
            lacking = ""
        if lacking:
            kept = {name: value for name, value in row.items() if name not in optional}
            answer = self._posted(schema, table, kept)
        is_there = not answer.is_success and refusals.told(answer).is_about(str(row["id"]))
        if not is_there:
            self._succeeded(answer)
        return lacking

    def _posted(self, schema: str, table: str, row: Mapping[str, Any]) -> httpx.Response:
        headers = {
            "Content-Type": "application/json",
            "Content-Profile": schema,
            "Prefer": "resolution=ignore-duplicates,return=minimal",
        }
        content = json.dumps(row, allow_nan=False).encode()
        path = f"{_REST}/{table}?on_conflict=id"
        return self._sent("POST", path, content=content, headers=headers)

    def _sent(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The answer, a success or a refusal for good; what may pass is tried again a little."""

        def once() -> httpx.Response:
            answer = self._http.request(method, path, **{"seconds": _ANSWER_SECONDS, **more})
            error = None if answer.is_success else self._refused(answer)
            if error is not None and error.retryable:
                raise error
            return answer

        return retry(
            once,
            patience_seconds=_PATIENCE_SECONDS,
            unless=http.is_timeout,
            sleep=self._sleep,
        )

    def _succeeded(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        raise self._refused(answer)

    def _refused(self, answer: httpx.Response) -> BackendError:
        return refusals.refused(answer, self.url, credential=self._credential)

    def _parsed(self, kind: type[_SHOWN], answer: httpx.Response) -> _SHOWN:
        with suppress(ValueError):
            return kind.model_validate(parse_json(answer.content))
        raise Unavailable(f"{self.url} answers, but not as Supabase does.")


def _object(bucket: str, path: str, verb: str = "") -> str:
    if not is_sound(path):
        raise RequestError(f"{path!r} can't be the path of an object in the cloud.")
    return f"{_STORAGE}/object/{verb}{bucket}/{path}"
