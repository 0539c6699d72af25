"""Puts every picture of a result on disk: where it belongs, or else where it is safe."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.core.filesystem import make_private_folder, remove_parts
from imagen.errors import OutputError
from imagen.outputs import files, metadata, naming
from imagen.outputs import sidecar as record
from imagen.outputs.metadata import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from imagen.config import OutputSettings
    from imagen.config.settings import ImageFormat
    from imagen.core.request import Request
    from imagen.core.result import Output, Result
    from imagen.core.ticket import Ticket

_EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
    "image/svg+xml": "svg",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/quicktime": "mov",
    "audio/flac": "flac",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "model/gltf-binary": "glb",
    "application/json": "json",
    "application/zip": "zip",
    "text/plain": "txt",
}
_UNKNOWN_EXTENSION = "bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedImage:
    """One picture on disk, or whatever else was made."""

    path: Path
    sidecar: Path | None
    """The JSON file beside it: `fox.png.json` for `fox.png`."""
    index: int
    """Which of the batch, as its Output says."""
    media_type: str
    """As the bytes say, else as the engine does."""
    width: int | None
    height: int | None
    seed: int | None
    sha256: str
    """Of the file as it lies there."""
    warning: str = ""
    """A sentence, where not all metadata could be put into the image, or removed from it."""


class _Piece(NamedTuple):
    """One output, ready to be written."""

    output: Output
    data: bytes
    media_type: str
    name: tuple[str, ...]
    warning: str
    conversion: Mapping[str, Any] | None = None
    """Of one that was converted, from what and how."""


class _Trouble(NamedTuple):
    """What did not work for one output, and where it lies all the same, if it does."""

    sentence: str
    causes: tuple[Exception, ...]
    path: Path | None


class _Run(NamedTuple):
    """All that the outputs of one run have in common."""

    result: Result
    ticket: Ticket
    settings: OutputSettings
    asked: Request
    first: int
    now: datetime
    rescue: Path
    last_resort: Callable[[], Path]
    write: files.Write
    is_resumed: bool


def fresh_folder() -> Path:
    """A new folder of our own in the system's temporary directory."""
    from tempfile import mkdtemp  # costs milliseconds, and is a last resort

    return Path(mkdtemp(prefix="imagen-"))


def save_outputs(
    result: Result,
    ticket: Ticket,
    settings: OutputSettings,
    *,
    asked: Request,
    now: datetime,
    rescue: Path,
    first: int = 0,
    last_resort: Callable[[], Path] = fresh_folder,
    write: files.Write = files.write_synced,
    is_resumed: bool = False,
) -> list[SavedImage]:
    """Put each output of `result` into the output directory, with its sidecar.

    `first` is the index of the first one among all that were asked for, for `{index}` in names.
    Nothing is ever overwritten. What can't be written there goes to `rescue`, else to
    `last_resort`; then OutputError says what failed, and its `kept` where every picture lies.
    A run that `is_resumed` takes what it had saved before it was interrupted for saved.
    """
    run = _Run(result, ticket, settings, asked, first, now, rescue, last_resort, write, is_resumed)
    kept = [_keep(run, output) for output in result.outputs]
    for folder in {one.path.parent for one in kept if one.path is not None}:
        remove_parts(folder)
    troubles = [one for one in kept if isinstance(one, _Trouble)]
    if troubles:
        paths = tuple(one.path for one in kept if one.path is not None)
        raise _error(troubles, paths) from _cause(troubles)
    return [one for one in kept if isinstance(one, SavedImage)]


def _keep(run: _Run, output: Output) -> SavedImage | _Trouble:
    piece = _prepared(run, output)
    failed: list[tuple[str, Exception]] = []
    for place, folder in _places(run, piece):
        try:
            path = _placed(run, piece, folder())
        except (OSError, OutputError) as error:
            failed.append((place, error))
        else:
            piece, path = _in_format(run, piece, path)
            saved = _with_sidecar(run, piece, path)
            return _rescued(failed, path) if failed else saved
    return _lost(failed)


def _placed(run: _Run, piece: _Piece, folder: Path) -> Path:
    if run.is_resumed:
        found = files.find_written(piece.data, folder, piece.name[-1], is_ours=partial(_is_of, run))
        if found is not None:
            return found
    return files.write_numbered(piece.data, folder, piece.name[-1], write=run.write)


def _in_format(run: _Run, piece: _Piece, path: Path) -> tuple[_Piece, Path]:
    """The piece in the format of the settings, and its file; the engine's file goes only then.

    Where it can't be converted, the engine's file stays, and the piece says why.
    """
    wanted = run.settings.format
    if wanted is None or not _is_to_convert(run, piece.media_type):
        return piece, path
    try:
        converted = _converted(run, piece, wanted)
        new = _placed(run, converted, path.parent)
    except (OSError, OutputError) as error:
        sentence = (
            f"{path} stays as the engine made it: it could not be saved as {wanted}. "
            f"{_reason(error).rstrip('.')}."
        )
        return piece._replace(warning=f"{piece.warning} {sentence}".strip()), path
    if not os.path.lexists(files.sidecar_path(path)):  # else an earlier run kept it
        with suppress(OSError):
            path.unlink()
    return converted, new


def _converted(run: _Run, piece: _Piece, wanted: ImageFormat) -> _Piece:
    from imagen.outputs.convert import convert_image  # Pillow, which few runs need here

    settings = run.settings
    made = convert_image(
        piece.data, KINDS[wanted], settings.quality, keeps_metadata=settings.metadata
    )
    data, remark = made.data, ""
    if settings.metadata and metadata.kind(piece.data) is None:
        data, remark = metadata.embed(data, _texts(run, piece.output))
    return piece._replace(
        data=data,
        media_type=f"image/{KINDS[wanted]}",
        name=_name(run, piece.output, wanted),
        warning=" ".join(filter(None, (piece.warning, *made.remarks, remark))),
        conversion={"from": piece.media_type, "quality": made.quality},
    )


def _is_of(run: _Run, sidecar: bytes) -> bool:
    """Whether a sidecar tells of this very ticket."""
    try:
        told = json.loads(sidecar)
    except ValueError:
        return False
    return isinstance(told, dict) and told.get("ticket") == run.ticket.id


def _places(run: _Run, piece: _Piece) -> Iterator[tuple[str, Callable[[], Path]]]:
    """Where to try, in turn: each in words, and how to come by the folder."""
    root = run.settings.directory
    yield str(root.joinpath(*piece.name[:-1])), lambda: _own_folder(run, piece)
    yield str(run.rescue), lambda: _rescue_folder(run.rescue)
    yield "the temporary directory", run.last_resort


def _rescue_folder(folder: Path) -> Path:
    make_private_folder(folder)
    return folder


def _own_folder(run: _Run, piece: _Piece) -> Path:
    wrong = naming.template_fault(run.settings.name)
    if wrong:
        raise OutputError(wrong.rstrip("."))
    return files.make_folder_within(run.settings.directory, piece.name[:-1])


def _prepared(run: _Run, output: Output) -> _Piece:
    kind = metadata.kind(output.data)
    media_type = f"image/{kind}" if kind else output.media_type
    data, warning = output.data, ""
    if not run.settings.metadata:
        data, warning = _stripped(data)
    elif kind:
        data, warning = metadata.embed(data, _texts(run, output))
    wanted = run.settings.format
    known = media_type.partition(";")[0].strip().lower()
    ending = _EXTENSIONS.get(known, _UNKNOWN_EXTENSION)
    if wanted is not None and KINDS[wanted] == kind:
        ending = wanted  # jpg or jpeg, as it was asked for
    name = _name(run, output, ending)
    if _is_to_convert(run, media_type):  # both files are in one folder
        name = (*_name(run, output, str(wanted))[:-1], name[-1])
    return _Piece(output, data, media_type, name, warning)


def _is_to_convert(run: _Run, media_type: str) -> bool:
    wanted = run.settings.format
    is_image = media_type.startswith("image/")
    return wanted is not None and is_image and media_type != f"image/{KINDS[wanted]}"


def _stripped(data: bytes) -> tuple[bytes, str]:
    """The file without what the engine wrote into it, or as it is with a sentence that says so."""
    try:
        return metadata.strip_metadata(data), ""
    except OutputError as error:
        return data, (
            f"What the engine may have written into this file about its making can't be removed: "
            f"{error.message}."
        )


def _texts(run: _Run, output: Output) -> dict[str, str]:
    size = metadata.size(output.data)
    return {
        "imagen": record.build_embedded_record(output, run.result, run.ticket, run.asked),
        "parameters": record.build_parameters_text(output, run.result, run.ticket, size),
    }


def _name(run: _Run, output: Output, ending: str) -> tuple[str, ...]:
    seed = record.find_seed(output, run.result, run.ticket)
    values = {
        "date": run.now.strftime("%Y-%m-%d"),
        "time": run.now.strftime("%H%M%S"),
        "slug": naming.request_slug(run.asked),
        "seed": "noseed" if seed is None else str(seed),
        "backend": naming.slugify(run.ticket.backend),
        "ext": ending,
        "index": str(run.first + output.index),
    }
    template = run.settings.name
    return naming.render_name(
        naming.DEFAULT_TEMPLATE if naming.template_fault(template) else template, values
    )


def _with_sidecar(run: _Run, piece: _Piece, path: Path) -> SavedImage | _Trouble:
    about = record.describe_file(piece.data, piece.media_type, path.name, run.now)
    about |= {"converted": dict(piece.conversion)} if piece.conversion else {}
    if not run.settings.sidecar:
        return _saved(run, piece, path, None, about)
    sidecar = files.sidecar_path(path)
    whole = record.build_sidecar(piece.output, run.result, run.ticket, run.asked, written=about)
    if run.is_resumed and sidecar.is_file():
        return _saved(run, piece, path, sidecar, about)
    try:
        files.write_new(whole, sidecar, write=run.write)
    except OSError as error:
        sentence = f"{path} was saved, but not its sidecar: {_reason(error)}."
        return _Trouble(sentence, (error,), path)
    return _saved(run, piece, path, sidecar, about)


def _saved(
    run: _Run, piece: _Piece, path: Path, sidecar: Path | None, about: dict[str, Any]
) -> SavedImage:
    width, height = metadata.size(piece.data)
    return SavedImage(
        path=path,
        sidecar=sidecar,
        index=piece.output.index,
        media_type=piece.media_type,
        width=width,
        height=height,
        seed=record.find_seed(piece.output, run.result, run.ticket),
        sha256=about["sha256"],
        warning=piece.warning,
    )


def _rescued(failed: Sequence[tuple[str, Exception]], path: Path) -> _Trouble:
    return _Trouble(f"{_why(failed)} It lies in {path} instead.", _causes(failed), path)


def _lost(failed: Sequence[tuple[str, Exception]]) -> _Trouble:
    return _Trouble(f"{_why(failed)} It is not kept anywhere.", _causes(failed), None)


def _why(failed: Sequence[tuple[str, Exception]]) -> str:
    """`A picture can't be saved in outputs (No space left on device), nor in …`"""
    places = [f"{place} ({_reason(error)})" for place, error in failed]
    return f"A picture can't be saved in {', nor in '.join(places)}."


def _causes(failed: Sequence[tuple[str, Exception]]) -> tuple[Exception, ...]:
    return tuple(error for _, error in failed)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return error.message if isinstance(error, OutputError) else str(error)


def _error(troubles: Sequence[_Trouble], kept: Sequence[Path]) -> OutputError:
    lost = any(trouble.path is None for trouble in troubles)
    remedy = "Make room, or set output.directory in imagen.yaml to a folder that can be written."
    return OutputError(
        "\n".join(trouble.sentence for trouble in troubles),
        remedy=remedy + ("" if lost else " Nothing is lost."),
        kept=kept,
        lost=lost,
    )


def _cause(troubles: Sequence[_Trouble]) -> Exception:
    """The one error behind it all, or all of them together."""
    causes = [cause for trouble in troubles for cause in trouble.causes]
    return causes[0] if len(causes) == 1 else ExceptionGroup("what failed, in order", causes)
