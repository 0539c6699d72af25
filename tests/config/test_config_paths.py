"""Where the configuration, the state directory and own workflows are."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagen.config import find, place_to_write
from imagen.config.paths import default_config_folder, default_state_dir, expand_home
from imagen.errors import ConfigError


@pytest.fixture
def everywhere(tmp_path: Path) -> dict[str, str]:
    """A machine with a configuration in each of the usual places, and its environment."""
    for folder in ("here", "xdg", "home/.config", "appdata"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "imagen.yaml").touch()
    named = {"HOME": "home", "XDG_CONFIG_HOME": "xdg", "APPDATA": "appdata"}
    return {name: str(tmp_path / folder) for name, folder in named.items()}


def test_named_file_comes_first(tmp_path: Path, everywhere: dict[str, str]) -> None:
    named, by_variable = tmp_path / "named.yaml", tmp_path / "variable.yaml"
    named.touch()
    by_variable.touch()
    environ = everywhere | {"IMAGEN_CONFIG": str(by_variable)}
    assert find(named, environ=environ, cwd=tmp_path / "here") == named


def test_variable_comes_before_the_usual_places(tmp_path: Path, everywhere: dict[str, str]) -> None:
    by_variable = tmp_path / "variable.yaml"
    by_variable.touch()
    environ = everywhere | {"IMAGEN_CONFIG": str(by_variable)}
    assert find(environ=environ, cwd=tmp_path / "here") == by_variable


def test_empty_variable_names_no_file(tmp_path: Path, everywhere: dict[str, str]) -> None:
    environ = everywhere | {"IMAGEN_CONFIG": ""}
    assert find(environ=environ, cwd=tmp_path / "here") == tmp_path / "here/imagen.yaml"


def test_working_directory_comes_before_home(tmp_path: Path, everywhere: dict[str, str]) -> None:
    assert find(environ=everywhere, cwd=tmp_path / "here") == tmp_path / "here/imagen.yaml"


def test_xdg_folder_comes_next(tmp_path: Path, everywhere: dict[str, str]) -> None:
    assert find(environ=everywhere, cwd=tmp_path) == tmp_path / "xdg/imagen.yaml"


def test_config_folder_in_home_replaces_a_missing_xdg_folder(
    tmp_path: Path, everywhere: dict[str, str]
) -> None:
    environ = {"HOME": everywhere["HOME"]}
    assert find(environ=environ, cwd=tmp_path) == tmp_path / "home/.config/imagen.yaml"


def test_relative_xdg_folder_is_ignored(tmp_path: Path, everywhere: dict[str, str]) -> None:
    environ = {"HOME": everywhere["HOME"], "XDG_CONFIG_HOME": "xdg"}
    assert find(environ=environ, cwd=tmp_path) == tmp_path / "home/.config/imagen.yaml"


def test_windows_folder_comes_last(tmp_path: Path, everywhere: dict[str, str]) -> None:
    environ = {"USERPROFILE": str(tmp_path), "APPDATA": everywhere["APPDATA"]}
    assert find(environ=environ, cwd=tmp_path) == tmp_path / "appdata/imagen.yaml"


def test_no_configuration_is_found_if_none_exists(tmp_path: Path) -> None:
    assert find(environ={"HOME": str(tmp_path)}, cwd=tmp_path) is None


def test_missing_named_file_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^Configuration mine\.yaml not found\.") as e:
        find(Path("mine.yaml"), environ={})
    assert e.value.remedy == "`imagen config init --write mine.yaml` writes one."


def test_error_names_the_variable_that_named_the_file() -> None:
    with pytest.raises(ConfigError, match=r"mine\.yaml \(named by IMAGEN_CONFIG\) not found"):
        find(environ={"IMAGEN_CONFIG": "mine.yaml"})


def test_configuration_in_use_is_written(tmp_path: Path, everywhere: dict[str, str]) -> None:
    assert place_to_write(everywhere, tmp_path) == find(environ=everywhere, cwd=tmp_path)


def test_missing_file_of_the_variable_is_written(
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
def test_first_configuration_is_written_to_the_users_folder(
    tmp_path: Path, variable: str, place: str
) -> None:
    environ = {"USERPROFILE": str(tmp_path / "profile"), variable: str(tmp_path)}
    assert place_to_write(environ, tmp_path / "here") == tmp_path / place


def test_tilde_is_home_of_the_environment(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    assert expand_home(Path("~/a/b"), environ) == tmp_path / "a/b"
    assert expand_home(Path("a/~/b"), environ) == Path("a/~/b")


@pytest.mark.parametrize("variable", ["XDG_STATE_HOME", "LOCALAPPDATA"])
def test_state_directory_follows_the_system(tmp_path: Path, variable: str) -> None:
    environ = {variable: str(tmp_path), "HOME": str(tmp_path / "home")}
    assert default_state_dir(environ) == tmp_path / "imagen"


def test_state_directory_defaults_to_home(tmp_path: Path) -> None:
    assert default_state_dir({"HOME": str(tmp_path)}) == tmp_path / ".local/state/imagen"


@pytest.mark.parametrize("variable", ["XDG_CONFIG_HOME", "APPDATA"])
def test_own_workflows_are_beside_the_configuration(tmp_path: Path, variable: str) -> None:
    environ = {variable: str(tmp_path), "HOME": str(tmp_path / "home")}
    assert default_config_folder("workflows", environ) == tmp_path / "imagen/workflows"


def test_own_workflows_default_to_home(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}
    assert default_config_folder("workflows", environ) == tmp_path / ".config/imagen/workflows"
