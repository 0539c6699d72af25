"""A client of a Supabase project: objects in its Storage, rows in its tables."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagen import delivery
from imagen.backends.redact import Redactor
from imagen.core.json_values import parse_json
from imagen.core.text import one_line
from imagen.errors import (
    BackendError,
    ConfigError,
    ImagenError,
    OutputError,
    RateLimited,
    Rejected,
    RequestError,
    Unauthorized,
    Unavailable,
    foreign_cause,
)
from imagen.net import http
from imagen.net.retry import retry
from imagen.net.urls import is_private_host, read_secret, url_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import httpx

    from imagen.config import Settings

_STORAGE = "/storage/v1"
_REST = "/rest/v1"
_OWNER_KEY = "imagen"
"""In the metadata of an object: which row of images it belongs to."""
_PATIENCE_SECONDS = 2.0
"""For retries within one request; the outbox tries again later anyway."""
_ANSWER_SECONDS = 60.0
_SLOWEST_UPLOAD = 50_000
"""Bytes per second. A slower upload is cancelled and sent again later."""
_PATH = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
"""Storage accepts some more characters, but not in every version."""
_ANSWER = TypeVar("_ANSWER", bound="_Answer")

_RUN_SQL = "Run docs/supabase.sql in the SQL editor of the project; it is safe to run again."
_OTHER_TABLE = (
    f"The table does not have the columns that imagen needs. {_RUN_SQL} If it belongs to another "
    "program, set another name in `cloud.db_table` or `usage.mirror_table`."
)
_REMEDIES = {
    "NoSuchBucket": f"Create the bucket that `cloud.bucket` names. {_RUN_SQL}",
    "InvalidMimeType": "Allow this media type in the settings of the bucket.",
    "EntityTooLarge": "Raise the size limit of the bucket and of the project's Storage.",
    "PGRST106": "Expose the schema: Project Settings, Data API, Exposed schemas.",
    "PGRST205": _RUN_SQL,
    "PGRST202": _RUN_SQL,
    "PGRST204": _OTHER_TABLE,
    "42P01": _RUN_SQL,
    "42P10": _OTHER_TABLE,
    "42501": f"Use the service key, and grant it access to the schema. {_RUN_SQL}",
    "22P02": "`owner_user_id` must be the UUID of a user.",
}
"""By the error code of Storage, PostgREST or PostgreSQL."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SupabaseBucket(_Answer):
    """A bucket of Storage."""

    name: str
    is_public: bool = Field(False, alias="public")
    max_bytes: int | None = Field(None, alias="file_size_limit", description="Of one object.")
    media_types: tuple[str, ...] | None = Field(None, alias="allowed_mime_types")


class _ObjectInfo(_Answer):
    size: int | None = None
    metadata: dict[str, object] | None = None


class _SignedUrl(_Answer):
    path: str = Field(alias="signedURL", pattern=r"^/object/sign/[!-~]+$")


class SupabaseRefusal(BaseModel):
    """The body of an error, from Storage or from PostgREST."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    code: str = ""
    statusCode: str = ""
    error: str | None = ""
    message: str = ""
    details: str | None = ""
    hint: str | None = ""

    @property
    def is_duplicate(self) -> bool:
        """Whether Storage already has an object at this path."""
        is_old_form = self.error == "Duplicate" and self.statusCode == "409"
        return self.code in ("KeyAlreadyExists", "Duplicate") or is_old_form

    @property
    def is_missing(self) -> bool:
        """Whether Storage has no such object."""
        return self.code == "NoSuchKey" or self.error == "not_found"

    def is_existing_row(self, id: str) -> bool:
        """Whether the table already has a row with this id."""
        return self.code == "23505" and f"({id})" in (self.details or "")

    @property
    def missing_column(self) -> str:
        """The column that the table lacks; "" for any other error."""
        named = re.match(r"Could not find the '([^']+)' column", self.message)
        return named[1] if named and self.code == "PGRST204" else ""

    @property
    def sentence(self) -> str:
        """The message, safe to show."""
        parts = (self.message, self.details, self.hint)
        return one_line(" ".join(part for part in parts if part), limit=300).rstrip(".")


def parse_refusal(response: httpx.Response) -> SupabaseRefusal:
    """The body of an error; empty where it has another form."""
    with suppress(ValueError, ValidationError):
        value = parse_json(response.content)
        if isinstance(value, dict):
            return SupabaseRefusal.model_validate(value)
    return SupabaseRefusal()


def refusal_error(response: httpx.Response, at: str, *, credential: str) -> BackendError:
    """The error for a response that is not a success; `credential` says what to set for access."""
    refusal = parse_refusal(response)
    status, hidden = response.status_code, refusal.statusCode
    if status == 400 and hidden.isdecimal() and len(hidden) == 3:
        status = int(hidden)  # Storage answers 400 and puts the real status into the body
    elif status >= 500 or status == 429 or not refusal.message:
        return http.response_error(response, at, credential=credential)
    code = " ".join(filter(None, (str(status), one_line(refusal.code, limit=40))))
    sentence = f"{at} refused the request: {refusal.sentence} ({code})."
    remedy = _REMEDIES.get(refusal.code, "")
    if status >= 500:
        return Unavailable(sentence)
    if status == 429:
        return RateLimited(sentence)
    if status in (401, 403):
        return Unauthorized(sentence, remedy=remedy or credential)
    return Rejected(sentence, remedy=remedy)


def connect(
    settings: Settings, environ: Mapping[str, str], *, owned: bool = False
) -> SupabaseClient:
    """A client of the project that the settings name. Raises ConfigError and Unauthorized."""
    cloud = settings.cloud
    if missing := delivery.missing_settings(settings, environ, owned=owned):
        raise ConfigError(f"Supabase is not configured: {delivery.describe_missing(missing)}.")
    url = environ[cloud.url_env].strip()
    for fault in url_faults(cloud.url_env, url, like="https://abc.supabase.co"):
        raise ConfigError(f"{fault}.")
    if url.startswith("http:") and not is_private_host(url):
        raise ConfigError(
            f"{cloud.url_env} must begin with https://: the service key would cross the network "
            "unencrypted."
        )
    names = " or ".join(cloud.key_env)
    key = read_secret(
        delivery.key_variable(settings, environ),
        environ,
        remedy=f"Put the service key of the project into {names}.",
    )
    return SupabaseClient(url, key, key_names=names, connect_seconds=cloud.connect_seconds)


class SupabaseClient:
    """One project. Its key is sent to this URL only. Methods raise BackendError."""

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
        """Close the connections."""
        self._http.close()

    def bucket(self, name: str) -> SupabaseBucket:
        """The settings of a bucket."""
        response = self._request("GET", f"{_STORAGE}/bucket/{name}")
        return self._parse(SupabaseBucket, response)

    def upload(self, bucket: str, path: str, data: bytes, media_type: str, *, owner: str) -> bool:
        """Upload an object; False where the path belongs to another `owner`.

        Repeated after a lost answer, it finds its own object there and returns True.
        """
        if not data:
            raise OutputError(f"{path} was not uploaded: the file is empty.")
        owner_mark = json.dumps({_OWNER_KEY: owner}).encode()
        response = self._request(
            "POST",
            _object_url(bucket, path),
            content=data,
            headers={
                "Content-Type": media_type,
                "x-upsert": "false",
                "cache-control": "max-age=3600",
                "x-metadata": b64encode(owner_mark).decode(),
            },
            seconds=_ANSWER_SECONDS + len(data) / _SLOWEST_UPLOAD,
        )
        if not response.is_success and parse_refusal(response).is_duplicate:
            # Compare the owner mark, or the bytes where this Storage keeps no metadata.
            response = self._request("GET", _object_url(bucket, path, "info/"))
            if not response.is_success and parse_refusal(response).is_missing:
                return False
            info = self._parse(_ObjectInfo, response)
            mark = (info.metadata or {}).get(_OWNER_KEY)
            if mark is not None:
                return mark == owner
            return info.size == len(data) and self.download(bucket, path) == data
        self._check(response)
        return True

    def download(self, bucket: str, path: str) -> bytes:
        """The bytes of an object."""
        response = self._request(
            "GET",
            _object_url(bucket, path),
            limit=http.LARGEST_FILE,
            seconds=http.LONGEST_SECONDS,
        )
        return self._check(response).content

    def has_object(self, bucket: str, path: str) -> bool:
        """Whether there is an object at this path."""
        response = self._request("GET", _object_url(bucket, path, "info/"))
        if not response.is_success and parse_refusal(response).is_missing:
            return False
        self._check(response)
        return True

    def remove(self, bucket: str, path: str) -> None:
        """Delete an object; nothing happens if it is not there."""
        response = self._request("DELETE", _object_url(bucket, path))
        if response.is_success or not parse_refusal(response).is_missing:
            self._check(response)

    def sign(self, bucket: str, path: str, *, seconds: int) -> str:
        """A URL at which anyone can read an object for that long."""
        url = _object_url(bucket, path, "sign/")
        response = self._request("POST", url, json={"expiresIn": seconds})
        return f"{self.url}{_STORAGE}{self._parse(_SignedUrl, response).path}"

    def insert(
        self, schema: str, table: str, row: Mapping[str, object], *, optional: Collection[str] = ()
    ) -> str:
        """Insert a row, unless there is one with its `id`.

        If the table lacks an `optional` column, all of them are left out, and the name of the
        missing column is returned; otherwise "".
        """
        response = self._insert(schema, table, row)
        missing = "" if response.is_success else parse_refusal(response).missing_column
        if missing not in optional:
            missing = ""
        if missing:
            required = {name: value for name, value in row.items() if name not in optional}
            response = self._insert(schema, table, required)
        if response.is_success or not parse_refusal(response).is_existing_row(str(row["id"])):
            self._check(response)
        return missing

    def call(self, schema: str, function: str, arguments: Mapping[str, object]) -> object:
        """The JSON that a function of the database returns."""
        response = self._request(
            "POST",
            f"{_REST}/rpc/{function}",
            content=json.dumps(arguments, allow_nan=False).encode(),
            headers={"Content-Type": "application/json", "Content-Profile": schema},
        )
        with suppress(ValueError):
            return parse_json(self._check(response).content)
        raise _not_from_supabase(self.url)

    def _insert(self, schema: str, table: str, row: Mapping[str, object]) -> httpx.Response:
        return self._request(
            "POST",
            f"{_REST}/{table}?on_conflict=id",
            content=json.dumps(row, allow_nan=False).encode(),
            headers={
                "Content-Type": "application/json",
                "Content-Profile": schema,
                "Prefer": "resolution=ignore-duplicates,return=minimal",
            },
        )

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The response, a success or a final refusal; temporary errors are retried a little."""

        def once() -> httpx.Response:
            response = self._http.request(method, path, **{"seconds": _ANSWER_SECONDS, **options})
            error = None if response.is_success else self._error(response)
            if error is not None and error.retryable:
                raise error
            return response

        return retry(
            once,
            patience_seconds=_PATIENCE_SECONDS,
            unless=http.is_timeout,
            sleep=self._sleep,
        )

    def _check(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        raise self._error(response)

    def _error(self, response: httpx.Response) -> BackendError:
        return refusal_error(response, self.url, credential=self._credential)

    def _parse(self, kind: type[_ANSWER], response: httpx.Response) -> _ANSWER:
        with suppress(ValueError):
            return kind.model_validate(parse_json(self._check(response).content))
        raise _not_from_supabase(self.url)


def _not_from_supabase(url: str) -> Unavailable:
    return Unavailable(f"{url} sent an answer that is not from Supabase.")


def _object_url(bucket: str, path: str, verb: str = "") -> str:
    if not is_valid_path(path):
        raise RequestError(f"{path!r} is not a valid path of an object in Supabase Storage.")
    return f"{_STORAGE}/object/{verb}{bucket}/{path}"


def is_valid_path(path: str) -> bool:
    """Whether Storage accepts this path, and it has no `.` or `..` in it."""
    return bool(_PATH.fullmatch(path)) and not {".", ".."} & set(path.split("/"))
