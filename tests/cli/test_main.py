"""The command line as a whole: exit codes, and errors as text and as JSON."""

from __future__ import annotations

import io
import json
import sys
from io import StringIO
from pathlib import Path

import pytest

from imagen.cli import COMMANDS, run


def _failing(code: str) -> str:
    """A configuration whose backend `bad` fails with this error code."""
    return f"backends:\n  bad:\n    type: mock\n    fail: {code}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nope"], 2, "Unknown command 'nope'."),
        (["genrate"], 2, "Did you mean 'generate'?"),
        (["generate"], 2, "This backend needs a prompt that says what the image should show."),
        (["compare", "-m", "mock"], 2, "imagen: mock: This backend needs a prompt that says what"),
        (["generate", "x", "--stepz", "4"], 2, "No such option '--stepz'. Did you mean '--steps'?"),
        (["generate", "-x marks it"], 2, "Put -- before a prompt that begins with a dash."),
        (["generate", "x", "--steps", "four"], 2, "'four' is not a valid integer"),
        (["generate", "x", "--steps", "-1"], 2, "steps: must be"),
        (["generate", "x", "--seed", "18446744073709551616"], 2, "(-1 to 18446744073709551615)"),
        (["generate", "x", "--count", "0"], 2, "(1 to 1024)"),
        (["generate", "x", "--size", "1x1"], 2, "(16 to 16384)"),
        (["generate", "x", "--size", "big"], 2, "Write it as 1024x768, 768 or 16:9."),
        (["generate", "x", "--style", "ink"], 2, "Unknown style 'ink'."),
        (["generate", "x", "--backend", "moc"], 2, "Did you mean 'mock'?"),
        (["generate", "x", "--config", "no.yaml"], 2, "no.yaml"),
        (["generate", "x", "--set", "steps"], 2, "Write it as name=value."),
        (["generate", "x", "--set", "steps=many"], 2, "steps: "),
        (["generate", "x", "--set", "extra=5"], 2, "extra: must be a mapping with keys and values"),
        (["generate", "x", "--set", "loras=ink"], 2, "loras: must be a list, not 'ink'"),
        (["generate", "x", "--set", "controls=[3]"], 2, "controls[0]: must be a mapping"),
        (["generate", "a \udcff"], 2, "prompt: must contain whole characters"),
        (["generate", "x", "--strict", "--cfg", "3"], 2, "Refused under --strict"),
        (["generate", "@gone.txt"], 2, "gone.txt: No such file"),
        (["show", "gone.png"], 5, "There is no file gone.png."),
        (["resume", "nope"], 2, "Job 'nope' not found."),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_invalid_input_is_explained_with_an_exit_code(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    printed = capsys.readouterr()
    assert message in " ".join(printed.err.split())
    assert printed.out == ""


def test_unrelated_options_are_not_suggested(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "x", "--stop", "4"]) == 2
    assert "No such option '--stop'.\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "code",
    ["unavailable", "rate_limited", "unauthorized", "rejected", "failed", "lost", "timed_out"],
)
def test_each_backend_error_has_its_code_in_json(
    code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("imagen.yaml").write_text(_failing(code))
    assert run(["generate", "x", "-b", "bad", "--json", "--quiet"]) == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["backend"]) == (code, "bad")
    assert error["message"].startswith("The mock fails as configured")


def test_usage_errors_are_json_with_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "--json", "x", "--nope"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_errors_name_the_backend(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text(_failing("lost"))
    assert run(["generate", "x", "-b", "bad", "-q"]) == 4
    assert capsys.readouterr().err == "imagen: [bad] The mock fails as configured (`fail: lost`).\n"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: imagen {name}")


_LONG = "make it snow and " * 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["edit", "gone.png", _LONG], "there is no file gone.png"),
        (["preprocess", _LONG, "gone.png"], "there is no file gone.png"),
        (["preprocess", "canny", _LONG], "File name too long"),
        (["generate", "x", "--control", f"canny:{_LONG}:2:more"], "File name too long"),
        (["generate", "x", "--config", _LONG], "File name too long"),
    ],
    ids=["edit", "a kind", "an image", "a control image", "a configuration"],
)
def test_long_sentences_are_not_taken_for_files(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert message in capsys.readouterr().err


class _Terminal(StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_color", "begins"), [("", "\x1b[31mimagen:"), ("1", "imagen:")])
def test_no_color_disables_colour(
    no_color: str, begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert run(["generate", "x", "--size", "big"]) == 2
    assert terminal.getvalue().startswith(begins)


class _CtrlC(io.BytesIO):
    """Standard input on which Ctrl-C is pressed."""

    def read(self, _: int | None = -1) -> bytes:
        raise KeyboardInterrupt


def test_ctrl_c_before_submission_claims_no_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(_CtrlC()))
    assert run(["generate", "-"]) == 130
    assert capsys.readouterr().err == (
        "\nimagen: Interrupted.\n"
        "If a job was submitted, it may still be running. To find it: imagen resume\n"
    )
