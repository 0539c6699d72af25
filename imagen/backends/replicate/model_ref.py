"""What a configuration calls a model of Replicate's, and the paths of the API that it means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_DEPLOYMENT = re.compile(rf"deployments/({_PART})/({_PART})")
_MODEL = re.compile(rf"({_PART})/({_PART})(?::([0-9a-f]{{64}}))?")

_DEADLINES: tuple[tuple[str, float], ...] = (
    ("*schnell*", 60.0),
    ("*klein*", 60.0),
    ("*turbo*", 60.0),
    ("*lightning*", 60.0),
    ("*-dev*", 120.0),
    ("*flux*", 180.0),
    ("*", 600.0),
)
"""Seconds for a prediction, by the model's name: the first that fits. The last ones leave time for
a model of the community's to be started from nothing, which can take minutes."""

_FAMILIES: tuple[tuple[str, str], ...] = (
    ("flux-2-klein*", "flux2-klein"),
    ("flux-2*", "flux2"),
    ("flux*", "flux1"),
    ("*sdxl*", "sdxl"),
    ("stable-diffusion-3*", "sd3"),
    ("stable-diffusion*", "sd1"),
    ("qwen-image*", "qwen-image"),
    ("z-image*", "z-image"),
)
"""What kind of model it is, by its name: the first that fits."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One model, one version of it, or one deployment."""

    owner: str
    name: str
    version: str = ""
    """64 hexadecimal digits; "" for the latest."""
    is_deployment: bool = False

    @property
    def model(self) -> str:
        """`owner/name`, of the model or of the deployment."""
        return f"{self.owner}/{self.name}"

    @property
    def family(self) -> str:
        """`flux1`, `sdxl`, …; "" where its name doesn't tell."""
        return next((kind for pattern, kind in _FAMILIES if fnmatch(self.name, pattern)), "")

    @property
    def deadline_seconds(self) -> float:
        """How long a prediction of a model of this name may take."""
        return next(seconds for pattern, seconds in _DEADLINES if fnmatch(self.name, pattern))


FORMS = "owner/name, owner/name:version (64 hexadecimal digits) or deployments/owner/name"


def is_reference(text: str) -> bool:
    """Whether a text names a model, a version of one, or a deployment."""
    return any(pattern.fullmatch(text) for pattern in (_DEPLOYMENT, _MODEL))


def read_reference(text: str) -> Reference:
    """`owner/name`, `owner/name:version` or `deployments/owner/name`; raises ValueError."""
    deployment = _DEPLOYMENT.fullmatch(text)
    if deployment is not None:
        return Reference(deployment[1], deployment[2], is_deployment=True)
    model = _MODEL.fullmatch(text)
    if model is None:
        raise ValueError(f"must look like {FORMS}")
    return Reference(model[1], model[2], model[3] or "")
