"""Rules of all commands: names of options, repeated options, unquoted prompts."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from imagen.cli import COMMANDS, cli, run
from imagen.cli.command_table import Command, Group, quote_words


def _commands() -> list[click.Command]:
    """Every command, including those of groups."""
    context = click.Context(cli)
    found = [command for name in COMMANDS if (command := cli.get_command(context, name))]
    groups = [command for command in found if isinstance(command, click.Group)]
    return [*found, *(inner for group in groups for inner in group.commands.values())]


@pytest.mark.parametrize("command", _commands(), ids=lambda command: command.callback.__module__)
def test_every_command_checks_its_arguments(command: click.Command) -> None:
    assert isinstance(command, Command | Group)


def _said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The usage error for these arguments."""
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("generate x --seed 1 --seed 2", "--seed is given 2 times, but it takes one value."),
        ("generate x --seed 1 --seed 1", "--seed is given 2 times, but it takes one value."),
        ("generate x --image a --image=b", "--image is given 2 times, but it takes one value."),
        ("generate x -s 1 --steps 2", "--steps is given 2 times (as --steps and -s), but it"),
        ("generate x --cfg 1 --cfg-scale 2", "--cfg is given 2 times (as --cfg and --cfg-scale),"),
        ("compare x -m mock -m mock", "--models is given 2 times, but it takes"),
        ("history --limit 1 --limit 2", "--limit is given 2 times, but it takes one value."),
        ("workflows show x --config a --config b", "--config is given 2 times, but it takes"),
        ("--config a --config b version", "--config is given 2 times, but it takes one value."),
        ("generate x --preview --no-preview", "--preview and --no-preview exclude each other."),
    ],
)
def test_an_option_given_twice_is_refused(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in _said(arguments.split(), capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        "generate x -q -q --dry-run --dry-run",
        "generate x --lora a --lora b --dry-run",
        "generate --dry-run -- --seed=1",
        "generate x --negative --seed --seed 1 --dry-run",
        "generate x --seed 1 --seed 2 --help",
    ],
)
def test_options_that_may_repeat_are_accepted(arguments: str) -> None:
    assert run(arguments.split()) == 0


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("generate a red fox", 'imagen generate "a red fox"'),
        ("generate -s 4 a red fox -q", 'imagen generate -s 4 "a red fox" -q'),
        ("generate a -s 4 red", 'imagen generate "a red"'),
        ("generate it's a $ fox", """imagen generate 'it'"'"'s a $ fox'"""),
        ("compare -m mock a fox", 'imagen compare -m mock "a fox"'),
        ("outpaint fox.png a forest --all 8", 'imagen outpaint fox.png "a forest" --all 8'),
    ],
)
@pytest.mark.skipif("os.name == 'nt'", reason="quotes are other there")
def test_an_unquoted_prompt_is_shown_with_quotes(
    arguments: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = _said(arguments.split(), capsys)
    assert message.endswith(f"Error: Put quotes around a prompt of several words:\n  {meant}\n")


def test_help_works_after_an_unquoted_prompt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "a", "fox", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: imagen generate")


def test_words_are_quoted_for_the_shell() -> None:
    assert quote_words(["a fox", "-q", "a&b", "it's"]) == '"a fox" -q "a&b" "it\'s"'


def _request(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """The request that would be sent."""
    assert run([*arguments, "--dry-run", "--json"]) == 0
    request: dict[str, object] = json.loads(capsys.readouterr().out)["plan"][0]["request"]
    return request


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ("-n rain", "negative", "rain"),
        ("-s 3", "steps", 3),
        ("-S 5", "seed", 5),
        ("-W 64", "width", 64),
        ("-H 64", "height", 64),
        ("--width 64", "width", 64),
        ("--height 64", "height", 64),
        ("--size 96", "height", 96),
    ],
)
def test_options_have_short_and_other_names(
    options: str, name: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _request(["generate", "x", *options.split()], capsys)[name] == value


def test_batch_is_another_name_of_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "x", "--batch", "2", "--dry-run", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["plan"]) == 2


@pytest.mark.parametrize("name", ["-c", "--cfg-scale"])
def test_cfg_has_other_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "x", name, "3", "--strict", "--dry-run"]) == 2
    assert "cfg: 3.0 was dropped" in capsys.readouterr().err


def test_out_is_another_name_of_output() -> None:
    assert run(["generate", "x", "--out", "there", "-q"]) == 0
    assert list(Path("there").glob("*.png"))


@pytest.mark.parametrize(
    "name", ["--width", "--height", "--cfg-scale", "--batch", "--out", "--prompt"]
)
def test_help_lists_no_hidden_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "--help"]) == 0
    assert f"{name} " not in capsys.readouterr().out


@pytest.mark.parametrize("command", [["generate"], ["outpaint", "fox.png", "--all", "8"]])
def test_the_prompt_may_be_an_option(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", "a fox", "-q", "-o", "fox.png"]) == 0
    capsys.readouterr()
    assert _request([*command, "--prompt", "a den"], capsys)["prompt"] == "a den"


def test_the_instruction_may_be_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "a fox", "-q", "-o", "fox.png"]) == 0
    capsys.readouterr()
    request = _request(["edit", "fox.png", "--prompt", "make it snow"], capsys)
    assert request["prompt"] == "make it snow"


def test_a_prompt_given_twice_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    message = _said(["generate", "x", "--prompt", "y"], capsys)
    assert "The prompt is given as PROMPT and with --prompt. Use one of them." in message


def test_size_and_width_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    message = _said(["generate", "x", "--size", "64x48", "-W", "32"], capsys)
    assert "--size already sets the width and height. Leave out -W and -H." in message


def test_aspect_ratio_with_width_and_height_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    message = _said(["generate", "x", "--size", "1:1", "-W", "32", "-H", "32"], capsys)
    assert "-W and -H already set the size. Leave out --size." in message


def test_config_may_precede_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("mine.yaml").write_text("styles: {ink: {steps: 3}}")
    request = _request(["--config", "mine.yaml", "generate", "x", "--style", "ink"], capsys)
    assert request["steps"] == 3


def test_the_same_configuration_may_be_named_twice(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("styles: {ink: {steps: 3}}")
    once, again = ["--config", "mine.yaml"], ["--config", "./mine.yaml"]
    assert _request([*once, "generate", "x", *again, "--style", "ink"], capsys)["steps"] == 3


def test_two_configurations_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    message = _said(["--config", "a.yaml", "generate", "x", "--config", "b.yaml"], capsys)
    assert "--config is given twice, as a.yaml and as b.yaml. Use one of them." in message


def test_validate_refuses_a_file_and_config(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = _said(["--config", "a.yaml", "config", "validate", "b.yaml"], capsys)
    assert "FILE and --config both name a configuration. Use one of them." in message


def test_prompt_and_set_prompt_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    message = _said(["generate", "x", "--set", "prompt=y"], capsys)
    assert "PROMPT and --set prompt are both given. Use one of them." in message


def test_version_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    option = capsys.readouterr().out
    assert run(["version"]) == 0
    assert option == f"imagen {capsys.readouterr().out}"


@pytest.mark.parametrize(
    ("names", "begins"),
    [
        ([], "Usage: imagen [OPTIONS] COMMAND"),
        (["generate"], "Usage: imagen generate [OPTIONS] [PROMPT]"),
        (["workflows", "add"], "Usage: imagen workflows add [OPTIONS] FILE"),
    ],
    ids=" ".join,
)
def test_help_is_a_command(
    names: list[str], begins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["help", *names]) == 0
    assert capsys.readouterr().out.startswith(begins)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["genrate"], "Unknown command 'genrate'. Did you mean 'generate'?"),
        (["generate", "x"], "imagen generate has no subcommands."),
    ],
    ids=" ".join,
)
def test_help_of_an_unknown_command_is_an_error(
    names: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in _said(["help", *names], capsys)


def test_an_unquoted_instruction_is_shown_with_quotes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = _said(["edit", "fox.png", "make", "it", "snow", "-q"], capsys)
    meant = 'imagen edit fox.png "make it snow"'
    assert message.endswith(
        f"Error: Put quotes around an instruction of several words:\n  {meant}\n"
    )


@pytest.mark.parametrize(
    "words", [["owl.png", "snow"], ["owl", "make it snow"], ["owl", "snow."]], ids=repr
)
def test_a_missing_file_is_not_taken_for_an_unquoted_instruction(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("fox.png").write_bytes(b"x")
    assert run(["edit", "fox.png", *words]) == 2
    assert "quotes" not in capsys.readouterr().err


def test_an_empty_instruction_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    message = _said(["edit", "fox.png", " "], capsys)
    assert "The instruction is empty. Say what to change." in message
