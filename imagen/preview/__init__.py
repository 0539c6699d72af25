"""The door to previews: `plan` says how a picture will be shown, `show` shows it."""

from imagen.preview.planning import Preview, plan
from imagen.preview.showing import show
from imagen.preview.terminal import draws_sixels

__all__ = ["Preview", "draws_sixels", "plan", "show"]
