"""Files of many requests: text with a prompt on each line, CSV, and JSON lines."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from imagen.core.field_names import OTHER_NAMES, field_named, with_own_names
from imagen.core.filesystem import read_at_most
from imagen.core.json_values import MAX_BYTES, parse_json
from imagen.core.request import Request, size_values
from imagen.core.text import decode_text, did_you_mean, one_line
from imagen.core.typed_values import (
    TEXT_PARAMETERS,
    parse_control,
    parse_lora,
    parse_scalar,
    require_json,
)
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PromptFormat = Literal["text", "csv", "jsonl"]
FORMATS: tuple[PromptFormat, ...] = get_args(PromptFormat)
MAX_ROWS = 100_000
MOST_FAULTS = 20
"""How many wrong rows an error lists."""

_ENDINGS: Mapping[str, PromptFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
_PLACEHOLDER = re.compile(r"(?<!\\)\{([^\W\d][\w .-]{0,100})\}")
_OWN_COLUMNS = ("backend", "output")
_LISTS = {"lora": "loras", "control": "controls", "reference": "references"}
_IMAGES = ("image", "mask")
_TEXT_ONLY = {"prompt", "negative"}
_COLUMNS = frozenset((*Request.model_fields, *_OWN_COLUMNS, "size"))
_KEYS = _COLUMNS.union(*OTHER_NAMES.values())


class PromptRow(NamedTuple):
    """One request of a file."""

    line: int
    values: dict[str, object]
    """By the names of a request's fields."""
    backend: str = ""
    output: str = ""
    """The name of its images, below the folder of the batch."""

    def build_request(self, defaults: Request) -> Request:
        """The request, with defaults for what the row leaves out; raises RequestError."""
        is_text = all(isinstance(value, str) for value in self.values.values())
        if is_text and self.values.keys() <= _TEXT_ONLY:  # nothing is left to check
            return defaults.model_copy(update={"template": None, **self.values})
        return defaults.with_values(self.values)


class RowFault(NamedTuple):
    """What is wrong with a row."""

    line: int
    message: str


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt with the names of columns in braces: `a {animal} in {place}`."""

    text: str
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = dict.fromkeys(match[1] for match in _PLACEHOLDER.finditer(self.text))
        object.__setattr__(self, "names", tuple(names))
        if not names:
            raise RequestError(
                f"The prompt template {one_line(self.text, limit=60)!r} names no column.",
                remedy="Write names of columns in braces: 'a {animal} in {place}'.",
            )

    def fill(self, values: Mapping[str, str]) -> str:
        """The prompt of a row; raises RequestError for a column that is missing."""
        for name in self.names:
            if name not in values:
                raise RequestError(
                    f"there is no column {name!r} for the template."
                    + did_you_mean(name, values)
                    + f" Columns: {one_line(', '.join(values)) or 'none'}."
                )
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.text)


def find_format(path: str) -> PromptFormat:
    """The format of a file, by the ending of its name; text if that says nothing."""
    return _ENDINGS.get(os.path.splitext(path)[1].lower(), "text")


def read_prompt_file(path: str) -> bytes:
    """The bytes of a prompt file; raises RequestError if it cannot be read or is too large."""
    try:
        return read_at_most(Path(path), MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"Cannot read the prompt file {path}: {reason}.") from error


def parse_rows(
    data: bytes, source: str, format: PromptFormat, template: PromptTemplate | None = None
) -> Iterator[PromptRow | RowFault]:
    """The rows of a prompt file, and what is wrong with the others, in order.

    Blank lines, and lines of text that begin with #, are skipped. Raises RequestError for a file
    that is wrong as a whole, also after its first rows.
    """
    if len(data) > MAX_BYTES:
        limit = f"{MAX_BYTES // 1024**2} MB"
        raise RequestError(f"{source} is larger than {limit}.", remedy="Split it.")
    try:
        text = decode_text(data)
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{source} is not text in UTF-8 or UTF-16: {error.reason}.", remedy="Save it as UTF-8."
        ) from error
    if "\0" in text:
        raise RequestError(f"{source} is not text: it holds NUL.", remedy="Save it as UTF-8.")
    readers: dict[PromptFormat, Callable[[str, PromptTemplate | None], Iterator[_Parsed]]] = {
        "text": _read_text,
        "csv": _read_csv,
        "jsonl": _read_json,
    }
    number = 0
    try:
        for number, row in enumerate(readers[format](text, template), 1):
            if number > MAX_ROWS:
                raise RequestError(f"it has more than {MAX_ROWS:,} rows.", remedy="Split it.")
            yield row
    except RequestError as error:
        raise error.replace(message=f"{source}: {error.message}") from error
    if not number:
        raise RequestError(f"{source} holds no prompt.")


def read_prompts(path: str) -> list[str]:
    """The prompts of a file in any format; raises RequestError for a faulty row."""
    rows = list(parse_rows(read_prompt_file(path), path, find_format(path)))
    refuse_faults(
        [(f"{path}, line {row.line}", row.message) for row in rows if isinstance(row, RowFault)]
    )
    return [str(row.values.get("prompt", "")) for row in rows if isinstance(row, PromptRow)]


def refuse_faults(faults: Sequence[tuple[str, str]]) -> None:
    """Raises RequestError with the first faults, each with its place, if there are any."""
    if faults:
        raise RequestError("\n".join(list_faults(faults)), remedy="Nothing was submitted.")


def list_faults(faults: Sequence[tuple[str, str]]) -> list[str]:
    """Sentences about the first faults, each with its place, and how many more there are."""
    lines = [
        f"{place}: {one_line(part, limit=400)}"
        for place, message in faults[:MOST_FAULTS]
        for part in message.splitlines()
    ]
    more = len(faults) - MOST_FAULTS
    return [*lines, f"{more:,} more are wrong."] if more > 0 else lines


_Parsed = PromptRow | RowFault


# --- text ---


def _read_text(text: str, template: PromptTemplate | None) -> Iterator[_Parsed]:
    for number, line in enumerate(text.split("\n"), 1):
        prompt = line.strip()
        if not prompt or prompt.startswith("#"):
            continue
        if template is not None:
            prompt = template.fill({"prompt": prompt})
        yield PromptRow(number, {"prompt": prompt})


# --- CSV ---


def _read_csv(text: str, template: PromptTemplate | None) -> Iterator[_Parsed]:
    first = text.partition("\n")[0]
    delimiter = next((sign for sign in ",\t;" if sign in first), ",")
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    meanings: list[str | None] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if not columns:
                    columns = [cell.strip() for cell in cells]
                    meanings = _read_columns(columns, template)
                elif any(cell.strip() for cell in cells[len(columns) :]):
                    what = f"it has {len(cells)} values, and there are {len(columns)} columns."
                    yield RowFault(line, what)
                else:
                    yield _parse_cells(line, columns, meanings, cells, template)
            line = reader.line_num + 1
    except csv.Error as error:
        raise RequestError(
            f"the CSV is not valid at line {line}: {error}.",
            remedy='Put a value with commas or quotes into quotes: "a fox, ""red"""',
        ) from error


def _read_columns(columns: Sequence[str], template: PromptTemplate | None) -> list[str | None]:
    """What each column means; None if it is only for the template, or left out.

    Raises RequestError for an unknown column, and for two that mean the same.
    """
    in_template = () if template is None else template.names
    meanings: dict[str, str] = {}
    read: list[str | None] = []
    for name in columns:
        plain = name.lower().replace(" ", "_")
        is_left_out = not name or name.startswith("#")
        meaning = plain if plain in _COLUMNS else _LISTS.get(plain) or field_named(name)
        if not is_left_out and meaning is None and name not in in_template:
            raise RequestError(
                f"unknown column {name!r}.{did_you_mean(name, sorted(_COLUMNS))}",
                remedy="Columns are fields of a request, backend, output, or in the template. "
                "A column whose name begins with # is left out.",
            )
        read.append(None if is_left_out else meaning)
        if not is_left_out:
            if (meaning or name) in meanings:
                other = meanings[meaning or name]
                raise RequestError(f"the columns {other!r} and {name!r} mean the same.")
            meanings[meaning or name] = name
    if template is not None:
        template.fill(dict.fromkeys(filter(None, columns), ""))
        if meanings.get("prompt", template.names[0]) not in template.names:
            raise RequestError(f"the template leaves out the column {meanings['prompt']!r}.")
    return read


def _parse_cells(
    line: int,
    columns: Sequence[str],
    meanings: Sequence[str | None],
    cells: Sequence[str],
    template: PromptTemplate | None,
) -> _Parsed:
    written = [cell.strip() for cell in cells]
    own: dict[str, str] = {}
    values: dict[str, object] = {}
    try:
        for meaning, cell in zip(meanings, written, strict=False):
            if meaning in _OWN_COLUMNS:
                own[meaning] = cell
            elif meaning is not None and cell:
                values |= parse_cell(meaning, cell)
        if template is not None:
            empty = dict.fromkeys(columns, "")
            values["prompt"] = template.fill(empty | dict(zip(columns, written, strict=False)))
    except RequestError as error:
        return RowFault(line, error.message)
    return PromptRow(line, values, **own)


def parse_cell(field: str, text: str) -> dict[str, object]:
    """The values of a request that a cell sets, spelled as on the command line.

    LoRAs, controls and references are separated by semicolons. Raises RequestError.
    """
    if field == "size":
        return size_values(text)
    if field in _IMAGES:
        return {field: os.path.expanduser(text)}
    if field in _LISTS.values():
        parts = [part.strip() for part in text.split(";") if part.strip()]
        if field == "references":
            return {field: tuple(map(os.path.expanduser, parts))}
        parse = parse_lora if field == "loras" else parse_control
        return {field: [parse(part, field) for part in parts]}
    if field in TEXT_PARAMETERS or field == "template":
        return {field: text}
    return {field: require_json(field, parse_scalar(text))}


# --- JSON ---


def _read_json(text: str, template: PromptTemplate | None) -> Iterator[_Parsed]:
    if text.lstrip()[:1] == "[":  # one array: the rows are numbered
        try:
            rows = parse_json(text)
        except ValueError as error:
            raise RequestError(f"it {error}.") from error
        for number, value in enumerate(rows if isinstance(rows, list) else [], 1):
            yield _parse_object(number, value, template)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except ValueError as error:
            yield RowFault(number, f"it {error}.")
            continue
        yield _parse_object(number, value, template)


def _parse_object(number: int, value: object, template: PromptTemplate | None) -> _Parsed:
    if not isinstance(value, dict):
        return RowFault(number, 'it must be an object such as {"prompt": "a red fox"}.')
    own: dict[str, str] = {}
    fields: dict[str, object] = {}
    words: dict[str, str] = {}
    for name, each in value.items():
        if template is not None and isinstance(each, str | int | float):
            words[name] = str(each)
        if name in _OWN_COLUMNS:
            own[name] = each.strip() if isinstance(each, str) else ""
            if not isinstance(each, str):
                return RowFault(number, f"{name}: must be text.")
        elif name in _KEYS or template is None or name not in template.names:
            fields[name] = each
    try:
        size = fields.pop("size", None)
        values = with_own_names(fields)
        if size is not None:
            values |= size_values(str(size))
        if template is not None:
            values["prompt"] = template.fill(words)
    except RequestError as error:
        return RowFault(number, error.message)
    return PromptRow(number, values, **own)
