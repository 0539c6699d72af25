"""The model that a request names in place of a backend's own: list, find, choose."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
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
"""Where models are looked for unless `models_dir` says otherwise."""
MODEL = Parameter(
    type="string",
    description="Another checkpoint than the backend's own: a name of `imagen models`, or a path.",
)
PIPELINE_INDEX = "model_index.json"
"""The file that makes a folder one model of diffusers."""
_ENDINGS = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth")
_MOST_ENTRIES = 20_000
_DEEPEST = 6
_FEW = 8


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
    """The folder of LoRAs: the given one, else `loras` in `models_dir` if it exists."""
    usual = models_dir.expanduser() / "loras"
    return loras_dir or (usual if os.path.isdir(usual) else None)


def is_path(model: str) -> bool:
    """Whether a model is named by a path: from the root, from home or from here."""
    return model.startswith(("~", ".", "/", "\\")) or bool(PureWindowsPath(model).drive)


def list_models(folder: Path) -> list[str]:
    """The names of the model files and diffusers folders below a folder, `/` between folders.

    Links are followed, but each folder is read once. The depth and the number of entries are
    limited.
    """
    root = folder.expanduser()
    names: list[str] = []
    folders, seen, left = [(root, 0)], set[str](), _MOST_ENTRIES
    while folders and left > 0:
        current, depth = folders.pop()
        if (real := os.path.realpath(current)) in seen:
            continue
        seen.add(real)
        entries: list[Path] = []
        with suppress(OSError), os.scandir(current) as found:
            entries = [Path(entry.path) for entry, _ in zip(found, range(left), strict=False)]
        left -= len(entries)
        for path in entries:
            if path.name.startswith("."):
                continue
            is_file = path.suffix.lower() in _ENDINGS and os.path.isfile(path)
            if is_file or os.path.isfile(path / PIPELINE_INDEX):
                names.append(path.relative_to(root).as_posix())
            elif depth < _DEEPEST and os.path.isdir(path):
                folders.append((path, depth + 1))
    return sorted(names)


def locate_model(
    asked: str, names: Sequence[str], models_dir: Path, *, backend: str, hint: str = "give a path"
) -> tuple[Path, str]:
    """The file or folder of a model that a request names, and its name for the ticket.

    `names` are those in `models_dir`. Raises RequestError where the model is not found.
    """
    path = Path(asked).expanduser().absolute()
    if is_path(asked):
        return path, str(path)
    if (name := find_name(asked, names)) is not None:
        return models_dir.expanduser().absolute() / name, name
    if os.path.exists(path):
        return path, str(path)
    remedy = f"See: imagen models --backend {backend}; or {hint}."
    raise missing_model(asked, names, f"in {models_dir}", remedy)


def find_name(asked: str, names: Sequence[str]) -> str | None:
    """The one of these names that `asked` means, or None.

    It may differ by its separator, its case, a missing folder or ending, or be a part that only
    one name has. Raises RequestError for several equally good matches.
    """
    from imagen.graphs.model_names import spellings  # seldom needed

    part = asked.replace("\\", "/").casefold()
    alike = spellings(asked, names) or [
        name for name in names if part in name.replace("\\", "/").casefold()
    ]
    if len(alike) > 1:
        shown = ", ".join(map(one_line, alike[:_FEW])) + (", …" if len(alike) > _FEW else "")
        raise RequestError(
            f"model {one_line(asked)!r} matches {len(alike)} models: {shown}.",
            remedy="Give the full name of one.",
        )
    return alike[0] if alike else None


def missing_model(asked: str, names: Sequence[str], where: str, remedy: str) -> RequestError:
    """The error for a model that is none of these names; `where` says what lists them."""
    from imagen.graphs.model_names import bare_name, base_name  # for an error only

    bare = [bare_name(base_name(name)) for name in names]
    near = did_you_mean(asked, bare) or did_you_mean(asked, names)
    count = f"which lists {len(names)} model{'s' * (len(names) != 1)}"
    known = f"It lists: {', '.join(map(one_line, names))}.\n" if 0 < len(names) <= _FEW else ""
    return RequestError(
        f"Model {one_line(asked)!r} not found {where}, {count}.{near}", remedy=known + remedy
    )
