"""What it means where Supabase says no; Storage hides the real status in the body of a 400."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from imagen.core.json_values import parse_json
from imagen.core.text import one_line
from imagen.errors import BackendError, RateLimited, Rejected, Unauthorized, Unavailable
from imagen.net.http import response_error

if TYPE_CHECKING:
    import httpx

_AGAIN = "Run docs/supabase.sql in the SQL editor of the project; it can be run again."
_ANOTHER = (
    f"The table is not the one that imagen needs. {_AGAIN} If the table belongs to another "
    "program, name another in `cloud.db_table` or `usage.mirror_table`."
)
_REMEDIES = {
    "NoSuchBucket": f"Make the bucket that `cloud.bucket` names. {_AGAIN}",
    "InvalidMimeType": "Allow this type of file in the settings of the bucket.",
    "EntityTooLarge": "Raise the limit of the bucket, and that of the project's Storage.",
    "PGRST106": "Add the schema to the exposed ones: Project Settings, Data API, Exposed schemas.",
    "PGRST205": _AGAIN,
    "PGRST204": _ANOTHER,
    "42P01": _AGAIN,
    "42P10": _ANOTHER,
    "42501": f"The key must be the service key, and the schema be granted to it. {_AGAIN}",
    "22P02": "`owner_user_id` must be the UUID of a user.",
}
"""What to do, by the code in the body."""
_DUPLICATE = ("KeyAlreadyExists", "Duplicate")


class Told(BaseModel):
    """The body of a refusal, of Storage or of PostgREST."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    code: str = ""
    statusCode: str = ""
    error: str | None = ""
    message: str = ""
    details: str | None = ""
    hint: str | None = ""

    @property
    def is_duplicate(self) -> bool:
        """Whether Storage has an object at this path already."""
        return self.code in _DUPLICATE or (self.error == "Duplicate" and self.statusCode == "409")

    @property
    def is_missing(self) -> bool:
        """Whether Storage has no such object."""
        return self.code == "NoSuchKey" or self.error == "not_found"

    def is_about(self, id: str) -> bool:
        """Whether PostgREST has a row with this id already."""
        return self.code == "23505" and f"({id})" in (self.details or "")

    @property
    def missing_column(self) -> str:
        """The column that PostgREST does not find in the table; "" where it refuses otherwise."""
        named = re.match(r"Could not find the '([^']+)' column", self.message)
        return named[1] if named and self.code == "PGRST204" else ""

    @property
    def words(self) -> str:
        """What was said, safe to show."""
        said = " ".join(part for part in (self.message, self.details, self.hint) if part)
        return one_line(said, limit=300).rstrip(".")


def told(response: httpx.Response) -> Told:
    """What a refusal says; nothing where it is in no form that is known."""
    try:
        return Told.model_validate(_object(response.content))
    except ValidationError:
        return Told()


def refused(response: httpx.Response, at: str, *, credential: str) -> BackendError:
    """The error of an answer that is no success; `credential` says what to set for access."""
    found = told(response)
    status = _status(response, found)
    if status == response.status_code and (status >= 500 or status == 429 or not found.message):
        return response_error(response, at, credential=credential)
    named = " ".join(filter(None, (str(status), one_line(found.code, limit=40))))
    said = f"{at} refused it: {found.words} ({named})."
    if status >= 500:
        return Unavailable(said)
    if status == 429:
        return RateLimited(said)
    remedy = _REMEDIES.get(found.code, "")
    if status in (401, 403):
        return Unauthorized(said, remedy=remedy or credential)
    return Rejected(said, remedy=remedy)


def _status(response: httpx.Response, found: Told) -> int:
    """The real one: Storage answers 400 whatever it is, and says it in the body."""
    hidden = found.statusCode
    is_hidden = response.status_code == 400 and hidden.isdecimal() and len(hidden) == 3
    return int(hidden) if is_hidden else response.status_code


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = parse_json(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
