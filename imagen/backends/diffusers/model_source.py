"""Where a backend's model lies, and of which family it is: read from its files, without torch."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from imagen.backends.diffusers import families
from imagen.core.text import one_line
from imagen.errors import ConfigError
from imagen.model_files.headers import read_weights
from imagen.model_files.identify import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.families import Family

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = (".safetensors", ".ckpt", ".pth", ".pt", ".bin", ".gguf")
_KEEPS = ("safetensors", "bin")
_BY_NAME = (
    (r"flux\.?2", "flux2"),
    (r"flux", "flux1"),
    (r"stable-diffusion-3|sd-?3", "sd3"),
    (r"xl|sdxl", "sdxl"),
    (r"stable-diffusion-2|sd-?2", "sd2"),
    (r"stable-diffusion-v1|sd-?v?1", "sd1"),
)
_VARIANTS = ("schnell", "fill", "inpaint", "klein-base", "klein")
_INDEX = "model_index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model, as far as it is known without loading it."""

    kind: Literal["hub", "folder", "file"]
    where: str
    """The hub's `owner/name`, or a path."""
    family: Family
    variant: str = ""
    is_part: bool = False
    """Whether the file holds the diffusion model alone."""
    size_bytes: int | None = None
    folder: Path | None = None
    """Where its files lie: for one of the hub, in the hub's cache, if they do."""

    @property
    def name(self) -> str:
        """What a record may tell of it: the hub's `owner/name`, or the file's or folder's name."""
        return self.where if self.kind == "hub" else Path(self.where).absolute().name


def read_source(config: DiffusersConfig) -> Source:
    """What the configuration's `model` is.

    Raises ConfigError with a sentence where it isn't there, isn't whole, or is of a family that
    this adapter doesn't run.
    """
    path = Path(config.model).expanduser()
    if os.path.isdir(path):
        return _folder(config, "folder", path)
    if os.path.isfile(path) or _looks_like_a_path(config.model):
        return _file(config, path)
    if HUB_ID.fullmatch(config.model) is None:
        raise ConfigError(
            f"backends.{config.name}.model: {config.model!r} is no file, no folder and no"
            " owner/name of the hub."
        )
    cached = cached_folder(config.model, os.environ)
    return _unseen(config) if cached is None else _folder(config, "hub", cached)


def _looks_like_a_path(model: str) -> bool:
    is_file = model.lower().endswith(_FILES)
    return is_file or "\\" in model or model.startswith((".", "/", "~")) or model.count("/") > 1


def _file(config: DiffusersConfig, path: Path) -> Source:
    found = read_checkpoint(path)
    if path.suffix == ".gguf" or read_weights(path).format == "gguf":
        raise ConfigError(
            f"{path} is a GGUF file, which this adapter doesn't load.",
            remedy="Use it with a backend of type sdcpp, or take the safetensors file.",
        )
    if found.role not in ("checkpoint", "diffusion_model", "unknown"):
        raise ConfigError(f"{path} is a {found.role}, where a model was expected.")
    return Source(
        kind="file",
        where=str(path),
        family=_family(config, config.family or found.family, found.variant, str(path)),
        variant=found.variant,
        is_part=found.role == "diffusion_model",
        size_bytes=found.size_bytes,
    )


def _folder(config: DiffusersConfig, kind: Literal["hub", "folder"], path: Path) -> Source:
    index = _read_json(path / _INDEX)
    if index is None:
        raise ConfigError(
            f"{path} is no diffusers folder: it has no {_INDEX}.",
            remedy="Name the folder that has one, or one safetensors file.",
        )
    pipeline = one_line(str(index.get("_class_name", "")), limit=60)
    name, variant = _told(path, families.PIPELINES.get(pipeline, ""))
    return Source(
        kind=kind,
        where=config.model if kind == "hub" else str(path),
        family=_family(config, config.family or name, variant, f"a {pipeline or 'pipeline'}"),
        variant=variant,
        size_bytes=_size(path),
        folder=path,
    )


def _told(path: Path, family: str) -> tuple[str, str]:
    """The family and variant that the configs of the parts tell."""
    unet = _read_json(path / "unet" / "config.json") or {}
    transformer = _read_json(path / "transformer" / "config.json") or {}
    if family == "sd1" and unet.get("cross_attention_dim") == 1024:
        family = "sd2"
    if family == "flux1":
        return family, _flux_variant(transformer)
    if family == "flux2":
        index = _read_json(path / _INDEX) or {}
        return family, "klein" if index.get("is_distilled") else "klein-base"
    return family, {9: "inpaint", 8: "edit"}.get(unet.get("in_channels", 4), "")


def _flux_variant(transformer: Mapping[str, Any]) -> str:
    by_channels = {384: "fill", 128: "control"}.get(transformer.get("in_channels", 64))
    return by_channels or ("dev" if transformer.get("guidance_embeds") else "schnell")


def _unseen(config: DiffusersConfig) -> Source:
    """A model of the hub that was never fetched: its family is what its name says."""
    name = config.model.lower()
    told = next((family for word, family in _BY_NAME if re.search(word, name)), "")
    variant = next((word for word in _VARIANTS if word in name), "")
    family = config.family or told
    if not family:
        raise ConfigError(
            f"backends.{config.name}.model: of which family {config.model} is can't be told before"
            " it is there.",
            remedy=f"Set `family` to one of: {', '.join(families.NAMES)}.",
        )
    return Source(
        kind="hub",
        where=config.model,
        family=_family(config, family, variant, config.model),
        variant=variant,
    )


def _family(config: DiffusersConfig, name: str, variant: str, what: str) -> Family:
    found = families.known(name, variant)
    if found is None:
        is_a = f"is of the family {' '.join(filter(None, (name, variant)))}, which" if name else ""
        raise ConfigError(
            f"backends.{config.name}.model: {what} {is_a or 'is of a family that'} this adapter"
            " doesn't run.",
            remedy=f"It runs: {', '.join(families.NAMES)}.",
        )
    return found


def cached_folder(model: str, environ: Mapping[str, str]) -> Path | None:
    """Where the hub's own cache keeps this model; None where it doesn't, or not its index."""
    home = environ.get("HF_HOME") or _in_home(environ)
    hub = Path(environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
    folder = hub / f"models--{model.replace('/', '--')}"
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    snapshot = folder / "snapshots" / Path(commit).name
    return snapshot if os.path.isfile(snapshot / _INDEX) else None


def _in_home(environ: Mapping[str, str]) -> Path:
    cache = environ.get("XDG_CACHE_HOME") or Path("~/.cache")
    return Path(cache).expanduser() / "huggingface"


def _read_json(path: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _size(folder: Path) -> int | None:
    """The bytes of all its weights; where there are two kinds of files, of one kind."""
    for kind in _KEEPS:
        sizes = [file.stat().st_size for file in folder.rglob(f"*.{kind}") if file.is_file()]
        if sizes:
            return sum(sizes)
    return None


def faults(source: Source) -> list[str]:
    """A sentence for each file of a folder's weights that isn't whole."""
    if source.folder is None:
        return []
    found = (_fault(file) for file in sorted(source.folder.rglob("*.safetensors")))
    return [sentence for sentence in found if sentence]


def _fault(file: Path) -> str:
    try:
        read_weights(file)
    except ConfigError as error:
        return error.message
    return ""
