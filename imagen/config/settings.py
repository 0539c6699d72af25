"""The settings: every key of the configuration, with its meaning and default."""

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
    model_validator,
)

from imagen.config.paths import default_library, default_state_dir
from imagen.core.request import (
    LARGEST_COUNT,
    CfgScale,
    Guidance,
    SamplerName,
    SchedulerName,
    Seed,
    Side,
    Steps,
    Strength,
)
from imagen.core.text import is_variable_name

if TYPE_CHECKING:
    from datetime import tzinfo
    from typing import Self

ImageFormat = Literal["png", "jpg", "jpeg", "webp", "avif"]
"""The formats of saved images, by file ending."""
SwitchWord = Literal["auto", "on", "off"]


def _switch_word(value: object) -> object:
    """YAML reads `on` and `off` as true and false."""
    return ("on" if value else "off") if isinstance(value, bool) else value


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
    raise ValueError("must be an option of tmux such as @caller: @, letters, digits, _ and -")


def _host_name(name: str) -> str:
    if re.fullmatch(r"(\*\.)?[A-Za-z0-9_.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?", name):
        return name.lower()
    raise ValueError("must be the name of a host, such as images.example.org")


def _time_zone(name: str) -> str:
    from zoneinfo import ZoneInfo

    # A path outside the database is a ValueError; a folder in it, such as Europe, an OSError.
    with suppress(KeyError, ValueError, OSError):
        ZoneInfo(name)
        return name
    raise ValueError("must be the name of a time zone, such as Europe/Zurich or UTC")


Switch = Annotated[SwitchWord, BeforeValidator(_switch_word)]
SqlIdentifier = Annotated[str, AfterValidator(_sql_identifier)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
TmuxOption = Annotated[str, AfterValidator(_tmux_option)]
HostName = Annotated[str, AfterValidator(_host_name)]
TimeZoneName = Annotated[str, AfterValidator(_time_zone)]


class Section(BaseModel):
    """A part of the configuration: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(Section):
    """What no request may exceed."""

    max_width: Side = Field(4096, description="Pixels.")
    max_height: Side = Field(4096, description="Pixels.")
    max_compute: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="The most width × height × steps / 10^6 of one image.",
    )


class Style(Section):
    """A named preset: texts around the prompt, and values for what the request leaves out.

    Its keys, except the texts, have the names and meanings of the request's.
    """

    prompt: str = Field("{prompt}", description="`{prompt}` is replaced by the request's prompt.")
    negative: str | None = Field(None, description="Text before the request's negative prompt.")
    width: Side | None = Field(None, description="Pixels, if the request has none.")
    height: Side | None = Field(None, description="Pixels, if the request has none.")
    seed: Seed | None = Field(None, description="The seed of the noise.")
    steps: Steps | None = Field(None, description="Sampling steps.")
    cfg: CfgScale = None
    guidance: Guidance = None
    sampler: SamplerName = None
    scheduler: SchedulerName = None
    strength: Strength = None
    model: str | None = Field(
        None, min_length=1, description="The checkpoint, if the request names none."
    )

    @field_validator("prompt")
    @classmethod
    def _require_placeholder(cls, prompt: str) -> str:
        if "{prompt}" not in prompt:
            raise ValueError("must contain {prompt}, which is replaced by the request's prompt")
        return prompt


class InputSettings(Section):
    """The images that a request names."""

    allow_urls: bool = Field(
        False,
        description="Whether images may be http and https URLs on the public internet.",
    )


class OutputSettings(Section):
    """Where images are saved, and what is saved with them."""

    directory: Path = Field(
        Path("outputs"), description="The output folder, relative to the working directory."
    )
    name: str = Field(
        "{date}-{time}-{slug}-{seed}", min_length=1, description="The template of file names."
    )
    format: ImageFormat | None = Field(
        None, description="The format of saved images; by default as the engine made them."
    )
    quality: int | None = Field(
        None,
        ge=1,
        le=100,
        description="The quality of images that are converted to JPEG, WebP or AVIF, by default "
        "90, 90 and 80; at 100 WebP is lossless.",
    )
    sidecar: bool = Field(True, description="Whether to write a JSON file beside each image.")
    metadata: bool = Field(
        True,
        description="Whether images contain how they were made; false also removes what the "
        "engine wrote. The sidecar has its own setting.",
    )
    cloud_sync: Switch = Field(
        "auto",
        description="Whether images are uploaded; auto: if the credentials and `owner_user_id` "
        "are set, on: an error without them.",
    )
    preview: Switch = Field(
        "auto",
        description="Whether new images are shown; auto: on a terminal that can show them.",
    )
    preview_command: str = Field(
        "tmux-img --hold",
        min_length=1,
        description="The viewer in tmux's window; the image's path is added at the end.",
    )


class LibrarySettings(Section):
    """The database of what was generated."""

    enabled: bool = Field(True, description="Whether generations are recorded.")
    url: str | None = Field(
        None,
        min_length=1,
        description="A file, or `postgresql://user@host/database` for several machines.",
    )
    password_env: str = Field("", description="The variable that holds PostgreSQL's password.")


class CloudJobs(Section):
    """What the rows of the table `jobs` of a Supabase project may ask `imagen worker` for."""

    backends: tuple[str, ...] = Field(
        (),
        description="The backends and pools that rows may name; a row that names none gets the "
        "first.",
    )
    models: tuple[str, ...] = Field(
        (),
        description="The checkpoints, LoRAs, upscalers and face restorers that rows may name; by "
        "default none but the backend's own.",
    )
    most_images: int = Field(
        4, ge=1, le=LARGEST_COUNT, description="The most images that one row may ask for."
    )
    bucket: str = Field(
        "imagen-inputs",
        pattern=r"^[a-z0-9][a-z0-9._-]*$",
        description="The Storage bucket with the images that rows name, in a folder for each user.",
    )


class CloudSettings(Section):
    """A Supabase project to which images and their records are uploaded."""

    url_env: str = Field("SUPABASE_URL", description="The variable that holds its URL.")
    key_env: tuple[str, ...] = Field(
        ("SUPABASE_SERVICE_KEY",),
        min_length=1,
        description="The variables that may hold its service key; the first that is set is used.",
    )
    bucket: str = Field(
        "imagen-generated", pattern=r"^[a-z0-9][a-z0-9._-]*$", description="The Storage bucket."
    )
    db_schema: SqlIdentifier = Field("imagen", description="The schema of the images' table.")
    db_table: SqlIdentifier = Field("images", description="The table with a row for each image.")
    metadata: Literal["auto", "full", "no_prompt", "none"] = Field(
        "auto",
        description="Metadata in uploaded images: full, no_prompt or none; auto: full in a "
        "private bucket, no_prompt in a public one.",
    )
    connect_seconds: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="The time limit for connecting."
    )
    jobs: CloudJobs = Field(CloudJobs(), description="Jobs that a web application submits.")


class UsageSettings(Section):
    """Costs that no provider charges."""

    currency: str = Field(
        "USD",
        pattern=r"^[A-Z]{3}$",
        description="Currency of `price_per_kwh`; providers charge in USD.",
    )
    watts: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict,
        description="The power of a backend's machine under load in watts, by backend.",
    )
    price_per_kwh: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="The price of electricity."
    )
    timezone: TimeZoneName | None = Field(
        None,
        description="The time zone of days and weeks, such as `Europe/Zurich`; by default this "
        "machine's.",
    )
    mirror: Switch = Field(
        "auto",
        description="Whether the ledger is copied to Supabase; auto: if the credentials of "
        "`cloud` are set, on: an error without them.",
    )
    mirror_schema: SqlIdentifier = Field("mai", description="The schema of the copy's table.")
    mirror_table: SqlIdentifier = Field("imagen_usage", description="The table of the copy.")
    caller_env: tuple[VariableName, ...] = Field(
        ("IMAGEN_CALLER",),
        description="The variables that may name the caller of a generation; the first that is "
        "set is used.",
    )
    caller_tmux_option: TmuxOption = Field(
        "",
        description="The option of the tmux pane that names the caller if no variable does, such "
        "as `@caller`; empty: tmux is not asked.",
    )

    @property
    def zone(self) -> tzinfo | None:
        """The time zone of days and weeks; None for this machine's."""
        if self.timezone is None:
            return None
        from zoneinfo import ZoneInfo

        return ZoneInfo(self.timezone)


class Budget(Section):
    """A spending limit for a run, a day or a month."""

    amount: float = Field(ge=0, allow_inf_nan=False, description="The limit, in `currency`.")
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$", description="Currency of `amount`.")
    per: Literal["run", "day", "month"] = Field(
        description="run, day or month; days and months begin in `usage.timezone`."
    )
    backend: str | None = Field(
        None, description="The backend that it limits; by default all together."
    )
    caller: str | None = Field(
        None,
        description="The caller that it limits, as in `imagen usage`; by default all together.",
    )
    warn_at: float = Field(
        0.8, ge=0, le=1, description="The share from which on there are warnings."
    )


class JobSettings(Section):
    """The queue and its workers."""

    queue: Literal["auto", "embedded", "procrastinate"] = Field(
        "auto",
        description="What carries the jobs: the library itself, or Procrastinate on PostgreSQL; "
        "auto: Procrastinate if it is installed and the library is in PostgreSQL.",
    )
    lease_seconds: float = Field(
        20.0,
        ge=1,
        le=3600,
        description="How long a worker may be silent until others take over its jobs.",
    )
    retries: int = Field(
        4, ge=0, le=100, description="How often a job is tried again after errors that may pass."
    )
    deaths: int = Field(
        3, ge=1, le=100, description="After so many workers that died with it, a job has failed."
    )
    keep_days: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="How long ended jobs stay in the queue's list."
    )


class Webhook(Section):
    """A URL that is notified of each generation."""

    url: str = Field(pattern=r"^https?://", description="http or https.")
    secret_env: str = Field("", description="The variable that holds the key of its signature.")
    events: tuple[Literal["finished", "failed"], ...] = Field(
        ("finished", "failed"), min_length=1, description="The events that it is notified of."
    )

    @field_validator("url")
    @classmethod
    def _require_host(cls, url: str) -> str:
        with suppress(ValueError):
            parts = urlsplit(url)
            host = (parts.hostname or "").encode("idna")  # as the resolver does
            if host and parts.port != 0 and url.isprintable() and " " not in url:
                return url
        raise ValueError("must look like https://example.org/hook")


class ServerSettings(Section):
    """The HTTP server: `imagen serve`."""

    address: str = Field(
        "127.0.0.1:8080",
        min_length=1,
        description="Where it listens; `:8080` is every interface of this machine. Beyond this "
        "machine, clients need a token.",
    )
    backend: str | None = Field(
        None,
        description="The backend or pool of requests that name none; by default `default_backend`.",
    )
    model: str | None = Field(
        None,
        min_length=1,
        description="The checkpoint of its requests that name none.",
    )
    worker: bool = Field(True, description="Whether it runs the jobs of the queue itself.")
    openai_aliases: dict[str, str] = Field(
        default_factory=dict,
        description="What OpenAI's clients get for a model: a backend, a pool, or `backend/model`, "
        "by its id or a pattern such as `gpt-*`. By default `gpt-image-*`, `chatgpt-image-*` and "
        "`dall-e-*` are the server's own backend.",
    )
    comfyui: str | None = Field(
        None,
        min_length=1,
        description="The backend of type comfyui that clients of ComfyUI itself reach: its API is "
        "then at `/prompt`, `/ws` and so on, and each prompt is a job.",
    )
    require_token: bool = Field(
        False, description="Whether clients on this machine need a token too."
    )
    allowed_hosts: tuple[HostName, ...] = Field(
        (),
        description="The names by which clients reach it, such as `images.example.org` or "
        "`*.example.org`, besides those of this machine.",
    )
    cors_origins: tuple[str, ...] = Field(
        (),
        description="The web pages of other servers that may use it from a browser, such as "
        "`https://app.example.org`.",
    )
    base_path: str = Field(
        "",
        description="The path below which a proxy serves it, such as `/imagen`. Whether the proxy "
        "removes the path makes no difference.",
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="The addresses or networks of proxies, whose headers say who the client is and "
        "whether it uses TLS. With any, all clients need a token.",
    )
    tls_cert: Path | None = Field(None, description="The certificate chain for TLS, a PEM file.")
    tls_key: Path | None = Field(None, description="The key of the certificate, a PEM file.")
    max_body_mb: int = Field(
        64, ge=1, le=4096, description="The largest body of a request in megabytes."
    )
    max_upload_mb: int = Field(
        50, ge=1, le=256, description="The largest image that a client may upload, in megabytes."
    )
    max_image_megapixels: float = Field(
        100,
        gt=0,
        le=1000,
        description="The most pixels of an image that a client sends, in millions: decoding needs "
        "4 bytes for each.",
    )
    log: Literal["text", "json"] | None = Field(
        None,
        description="Whether requests and jobs are logged to stderr, as text or JSON. No prompt, "
        "query or secret is in it.",
    )

    @field_validator("base_path")
    @classmethod
    def _tidy_base_path(cls, path: str) -> str:
        if path in ("", "/"):
            return ""
        if re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", path) and ".." not in path.split("/"):
            return path.rstrip("/")
        raise ValueError("must be a path such as /imagen")

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#*@\s]+", origin):
                raise ValueError("each must look like https://app.example.org, without a path")
        return origins

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        from ipaddress import ip_network

        for proxy in proxies:
            ip_network(proxy)  # a ValueError says what is wrong
        return proxies

    @model_validator(mode="after")
    def _need_both_files(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("both tls_cert and tls_key are needed for TLS")
        return self


class Settings(Section):
    """The whole configuration. Backends' blocks are raw: each adapter validates its own."""

    default_backend: str = Field(
        "mock", min_length=1, description="The backend to use if none is named."
    )
    backends: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Your backends by name, each with its adapter's keys."
    )
    styles: dict[str, Style] = Field(default_factory=dict, description="Presets, by name.")
    workflow_dirs: tuple[Path, ...] = Field(
        (),
        description="Folders with your own workflows, relative to this file's folder; by default "
        "~/.config/imagen/workflows if it exists.",
    )
    limits: Limits = Field(Limits(), description="What no request may exceed.")
    inputs: InputSettings = Field(InputSettings(), description="The images that a request names.")
    output: OutputSettings = Field(
        OutputSettings(), description="Where images are saved, and what is saved with them."
    )
    state_dir: Path = Field(
        default_factory=lambda: default_state_dir(os.environ),
        description="The state directory: running jobs and caches.",
    )
    library: LibrarySettings = Field(
        LibrarySettings(), description="The database of what was generated."
    )
    owner_user_id: str | None = Field(
        None,
        min_length=1,
        description="The owner of the images in the cloud: the id of a user of the Supabase "
        "project.",
    )
    cloud: CloudSettings = Field(CloudSettings(), description="A Supabase project.")
    usage: UsageSettings = Field(UsageSettings(), description="Costs that no provider charges.")
    budgets: tuple[Budget, ...] = Field((), description="Spending limits.")
    webhooks: tuple[Webhook, ...] = Field((), description="URLs to notify of each generation.")
    wildcard_dirs: tuple[Path, ...] = Field(
        (),
        description="Folders with wildcards, relative to this file's folder; by default "
        "~/.config/imagen/wildcards if it exists.",
    )
    pools: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Backends that can take each other's jobs, by the name of their pool, which "
        "can be used like that of a backend.",
    )
    failover: tuple[Annotated[tuple[str, ...], Field(min_length=2)], ...] = Field(
        (),
        description="Chains of backends: a job that certainly did not run on one moves to the "
        "next. One list of names is one chain.",
    )
    jobs: JobSettings = Field(JobSettings(), description="The queue and its workers.")
    server: ServerSettings = Field(ServerSettings(), description="The HTTP server.")
    blobs: str = Field(
        "auto",
        min_length=1,
        description="Where files for other machines are kept: `postgres`, `supabase`, a folder "
        "such as `./shared`, or an S3 URL such as `s3://bucket/prefix`; auto: PostgreSQL if the "
        "library is there, else the state directory.",
    )
    _source: Path | None = PrivateAttr(None)
    _is_for_clients: bool = PrivateAttr(False)

    @field_validator("failover", mode="before")
    @classmethod
    def _accept_one_chain(cls, chains: object) -> object:
        is_flat = isinstance(chains, list | tuple) and all(isinstance(one, str) for one in chains)
        return (chains,) if is_flat and chains else chains

    def members(self, name: str) -> tuple[str, ...]:
        """The backends of a pool; of a backend, itself."""
        return self.pools.get(name, (name,))

    def with_folder(self, name: str) -> Settings:
        """Settings in which images go into a folder of this name, below the output directory."""
        output = self.output.model_copy(update={"directory": self.output.directory / name})
        return self.model_copy(update={"output": output})

    def with_workflow(self, backend: str, workflow: str) -> Settings:
        """Settings in which this ComfyUI backend runs another workflow: a name, or a file's path.

        The keys of its block that belong to its own workflow are dropped. The backend `comfyui`
        needs no block: it is the server at the usual address.
        """
        block = self.backends.get(backend, {})
        rest = {key: value for key, value in block.items() if key not in ("parameters", "tasks")}
        blocks = {**self.backends, backend: {**rest, "workflow": workflow}}
        return self.model_copy(update={"backends": blocks})

    @property
    def source(self) -> Path | None:
        """The file of these settings; None if there was none."""
        return self._source

    def with_source(self, source: Path | None) -> Settings:
        """A copy that says it was read from this file."""
        copy = self.model_copy()
        copy._source = source
        return copy

    @property
    def is_for_clients(self) -> bool:
        """Whether requests come from clients of a server, who name no file of this machine."""
        return self._is_for_clients

    def for_clients(self) -> Settings:
        """A copy for the requests of clients."""
        copy = self.model_copy()
        copy._is_for_clients = True
        return copy

    @property
    def library_at(self) -> str:
        """Where the library is: a file's path, or a PostgreSQL URL without its password."""
        return self.library.url or str(default_library(os.environ))

    @property
    def is_library_shared(self) -> bool:
        """Whether the library is in a database server, which other machines may use too."""
        return "://" in self.library_at

    def shared(self) -> dict[str, Any]:
        """The keys that each backend's block may override."""
        return {
            "workflow_dirs": self.workflow_dirs,
            "cache_dir": self.state_dir / "cache",
            "listed_models_only": self._is_for_clients,
        }
