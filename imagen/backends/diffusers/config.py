"""The configuration block of a diffusers backend."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from imagen.backends.base import BackendConfig
from imagen.backends.model_choice import MODELS_DIR, find_loras_folder
from imagen.core.text import is_variable_name

_DEVICE = re.compile(r"auto|cpu|mps|(cuda|rocm)(:\d{1,2})?")


class DiffusersConfig(BackendConfig):
    """The block of a backend of `type: diffusers`."""

    model: str = Field(
        min_length=1,
        description="`owner/name` on the Hugging Face Hub, a diffusers folder, or one safetensors"
        " file.",
    )
    family: Literal["", "sd1", "sd2", "sdxl", "sd3", "flux1", "flux2"] = Field(
        "", description="The model family, where it cannot be read from the model."
    )
    config_dir: str = Field(
        "",
        description="For a single file: a folder or `owner/name` of the same family, which"
        " provides the configs and missing parts. Needed to work offline.",
    )
    variant: str = Field(
        "",
        pattern=r"[\w.-]*",
        description="Which variant of the files to load from the Hub or a folder: `fp16`.",
    )
    device: str = Field("auto", description="auto, cuda, cuda:1, rocm, mps or cpu.")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="Number format; auto: what suits the family, float32 on a CPU."
    )
    offload: Literal["auto", "none", "model", "sequential"] = Field(
        "auto",
        description="Keep idle parts in main memory: none, model (whole parts), sequential (layers;"
        " slow); auto: depends on free GPU memory.",
    )
    offline: bool = Field(False, description="Use only local files and never contact the Hub.")
    models_dir: Path = Field(MODELS_DIR, description="Folder for models that requests name.")
    loras_dir: Path | None = Field(
        None, description="Folder for LoRAs that requests name; default: `loras` in `models_dir`."
    )
    listed_models_only: bool = Field(
        False,
        description="Whether requests may name only what `imagen models` lists: no "
        "paths, and nothing to download. It is true for clients of `imagen serve` unless it is set "
        "here.",
    )
    controlnets: dict[str, str] = Field(
        default_factory=dict,
        description="The ControlNet for each kind of control image: a folder, a file or"
        " `owner/name`.",
    )
    parameters: dict[str, object] = Field(
        default_factory=dict, description="Other defaults for request parameters, by name."
    )
    token_env: str = Field(
        "HF_TOKEN", description="Environment variable with a Hugging Face token."
    )

    @property
    def loras_folder(self) -> Path | None:
        """Where to look for LoRAs; None where no folder is set and the default does not exist."""
        return find_loras_folder(self.loras_dir, self.models_dir)

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        if _DEVICE.fullmatch(device) is None:
            raise ValueError("must be auto, cuda, cuda:1, rocm, mps or cpu")
        return device

    @field_validator("token_env")
    @classmethod
    def _check_token_env(cls, name: str) -> str:
        if name and not is_variable_name(name):
            raise ValueError("takes the name of an environment variable, not what it holds")
        return name
