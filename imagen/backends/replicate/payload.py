"""From a request to a model's input: values by the model's names, outcomes, and files.

Small files travel within the input as `data:` URLs, larger ones are uploaded first.
"""

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

_LARGEST_DATA_URL = 256 * 1000
"""Bytes of a `data:` URL that the API accepts in an input (its documentation: 256 kB)."""

Files = dict[str, str | list[str]]
"""For each input that takes URLs of files, the path or paths of local files."""
Uploads = dict[str, dict[str, str]]
"""Files uploaded to Replicate, by the hash of their content: `id` and `url`."""


def resolve_wrapping_seed(
    request: Request, capabilities: Capabilities
) -> tuple[dict[str, Any], Receipt]:
    """`resolve_parameters`, but seeds beyond the model's largest wrap around to 0: if they were
    clamped, all of them would give the same image."""
    seed, parameter = request.seed, capabilities.parameters.get("seed")
    largest = int(parameter.max) if parameter is not None and parameter.max else LARGEST_SEED
    if seed is None or parameter is None or seed <= largest:
        return resolve_parameters(request, capabilities)
    used = seed % (largest + 1)
    values, receipt = resolve_parameters(request.with_values({"seed": used}), capabilities)
    why = f"the model's largest seed is {largest}"
    outcome = ParameterOutcome(outcome="mapped", asked=seed, used=used, why=why)
    return values, receipt | {"seed": outcome}


@dataclass(slots=True)
class BoundInput:
    """A model's input while it is being built."""

    mapping: InputMapping
    values: dict[str, Any]
    """What will be used, by imagen's names; changed where the model takes another value."""
    receipt: Receipt
    input: dict[str, Any] = field(default_factory=dict)
    files: Files = field(default_factory=dict)

    def put(self, name: str, target: ModelInput, value: object, why: str = "") -> None:
        """Set this input to the value of the parameter `name`."""
        self.input[target.name] = value
        if target.name != name or value != self.values[name]:
            self.mark_mapped(name, {target.name: value}, why)

    def put_file(self, target: ModelInput, path: str) -> None:
        if target.type == "list":
            paths = self.files.setdefault(target.name, [])
            if isinstance(paths, list):
                paths.append(path)
        else:
            self.files[target.name] = path

    def mark_mapped(self, name: str, used: object, why: str = "") -> None:
        """Record that the parameter became `used`; one that was clamped stays clamped."""
        previous = self.receipt.get(name)
        if previous is not None:
            self.receipt[name] = ParameterOutcome(
                outcome="clamped" if previous.outcome == "clamped" else "mapped",
                asked=previous.asked,
                used=used,
                why="; ".join(filter(None, (previous.why, why))),
            )

    def mark_clamped(self, name: str, used: object, why: str) -> None:
        """Record that only a part of the parameter is used."""
        if name in self.receipt:
            asked = self.receipt[name].asked
            self.receipt[name] = ParameterOutcome(
                outcome="clamped", asked=asked, used=used, why=why
            )

    def drop(self, name: str, why: str) -> None:
        """Record that the parameter is not used."""
        if name in self.receipt:
            asked = self.receipt[name].asked
            self.receipt[name] = ParameterOutcome(outcome="dropped", asked=asked, why=why)
        self.values.pop(name, None)


def bind_input(mapping: InputMapping, values: Mapping[str, Any], receipt: Receipt) -> BoundInput:
    """The model's input for these values.

    Raises RequestError where an input that the model requires is missing.
    """
    bound = BoundInput(mapping, dict(values), dict(receipt))
    _put_size(bound)
    for name in list(bound.values):
        if name in mapping.fields:
            _put_field(bound, name, mapping.fields[name])
        elif name in mapping.extra:
            _put_extra(bound, name, mapping.extra[name])
    if "loras" in bound.values:
        _put_loras(bound)
    if "seed" in bound.values:
        for name, (value, _) in input_names.REPRODUCIBLE.items():
            if name in mapping.inputs:
                bound.input.setdefault(name, value)
    for target in mapping.inputs.values():
        if not target.is_required or target.name in bound.input or target.name in bound.files:
            continue
        if target is not mapping.fields.get("prompt"):
            description = f" ({target.description})" if target.description else ""
            raise RequestError(
                f"{mapping.model} requires the input {target.name!r}{description}.",
                remedy=f"Set it with: --set {target.name}=…",
            )
        bound.input[target.name] = ""
    return bound


def _put_size(bound: BoundInput) -> None:
    size = bound.mapping.size
    requested = {side: bound.values[side] for side in input_names.SIDES if side in bound.values}
    if not requested or not size.is_known:
        return
    # A side that was not requested is as long as the other.
    width = max(requested.get("width") or requested.get("height") or 1, 1)
    height = max(requested.get("height") or requested.get("width") or 1, 1)
    chosen = dict(requested) if size.is_exact else size.values_for(width, height)
    for side in input_names.SIDES:
        if side in chosen:
            chosen[side] = _fit_number(bound.mapping.inputs[side], chosen[side])
    bound.input |= chosen
    why = "the nearest that the model has" if size.is_approximate(width, height) else ""
    for side, value in requested.items():
        if side not in chosen:
            bound.mark_mapped(side, chosen, why)
        elif chosen[side] != value:
            bound.mark_mapped(side, chosen[side])
            bound.values[side] = chosen[side]


def _put_field(bound: BoundInput, name: str, target: ModelInput) -> None:
    value, mapping = bound.values[name], bound.mapping
    match name:
        case "image" | "mask":
            bound.put_file(target, value)
            if target.name != name:
                bound.mark_mapped(name, {target.name: PurePath(value).name})
        case "references":
            _put_references(bound, name, target)
        case "controls":
            _put_controls(bound, name, target)
        case "strength":
            is_inverse = target.name in input_names.INVERSE_STRENGTHS
            why = "it says how much of the image stays" if is_inverse else ""
            strength = round(1 - value, 4) if is_inverse else value
            bound.put(name, target, _clamp(target, strength), why)
        case "upscale":
            upscale = Upscale.model_validate(value)
            why = "the model has its own method" if upscale.method else ""
            factor = _fit_number(target, _clamp(target, upscale.factor))
            bound.put(name, target, factor, why)
        case "restore":
            restore = Restore.model_validate(value)
            why = "the model has its own method" if restore.model else ""
            bound.put(name, target, restore.fidelity, why)
        case "cfg" | "guidance":
            other = "guidance" if name == "cfg" else "cfg"
            shares_input = other in bound.values and mapping.fields.get(other) is target
            if shares_input and target.name not in input_names.NAMES[name]:
                bound.drop(name, f"the model has one guidance input, and {other} sets it")
            else:
                bound.put(name, target, _fit_number(target, value))
        case _:
            bound.put(name, target, _fit_number(target, value))


def _put_references(bound: BoundInput, name: str, target: ModelInput) -> None:
    paths = [str(path) for path in bound.values[name]]
    room = len(paths) if target.type == "list" else 1 - (target.name in bound.files)
    for path in paths[:room]:
        bound.put_file(target, path)
    used = {target.name: [PurePath(path).name for path in paths[:room]]}
    if room < len(paths):
        bound.mark_clamped(name, used, f"{target.name} takes one image")
    elif target.name != name:
        bound.mark_mapped(name, used)


def _put_controls(bound: BoundInput, name: str, target: ModelInput) -> None:
    controls = [Control.model_validate(control) for control in bound.values[name]]
    first, mapping = controls[0], bound.mapping
    if first.kind not in mapping.control_kinds:
        raise RequestError(
            f"{mapping.model} takes no control image of the kind {first.kind!r}.",
            remedy=f"It takes: {', '.join(mapping.control_kinds)}.",
        )
    bound.put_file(target, first.image)
    used: dict[str, object] = {target.name: PurePath(first.image).name}
    for strength in input_names.CONTROL_STRENGTHS:
        if strength in mapping.inputs:
            used[strength] = bound.input[strength] = first.strength
            break
    if len(controls) > 1:
        bound.mark_clamped(name, used, f"{mapping.model} takes one control image")
    else:
        bound.mark_mapped(name, used)


def _put_extra(bound: BoundInput, name: str, target: ModelInput) -> None:
    """Set an input that no request field means."""
    value = bound.values[name]
    if target.name in bound.input:  # by the size
        if value != bound.input[target.name]:
            bound.mark_mapped(name, bound.input[target.name], "width and height take precedence")
        bound.values.pop(name)
        return
    items = value if isinstance(value, list | tuple) else [value]
    urls = [one for one in items if str(one).startswith(("https://", "http://", "data:"))]
    if not target.is_file or len(urls) == len(items):
        bound.put(name, target, _fit_number(target, value))
    elif urls:
        raise RequestError(f"{name} takes files or URLs, not both.")
    else:
        for path in items:
            bound.put_file(target, str(path))


def _put_loras(bound: BoundInput) -> None:
    loras = [Lora.model_validate(lora) for lora in bound.values["loras"]]
    slots = bound.mapping.lora_slots
    used: dict[str, object] = {}
    if bound.mapping.lora_list:
        weights, scales = bound.mapping.lora_list
        used = {weights: [one.name for one in loras], scales: [one.strength for one in loras]}
        slots = ()
    for (weight, scale), lora in zip(slots, loras, strict=False):
        used |= {weight: lora.name, scale: lora.strength}
    used = {name: value for name, value in used.items() if name in bound.mapping.inputs}
    bound.input |= used
    for name in used.keys() & bound.values.keys():
        bound.mark_mapped(name, used[name], "loras take precedence")
        bound.values.pop(name)
    if slots and len(loras) > len(slots):
        bound.mark_clamped("loras", used, f"the model takes at most {len(slots)}")
    else:
        bound.mark_mapped("loras", used)


def _fit_number(target: ModelInput, value: Any) -> Any:
    """A number as the model takes it: whole, or the nearest of its choices."""
    if target.choices and isinstance(value, int | float):
        return min(target.choices, key=lambda choice: abs(choice - value))
    return round(value) if target.type == "int" and isinstance(value, float) else value


def _clamp(target: ModelInput, value: float) -> float:
    value = value if target.min is None else max(value, target.min)
    return value if target.max is None else min(value, target.max)


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """The content of a local file."""

    data: bytes
    name: str
    media_type: str

    @property
    def hash(self) -> str:
        return sha256(self.data).hexdigest()

    @property
    def data_url(self) -> str:
        return f"data:{self.media_type};base64,{b64encode(self.data).decode('ascii')}"

    @property
    def is_small(self) -> bool:
        return len(self.data_url) <= _LARGEST_DATA_URL


def load_files(files: Files) -> dict[str, list[LoadedFile]]:
    """Read the files of each input; raises RequestError for one that cannot be read."""
    from mimetypes import guess_type

    from imagen.core.image_file import media_type

    loaded: dict[str, list[LoadedFile]] = {}
    for name, paths in files.items():
        for path in [paths] if isinstance(paths, str) else paths:
            file = Path(path).expanduser()
            try:
                data = file.read_bytes()
            except FileNotFoundError as error:
                raise RequestError(f"{name}: {file} not found.") from error
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise RequestError(f"{name}: {file} cannot be read: {reason}.") from error
            kind = media_type(data) or guess_type(file.name)[0] or "application/octet-stream"
            loaded.setdefault(name, []).append(LoadedFile(data, file.name, kind))
    return loaded


def upload_files(
    loaded: Mapping[str, list[LoadedFile]], client: ReplicateClient, uploads: Uploads
) -> None:
    """Upload large files, each content once; adds them to `uploads` as they arrive."""
    for one in (file for files in loaded.values() for file in files):
        if not one.is_small and one.hash not in uploads:
            upload = partial(client.upload, one.data, one.name, one.media_type)
            id, url = retry(upload, attempts=ATTEMPTS)
            uploads[one.hash] = {"id": id, "url": url}


def file_urls(
    files: Files, loaded: Mapping[str, list[LoadedFile]], uploads: Uploads
) -> dict[str, str | list[str]]:
    """The URLs to set in the input for files that are small or uploaded."""
    urls = {
        name: [one.data_url if one.is_small else uploads[one.hash]["url"] for one in several]
        for name, several in loaded.items()
    }
    return {name: all if isinstance(files[name], list) else all[0] for name, all in urls.items()}


def delete_uploads(uploads: Uploads, client: ReplicateClient) -> None:
    """Delete uploaded files; those that cannot be deleted expire within a day."""
    for upload in uploads.values():
        with suppress(ImagenError):
            client.delete(upload["id"])
