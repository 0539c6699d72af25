"""Settings of what is kept of each generation, who is told of it, and what it may cost."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
)

from imagen.config.paths import default_library, default_state_dir
from imagen.core.request import Seed, Side, Steps, Unit
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


ImageFormat = Literal["png", "jpg", "jpeg", "webp", "avif"]
"""What an image can be saved as, by the ending of its file."""


class Limits(Section):
    """What no request may exceed."""

    max_width: Side = Field(4096, description="Pixels.")
    max_height: Side = Field(4096, description="Pixels.")
    max_compute: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="At most this many width × height × steps / 10^6 of one picture.",
    )


class Style(Section):
    """A named preset: texts around the prompt, and values where the request has none.

    All but the texts are named as in `Request`, and mean the same.
    """

    prompt: str = Field("{prompt}", description="`{prompt}` stands for the prompt asked for.")
    negative: str | None = Field(None, description="Put before the negative asked for.")
    width: Side | None = Field(None, description="Pixels, where none is asked.")
    height: Side | None = Field(None, description="Pixels, where none is asked.")
    seed: Seed | None = Field(None, description="Where the noise starts.")
    steps: Steps | None = Field(None, description="Sampling steps.")
    cfg: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="Classifier-free guidance scale."
    )
    guidance: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="Distilled guidance (FLUX.1-dev)."
    )
    sampler: str | None = Field(None, min_length=1, description="The sampler's name.")
    scheduler: str | None = Field(None, min_length=1, description="The noise schedule's name.")
    strength: Unit | None = Field(None, description="How far to leave the initial image.")
    model: str | None = Field(
        None, min_length=1, description="The checkpoint, where the request names none."
    )

    @field_validator("prompt")
    @classmethod
    def _holds_the_prompt(cls, prompt: str) -> str:
        if "{prompt}" not in prompt:
            raise ValueError("must hold {prompt}, where the prompt asked for goes")
        return prompt


class OutputSettings(Section):
    """Where pictures go, and what stands in them."""

    directory: Path = Field(Path("outputs"), description="From the working directory.")
    name: str = Field(
        "{date}-{time}-{slug}-{seed}", min_length=1, description="The file's name, by template."
    )
    format: ImageFormat | None = Field(
        None, description="What images are saved as; where it is left out, as the engine made them."
    )
    quality: int | None = Field(
        None,
        ge=1,
        le=100,
        description="Of images that are converted to JPEG, WebP or AVIF, by default 90, 90 and "
        "80; at 100 WebP is lossless.",
    )
    sidecar: bool = Field(True, description="A JSON file beside each picture.")
    metadata: bool = Field(
        True,
        description="How it was made, inside each image; false also removes what the engine "
        "wrote. The sidecar has its own setting.",
    )
    cloud_sync: Switch = Field(
        "auto",
        description="Whether pictures go to the cloud; auto: where its credentials and "
        "`owner_user_id` are there, on: an error without them.",
    )
    preview: Switch = Field(
        "auto",
        description="Whether a picture is shown once it is there; auto: on a terminal that can.",
    )
    preview_command: str = Field(
        "tmux-img --hold",
        min_length=1,
        description="The viewer in tmux's window; the picture's path is its last word.",
    )


class InputSettings(Section):
    """The images that a request names."""

    allow_urls: bool = Field(
        False,
        description="Whether images may be http and https URLs of the public internet.",
    )


class Settings(Section):
    """All of the configuration; the blocks of backends stay raw, each is its adapter's own."""

    default_backend: str = Field(
        "mock", min_length=1, description="Which backend is used where none is named."
    )
    backends: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Your backends: to each name, its adapter's own keys."
    )
    styles: dict[str, Style] = Field(default_factory=dict, description="Presets, by name.")
    workflow_dirs: tuple[Path, ...] = Field(
        (),
        description="Folders of your own workflows, from this file's folder; "
        "where none is named, ~/.config/imagen/workflows if it is there.",
    )
    limits: Limits = Field(Limits(), description="What no request may exceed.")
    inputs: InputSettings = Field(InputSettings(), description="The images that a request names.")
    output: OutputSettings = Field(
        OutputSettings(), description="Where pictures go, and what stands in them."
    )
    state_dir: Path = Field(
        default_factory=lambda: default_state_dir(os.environ),
        description="Where tickets of running jobs are kept.",
    )
    library: LibrarySettings = Field(
        LibrarySettings(), description="Where it is kept what was made."
    )
    owner_user_id: str | None = Field(
        None, min_length=1, description="Whose pictures these are, in the cloud: a user's id."
    )
    cloud: CloudSettings = Field(CloudSettings(), description="A Supabase project.")
    usage: UsageSettings = Field(UsageSettings(), description="What pictures cost.")
    budgets: tuple[Budget, ...] = Field((), description="What may be spent.")
    webhooks: tuple[Webhook, ...] = Field((), description="Who is told of each generation.")
    _source: Path | None = PrivateAttr(None)

    def with_workflow(self, backend: str, workflow: str) -> Settings:
        """Settings in which this ComfyUI backend runs another workflow: a name, or a file's path.

        What its block says about its own workflow is left out. The backend `comfyui` needs no
        block: it is the server at the usual address.
        """
        block = self.backends.get(backend, {})
        rest = {key: value for key, value in block.items() if key not in ("parameters", "tasks")}
        blocks = {**self.backends, backend: {**rest, "workflow": workflow}}
        return self.model_copy(update={"backends": blocks})

    @property
    def source(self) -> Path | None:
        """The file these settings were read from; None where there was none."""
        return self._source

    def read_from(self, source: Path | None) -> Settings:
        """A copy that remembers the file it was read from."""
        copy = self.model_copy()
        copy._source = source
        return copy

    @property
    def library_at(self) -> str:
        """Where the library is: a file's path, or a PostgreSQL address without its password."""
        return self.library.url or str(default_library(os.environ))

    def shared(self) -> dict[str, Any]:
        """The keys that every backend's block may override."""
        return {"workflow_dirs": self.workflow_dirs, "cache_dir": self.state_dir / "cache"}
