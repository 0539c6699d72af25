"""Due deliveries are sent once; failed ones wait longer and longer, and hold up no others."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from support.library_samples import (
    delete_images,
    make_delivery,
    make_record,
    settings_at,
    trash_images,
    uuid_of,
)
from support.webhook_receiver import Receiver

from imagen.core.filesystem import lock
from imagen.delivery.worker import other_machine_reason, sync, sync_alone
from imagen.library import Delivery, Library, open_library, outbox, record_generation
from imagen.library.schema import images, stored_url
from imagen.library.schema import outbox as rows
from imagen.library.search import images_of
from imagen.testing.http_server import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.config import Settings
    from imagen.delivery.worker import SyncResult

_DOWN = HttpAnswer(status=503)


@pytest.fixture
def library(library_url: str) -> Iterator[Library]:
    with open_library(settings_at(library_url)) as opened:
        yield opened


def _hook(url: str, number: int) -> Delivery:
    """A delivery of this generation to a webhook."""
    told = make_delivery(number, id=f"msg_{number}", event="finished", body={"number": number})
    return told.model_copy(update={"destination": stored_url(url)})


def _post(library: Library, *urls: str, many: int = 1) -> None:
    for number in range(1, many + 1):
        record_generation(library, make_record(number), [_hook(url, number) for url in urls])


def _settings(*urls: str) -> Settings:
    return settings_at("unused", webhooks=[{"url": url} for url in urls])


def _sync(library: Library, *urls: str, **more: Any) -> SyncResult:
    return sync(library, _settings(*urls), {}, draw=lambda: 1.0, **more)


def _pass_time(library: Library, seconds: int) -> None:
    earlier = sqlalchemy.update(rows).values(due_ms=rows.c.due_ms - seconds * 1000)
    with library.writing() as connection:
        connection.execute(earlier)


def _rounds(library: Library, url: str, *pauses: int) -> None:
    """Sync, then let this many seconds pass; each in turn."""
    for seconds in pauses:
        _sync(library, url)
        _pass_time(library, seconds)


def _due(library: Library) -> list[tuple[str, int, int]]:
    """Of each that is left: which, how often it was tried, and in how many seconds it is due.

    These are rounded to tens, since a busy machine takes its time.
    """
    now = datetime.now(UTC)
    return [
        (one.delivery.payload["id"], one.attempts, 10 * round((one.due - now).total_seconds() / 10))
        for one in outbox.list_unsent(library)
    ]


def test_due_deliveries_are_sent_in_order_and_counted(library: Library) -> None:
    counted: list[tuple[int, int]] = []
    with Receiver() as there:
        _post(library, there.url, many=3)
        synced = _sync(library, there.url, on_progress=lambda n, of: counted.append((n, of)))
    assert [one.payload["id"] for one in synced.sent] == ["msg_1", "msg_2", "msg_3"]
    assert counted == [(0, 3), (1, 3), (2, 3)]
    assert (synced.failed, outbox.list_unsent(library), outbox.count_due(library)) == ((), [], 0)


def test_an_unreachable_destination_does_not_hold_up_others(library: Library) -> None:
    with Receiver(_DOWN, times=9) as down, Receiver() as up:
        _post(library, down.url, up.url, many=3)
        synced = _sync(library, down.url, up.url)
    assert (len(down.requests), len(up.requests)) == (1, 3)
    assert len(synced.sent) == 3
    assert [one.pending.delivery.destination for one in synced.failed] == [stored_url(down.url)]
    assert _due(library) == [("msg_1", 1, 30), ("msg_2", 1, 30), ("msg_3", 1, 30)]


def test_waiting_deliveries_of_one_destination_take_turns(library: Library) -> None:
    with Receiver(_DOWN, times=5) as there:
        _post(library, there.url, many=3)
        _rounds(library, there.url, *[3600] * 5)
    sent = [one.headers["webhook-id"] for one in there.requests]
    assert sent == ["msg_1", "msg_2", "msg_3", "msg_1", "msg_2"]


def test_a_delivery_added_during_an_outage_waits_with_the_others(
    library: Library,
) -> None:
    with Receiver(_DOWN) as there:

        def post_another() -> bool:
            number = 1 + len(there.requests)
            record_generation(library, make_record(number), [_hook(there.url, number)])
            return number > 2

        _sync(library, there.url, is_stopped=post_another)
        assert len(there.requests) == 1
    assert _due(library) == [("msg_1", 1, 30), ("msg_2", 1, 30)]


def test_pauses_grow_for_all_deliveries_of_a_destination(library: Library) -> None:
    with Receiver(_DOWN, times=3) as there:
        _post(library, there.url, many=2)
        _rounds(library, there.url, 31, 61, 0)
    assert _due(library) == [("msg_1", 3, 120), ("msg_2", 3, 120)]


def test_a_delivery_is_not_sent_before_it_is_due(library: Library) -> None:
    with Receiver(_DOWN) as there:
        _post(library, there.url)
        _sync(library, there.url)
        assert _sync(library, there.url).sent == ()
    assert len(there.requests) == 1


def test_a_success_makes_delayed_deliveries_due(library: Library) -> None:
    with Receiver(_DOWN) as there:
        _post(library, there.url, many=3)
        _sync(library, there.url)
        record_generation(library, make_record(4), [_hook(there.url, 4)])
        synced = _sync(library, there.url)
    assert [one.payload["id"] for one in synced.sent] == ["msg_4", "msg_2", "msg_3", "msg_1"]
    assert _due(library) == []


def test_a_pause_longer_than_an_hour_is_kept_after_a_success(library: Library) -> None:
    patience = HttpAnswer(status=429, headers={"Retry-After": "7200"})
    with Receiver(patience) as there:
        _post(library, there.url)
        _sync(library, there.url)
        record_generation(library, make_record(4), [_hook(there.url, 4)])
        _sync(library, there.url)
    assert _due(library) == [("msg_1", 1, 3600)]


def test_a_refused_delivery_does_not_stop_others(library: Library) -> None:
    with Receiver(HttpAnswer(status=422)) as there:
        _post(library, there.url, many=3)
        _sync(library, there.url)
    (left,) = outbox.list_unsent(library)
    assert (left.state, left.attempts) == ("stuck", 1)
    assert left.last_error == f"{there.url} refused the request: 422 Unprocessable Entity."


@pytest.mark.parametrize("status", [401, 302], ids=["no access", "moved"])
def test_unauthorized_makes_all_deliveries_stuck_at_once(library: Library, status: int) -> None:
    with Receiver(HttpAnswer(status=status), times=9) as there:
        _post(library, there.url, many=3)
        _sync(library, there.url)
    assert len(there.requests) == 1
    left = outbox.list_unsent(library)
    assert [(one.state, one.attempts) for one in left] == [("stuck", 1)] * 3
    assert len({one.last_error for one in left}) == 1


def test_claimed_deliveries_are_left_to_their_sender(library: Library) -> None:
    with Receiver(_DOWN) as there:
        _post(library, there.url, many=3)
        (others,) = outbox.claim(library, limit=1)
        _sync(library, there.url)
        assert _due(library) == [("msg_1", 0, 600), ("msg_2", 1, 30), ("msg_3", 1, 30)]
        outbox.release(library, others)
    assert _due(library)[0][2] <= 0


def test_a_stopped_sync_leaves_the_rest(library: Library) -> None:
    with Receiver() as there:
        _post(library, there.url, many=3)
        synced = _sync(library, there.url, is_stopped=lambda: len(there.requests) == 2)
    assert len(synced.sent) == 2
    assert [one.state for one in outbox.list_unsent(library)] == ["waiting"]
    assert outbox.count_due(library) == 1


def test_an_interrupted_sync_releases_its_claim(library: Library) -> None:
    with Receiver() as there:
        _post(library, there.url)
        with pytest.raises(KeyboardInterrupt):
            sync(library, _signed(there.url), _Interrupting())
    assert outbox.count_due(library) == 1


def _signed(url: str) -> Settings:
    return settings_at("unused", webhooks=[{"url": url, "secret_env": "SECRET"}])


class _Interrupting(dict[str, str]):
    """An environment in which Ctrl-C comes while a delivery is sent."""

    def get(self, *_: object) -> Any:
        raise KeyboardInterrupt


def _picture(number: int = 1, **more: Any) -> Delivery:
    return make_delivery(number, "cloud", file="/gone/fox.png", host=platform.node(), **more)


def test_an_image_is_sent_from_its_present_path(library: Library) -> None:
    record_generation(library, make_record(1), [_picture()])
    moved = sqlalchemy.update(images).values(path="/now/here.png", sidecar="/now/here.png.json")
    with library.writing() as connection:
        connection.execute(moved)
    (waiting,) = outbox.claim(library)
    placed = outbox.with_current_paths(library, waiting)
    assert placed is not None
    assert placed.delivery.payload == {
        "file": "/now/here.png",
        "sidecar": "/now/here.png.json",
        "host": platform.node(),
    }


def test_an_image_in_the_trash_is_still_sent(library: Library) -> None:
    record_generation(library, make_record(1), [_picture()])
    trash_images(library, images_of(library, uuid_of(1)))
    assert outbox.count_due(library) == 1


def test_a_deleted_image_is_not_sent(library: Library) -> None:
    record_generation(library, make_record(1), [_picture(), make_delivery(1, "mirror")])
    trash_images(library, images_of(library, uuid_of(1)))
    delete_images(library, images_of(library, uuid_of(1)))
    assert [one.delivery.kind for one in outbox.list_unsent(library)] == ["mirror"]


def test_an_image_deleted_while_claimed_is_dropped(library: Library) -> None:
    record_generation(library, make_record(1), [_picture()])
    (waiting,) = outbox.claim(library)
    trash_images(library, images_of(library, uuid_of(1)))
    delete_images(library, images_of(library, uuid_of(1)))
    assert outbox.with_current_paths(library, waiting) is None
    outbox.mark_failed(library, waiting, "x", again_in_seconds=1)
    assert outbox.list_unsent(library) == []


def _on_another_machine(library: Library, **more: Any) -> None:
    record_generation(library, make_record(1), [_picture(sha256="0")])
    with library.writing() as connection:
        connection.execute(sqlalchemy.update(images).values(host="attic", **more))


def test_each_machine_sends_its_own_images_of_a_shared_library(postgres_url: str) -> None:
    with open_library(settings_at(postgres_url)) as library:
        _on_another_machine(library)
        assert outbox.claim(library) == []
        assert (outbox.count_due(library), outbox.next_due(library)) == (0, None)
        assert [one.attempts for one in outbox.list_unsent(library)] == [0]


@pytest.mark.parametrize(
    ("data", "count"), [(b"fox", 1), (b"another", 0)], ids=["itself", "another of its name"]
)
def test_a_renamed_machine_sends_its_images_of_a_shared_library(
    postgres_url: str, data: bytes, count: int
) -> None:
    Path("fox.png").write_bytes(data)
    with open_library(settings_at(postgres_url)) as library:
        _on_another_machine(library, path=str(Path("fox.png").absolute()), size_bytes=3)
        assert outbox.count_due(library) == count
        assert len(outbox.claim(library)) == count


def test_an_image_on_another_machine_waits_without_an_attempt(sqlite_path: str) -> None:
    with open_library(settings_at(sqlite_path)) as library:
        _on_another_machine(library)
        synced = sync(library, settings_at(sqlite_path), {})
        (left,) = outbox.list_unsent(library)
    assert (synced.sent, synced.failed, left.state, left.attempts) == ((), (), "waiting", 0)
    assert left.last_error == ("The image is on attic; it is sent when imagen sync runs there.")


def test_a_renamed_machine_sends_its_images() -> None:
    Path("fox.png").write_bytes(b"fox")
    here = make_delivery(1, "cloud", file="fox.png", host="the old name")
    assert other_machine_reason(here) == ""


def test_unless_running_lets_one_sync_run_per_state_directory(library: Library) -> None:
    with Receiver() as there:
        _post(library, there.url)
        settings = _settings(there.url)
        held = lock(settings.state_dir / "sync.lock")
        assert held is not None
        assert sync_alone(library, settings, {}, unless_running=True).sent == ()
        held.release()
        assert len(sync_alone(library, settings, {}, unless_running=True).sent) == 1


def test_a_second_sync_runs_beside_the_first(library: Library) -> None:
    with Receiver() as there:
        _post(library, there.url)
        settings = _settings(there.url)
        held = lock(settings.state_dir / "sync.lock")
        assert held is not None
        assert len(sync_alone(library, settings, {}).sent) == 1
        held.release()


def test_a_forgotten_delivery_is_never_sent(library: Library) -> None:
    _post(library, "http://127.0.0.1:9", many=2)
    first, _ = outbox.list_unsent(library)
    assert outbox.delete_unsent(library, [first.id]) == 1
    assert [one[0] for one in _due(library)] == ["msg_2"]


def test_a_sent_delivery_is_remembered(library: Library) -> None:
    with Receiver() as there:
        _post(library, there.url)
        ids = [one.id for one in outbox.list_unsent(library)]
        _sync(library, there.url)
    assert outbox.delete_unsent(library, ids) == 0
    assert len(outbox.deliveries_for(library, uuid_of(1), 0)) == 1


def test_a_delivery_added_at_the_last_moment_is_sent(library: Library) -> None:
    """Another process that posts it finds this one at work, and relies on it."""
    asked: list[bool] = []
    with Receiver() as there:
        _post(library, there.url)

        def post_once_it_seems_done() -> bool:
            asked.append(True)
            if len(asked) == 3:
                record_generation(library, make_record(2), [_hook(there.url, 2)])
            return False

        settings = _settings(there.url)
        synced = sync_alone(library, settings, {}, is_stopped=post_once_it_seems_done)
    assert [one.payload["id"] for one in synced.sent] == ["msg_1", "msg_2"]


def test_a_finished_sync_releases_its_lock(library: Library) -> None:
    with Receiver() as there:
        settings = _settings(there.url)
        sync_alone(library, settings, {})
        free = lock(settings.state_dir / "sync.lock")
    assert free is not None
    free.release()


def test_sync_works_without_file_locks(library: Library) -> None:
    Path("state").write_text("not a folder")
    with Receiver() as there:
        _post(library, there.url)
        settings = _settings(there.url).model_copy(update={"state_dir": Path("state")})
        assert len(sync_alone(library, settings, {}, unless_running=True).sent) == 1
