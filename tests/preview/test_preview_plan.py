"""Whether and how images are previewed, by setting, flag and terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from support.terminals import write_program

from imagen.config import OutputSettings
from imagen.errors import ConfigError
from imagen.preview import PreviewPlan, plan_preview

if TYPE_CHECKING:
    from pathlib import Path

_XTERM = {"TERM": "xterm-256color"}


def _planned(
    environ: dict[str, str],
    *,
    is_tty: bool = True,
    asked: bool | None = None,
    switch: Literal["auto", "on", "off"] = "auto",
    quiet: bool = False,
    sixels: bool = False,
) -> PreviewPlan | None:
    return plan_preview(
        OutputSettings(preview=switch),
        environ=environ,
        is_tty=is_tty,
        asked=asked,
        quiet=quiet,
        ask_terminal=lambda: sixels,
    )


def _unasked() -> bool:
    raise AssertionError("the terminal was asked")


@pytest.fixture
def in_tmux(tmp_path: Path) -> dict[str, str]:
    """Inside tmux, with the usual viewer on the PATH."""
    write_program(tmp_path, "tmux-img", "")
    return {"TMUX": "/tmp/tmux,1,0", "TERM": "tmux-256color", "PATH": str(tmp_path)}


def test_plan_preview_opens_a_window_in_tmux(in_tmux: dict[str, str]) -> None:
    viewer = (f"{in_tmux['PATH']}/tmux-img", "--hold")
    assert _planned(in_tmux) == PreviewPlan(way="tmux", viewer=viewer)


def test_plan_preview_shows_nothing_for_a_pipe_in_tmux(in_tmux: dict[str, str]) -> None:
    assert _planned(in_tmux, is_tty=False) is None


def test_plan_preview_opens_a_window_for_a_pipe_with_the_flag(in_tmux: dict[str, str]) -> None:
    planned = _planned(in_tmux, is_tty=False, asked=True)
    assert planned is not None
    assert planned.way == "tmux"


def test_plan_preview_shows_nothing_without_the_viewer(tmp_path: Path) -> None:
    assert _planned({"TMUX": "x", "PATH": str(tmp_path)}) is None


def test_plan_preview_tries_a_missing_viewer_with_the_flag(tmp_path: Path) -> None:
    planned = _planned({"TMUX": "x", "PATH": str(tmp_path)}, asked=True)
    assert planned == PreviewPlan(way="tmux", viewer=("tmux-img", "--hold"))


@pytest.mark.parametrize(
    ("environ", "way"),
    [
        pytest.param({"TERM": "xterm-kitty"}, "kitty", id="kitty"),
        pytest.param(_XTERM | {"KITTY_WINDOW_ID": "1"}, "kitty", id="kitty, with another TERM"),
        pytest.param(_XTERM | {"TERM_PROGRAM": "ghostty"}, "kitty", id="Ghostty"),
        pytest.param(_XTERM | {"TERM_PROGRAM": "iTerm.app"}, "iterm2", id="iTerm2"),
        pytest.param(_XTERM | {"LC_TERMINAL": "iTerm2"}, "iterm2", id="iTerm2 through ssh"),
        pytest.param(_XTERM | {"TERM_PROGRAM": "WezTerm"}, "iterm2", id="WezTerm"),
    ],
)
def test_plan_preview_detects_the_terminal_by_environment(
    environ: dict[str, str], way: str
) -> None:
    planned = plan_preview(OutputSettings(), environ=environ, is_tty=True, ask_terminal=_unasked)
    assert planned is not None
    assert planned.way == way


def test_plan_preview_asks_the_terminal_for_sixel_support() -> None:
    assert _planned(_XTERM, sixels=True) == PreviewPlan(way="sixel")


def test_plan_preview_shows_nothing_on_other_terminals() -> None:
    assert _planned(_XTERM) is None


@pytest.mark.parametrize(
    "environ",
    [{"TERM": "screen", "KITTY_WINDOW_ID": "1"}, {"TERM": "xterm-kitty", "ZELLIJ": "0"}],
    ids=["screen", "Zellij"],
)
def test_plan_preview_ignores_the_terminal_behind_a_multiplexer(environ: dict[str, str]) -> None:
    assert _planned(environ) is None
    assert _planned(environ, sixels=True) == PreviewPlan(way="sixel")


def test_plan_preview_does_not_ask_a_dumb_terminal() -> None:
    environ = {"TERM": "dumb"}
    assert (
        plan_preview(OutputSettings(), environ=environ, is_tty=True, ask_terminal=_unasked) is None
    )


@pytest.mark.parametrize(
    ("asked", "switch", "way"),
    [
        pytest.param(False, "on", None, id="the flag goes over on"),
        pytest.param(True, "off", "kitty", id="the flag goes over off"),
        pytest.param(None, "off", None, id="off"),
        pytest.param(None, "on", "kitty", id="on"),
    ],
)
def test_the_preview_flag_overrides_the_setting(
    asked: bool | None, switch: Literal["on", "off"], way: str | None
) -> None:
    planned = _planned({"TERM": "xterm-kitty"}, asked=asked, switch=switch)
    assert getattr(planned, "way", None) == way


def test_quiet_shows_no_preview_without_the_flag() -> None:
    assert _planned({"TERM": "xterm-kitty"}, quiet=True) is None
    assert _planned({"TERM": "xterm-kitty"}, quiet=True, asked=True) == PreviewPlan(way="kitty")


def test_a_required_preview_on_another_terminal_is_an_error() -> None:
    with pytest.raises(ConfigError) as refused:
        _planned(_XTERM, switch="on")
    assert refused.value.message == "A preview is required, but this terminal cannot show images."
    assert "--no-preview" in refused.value.remedy


def test_a_required_preview_without_a_terminal_is_an_error() -> None:
    with pytest.raises(ConfigError, match="stdout is not a terminal"):
        _planned({"TERM": "xterm-kitty"}, is_tty=False, asked=True)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "view '",
            'output.preview_command "view \'" is not a valid command: No closing quotation.',
        ),
        (" ", "output.preview_command is empty."),
    ],
    ids=["a quote that is not closed", "a blank"],
)
def test_an_invalid_viewer_command_is_an_error(command: str, message: str) -> None:
    settings = OutputSettings(preview_command=command)
    with pytest.raises(ConfigError) as refused:
        plan_preview(settings, environ={"TMUX": "x"}, is_tty=True)
    assert refused.value.message == message
