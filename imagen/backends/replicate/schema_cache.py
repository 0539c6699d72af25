"""Input schemas on disk: asked for once, and used without reaching the API for a week."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from imagen.backends.learned import read_learned, write_learned
from imagen.backends.redact import Redactor, credentials
from imagen.backends.replicate.answers import moment
from imagen.backends.replicate.schema import find_schemas
from imagen.core.filesystem import read_at_most
from imagen.core.json_values import MAX_BYTES, parse_json
from imagen.errors import ConfigError, Rejected

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.backends.replicate.answers import Page
    from imagen.backends.replicate.config import ReplicateConfig
    from imagen.backends.replicate.schema import Schemas

_FRESH = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is known of a model without asking."""

    model: str
    """`owner/name`; for a deployment, that of the model it runs."""
    schemas: Schemas
    version: str = ""
    hardware: str = ""
    read_at: str = ""
    """When it was read, as an ISO date; "" for a file of the user's, which is never outdated."""

    def is_stale(self, now: datetime | None = None) -> bool:
        """Whether it is older than a week."""
        read = moment(self.read_at)
        return read is not None and (now or datetime.now(UTC)) - read > _FRESH


def kept(config: ReplicateConfig) -> Kept | None:
    """What is known by the file that the configuration names, or else by an earlier answer.

    Raises ConfigError for a file that can't be read, or holds no input schema.
    """
    if config.input_schema is not None:
        schemas = _named(config.input_schema)
        return Kept(model=config.reference.model, schemas=schemas)
    said = read_learned(_path(config))
    texts = [said.get(name, "") for name in ("model", "version", "hardware", "read_at")]
    sound = all(isinstance(text, str) for text in texts) and find_schemas(said.get("schemas"))
    try:
        return Kept(**said) if sound else None
    except TypeError:  # another version's
        return None


def keep(page: Page, config: ReplicateConfig) -> Kept:
    """What the API said of the model, written down for later; not to be able to is no matter.

    Raises Rejected where it said nothing of the inputs.
    """
    redactor = Redactor(credentials(config))  # a gateway may repeat the request in it
    schemas = redactor.value(find_schemas(page.document))
    if schemas is None:
        raise Rejected(
            f"Replicate tells no input schema of {page.model}: it can't be run by imagen.",
            remedy=f"Name a file that holds it: backends.{config.name}.input_schema.",
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = Kept(
        model=page.model,
        schemas=schemas,
        version=page.version,
        hardware=redactor.text(page.hardware),
        read_at=now,
    )
    if config.input_schema is None:
        write_learned(_path(config), asdict(found))
    return found


def _named(path: Path) -> Schemas:
    try:
        said = parse_json(read_at_most(path.expanduser(), MAX_BYTES + 1))
    except OSError as error:
        raise ConfigError(f"input_schema: {path} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"input_schema: {path} {error}.") from error
    schemas = find_schemas(said)
    if schemas is None:
        raise ConfigError(
            f"input_schema: {path} holds no input schema.",
            remedy="Save what https://api.replicate.com/v1/models/OWNER/NAME answers.",
        )
    return schemas


def _path(config: ReplicateConfig) -> Path | None:
    """The file of this model; named by what is asked for, not by what was answered."""
    if config.cache_dir is None:
        return None
    which = sha256(f"{config.base_url}\0{config.model}".encode()).hexdigest()[:16]
    reference = config.reference
    return config.cache_dir / "replicate" / f"{reference.owner}-{reference.name}-{which}.json"
