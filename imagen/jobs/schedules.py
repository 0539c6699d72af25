"""Schedules: jobs that are submitted again and again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from sqlalchemy import delete, insert, select, update

from imagen.core.json_values import json_safe
from imagen.core.ticket import new_id
from imagen.library.schema import (
    datetime_of,
    job_blobs,
    milliseconds,
    schedules,
    stored_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.library.database import Library


class Schedule(BaseModel):
    """A request that is submitted at each moment of a cron expression."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(default_factory=new_id)
    cron: str
    timezone: str
    spec: dict[str, JsonValue] = Field(description="What is submitted, as its command stores it.")
    next: datetime
    last: datetime | None = None
    is_paused: bool = False
    caller: str = ""


class ScheduleRows:
    """The schedules of a library. Threads may share it."""

    library: Library

    def put_schedule(self, schedule: Schedule, blobs: Sequence[str] = ()) -> None:
        """Store a schedule, or change it. `blobs` are the hashes of its input files."""
        values = {
            "cron": stored_text(schedule.cron),
            "timezone": schedule.timezone,
            "spec": json_safe(schedule.spec),
            "next_ms": milliseconds(schedule.next),
            "last_ms": None if schedule.last is None else milliseconds(schedule.last),
            "is_paused": int(schedule.is_paused),
            "caller": stored_text(schedule.caller),
        }
        with self.library.writing() as connection:
            same = update(schedules).where(schedules.c.id == schedule.id)
            if not connection.execute(same.values(**values)).rowcount:
                connection.execute(insert(schedules).values(id=schedule.id, **values))
            for sha256 in blobs:
                same_blob = job_blobs.c.job == schedule.id, job_blobs.c.sha256 == sha256
                connection.execute(delete(job_blobs).where(*same_blob))
                connection.execute(insert(job_blobs).values(job=schedule.id, sha256=sha256))

    def schedules(self) -> list[Schedule]:
        """All schedules, the next one first."""
        with self.library.reading() as connection:
            rows = connection.execute(select(schedules).order_by(schedules.c.next_ms))
            return [
                Schedule(
                    id=row.id,
                    cron=row.cron,
                    timezone=row.timezone,
                    spec=row.spec,
                    next=datetime_of(row.next_ms),
                    last=None if row.last_ms is None else datetime_of(row.last_ms),
                    is_paused=bool(row.is_paused),
                    caller=row.caller,
                )
                for row in rows
            ]

    def delete_schedule(self, id: str) -> bool:
        """Delete a schedule; False if there is none. Its jobs stay."""
        with self.library.writing() as connection:
            connection.execute(delete(job_blobs).where(job_blobs.c.job == id))
            return bool(connection.execute(delete(schedules).where(schedules.c.id == id)).rowcount)

    def advance_schedule(self, id: str, due: datetime, next: datetime) -> bool:
        """Move a schedule on from `due`; False if another process has done that.

        To submit exactly once, submit first, with a key made of the schedule and `due`.
        """
        current = schedules.c.id == id, schedules.c.next_ms == milliseconds(due)
        values = {"next_ms": milliseconds(next), "last_ms": milliseconds(due)}
        with self.library.writing() as connection:
            advanced = update(schedules).where(*current).values(**values)
            return bool(connection.execute(advanced).rowcount)
