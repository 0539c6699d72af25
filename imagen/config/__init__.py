"""The configuration: settings, where they come from, and what is wrong with them."""

from imagen.config.accounts import (
    Budget,
    CloudSettings,
    LibrarySettings,
    UsageSettings,
    Webhook,
)
from imagen.config.example import example, sample, with_backends
from imagen.config.load import VARIABLES, Checked, check, load_settings
from imagen.config.merge import Addition, add_backends, write_new
from imagen.config.paths import default_workflow_dir, find, place_to_write, usual
from imagen.config.secrets import masked, variables
from imagen.config.settings import InputSettings, Limits, OutputSettings, Settings, Style

__all__ = [
    "VARIABLES",
    "Addition",
    "Budget",
    "Checked",
    "CloudSettings",
    "InputSettings",
    "LibrarySettings",
    "Limits",
    "OutputSettings",
    "Settings",
    "Style",
    "UsageSettings",
    "Webhook",
    "add_backends",
    "check",
    "default_workflow_dir",
    "example",
    "find",
    "load_settings",
    "masked",
    "place_to_write",
    "sample",
    "usual",
    "variables",
    "with_backends",
    "write_new",
]
