"""Settings of what is kept of each generation, who is told of it, and what it may cost."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator


def _switch(value: Any) -> Any:
    """YAML reads `on` and `off` as true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


SwitchWord = Literal["auto", "on", "off"]
Switch = Annotated[SwitchWord, BeforeValidator(_switch)]
Period = Literal["run", "day", "month"]
Event = Literal["finished", "failed"]
Disclosure = Literal["auto", "full", "no_prompt", "none"]


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
    db_schema: str = Field("imagen", min_length=1, description="Of the table `images`.")
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
    mirror: Switch = Field(
        "auto",
        description="Whether each entry goes to `mai.imagen_usage` of the cloud too; auto: where "
        "`output.cloud_sync` sends pictures there.",
    )


class Budget(Section):
    """What may be spent on one run, in a day or in a month."""

    amount: float = Field(ge=0, allow_inf_nan=False, description="In `currency`.")
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$", description="Of `amount`.")
    per: Period = Field(description="run, day or month; days and months of this machine's clock.")
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
