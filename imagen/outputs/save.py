"""Save every image of a result: in the output directory, or else wherever it is safe."""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imagen.core.filesystem import make_private_folder, part_in, place_new, remove_parts
from imagen.core.json_values import as_mapping, parse_json
from imagen.errors import OutputError
from imagen.outputs import metadata, naming, sidecar
from imagen.outputs.naming import numbered_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from imagen.config import OutputSettings
    from imagen.core.request import Request
    from imagen.core.result import Output, Result
    from imagen.core.ticket import Ticket

    Write = Callable[[Path, bytes], None]
    Link = Callable[[Path, Path], None]


_MOST_NUMBERS = 100_000
_OTHER_FOLDER = "Nothing was sent. Name another folder with --output."


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and sync it to the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sidecar_path(path: Path) -> Path:
    """`fox.png.json` for `fox.png`, so that `fox.jpg` has a sidecar of its own."""
    return path.with_name(f"{path.name}.json")


def make_folder_within(root: Path, folders: Sequence[str]) -> Path:
    """The folder below `root`, created if it is missing.

    Raises OutputError if a symbolic link leads out of `root`; OSError as `mkdir` does.
    """
    folder = root.joinpath(*folders)
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise OutputError(f"{folder} leads out of the output directory by a symbolic link")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def refuse_unwritable(folder: Path) -> None:
    """Raise OutputError if no image can be written there, before anything is paid."""
    absolute = folder.absolute()
    try:
        os.lstat(absolute)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(
                f"Images cannot be saved in {folder}: {error.strerror}.", remedy=_OTHER_FOLDER
            ) from error
    existing = next(path for path in (absolute, *absolute.parents) if os.path.lexists(path))
    if not os.path.isdir(existing):
        raise OutputError(
            f"Images cannot be saved in {folder}: {existing} is not a folder.",
            remedy=_OTHER_FOLDER,
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {existing} is not writable.", remedy=_OTHER_FOLDER)


def write_numbered(
    data: bytes, folder: Path, name: str, *, write: Write = write_synced, link: Link = os.link
) -> Path:
    """Write `data` into `folder` as `name`, or as `name-2`, … if that file exists already.

    A name whose sidecar exists counts as taken too. Raises OSError, and leaves nothing behind then.
    """
    with part_in(folder) as part:
        write(part, data)
        for candidate in islice(numbered_names(name), _MOST_NUMBERS):
            path = folder / candidate
            if not os.path.lexists(sidecar_path(path)) and place_new(part, path, link):
                return path
        raise FileExistsError(f"there are {_MOST_NUMBERS} files named {name} already")


def find_written(
    data: bytes, folder: Path, name: str, *, is_ours: Callable[[bytes], bool]
) -> Path | None:
    """The file that an interrupted `write_numbered` of the same data left; None if it left none.

    The file is ours if it has no sidecar yet, or one that `is_ours` accepts.
    """
    for candidate in islice(numbered_names(name), _MOST_NUMBERS):
        path = folder / candidate
        if not os.path.lexists(path):
            return None
        with suppress(OSError):
            if path.read_bytes() == data:
                sidecar = sidecar_path(path)
                if not os.path.lexists(sidecar) or is_ours(sidecar.read_bytes()):
                    return path
    return None


def write_new(data: bytes, path: Path, *, write: Write = write_synced) -> None:
    """Write `data` to `path`; raises FileExistsError rather than overwrite."""
    with part_in(path.parent) as part:
        write(part, data)
        if not place_new(part, path):
            raise FileExistsError(f"the file {path} exists already")


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
    """One saved image, or another output of an engine."""

    path: Path
    sidecar: Path | None
    """The JSON file beside it: `fox.png.json` for `fox.png`."""
    index: int
    """The number within the batch, as in its Output."""
    media_type: str
    """From the bytes, or else from the engine."""
    width: int | None
    height: int | None
    seed: int | None
    sha256: str
    """Of the saved file."""
    warning: str = ""
    """What metadata could not be written or removed."""


class _Piece(NamedTuple):
    """One output, ready to be written."""

    output: Output
    data: bytes
    media_type: str
    name: tuple[str, ...]
    """The folders and the file name below the output directory."""
    warning: str
    conversion: Mapping[str, object] | None = None
    """What the sidecar says about a conversion."""


class _Problem(NamedTuple):
    """What failed for one output, and where it is saved all the same, if it is."""

    sentence: str
    causes: tuple[Exception, ...]
    path: Path | None


def make_temporary_folder() -> Path:
    """A new folder in the system's temporary directory."""
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
    last_resort: Callable[[], Path] = make_temporary_folder,
    write: Write = write_synced,
    is_resumed: bool = False,
) -> list[SavedImage]:
    """Save each output of `result` in the output directory, with its sidecar.

    `first` is the index of the first output among all that were requested, for `{index}` in names.
    Nothing is ever overwritten. What cannot be written there goes to `rescue`, or else to
    `last_resort`; then OutputError says what failed, and its `kept` has the path of every image.
    With `is_resumed`, files that an interrupted run saved count as saved.
    """
    saver = _Saver(
        result, ticket, settings, asked, first, now, rescue, last_resort, write, is_resumed
    )
    saved = [saver.save(output) for output in result.outputs]
    for folder in {one.path.parent for one in saved if one.path is not None}:
        remove_parts(folder)
    problems = [one for one in saved if isinstance(one, _Problem)]
    if problems:
        lost = any(problem.path is None for problem in problems)
        remedy = "Free disk space, or set output.directory in imagen.yaml to a writable folder."
        causes = [cause for problem in problems for cause in problem.causes]
        raise OutputError(
            "\n".join(problem.sentence for problem in problems),
            remedy=remedy + ("" if lost else " Nothing is lost."),
            kept=tuple(one.path for one in saved if one.path is not None),
            lost=lost,
        ) from (causes[0] if len(causes) == 1 else ExceptionGroup("failures in order", causes))
    return [one for one in saved if isinstance(one, SavedImage)]


@dataclass(frozen=True)
class _Saver:
    """Saves the outputs of one result; the fields are the arguments of `save_outputs`."""

    result: Result
    ticket: Ticket
    settings: OutputSettings
    asked: Request
    first: int
    now: datetime
    rescue: Path
    last_resort: Callable[[], Path]
    write: Write
    is_resumed: bool

    def save(self, output: Output) -> SavedImage | _Problem:
        piece = self._prepare(output)
        failures: list[tuple[str, Exception]] = []
        root = self.settings.directory

        def output_folder() -> Path:
            fault = naming.template_fault(self.settings.name)
            if fault:
                raise OutputError(fault.rstrip("."))
            return make_folder_within(root, piece.name[:-1])

        def rescue_folder() -> Path:
            make_private_folder(self.rescue)
            return self.rescue

        for place, make_folder in (
            (str(root.joinpath(*piece.name[:-1])), output_folder),
            (str(self.rescue), rescue_folder),
            ("the temporary directory", self.last_resort),
        ):
            try:
                path = self._write(piece, make_folder())
            except (OSError, OutputError) as error:
                failures.append((place, error))
                continue
            piece, path = self._apply_format(piece, path)
            saved = self._write_sidecar(piece, path)
            if not failures:
                return saved
            sentence = f"{_describe_failures(failures)} It is in {path} instead."
            return _Problem(sentence, tuple(error for _, error in failures), path)
        sentence = f"{_describe_failures(failures)} It is lost."
        return _Problem(sentence, tuple(error for _, error in failures), None)

    def _prepare(self, output: Output) -> _Piece:
        """Embed or remove the metadata, and choose the name."""
        kind = metadata.kind(output.data)
        media_type = f"image/{kind}" if kind else output.media_type
        data, warning = output.data, ""
        if not self.settings.metadata:
            try:
                data = metadata.strip_metadata(data)
            except OutputError as error:
                warning = f"The metadata of this file cannot be removed: {error.message}."
        elif kind:
            data, warning = metadata.embed(data, self._texts(output))
        wanted = self.settings.format
        known = media_type.partition(";")[0].strip().lower()
        extension = _EXTENSIONS.get(known, _UNKNOWN_EXTENSION)
        if wanted is not None and metadata.KINDS[wanted] == kind:
            extension = wanted  # jpg or jpeg, as configured
        name = self._name(output, extension)
        if self._needs_conversion(media_type):  # both files are in one folder
            name = (*self._name(output, str(wanted))[:-1], name[-1])
        return _Piece(output, data, media_type, name, warning)

    def _texts(self, output: Output) -> dict[str, str]:
        size = metadata.size(output.data)
        return {
            "imagen": sidecar.build_embedded_record(output, self.result, self.ticket, self.asked),
            "parameters": sidecar.build_parameters_text(output, self.result, self.ticket, size),
        }

    def _name(self, output: Output, extension: str) -> tuple[str, ...]:
        seed = sidecar.find_seed(output, self.result, self.ticket)
        values = {
            "date": self.now.strftime("%Y-%m-%d"),
            "time": self.now.strftime("%H%M%S"),
            "slug": naming.request_slug(self.asked),
            "input": naming.input_name(self.asked),
            "seed": "noseed" if seed is None else str(seed),
            "backend": naming.slugify(self.ticket.backend),
            "ext": extension,
            "index": str(self.first + output.index),
        }
        template = self.settings.name
        if naming.template_fault(template):
            template = naming.DEFAULT_TEMPLATE
        return naming.render_name(template, values)

    def _write(self, piece: _Piece, folder: Path) -> Path:
        def is_ours(sidecar_data: bytes) -> bool:
            try:
                return as_mapping(json.loads(sidecar_data)).get("ticket") == self.ticket.id
            except ValueError:
                return False

        name = piece.name[-1]
        if self.is_resumed:
            path = find_written(piece.data, folder, name, is_ours=is_ours)
            if path is not None:
                return path
        return write_numbered(piece.data, folder, name, write=self.write)

    def _needs_conversion(self, media_type: str) -> bool:
        wanted = self.settings.format
        is_image = media_type.startswith("image/")
        return wanted is not None and is_image and media_type != f"image/{metadata.KINDS[wanted]}"

    def _apply_format(self, piece: _Piece, path: Path) -> tuple[_Piece, Path]:
        """Convert to the configured format, and delete the engine's file after that.

        If the conversion fails, the engine's file stays, and the warning says why.
        """
        wanted = self.settings.format
        if wanted is None or not self._needs_conversion(piece.media_type):
            return piece, path
        settings, kind = self.settings, metadata.KINDS[wanted]
        try:
            from imagen.outputs.convert import convert_image  # Pillow, which few runs need here

            image = convert_image(
                piece.data, kind, settings.quality, keeps_metadata=settings.metadata
            )
            data, warning = image.data, ""
            if settings.metadata and metadata.kind(piece.data) is None:
                data, warning = metadata.embed(data, self._texts(piece.output))
            converted = piece._replace(
                data=data,
                media_type=f"image/{kind}",
                name=self._name(piece.output, wanted),
                warning=" ".join(filter(None, (piece.warning, *image.remarks, warning))),
                conversion={"from": piece.media_type, "quality": image.quality},
            )
            new = self._write(converted, path.parent)
        except (OSError, OutputError) as error:
            sentence = (
                f"{path} keeps the format of the engine: it could not be converted to {wanted}. "
                f"{_reason(error).rstrip('.')}."
            )
            return piece._replace(warning=f"{piece.warning} {sentence}".strip()), path
        if not os.path.lexists(sidecar_path(path)):  # else it belongs to an earlier run
            with suppress(OSError):
                path.unlink()
        return converted, new

    def _write_sidecar(self, piece: _Piece, path: Path) -> SavedImage | _Problem:
        about = sidecar.describe_file(piece.data, piece.media_type, path.name, self.now)
        width, height = metadata.size(piece.data)
        written = sidecar_path(path) if self.settings.sidecar else None
        saved = SavedImage(
            path=path,
            sidecar=written,
            index=piece.output.index,
            media_type=piece.media_type,
            width=width,
            height=height,
            seed=sidecar.find_seed(piece.output, self.result, self.ticket),
            sha256=about["sha256"],
            warning=piece.warning,
        )
        if written is None or (self.is_resumed and written.is_file()):
            return saved
        conversion = {"converted": dict(piece.conversion)} if piece.conversion else {}
        data = sidecar.build_sidecar(
            piece.output, self.result, self.ticket, self.asked, written={**about, **conversion}
        )
        try:
            write_new(data, written, write=self.write)
        except OSError as error:
            sentence = f"{path} was saved, but not its sidecar: {_reason(error)}."
            return _Problem(sentence, (error,), path)
        return saved


def _describe_failures(failures: Sequence[tuple[str, Exception]]) -> str:
    """`An image cannot be saved in outputs (No space left on device), nor in …`"""
    places = [f"{place} ({_reason(error)})" for place, error in failures]
    return f"An image cannot be saved in {', nor in '.join(places)}."


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return error.message if isinstance(error, OutputError) else str(error)


def find_saved(sidecar_file: Path, *, ticket: str) -> tuple[SavedImage, dict[str, object]] | None:
    """The saved image of this sidecar, and the facts of its generation.

    None if it is not a sidecar, belongs to another ticket, or the image has changed.
    """
    path = sidecar_file.with_name(sidecar_file.name.removesuffix(".json"))
    try:
        record = as_mapping(parse_json(sidecar_file.read_bytes(), strict_numbers=False))
        if record.get("ticket") != ticket:
            return None
        data = path.read_bytes()
    except (OSError, ValueError):
        return None
    digest, facts = sha256(data).hexdigest(), record.get("facts")
    if record.get("sha256") != digest or not isinstance(facts, dict):
        return None
    width, height = metadata.size(data)
    seed, index = record.get("seed"), record.get("index")
    saved = SavedImage(
        path=path,
        sidecar=sidecar_file,
        index=index if isinstance(index, int) else 0,
        media_type=str(record.get("media_type")),
        width=width,
        height=height,
        seed=seed if isinstance(seed, int) else None,
        sha256=digest,
    )
    return saved, facts
