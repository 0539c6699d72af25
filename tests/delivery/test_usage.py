"""The copy of the ledger in Supabase."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from simulators.supabase import USAGE, Supabase, SupabaseSwitches
from support import generation_records as records

from imagen.delivery import usage as mirror
from imagen.errors import ConfigError, Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.library.records import Delivery

_ID = "11111111-2222-4333-8444-666666666666"


@pytest.fixture
def cloud() -> Iterator[Supabase]:
    with Supabase() as cloud:
        yield cloud


@pytest.fixture
def delivery(cloud: Supabase, tmp_path: Path) -> Delivery:
    entry = records.make_record(records.make_image(tmp_path))
    (made,) = mirror.deliveries(entry, records.settings(), records.environ(cloud))
    return made


def test_a_ledger_row_is_inserted(cloud: Supabase, delivery: Delivery) -> None:
    facts = mirror.send(delivery, records.settings(), records.environ(cloud), {})
    assert facts == {"table": "mai.imagen_usage", "id": records.ID}
    assert cloud.rows("mai", "imagen_usage") == [
        {
            "id": records.ID,
            "created_at": "2026-11-24T12:30:00+00:00",
            "backend": "studio",
            "model": "sd15.safetensors",
            "seed": 2**64 - 1,
            "prompt_hash": "10327813b9248a1d6b03c777964d4b0407749b9401913ae7976ac980ffeecf62",
            "latency_ms": 2500,
            "cost_usd_estimate": 0.006,
            "caller": "nora",
            "images": 1,
            "actual_cost": None,
            "currency": "USD",
        }
    ]


def test_a_ledger_row_has_no_prompt(delivery: Delivery) -> None:
    assert "fox" not in delivery.model_dump_json()


def test_electricity_is_copied_with_its_currency(cloud: Supabase, tmp_path: Path) -> None:
    entry = records.make_record(records.make_image(tmp_path))
    ours = entry.model_copy(update={"ticket": entry.ticket.model_copy(update={"estimate": None})})
    usage = {"watts": {"studio": 288.0}, "price_per_kwh": 0.5, "currency": "EUR"}
    (made,) = mirror.deliveries(ours, records.settings(usage=usage), records.environ(cloud))
    row = made.payload["row"]
    assert (row["actual_cost"], row["currency"]) == (pytest.approx(0.0001), "EUR")


@pytest.mark.parametrize(
    "trouble",
    [SupabaseSwitches(), SupabaseSwitches(lost_inserts=1), SupabaseSwitches(broken_inserts=1)],
)
def test_a_ledger_row_sent_twice_is_stored_once(
    cloud: Supabase, delivery: Delivery, trouble: SupabaseSwitches
) -> None:
    cloud.switches = trouble
    mirror.send(delivery, records.settings(), records.environ(cloud), {})
    mirror.send(delivery, records.settings(), records.environ(cloud), {})
    assert len(cloud.rows("mai", "imagen_usage")) == 1


def test_an_outage_of_the_ledger_copy_is_retryable(cloud: Supabase, delivery: Delivery) -> None:
    cloud.switches = SupabaseSwitches(outage=True)
    with pytest.raises(Unavailable):
        mirror.send(delivery, records.settings(), records.environ(cloud), {})


def test_a_schema_that_is_not_exposed_is_named(delivery: Delivery) -> None:
    with Supabase(exposed=["public", "imagen"]) as cloud, pytest.raises(Rejected) as caught:
        mirror.send(delivery, records.settings(), records.environ(cloud), {})
    assert "Invalid schema: mai" in caught.value.message
    assert "Exposed schemas" in caught.value.remedy


def test_waiting_rows_are_not_sent_after_the_mirror_is_turned_off(
    cloud: Supabase, delivery: Delivery, tmp_path: Path
) -> None:
    off = records.settings(usage={"mirror": "off"})
    assert (
        mirror.deliveries(
            records.make_record(records.make_image(tmp_path)), off, records.environ(cloud)
        )
        == []
    )
    with pytest.raises(ConfigError, match=r"Not sent: usage\.mirror is off"):
        mirror.send(delivery, off, records.environ(cloud), {})
    assert cloud.requests == []


@pytest.mark.parametrize("mirror_switch", ["auto", "on"])
def test_the_ledger_is_copied_without_uploads(
    cloud: Supabase, delivery: Delivery, mirror_switch: str
) -> None:
    alone = records.settings(usage={"mirror": mirror_switch}, output={"cloud_sync": "off"})
    mirror.send(delivery, alone, records.environ(cloud), {})
    assert len(cloud.rows("mai", "imagen_usage")) == 1


def test_the_table_of_the_copy_is_configurable(delivery: Delivery) -> None:
    usage = {"mirror_schema": "accounts", "mirror_table": "art"}
    table = replace(USAGE, schema="accounts", name="art")
    with Supabase(tables=[table], exposed=["accounts"]) as cloud:
        facts = mirror.send(delivery, records.settings(usage=usage), records.environ(cloud), {})
        assert facts["table"] == "accounts.art"
        assert len(cloud.rows("accounts", "art")) == 1


def test_a_table_without_optional_columns_gets_the_others(delivery: Delivery) -> None:
    notes: dict[str, str] = {}
    with Supabase(tables=[USAGE.without("images", "actual_cost", "currency")]) as cloud:
        mirror.send(delivery, records.settings(), records.environ(cloud), notes)
        (row,) = cloud.rows("mai", "imagen_usage")
    assert list(row) == [
        *("id", "created_at", "backend", "model", "seed", "prompt_hash", "latency_ms"),
        *("cost_usd_estimate", "caller"),
    ]
    assert notes == {
        "mai.imagen_usage": "The table mai.imagen_usage in the cloud has no column images: rows "
        "are sent without images, actual_cost, currency. To add these columns, run "
        "docs/supabase.sql in the SQL editor of the project."
    }


def test_a_table_without_optional_columns_is_remembered(delivery: Delivery) -> None:
    notes: dict[str, str] = {}
    again = delivery.model_copy(update={"payload": {"row": delivery.payload["row"] | {"id": _ID}}})
    with Supabase(tables=[USAGE.without("currency")]) as cloud:
        mirror.send(delivery, records.settings(), records.environ(cloud), notes)
        mirror.send(again, records.settings(), records.environ(cloud), notes)
        assert len(cloud.requests) == 3  # one refusal, then each row once
        assert [row["id"] for row in cloud.rows("mai", "imagen_usage")] == [records.ID, _ID]
    assert len(notes) == 1


def test_a_table_without_a_required_column_is_refused(delivery: Delivery) -> None:
    notes: dict[str, str] = {}
    with Supabase(tables=[USAGE.without("prompt_hash")]) as cloud, pytest.raises(Rejected) as error:
        mirror.send(delivery, records.settings(), records.environ(cloud), notes)
    assert "Could not find the 'prompt_hash' column of 'imagen_usage'" in error.value.message
    assert "docs/supabase.sql" in error.value.remedy
    assert "usage.mirror_table" in error.value.remedy
    assert notes == {}


def test_a_lost_answer_of_a_table_without_optional_columns_leaves_one_row(
    delivery: Delivery,
) -> None:
    with Supabase(tables=[USAGE.without("images")], lost_inserts=1) as cloud:
        mirror.send(delivery, records.settings(), records.environ(cloud), {})
        assert len(cloud.rows("mai", "imagen_usage")) == 1


@pytest.mark.parametrize("more", [{"state": "failed"}, {"source": "import"}])
def test_failed_and_imported_generations_are_not_mirrored(
    cloud: Supabase, tmp_path: Path, more: dict[str, str]
) -> None:
    entry = records.make_record(records.make_image(tmp_path), **more)
    assert mirror.deliveries(entry, records.settings(), records.environ(cloud)) == []
