"""The configuration: its settings, where they are loaded from, and their problems."""

from imagen.config.load import VARIABLES, Checked, check, load_settings
from imagen.config.paths import default_config_folder, find, place_to_write, usual
from imagen.config.pools import find_pool_warnings
from imagen.config.secrets import masked, variables
from imagen.config.settings import (
    Budget,
    CloudJobs,
    CloudSettings,
    InputSettings,
    JobSettings,
    LibrarySettings,
    Limits,
    OutputSettings,
    ServerSettings,
    Settings,
    Style,
    UsageSettings,
    Webhook,
)
from imagen.config.write import Addition, add_backends, example, sample, with_backends, write_new

__all__ = [
    "VARIABLES",
    "Addition",
    "Budget",
    "Checked",
    "CloudJobs",
    "CloudSettings",
    "InputSettings",
    "JobSettings",
    "LibrarySettings",
    "Limits",
    "OutputSettings",
    "ServerSettings",
    "Settings",
    "Style",
    "UsageSettings",
    "Webhook",
    "add_backends",
    "check",
    "default_config_folder",
    "example",
    "find",
    "find_pool_warnings",
    "load_settings",
    "masked",
    "place_to_write",
    "sample",
    "usual",
    "variables",
    "with_backends",
    "write_new",
]
