"""The errors that imagen raises: one class for each thing that a caller can do about it.

    ImagenError                 exit 1
      ConfigError               exit 2
        UnknownBackend
      RequestError              exit 2
        MissingPrompt
        NotFound
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
        LibraryUnreachable               retryable
      LetGo                     exit 75
      WaitTimedOut              exit 124
      Cancelled                 exit 130

`message` is a sentence that says what is wrong, `remedy` says what to do about it, and `code` is
the stable word of the `--json` output. Errors are values: `with_remedy` and `replace` return
copies, to be raised from the original.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from imagen.core.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    from imagen.core.validation import Problem


class ImagenError(Exception):
    """Base class of every error that imagen raises on purpose."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.kept: tuple[Path, ...] = ()
        """The images that were saved before the error."""
        self.is_stopped = True
        """False where the engine may still be working on the job."""

    def replace(self, **changes: object) -> Self:
        """A copy of the error in which these attributes have these values."""
        copy = type(self).__new__(type(self), *self.args)
        copy.__dict__.update(self.__dict__ | changes)
        copy.args = (copy.message,)
        return copy

    def with_remedy(self, remedy: str) -> Self:
        """A copy whose remedy ends with this line."""
        return self.replace(remedy=f"{self.remedy}\n{remedy}" if self.remedy else remedy)

    def as_unstopped(self, remedy: str) -> Self:
        """A copy for a job that could not be stopped: the engine may still be working on it."""
        return self.replace(is_stopped=False).with_remedy(remedy)

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


def foreign_cause(error: BaseException) -> BaseException | None:
    """The error of another library that led to this one, or to the error it is a copy of."""
    cause = error.__cause__
    while isinstance(cause, ImagenError):
        cause = cause.__cause__
    return cause


class ConfigError(ImagenError):
    """The file, the environment or the flags are wrong; the message names the key and its place."""

    exit_code = 2
    code = "config"

    def __init__(self, message: str, *, remedy: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.problems = tuple(problems)
        """Every problem, where several keys were checked at once."""


class ConfigWarning(UserWarning):
    """The configuration works but is probably a mistake, such as an empty file."""


class UnknownBackend(ConfigError):
    """No backend, or no kind of backend, has this name."""

    code = "unknown_backend"

    def __init__(self, name: str, known: Iterable[str], *, what: str = "backend") -> None:
        names = sorted(known)
        super().__init__(
            f"Unknown {what} {name!r}.{did_you_mean(name, names)}",
            remedy=f"Known: {', '.join(names)}.",
        )
        self.name = name
        self.known = tuple(names)


class RequestError(ImagenError):
    """A parameter is out of range, or was refused under --strict."""

    exit_code = 2
    code = "request"


class MissingPrompt(RequestError):
    """The backend needs a prompt and the request has none."""


class NotFound(RequestError):
    """No image, job or upload has this id."""

    code = "not_found"


class OverBudget(RequestError):
    """The request would exceed a configured budget; nothing was sent."""

    code = "over_budget"


class WorkflowError(ImagenError):
    """A workflow was not found, is not valid, or has a token without a value."""

    exit_code = 2
    code = "workflow"


def install_command(extra: str) -> str:
    """The pip command that installs an extra, from the checkout if imagen runs from one."""
    checkout = Path(__file__).parent.parent
    if not (checkout / "pyproject.toml").is_file():
        source = "imagen-backends"
    else:
        source = "." if Path.cwd() == checkout else str(checkout)
    return f'pip install "{source}[{extra}]"'


class MissingDependency(ImagenError):
    """An optional package is not installed; the remedy names the extra that installs it."""

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
    """A backend failed."""

    exit_code = 4
    code = "backend"

    def __init__(self, message: str, *, remedy: str = "", backend: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.backend = backend
        """The configured name of the backend; "" where it is not known yet."""


class Unavailable(BackendError):
    """The engine cannot be reached: refused, a 5xx, or disconnected before the submission."""

    code = "unavailable"
    retryable = True


class RateLimited(BackendError):
    """The engine asks to be called less often."""

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
    """The engine refused the credential, or there is none; the remedy names the variable to set."""

    code = "unauthorized"


class Rejected(BackendError):
    """The engine understood the request and refused it; the message quotes it."""

    code = "rejected"


class Failed(BackendError):
    """The job ran and failed, or ended without an image."""

    code = "failed"


class Lost(BackendError):
    """The job was submitted and the engine no longer knows it."""

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
        """False where the engine cannot be reached, and may still have the job."""
        self.never_ran = never_ran
        """Whether the engine certainly never received the job, so that it is safe to resubmit."""


class TimedOut(BackendError):
    """A configured deadline passed; the job was stopped at the engine."""

    code = "timed_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One job of a request that failed, where others may have succeeded."""

    image: int
    """The number of its first image, from 1."""
    images: int
    """How many images it was to produce."""
    seed: int | None
    error: BackendError

    def as_data(self) -> dict[str, object]:
        """The failure as documented JSON."""
        return {
            "image": self.image,
            "images": self.images,
            "seed": self.seed,
            "code": self.error.code,
            "message": self.error.message,
            "remedy": self.error.remedy,
        }

    def __str__(self) -> str:
        last = self.image + self.images - 1
        which = f"image {self.image}" if self.images == 1 else f"images {self.image} to {last}"
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{which}{seed}: {self.error.message}"


class SomeFailed(BackendError):
    """Some images of a request failed, or all of them."""

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
    """An image cannot be saved, or a file cannot be read."""

    exit_code = 5
    code = "output"

    def __init__(
        self, message: str, *, remedy: str = "", kept: Sequence[Path] = (), lost: bool = False
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.kept = tuple(kept)
        self.lost = lost
        """Whether an image could not be saved anywhere."""


class LibraryError(ImagenError):
    """The library cannot be opened, read or written; image files are not affected."""

    exit_code = 5
    code = "library"


class LibraryUnreachable(LibraryError):
    """The database of the library cannot be reached; it is unknown whether the call took effect."""

    code = "library_unreachable"
    retryable = True


class LetGo(ImagenError):
    """The caller leaves a job that goes on at its engine: another process will collect it.

    An `on_progress` raises it. The adapter of a remote engine stops waiting and cancels nothing; an
    engine in this process stops, and the job counts as not run. Raised when the ticket is reported
    as submitted, it prevents the submission.
    """

    exit_code = 75
    code = "let_go"


class WaitTimedOut(ImagenError):
    """Jobs had not ended when the time to wait for them was over; they go on."""

    exit_code = 124
    code = "wait_timed_out"


class Cancelled(ImagenError):
    """The caller stopped the work, and the engine was asked to stop too."""

    exit_code = 130
    code = "cancelled"

    def __init__(self, message: str = "Cancelled.", *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
