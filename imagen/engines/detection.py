"""Find the engines of this machine, and add them to a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from imagen.errors import BackendError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imagen.backends import Detection
    from imagen.config import Addition

    Blocks = Mapping[str, Mapping[str, Any]]


class DetectedKind(NamedTuple):
    """The result of the search for one kind of engine."""

    kind: str
    label: str
    detection: Detection
    error: str = ""
    """The reason why no engine of this kind was found; empty if the search worked."""


class BackendAddition(NamedTuple):
    """What became of the blocks of a detection."""

    addition: Addition
    same: Mapping[str, str]
    """Backends that the configuration has under another name, each with that name."""
    default: str
    """The default backend of the configuration now."""


def detect_engines(url: str = "", *, option: str = "url") -> list[DetectedKind]:
    """Look for each kind of engine at this address, or at the default addresses for "".

    ComfyUI comes first. Raises ConfigError for an invalid address, which `option` names.
    """
    from pydantic import ValidationError

    from imagen.backends import Detection, kinds, load_adapter
    from imagen.core.validation import sentences

    results = []
    for kind in sorted(kinds(), key=lambda kind: (kind != "comfyui", kind)):
        adapter = load_adapter(kind)
        if adapter.detect is None:
            continue
        label = adapter.label or kind
        try:
            results.append(DetectedKind(kind, label, adapter.detect(url)))
        except ValidationError as error:
            raise ConfigError(f"{option}: {sentences(error, model=adapter.config)}.") from error
        except BackendError as error:
            results.append(DetectedKind(kind, label, Detection({}), error.message))
    return results


def merge_blocks(detected: list[DetectedKind]) -> dict[str, Mapping[str, Any]]:
    """The blocks of all kinds by name; of two with the same name, the first."""
    blocks: dict[str, Mapping[str, Any]] = {}
    for one in detected:
        for name, block in one.detection.blocks.items():
            blocks.setdefault(name, block)
    return blocks


def add_detected(path: Path, blocks: Blocks, *, template: str | None = None) -> BackendAddition:
    """Add blocks to a configuration file, except those that it has under another name.

    Raises ConfigError as `add_backends` does.
    """
    from imagen.config import add_backends, check

    same = find_same(blocks, check(path).settings.backends) if path.exists() else {}
    new = {name: block for name, block in blocks.items() if name not in same}
    addition = add_backends(path, new, template=template)
    return BackendAddition(addition, same, check(path).settings.default_backend)


def find_same(blocks: Blocks, existing: Blocks) -> dict[str, str]:
    """Detected backends that the configuration has under another name, each with that name."""

    def without_texts(block: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in block.items() if key not in ("title", "hint")}

    return {
        name: other
        for name, block in blocks.items()
        for other, known in existing.items()
        if name not in existing and without_texts(known) == without_texts(block)
    }


def list_places(blocks: Blocks) -> dict[tuple[str, str], list[str]]:
    """The names of the blocks by the kind of their engine and its address or model."""
    places: dict[tuple[str, str], list[str]] = {}
    for name, block in blocks.items():
        place = str(block["type"]), str(block.get("url") or block.get("model"))
        places.setdefault(place, []).append(name)
    return places
