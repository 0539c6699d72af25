"""The tree of errors: each with its exit code, its stable code and its sentence."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from imagen import errors

_CHECKOUT = Path(errors.__file__).parents[1]


def _tree() -> dict[str, tuple[str, int, str, bool]]:
    return {
        name: (kind.__bases__[0].__name__, kind.exit_code, kind.code, kind.retryable)
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.ImagenError)
    }


def test_error_classes_match_the_documented_tree() -> None:
    assert _tree() == {
        "ImagenError": ("Exception", 1, "error", False),
        "ConfigError": ("ImagenError", 2, "config", False),
        "UnknownBackend": ("ConfigError", 2, "unknown_backend", False),
        "RequestError": ("ImagenError", 2, "request", False),
        "MissingPrompt": ("RequestError", 2, "request", False),
        "NotFound": ("RequestError", 2, "not_found", False),
        "OverBudget": ("RequestError", 2, "over_budget", False),
        "WorkflowError": ("ImagenError", 2, "workflow", False),
        "MissingDependency": ("ImagenError", 3, "missing_dependency", False),
        "BackendError": ("ImagenError", 4, "backend", False),
        "Unavailable": ("BackendError", 4, "unavailable", True),
        "RateLimited": ("BackendError", 4, "rate_limited", True),
        "Unauthorized": ("BackendError", 4, "unauthorized", False),
        "Rejected": ("BackendError", 4, "rejected", False),
        "Failed": ("BackendError", 4, "failed", False),
        "Lost": ("BackendError", 4, "lost", False),
        "TimedOut": ("BackendError", 4, "timed_out", False),
        "SomeFailed": ("BackendError", 4, "some_failed", False),
        "OutputError": ("ImagenError", 5, "output", False),
        "LibraryError": ("ImagenError", 5, "library", False),
        "LibraryUnreachable": ("LibraryError", 5, "library_unreachable", True),
        "LetGo": ("ImagenError", 75, "let_go", False),
        "WaitTimedOut": ("ImagenError", 124, "wait_timed_out", False),
        "Cancelled": ("ImagenError", 130, "cancelled", False),
    }


@pytest.mark.parametrize("name", list(_tree()))
def test_module_docstring_lists_each_class(name: str) -> None:
    assert name in (errors.__doc__ or "")


def test_error_text_has_message_and_remedy() -> None:
    assert str(errors.RequestError("No.", remedy="Do this.")) == "No.\nDo this."


def test_unknown_backend_lists_known_backends() -> None:
    error = errors.UnknownBackend("mcok", ["studio", "mock"])
    assert str(error) == ("Unknown backend 'mcok'. Did you mean 'mock'?\nKnown: mock, studio.")


def test_missing_dependency_names_its_extra() -> None:
    error = errors.MissingDependency("torch", "diffusers")
    assert error.remedy == f"Install it with: {errors.install_command('diffusers')}"


def test_install_command_uses_the_current_checkout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(_CHECKOUT)
    assert errors.install_command("diffusers") == 'pip install ".[diffusers]"'


def test_install_command_names_another_checkout_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert errors.install_command("socks") == f'pip install "{_CHECKOUT}[socks]"'
