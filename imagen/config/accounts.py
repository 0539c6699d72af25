"""Settings of what is kept of each generation, who is told of it, and what it may cost."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
)

from imagen.core.text import is_variable_name

if TYPE_CHECKING:
    from datetime import tzinfo


def _switch(value: Any) -> Any:
    """YAML reads `on` and `off` as true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


SwitchWord = Literal["auto", "on", "off"]
Switch = Annotated[SwitchWord, BeforeValidator(_switch)]
Period = Literal["run", "day", "month"]
Event = Literal["finished", "failed"]
Disclosure = Literal["auto", "full", "no_prompt", "none"]


def _sql_identifier(name: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", name):
        return name
    raise ValueError("must be an SQL identifier: letters, digits and _, without a digit first")


def _variable_name(name: str) -> str:
    if is_variable_name(name):
        return name
    raise ValueError("must be the name of an environment variable, such as IMAGEN_CALLER")


def _tmux_option(name: str) -> str:
    if re.fullmatch(r"(@[A-Za-z0-9_-]+)?", name):
        return name
    raise ValueError("must be an option of tmux such as @mai-name: @, letters, digits, _ and -")


def _time_zone(name: str) -> str:
    from zoneinfo import ZoneInfo

    # A path out of the database is a ValueError; a folder in it, such as Europe, an OSError.
    with suppress(KeyError, ValueError, OSError):
        ZoneInfo(name)
        return name
    raise ValueError("must be the name of a time zone, such as Europe/Zurich or UTC")


SqlIdentifier = Annotated[str, AfterValidator(_sql_identifier)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
TmuxOption = Annotated[str, AfterValidator(_tmux_option)]
TimeZoneName = Annotated[str, AfterValidator(_time_zone)]


class Section(BaseModel):
    """A part of the configuration: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LibrarySettings(Section):
    """Where it is kept what was made."""

    enabled: bool = Field(True, description="Whether anything is kept there.")
    url: str | None = Field(
        None,
        min_length=1,
        description="A file, or `postgresql://user@host/database` for several machines.",
    )
    password_env: str = Field("", description="The variable that holds PostgreSQL's password.")


class CloudSettings(Section):
    """A Supabase project, where pictures and their records go."""

    url_env: str = Field("SUPABASE_URL", description="The variable that holds its address.")
    key_env: tuple[str, ...] = Field(
        ("SUPABASE_SERVICE_KEY", "MAI_SUPABASE_KEY"),
        min_length=1,
        description="The variables that may hold its service key; the first that is set counts.",
    )
    bucket: str = Field(
        "imagen-generated", pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Of its Storage."
    )
    db_schema: SqlIdentifier = Field("imagen", description="The schema of the images' table.")
    db_table: SqlIdentifier = Field("images", description="The table with a row for each image.")
    metadata: Disclosure = Field(
        "auto",
        description="What goes along inside a picture: full, no_prompt or none; auto: full into "
        "a private bucket, no_prompt into a public one.",
    )
    connect_seconds: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="How long reaching it may take."
    )


class UsageSettings(Section):
    """What pictures cost, where no engine's owner says so."""

    currency: str = Field(
        "USD", pattern=r"^[A-Z]{3}$", description="Of `price_per_kwh`; engines are paid in USD."
    )
    watts: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="What a backend's machine draws at work, by name."
    )
    price_per_kwh: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Of your electricity."
    )
    timezone: TimeZoneName | None = Field(
        None,
        description="Where days and weeks begin, such as `Europe/Zurich`; left out, this "
        "machine's time zone.",
    )
    mirror: Switch = Field(
        "auto",
        description="Whether the ledger is copied to Supabase; auto: where the credentials of "
        "`cloud` are set, on: an error without them.",
    )
    mirror_schema: SqlIdentifier = Field("mai", description="The schema of the copy's table.")
    mirror_table: SqlIdentifier = Field("imagen_usage", description="The table of the copy.")
    caller_env: tuple[VariableName, ...] = Field(
        ("IMAGEN_CALLER", "MAI_FROM_ID"),
        description="The variables that may name who asks for an image; the first that is set "
        "counts.",
    )
    caller_tmux_option: TmuxOption = Field(
        "@mai-name",
        description="The option of a tmux pane that names the caller where no variable does; "
        "empty: tmux is not asked.",
    )

    @property
    def zone(self) -> tzinfo | None:
        """The time zone in which days and weeks begin; None is this machine's."""
        if self.timezone is None:
            return None
        from zoneinfo import ZoneInfo

        return ZoneInfo(self.timezone)


class Budget(Section):
    """What may be spent on one run, in a day or in a month."""

    amount: float = Field(ge=0, allow_inf_nan=False, description="In `currency`.")
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$", description="Of `amount`.")
    per: Period = Field(description="run, day or month; days and months begin in `usage.timezone`.")
    backend: str | None = Field(None, description="The one it is for; left out, all together.")
    warn_at: float = Field(0.8, ge=0, le=1, description="From this share on there is a warning.")


class Webhook(Section):
    """An address that is told of each generation."""

    url: str = Field(pattern=r"^https?://", description="http or https.")
    secret_env: str = Field("", description="The variable that holds the key of its signature.")
    events: tuple[Event, ...] = Field(
        ("finished", "failed"), min_length=1, description="Which generations it is told of."
    )

    @field_validator("url")
    @classmethod
    def _leads_somewhere(cls, url: str) -> str:
        with suppress(ValueError):
            parts = urlsplit(url)
            named = (parts.hostname or "").encode("idna")  # as the resolver will
            if named and parts.port != 0 and url.isprintable() and " " not in url:
                return url
        raise ValueError("must look like https://example.org/hook")
