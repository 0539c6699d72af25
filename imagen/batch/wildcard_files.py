"""The files of wildcards: text with a value on each line, and lists in YAML or JSON."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

from imagen.core.filesystem import read_at_most
from imagen.core.text import decode_text, did_you_mean, one_line
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_BYTES = 16 * 1024**2
MAX_FILES = 20_000
_MOST_STARS = 4
"""Each more would take much longer to match."""
_LISTS = (".yaml", ".yml", ".json")


class WildcardValue(NamedTuple):
    """One value, as it is written."""

    text: str
    place: str
    """Its file and line or number, for errors."""


class WildcardFiles:
    """The wildcards in some folders, by name: the path below the folder, without the ending.

    A file of YAML or JSON holds a list, which has the name of the file, or lists below keys, which
    have the names of the keys: `artists: {dutch: […]}` is `artists/dutch`.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(dict.fromkeys(folders))
        self._faults: list[str] = []

    def names(self) -> tuple[str, ...]:
        """Every wildcard, sorted."""
        return tuple(sorted(self._sources))

    def match(self, pattern: str, place: str) -> list[str]:
        """The names that a pattern means: `*` is any text within a name, `**` any path.

        Raises RequestError with the place of the pattern if there is none.
        """
        pattern = re.sub(r"[\\/]+", "/", pattern).strip("/")
        if "*" not in pattern:
            names = [pattern] if pattern in self._sources else []
        else:
            stars = {"*": "[^/]*"}
            parts = re.split(r"(\*+)", pattern)  # every second one is of stars
            if len(parts) > 2 * _MOST_STARS + 1:
                raise RequestError(f"{place}: a wildcard has at most {_MOST_STARS} stars.")
            written = (stars.get(p, ".*") if n % 2 else re.escape(p) for n, p in enumerate(parts))
            fitting = re.compile("".join(written))
            names = [name for name in self._sources if fitting.fullmatch(name)]
        if names:
            return names
        raise RequestError(
            f"{place}: unknown wildcard '__{one_line(pattern)}__'."
            + did_you_mean(pattern, self._sources)
            + "".join(f" {fault}" for fault in self._faults[:3]),
            remedy="The wildcards are text and YAML files in "
            + (
                ", ".join(map(str, self._folders))
                or "the folders of wildcard_dirs, which names none"
            )
            + ". --literal leaves a prompt as it is.",
        )

    def read_values(self, name: str) -> list[WildcardValue]:
        """The values of a wildcard, without repetitions; raises RequestError if it has none."""
        values: dict[str, WildcardValue] = {}
        for path, found in self._sources[name]:
            if found is None:
                lines = enumerate(_read_text(path).split("\n"), 1)
                texts = [(line.strip(), f"line {number}") for number, line in lines]
                texts = [one for one in texts if one[0] and not one[0].startswith("#")]
            else:
                texts = [
                    (str(value).strip("\n"), f"value {number}")
                    for number, value in enumerate(found, 1)
                    if isinstance(value, str | int | float) and not isinstance(value, bool)
                ]
            for text, place in texts:
                values.setdefault(text, WildcardValue(text, f"{path}, {place}"))
        if not values:
            files = ", ".join(dict.fromkeys(str(source[0]) for source in self._sources[name]))
            raise RequestError(
                f"The wildcard '__{name}__' has no value: {files}.",
                remedy="Write one on each line.",
            )
        return list(values.values())

    @cached_property
    def _sources(self) -> dict[str, list[tuple[Path, list[object] | None]]]:
        """Where each wildcard's values are: a text file, or a list and its file."""
        found: dict[str, list[tuple[Path, list[object] | None]]] = {}
        for folder in self._folders:
            for path in _list_files(folder):
                name = path.relative_to(folder).with_suffix("").as_posix()
                if path.suffix.lower() == ".txt":
                    found.setdefault(name, []).append((path, None))
                    continue
                try:
                    lists = dict(_find_lists(path, path.relative_to(folder)))
                except RequestError as error:  # fails what needs it, and nothing else
                    self._faults.append(error.message)
                    continue
                for key, values in lists.items():
                    found.setdefault(key, []).append((path, values))
        return dict(sorted(found.items()))


def _list_files(folder: Path) -> list[Path]:
    """The files of wildcards in a folder, in the same order on every system."""
    files: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(place, name)
            is_known = name.lower().endswith((".txt", *_LISTS)) and not name.startswith(".")
            if is_known and path.is_file():  # a pipe would block
                files.append(path)
        if len(files) > MAX_FILES:
            raise RequestError(f"The folder {folder} holds more than {MAX_FILES:,} wildcard files.")
    return sorted(files, key=lambda path: path.relative_to(folder).parts)


def _read_text(path: Path) -> str:
    try:
        data = read_at_most(path, MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise RequestError(f"{path} is larger than {MAX_BYTES // 1024**2} MB.")
        return decode_text(data)
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{path} is not text in UTF-8 or UTF-16: {error.reason}.", remedy="Save it as UTF-8."
        ) from error
    except OSError as error:
        raise RequestError(f"Cannot read {path}: {error.strerror or error}.") from error


def _find_lists(path: Path, place: PurePath) -> Iterator[tuple[str, list[object]]]:
    """The lists in a file by name; other values are left out. Raises RequestError."""
    from yaml import YAMLError

    from imagen.core.yaml_values import parse_yaml

    try:
        value = parse_yaml(_read_text(path))  # JSON is YAML
    except YAMLError as error:
        raise RequestError(f"{path} is not valid YAML: {one_line(str(error))}.") from error
    except ValueError as error:
        raise RequestError(f"{path} {error}.") from error
    if isinstance(value, list):
        yield place.with_suffix("").as_posix(), value
    elif isinstance(value, dict):
        pairs = [("/".join(place.parent.parts), value)]
        while pairs:
            above, mapping = pairs.pop()
            for key, inner in mapping.items():
                below = f"{above}/{key}" if above else str(key)
                if isinstance(inner, list):
                    yield below, inner
                elif isinstance(inner, dict):
                    pairs.append((below, inner))
