"""Deliveries are built for every enabled target, and sent by its module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from simulators.supabase import Supabase
from support import generation_records as records
from support.webhook_receiver import Receiver

from imagen import delivery
from imagen.errors import ConfigError


def test_a_generation_is_delivered_to_every_target(tmp_path: Path) -> None:
    with Supabase() as cloud, Receiver() as there:
        settings = records.settings(webhooks=[{"url": there.url}])
        environ = records.environ(cloud)
        made = delivery.deliveries_of(
            records.make_record(records.make_image(tmp_path)), settings, environ
        )
        facts = [delivery.send(one, settings, environ, {}) for one in made]
    assert [one.kind for one in made] == ["cloud", "mirror", "webhook"]
    assert [one.generation for one in made] == [records.ID, records.ID, records.ID]
    assert facts[2] == {"status": 204, "id": made[2].payload["id"]}
    assert len(there.requests) == 1


def test_nothing_is_delivered_without_targets(tmp_path: Path) -> None:
    assert (
        delivery.deliveries_of(
            records.make_record(records.make_image(tmp_path)), records.settings(), {}
        )
        == []
    )


def test_a_delivery_survives_json(tmp_path: Path) -> None:
    with Supabase() as cloud:
        settings, environ = records.settings(), records.environ(cloud)
        made = delivery.deliveries_of(
            records.make_record(records.make_image(tmp_path)), settings, environ
        )
    assert [one.model_validate_json(one.model_dump_json()) for one in made] == made


def test_check_settings_reports_a_target_that_cannot_work() -> None:
    settings = records.settings(output={"cloud_sync": "on"})
    with pytest.raises(ConfigError, match=r"output\.cloud_sync is on"):
        delivery.check_settings(settings, {})


def test_check_settings_accepts_disabled_targets_and_webhooks() -> None:
    delivery.check_settings(records.settings(webhooks=[{"url": "https://example.org"}]), {})


def test_a_delivery_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with Supabase() as cloud:
        entry = records.make_record(records.make_image(tmp_path))
        made = delivery.deliveries_of(entry, records.settings(), records.environ(cloud))
    later = made[0].model_copy(update={"kind": "pigeon"})
    with pytest.raises(ConfigError, match="does not know deliveries of 'pigeon'"):
        delivery.send(later, records.settings(), {}, {})


def test_building_deliveries_loads_no_http_client() -> None:
    program = (
        "import sys\nfrom support import generation_records as records\n"
        "from imagen import delivery\n"
        "settings = records.settings(webhooks=[{'url': 'https://example.org'}])\n"
        "environ = {'SUPABASE_URL': 'https://x', 'SUPABASE_SERVICE_KEY': 'k'}\n"
        "assert len(delivery.deliveries_of(records.make_record(), settings, environ)) == 2\n"
        "print([name for name in ('httpx', 'tenacity') if name in sys.modules])\n"
    )
    folder = str(Path(records.__file__).parents[1])
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONPATH": folder}
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
