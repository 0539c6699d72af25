"""Pydantic's faults, as sentences."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagen.core.validation import Problem, dotted, problems


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = Field(8, ge=1, le=9, description="How large.")


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    hidden: str = Field("", exclude=True)
    name: str = Field("x", description="What it is called.")
    one: Inner | None = None
    many: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}
    small: int = Field(1, ge=1, le=3, description="A few.")


def found(values: dict[str, Any]) -> list[Problem]:
    with pytest.raises(ValidationError) as error:
        Outer.model_validate(values)
    return problems(error.value, at=("top",), model=Outer)


@pytest.mark.parametrize(
    ("values", "sentence", "remedy"),
    [
        pytest.param(
            {"nam": "x"},
            "top.nam: unknown key. Did you mean 'name'?",
            "Known here: name, one, many, named, small.",
            id="unknown-key",
        ),
        pytest.param(
            {"one": {"siz": 3}},
            "top.one.siz: unknown key. Did you mean 'size'?",
            "Known here: size.",
            id="unknown-key-of-an-optional-model",
        ),
        pytest.param(
            {"many": [{}, {"siz": 3}]},
            "top.many[1].siz: unknown key. Did you mean 'size'?",
            "Known here: size.",
            id="unknown-key-in-a-list",
        ),
        pytest.param(
            {"named": {"a": {"siz": 3}}},
            "top.named.a.siz: unknown key. Did you mean 'size'?",
            "Known here: size.",
            id="unknown-key-in-a-mapping",
        ),
        pytest.param(
            {"small": 7},
            "top.small: must be at most 3, not 7 (1 to 3)",
            "A few. The default is 1.",
            id="range",
        ),
        pytest.param(
            {"one": {"size": "big"}},
            "top.one.size: must be a whole number, not 'big'",
            "How large. The default is 8.",
            id="type",
        ),
        pytest.param(
            {"name": False},
            "top.name: must be text, not False",
            "Put it in quotes if it is meant as text.",
            id="text-without-quotes",
        ),
        pytest.param(
            {"one": 3}, "top.one: must be a mapping with keys and values, not 3", "", id="model"
        ),
        pytest.param({"many": 3}, "top.many: must be a list, not 3", "", id="list"),
    ],
)
def test_problem_has_path_message_and_remedy(
    values: dict[str, Any], sentence: str, remedy: str
) -> None:
    (problem,) = found(values)
    assert (problem.sentence, problem.remedy) == (sentence, remedy)


def test_long_values_are_not_quoted() -> None:
    assert found({"small": "x" * 100})[0].what.endswith("must be a whole number")


def test_problem_without_path_is_its_message() -> None:
    assert Problem((), "is wrong").sentence == "is wrong"


def test_dotted_formats_a_path() -> None:
    assert dotted(("backends", "a", "list", 0, "url")) == "backends.a.list[0].url"
