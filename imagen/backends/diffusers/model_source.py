"""Where models and LoRAs are and which family they belong to, read without torch."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imagen.backends.diffusers.families import FAMILY_NAMES, FAMILY_OF_PIPELINE, find_family
from imagen.backends.model_choice import (
    ChosenModel,
    is_path,
    list_models,
    locate_model,
    model_not_found,
)
from imagen.core.text import did_you_mean, one_line
from imagen.errors import ConfigError, RequestError
from imagen.graphs.model_names import bare_name, is_model_file
from imagen.model_files.headers import read_model_header
from imagen.model_files.identify import identify_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.families import DiffusersFamily
    from imagen.core.request import Lora

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILE_SUFFIXES = (".safetensors", ".ckpt", ".pth", ".pt", ".bin", ".gguf")
_FAMILY_BY_NAME = (
    (r"flux\.?2", "flux2"),
    (r"flux", "flux1"),
    (r"stable-diffusion-3|sd-?3", "sd3"),
    (r"xl|sdxl", "sdxl"),
    (r"stable-diffusion-2|sd-?2", "sd2"),
    (r"stable-diffusion-v1|sd-?v?1", "sd1"),
)
_VARIANTS_BY_NAME = ("schnell", "fill", "inpaint", "klein-base", "klein")
_INDEX = "model_index.json"
_FAMILY_KEYS = ("config_dir", "controlnets", "parameters")
"""Keys of a block that only fit models of one family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model, as far as it is known without loading it."""

    kind: Literal["hub", "folder", "file"]
    where: str
    """The Hub's `owner/name`, or a path."""
    family: DiffusersFamily
    variant: str = ""
    is_part: bool = False
    """Whether the file holds only the diffusion model."""
    size_bytes: int | None = None
    folder: Path | None = None
    """The folder with its files; for a Hub model its place in the Hub's cache, if downloaded."""

    @property
    def name(self) -> str:
        """The name for records: the Hub's `owner/name`, or the name of the file or folder."""
        return self.where if self.kind == "hub" else Path(self.where).absolute().name

    def damaged_files(self) -> list[str]:
        """A sentence for each incomplete weights file in the folder."""
        sentences = []
        for file in sorted(self.folder.rglob("*.safetensors")) if self.folder else ():
            try:
                read_model_header(file)
            except ConfigError as error:
                sentences.append(error.message)
        return sentences


def read_source(config: DiffusersConfig) -> ModelSource:
    """Find the configured model and read its family.

    Raises ConfigError where it is missing, incomplete or of an unsupported family.
    """
    model, path = config.model, Path(config.model).expanduser()
    if os.path.isdir(path):
        return _read_folder(config, "folder", path)
    looks_like_path = (
        model.lower().endswith(_FILE_SUFFIXES)
        or "\\" in model
        or model.startswith((".", "/", "~"))
        or model.count("/") > 1
    )
    if os.path.isfile(path) or looks_like_path:
        return _read_file(config, path)
    if _HUB_ID.fullmatch(model) is None:
        raise ConfigError(
            f"backends.{config.name}.model: {model!r} is not a file, a folder or an owner/name on"
            " the Hub."
        )
    cached = find_cached_folder(model, os.environ)
    if cached is not None:
        return _read_folder(config, "hub", cached)
    # Before the download, only its name can tell the family.
    name = model.lower()
    guessed = next((family for word, family in _FAMILY_BY_NAME if re.search(word, name)), "")
    variant = next((word for word in _VARIANTS_BY_NAME if word in name), "")
    if not (config.family or guessed):
        raise ConfigError(
            f"backends.{config.name}.model: the family of {model} is unknown until it is"
            " downloaded.",
            remedy=f"Set `family` to one of: {', '.join(FAMILY_NAMES)}.",
        )
    family = _supported_family(config, config.family or guessed, variant, model)
    return ModelSource(kind="hub", where=model, family=family, variant=variant)


def _read_file(config: DiffusersConfig, path: Path) -> ModelSource:
    checkpoint = identify_model(path)
    if path.suffix == ".gguf" or read_model_header(path).format == "gguf":
        raise ConfigError(
            f"{path} is a GGUF file; diffusers backends cannot load GGUF files.",
            remedy="Use it with a backend of type sdcpp, or use a safetensors file.",
        )
    if checkpoint.role not in ("checkpoint", "diffusion_model", "unknown"):
        raise ConfigError(f"{path}: expected a model, got a {checkpoint.role}.")
    family = config.family or checkpoint.family
    return ModelSource(
        kind="file",
        where=str(path),
        family=_supported_family(config, family, checkpoint.variant, str(path)),
        variant=checkpoint.variant,
        is_part=checkpoint.role == "diffusion_model",
        size_bytes=checkpoint.size_bytes,
    )


def _read_folder(
    config: DiffusersConfig, kind: Literal["hub", "folder"], path: Path
) -> ModelSource:
    index = _read_json(path / _INDEX)
    if index is None:
        raise ConfigError(
            f"{path} is not a diffusers folder: it has no {_INDEX}.",
            remedy=f"Give a folder with a {_INDEX}, or one safetensors file.",
        )
    pipeline = one_line(str(index.get("_class_name", "")), limit=60)
    family, variant = _identify_folder(path, FAMILY_OF_PIPELINE.get(pipeline, ""), index)
    # Some folders have each weights file twice, in two formats.
    weights = list(path.rglob("*.safetensors")) or list(path.rglob("*.bin"))
    size = sum(file.stat().st_size for file in weights if file.is_file()) or None
    return ModelSource(
        kind=kind,
        where=config.model if kind == "hub" else str(path),
        family=_supported_family(
            config, config.family or family, variant, f"a {pipeline or 'pipeline'}"
        ),
        variant=variant,
        size_bytes=size,
        folder=path,
    )


def _identify_folder(path: Path, family: str, index: Mapping[str, object]) -> tuple[str, str]:
    """Family and variant by the configs of the parts."""
    unet = _read_json(path / "unet" / "config.json") or {}
    if family == "sd1" and unet.get("cross_attention_dim") == 1024:
        family = "sd2"
    if family == "flux1":
        transformer = _read_json(path / "transformer" / "config.json") or {}
        channels = transformer.get("in_channels", 64)
        if channels in (384, 128):
            return family, "fill" if channels == 384 else "control"
        return family, "dev" if transformer.get("guidance_embeds") else "schnell"
    if family == "flux2":
        return family, "klein" if index.get("is_distilled") else "klein-base"
    channels = unet.get("in_channels", 4)
    return family, "inpaint" if channels == 9 else "edit" if channels == 8 else ""


def _supported_family(
    config: DiffusersConfig, name: str, variant: str, subject: str
) -> DiffusersFamily:
    family = find_family(name, variant)
    if family is None:
        given = f"family {' '.join(filter(None, (name, variant)))}" if name else "unknown family"
        raise ConfigError(
            f"backends.{config.name}.model: {subject} is of {given}, which diffusers backends do"
            " not support.",
            remedy=f"Supported: {', '.join(FAMILY_NAMES)}.",
        )
    return family


def find_cached_folder(model: str, environ: Mapping[str, str]) -> Path | None:
    """The folder of this model in the Hub's cache; None where its index is not there."""
    cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface"
    home = Path(environ.get("HF_HOME") or cache)
    hub = Path(environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    folder = hub / f"models--{model.replace('/', '--')}"
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    snapshot = folder / "snapshots" / Path(commit).name
    return snapshot if os.path.isfile(snapshot / _INDEX) else None


def _read_json(path: Path) -> Mapping[str, object] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def choose_model(asked: str, config: DiffusersConfig) -> ChosenModel[DiffusersConfig]:
    """The block with the model that a request names: a path, a name in `models_dir`, a Hub id.

    Keys of the block that only fit its own model's family are left out for another family. Raises
    RequestError for a model that does not exist or that this adapter cannot run.
    """
    if asked in (config.model, Path(config.model).name):
        return ChosenModel(config=config, name=asked)
    where, name = _locate_model(asked, config)
    changes = {"model": where, "family": "", "variant": ""}
    try:
        source = read_source(config.model_copy(update=changes))
    except ConfigError as error:
        sentence = error.message.removeprefix(f"backends.{config.name}.model: ")
        raise RequestError(f"model: {sentence}", remedy=error.remedy) from error
    try:
        own_family = read_source(config).family.name
    except ConfigError:  # the block's own model may be missing
        own_family = config.family
    left_out = () if source.family.name == own_family else _FAMILY_KEYS
    chosen = ChosenModel.build(config, name, changes, left_out=left_out)
    if source.is_part and not chosen.config.config_dir:
        raise RequestError(
            f"model: {Path(where).name} holds only the diffusion model, without text encoders and"
            " VAE.",
            remedy=f"Name a complete model, or set `config_dir` in a block for"
            f" {source.family.name}.",
        )
    return chosen


def _locate_model(asked: str, config: DiffusersConfig) -> tuple[str, str]:
    """The place of a model, and its name for the ticket."""
    names, folder = list_models(config.models_dir), config.models_dir
    is_only = config.listed_models_only
    if is_path(asked) or is_model_file(asked) or not _HUB_ID.fullmatch(asked):
        hint = "give a path, or the Hub's owner/name"
        path, name = locate_model(
            asked, names, folder, backend=config.name, hint=hint, listed_only=is_only
        )
        return str(path), name
    for name in names:
        if asked in (name, bare_name(name)):  # a Hub id never means a part of another name
            return str(folder.expanduser().absolute() / name), name
    if is_only:
        remedy = f"See: imagen models --backend {config.name}"
        raise model_not_found(asked, names, f"in {folder}", remedy)
    return asked, asked


def list_loras(folder: Path | None) -> Iterator[tuple[str, Path]]:
    """Each file in the folder that may be a LoRA, by the name that a request uses."""
    if folder is not None:
        root = folder.expanduser()
        for path in sorted(root.rglob("*.safetensors")):
            yield path.relative_to(root).with_suffix("").as_posix(), path


def locate_loras(
    loras: Sequence[Lora], folder: Path | None, family: str, *, listed_only: bool = False
) -> tuple[tuple[Path, float], ...]:
    """The file and the strength of each LoRA; with `listed_only`, of those in the folder.

    Raises RequestError for one that is missing, incomplete, not a LoRA or for another family.
    """
    located = tuple((_locate_lora(lora.name, folder, listed_only), lora.strength) for lora in loras)
    for path, _ in located:
        try:
            checkpoint = identify_model(path)
        except ConfigError as error:
            raise RequestError(f"loras: {error.message}", remedy=error.remedy) from error
        if checkpoint.role != "lora":
            raise RequestError(f"loras: {path}: expected a LoRA, got a {checkpoint.role}.")
        if checkpoint.family not in ("", family):
            raise RequestError(
                f"loras: {path.name} is for {checkpoint.family} models, and this model is {family}."
            )
    return located


def _locate_lora(name: str, folder: Path | None, listed_only: bool) -> Path:
    roots = [] if folder is None else [folder.expanduser()]
    for root in roots if listed_only else [*roots, Path()]:
        for path in (
            root / Path(name).expanduser(),
            root / Path(f"{name}.safetensors").expanduser(),
        ):
            is_inside = Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root))
            if os.path.isfile(path) and (is_inside or not listed_only):
                return path
    if folder is None:
        raise RequestError(
            f"LoRA file {name!r} not found.",
            remedy="Give its path, or set `loras_dir` to the folder with your LoRAs.",
        )
    known = [known for known, _ in list_loras(folder)]
    raise RequestError(
        f"LoRA {name!r} not found in {folder}.{did_you_mean(name, known)}",
        remedy=f"Available: {', '.join(known)}." if known else "The folder has no LoRAs.",
    )
