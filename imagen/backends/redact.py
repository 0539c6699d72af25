"""Removes our credentials from what an adapter reports: a server may echo our request."""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass, replace
from html.entities import codepoint2name
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from imagen.errors import ImagenError, foreign_cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import BaseModel

    from imagen.backends.base import Backend, Health, Model
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress, Progress, Result
    from imagen.core.ticket import Ticket

T = TypeVar("T")

MASK = "***"
_SHORTEST = 4
"""Shorter texts are not treated as secrets: they are part of many words."""
_UNMISTAKABLE = 8
"""Secrets shorter than this are removed only where they are whole words."""
_CUT = re.compile(r"…|\.\.\.")


class Redactor:
    """Replaces secrets in texts, however they are encoded there: as in JSON, URLs or HTML."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._spelled = [[re.compile(_spellings(c), re.I) for c in form] for form in ordered]
        starts = ("".join(map(_spellings, form[:_SHORTEST])) for form in ordered)
        self._starts = [re.compile(f"(?={start})", re.I) for start in starts]
        self._whole = re.compile("|".join(map(_pattern, ordered)), re.I) if ordered else None

    def __bool__(self) -> bool:
        return self._whole is not None

    def text(self, text: str) -> str:
        """The text without secrets, and without the beginning of one before an ellipsis."""
        if self._whole is None:
            return text
        text = self._whole.sub(MASK, text)
        pieces: list[str] = []
        at = 0
        for start, cut in sorted(self._beginnings(text)):
            if start >= at:
                pieces += [text[at:start], MASK]
                at = cut
        return "".join((*pieces, text[at:]))

    def value(self, value: T) -> T:
        """The value with every text redacted, also in dataclasses, mappings, lists and tuples."""
        if self._whole is None:
            return value
        redact_backend: Any = self._value(value)
        return redact_backend  # type: ignore[no-any-return]  # of the same type

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self._value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if type(value) is tuple:
            return tuple(self._value(item) for item in value)
        if is_dataclass(value) and not isinstance(value, type):
            changes = {f.name: self._value(getattr(value, f.name)) for f in fields(value)}
            return replace(value, **changes)
        return value

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Redacts each error that leaves the block."""
        try:
            yield
        except ImagenError as error:
            # Not from the error itself: a traceback would print its secrets.
            raise self.redacted(error) from foreign_cause(error)

    def redacted(self, error: ImagenError) -> ImagenError:
        """A copy of an error without the secrets in its sentences."""
        return error.replace(message=self.text(error.message), remedy=self.text(error.remedy))

    def _beginnings(self, text: str) -> Iterator[tuple[int, int]]:
        """The places where a text begins a secret and cuts it off with an ellipsis."""
        for starts, spelled in zip(self._starts, self._spelled, strict=True):
            for start in starts.finditer(text) if _CUT.search(text) else ():
                at, known = start.start(), 0
                while not (cut := _CUT.match(text, at)) and known < len(spelled):
                    if (match := spelled[known].match(text, at)) is None:
                        break
                    at, known = match.end(), known + 1
                if cut is None and text[at : at + 1] in tuple("%\\&"):  # it breaks off within one
                    cut = _CUT.search(text, at, at + 8)
                if known >= _SHORTEST and cut is not None:
                    yield start.start(), cut.start()


def credentials(config: BaseModel, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The secrets of a configuration: the values of the variables named by its `_env` keys, and the
    users, passwords and queries of its URLs and of proxies."""
    from urllib.request import getproxies  # slow to import

    values = config.model_dump()
    names = _texts([value for key, value in values.items() if key.endswith("_env")])
    held = [environ[name] for name in names if environ.get(name)]
    addresses = (*_texts(values), *held, *getproxies().values())
    return [*held, *(secret for url in addresses for secret in url_secrets(url))]


def url_secrets(url: str) -> Iterator[str]:
    """The password of a URL, its `user:password` as written, and the values of its query."""
    if "://" not in url:
        return
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.password:
            user = parts.netloc.rpartition("@")[0]
            yield from (user, unquote(user), parts.password, unquote(parts.password))
        yield from (value for _, value in parse_qsl(parts.query))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _forms(secret: str) -> set[str]:
    """A credential whole, without its scheme, decoded, its password alone; and all in base64."""
    whole = secret.strip()
    parts = {whole, *whole.split(None, 1)[1:]}
    parts |= {cookie.partition("=")[2].strip() for cookie in whole.split(";") if "=" in cookie}
    parts |= {decoded for part in parts if ":" in (decoded := _decoded(part))}
    parts |= {part.partition(":")[2] for part in parts if "://" not in part}
    encoded = {b64encode(part.encode()).decode().rstrip("=") for part in parts if part}
    encoded |= {form.translate(str.maketrans("+/", "-_")) for form in encoded}
    return {form for form in parts | encoded if len(form) >= _SHORTEST}


def _decoded(text: str) -> str:
    with suppress(ValueError):
        decoded = b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
        return decoded if decoded.isprintable() else ""
    return ""


def _pattern(form: str) -> str:
    pattern = "".join(map(_spellings, form))
    return pattern if len(form) >= _UNMISTAKABLE else rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"


def _spellings(character: str) -> str:
    """A pattern for one character as written in plain text, JSON, Python, a URL or HTML."""
    if character.isalnum() and character.isascii():
        return character
    code = ord(character)
    percent = "".join(f"%(?:25)*{byte:02x}" for byte in character.encode("utf-8", "replace"))
    name = f"|&{codepoint2name[code]};" if code in codepoint2name else ""
    plain = r"(?:\s|\+)" if character == " " else rf"\\{{0,4}}{re.escape(character)}"
    return rf"(?:{plain}|{percent}|\\{{1,4}}u{code:04x}|&#0*{code};|&#x0*{code:x};{name})"


class RedactedBackend:
    """A backend whose errors, progress and results contain none of its credentials."""

    def __init__(self, backend: Backend, redactor: Redactor) -> None:
        self._backend = backend
        self._redactor = redactor

    @property
    def engine(self) -> str:
        return self._backend.engine

    def capabilities(self, task: Task = "text-to-image", model: str | None = None) -> Capabilities:
        with self._redactor.errors():
            known = self._backend.capabilities(task, model)
        parameters = {
            name: one.model_copy(update={"description": self._redactor.text(one.description)})
            for name, one in known.parameters.items()
        }  # choices and defaults stay as they are: they are sent back
        return known.model_copy(update={"parameters": parameters})

    def models(self) -> tuple[Model, ...]:
        with self._redactor.errors():
            return self._redactor.value(self._backend.models())

    def check(self) -> Health:
        with self._redactor.errors():
            return self._redactor.value(self._backend.check())

    def prepare(self, request: Request) -> Ticket:
        with self._redactor.errors():
            return self._backend.prepare(request)

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        def report(progress: Progress) -> None:
            on_progress(self._redactor.value(progress))

        with self._redactor.errors():
            return self._redactor.value(self._backend.collect(ticket, report))

    def free(self) -> None:
        with self._redactor.errors():
            self._backend.free()

    def close(self) -> None:
        self._backend.close()


@contextmanager
def unwrap_backend(backend: Backend) -> Iterator[Backend]:
    """The backend behind a redacted one, with its own methods; errors of the block are redacted."""
    if not isinstance(backend, RedactedBackend):
        yield backend
        return
    with backend._redactor.errors():
        yield backend._backend


def redact_backend(backend: Backend, config: BaseModel) -> Backend:
    """The backend with its credentials removed from everything that it reports."""
    redactor = Redactor(credentials(config))
    return RedactedBackend(backend, redactor) if redactor else backend
