"""From a request to a model's input: each value under the model's own name, and its fate."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from imagen.backends.replicate import input_names
from imagen.backends.replicate.errors import ATTEMPTS
from imagen.core.capabilities import ParameterOutcome, Receipt, resolve_parameters
from imagen.core.request import LARGEST_SEED, Control, Lora, Restore, Upscale
from imagen.errors import ImagenError, RequestError
from imagen.net.retry import retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.replicate.client import ReplicateClient
    from imagen.backends.replicate.input_names import InputMapping
    from imagen.backends.replicate.input_schema import ModelInput
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request


_GIVEN_TWICE = "it and {other} are one input here, and {other} was asked for too"


@dataclass(slots=True)
class BoundInput:
    """A model's input as it comes about."""

    known: InputMapping
    values: dict[str, Any]
    """Those that will be used, by our names; changed where the model takes another."""
    receipt: Receipt
    input: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str | list[str]] = field(default_factory=dict)
    """Inputs that take a file's address, and our files for them."""

    def put(self, name: str, found: ModelInput, value: Any, why: str = "") -> None:
        """Give this input the value of the parameter `name`, and say so."""
        self.input[found.name] = value
        if found.name != name or value != self.values[name]:
            self.mapped(name, {found.name: value}, why)

    def mapped(self, name: str, used: Any, why: str = "") -> None:
        """The parameter became that; what was clamped before stays so."""
        fate = self.receipt.get(name)
        if fate is not None:
            outcome = "clamped" if fate.outcome == "clamped" else "mapped"
            reason = "; ".join(part for part in (fate.why, why) if part)
            self.receipt[name] = ParameterOutcome(
                outcome=outcome, asked=fate.asked, used=used, why=reason
            )

    def dropped(self, name: str, why: str) -> None:
        """The parameter is not used."""
        fate = self.receipt.get(name)
        if fate is not None:
            self.receipt[name] = ParameterOutcome(outcome="dropped", asked=fate.asked, why=why)
        self.values.pop(name, None)


def resolve_wrapping_seed(
    request: Request, capabilities: Capabilities
) -> tuple[dict[str, Any], Receipt]:
    """As `settle` has it, but for seeds: beyond the last one they begin again at 0, since all that
    are greater would else give one and the same picture."""
    seed, known = request.seed, capabilities.parameters.get("seed")
    end = int(known.max) if known is not None and known.max else LARGEST_SEED
    if seed is None or known is None or seed <= end:
        return resolve_parameters(request, capabilities)
    used = seed % (end + 1)
    values, receipt = resolve_parameters(request.with_values({"seed": used}), capabilities)
    why = f"the model's seeds end at {end}"
    return values, receipt | {
        "seed": ParameterOutcome(outcome="mapped", asked=seed, used=used, why=why)
    }


def bind_input(known: InputMapping, values: Mapping[str, Any], receipt: Receipt) -> BoundInput:
    """The model's input for these values.

    Raises RequestError where an input that the model requires is missing.
    """
    bound = BoundInput(known, dict(values), dict(receipt))
    _put_size(bound)
    for name in list(bound.values):
        if name in known.fields:
            _PUT.get(name, _put_plain)(bound, name, known.fields[name])
        elif name in known.own:
            _put_own(bound, name, known.own[name])
    _put_loras(bound)
    _make_reproducible(bound)
    _refuse_missing(bound)
    return bound


def _put_plain(bound: BoundInput, name: str, found: ModelInput) -> None:
    value = bound.values[name]
    if name in input_names.ONE_SCALE and _is_secondary(bound, name, found):
        other = next(scale for scale in input_names.ONE_SCALE if scale != name)
        bound.dropped(name, _GIVEN_TWICE.format(other=other))
        return
    bound.put(name, found, _as_taken(found, value))


def _is_secondary(bound: BoundInput, name: str, found: ModelInput) -> bool:
    """Whether the other of our words for this input was asked for too, and is nearer to it."""
    both = all(
        scale in bound.values and bound.known.fields.get(scale) is found
        for scale in input_names.ONE_SCALE
    )
    return both and found.name not in input_names.NAMES[name]


def _as_taken(found: ModelInput, value: Any) -> Any:
    """A number as the model has it: whole, or one of its choices."""
    if found.choices and isinstance(value, int | float):
        return min(found.choices, key=lambda choice: abs(choice - value))
    return round(value) if found.type == "int" and isinstance(value, float) else value


def _put_strength(bound: BoundInput, name: str, found: ModelInput) -> None:
    value = bound.values[name]
    why = "it says how much of the picture stays" if found.name in input_names.INVERSE else ""
    theirs = round(1 - value, 4) if why else value
    bound.put(name, found, _in_range(found, theirs), why)


def _in_range(found: ModelInput, value: float) -> float:
    low = value if found.min is None else max(value, found.min)
    return low if found.max is None else min(low, found.max)


def _put_image(bound: BoundInput, name: str, found: ModelInput) -> None:
    _add_file(bound, found, bound.values[name])
    if found.name != name:
        bound.mapped(name, {found.name: _shown(bound.values[name])})


def _put_references(bound: BoundInput, name: str, found: ModelInput) -> None:
    paths = [str(path) for path in bound.values[name]]
    room = len(paths) if found.type == "list" else 1 - (found.name in bound.files)
    for path in paths[:room]:
        _add_file(bound, found, path)
    used = {found.name: [_shown(path) for path in paths[:room]]}
    if room < len(paths):
        _cut(bound, name, used, f"{found.name} takes one picture")
    elif found.name != name:
        bound.mapped(name, used)


def _put_controls(bound: BoundInput, name: str, found: ModelInput) -> None:
    controls = [Control.model_validate(control) for control in bound.values[name]]
    first, kinds = controls[0], bound.known.kinds
    if first.kind not in kinds:
        raise RequestError(
            f"{bound.known.model} takes no control picture of the kind {first.kind!r}.",
            remedy=f"It takes: {', '.join(kinds)}.",
        )
    _add_file(bound, found, first.image)
    used: dict[str, Any] = {found.name: _shown(first.image)}
    strength = next((n for n in input_names.CONTROL_STRENGTHS if n in bound.known.inputs), "")
    if strength:
        used[strength] = bound.input[strength] = first.strength
    if len(controls) > 1:
        _cut(bound, name, used, f"{bound.known.model} takes one control picture")
    else:
        bound.mapped(name, used)


def _put_upscale(bound: BoundInput, name: str, found: ModelInput) -> None:
    asked = Upscale.model_validate(bound.values[name])
    why = "its method is its own" if asked.method else ""
    bound.put(name, found, _as_taken(found, _in_range(found, asked.factor)), why)


def _put_restore(bound: BoundInput, name: str, found: ModelInput) -> None:
    asked = Restore.model_validate(bound.values[name])
    bound.put(name, found, asked.fidelity, "its model is its own" if asked.model else "")


def _put_own(bound: BoundInput, name: str, found: ModelInput) -> None:
    value = bound.values[name]
    if found.name in bound.input:  # the sides have decided it
        if value != bound.input[found.name]:
            bound.mapped(name, bound.input[found.name], "width and height decide it")
        bound.values.pop(name)
    elif found.is_file and (paths := _paths(name, value)):
        for path in paths:
            _add_file(bound, found, path)
    else:
        bound.put(name, found, _as_taken(found, value))


def _put_size(bound: BoundInput) -> None:
    size = bound.known.size
    asked = {side: bound.values[side] for side in input_names.SIDES if side in bound.values}
    if not asked or not size.is_known:
        return
    told = asked if size.is_exact else size.of(*_both(asked))
    told = {name: _side_as_taken(bound, name, value) for name, value in told.items()}
    bound.input |= told
    why = "the nearest that it has" if size.is_off(*_both(asked)) else ""
    for side, value in asked.items():
        if side not in told:
            bound.mapped(side, told, why)
        elif told[side] != value:
            bound.mapped(side, told[side])
            bound.values[side] = told[side]


def _both(asked: Mapping[str, int]) -> tuple[int, int]:
    """Width and height; one that is not asked for is as long as the other."""
    width, height = (asked.get(side) for side in input_names.SIDES)
    return max(width or height or 1, 1), max(height or width or 1, 1)


def _side_as_taken(bound: BoundInput, name: str, value: Any) -> Any:
    return _as_taken(bound.known.inputs[name], value) if name in input_names.SIDES else value


def _put_loras(bound: BoundInput) -> None:
    if "loras" not in bound.values:
        return
    loras = [Lora.model_validate(lora) for lora in bound.values["loras"]]
    used: dict[str, Any] = {}
    slots = bound.known.loras
    if bound.known.lora_list:
        weights, scales = bound.known.lora_list
        used = {weights: [one.name for one in loras], scales: [one.strength for one in loras]}
        slots = ()
    for (weight, scale), lora in zip(slots, loras, strict=False):
        used |= {weight: lora.name, scale: lora.strength}
    used = {name: value for name, value in used.items() if name in bound.known.inputs}
    bound.input |= used
    for name in used.keys() & bound.values.keys():
        bound.mapped(name, used[name], "loras decide it")
        bound.values.pop(name)
    if slots and len(loras) > len(slots):
        _cut(bound, "loras", used, f"it takes at most {len(slots)}")
    else:
        bound.mapped("loras", used)


def _cut(bound: BoundInput, name: str, used: Any, why: str) -> None:
    fate = bound.receipt.get(name)
    if fate is not None:
        bound.receipt[name] = ParameterOutcome(
            outcome="clamped", asked=fate.asked, used=used, why=why
        )


def _add_file(bound: BoundInput, found: ModelInput, path: str) -> None:
    if found.type == "list":
        held = bound.files.setdefault(found.name, [])
        if isinstance(held, list):
            held.append(path)
    else:
        bound.files[found.name] = path


def _make_reproducible(bound: BoundInput) -> None:
    if "seed" not in bound.values:
        return
    for name, (value, _) in input_names.REPRODUCIBLE.items():
        if name in bound.known.inputs:
            bound.input.setdefault(name, value)


def _refuse_missing(bound: BoundInput) -> None:
    here = bound.input.keys() | bound.files.keys()
    missing = [found for found in bound.known.inputs.values() if found.is_required]
    for found in missing:
        if found.name in here:
            continue
        if found is bound.known.fields.get("prompt"):
            bound.input[found.name] = ""
            continue
        words = f" ({found.description})" if found.description else ""
        raise RequestError(
            f"{bound.known.model} can't work without its input {found.name!r}{words}.",
            remedy=f"Ask for it with: --set {found.name}=…",
        )


def _shown(path: str) -> str:
    """A file without its folder."""
    return PurePath(path).name


def _paths(name: str, value: Any) -> list[str]:
    """Our files, where addresses of files are taken; raises RequestError for some of each."""
    given = value if isinstance(value, list | tuple) else [value]
    addresses = [one for one in given if str(one).startswith(("https://", "http://", "data:"))]
    if addresses and len(addresses) < len(given):
        raise RequestError(f"{name} takes files of yours or addresses, not some of each.")
    return [] if addresses else [str(one) for one in given]


_PUT = {
    "strength": _put_strength,
    "image": _put_image,
    "mask": _put_image,
    "references": _put_references,
    "controls": _put_controls,
    "upscale": _put_upscale,
    "restore": _put_restore,
}


_LARGEST_WITHIN = 256 * 1000
"""Bytes of a `data:` address that the API takes as part of an input (its documentation: 256 kB)."""

Files = dict[str, str | list[str]]
"""For each input that takes a file's address, our file or files."""
Uploads = dict[str, dict[str, str]]
"""What lies on Replicate's shelf, by the hash of its content: `id` and `url`."""


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """One of our files."""

    data: bytes
    name: str
    media_type: str

    @property
    def hash(self) -> str:
        return sha256(self.data).hexdigest()

    @property
    def within(self) -> str:
        """As a `data:` address."""
        return f"data:{self.media_type};base64,{b64encode(self.data).decode('ascii')}"

    @property
    def is_small(self) -> bool:
        return len(self.within) <= _LARGEST_WITHIN


def load_files(files: Files) -> dict[str, list[LoadedFile]]:
    """The files' content; raises RequestError for one that can't be read."""
    return {
        name: [_load(name, path) for path in ([paths] if isinstance(paths, str) else paths)]
        for name, paths in files.items()
    }


def upload_files(
    loaded: Mapping[str, list[LoadedFile]], client: ReplicateClient, uploads: Uploads
) -> None:
    """Put what is large on Replicate's shelf, each content once; `uploads` grows as they arrive."""
    for one in (file for files in loaded.values() for file in files):
        if not one.is_small and one.hash not in uploads:
            upload_files = partial(client.upload, one.data, one.name, one.media_type)
            id, url = retry(upload_files, attempts=ATTEMPTS)
            uploads[one.hash] = {"id": id, "url": url}


def file_urls(
    files: Files, loaded: Mapping[str, list[LoadedFile]], uploads: Uploads
) -> dict[str, Any]:
    """The inputs that take a file's address, with the addresses."""
    addresses = {
        name: [one.within if one.is_small else uploads[one.hash]["url"] for one in many]
        for name, many in loaded.items()
    }
    return {
        name: all if isinstance(files[name], list) else all[0] for name, all in addresses.items()
    }


def delete_uploads(uploads: Uploads, client: ReplicateClient) -> None:
    """Take off the shelf what was uploaded; what stays there expires within a day."""
    for one in uploads.values():
        with suppress(ImagenError):
            client.delete(one["id"])


def _load(name: str, path: str) -> LoadedFile:
    from mimetypes import guess_type

    from imagen.core.image_file import media_type

    file = Path(path).expanduser()
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise RequestError(f"{name}: there is no file {file}.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{name}: {file} can't be read: {reason}.") from error
    kind = media_type(data) or guess_type(file.name)[0] or "application/octet-stream"
    return LoadedFile(data, file.name, kind)
