"""Shell completion of commands, options and values."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imagen.cli import run
from imagen.library.recent import recent_images

if TYPE_CHECKING:
    from collections.abc import Callable

    Complete = Callable[[str], list[str]]

_CONFIG = """\
backends:
  sketch: {type: mock}
  remote: {type: comfyui, url: "http://127.0.0.1:9", workflow: flux1-schnell}
pools: {fast: [sketch, remote]}
styles:
  photo: {steps: 3}
  pen and ink: {steps: 4}
"""


@pytest.fixture
def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, str], str]:
    """What imagen prints to a shell that completes this line."""

    def answer(shell: str, line: str) -> str:
        capsys.readouterr()
        monkeypatch.setenv("_IMAGEN_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", f"imagen {line}")
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" "))))
        assert run([]) == 0
        monkeypatch.delenv("_IMAGEN_COMPLETE")
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return answer


@pytest.fixture
def complete(printed: Callable[[str, str], str]) -> Complete:
    """The values that complete this line; files as `<file>`."""

    def values(line: str) -> list[str]:
        lines = printed("zsh", line).splitlines()
        kinds, found = lines[::3], lines[1::3]
        return [
            "<file>" if kind == "file" else value for kind, value in zip(kinds, found, strict=False)
        ]

    return values


def test_commands_are_completed(complete: Complete) -> None:
    assert complete("gen") == ["generate"]
    assert complete("workflows a") == ["add"]
    assert complete("help workflows ch") == ["check"]


def test_options_are_completed_without_hidden_names(complete: Complete) -> None:
    assert complete("generate x --ba") == ["--backend"]
    assert complete("--vers") == ["--version"]


def test_an_option_is_not_offered_twice(complete: Complete) -> None:
    assert complete("generate --steps 4 --ste") == []


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("generate --backend ", ["mock", "sketch", "remote", "fast"]),
        ("generate -b sk", ["sketch"]),
        ("generate --backend=sk", ["--backend=sketch"]),
        ("compare --models sketch,", ["sketch,mock", "sketch,remote"]),
        ("backends show re", ["remote"]),
        ("history --backend re", ["remote"]),
        ("generate --style ", ["photo", "pen and ink"]),
        ("generate --sampler er_", ["er_sde"]),
        ("generate --scheduler kar", ["karras"]),
        ("workflows show sd35-medium-im", ["sd35-medium-img2img"]),
        ("workflows check sd35-medium-im", ["sd35-medium-img2img"]),
        ("workflows check ./", ["<file>"]),
        ("generate --image ", ["<file>"]),
        ("generate --from-json ", ["<file>"]),
        ("upscale ", ["<file>"]),
        ("completion z", ["zsh"]),
    ],
)
def test_option_values_are_completed(complete: Complete, line: str, values: list[str]) -> None:
    Path("imagen.yaml").write_text(_CONFIG)
    assert complete(line) == values


@pytest.mark.parametrize(
    "line", ["--config mine.yaml generate -b ", "generate --config mine.yaml -b "]
)
def test_completion_uses_the_configuration_of_the_line(complete: Complete, line: str) -> None:
    Path("mine.yaml").write_text("backends: {other: {type: mock}}")
    assert complete(line) == ["mock", "other"]


def test_recent_ids_are_completed_with_their_prompts(
    complete: Complete, printed: Callable[[str, str], str]
) -> None:
    assert run(["generate", "a fox", "-q", "--size", "32"]) == 0
    assert run(["generate", "an owl", "-q", "--size", "32"]) == 0
    assert run(["history"]) == 0  # records the finished jobs in the library
    last, newest, older = complete("show ")
    assert last == "last"
    assert complete(f"rate {newest[:5]}") == [newest]
    assert complete(f"history --after {older[:5]}") == [older]
    assert printed("zsh", "open l") == "plain\nlast\nan owl\n"


@pytest.mark.parametrize("line", ["show zz", "open zz", "again zz"])
def test_files_are_completed_if_no_id_matches(complete: Complete, line: str) -> None:
    assert complete(line) == ["<file>"]


def test_an_existing_file_is_completed_before_ids(complete: Complete) -> None:
    assert run(["generate", "a fox", "-q", "--size", "32", "-o", "lasting.png"]) == 0
    assert complete("show las") == ["<file>"]


def test_interrupted_jobs_are_completed(complete: Complete, tmp_path: Path) -> None:
    Path("imagen.yaml").write_text(
        f"state_dir: {tmp_path}\nbackends: {{lost: {{type: mock, fail: lost}}}}"
    )
    assert complete("resume ") == []
    (tmp_path / "tickets").mkdir()
    (tmp_path / "tickets" / "5b6c8e5e-0000.json").write_text("{}")
    assert complete("resume ") == ["last", "5b6c8e5e-0000"]


def test_jobs_of_the_queue_and_pools_are_completed(
    complete: Complete, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("imagen.yaml").write_text(_CONFIG)
    assert complete("jobs show ") == []  # and no library is made for it
    assert complete("generate x --detach --pool f") == ["fast"]
    run(["generate", "a fox", "-b", "sketch", "--detach"])
    id = capsys.readouterr().out.strip()
    for line in ("jobs show ", "jobs wait ", "jobs list --batch ", "generate x --after "):
        assert complete(line) == ["last", id[:8]]
    assert complete(f"jobs cancel {id[:3]}") == [id[:8]]


@pytest.mark.parametrize(
    "line",
    [
        "generate --backend ",
        "generate --style ",
        "show la",
        "nope --x",
        "generate --nope ",
        "help nope ",
        'generate "a f',
    ],
)
@pytest.mark.parametrize("config", ["backends: [", "backends: 5", "nonsense: 1", None])
def test_an_invalid_configuration_completes_nothing(
    complete: Complete, line: str, config: str | None
) -> None:
    Path("imagen.yaml").write_text("backends: [" if config is None else config)
    assert complete(line) == []


def test_a_missing_configuration_completes_nothing(complete: Complete) -> None:
    assert complete("generate --config gone.yaml --backend ") == []


def test_an_unknown_completion_request_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_IMAGEN_COMPLETE", "nonsense")
    assert run(["generate", "x"]) == 0
    assert capsys.readouterr() == ("", "")


def test_an_unreadable_library_completes_nothing(tmp_path: Path) -> None:
    (tmp_path / "library.db").write_bytes(b"not a database, not at all" * 100)
    assert recent_images(str(tmp_path / "library.db"), 5) == []


def test_completion_does_not_contact_a_library_server() -> None:
    assert recent_images("postgresql://127.0.0.1:9/images", 5) == []


def test_bash_completes_the_last_of_three_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("imagen.yaml").write_text(_CONFIG)
    monkeypatch.setenv("_IMAGEN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "imagen\ngenerate\n--style\n=\np")
    monkeypatch.setenv("COMP_CWORD", "4")
    assert run([]) == 0
    assert capsys.readouterr().out == "plain,photo\nplain,'pen and ink'\n"


def test_bash_and_powershell_do_not_run_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("imagen.yaml").write_text("styles: {a;b$(id): {steps: 3}}")
    monkeypatch.setenv("COMP_WORDS", "imagen\ngenerate\n--style\na")
    monkeypatch.setenv("COMP_CWORD", "3")
    monkeypatch.setenv("_IMAGEN_COMPLETE", "bash_complete")
    assert run([]) == 0
    assert capsys.readouterr().out == "plain,'a;b$(id)'\n"
    monkeypatch.setenv("COMP_WORDS", "generate\n--style")
    monkeypatch.setenv("_IMAGEN_COMPLETE", "powershell_complete")
    assert run([]) == 0
    assert capsys.readouterr().out == "'a;b$(id)'\ta;b$(id)\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_names_with_line_breaks_are_left_out(complete: Complete) -> None:
    Path("models").mkdir()
    Path("models", "a.gguf").touch()
    Path("models", "a\nplain\nb.gguf").touch()
    Path("imagen.yaml").write_text(
        "backends: {sd: {type: diffusers, model: a/b, models_dir: models}}"
    )
    assert complete("generate --backend sd --model a") == ["a.gguf"]


def test_powershell_gets_values_with_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("imagen.yaml").write_text(_CONFIG)
    monkeypatch.setenv("_IMAGEN_COMPLETE", "powershell_complete")
    monkeypatch.setenv("COMP_WORDS", "generate\na red fox\n--style")
    monkeypatch.setenv("COMP_WORD", "p")
    assert run([]) == 0
    assert capsys.readouterr().out == "photo\tphoto\n'pen and ink'\tpen and ink\n"


def test_powershell_completes_files_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_IMAGEN_COMPLETE", "powershell_complete")
    monkeypatch.setenv("COMP_WORDS", "upscale")
    assert run([]) == 0
    assert capsys.readouterr().out.strip() == ""


@pytest.mark.parametrize(
    ("shell", "part"),
    [
        ("bash", "complete -o nosort -F _imagen_completion imagen"),
        ("zsh", "compdef _imagen_completion imagen"),
        ("fish", "complete --no-files --command imagen"),
        ("powershell", "Register-ArgumentCompleter -Native -CommandName imagen"),
    ],
)
def test_each_shell_has_a_script(
    shell: str, part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert part in script
    monkeypatch.setenv("_IMAGEN_COMPLETE", f"{shell}_source")  # as older versions documented it
    assert run([]) == 0
    assert capsys.readouterr().out == script


def _in_shell(program: str, *arguments: str) -> str:
    """The output of a shell with imagen's completion script, and imagen on its PATH."""
    shell = shutil.which(program)
    if shell is None:
        pytest.skip(f"{program} is not installed")
    Path("imagen.yaml").write_text(_CONFIG)
    imagen = Path("bin/imagen")
    imagen.parent.mkdir()
    imagen.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m imagen "$@"\n')
    imagen.chmod(0o755)
    ran = subprocess.run([shell, *arguments], capture_output=True, text=True)
    assert ran.stderr == ""
    return ran.stdout


@pytest.mark.skipif("sys.platform == 'win32'", reason="a POSIX script replaces imagen")
def test_bash_completes_a_line() -> None:
    message = _in_shell(
        "bash",
        "-c",
        'PATH="$PWD/bin:$PATH"; eval "$(imagen completion bash)"; '
        "COMP_WORDS=(imagen generate --style ''); COMP_CWORD=3; _imagen_completion imagen; "
        'printf "%s\\n" "${COMPREPLY[@]}"',
    )
    assert message == "photo\n'pen and ink'\n"


@pytest.mark.skipif("sys.platform == 'win32'", reason="a POSIX script replaces imagen")
def test_fish_completes_a_line() -> None:
    message = _in_shell(
        "fish",
        "--no-config",
        "-c",
        "set -p PATH $PWD/bin; imagen completion fish | source; "
        'complete -C "imagen compare -m mock,"',
    )
    assert message == "mock,remote\tcomfyui\nmock,sketch\tmock\n"


def test_model_completes_files_in_models_dir(complete: Complete, tmp_path: Path) -> None:
    for name in ("dream.safetensors", "xl/juggernaut.safetensors"):
        path = tmp_path / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    block = f"{{type: diffusers, model: a/b, models_dir: '{tmp_path / 'models'}'}}"
    Path("imagen.yaml").write_text(f"backends: {{local: {block}}}", encoding="utf-8")
    assert complete("generate x -b local -m x") == ["xl/juggernaut.safetensors"]


def test_model_completes_the_models_of_the_mock(complete: Complete) -> None:
    assert complete("generate x --model mock-") == ["mock-dusk"]


def test_model_completes_files_for_a_server(complete: Complete) -> None:
    Path("imagen.yaml").write_text(_CONFIG, encoding="utf-8")
    assert complete("generate x --backend remote --model x") == ["<file>"]


def test_model_completes_the_models_of_a_pool(complete: Complete) -> None:
    Path("imagen.yaml").write_text(_CONFIG, encoding="utf-8")
    assert complete("generate x --backend fast --model mock-") == ["mock-dusk"]
