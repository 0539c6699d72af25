"""The block of a diffusers backend in the configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from imagen.backends.base import BackendConfig
from imagen.backends.model_choice import MODELS_DIR, find_loras_folder
from imagen.core.text import is_variable_name

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
Offload = Literal["auto", "none", "model", "sequential"]
_DEVICE = re.compile(r"auto|cpu|mps|(cuda|rocm)(:\d{1,2})?")


class DiffusersConfig(BackendConfig):
    """The block of a backend of `type: diffusers`."""

    model: str = Field(
        min_length=1,
        description="A hub's `owner/name`, a diffusers folder, or one safetensors file.",
    )
    family: Literal["", "sd1", "sd2", "sdxl", "sd3", "flux1", "flux2"] = Field(
        "", description="The model's family, where it can't be read from the model."
    )
    config_dir: str = Field(
        "",
        description="For one file: a diffusers folder, or `owner/name`, of its family. Gives the"
        " configs of the parts, and the parts that the file lacks. Needed to work offline.",
    )
    variant: str = Field(
        "", pattern=r"[\w.-]*", description="Which of a hub's or folder's files to take: `fp16`."
    )
    device: str = Field("auto", description="auto, cuda, cuda:1, rocm, mps or cpu.")
    dtype: Dtype = Field(
        "auto", description="Kind of numbers; auto: as the family likes, and float32 on a CPU."
    )
    offload: Offload = Field(
        "auto",
        description="Keep parts that rest in main memory: none, model (whole parts), sequential"
        " (layers; slow); auto: by the card's free memory.",
    )
    offline: bool = Field(False, description="Never ask the hub: only what is on the disk.")
    models_dir: Path = Field(
        MODELS_DIR, description="Where models that a request names are looked for by name."
    )
    loras_dir: Path | None = Field(
        None,
        description="Where LoRAs are looked for by name; by default `loras` in `models_dir`.",
    )
    controlnets: dict[str, str] = Field(
        default_factory=dict,
        description="For each kind of control picture, its net: a folder, a file or `owner/name`.",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Other defaults for the request's parameters, by name."
    )
    token_env: str = Field("HF_TOKEN", description="The variable that holds a token of the hub.")

    @property
    def loras_folder(self) -> Path | None:
        """Where LoRAs are looked for; None where no folder is named and the default is not there"""
        return find_loras_folder(self.loras_dir, self.models_dir)

    @field_validator("device")
    @classmethod
    def _known(cls, device: str) -> str:
        if _DEVICE.fullmatch(device) is None:
            raise ValueError("must be auto, cuda, cuda:1, rocm, mps or cpu")
        return device

    @field_validator("token_env")
    @classmethod
    def _a_name(cls, name: str) -> str:
        if name and not is_variable_name(name):
            raise ValueError("takes the name of an environment variable, not what it holds")
        return name
