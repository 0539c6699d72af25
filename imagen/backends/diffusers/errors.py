"""Translate what torch, diffusers and the Hub's client raise into imagen's errors."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from imagen.backends.base import tag_errors_with_backend
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
_HTTP_PACKAGES = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def require_packages() -> None:
    """Import torch and diffusers.

    Raises MissingDependency where one is not installed, and Unavailable where one cannot be
    loaded, which usually is a build for another machine.
    """
    for package in ("torch", "diffusers"):
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise MissingDependency(error.name or package, EXTRA) from error
        except (ImportError, OSError, RuntimeError) as error:
            raise Unavailable(
                f"{package} is installed but cannot be loaded: {one_line(str(error))}",
                remedy="Install builds that fit together and this machine:"
                " https://pytorch.org/get-started/locally/",
            ) from error


@contextmanager
def translate_errors(config: DiffusersConfig) -> Iterator[None]:
    """Raise every failure inside as an ImagenError that names the backend."""
    from pickle import PickleError

    from diffusers.loaders.single_file_utils import SingleFileComponentError
    from safetensors import SafetensorError

    http_errors = [
        sys.modules[name].HTTPError for name in ("httpx", "httpx2") if name in sys.modules
    ]
    foreign = (
        *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError),
        *(OSError, RuntimeError, TypeError, ValueError, PickleError),
        *(SafetensorError, SingleFileComponentError, *http_errors),
    )
    try:
        with tag_errors_with_backend(config.name):
            yield
    except ImagenError:
        raise
    except foreign as error:
        raise _translate(error, config) from error


def _translate(error: BaseException, config: DiffusersConfig) -> ImagenError:
    """The most helpful error for the chain of causes, else Failed."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        # By class name, since the packages that define the classes may be missing.
        names = {kind.__name__ for kind in type(cause).__mro__}
        hub_error = _hub_error(cause, names, config)
        if hub_error is not None:
            return hub_error
        message = str(cause).lower()
        is_out_of_memory = "OutOfMemoryError" in names or isinstance(cause, MemoryError)
        if is_out_of_memory or any(words in message for words in _OUT_OF_MEMORY):
            return Failed(
                "Out of memory.",
                remedy="To use less: a smaller size, fewer images at once, or `offload: model`"
                " (or sequential).",
                backend=config.name,
            )
        if "SingleFileComponentError" in names:
            return ConfigError(
                f"backends.{config.name}.model: {config.model} lacks a part that its family needs:"
                f" {one_line(str(cause))}",
                remedy="Use a file with all parts, or set `config_dir` to a complete diffusers"
                " folder.",
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, ImportError):
        return MissingDependency(error.name or one_line(str(error)), EXTRA)
    message = one_line(str(error), limit=400) or "no reason given"
    return Failed(f"{type(error).__name__}: {message}", backend=config.name)


def _hub_error(
    error: BaseException, names: set[str], config: DiffusersConfig
) -> BackendError | None:
    model, token = config.model, config.token_env or "HF_TOKEN"
    if "GatedRepoError" in names:
        return Unauthorized(
            f"{model} is gated: its owners must grant you access.",
            remedy=f"Request access on the Hub page of {model}, then set the environment variable"
            f" {token} to your token.",
            backend=config.name,
        )
    if names & {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}:
        return _not_downloaded(config)
    if "RepositoryNotFoundError" in names:
        return Unauthorized(
            f"{model} was not found on the Hub, or it is private.",
            remedy="Check its spelling; if it is private, set the environment variable"
            f" {token} to your token.",
            backend=config.name,
        )
    if names & {"EntryNotFoundError", "RevisionNotFoundError"}:
        return Rejected(
            f"A file of {model} was not found on the Hub: {one_line(str(error))}",
            backend=config.name,
        )
    if "HfHubHTTPError" in names:
        status = int(getattr(getattr(error, "response", None), "status_code", 0) or 0)
        message = one_line(str(error))
        if status in (401, 403):
            return Unauthorized(
                f"The Hub refused access: {message}",
                remedy=f"Set the environment variable {token} to your token.",
                backend=config.name,
            )
        if status == 429:
            return RateLimited("The Hub's rate limit is reached.", backend=config.name)
        kind = Unavailable if status == 0 or status >= 500 else Rejected
        return kind(f"The Hub answered: {message}", backend=config.name)
    is_http = type(error).__module__.split(".")[0] in _HTTP_PACKAGES
    return _not_downloaded(config) if is_http else None


def _not_downloaded(config: DiffusersConfig) -> BackendError:
    if config.config_dir == "" and config.model.endswith(".safetensors"):
        return Unavailable(
            f"The configs for the parts of {config.model} are not on this machine, and the Hub"
            " cannot be reached.",
            remedy="Set `config_dir` to a diffusers folder of the same family.",
            backend=config.name,
        )
    reason = "`offline` is set" if config.offline else "the Hub cannot be reached"
    controlnets = " and its ControlNets" if config.controlnets else ""
    return Unavailable(
        f"{config.model}{controlnets} is not completely on this machine, and {reason}.",
        remedy="Download it once without `offline`, or set `model` to a folder.",
        backend=config.name,
    )
