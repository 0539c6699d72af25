"""What --from-json names: a request, or the sidecar of a picture."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.options import usage
from imagen.cli.parsing import prompt_values, standard_input
from imagen.cli.paths import FILE
from imagen.core.filesystem import read_at_most
from imagen.core.image_file import is_url
from imagen.core.json_values import MAX_BYTES, parse_json
from imagen.core.text import decode_text
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Collection

    from imagen.core.request import Request

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
        raise usage("Only one of PROMPT and --from-json can be standard input.")
    words = prompt_values(prompt)
    if words and "prompt" in asked:
        raise usage("PROMPT and --set prompt are given. Keep one of them.")
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
    from imagen.outputs.sidecar import FORMAT

    if not isinstance(format, int) or format > FORMAT:
        raise RequestError(f"it has the format {format!r}, and this imagen reads up to {FORMAT}.")


def _with_pictures(
    request: Request, values: dict[str, Any], beside: Path, over: Collection[str]
) -> Request:
    """A sidecar knows its pictures by name and hash."""
    from imagen.inputs import found_again

    known = values.get("inputs")
    varied = _mapping(values, "vary").get("name")  # each cell of a comparison has another
    inputs = [one for one in known if isinstance(one, dict)] if isinstance(known, list) else []
    inputs = [one for one in inputs if varied is None or one.get("parameter") != varied]
    return found_again(request, inputs, beside, replaced=over)


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
