"""The configuration: settings, where they come from, and what is wrong with them."""

from imagen.config.accounts import (
    Budget,
    CloudSettings,
    LibrarySettings,
    UsageSettings,
    Webhook,
)
from imagen.config.credentials import masked, variables
from imagen.config.example import example, example_with
from imagen.config.loading import VARIABLES, Checked, check, load
from imagen.config.merge import Addition, add_backends
from imagen.config.places import default_workflow_dir, find, usual
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
    "example_with",
    "find",
    "load",
    "masked",
    "usual",
    "variables",
]
