"""Where the configuration is looked for, and where the state lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagen.config import find, place_to_write
from imagen.config.paths import default_state_dir, default_workflow_dir, expand_home
from imagen.errors import ConfigError


@pytest.fixture
def everywhere(tmp_path: Path) -> dict[str, str]:
    """A machine with a configuration in each of the usual places, and its environment."""
    for folder in ("here", "xdg", "home/.config", "appdata"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "imagen.yaml").touch()
    named = {"HOME": "home", "XDG_CONFIG_HOME": "xdg", "APPDATA": "appdata"}
    return {name: str(tmp_path / folder) for name, folder in named.items()}


def test_the_file_named_goes_before_all_others(tmp_path: Path, everywhere: dict[str, str]) -> None:
    named, by_variable = tmp_path / "named.yaml", tmp_path / "variable.yaml"
    named.touch()
    by_variable.touch()
    environ = everywhere | {"IMAGEN_CONFIG": str(by_variable)}
    assert find(named, environ=environ, cwd=tmp_path / "here") == named


def test_the_variable_goes_before_the_usual_places(
    tmp_path: Path, everywhere: dict[str, str]
) -> None:
    by_variable = tmp_path / "variable.yaml"
    by_variable.touch()
    environ = everywhere | {"IMAGEN_CONFIG": str(by_variable)}
    assert find(environ=environ, cwd=tmp_path / "here") == by_variable


def test_an_empty_variable_names_nothing(tmp_path: Path, everywhere: dict[str, str]) -> None:
    environ = everywhere | {"IMAGEN_CONFIG": ""}
    assert find(environ=environ, cwd=tmp_path / "here") == tmp_path / "here/imagen.yaml"


def test_the_working_directory_goes_before_the_home(
    tmp_path: Path, everywhere: dict[str, str]
) -> None:
    assert find(environ=everywhere, cwd=tmp_path / "here") == tmp_path / "here/imagen.yaml"


def test_the_xdg_folder_is_next(tmp_path: Path, everywhere: dict[str, str]) -> None:
    assert find(environ=everywhere, cwd=tmp_path) == tmp_path / "xdg/imagen.yaml"


def test_without_an_xdg_folder_it_is_the_homes_own(
    tmp_path: Path, everywhere: dict[str, str]
) -> None:
    environ = {"HOME": everywhere["HOME"]}
    assert find(environ=environ, cwd=tmp_path) == tmp_path / "home/.config/imagen.yaml"


def test_a_relative_xdg_folder_is_passed_over(tmp_path: Path, everywhere: dict[str, str]) -> None:
    environ = {"HOME": everywhere["HOME"], "XDG_CONFIG_HOME": "xdg"}
    assert find(environ=environ, cwd=tmp_path) == tmp_path / "home/.config/imagen.yaml"


def test_windows_own_folder_is_the_last(tmp_path: Path, everywhere: dict[str, str]) -> None:
    environ = {"USERPROFILE": str(tmp_path), "APPDATA": everywhere["APPDATA"]}
    assert find(environ=environ, cwd=tmp_path) == tmp_path / "appdata/imagen.yaml"


def test_nothing_is_found_where_there_is_nothing(tmp_path: Path) -> None:
    assert find(environ={"HOME": str(tmp_path)}, cwd=tmp_path) is None


def test_a_file_named_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^Configuration mine\.yaml not found\.") as e:
        find(Path("mine.yaml"), environ={})
    assert e.value.remedy == "`imagen config init --write mine.yaml` writes one."


def test_an_error_says_that_the_variable_named_the_file() -> None:
    with pytest.raises(ConfigError, match=r"mine\.yaml \(named by IMAGEN_CONFIG\) not found"):
        find(environ={"IMAGEN_CONFIG": "mine.yaml"})


def test_the_configuration_in_use_is_the_one_to_write(
    tmp_path: Path, everywhere: dict[str, str]
) -> None:
    assert place_to_write(everywhere, tmp_path) == find(environ=everywhere, cwd=tmp_path)


def test_the_file_that_the_variable_names_is_written_even_where_it_is_missing(
    tmp_path: Path,
) -> None:
    environ = {"IMAGEN_CONFIG": "new.yaml", "HOME": str(tmp_path)}
    assert place_to_write(environ, tmp_path) == tmp_path / "new.yaml"


@pytest.mark.parametrize(
    ("variable", "place"),
    [
        ("XDG_CONFIG_HOME", "imagen.yaml"),
        ("APPDATA", "imagen.yaml"),
        ("HOME", ".config/imagen.yaml"),
    ],
)
def test_a_first_configuration_is_written_into_the_users_own_folder(
    tmp_path: Path, variable: str, place: str
) -> None:
    environ = {"USERPROFILE": str(tmp_path / "profile"), variable: str(tmp_path)}
    assert place_to_write(environ, tmp_path / "here") == tmp_path / place


def test_a_tilde_is_the_home_of_the_environment(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    assert expand_home(Path("~/a/b"), environ) == tmp_path / "a/b"
    assert expand_home(Path("a/~/b"), environ) == Path("a/~/b")


@pytest.mark.parametrize("variable", ["XDG_STATE_HOME", "LOCALAPPDATA"])
def test_the_state_lies_where_the_system_wants_it(tmp_path: Path, variable: str) -> None:
    environ = {variable: str(tmp_path), "HOME": str(tmp_path / "home")}
    assert default_state_dir(environ) == tmp_path / "imagen"


def test_the_state_lies_in_the_home_otherwise(tmp_path: Path) -> None:
    assert default_state_dir({"HOME": str(tmp_path)}) == tmp_path / ".local/state/imagen"


@pytest.mark.parametrize("variable", ["XDG_CONFIG_HOME", "APPDATA"])
def test_own_workflows_lie_beside_the_configuration(tmp_path: Path, variable: str) -> None:
    environ = {variable: str(tmp_path), "HOME": str(tmp_path / "home")}
    assert default_workflow_dir(environ) == tmp_path / "imagen/workflows"


def test_own_workflows_lie_in_the_home_otherwise(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}
    assert default_workflow_dir(environ) == tmp_path / ".config/imagen/workflows"
