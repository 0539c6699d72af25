"""The only door to those who are told of a generation: the cloud, its ledger, and webhooks.

What is to be told is made by `deliveries_of` at once, and sent by `send` whenever that may be: the
library's outbox keeps it in between.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.config import Settings
    from imagen.library.records import Delivery, GenerationRecord

__all__ = ["KINDS", "check", "deliveries_of", "is_any_enabled", "send"]

KINDS: Mapping[str, str] = {
    "cloud": "imagen.delivery.images",
    "mirror": "imagen.delivery.usage",
    "webhook": "imagen.delivery.webhooks",
}
"""To each kind of delivery its module, which is loaded when it is needed."""


def check(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raises ConfigError where something is switched on and can't be: ask before generating."""
    for module in KINDS.values():
        import_module(module).is_on(settings, environ)


def lacks_owner(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether images would be uploaded, but for `owner_user_id`."""
    from imagen.delivery.project import missing

    switch = settings.output.cloud_sync
    is_meant = switch == "on" or (switch == "auto" and not missing(settings, environ, owned=False))
    return is_meant and not settings.owner_user_id


def is_any_enabled(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether anyone is told of anything. Raises ConfigError as `check` does."""
    return any(import_module(module).is_on(settings, environ) for module in KINDS.values())


def deliveries_of(
    entry: GenerationRecord, settings: Settings, environ: Mapping[str, str]
) -> list[Delivery]:
    """All that is to be told of this generation. Raises ConfigError as `check` does."""
    made: list[Delivery] = []
    for module in KINDS.values():
        made += import_module(module).deliveries(entry, settings, environ)
    return made


def send(
    delivery: Delivery, settings: Settings, environ: Mapping[str, str], notes: dict[str, str]
) -> dict[str, Any]:
    """Tell it, and return what is worth keeping. To tell the same again does no harm.

    `notes` remembers what a run learns of a destination for its later deliveries: to a name the
    sentence that warns of it. Raises ImagenError; whether another attempt makes sense, its
    `retryable` says.
    """
    if delivery.kind not in KINDS:
        raise ConfigError(f"This version of imagen knows nothing of deliveries {delivery.kind!r}.")
    module = import_module(KINDS[delivery.kind])
    told: dict[str, Any] = module.send(delivery, settings, environ, notes)
    return told
