"""compare.json: the record of one comparison, rewritten after every cell."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagen.core.capabilities import ParameterOutcome
from imagen.core.filesystem import lock, remove_parts, write_whole
from imagen.core.request import Request, size_values
from imagen.core.ticket import InputImage
from imagen.errors import OutputError, RequestError
from imagen.outputs import strip_folders

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

RECORD_NAME = "compare.json"
RECORD_FORMAT = 1
_OTHER_FOLDER = "Give another folder with --output."


class _RecordModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Axis(_RecordModel):
    """The second axis: one parameter, and its values."""

    name: str
    values: tuple[Any, ...]

    def apply(self, request: Request, value: object) -> Request:
        """The request with one of the values; `size` sets width and height, or an aspect ratio."""
        if self.name == "size":
            return request.with_values(size_values(str(value)))
        if self.name == "prompt" and not isinstance(value, str):
            value = str(value)
        return request.with_values({self.name: value})

    def without_folders(self, request: Request) -> Axis:
        """The axis as it is recorded, with file names in place of paths.

        Raises RequestError if a backend could take no such value, and if two files share a name.
        """
        values = [strip_folders(value, self.apply(request, value)) for value in self.values]
        for value, count in Counter(map(_key_of, values)).items():
            if count > 1:
                raise RequestError(
                    f"--vary {self.name} has {count} files named {value}.",
                    remedy="Rename them: a comparison identifies a file by its name.",
                )
        return Axis(name=self.name, values=tuple(values))


class CellImage(_RecordModel):
    """One image of a cell; it counts as present while its bytes are the same."""

    path: str = Field(description="Relative to the folder of the comparison.")
    sha256: str
    seed: int | None = None
    width: int | None = None
    height: int | None = None

    def is_in(self, folder: Path) -> bool:
        try:
            return sha256((folder / self.path).read_bytes()).hexdigest() == self.sha256
        except OSError:
            return False


class CellFailure(_RecordModel):
    """Why a cell has no image."""

    code: str
    message: str
    remedy: str = ""


class ComparisonCell(_RecordModel):
    """What one model generated for one value of the axis."""

    model: str
    workflow: str = Field("", description="The name of the ComfyUI workflow.")
    value: Any = None
    key: str = Field(
        "",
        description="The hash of the complete request, the graph and the model; empty if the cell "
        "is incomplete.",
    )
    attempt: int = Field(0, description="How often the cell was generated again.")
    files: tuple[CellImage, ...] = ()
    seed: int | None = None
    seconds: float | None = None
    cost_usd: float | None = None
    receipt: dict[str, ParameterOutcome] = {}
    facts: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
    error: CellFailure | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What distinguishes this attempt from all others of its comparison."""
        return self.model, _key_of(self.value), self.key, self.attempt

    def is_done(self, key: str, folder: Path) -> bool:
        """Whether it holds what this key would generate, and all of it is present."""
        return self.key == key and self.is_complete(folder)

    def is_complete(self, folder: Path) -> bool:
        """Whether everything that was generated for it is present."""
        return self.key != "" and bool(self.files) and all(f.is_in(folder) for f in self.files)


class Comparison(_RecordModel):
    """One request on several models, and the results so far."""

    imagen: int = RECORD_FORMAT
    token: str = Field(
        default_factory=lambda: os.urandom(8).hex(),
        description="A random identifier from which the ids of its jobs are derived.",
    )
    request: Request = Field(description="As it was given, with the seed that all cells share.")
    inputs: tuple[InputImage, ...] = Field((), description="The user's input images.")
    models: tuple[str, ...] = ()
    vary: Axis | None = None
    cells: tuple[ComparisonCell, ...] = Field((), description="By model, then by value.")

    @property
    def values(self) -> tuple[Any, ...]:
        """The values of the axis; (None,) without an axis."""
        return self.vary.values if self.vary else (None,)

    @property
    def failed(self) -> tuple[ComparisonCell, ...]:
        return tuple(cell for cell in self.cells if cell.error is not None)

    def failed_among(
        self, models: Collection[str], vary: Axis | None
    ) -> tuple[ComparisonCell, ...]:
        """The failed cells of these models and values; others may have failed in earlier runs."""
        axis = vary.without_folders(self.request) if vary else None
        values = {_key_of(value) for value in (axis.values if axis else (None,))}
        return tuple(c for c in self.failed if c.model in models and _key_of(c.value) in values)

    def cell(self, model: str, value: object) -> ComparisonCell | None:
        place = (model, _key_of(value))
        return next((c for c in self.cells if (c.model, _key_of(c.value)) == place), None)

    def with_inputs(self, inputs: Iterable[InputImage]) -> Comparison:
        """A copy with these input images; a parameter has one, except that of the axis."""
        axis = self.vary and self.vary.name
        by_place = {
            (image.parameter, image.name if image.parameter == axis else ""): image
            for image in (*self.inputs, *inputs)
        }
        return self.model_copy(update={"inputs": tuple(by_place.values())})

    def with_cell(self, cell: ComparisonCell) -> Comparison:
        """A copy with this cell in its place."""
        by_place = {(c.model, _key_of(c.value)): c for c in (*self.cells, cell)}
        places = [(model, _key_of(value)) for model in self.models for value in self.values]
        cells = tuple(by_place[place] for place in places if place in by_place)
        return self.model_copy(update={"cells": cells})


def _key_of(value: object) -> str:
    """A dictionary key for any JSON value; 1, 1.0 and true differ."""
    return repr(value)


def load_or_create(
    folder: Path, request: Request, models: tuple[str, ...], vary: Axis | None
) -> Comparison:
    """The comparison in the folder, extended by these models and values, or a new one.

    Raises RequestError if the folder holds a comparison of something else.
    """
    old = _read_comparison(folder / RECORD_NAME)
    if old is None:
        return Comparison(request=request, models=models, vary=vary)
    if request.draws_seed:
        request = request.with_values({"seed": old.request.seed})
    is_same_request = _comparable(request) == _comparable(old.request)
    if not is_same_request or (vary and vary.name) != (old.vary and old.vary.name):
        what = "with another axis" if is_same_request else "of another request"
        prompt = (old.request.prompt or "")[:60]
        raise RequestError(
            f"{folder} holds a comparison {what}: its prompt is {prompt!r}.", remedy=_OTHER_FOLDER
        )
    if vary is not None and old.vary is not None:
        vary = Axis(name=vary.name, values=_union(old.vary.values, vary.values))
    # The new request has the paths of the input images, which the record does not.
    update = {"request": request, "models": _union(old.models, models), "vary": vary}
    return old.model_copy(update=update)


def _union(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
    known = {_key_of(value) for value in old}
    return (*old, *(value for value in new if _key_of(value) not in known))


def _comparable(request: Request) -> object:
    """Without folders; an older record holds "" if no prompt was given."""
    values = request.model_dump(mode="json") | {"prompt": request.prompt or ""}
    return strip_folders(values, request)


def _read_comparison(path: Path) -> Comparison | None:
    try:
        comparison = Comparison.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValidationError as error:
        raise OutputError(
            f"{path} is not the record of a comparison.",
            remedy="Move it away, or give another folder with --output.",
        ) from error
    if comparison.imagen > RECORD_FORMAT:
        raise OutputError(f"{path} was written by a newer imagen.", remedy="Update imagen.")
    return comparison


@contextmanager
def lock_comparison(folder: Path) -> Iterator[None]:
    """Lock the comparison of this folder for the block: two at once would generate all twice.

    Raises RequestError if another process has it, and OutputError if the folder cannot be used.
    """
    missing = [parent for parent in folder.parents if not os.path.lexists(parent)]
    try:
        held = lock(folder / f".{RECORD_NAME}.lock")
    except OSError as error:
        raise _unwritable(folder, error) from error
    if held is None:
        raise RequestError(
            f"Another process is working on the comparison in {folder}.",
            remedy="Wait until it ends, or give another folder with --output.",
        )
    remove_parts(folder)
    try:
        yield
    finally:
        held.release()
        with suppress(OSError):  # removes only empty folders
            for one in (folder, *missing):
                one.rmdir()


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write the record atomically."""
    values = strip_folders(comparison.model_dump(mode="json"), comparison.request)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        write_whole(folder / RECORD_NAME, text.encode())
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"The comparison cannot be written to {folder}: {error.strerror or error}.",
        remedy="Free disk space, or give another folder with --output.",
    )
