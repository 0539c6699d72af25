"""The model that a request names in place of the block's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.backends.diffusers.model_source import HUB_ID, read_source
from imagen.backends.model_choice import ChosenModel, find_name, is_path, list_models, missing_model
from imagen.errors import ConfigError, RequestError
from imagen.graphs.model_names import bare_name, is_model_file

if TYPE_CHECKING:
    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.model_source import Source

_OF_FAMILY = ("config_dir", "controlnets", "parameters")
"""What a block says of its model's family."""


def choose_model(asked: str, config: DiffusersConfig) -> ChosenModel[DiffusersConfig]:
    """The block with this model: its own, a path, a name in `models_dir`, or one of the hub.

    What the block says of its own model's family is left out for a model of another. Raises
    RequestError for a model that is not there, or that this adapter can't run.
    """
    if asked in (config.model, Path(config.model).name):
        return ChosenModel(config=config, name=asked)
    where, name = _find(asked, config)
    only = config.model_copy(update={"model": where, "family": "", "variant": ""})
    source = _read(only)
    left_out = () if _is_of_family(source, config) else _given(config)
    chosen = only.model_copy(update={key: type(getattr(config, key))() for key in left_out})
    if source.is_part and not chosen.config_dir:
        raise RequestError(
            f"model: {Path(where).name} holds the diffusion model alone, without its text encoders "
            "and VAE.",
            remedy=f"Name a whole model, or set `config_dir` in a block for {source.family.name}.",
        )
    return ChosenModel(config=chosen, name=name, left_out=left_out)


def _find(asked: str, config: DiffusersConfig) -> tuple[str, str]:
    """The place of a model, and its name for the ticket."""
    if is_path(asked):
        place = str(Path(asked).expanduser().absolute())
        return place, place
    names = list_models(config.models_dir)
    is_hub_id = HUB_ID.fullmatch(asked) is not None and not is_model_file(asked)
    found = (
        next((name for name in names if asked in (name, bare_name(name))), None)
        if is_hub_id  # a part of another model's name is not what `owner/name` means
        else find_name(asked, names)
    )
    if found is not None:
        return str(config.models_dir.expanduser().absolute() / found), found
    if is_hub_id:
        return asked, asked
    if os.path.exists(asked):
        place = str(Path(asked).absolute())
        return place, place
    raise missing_model(
        asked,
        names,
        f"in {config.models_dir}",
        f"See: imagen models --backend {config.name}; or give a path, or the hub's owner/name.",
    )


def _read(config: DiffusersConfig) -> Source:
    try:
        return read_source(config)
    except ConfigError as error:
        said = error.message.removeprefix(f"backends.{config.name}.model: ")
        raise RequestError(f"model: {said}", remedy=error.remedy) from error


def _is_of_family(source: Source, config: DiffusersConfig) -> bool:
    """Whether a model is of the family of the block's own, which may not be there."""
    try:
        return source.family.name == read_source(config).family.name
    except ConfigError:
        return source.family.name == config.family


def _given(config: DiffusersConfig) -> tuple[str, ...]:
    values: dict[str, Any] = {key: getattr(config, key) for key in _OF_FAMILY}
    return tuple(key for key, value in values.items() if value)
