"""The model that a request names in place of a backend's own: list, find, choose."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Generic

from imagen.backends.base import Config
from imagen.core.capabilities import Parameter, ParameterOutcome
from imagen.core.text import did_you_mean, one_line
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen.core.ticket import Ticket

MODELS_DIR = Path("~/models")
"""The default of `models_dir`."""
MODEL = Parameter(
    type="string",
    description="Another checkpoint than the backend's own: a name of `imagen models`, or a path.",
)
PIPELINE_INDEX = "model_index.json"
"""The file that marks a folder as a diffusers model."""
_SUFFIXES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth")
_MAX_ENTRIES = 20_000
_MAX_DEPTH = 6
_MAX_LISTED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenModel(Generic[Config]):
    """The block of a backend with the model that a request names in place of its own."""

    config: Config
    name: str
    """The name in the ticket's request, by which it is found again."""
    left_out: tuple[str, ...] = ()
    """Keys of the block that belong to its own model and are not used."""

    @classmethod
    def build(
        cls,
        config: Config,
        name: str,
        changes: Mapping[str, object],
        *,
        left_out: tuple[str, ...] = (),
    ) -> ChosenModel[Config]:
        """The block with these changes, and with the defaults of the keys to leave out."""
        set_keys = tuple(key for key in left_out if getattr(config, key))
        fields = type(config).model_fields
        defaults = {key: fields[key].get_default(call_default_factory=True) for key in set_keys}
        changed = config.model_copy(update={**changes, **defaults})
        return cls(config=changed, name=name, left_out=set_keys)

    def put_into(self, ticket: Ticket, asked: str) -> Ticket:
        """The ticket with the model's name, its outcome, and a warning for keys left out."""
        is_mapped = asked != self.name and not os.path.isabs(self.name)
        outcome = ParameterOutcome(
            outcome="mapped" if is_mapped else "applied",
            asked=asked,
            used=self.name if is_mapped else None,
        )
        keys, block = ", ".join(self.left_out), f"backends.{self.config.name}"
        warning = f"Ignored for this model: {keys} in {block}, set for its own model."
        warnings = (*ticket.warnings, warning) if keys else ticket.warnings
        return ticket.model_copy(
            update={
                "request": ticket.request.with_values({"model": self.name}),
                "receipt": ticket.receipt | {"model": outcome},
                "warnings": warnings,
            }
        )


def find_loras_folder(loras_dir: Path | None, models_dir: Path) -> Path | None:
    """The folder of LoRAs: the configured one, else `loras` in `models_dir` where it exists."""
    default = models_dir.expanduser() / "loras"
    return loras_dir or (default if os.path.isdir(default) else None)


def is_path(model: str) -> bool:
    """Whether a model is named by a path: absolute, or relative to home or to this folder."""
    return model.startswith(("~", ".", "/", "\\")) or bool(PureWindowsPath(model).drive)


def list_models(folder: Path) -> list[str]:
    """The names of the model files and diffusers folders below a folder, `/` between folders.

    Links are followed, but each folder is read once; depth and number of entries are limited.
    """
    root = folder.expanduser()
    models: list[str] = []
    open_folders, seen, entries_left = [(root, 0)], set[str](), _MAX_ENTRIES
    while open_folders and entries_left > 0:
        place, depth = open_folders.pop()
        if (real := os.path.realpath(place)) in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(place) as entries:
                paths = [Path(entry.path) for entry in islice(entries, entries_left)]
        except OSError:
            continue
        entries_left -= len(paths)
        for path in paths:
            if path.name.startswith("."):
                continue
            is_file = path.suffix.lower() in _SUFFIXES and os.path.isfile(path)
            if is_file or os.path.isfile(path / PIPELINE_INDEX):
                models.append(path.relative_to(root).as_posix())
            elif depth < _MAX_DEPTH and os.path.isdir(path):
                open_folders.append((path, depth + 1))
    return sorted(models)


def find_name(name: str, known: Sequence[str]) -> str | None:
    """The one of the known names that a name means; None where it means none of them.

    Separator, folder, suffix and case may differ; a part that only one name has is enough. Raises
    RequestError where several names match equally well.
    """
    from imagen.graphs.model_names import spellings  # rarely needed

    part = name.replace("\\", "/").casefold()
    matches = spellings(name, known) or [
        one for one in known if part in one.replace("\\", "/").casefold()
    ]
    if len(matches) > 1:
        listed = ", ".join(map(one_line, matches[:_MAX_LISTED]))
        more = ", …" if len(matches) > _MAX_LISTED else ""
        raise RequestError(
            f"model {one_line(name)!r} matches {len(matches)} models: {listed}{more}.",
            remedy="Give the full name of one.",
        )
    return matches[0] if matches else None


def locate_model(
    name: str,
    known: Sequence[str],
    models_dir: Path,
    *,
    backend: str,
    hint: str = "give a path",
    listed_only: bool = False,
) -> tuple[Path, str]:
    """The file or folder of a model that a request names, and its name for the ticket.

    `known` are the names in `models_dir`; with `listed_only` there are no others. Raises
    RequestError where the model is not found.
    """
    path = Path(name).expanduser().absolute()
    if is_path(name) and not listed_only:
        return path, str(path)
    if (match := find_name(name, known)) is not None:
        return models_dir.expanduser().absolute() / match, match
    if os.path.exists(path) and not listed_only:
        return path, str(path)
    remedy = f"See: imagen models --backend {backend}" + ("" if listed_only else f"; or {hint}.")
    raise model_not_found(name, known, f"in {models_dir}", remedy)


def model_not_found(name: str, known: Sequence[str], place: str, remedy: str) -> RequestError:
    """The error for a model that matches none of the names at a place (`in ~/models`)."""
    from imagen.graphs.model_names import bare_name, base_name  # for an error only

    bare_names = [bare_name(base_name(one)) for one in known]
    hint = did_you_mean(name, bare_names) or did_you_mean(name, known)
    count = f"{len(known)} model{'s' * (len(known) != 1)}"
    if 0 < len(known) <= _MAX_LISTED:
        remedy = f"Known: {', '.join(map(one_line, known))}.\n{remedy}"
    return RequestError(
        f"Model {one_line(name)!r} not found {place} ({count}).{hint}", remedy=remedy
    )
