"""compare.json: the record of one comparison, rewritten after every cell."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from imagen.comparison.axes import BACKEND_AXIS, Axis, combine, describe_value, values_key
from imagen.core.capabilities import ParameterOutcome
from imagen.core.filesystem import lock, remove_parts, write_whole
from imagen.core.request import Request
from imagen.core.text import did_you_mean
from imagen.core.ticket import InputImage
from imagen.errors import OutputError, RequestError
from imagen.outputs import strip_folders

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

RECORD_NAME = "compare.json"
RECORD_FORMAT = 2
_OTHER_FOLDER = "Give another folder with --output."


class _RecordModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


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
    """What one model generated for one combination of values."""

    model: str
    workflow: str = Field("", description="The name of the ComfyUI workflow.")
    values: dict[str, Any] = Field({}, description="By the names of the axes.")
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
    parameters: dict[str, Any] = Field({}, description="Every value that was used.")
    receipt: dict[str, ParameterOutcome] = {}
    facts: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
    error: CellFailure | None = None
    same_as: dict[str, Any] | None = Field(
        None,
        description="The values of the cell of this model whose request is the same, as the model "
        "does not take what differs; its images are those of that cell.",
    )

    @property
    def place(self) -> tuple[str, str]:
        """What distinguishes it from the other cells."""
        return self.model, values_key(self.values)

    @property
    def identity(self) -> tuple[object, ...]:
        """What distinguishes this attempt from all others of its comparison."""
        return *self.place, self.key, self.attempt

    @property
    def label(self) -> str:
        """`sd15, steps 4, cfg 2`"""
        parts = (describe_value(name, value) for name, value in self.values.items())
        return ", ".join((self.model, *parts))

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
    job: str = Field("", description="The job of the queue that generates it, if one does.")
    request: Request = Field(description="As it was given, with the seed that all cells share.")
    has_own_seeds: bool = Field(False, description="Whether each cell has a seed of its own.")
    inputs: tuple[InputImage, ...] = Field((), description="The user's input images.")
    models: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = ()
    cells: tuple[ComparisonCell, ...] = Field((), description="By model, then by values.")

    @model_validator(mode="before")
    @classmethod
    def _read_format_1(cls, data: Any) -> Any:
        """Format 1 had at most one axis, `vary`, and a cell had its `value`."""
        if not isinstance(data, dict) or data.get("imagen") != 1:
            return data
        vary = data.get("vary")
        name = vary.get("name") if isinstance(vary, dict) else None
        cells = data.get("cells")
        if isinstance(cells, list):
            cells = [
                cell | {"values": {name: cell.get("value")}}
                if name and isinstance(cell, dict)
                else cell
                for cell in cells
            ]
        new = {"imagen": RECORD_FORMAT, "axes": [vary] if vary else [], "cells": cells}
        return data | new

    @property
    def failed(self) -> tuple[ComparisonCell, ...]:
        return tuple(cell for cell in self.cells if cell.error is not None)

    def failed_among(
        self, models: Collection[str], axes: Sequence[Axis]
    ) -> tuple[ComparisonCell, ...]:
        """The failed cells of these models and values; others may have failed in earlier runs."""
        wanted = {values_key(values) for values in combine([a.without_folders() for a in axes])}
        return tuple(c for c in self.failed if c.model in models and c.place[1] in wanted)

    def cell(self, model: str, values: Mapping[str, object]) -> ComparisonCell | None:
        place = model, values_key(values)
        return next((cell for cell in self.cells if cell.place == place), None)

    def with_inputs(self, inputs: Iterable[InputImage]) -> Comparison:
        """A copy with these input images; a parameter has one, except that of an axis."""
        varied = {name for axis in self.axes for name in axis.parameters}
        known = {
            (one.parameter, one.name if one.parameter in varied else ""): one
            for one in (*self.inputs, *inputs)
        }
        return self.model_copy(update={"inputs": tuple(known.values())})

    def with_cell(self, cell: ComparisonCell) -> Comparison:
        """A copy with this cell in its place."""
        return self.model_copy(update={"cells": (*self.cells, cell)}).in_order()

    def with_shared_images(self) -> Comparison:
        """A copy in which each cell that is the same as another has the images of that one."""
        shared = ("key", "files", "seed", "seconds", "parameters", "facts")
        cells = []
        for cell in self.cells:
            first = None if cell.same_as is None else self.cell(cell.model, cell.same_as)
            if first is not None and first.files and first.error is None:
                cell = cell.model_copy(update={name: getattr(first, name) for name in shared})
            cells.append(cell)
        return self.model_copy(update={"cells": tuple(cells)})

    def in_order(self) -> Comparison:
        """A copy with its cells by model, then by values; of several for one place, the last."""
        by_place = {cell.place: cell for cell in self.cells}
        keys = [values_key(values) for values in combine(self.axes)]
        places = [(model, key) for model in self.models for key in keys]
        cells = tuple(by_place[place] for place in places if place in by_place)
        return self.model_copy(update={"cells": cells})

    def without(self, skipped: Sequence[Axis]) -> Comparison:
        """A copy without these values of its axes; those of the axis `backend` are models.

        Raises RequestError if there is no such axis or value, and if nothing would be left.
        """
        lists = {BACKEND_AXIS: self.models} | {axis.name: axis.values for axis in self.axes}
        for skip in skipped:
            if skip.name not in lists:
                raise RequestError(
                    f"--skip {skip.name}: this comparison has no such axis."
                    + did_you_mean(skip.name, lists),
                    remedy=f"Its axes: {', '.join(lists)}.",
                )
            keys = {repr(value) for value in lists[skip.name]}
            for value in skip.without_folders().values:
                if repr(value) not in keys:
                    known = [str(one) for one in lists[skip.name]]
                    raise RequestError(
                        f"--skip {skip.name}: this comparison has no value {value!r}."
                        + did_you_mean(str(value), known),
                        remedy=f"Its values: {', '.join(known)}.",
                    )
            gone = {repr(value) for value in skip.without_folders().values}
            left = tuple(value for value in lists[skip.name] if repr(value) not in gone)
            if not left:
                raise RequestError(f"--skip {skip.name}: this would leave out all of its values.")
            lists[skip.name] = left
        axes = tuple(Axis(name=axis.name, values=lists[axis.name]) for axis in self.axes)
        shown = {values_key(values) for values in combine(axes)}
        models = lists[BACKEND_AXIS]
        cells = tuple(c for c in self.cells if c.model in models and c.place[1] in shown)
        return self.model_copy(update={"models": models, "axes": axes, "cells": cells})


def load_or_create(
    folder: Path, request: Request, models: tuple[str, ...], axes: Sequence[Axis]
) -> Comparison:
    """The comparison in the folder, extended by these models and values, or a new one.

    Raises RequestError if the folder holds a comparison of something else.
    """
    old = read_comparison(folder)
    if old is None:
        return Comparison(request=request, models=models, axes=tuple(axes))
    if request.draws_seed:
        request = request.with_values({"seed": old.request.seed})
    is_same_request = _comparable(request) == _comparable(old.request)
    known = {axis.name: axis.values for axis in old.axes}
    if not is_same_request or known.keys() != {axis.name for axis in axes}:
        what = "of another request"
        if is_same_request:
            what = f"with {', '.join(known)} as its axes" if known else "without axes"
        prompt = (old.request.prompt or "")[:60]
        raise RequestError(
            f"{folder} holds a comparison {what}: its prompt is {prompt!r}.", remedy=_OTHER_FOLDER
        )
    merged = tuple(Axis(name=a.name, values=_union(known[a.name], a.values)) for a in axes)
    # The new request has the paths of the input images, which the record does not.
    update = {"request": request, "models": _union(old.models, models), "axes": merged}
    return old.model_copy(update=update).in_order()


def _union(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
    known = {*map(repr, old)}
    return (*old, *(value for value in new if repr(value) not in known))


def _comparable(request: Request) -> object:
    """Without folders; an older record holds "" if no prompt was given."""
    values = request.model_dump(mode="json") | {"prompt": request.prompt or ""}
    return strip_folders(values, request)


def read_comparison(folder: Path) -> Comparison | None:
    """The record in the folder; None if it has none. Raises OutputError."""
    path = folder / RECORD_NAME
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


def strip_record(comparison: Comparison) -> Comparison:
    """The comparison with file names in place of the user's paths."""
    return Comparison.model_validate(_plain_values(comparison))


def _plain_values(comparison: Comparison) -> object:
    return strip_folders(comparison.model_dump(mode="json"), comparison.request)


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write the record atomically."""
    values = _plain_values(comparison)
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
