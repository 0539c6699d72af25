"""The source stays readable: short functions, few one-caller helpers, one class for each name."""

from __future__ import annotations

from support.measures import ROOT, duplicate_classes, long_functions, modules

_MOST_ONE_CALLER_HELPERS = 0.15
_MOST_ANY_PER_LINE = 10 / 1000


def test_no_function_is_longer_than_60_lines() -> None:
    assert long_functions(60) == []


def test_no_module_is_longer_than_700_lines() -> None:
    every = [*modules(), *modules(ROOT / "tests")]
    assert [module.name for module in every if module.lines > 700] == []


def test_few_private_helpers_have_one_caller() -> None:
    package = modules()
    helpers = sum(len(module.one_caller_helpers) for module in package)
    assert helpers / sum(len(module.functions) for module in package) <= _MOST_ONE_CALLER_HELPERS


def test_any_is_rare() -> None:
    package = modules()
    uses = sum(module.any_count for module in package)
    assert uses / sum(module.lines for module in package) <= _MOST_ANY_PER_LINE


def test_class_names_are_unique() -> None:
    assert duplicate_classes() == {}
