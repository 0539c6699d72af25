"""From a prompt file to requests with backends, names and keys, ready to be submitted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, get_args

from imagen.batch.expand import combine_request, expand_request
from imagen.batch.keys import KeyCounter
from imagen.batch.prompt_files import (
    MAX_ROWS,
    PromptFormat,
    PromptTemplate,
    RowFault,
    parse_rows,
)
from imagen.batch.wildcards import Wildcards, may_have_wildcards
from imagen.config.settings import ImageFormat
from imagen.core.prompt_syntax import TEXTS
from imagen.errors import RequestError
from imagen.jobs.submit import JobRequest
from imagen.outputs.naming import template_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from imagen.batch.prompt_files import PromptRow
    from imagen.config import Settings
    from imagen.core.request import Request

_FORMATS: tuple[ImageFormat, ...] = get_args(ImageFormat)
_OTHER_FORMATS = ("bmp", "gif", "heic", "jxl", "svg", "tif", "tiff")
_FEWEST_DIGITS = 4


class BatchRequest(NamedTuple):
    """One request of a batch."""

    place: str
    """Its line in the file."""
    row: JobRequest


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How the rows of a file become requests."""

    settings: Settings
    backend: str
    """That of rows that name none."""
    defaults: Request
    """Values for what a row leaves out."""
    template: PromptTemplate | None = None
    is_literal: bool = False
    is_combinatorial: bool = False
    admit: Callable[[Request], Request] = lambda request: request
    """What is done with each request before its images are looked at; may raise RequestError."""
    salt: str = ""
    """Rows with another salt have other keys."""


def read_batch(
    data: bytes, source: str, format: PromptFormat, options: BatchOptions
) -> tuple[list[BatchRequest], list[tuple[str, str]]]:
    """The requests in a prompt file, and its faults: where, and what is wrong.

    A row with wildcards is a request for each of its images, or for each combination. A row keeps
    its key as long as its values, the images that it names, and the output folder are the same.
    Raises RequestError for a file that is wrong as a whole.
    """
    rows = list(parse_rows(data, source, format, options.template))
    digits = max(_FEWEST_DIGITS, len(str(len(rows))))
    reader = _BatchReader(options)
    found: list[BatchRequest] = []
    faults: list[tuple[str, str]] = []
    for number, row in enumerate(rows, 1):
        place = f"{source}, line {row.line}"
        if isinstance(row, RowFault):
            faults.append((place, row.message))
            continue
        try:
            for request in reader.read(row, f"{number:0{digits}}"):
                found.append(BatchRequest(place, request))
                if len(found) > MAX_ROWS:
                    raise RequestError(f"the batch has more than {MAX_ROWS:,} requests.")
        except RequestError as error:
            faults.append((place, error.message))
            if len(found) > MAX_ROWS:
                break
    return found, faults


class _BatchReader:
    """Turns rows into requests; knows the names and keys so far."""

    def __init__(self, options: BatchOptions) -> None:
        self._options = options
        self._wildcards = Wildcards(options.settings.wildcard_dirs)
        self._keys = KeyCounter(options.settings, options.salt)
        self._lines: dict[str, int] = {}
        """The line of each output name."""

    def read(self, row: PromptRow, number: str) -> Iterator[JobRequest]:
        """The requests of a row; raises RequestError."""
        backend = row.backend or self._options.backend
        request = self._options.admit(row.build_request(self._options.defaults))
        name, ending = os.path.splitext(row.output)
        format = next((known for known in _FORMATS if f".{known}" == ending.lower()), None)
        if format is None:
            name = row.output
        if ending[1:].lower() in _OTHER_FORMATS:
            known = ", ".join(f".{one}" for one in _FORMATS)
            raise RequestError(f"output: images can be saved as {known}, not as {ending}.")
        if name and (fault := template_fault(name)):
            raise RequestError(fault.replace("output.name", "output", 1))
        if name and (first := self._lines.setdefault(row.output, row.line)) != row.line:
            raise RequestError(f"output {row.output!r} is also the name in line {first}.")
        texts = "".join(filter(None, (getattr(request, text) for text in TEXTS)))
        key = self._keys.key_of(
            request,
            backend,
            row.output,
            is_literal=self._options.is_literal and may_have_wildcards(texts),
            is_combinatorial=self._options.is_combinatorial and may_have_wildcards(texts),
        )
        requests: Iterable[Request] = [request]
        if self._options.is_combinatorial:
            requests = combine_request(request, self._wildcards, self._options.settings)
        elif not self._options.is_literal:
            requests = expand_request(request, self._wildcards, self._options.settings)
        for place, one in enumerate(requests):
            yield JobRequest(
                one,
                backend,
                output_name=name or f"{number}-{{slug}}-{{seed}}",
                key=f"{key}-{place}" if place else key,
                output_format=format,
            )
