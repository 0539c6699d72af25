"""Whether a backend of Replicate's could work now: its token, and its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.backends.base import Health
from imagen.backends.replicate.pricing import Work, find_price, reckon
from imagen.backends.replicate.schema_cache import keep, kept

if TYPE_CHECKING:
    from imagen.backends.replicate.client import ReplicateClient
    from imagen.backends.replicate.config import ReplicateConfig
    from imagen.backends.replicate.schema_cache import Kept


def health(client: ReplicateClient, config: ReplicateConfig) -> Health:
    """Asks whose token it is, and for the model; its input schema is kept.

    Raises BackendError for the first thing that is missing.
    """
    account = client.account()
    page = client.page(config.reference)
    known = kept(config) if config.input_schema else None
    known = known or keep(page, config)
    facts = (
        ("account", account),
        ("model", known.model),
        ("version", known.version[:12]),
        ("hardware", known.hardware),
        ("price", _price(known)),
    )
    return Health(ok=True, facts=tuple((name, value) for name, value in facts if value))


def _price(known: Kept) -> str:
    """The rate, in a sentence; "" where it is not in the table."""
    price = find_price(known.model, {}, hardware=known.hardware)
    return reckon(price, Work()).basis.rstrip(".") if price else ""
