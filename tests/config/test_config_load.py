"""Settings are loaded from a file and the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagen.config import Settings, Style, check, load_settings
from imagen.errors import ConfigError, ConfigWarning

FILE = Path("imagen.yaml")


def loaded(text: str, **environ: str) -> Settings:
    FILE.write_text(text, encoding="utf-8")
    return load_settings(environ={"HOME": str(Path("home").absolute()), **environ})


def refused(text: str) -> list[str]:
    FILE.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_settings()
    return error.value.message.splitlines()


def test_defaults_use_the_mock() -> None:
    settings = load_settings()
    assert (settings.default_backend, settings.backends, settings.source) == ("mock", {}, None)


def test_settings_know_their_file() -> None:
    assert loaded("default_backend: mock").source == FILE
    assert (
        loaded("default_backend: mock").model_copy(update={"default_backend": "x"}).source == FILE
    )


def test_file_cannot_set_its_own_source() -> None:
    assert refused("source: other.yaml") == ["imagen.yaml, line 1: source: unknown key."]


def test_empty_file_means_the_defaults() -> None:
    FILE.touch()
    assert check().settings.limits.max_width == 4096


def test_section_of_comments_is_empty() -> None:
    text = "limits:\n  # max_width: 64\nbackends:\n  mock:\nstyles:\n  plain:\noutput:\n"
    settings = loaded(text)
    assert settings.limits.max_width == 4096
    assert settings.backends == {"mock": {}}
    assert settings.styles == {"plain": Style()}


def test_every_key_is_read() -> None:
    settings = loaded(
        "default_backend: a\n"
        "backends: {a: {type: mock, look: x}}\n"
        "styles: {ink: {prompt: 'ink {prompt}', steps: 4, cfg: 1.5, sampler: euler}}\n"
        "limits: {max_width: 64, max_compute: 2.5}\n"
        "output: {name: '{slug}', sidecar: false}\n"
    )
    assert (settings.default_backend, settings.backends) == (
        "a",
        {"a": {"type": "mock", "look": "x"}},
    )
    assert settings.styles["ink"] == Style(prompt="ink {prompt}", steps=4, cfg=1.5, sampler="euler")
    assert (settings.limits.max_width, settings.limits.max_compute) == (64, 2.5)
    assert (settings.output.name, settings.output.sidecar) == ("{slug}", False)


def test_paths_start_at_the_files_folder_and_output_at_the_working_directory() -> None:
    folder = Path("conf").absolute()
    folder.mkdir()
    (folder / "imagen.yaml").write_text(
        "workflow_dirs: [mine, ../common]\nstate_dir: state\noutput: {directory: images}\n"
        "wildcard_dirs: [words]\nblobs: ./shared\n"
    )
    settings = load_settings(folder / "imagen.yaml")
    assert settings.workflow_dirs == (folder / "mine", folder / "../common")
    assert settings.wildcard_dirs == (folder / "words",)
    assert settings.blobs == str(folder / "shared")
    assert settings.state_dir == folder / "state"
    assert settings.output.directory == Path("images")


def test_given_working_directory_is_used(tmp_path: Path) -> None:
    (tmp_path / "imagen.yaml").write_text("output: {directory: images}\n")
    settings = load_settings(cwd=tmp_path)
    assert settings.output.directory == tmp_path / "images"


def test_tilde_is_the_home_directory() -> None:
    home = Path("home").absolute()
    settings = loaded("workflow_dirs: [~/w]\nstate_dir: ~/s\noutput: {directory: ~/o}\n")
    assert settings.workflow_dirs == (home / "w",)
    assert settings.state_dir == home / "s"
    assert settings.output.directory == home / "o"


def test_path_in_a_backend_block_starts_at_the_files_folder() -> None:
    here = Path().absolute()
    block = loaded(
        "backends: {a: {workflow: ./w.json, list: [../x, ~/y], other: w.json, n: 3}}"
    ).backends["a"]
    assert block == {
        "workflow": str(here / "w.json"),
        "list": [str(here / "../x"), str(here / "home/y")],
        "other": "w.json",
        "n": 3,
    }


def test_path_in_a_backend_block_may_have_backslashes() -> None:
    here = Path().absolute()
    block = loaded(r"backends: {a: {ca: .\certs\ca.pem, list: ['..\x', '~\y'], name: a\b}}")
    assert block.backends["a"] == {
        "ca": str(here / "certs/ca.pem"),
        "list": [str(here / "../x"), str(here / "home/y")],
        "name": "a\\b",
    }


def test_environment_overrides_the_file() -> None:
    settings = loaded(
        "default_backend: a\noutput: {directory: b}\nstate_dir: c\nworkflow_dirs: [d]\n",
        IMAGEN_BACKEND="mock",
        IMAGEN_OUTPUT="here",
        IMAGEN_STATE="~/state",
        IMAGEN_WORKFLOWS=os.pathsep.join(["one", "two"]),
    )
    assert settings.default_backend == "mock"
    assert settings.output.directory == Path("here")
    assert settings.state_dir == Path("home/state").absolute()
    assert settings.workflow_dirs == (Path("one"), Path("two"))


@pytest.mark.parametrize("text", ["# None.", "workflow_dirs: []\n", "workflow_dirs:\n"])
def test_usual_workflow_folder_is_used_once_it_exists(text: str) -> None:
    assert loaded(text).workflow_dirs == ()
    usual = Path("home/.config/imagen/workflows").absolute()
    usual.mkdir(parents=True)
    assert loaded(text).workflow_dirs == (usual,)
    assert loaded("workflow_dirs: [/w]\n").workflow_dirs == (Path("/w").absolute(),)


def test_usual_wildcard_folder_is_used_once_it_exists() -> None:
    assert loaded("# None.").wildcard_dirs == ()
    usual = Path("home/.config/imagen/wildcards").absolute()
    usual.mkdir(parents=True)
    assert loaded("# None.").wildcard_dirs == (usual,)


def test_empty_variable_overrides_nothing() -> None:
    assert loaded("default_backend: a\n", IMAGEN_BACKEND="").default_backend == "a"


def test_backends_share_workflow_folders_and_cache() -> None:
    assert loaded("workflow_dirs: [/w]\nstate_dir: /s\n").shared() == {
        "workflow_dirs": (Path("/w").absolute(),),
        "cache_dir": Path("/s").absolute() / "cache",
        "listed_models_only": False,
    }


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            "limits:\n  max_widht: 64\n",
            ["line 2: limits.max_widht: unknown key. Did you mean 'max_width'?"],
            id="unknown-key",
        ),
        pytest.param(
            "styles:\n  ink:\n    promt: x\n",
            ["line 3: styles.ink.promt: unknown key. Did you mean 'prompt'?"],
            id="unknown-key-of-a-style",
        ),
        pytest.param(
            "limits: {max_width: 3}\n",
            ["line 1: limits.max_width: must be at least 16, not 3"],
            id="out-of-range",
        ),
        pytest.param(
            "default_backend: 3\n",
            ["line 1: default_backend: must be text, not 3"],
            id="number-for-a-text",
        ),
        pytest.param(
            "styles: {ink: {prompt: black}}\n",
            [
                "line 1: styles.ink.prompt: must contain {prompt}, which is replaced by "
                "the request's prompt, not 'black'"
            ],
            id="style-that-would-lose-the-prompt",
        ),
        pytest.param(
            "workflow_dirs: mine\n",
            ["line 1: workflow_dirs: must be a list, not 'mine'"],
            id="one-instead-of-a-list",
        ),
        pytest.param(
            "output: here\n",
            ["line 1: output: must be a mapping with keys and values, not 'here'"],
            id="value-instead-of-a-section",
        ),
        pytest.param(
            "backends:\n  a: mock\n  b: {type: 3}\n",
            [
                "line 2: backends.a: must be a mapping with keys and values, not 'mock'",
                "line 3: backends.b.type: must be the name of a backend type",
            ],
            id="blocks-that-are-none",
        ),
        pytest.param(
            "backend: mock\n",
            ["line 1: backend: is now called default_backend"],
            id="key-of-an-earlier-version",
        ),
        pytest.param(
            "foo: 1\nlimits: {max_compute: .inf}\ndefault_backend: ''\n",
            [
                "line 1: foo: unknown key.",
                "line 2: limits.max_compute: must be a finite number, not inf",
                "line 3: default_backend: must have at least 1 character, not ''",
            ],
            id="all-at-once-in-the-order-of-lines",
        ),
    ],
)
def test_problem_is_reported_with_key_and_line(text: str, lines: list[str]) -> None:
    assert refused(text) == [f"imagen.yaml, {line}" for line in lines]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        pytest.param(
            "limits: {max_widht: 64}\n",
            "Known here: max_width, max_height, max_compute.",
            id="unknown-key",
        ),
        pytest.param("limits: {max_width: 3}\n", "Pixels. The default is 4096.", id="range"),
        pytest.param(
            "backend: mock\n",
            "Write `default_backend:` instead of `backend:`.",
            id="key-of-an-earlier-version",
        ),
        pytest.param("default_backend: no\n", "Put it in quotes if it is meant as text.", id="no"),
        pytest.param(
            "default_backend: 1\nlimits: 2\n",
            "`imagen config validate` says what to do about each.",
            id="several",
        ),
    ],
)
def test_problem_has_a_remedy(text: str, remedy: str) -> None:
    FILE.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_settings()
    assert error.value.remedy == remedy


def test_valid_values_are_kept_beside_invalid_ones() -> None:
    FILE.write_text("limits: 3\ndefault_backend: a\nbackends: {a: {type: mock}, b: 4}\n")
    checked = check()
    assert [problem.path for problem in checked.problems] == [("limits",), ("backends", "b")]
    assert checked.settings.backends == {"a": {"type": "mock"}}
    assert checked.settings.default_backend == "a"


_REMEDY = (
    "In double quotes, YAML reads \\ as the start of an escape. "
    "Write a path in single quotes, or with forward slashes."
)


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        (r'output: {directory: "C:\new"}', "output.directory: contains a line break", _REMEDY),
        (r'state_dir: "C:\temp"', "state_dir: contains a tab", _REMEDY),
        (
            r'workflow_dirs: ["D:\backup"]',
            "workflow_dirs[0]: contains the control character U+0008",
            _REMEDY,
        ),
        (
            r'library: {url: "\\nas\art"}',
            "library.url: contains the control character U+0007",
            _REMEDY,
        ),
        (
            r'backends: {a: {type: comfyui, workflow: "flows\north.json"}}',
            "backends.a.workflow: contains a line break",
            _REMEDY,
        ),
        (
            r'backends: {a: {type: comfyui, parameters: {checkpoint: "xl\red"}}}',
            "backends.a.parameters.checkpoint: contains a carriage return",
            _REMEDY,
        ),
        (
            "state_dir: |\n  state",
            "state_dir: contains a line break",
            "Write it on one line, without | or >.",
        ),
    ],
    ids=["newline", "tab", "backspace", "bell", "a workflow", "a file of a server", "a block"],
)
def test_path_with_a_control_character_is_refused(text: str, said: str, remedy: str) -> None:
    FILE.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_settings()
    assert error.value.message == f"imagen.yaml, line 1: {said}"
    assert error.value.remedy == remedy


def test_prompt_may_have_several_lines() -> None:
    settings = loaded('styles: {ink: {prompt: "ink:\\n{prompt}", negative: "a\\tb"}}')
    assert settings.styles["ink"].prompt == "ink:\n{prompt}"


def test_path_in_single_quotes_keeps_its_backslashes() -> None:
    assert loaded(r"backends: {a: {type: mock, look: 'C:\new'}}").backends["a"]["look"] == r"C:\new"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("IMAGEN_OUTPUT", "a\nb", "a line break"),
        ("IMAGEN_STATE", "a\tb", "a tab"),
        ("IMAGEN_LIBRARY", "a\x1bb", "the control character U+001B"),
    ],
)
def test_variable_with_a_control_character_is_refused(name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        loaded("", **{name: text})
    assert error.value.message == f"The environment variable {name} contains {said}."


@pytest.mark.parametrize("name", ["Europe/Zurich", "UTC", "America/Argentina/Buenos_Aires"])
def test_time_zone_is_an_iana_name(name: str) -> None:
    assert str(loaded(f"usage: {{timezone: {name}}}").usage.zone) == name


def test_default_time_zone_is_the_machines() -> None:
    assert loaded("# None.").usage.zone is None


@pytest.mark.parametrize("name", ["Mars/Base", "Europe", "../etc/passwd", "", "europe zurich"])
def test_unknown_time_zone_is_refused(name: str) -> None:
    assert refused(f"usage: {{timezone: '{name}'}}") == [
        "imagen.yaml, line 1: usage.timezone: must be the name of a time zone, such as "
        f"Europe/Zurich or UTC, not {name!r}"
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("usage: {mirror_table: 'a; drop'}", "must be an SQL identifier"),
        ("usage: {mirror_schema: 7up}", "must be an SQL identifier"),
        ("cloud: {db_table: ''}", "must be an SQL identifier"),
        ("cloud: {db_schema: a/b}", "must be an SQL identifier"),
        ("usage: {caller_env: [two words]}", "must be the name of an environment variable"),
        ("usage: {caller_tmux_option: '#(date)'}", "must be an option of tmux such as @caller"),
    ],
)
def test_names_of_cloud_and_callers_are_checked(text: str, wanted: str) -> None:
    (line,) = refused(text)
    assert wanted in line


@pytest.mark.parametrize("text", ["", " \n\t\n"], ids=["empty", "blank"])
def test_empty_file_is_a_warning_with_a_remedy(text: str) -> None:
    FILE.write_text(text)
    with pytest.warns(ConfigWarning) as caught:
        load_settings(environ={})
    assert [str(one.message) for one in caught] == [
        "imagen.yaml: the file is empty, so the defaults apply. "
        "`imagen config init --detect --write imagen.yaml` writes a configuration for your engines."
    ]


def test_file_of_comments_is_not_a_warning() -> None:
    assert loaded("# Nothing yet.\n").default_backend == "mock"
