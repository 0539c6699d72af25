"""Values of the command line: paths, dates, prompts and --from-json."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import usage_error
from imagen.core.filesystem import read_at_most
from imagen.core.image_file import is_url
from imagen.core.json_values import MAX_BYTES, as_list, as_mapping, parse_json
from imagen.core.prompt_syntax import TEXTS
from imagen.core.text import decode_text
from imagen.core.typed_values import TEXT_PARAMETERS as TEXT_PARAMETERS
from imagen.core.typed_values import parse_assignment as parse_assignment
from imagen.core.typed_values import parse_control as parse_control
from imagen.core.typed_values import parse_lora as parse_lora
from imagen.core.typed_values import parse_scalar as parse_scalar
from imagen.core.typed_values import require_json as require_json
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import tzinfo

    from imagen.config.settings import ImageFormat
    from imagen.core.request import Request

# --- paths ---


class HomePath(click.Path):
    """A path in which ~ is the home directory; as a `Path`, or as text where it may be a URL."""

    def __init__(self, kind: type[Path] | type[str] = Path) -> None:
        super().__init__(path_type=kind, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), param, ctx)


PATH = HomePath(Path)
FILE = HomePath(str)
IMAGE_FORMATS: tuple[ImageFormat, ...] = ("png", "jpg", "jpeg", "webp", "avif")
_EXTENSION = re.compile(r"[a-z][a-z0-9]{1,4}")
"""What counts as the extension of a file; a folder may be called `results-1.5`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputTarget:
    """Where --output says that images go."""

    folder: Path | None = None
    name: str | None = None
    """The name of the file, without its extension."""
    format: ImageFormat | None = None
    is_stdout: bool = False


def parse_output(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> OutputTarget | None:
    """A folder, the name of an image, or - for standard output.

    Raises BadParameter for a file format that images cannot be saved in.
    """
    if text is None:
        return None
    if text == "-":
        return OutputTarget(is_stdout=True)
    path = Path(text)
    extension = path.suffix[1:].lower()
    is_folder = text.endswith(("/", os.sep)) or os.path.isdir(path)
    if is_folder or not _EXTENSION.fullmatch(extension):
        return OutputTarget(folder=path)
    format = next((known for known in IMAGE_FORMATS if known == extension), None)
    if format is None:
        raise click.BadParameter(
            f"Images can be saved as {', '.join(f'.{known}' for known in IMAGE_FORMATS)}, not as "
            f".{extension}. If this is a folder, end it with a slash: {text}/",
            ctx,
            param,
        )
    return OutputTarget(folder=path.parent, name=path.stem, format=format)


# --- dates ---

_AGO = re.compile(r"(\d{1,6}) ?(min|h|d|w)")
TIME_UNITS: Mapping[str, str] = {
    "s": "seconds",
    "min": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
}
_YEAR = re.compile(r"\d{4}")
_MONTH = re.compile(r"(\d{4})-(\d{2})")


@dataclass(frozen=True, slots=True)
class TypedDate:
    """A date of the command line; it becomes a moment once the time zone is known."""

    text: str
    is_end: bool

    def moment(self, zone: tzinfo | None = None) -> datetime:
        """The moment in this time zone; None is the system's."""
        return parse_moment(self.text, datetime.now().astimezone(), zone, is_end=self.is_end)


def parse_date(
    ctx: click.Context, param: click.Parameter, text: str | None, *, is_end: bool
) -> TypedDate | None:
    """A click callback; raises BadParameter."""
    if text is None:
        return None
    typed = TypedDate(text, is_end)
    try:
        typed.moment()
    except (ValueError, OverflowError, OSError) as error:
        raise click.BadParameter(
            f"{text!r} is not a valid date. Write it as 2026-11-27, '2026-11-27 14:00', 2026-11, "
            "2026, 7d, 3h, today or yesterday.",
            ctx,
            param,
        ) from error
    return typed


def parse_moment(
    text: str, now: datetime, zone: tzinfo | None = None, *, is_end: bool = False
) -> datetime:
    """`2026-11-27`, `2026-11-27 14:00`, `2026-11`, `2026`, `7d` or `today` as a moment.

    The end of a period includes all of a day, a month or a year. None as `zone` is the system's
    time zone. Raises ValueError or OverflowError.
    """
    word = " ".join(text.split())
    if match := _AGO.fullmatch(word):
        return now - timedelta(**{TIME_UNITS[match[2]]: int(match[1])})
    if days := _parse_days(word, now.astimezone(zone)):
        moment = datetime.combine(days[int(is_end)], datetime.min.time())
    else:
        moment = datetime.fromisoformat(word)
    if moment.tzinfo is None and zone is not None:
        return moment.replace(tzinfo=zone)
    return moment.astimezone(zone)


def _parse_days(word: str, now: datetime) -> tuple[date, date] | None:
    """The first day of the period, and the day after its last; None for a time of day."""
    if _YEAR.fullmatch(word):
        return date(int(word), 1, 1), date(int(word) + 1, 1, 1)
    if match := _MONTH.fullmatch(word):
        first = date(int(match[1]), int(match[2]), 1)
        return first, (first + timedelta(days=31)).replace(day=1)
    if word in ("today", "yesterday"):
        day = now.date() - timedelta(days=int(word == "yesterday"))
    else:
        try:
            day = date.fromisoformat(word)
        except ValueError:
            return None
    return day, day + timedelta(days=1)


# --- prompts ---


def prompt_values(argument: str | None) -> dict[str, object]:
    """The prompt as values of a request.

    An empty one counts as none: it usually comes from an unset variable of a script.
    """
    return {"prompt": read_prompt(argument)} if argument and argument.strip() else {}


def read_prompt(argument: str) -> str:
    """The prompt: the argument itself, standard input for `-`, or the text of a file for `@file`.

    Raises RequestError for a file that is empty, or not text in UTF-8 or UTF-16.
    """
    if argument == "-":
        data, source = read_stdin(), "standard input"
    elif argument.startswith("@"):
        path = Path(os.path.expanduser(argument[1:]))
        source = str(path)
        try:
            data = path.read_bytes()
        except (OSError, ValueError) as error:
            raise RequestError(
                f"Cannot read the prompt file {path}: {getattr(error, 'strerror', error)}.",
                remedy="If the prompt itself begins with @, pass it on standard input: "
                "imagen generate -",
            ) from error
    else:
        return argument
    try:
        text = decode_text(data)
    except UnicodeDecodeError as error:
        raise RequestError(
            f"The prompt in {source} is not text in UTF-8 or UTF-16: {error.reason}.",
            remedy="Save it as UTF-8.",
        ) from error
    if not text.strip():
        raise RequestError(f"The prompt in {source} is empty.")
    return text.removesuffix("\n").removesuffix("\r")


def read_stdin() -> bytes:
    """All of standard input; empty if there is none."""
    return sys.stdin.buffer.read() if sys.stdin is not None else b""


# --- --from-json ---


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFile:
    """A request read from a file; a sidecar also names the backend that made its image."""

    request: Request
    backend: str | None = None
    finished: frozenset[str] = frozenset()
    """Texts that a sidecar records: their wildcards, if they had any, are expanded already."""


def request_from_args(
    prompt: str | None,
    document: str | None,
    values: dict[str, object],
    backends: Collection[str],
) -> RequestFile:
    """The request of a command line: the file's, overridden by the prompt and the options.

    It is for the backends of these names, or for the file's own if there are none. Raises
    RequestError.
    """
    from imagen.core.request import Request

    if prompt == document == "-":
        raise usage_error("Only one of PROMPT and --from-json can be standard input.")
    typed = prompt_values(prompt)
    if typed and "prompt" in values:
        raise usage_error("PROMPT and --set prompt are both given. Use one of them.")
    changes = typed | values
    if document is None:
        return RequestFile(request=Request().with_values(changes))
    file = read_request(document, backends, changes)
    return replace(
        file, request=file.request.with_values(changes), finished=file.finished - changes.keys()
    )


def read_request(
    document: str, backends: Collection[str] = (), replaced: Collection[str] = ()
) -> RequestFile:
    """The request in a file, or on standard input for `-`.

    From a sidecar come all values that were used; for other backends only the values that were
    requested, and the seed. Its input images are located again, except those that are `replaced`.
    Raises RequestError.
    """
    from imagen.core.field_names import with_own_names
    from imagen.core.request import Request

    if is_url(document):
        raise RequestError(f"--from-json expects a file, got a URL. Download it first: {document}")
    source = "standard input" if document == "-" else document
    try:
        data = read_stdin() if document == "-" else read_at_most(Path(document), MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"--from-json: cannot read {document}: {reason}.") from error
    sidecar = f"{source}.json"
    remedy = f"Did you mean its sidecar, {sidecar}?" if os.path.isfile(sidecar) else ""
    try:
        values = parse_json(decode_text(data))
    except UnicodeDecodeError as error:
        raise RequestError(f"{source} is not text in UTF-8 or UTF-16.", remedy=remedy) from error
    except ValueError as error:
        raise RequestError(f"{source} {error}.", remedy=remedy) from error
    if not isinstance(values, dict):
        raise RequestError(f"{source} is not a request: expected a JSON object.")
    try:
        if "imagen" in values:
            return _from_sidecar(values, backends, replaced, Path(document).parent)
        return RequestFile(request=Request.of(with_own_names(values)))
    except RequestError as error:
        lines = "\n".join(f"{source}: {line}" for line in error.message.splitlines())
        raise RequestError(lines, remedy=error.remedy) from error


def _from_sidecar(
    values: dict[str, object], backends: Collection[str], replaced: Collection[str], folder: Path
) -> RequestFile:
    from imagen.comparison.record import RECORD_FORMAT
    from imagen.core.field_names import with_own_names
    from imagen.core.request import Request
    from imagen.inputs import locate_images
    from imagen.outputs.sidecar import SIDECAR_FORMAT
    from imagen.reproduce import reproduce_values

    is_comparison = "cells" in values
    what = "format of a comparison" if is_comparison else "sidecar format"
    format, latest = values["imagen"], RECORD_FORMAT if is_comparison else SIDECAR_FORMAT
    if not isinstance(format, int) or format > latest:
        raise RequestError(f"unknown {what} {format!r}; this imagen reads up to {latest}.")
    own = str(values.get("backend") or "") or None
    request = Request.of(
        reproduce_values(
            with_own_names(as_mapping(values.get("request"))),
            with_own_names(as_mapping(values.get("resolved"))),
            as_mapping(values.get("receipt")),
            elsewhere=not {*backends} <= {own},
        )
    )
    # What differs in each cell of a comparison: its axes, or in format 1 the only one.
    axes = [as_mapping(axis) for axis in (values.get("vary"), *as_list(values.get("axes")))]
    varied = {name for axis in axes for name in str(axis.get("name") or "").split("+")}
    inputs = [
        one
        for one in map(as_mapping, as_list(values.get("inputs")))
        if one and one.get("parameter") not in varied
    ]
    request = locate_images(request, inputs, folder, replaced=replaced)
    return RequestFile(request=request, backend=own, finished=frozenset(TEXTS))
