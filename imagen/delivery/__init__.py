"""Tell others about finished generations: Supabase, its copy of the ledger, and webhooks.

`deliveries_of` builds the deliveries of a generation and `send` sends one of them. In between they
wait in the outbox of the library. Nothing here loads an HTTP client before something is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen.config import Settings
    from imagen.config.settings import SwitchWord
    from imagen.library.records import Delivery, GenerationRecord

__all__ = ["check_settings", "deliveries_of", "is_any_enabled", "send"]


class _Target(Protocol):
    """What the module of each kind of delivery defines."""

    def is_enabled(self, settings: Settings, environ: Mapping[str, str]) -> bool: ...

    def deliveries(
        self, record: GenerationRecord, settings: Settings, environ: Mapping[str, str]
    ) -> list[Delivery]: ...

    def send(
        self,
        delivery: Delivery,
        settings: Settings,
        environ: Mapping[str, str],
        notes: dict[str, str],
    ) -> dict[str, object]: ...


def _targets() -> Mapping[str, _Target]:
    """The module of each kind of delivery."""
    from imagen.delivery import images, usage, webhooks

    return {"cloud": images, "mirror": usage, "webhook": webhooks}


def check_settings(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raise ConfigError if a target is on but lacks a setting. Call this before generating."""
    for target in _targets().values():
        target.is_enabled(settings, environ)


def is_any_enabled(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether there is a delivery target. Raises ConfigError as `check_settings` does."""
    return any(target.is_enabled(settings, environ) for target in _targets().values())


def deliveries_of(
    record: GenerationRecord, settings: Settings, environ: Mapping[str, str]
) -> list[Delivery]:
    """The deliveries of this generation. Raises ConfigError as `check_settings` does."""
    return [
        delivery
        for target in _targets().values()
        for delivery in target.deliveries(record, settings, environ)
    ]


def send(
    delivery: Delivery, settings: Settings, environ: Mapping[str, str], notes: dict[str, str]
) -> dict[str, object]:
    """Send a delivery and return what the library should keep. Sending twice does no harm.

    `notes` holds what later deliveries of the same sync should know about a destination: a warning
    by the name of the destination. Raises ImagenError; its `retryable` says whether to try again.
    """
    target = _targets().get(delivery.kind)
    if target is None:
        raise ConfigError(f"This version of imagen does not know deliveries of {delivery.kind!r}.")
    return target.send(delivery, settings, environ, notes)


def is_switch_on(
    switch: SwitchWord, key: str, settings: Settings, environ: Mapping[str, str], *, owned: bool
) -> bool:
    """Whether the switch `key` is on; `auto` is on where the Supabase project is configured.

    Raises ConfigError if it is `on` and a setting is missing.
    """
    if switch == "off":
        return False
    missing = missing_settings(settings, environ, owned=owned)
    if switch == "on" and missing:
        raise ConfigError(
            f"{key} is on, but {describe_missing(missing)}.",
            remedy="Set what is missing, or change the switch to auto.",
        )
    return not missing


def require_switch(switch: SwitchWord, key: str) -> None:
    """Raise ConfigError if a switch was turned off while deliveries were waiting."""
    if switch == "off":
        raise ConfigError(f"Not sent: {key} is off.", remedy=f"Set {key} to auto.")


def missing_settings(settings: Settings, environ: Mapping[str, str], *, owned: bool) -> list[str]:
    """The settings and variables that Supabase needs and that are not set.

    `owned` asks for `owner_user_id` too, which rows of images need.
    """
    missing = []
    if not environ.get(settings.cloud.url_env, "").strip():
        missing.append(settings.cloud.url_env)
    if not key_variable(settings, environ):
        missing.append(" or ".join(settings.cloud.key_env))
    if owned and not settings.owner_user_id:
        missing.append("owner_user_id")
    return missing


def describe_missing(names: Sequence[str]) -> str:
    """`SUPABASE_URL and owner_user_id are not set`."""
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not set"


def key_variable(settings: Settings, environ: Mapping[str, str]) -> str:
    """The variable that holds the service key; "" where none is set."""
    names = settings.cloud.key_env
    return next((name for name in names if environ.get(name, "").strip()), "")


def is_owner_missing(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether only `owner_user_id` keeps images from being uploaded."""
    switch = settings.output.cloud_sync
    is_meant = switch == "on" or (
        switch == "auto" and not missing_settings(settings, environ, owned=False)
    )
    return is_meant and not settings.owner_user_id
