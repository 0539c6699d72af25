"""What torch, diffusers and the hub's client raise, as errors of ours: translated here only."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from imagen.core.text import one_line
from imagen.errors import (
    BackendError,
    ConfigError,
    Failed,
    ImagenError,
    MissingDependency,
    RateLimited,
    Rejected,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.backends.diffusers.config import DiffusersConfig

EXTRA = "diffusers"
_TRANSPORTS = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_ORDINARY: tuple[type[Exception], ...] = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError),
    *(OSError, RuntimeError, TypeError, ValueError),
)
_LESS = "To use less: a smaller size, fewer pictures at once, `offload: model` (or sequential)."


def require_packages() -> None:
    """Raises MissingDependency where torch or diffusers isn't installed.

    Raises Unavailable where one is, and can't be loaded: it is often a build for another machine.
    """
    for package in ("torch", "diffusers"):
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise MissingDependency(error.name or package, EXTRA) from error
        except (ImportError, OSError, RuntimeError) as error:
            raise Unavailable(
                f"{package} is installed, but can't be loaded: {one_line(str(error))}",
                remedy="Install builds that go together and fit this machine:"
                " https://pytorch.org/get-started/locally/",
            ) from error


@contextmanager
def translated(config: DiffusersConfig) -> Iterator[None]:
    """Raises every failure inside as an error of ours that names the backend."""
    try:
        yield
    except BackendError as error:
        error.backend = config.name
        raise
    except ImagenError:
        raise
    except _foreign() as error:
        raise _ours(error, config) from error


def _foreign() -> tuple[type[BaseException], ...]:
    """Of everyday classes, and those of the packages that descend from none of them."""
    from pickle import PickleError

    from diffusers.loaders.single_file_utils import SingleFileComponentError
    from safetensors import SafetensorError

    transports = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return (
        *_ORDINARY,
        PickleError,
        SafetensorError,
        SingleFileComponentError,
        *(transport.HTTPError for transport in transports),
    )


def _ours(error: BaseException, config: DiffusersConfig) -> ImagenError:
    """The first of the chain of causes that says what to do, else a plain failure."""
    for cause in _chain(error):
        found = _of_hub(cause, config) or _of_memory(cause, config) or _of_file(cause, config)
        if found is not None:
            return found
    if isinstance(error, ImportError):
        return MissingDependency(error.name or one_line(str(error)), EXTRA)
    what = one_line(str(error), limit=400) or "no reason given"
    return Failed(f"{type(error).__name__}: {what}", backend=config.name)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        following = following.__cause__ or following.__context__


def _names(error: BaseException) -> set[str]:
    """Its class and those it descends from: the packages may not be there to import from."""
    return {kind.__name__ for kind in type(error).__mro__}


def _of_hub(error: BaseException, config: DiffusersConfig) -> BackendError | None:
    names = _names(error)
    if "GatedRepoError" in names:
        return _gated(config)
    if names & {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}:
        return _not_here(config)
    if "RepositoryNotFoundError" in names:
        return _no_repository(config)
    if "EntryNotFoundError" in names or "RevisionNotFoundError" in names:
        said = one_line(str(error))
        return Rejected(f"The hub has no such file of {config.model}: {said}", backend=config.name)
    if "HfHubHTTPError" in names:
        return _by_status(error, config)
    if type(error).__module__.split(".")[0] in _TRANSPORTS:
        return _not_here(config)
    return None


def _gated(config: DiffusersConfig) -> BackendError:
    return Unauthorized(
        f"{config.model} is given only to those whom its owners let in.",
        remedy=f"Ask for access on the page of {config.model}, then put a token of yours into the"
        f" environment variable {config.token_env or 'HF_TOKEN'}.",
        backend=config.name,
    )


def _no_repository(config: DiffusersConfig) -> BackendError:
    return Unauthorized(
        f"The hub has no {config.model}, or doesn't show it to you.",
        remedy="Look at its spelling; if it is private, put a token of yours into the environment"
        f" variable {config.token_env or 'HF_TOKEN'}.",
        backend=config.name,
    )


def _not_here(config: DiffusersConfig) -> BackendError:
    if config.config_dir == "" and config.model.endswith(".safetensors"):
        return Unavailable(
            f"The configs of the parts of {config.model} are not on the disk, and the hub can't be"
            " asked for them.",
            remedy="Set `config_dir` to a diffusers folder of the same family.",
            backend=config.name,
        )
    why = "the hub is not asked (offline)" if config.offline else "the hub can't be reached"
    nets = " and its control nets" if config.controlnets else ""
    return Unavailable(
        f"Not all of {config.model}{nets} is on the disk, and {why}.",
        remedy="Fetch it once with a connection and without `offline`, or name a folder.",
        backend=config.name,
    )


def _by_status(error: BaseException, config: DiffusersConfig) -> BackendError:
    status = int(getattr(getattr(error, "response", None), "status_code", 0) or 0)
    said = one_line(str(error))
    if status in (401, 403):
        return Unauthorized(
            f"The hub refused: {said}",
            remedy=f"Put a token into the variable {config.token_env or 'HF_TOKEN'}.",
            backend=config.name,
        )
    if status == 429:
        return RateLimited("The hub asks for patience.", backend=config.name)
    kind = Unavailable if status == 0 or status >= 500 else Rejected
    return kind(f"The hub answered: {said}", backend=config.name)


def _of_memory(error: BaseException, config: DiffusersConfig) -> BackendError | None:
    said = str(error).lower()
    is_full = "OutOfMemoryError" in _names(error) or isinstance(error, MemoryError)
    if not is_full and not any(words in said for words in _NO_MEMORY):
        return None
    return Failed("There was not enough memory for this.", remedy=_LESS, backend=config.name)


def _of_file(error: BaseException, config: DiffusersConfig) -> ImagenError | None:
    if "SingleFileComponentError" in _names(error):
        return ConfigError(
            f"backends.{config.name}.model: {config.model} lacks a part that its family needs:"
            f" {one_line(str(error))}",
            remedy="Take a file with all parts, or set `config_dir` to a whole diffusers folder.",
        )
    return None
