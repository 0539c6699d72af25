"""Which Supabase project is meant, and whether all is there that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagen.config import Settings
    from imagen.config.settings import SwitchWord
    from imagen.delivery.supabase import Supabase


def is_on(
    switch: SwitchWord, key: str, settings: Settings, environ: Mapping[str, str], *, owned: bool
) -> bool:
    """Whether this switch is on; raises ConfigError where it is, and something is missing."""
    if switch == "off":
        return False
    lacking = missing(settings, environ, owned=owned)
    if switch == "on" and lacking:
        raise ConfigError(
            f"{key} is on, and {_not_set(lacking)}.",
            remedy="Set what is missing, or leave it at auto.",
        )
    return not lacking


def refuse_off(switch: SwitchWord, key: str) -> None:
    """Raises ConfigError where a switch was turned off while something waited."""
    if switch == "off":
        raise ConfigError(f"Nothing goes there now: {key} is off.", remedy="Set it to auto.")


def missing(settings: Settings, environ: Mapping[str, str], *, owned: bool) -> list[str]:
    """What is not set and has to be, each by its name; `owned` where rows have an owner."""
    cloud = settings.cloud
    lacking = [] if environ.get(cloud.url_env, "").strip() else [cloud.url_env]
    if not key_name(settings, environ):
        lacking.append(" or ".join(cloud.key_env))
    return lacking if settings.owner_user_id or not owned else [*lacking, "owner_user_id"]


def _not_set(names: Sequence[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not set"


def key_name(settings: Settings, environ: Mapping[str, str]) -> str:
    """The variable that holds the key; nothing where none is set."""
    names = settings.cloud.key_env
    return next((name for name in names if environ.get(name, "").strip()), "")


def opened(settings: Settings, environ: Mapping[str, str], *, owned: bool = False) -> Supabase:
    """The project that the settings name. Raises ConfigError and Unauthorized."""
    from imagen.delivery.supabase import Supabase
    from imagen.net.urls import is_private_host, read_secret, url_faults

    cloud = settings.cloud
    lacking = missing(settings, environ, owned=owned)
    if lacking:
        raise ConfigError(f"Nothing can go to the cloud: {_not_set(lacking)}.")
    url = environ[cloud.url_env].strip()
    for fault in url_faults(cloud.url_env, url, like="https://abc.supabase.co"):
        raise ConfigError(f"{fault}.")
    if url.startswith("http:") and not is_private_host(url):
        raise ConfigError(
            f"{cloud.url_env} must begin with https://: the service key would cross the network "
            "for all to read."
        )
    names = " or ".join(cloud.key_env)
    name = key_name(settings, environ)
    key = read_secret(name, environ, remedy=f"Put the service key of the project into {names}.")
    return Supabase(url, key, key_names=names, connect_seconds=cloud.connect_seconds)
