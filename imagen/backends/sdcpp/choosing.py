"""The model that a request names in place of the block's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.backends.model_choice import ChosenModel, find_name, is_path, list_models, missing_model
from imagen.backends.sdcpp.config import describe_role, missing_parts
from imagen.errors import ConfigError, RequestError
from imagen.graphs.model_names import is_model_file
from imagen.model_files.identify import identify_model

if TYPE_CHECKING:
    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.model_files.identify import ModelFile

_OF_FAMILY = (*("vae", "clip_l", "clip_g", "t5xxl", "llm", "taesd", "controlnets", "parameters"),)
"""What a block says of its model's family."""
_MODELS = ("checkpoint", "diffusion_model", "unknown")


def choose_model(
    asked: str, config: SdCppConfig, own: ModelFile | None
) -> ChosenModel[SdCppConfig]:
    """The block with this model: its own, a path, or a name in `models_dir`.

    What the block says of its own model's family is left out for a model of another. Raises
    RequestError for a model that is not there, or that needs files which the block does not have.
    """
    main = config.model or config.diffusion_model
    if main is not None and asked in (str(main), main.name):
        return ChosenModel(config=config, name=asked)
    path, name = _find(asked, config)
    found = _read(path)
    is_of_family = own is not None and found.family in ("", own.family)
    left_out = () if is_of_family else _given(config)
    key = "diffusion_model" if found.role == "diffusion_model" else "model"
    files: dict[str, Any] = {"model": None, "diffusion_model": None} | {key: path}
    nothing = {
        key: type(config).model_fields[key].get_default(call_default_factory=True)
        for key in left_out
    }
    chosen = config.model_copy(update=files | nothing)
    if missing := missing_parts(chosen, found):
        raise RequestError(
            f"model: {path.name} is a {found.family} diffusion model, which also needs "
            f"{' and '.join(missing)}.",
            remedy=f"Use a backend whose block names these files for {found.family}.",
        )
    return ChosenModel(config=chosen, name=name, left_out=left_out)


def _find(asked: str, config: SdCppConfig) -> tuple[Path, str]:
    """The file of a model, and its name for the ticket."""
    names = [name for name in list_models(config.models_dir) if is_model_file(name)]
    if not is_path(asked) and (found := find_name(asked, names)) is not None:
        return config.models_dir.expanduser().absolute() / found, found
    path = Path(asked).expanduser().absolute()
    if is_path(asked) or os.path.exists(path):
        return path, str(path)
    raise missing_model(
        asked,
        names,
        f"in {config.models_dir}",
        f"See: imagen models --backend {config.name}; or give a path.",
    )


def _read(path: Path) -> ModelFile:
    try:
        found = identify_model(path)
    except ConfigError as error:
        raise RequestError(f"model: {error.message}", remedy=error.remedy) from error
    if found.role not in _MODELS:
        raise RequestError(f"model: {path.name} is {describe_role(found.role)}, not a model.")
    return found


def _given(config: SdCppConfig) -> tuple[str, ...]:
    return tuple(key for key in _OF_FAMILY if getattr(config, key))
