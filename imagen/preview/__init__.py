"""The door to previews: `plan` says how a picture will be shown, `show` shows it."""

from imagen.preview.planning import PreviewPlan, plan_preview
from imagen.preview.showing import show_images
from imagen.preview.terminal import supports_sixel

__all__ = ["PreviewPlan", "plan_preview", "show_images", "supports_sixel"]
