"""The ledger's rows go to the cloud once, and without a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import told_entries as told

from imagen.errors import ConfigError, Rejected, Unavailable
from imagen.sinks import mirror
from imagen.testing.supabase import Supabase, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.library.entries import Delivery


@pytest.fixture
def cloud() -> Iterator[Supabase]:
    with Supabase() as cloud:
        yield cloud


@pytest.fixture
def delivery(cloud: Supabase, tmp_path: Path) -> Delivery:
    entry = told.entry(told.picture(tmp_path))
    (made,) = mirror.deliveries(entry, told.settings(), told.environ(cloud))
    return made


def test_a_row_of_the_ledger_goes_there(cloud: Supabase, delivery: Delivery) -> None:
    facts = mirror.send(delivery, told.settings(), told.environ(cloud))
    assert facts == {"table": "mai.imagen_usage", "id": told.ID}
    assert cloud.rows("mai", "imagen_usage") == [
        {
            "id": told.ID,
            "backend": "studio",
            "model": "sd15.safetensors",
            "seed": 2**64 - 1,
            "prompt_sha256": "10327813b9248a1d6b03c777964d4b0407749b9401913ae7976ac980ffeecf62",
            "images": 1,
            "latency_seconds": 2.5,
            "estimated_cost": 0.006,
            "actual_cost": None,
            "currency": "USD",
            "caller": "nora",
            "created_at": "2026-11-24T12:30:00+00:00",
        }
    ]


def test_the_ledger_says_nothing_of_the_prompt(delivery: Delivery) -> None:
    assert "fox" not in delivery.model_dump_json()


def test_electricity_is_told_in_its_currency(cloud: Supabase, tmp_path: Path) -> None:
    entry = told.entry(told.picture(tmp_path))
    ours = entry.model_copy(update={"ticket": entry.ticket.model_copy(update={"estimate": None})})
    usage = {"watts": {"studio": 288.0}, "price_per_kwh": 0.5, "currency": "EUR"}
    (made,) = mirror.deliveries(ours, told.settings(usage=usage), told.environ(cloud))
    row = made.payload["row"]
    assert (row["actual_cost"], row["currency"]) == (pytest.approx(0.0001), "EUR")


@pytest.mark.parametrize("trouble", [Trouble(), Trouble(lost_inserts=1), Trouble(broken_inserts=1)])
def test_a_row_that_is_sent_twice_is_there_once(
    cloud: Supabase, delivery: Delivery, trouble: Trouble
) -> None:
    cloud.trouble = trouble
    mirror.send(delivery, told.settings(), told.environ(cloud))
    mirror.send(delivery, told.settings(), told.environ(cloud))
    assert len(cloud.rows("mai", "imagen_usage")) == 1


def test_an_outage_of_the_ledger_may_pass(cloud: Supabase, delivery: Delivery) -> None:
    cloud.trouble = Trouble(outage=True)
    with pytest.raises(Unavailable):
        mirror.send(delivery, told.settings(), told.environ(cloud))


def test_a_schema_that_is_not_exposed_is_named(delivery: Delivery) -> None:
    with Supabase(exposed=["public", "imagen"]) as cloud, pytest.raises(Rejected) as caught:
        mirror.send(delivery, told.settings(), told.environ(cloud))
    assert "Invalid schema: mai" in caught.value.message
    assert "Exposed schemas" in caught.value.remedy


@pytest.mark.parametrize(
    ("switches", "key"),
    [
        ({"usage": {"mirror": "off"}}, "usage.mirror"),
        ({"output": {"cloud_sync": "off"}}, "output.cloud_sync"),
    ],
    ids=["itself", "the cloud"],
)
def test_what_waits_stays_here_once_it_is_switched_off(
    cloud: Supabase, delivery: Delivery, tmp_path: Path, switches: dict[str, Any], key: str
) -> None:
    off = told.settings(**switches)
    assert mirror.deliveries(told.entry(told.picture(tmp_path)), off, told.environ(cloud)) == []
    with pytest.raises(ConfigError, match=f"Nothing goes there now: {key} is off"):
        mirror.send(delivery, off, told.environ(cloud))
    assert cloud.requests == []


def test_where_it_is_on_by_itself_it_goes_without_the_pictures(
    cloud: Supabase, delivery: Delivery
) -> None:
    alone = told.settings(usage={"mirror": "on"}, output={"cloud_sync": "off"})
    mirror.send(delivery, alone, told.environ(cloud))
    assert len(cloud.rows("mai", "imagen_usage")) == 1


@pytest.mark.parametrize("more", [{"state": "failed"}, {"source": "import"}])
def test_what_is_not_in_the_ledger_is_not_mirrored(
    cloud: Supabase, tmp_path: Path, more: dict[str, str]
) -> None:
    entry = told.entry(told.picture(tmp_path), **more)
    assert mirror.deliveries(entry, told.settings(), told.environ(cloud)) == []
