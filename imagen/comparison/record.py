"""compare.json: all that is known of one comparison, written anew after every cell."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagen.core.capabilities import ParameterOutcome
from imagen.core.filesystem import remove_parts, write_whole
from imagen.core.locks import lock
from imagen.core.request import Request, size_values
from imagen.core.ticket import InputImage
from imagen.errors import OutputError, RequestError
from imagen.outputs import strip_folders

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

RECORD_NAME = "compare.json"
RECORD_FORMAT = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Axis(_Frozen):
    """The second axis: one parameter, and the values it takes in turn."""

    name: str
    values: tuple[Any, ...]

    def apply(self, request: Request, value: Any) -> Request:
        """The request with one of the values; `size` is width and height, or an aspect."""
        if self.name == "size":
            return request.with_values(size_values(str(value)))
        if self.name == "prompt" and not isinstance(value, str):
            value = str(value)
        return request.with_values({self.name: value})

    def without_folders(self, request: Request) -> Axis:
        """The axis as it is recorded, with the bare names of files.

        Raises RequestError for a value that no backend could take, and where two files share a
        name.
        """
        values = [strip_folders(v, self.apply(request, v)) for v in self.values]
        for value, count in Counter(map(_hashable, values)).items():
            if count > 1:
                raise RequestError(
                    f"--vary {self.name} names {count} files called {value}.",
                    remedy="Rename them: a comparison knows a file by its name.",
                )
        return Axis(name=self.name, values=tuple(values))


class CellImage(_Frozen):
    """One picture of a cell; it counts as there while its bytes are the same."""

    path: str = Field(description="Below the folder of the comparison.")
    sha256: str
    seed: int | None = None
    width: int | None = None
    height: int | None = None

    def is_in(self, folder: Path) -> bool:
        try:
            return sha256((folder / self.path).read_bytes()).hexdigest() == self.sha256
        except OSError:
            return False


class CellFailure(_Frozen):
    """Why a cell has no picture."""

    code: str
    message: str
    remedy: str = ""


class ComparisonCell(_Frozen):
    """What one model made of one value of the axis."""

    model: str
    workflow: str = Field("", description="The name of the ComfyUI workflow.")
    value: Any = None
    key: str = Field(
        "",
        description="The hash of the complete request, the graph and the model; empty where not "
        "all of it was made.",
    )
    attempt: int = Field(0, description="How often it was made anew.")
    files: tuple[CellImage, ...] = ()
    seed: int | None = None
    seconds: float | None = None
    cost_usd: float | None = None
    receipt: dict[str, ParameterOutcome] = {}
    facts: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
    error: CellFailure | None = None

    @property
    def place(self) -> tuple[object, ...]:
        """What tells this making of it from all others of its comparison."""
        return self.model, _hashable(self.value), self.key, self.attempt

    def is_done(self, key: str, folder: Path) -> bool:
        """Whether it holds just what this key would give, and all of it is still there."""
        return self.key == key and self.is_whole(folder)

    def is_whole(self, folder: Path) -> bool:
        """Whether all that was once made for it is still there."""
        return self.key != "" and bool(self.files) and all(f.is_in(folder) for f in self.files)


class Comparison(_Frozen):
    """One request put to several models, and what came of it so far."""

    imagen: int = RECORD_FORMAT
    token: str = Field(
        default_factory=lambda: os.urandom(8).hex(),
        description="Tells it from other comparisons: a run of it is known by this anywhere.",
    )
    request: Request = Field(description="As it was asked, with the seed that all cells share.")
    inputs: tuple[InputImage, ...] = Field((), description="The images that the user gave.")
    models: tuple[str, ...] = ()
    vary: Axis | None = None
    cells: tuple[ComparisonCell, ...] = Field((), description="Model by model, value by value.")

    @property
    def values(self) -> tuple[Any, ...]:
        """Those of the axis; (None,) where there is none."""
        return self.vary.values if self.vary else (None,)

    @property
    def failed(self) -> tuple[ComparisonCell, ...]:
        return tuple(cell for cell in self.cells if cell.error is not None)

    def failed_among(
        self, models: Collection[str], vary: Axis | None
    ) -> tuple[ComparisonCell, ...]:
        """The failed cells of these models and values; others may have failed in an earlier run."""
        axis = vary.without_folders(self.request) if vary else None
        values = {_hashable(value) for value in (axis.values if axis else (None,))}
        return tuple(c for c in self.failed if c.model in models and _hashable(c.value) in values)

    def cell(self, model: str, value: Any) -> ComparisonCell | None:
        place = (model, _hashable(value))
        return next((c for c in self.cells if (c.model, _hashable(c.value)) == place), None)

    def with_inputs(self, inputs: Iterable[InputImage]) -> Comparison:
        """With these images of the user's; a parameter has one, but for that of the axis."""
        axis = self.vary and self.vary.name
        by_place = {
            (known.parameter, known.name if known.parameter == axis else ""): known
            for known in (*self.inputs, *inputs)
        }
        return self.model_copy(update={"inputs": tuple(by_place.values())})

    def with_cell(self, cell: ComparisonCell) -> Comparison:
        """With this cell in its place, instead of the one that was there."""
        by_place = {(c.model, _hashable(c.value)): c for c in self.cells}
        by_place[cell.model, _hashable(cell.value)] = cell
        places = [(m, _hashable(v)) for m in self.models for v in self.values]
        cells = tuple(by_place[place] for place in places if place in by_place)
        return self.model_copy(update={"cells": cells})


def _hashable(value: Any) -> str:
    """A key for any JSON value; 1 and 1.0 and true differ."""
    return repr(value)


def load_or_create(
    folder: Path, request: Request, models: tuple[str, ...], vary: Axis | None
) -> Comparison:
    """The comparison to go on with: what the folder holds of it, with the new models and values.

    Raises RequestError where the folder holds a comparison of something else.
    """
    old = _read(folder / RECORD_NAME)
    if old is None:
        return Comparison(request=request, models=models, vary=vary)
    _refuse_another(folder, old, request, vary)
    if vary is not None and old.vary is not None:
        vary = Axis(name=vary.name, values=_joined(old.vary.values, vary.values))
    asked = _with_seed(request, old.request)  # it says where the pictures lie
    update = {"request": asked, "models": _joined(old.models, models), "vary": vary}
    return old.model_copy(update=update)


def _with_seed(request: Request, old: Request) -> Request:
    return request if not request.draws_seed else request.with_values({"seed": old.seed})


def _joined(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
    known = {_hashable(value) for value in old}
    return (*old, *(value for value in new if _hashable(value) not in known))


def _refuse_another(folder: Path, old: Comparison, request: Request, vary: Axis | None) -> None:
    known, asked = (_bare(r) for r in (old.request, _with_seed(request, old.request)))
    same_axis = (vary and vary.name) == (old.vary and old.vary.name)
    if asked == known and same_axis:
        return
    what = "with another axis" if asked == known else "of another request"
    prompt = (old.request.prompt or "")[:60]
    raise RequestError(
        f"{folder} holds a comparison {what}: its prompt is {prompt!r}.",
        remedy="Give another folder with --output.",
    )


def _bare(request: Request) -> Any:
    """An older record holds "" where no prompt was asked for."""
    values = request.model_dump(mode="json") | {"prompt": request.prompt or ""}
    return strip_folders(values, request)


def _read(path: Path) -> Comparison | None:
    try:
        found = Comparison.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"{path} can't be read: {error.strerror or error}.") from error
    except ValidationError as error:
        raise OutputError(
            f"{path} is not the record of a comparison.",
            remedy="Move it away, or give another folder with --output.",
        ) from error
    if found.imagen > RECORD_FORMAT:
        raise OutputError(f"{path} was written by a newer imagen.", remedy="Update imagen.")
    return found


@contextmanager
def lock_comparison(folder: Path) -> Iterator[None]:
    """Holds the comparison of this folder for the block: two at once would make all of it twice.

    Raises RequestError where another process has it, OutputError where the folder can't be used.
    """
    missing = [parent for parent in folder.parents if not os.path.lexists(parent)]
    try:
        mine = lock(folder / f".{RECORD_NAME}.lock")
    except OSError as error:
        raise _unwritable(folder, error) from error
    if mine is None:
        raise RequestError(
            f"Another process is at work on the comparison in {folder}.",
            remedy="Let it end first, or give another folder with --output.",
        )
    remove_parts(folder)
    try:
        yield
    finally:
        mine.release()
        with suppress(OSError):  # only empty ones go
            for one in (folder, *missing):
                one.rmdir()


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write it down, whole or not at all."""
    said = strip_folders(comparison.model_dump(mode="json"), comparison.request)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(said, indent=2, ensure_ascii=False) + "\n"
        write_whole(folder / RECORD_NAME, text.encode())
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"The comparison can't be written down in {folder}: {error.strerror or error}.",
        remedy="Make room, or give another folder with --output.",
    )
