"""Every error imagen raises; one class for each thing a caller can do about it.

    ImagenError                 exit 1
      ConfigError               exit 2
        UnknownBackend
      RequestError              exit 2
        MissingPrompt
        OverBudget
      WorkflowError             exit 2
      MissingDependency         exit 3
      BackendError              exit 4   carries .backend
        Unavailable                      retryable
        RateLimited                      retryable, .retry_after_seconds
        Unauthorized
        Rejected
        Failed
        Lost
        TimedOut
        SomeFailed                       .failures
      OutputError               exit 5
      LibraryError              exit 5
      Cancelled                 exit 130

Each message is a sentence for a person; `remedy`, where there is one, says what to do about it.
`code` is the stable word of the `--json` output.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from imagen.core.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imagen.core.validation import Problem


class ImagenError(Exception):
    """Something went wrong that imagen has a sentence for."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.kept: tuple[Path, ...] = ()
        """The images that were made and saved before it, and where those of this run are."""
        self.is_stopped = True
        """False where the work was to end, and may go on at its engine all the same."""

    def advise(self, advice: str) -> None:
        """Add to what can be done about it."""
        self.remedy = f"{self.remedy}\n{advice}" if self.remedy else advice

    def doubt(self, sentence: str) -> None:
        """Say that the work may go on at its engine, though it was to end."""
        self.is_stopped = False
        self.advise(sentence)

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


class ConfigError(ImagenError):
    """The file, the environment or the flags are wrong; names the key and where it was set."""

    exit_code = 2
    code = "config"

    def __init__(self, message: str, *, remedy: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.problems = tuple(problems)
        """All that is wrong, where several things were checked at once."""


class ConfigWarning(UserWarning):
    """The configuration works, but is surely not what its owner means, such as an empty file."""


class UnknownBackend(ConfigError):
    """No backend, or no kind of backend, has this name; lists the ones there are."""

    code = "unknown_backend"

    def __init__(self, name: str, known: Iterable[str], *, what: str = "backend") -> None:
        there = sorted(known)
        super().__init__(
            f"There is no {what} called {name!r}.{did_you_mean(name, there)}",
            remedy=f"Known: {', '.join(there)}.",
        )
        self.name = name
        self.known = tuple(there)


class RequestError(ImagenError):
    """A parameter is out of range, or was refused under --strict."""

    exit_code = 2
    code = "request"


class MissingPrompt(RequestError):
    """There is no prompt, and the backend needs one."""


class OverBudget(RequestError):
    """It would cost more than a budget of the configuration allows; nothing was sent."""

    code = "over_budget"


class WorkflowError(ImagenError):
    """A workflow was not found, is not one, or has a token without a value."""

    exit_code = 2
    code = "workflow"


def install_command(extra: str) -> str:
    """The pip command that installs an extra, from the checkout where imagen runs from one."""
    checkout = Path(__file__).parent.parent
    if not (checkout / "pyproject.toml").is_file():
        source = "imagen-backends"
    else:
        source = "." if Path.cwd() == checkout else str(checkout)
    return f'pip install "{source}[{extra}]"'


class MissingDependency(ImagenError):
    """A package that only some users need is not installed; names the extra that brings it."""

    exit_code = 3
    code = "missing_dependency"

    def __init__(self, package: str, extra: str, *, purpose: str = "this") -> None:
        super().__init__(
            f"The Python package {package!r} is needed for {purpose} and is not installed.",
            remedy=f"Install it with: {install_command(extra)}",
        )
        self.package = package
        self.extra = extra


class BackendError(ImagenError):
    """A backend could not do its part."""

    exit_code = 4
    code = "backend"

    def __init__(self, message: str, *, remedy: str = "", backend: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.backend = backend
        """The name of the configured backend, or "" where the error arose below any."""


class Unavailable(BackendError):
    """The engine can't be reached: refused, a 5xx, or dropped before anything was submitted."""

    code = "unavailable"
    retryable = True


class RateLimited(BackendError):
    """The engine asks for patience."""

    code = "rate_limited"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        backend: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, backend=backend)
        self.retry_after_seconds = retry_after_seconds


class Unauthorized(BackendError):
    """The engine refused the credential, or there is none; names the variable to set."""

    code = "unauthorized"


class Rejected(BackendError):
    """The engine understood the request and refused it, in its own words."""

    code = "rejected"


class Failed(BackendError):
    """The work ran and failed, or ended without a picture."""

    code = "failed"


class Lost(BackendError):
    """The work was submitted and the engine no longer knows it."""

    code = "lost"

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        backend: str = "",
        is_certain: bool = True,
        never_ran: bool = False,
    ) -> None:
        super().__init__(message, remedy=remedy, backend=backend)
        self.is_certain = is_certain
        """False where the engine is out of reach, and may still have it when it comes back."""
        self.never_ran = never_ran
        """Whether the engine certainly never had it, so that it may be submitted again."""


class TimedOut(BackendError):
    """A deadline of the configuration passed; the work was stopped at the engine."""

    code = "timed_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One run of several that failed."""

    image: int
    """The number of its first image, from 1."""
    images: int
    """How many images it would have made."""
    seed: int | None
    error: BackendError

    def as_data(self) -> dict[str, Any]:
        """The documented JSON of it."""
        error = {name: getattr(self.error, name) for name in ("code", "message", "remedy")}
        return {"image": self.image, "images": self.images, "seed": self.seed, **error}

    def __str__(self) -> str:
        last = self.image + self.images - 1
        which = f"image {self.image}" if self.images == 1 else f"images {self.image} to {last}"
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{which}{seed}: {self.error.message}"


class SomeFailed(BackendError):
    """Some images of a request could not be made; the others were, unless all failed."""

    code = "some_failed"

    def __init__(self, failures: Sequence[Failure], images: int, *, backend: str = "") -> None:
        failed = sum(failure.images for failure in failures)
        remedies = dict.fromkeys(one.error.remedy for one in failures if one.error.remedy)
        super().__init__(
            "\n".join([f"{failed} of {images} images failed:", *map(str, failures)]),
            remedy="\n".join(remedies),
            backend=backend,
        )
        self.failures = tuple(failures)


class OutputError(ImagenError):
    """A picture can't be put where it belongs, or a file can't be read."""

    exit_code = 5
    code = "output"

    def __init__(
        self, message: str, *, remedy: str = "", kept: Sequence[Path] = (), lost: bool = False
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.kept = tuple(kept)
        self.lost = lost
        """Whether one of them lies nowhere."""


class LibraryError(ImagenError):
    """The library can't be opened, read or written; the pictures are where they are."""

    exit_code = 5
    code = "library"


class Cancelled(ImagenError):
    """The caller stopped the work; the engine was told to stop it too."""

    exit_code = 130
    code = "cancelled"

    def __init__(self, message: str = "Cancelled.", *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
