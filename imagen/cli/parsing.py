"""What is typed on the command line, as values: scalars, texts, control pictures, LoRAs."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import usage_error
from imagen.core.filesystem import read_at_most
from imagen.core.image_file import is_url
from imagen.core.json_values import MAX_BYTES, parse_json
from imagen.core.text import decode_text, one_line
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import tzinfo

    from imagen.config.settings import ImageFormat
    from imagen.core.request import Request


TEXTS = frozenset(
    (
        "prompt",
        "negative",
        "prompt_2",
        "negative_2",
        "sampler",
        "scheduler",
        "style",
        "aspect",
        "model",
        "image",
        "mask",
        "preprocess",
    )
)
"""Parameters whose values are text, even where they look like numbers."""

_NUMBER = r"([+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}))"
# A kind has two letters at least, so that the C of C:\fox.png is none.
_CONTROL = re.compile(rf"([^:/\\]{{2,}}):(.+?)(?::{_NUMBER})?(?::{_NUMBER}-{_NUMBER})?", re.DOTALL)
_LORA = re.compile(rf"([^:].*?)(?::{_NUMBER})?", re.DOTALL)


def assignment(text: str) -> tuple[str, Any]:
    """`steps=8` as ("steps", 8): the value is read as YAML reads a scalar.

    Raises RequestError for what is no assignment.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise RequestError(f"{text!r} is not an assignment. Write it as name=value.")
    return name.strip(), value if name.strip() in TEXTS else plain(f"--set {name}", scalar(value))


def plain(flag: str, value: Any) -> Any:
    """The value, where it can be written as JSON; raises RequestError where it can't."""
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise RequestError(f"{flag}: this value holds itself, or what is no JSON.") from error
    return value


def scalar(text: str) -> Any:
    """8 for `8`, 0.5 for `0.5`, True for `true`, and the text `8` for `"8"`; else as it stands.

    Raises RequestError for what is too large.
    """
    from yaml import YAMLError

    from imagen.core.yaml_values import parse_yaml

    try:
        value = parse_yaml(text)
    except YAMLError:  # a brace that is never closed, a number of 5000 digits
        return text
    except ValueError as error:
        raise RequestError(f"The value {one_line(text, limit=40)!r} {error}.") from error
    quoted = isinstance(value, str) and text.strip()[:1] in ("'", '"')
    return value if quoted or isinstance(value, int | float | list | dict) else text


def control(text: str) -> dict[str, Any]:
    """`canny:edges.png:0.8:0-0.5` as a control picture's kind, image, strength, start and end.

    Strength, and start and end, may be left out. Raises RequestError for what is none.
    """
    found = _CONTROL.fullmatch(text)
    if found is None:
        raise RequestError(
            f"--control {text!r} is no control picture. Write it as kind:file, kind:file:strength "
            "or kind:file:strength:start-end, such as canny:edges.png:0.8:0-0.5."
        )
    kind, image, strength, start, end = found.groups()
    image = os.path.expanduser(image)
    _refuse_words(text, image)
    numbers = {"strength": strength, "start": start, "end": end}
    given = {name: float(number) for name, number in numbers.items() if number is not None}
    return {"kind": kind, "image": image, **given}


def _refuse_words(text: str, image: str) -> None:
    """What follows a file that is there should have been a number."""
    file, _, rest = image.rpartition(":")
    if file and os.path.isfile(file) and not os.path.isfile(image):
        raise RequestError(f"--control {text!r}: {rest!r} is no strength of {file}, such as 0.8.")


def lora(text: str) -> dict[str, Any]:
    """`ink:0.8` as a LoRA's name and strength; raises RequestError for what names none."""
    found = _LORA.fullmatch(text)
    if found is None:
        raise RequestError(
            f"--lora {text!r} names no LoRA. Write it as name or name:strength, such as ink:0.8."
        )
    name, strength = found.groups()
    named = {"name": os.path.expanduser(name)}
    return named | ({} if strength is None else {"strength": float(strength)})


def prompt_values(argument: str | None) -> dict[str, str]:
    """The prompt that was typed, as values of a request; an empty one counts as none.

    It usually comes from a variable of a script that is not set.
    """
    return {"prompt": prompt_text(argument)} if argument and argument.strip() else {}


def prompt_text(argument: str) -> str:
    """The prompt: as it stands, of standard input for `-`, of a file for `@file`.

    Raises RequestError for a file that is not text in UTF-8 or UTF-16.
    """
    if argument == "-":
        return _whole(standard_input(), "standard input")
    if not argument.startswith("@"):
        return argument
    path = Path(os.path.expanduser(argument[1:]))
    try:
        return _whole(path.read_bytes(), str(path))
    except (OSError, ValueError) as error:
        raise RequestError(
            f"The prompt's file {path} can't be read: {getattr(error, 'strerror', error)}.",
            remedy="To begin a prompt with @, give it on standard input: imagen generate -",
        ) from error


def standard_input() -> bytes:
    """All of it; nothing where there is none."""
    return sys.stdin.buffer.read() if sys.stdin is not None else b""


def _whole(data: bytes, where: str) -> str:
    """All of the text but the end of its last line; an empty one is a mistake somewhere."""
    text = _decoded(data, where)
    if not text.strip():
        raise RequestError(f"The prompt in {where} is empty.")
    return text.removesuffix("\n").removesuffix("\r")


def _decoded(data: bytes, where: str) -> str:
    try:
        return decode_text(data)
    except UnicodeDecodeError as error:
        raise RequestError(
            f"The prompt in {where} is not text in UTF-8 or UTF-16: {error.reason}.",
            remedy="Save it as UTF-8.",
        ) from error


ENDINGS: tuple[ImageFormat, ...] = ("png", "jpg", "jpeg", "webp", "avif")
_ENDING = re.compile(r"[a-z][a-z0-9]{1,4}")
"""What is taken for the ending of a file; a folder may be called `results-1.5`."""


class HomePath(click.Path):
    """A path, as a `Path`; or a text, which may be a URL or an ID instead."""

    def __init__(self, kind: type[Path] | type[str] = Path) -> None:
        super().__init__(path_type=kind, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), param, ctx)


PATH = HomePath(Path)
FILE = HomePath(str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where --output says that images go."""

    folder: Path | None = None
    name: str | None = None
    """Of the file, without its ending."""
    format: ImageFormat | None = None
    is_stdout: bool = False


def read_target(
    ctx: click.Context,
    param: click.Parameter,
    text: str | None,
) -> Target | None:
    """A folder, the name of an image, or - for standard output.

    Raises BadParameter for a file that images can't be saved as.
    """
    if text is None:
        return None
    if text == "-":
        return Target(is_stdout=True)
    path = Path(text)
    ending = path.suffix[1:].lower()
    is_folder = text.endswith(("/", os.sep)) or os.path.isdir(path)
    if is_folder or not _ENDING.fullmatch(ending):
        return Target(folder=path)
    format = next((known for known in ENDINGS if known == ending), None)
    if format is None:
        raise click.BadParameter(
            f"An image can be saved as {', '.join(f'.{known}' for known in ENDINGS)}, not as "
            f".{ending}. To name a folder, end it with a slash: {text}/",
            ctx,
            param,
        )
    return Target(folder=path.parent, name=path.stem, format=format)


_AGO = re.compile(r"(\d{1,6}) ?(min|h|d|w)")
_UNITS: Mapping[str, str] = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_YEAR = re.compile(r"\d{4}")
_MONTH = re.compile(r"(\d{4})-(\d{2})")


@dataclass(frozen=True, slots=True)
class TypedDate:
    """A date of the command line, which becomes a moment once the time zone is known."""

    text: str
    is_end: bool

    def moment(self, zone: tzinfo | None = None) -> datetime:
        """In this time zone; None is this machine's."""
        return moment(self.text, datetime.now().astimezone(), zone, is_end=self.is_end)


def _parsed(
    ctx: click.Context, param: click.Parameter, text: str | None, *, is_end: bool
) -> TypedDate | None:
    if text is None:
        return None
    typed = TypedDate(text, is_end)
    try:
        typed.moment()
    except (ValueError, OverflowError, OSError) as error:
        raise click.BadParameter(
            f"{text!r} is no date. Write it as 2026-11-27, '2026-11-27 14:00', 2026-11, 2026, 7d, "
            "3h, today or yesterday.",
            ctx,
            param,
        ) from error
    return typed


since_option = click.option(
    "--since",
    callback=partial(_parsed, is_end=False),
    metavar="DATE",
    help="From then on: 2026-11-27, '2026-11-27 14:00', 2026-11, 2026, 7d, 3h, today, yesterday.",
)
until_option = click.option(
    "--until",
    callback=partial(_parsed, is_end=True),
    metavar="DATE",
    help="Up to then; a day, a month or a year with all of it.",
)


def moment(
    text: str, now: datetime, zone: tzinfo | None = None, *, is_end: bool = False
) -> datetime:
    """The moment that is meant in this time zone, None being this machine's.

    As the end of a period, a day, a month or a year is meant with all of it. Raises ValueError or
    OverflowError.
    """
    word = " ".join(text.split())
    if match := _AGO.fullmatch(word):
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    if days := _days(word, now.astimezone(zone)):
        return _in_zone(datetime.combine(days[int(is_end)], datetime.min.time()), zone)
    return _in_zone(datetime.fromisoformat(word), zone)


def _in_zone(meant: datetime, zone: tzinfo | None) -> datetime:
    if meant.tzinfo is None and zone is not None:
        return meant.replace(tzinfo=zone)
    return meant.astimezone(zone)


def _days(word: str, now: datetime) -> tuple[date, date] | None:
    """The first day of what is named, and the one after its last; None for a time of day."""
    if _YEAR.fullmatch(word):
        return date(int(word), 1, 1), date(int(word) + 1, 1, 1)
    if match := _MONTH.fullmatch(word):
        first = date(int(match[1]), int(match[2]), 1)
        return first, (first + timedelta(days=31)).replace(day=1)
    day = _day(word, now)
    return (day, day + timedelta(days=1)) if day else None


def _day(word: str, now: datetime) -> date | None:
    if word in ("today", "yesterday"):
        return now.date() - timedelta(days=int(word == "yesterday"))
    try:
        return date.fromisoformat(word)
    except ValueError:
        return None


from_json_option = click.option(
    "--from-json",
    "document",
    type=FILE,
    metavar="FILE",
    help="A request as JSON, or a picture's sidecar; flags go over it. - is standard input.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A request out of a file, and the backend that made the picture where it is a sidecar."""

    request: Request
    backend: str | None = None


def prompted(
    prompt: str | None,
    document: str | None,
    asked: dict[str, Any],
    backends: Collection[str],
) -> Given:
    """The request of a command line: the file's, the prompt over it, and the flags over both.

    It is for the backends of these names; for the file's own where there are none. Raises
    RequestError.
    """
    from imagen.core.request import Request

    if prompt == document == "-":
        raise usage_error("Only one of PROMPT and --from-json can be standard input.")
    words = prompt_values(prompt)
    if words and "prompt" in asked:
        raise usage_error("PROMPT and --set prompt are given. Keep one of them.")
    over = words | asked
    found = given(document, backends, over) if document else Given(request=Request())
    return replace(found, request=found.request.with_values(over))


def given(document: str, backends: Collection[str] = (), over: Collection[str] = ()) -> Given:
    """The request in a file, or on standard input for `-`.

    Of a sidecar, every value that was used; but where other backends are to take it, only what was
    asked, with the seed. Its pictures are found again, but for those that `over` names. Raises
    RequestError for a file that holds no request.
    """
    from imagen.core.field_names import with_own_names
    from imagen.core.request import Request

    values = _object(document)
    try:
        if "imagen" in values:
            found = _of_sidecar(values, backends)
            beside = Path(document).parent  # of - the working directory
            return replace(found, request=_with_pictures(found.request, values, beside, over))
        return Given(request=Request.of(with_own_names(values)))
    except RequestError as error:
        lines = "\n".join(f"{_name(document)}: {line}" for line in error.message.splitlines())
        raise RequestError(lines, remedy=error.remedy) from error


def _of_sidecar(values: dict[str, Any], backends: Collection[str]) -> Given:
    from imagen.core.field_names import with_own_names
    from imagen.core.request import Request
    from imagen.reproduce import values_again

    _refuse_newer(values["imagen"])
    own = str(values.get("backend") or "") or None
    asked = with_own_names(_mapping(values, "request"))
    used = with_own_names(_mapping(values, "resolved"))
    again = values_again(
        asked, used, _mapping(values, "receipt"), elsewhere=not {*backends} <= {own}
    )
    return Given(request=Request.of(again), backend=own)


def _refuse_newer(format: Any) -> None:
    from imagen.outputs.sidecar import SIDECAR_FORMAT

    if not isinstance(format, int) or format > SIDECAR_FORMAT:
        raise RequestError(
            f"it has the format {format!r}, and this imagen reads up to {SIDECAR_FORMAT}."
        )


def _with_pictures(
    request: Request, values: dict[str, Any], beside: Path, over: Collection[str]
) -> Request:
    """A sidecar knows its pictures by name and hash."""
    from imagen.inputs import locate_images

    known = values.get("inputs")
    varied = _mapping(values, "vary").get("name")  # each cell of a comparison has another
    inputs = [one for one in known if isinstance(one, dict)] if isinstance(known, list) else []
    inputs = [one for one in inputs if varied is None or one.get("parameter") != varied]
    return locate_images(request, inputs, beside, replaced=over)


def _mapping(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _object(document: str) -> dict[str, Any]:
    where = _name(document)
    if is_url(document):
        raise RequestError(f"--from-json takes a file, and {document} is a URL: download it first.")
    data = standard_input() if document == "-" else _bytes(Path(document))
    try:
        found = parse_json(decode_text(data))
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{where} is not text in UTF-8 or UTF-16.", remedy=_sidecar_hint(where)
        ) from error
    except ValueError as error:
        raise RequestError(f"{where} {error}.", remedy=_sidecar_hint(where)) from error
    if not isinstance(found, dict):
        raise RequestError(f"{where} holds no request: it must be one JSON object.")
    return found


def _sidecar_hint(where: str) -> str:
    """A picture is meant where a picture is named."""
    beside = Path(f"{where}.json")
    return f"Do you mean its sidecar, {beside}?" if os.path.isfile(beside) else ""


def _bytes(path: Path) -> bytes:
    try:
        return read_at_most(path, MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"--from-json: {path} can't be read: {reason}.") from error


def _name(document: str) -> str:
    return "standard input" if document == "-" else document
