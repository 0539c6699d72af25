"""What all views share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, WithJsonSchema


def format_moment(moment: datetime) -> str:
    """In ISO 8601, in this machine's time zone, with its offset."""
    return moment.astimezone().isoformat(timespec="seconds")


Moment = Annotated[
    datetime,
    PlainSerializer(format_moment, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


ExactMoment = Annotated[
    datetime,
    PlainSerializer(
        lambda moment: moment.astimezone().isoformat(timespec="milliseconds"), return_type=str
    ),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def _require_usable(moment: datetime) -> datetime:
    """A moment with its offset, that of this machine if it has none."""
    if not 1970 < moment.year < 9999:
        raise ValueError("must be in the years from 1971 to 9998")
    return moment.astimezone()


GivenMoment = Annotated[datetime, AfterValidator(_require_usable)]
"""A moment that a client gives."""


class View(BaseModel):
    """A value as documented JSON: its fields keep their names and meanings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_serialization_defaults_required=True
    )

    def as_data(self) -> dict[str, object]:
        """The JSON object."""
        return self.model_dump(mode="json", by_alias=True)

    def without_paths(self) -> Self:
        """With file names in place of paths of this machine, which only its user may know."""
        from imagen.outputs.redact import redact_record  # with Pillow

        return type(self).model_validate(redact_record(self.as_data(), "full"))


class ErrorView(View):
    """An error, as `--json` prints it."""

    code: str
    message: str
    remedy: str = ""
