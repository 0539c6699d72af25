"""The sample and imagen.example.yaml are valid, and the latter has every key and default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from imagen.backends import BUILT_IN
from imagen.backends import load_adapter as adapter
from imagen.config import (
    VARIABLES,
    CloudJobs,
    CloudSettings,
    InputSettings,
    JobSettings,
    LibrarySettings,
    Limits,
    OutputSettings,
    ServerSettings,
    Settings,
    Style,
    UsageSettings,
    example,
    load_settings,
    sample,
    with_backends,
)
from imagen.doctor import check_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

SECTIONS: dict[str, type[BaseModel]] = {
    "limits:": Limits,
    "inputs:": InputSettings,
    "output:": OutputSettings,
    "library:": LibrarySettings,
    "cloud:": CloudSettings,
    "  jobs:": CloudJobs,
    "usage:": UsageSettings,
    "jobs:": JobSettings,
    "server:": ServerSettings,
    "  photo:": Style,
    "  flux-schnell-local:": adapter("comfyui").config,
    "  flux-dev-replicate:": adapter("replicate").config,
    "  gpt-image:": adapter("openai").config,
    "  sdxl-diffusers:": adapter("diffusers").config,
    "  sd15-sdcpp:": adapter("sdcpp").config,
    "  forge:": adapter("a1111").config,
    "  mock:": adapter("mock").config,
}
FILLED = {
    *("backends", "styles", "inputs", "limits", "output", "state_dir", "library", "cloud", "usage"),
    *("jobs", "server"),
}
"""Sections, and what depends on the machine: they have content in the example."""
GIVEN = {
    ("cloud:", "jobs"),
    ("  flux-schnell-local:", "title"),
    ("  flux-dev-replicate:", "title"),
    ("  gpt-image:", "title"),
    ("  sdxl-diffusers:", "title"),
    ("  sd15-sdcpp:", "title"),
    ("  forge:", "title"),
    ("  sd15-sdcpp:", "model"),
}
"""Keys that the example gives a value of its own without showing the default."""


def section(start: str) -> str:
    """The lines below this one that are indented more."""
    _, _, below = example().partition(f"\n{start}\n")
    indent = len(start) - len(start.lstrip())
    return re.split(rf"\n {{0,{indent}}}\S", below)[0]


def shown(text: str, indent: int) -> dict[str, list[Any]]:
    """All values that keys of this indentation have there, active or in a comment."""
    found: dict[str, list[Any]] = {}
    for key, value in re.findall(rf"^ {{{indent}}}(?:# )?(\w+): *(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(yaml.safe_load(value or "null"))
    return found


def defaults(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """Every field but the name that imagen fills in, with its default as YAML has it."""
    for name, field in model.model_fields.items():
        value = field.get_default(call_default_factory=True)
        plain = str(value) if isinstance(value, Path) else value
        if name != "name" or not field.is_required():
            yield name, list(plain) if isinstance(plain, tuple) else plain


CASES = [
    pytest.param(start, name, value, required, id=f"{start.strip(' :')}-{name}")
    for start, model in SECTIONS.items()
    for name, value in defaults(model)
    for required in (model.model_fields[name].is_required(),)
    if (start, name) not in GIVEN
]


@pytest.mark.parametrize(("start", "name", "value", "required"), CASES)
def test_example_has_every_key_with_its_default(
    start: str, name: str, value: Any, required: bool
) -> None:
    indent = len(start) - len(start.lstrip()) + 2
    assert required or value in shown(section(start), indent)[name]
    assert name in shown(section(start), indent)


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - FILLED))
def test_example_has_every_top_level_key_with_its_default(name: str) -> None:
    values = dict(defaults(Settings))
    assert values[name] in shown(example(), 0)[name]


@pytest.mark.parametrize("name", sorted(FILLED))
def test_example_has_every_section(name: str) -> None:
    assert re.search(rf"^(# )?{name}:", example(), re.MULTILINE)


@pytest.mark.parametrize("kind", BUILT_IN)
def test_example_has_a_block_for_every_backend_type(kind: str) -> None:
    assert re.search(rf"^ {{2}}(# )? {{2}}type: {kind}$", example(), re.MULTILINE)


@pytest.mark.parametrize("name", VARIABLES)
def test_example_names_every_variable(name: str) -> None:
    assert name in example()


@pytest.fixture(params=[sample, example], ids=["sample", "full"])
def text(request: pytest.FixtureRequest) -> str:
    """Each of the two configurations that are printed."""
    printed: str = request.param()
    return printed


def test_sample_and_example_are_valid(text: str) -> None:
    Path("imagen.yaml").write_text(text)
    found = check_config(environ={"REPLICATE_API_TOKEN": "set"})
    assert (found.problems, found.warnings) == ((), ())


def test_sample_and_example_warn_of_one_credential(text: str) -> None:
    Path("imagen.yaml").write_text(text)
    (warning,) = check_config(environ={}).warnings
    assert warning.path == ("backends", "flux-dev-replicate", "api_token_env")


def test_sample_and_example_have_the_same_default_backend_and_styles(text: str) -> None:
    Path("imagen.yaml").write_text(text)
    settings = load_settings()
    assert settings.default_backend == "flux-schnell-local"
    assert sorted(settings.styles) == ["blog-header", "ink", "photo"]


def test_sample_and_example_are_ascii(text: str) -> None:
    assert text.isascii()


def test_sample_is_short() -> None:
    assert len(sample().splitlines()) < 80


def test_sample_sets_only_keys_of_the_example() -> None:
    short, full = yaml.safe_load(sample()), yaml.safe_load(example())
    assert short["styles"] == full["styles"]
    assert short["output"].items() <= full["output"].items()
    assert short["backends"].keys() <= full["backends"].keys()


def test_sample_has_a_local_backend_a_service_and_the_mock() -> None:
    Path("imagen.yaml").write_text(sample())
    assert load_settings().backends == {
        "flux-schnell-local": {
            "type": "comfyui",
            "url": "http://127.0.0.1:8188",
            "workflow": "flux1-schnell",
        },
        "flux-dev-replicate": {
            "type": "replicate",
            "model": "black-forest-labs/flux-dev",
            "api_token_env": "REPLICATE_API_TOKEN",
        },
        "mock": {"type": "mock"},
    }


def test_example_has_three_local_backends_and_one_of_each_other_type() -> None:
    Path("imagen.yaml").write_text(example())
    blocks = load_settings().backends
    assert {name: block.get("workflow", block["type"]) for name, block in blocks.items()} == {
        "flux-schnell-local": "flux1-schnell",
        "flux2-klein-local": "flux2-klein",
        "sd35-medium-local": "sd35-medium",
        "flux-dev-replicate": "replicate",
        "gpt-image": "openai",
        "sdxl-diffusers": "diffusers",
        "forge": "a1111",
        "sd15-sdcpp": "sdcpp",
        "mock": "mock",
    }


def test_detected_backends_replace_those_of_the_sample(text: str) -> None:
    blocks = {"sdxl-local": {"type": "comfyui", "workflow": "sdxl", "title": "SDXL: ünïcode"}}
    written = with_backends(text, blocks)
    Path("imagen.yaml").write_text(written)
    assert load_settings().default_backend == "sdxl-local"
    assert load_settings().backends == {**blocks, "mock": {"type": "mock"}}
    assert written.isascii()
    assert written.partition("\nstyles:")[2] == text.partition("\nstyles:")[2]
