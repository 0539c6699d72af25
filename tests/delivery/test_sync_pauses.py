"""How long failed deliveries wait."""

from __future__ import annotations

import pytest

from imagen.delivery.worker import format_error, pauses_after
from imagen.errors import (
    BackendError,
    ConfigError,
    ImagenError,
    OutputError,
    RateLimited,
    Rejected,
    Unauthorized,
    Unavailable,
)


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (1.0, (30, 60, 120, 240, 480, 960, 1920, 3600)),
        (0.0, (22.5, 45, 90, 180, 360, 720, 1440, 2700)),
    ],
)
@pytest.mark.parametrize(
    "error", [Unavailable("x"), RateLimited("x"), ConfigError("x")], ids=lambda e: e.code
)
def test_pauses_double_up_to_an_hour_with_jitter(
    error: ImagenError, draw: float, expected: tuple[float, ...]
) -> None:
    assert pauses_after(error, lambda: draw) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (0.0, (30, 60, 120, 240, 480, 960, 1920, 3600)),
        (90.0, (90, 90, 120, 240, 480, 960, 1920, 3600)),
        (7200.0, (7200,) * 8),
    ],
)
def test_retry_after_extends_but_never_shortens_a_pause(
    asked: float, expected: tuple[float, ...]
) -> None:
    error = RateLimited("x", retry_after_seconds=asked)
    assert pauses_after(error, lambda: 1.0) == expected


@pytest.mark.parametrize(
    "error", [Rejected("x"), Unauthorized("x"), OutputError("x"), BackendError("x")]
)
def test_permanent_errors_have_no_pause(error: ImagenError) -> None:
    assert pauses_after(error, lambda: 0.5) is None


def test_format_error_returns_two_safe_lines() -> None:
    error = Rejected("No:\n\x1b[31mred\x07.", remedy="Do this.\nThen that.")
    assert format_error(error) == "No: [31mred.\nDo this. Then that."


def test_format_error_limits_the_length() -> None:
    assert len(format_error(Rejected("x" * 5000))) == 400
