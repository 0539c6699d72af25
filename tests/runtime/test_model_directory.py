"""Clients name models of the default backend, and other backends, by one kind of name."""

from __future__ import annotations

import pytest
from support.live_server import server_settings

from imagen.engines.directory import EngineDirectory
from imagen.errors import NotFound
from imagen.runtime.model_directory import ModelChoice, ModelDirectory


def _open(
    blocks: dict[str, dict[str, object]], default: str, pools: dict[str, tuple[str, ...]]
) -> ModelDirectory:
    settings = server_settings(blocks, pools=pools, default_backend=default)
    return ModelDirectory(EngineDirectory(settings), settings)


def _directory(**blocks: dict[str, object]) -> ModelDirectory:
    blocks = {"main": {"type": "mock"}, **blocks}
    return _open(blocks, "main", {"both": ("main", "main2")})


def test_choices_are_the_default_backends_models_and_all_backends() -> None:
    directory = _directory(main2={"type": "mock", "look": "x"})
    ids = [choice.id for choice in directory.choices()]
    assert ids == ["mock", "mock-dusk", "main", "both", "main2"]
    assert directory.own_choice() == ModelChoice("mock", "main", None)


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("mock-dusk", ("mock-dusk", "main", "mock-dusk")),
        ("folder/Mock-Dusk.safetensors", ("mock-dusk", "main", "mock-dusk")),
        ("main2", ("main2", "main2", None)),
        ("both", ("both", "both", None)),
        ("main2/mock-dusk", ("main2/mock-dusk", "main2", "mock-dusk")),
    ],
)
def test_a_choice_is_found_by_any_of_its_names(name: str, choice: tuple[str, ...]) -> None:
    assert _directory(main2={"type": "mock"}).find(name) == ModelChoice(*choice)


def test_an_unknown_model_has_a_suggestion() -> None:
    with pytest.raises(NotFound, match="mock-dusk"):
        _directory(main2={"type": "mock"}).find("mock-duks")


def test_a_name_is_kept_while_the_engine_cannot_list_its_models() -> None:
    directory = _open({"a": {"type": "mock", "fail": "unavailable"}}, "a", {})
    assert directory.find("some-model") == ModelChoice("some-model", "a", "some-model")
    assert [choice.id for choice in directory.choices()] == ["a"]
