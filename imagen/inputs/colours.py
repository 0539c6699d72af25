"""Colours as engines take them: in sRGB, whatever space a camera's profile says they are in."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_PROFILE = "icc_profile"
_CONVERTIBLE = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB"}
"""To each mode that profiles are made for, the one that comes of it."""


def convert_to_srgb(image: Image.Image) -> Image.Image:
    """The picture as it was meant to look; as it is, where it has no profile of its own."""
    profile = image.info.get(_PROFILE)
    if not profile or image.mode not in _CONVERTIBLE:
        return image
    from PIL import ImageCms  # only some photographs need it

    try:
        own = ImageCms.ImageCmsProfile(BytesIO(profile))
        if image.mode != "CMYK" and "srgb" in ImageCms.getProfileDescription(own).lower():
            return image
        srgb = ImageCms.createProfile("sRGB")
        mode = _CONVERTIBLE[image.mode]
        return ImageCms.profileToProfile(image, own, srgb, outputMode=mode) or image
    except (ImageCms.PyCMSError, OSError, ValueError):  # a damaged profile says nothing
        return image
