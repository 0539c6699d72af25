"""Tokens are replaced by values of any type, and nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagen.errors import WorkflowError
from imagen.graphs import bind


def graph(**inputs: Any) -> dict[str, Any]:
    """A graph of one node, number 8."""
    return {"8": {"class_type": "KSampler", "inputs": inputs, "_meta": {"title": "Sample"}}}


def bound(value: Any, **values: Any) -> Any:
    """What the one input `x` is bound to."""
    return bind(graph(x=value), values)["8"]["inputs"]["x"]


@pytest.mark.parametrize("token", ["$<v>", "${v}"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(7, id="int"),
        pytest.param(2**64 - 1, id="largest seed"),
        pytest.param(0, id="zero"),
        pytest.param(1.0, id="float"),
        pytest.param(True, id="true"),
        pytest.param(False, id="false"),
        pytest.param("", id="empty text"),
        pytest.param('a "quoted"\n\\ $<v> ${v} 日本 😀 \u202e\x00', id="any text"),
        pytest.param({"a": [1, None]}, id="object"),
        pytest.param(None, id="null"),
    ],
)
def test_token_becomes_its_value_with_the_same_type(token: str, value: Any) -> None:
    result = bound(token, v=value)
    assert result == value
    assert type(result) is type(value)


def test_largest_seed_is_exact_in_json() -> None:
    assert '"x": 18446744073709551615' in json.dumps(bind(graph(x="$<seed>"), {"seed": 2**64 - 1}))


def test_bound_list_is_wrapped() -> None:
    assert bound("$<v>", v=["4", 0]) == {"__value__": ["4", 0]}


def test_bound_list_in_an_object_is_not_wrapped() -> None:
    assert bound({"__value__": "$<v>"}, v=[1, 2]) == {"__value__": [1, 2]}


def test_tokens_in_lists_and_objects_are_bound() -> None:
    assert bound({"a": ["$<v>", {"b": "${w}"}]}, v=1, w=2) == {"a": [1, {"b": 2}]}


@pytest.mark.parametrize(
    "text",
    ["a $<v>", "$<v> ", "$<v>$<v>", "$v", "$<>", "$< v >", "$<v", "{v}", "<v>", "$$<v>"],
)
def test_text_that_contains_a_token_is_unchanged(text: str) -> None:
    assert bound(text, v=1) == text


def test_link_is_unchanged() -> None:
    assert bound(["$<v>", 0], v=1) == ["$<v>", 0]


def test_class_and_title_are_never_bound() -> None:
    tokens: dict[str, Any] = {"1": {"class_type": "$<v>", "_meta": {"title": "$<v>"}, "inputs": {}}}
    assert bind(tokens, {"v": 1}) == tokens


def test_value_that_looks_like_a_token_is_not_bound_again() -> None:
    assert bound("$<prompt>", prompt="$<seed>", seed=1) == "$<seed>"


def test_bound_graph_shares_nothing_with_the_template() -> None:
    template = graph(x="$<v>", y={"z": [1]}, link=["4", 0])
    before = json.dumps(template)
    copy = bind(template, {"v": 1})
    copy["8"]["inputs"]["y"]["z"].append(2)
    copy["8"]["inputs"]["link"][1] = 9
    copy["8"]["_meta"]["title"] = "other"
    assert json.dumps(template) == before


def test_bound_value_is_a_copy() -> None:
    value = {"a": [1]}
    bound("$<v>", v=value)["a"].append(2)
    assert value == {"a": [1]}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("negative_prompt", "negative"),
        ("batch_size", "count"),
        ("sampler_name", "sampler"),
        ("cfg_scale", "cfg"),
        ("noise_seed", "seed"),
        ("positive", "prompt"),
        ("positive_prompt", "prompt"),
        ("denoise", "strength"),
        ("num_inference_steps", "steps"),
    ],
)
def test_token_may_have_an_alias(written: str, name: str) -> None:
    assert bound(f"$<{written}>", **{name: 3}) == 3


def test_value_under_the_canonical_name_wins() -> None:
    assert bound("$<cfg_scale>", cfg=1.0, cfg_scale=9.0) == 1.0


def test_value_under_the_written_name_is_used() -> None:
    assert bound("$<cfg_scale>", cfg_scale=9.0) == 9.0


def test_value_without_a_token_is_ignored() -> None:
    assert bound("text", steps=4) == "text"


def test_token_without_a_value_is_reported_with_its_place() -> None:
    with pytest.raises(WorkflowError) as caught:
        bind(graph(steps="$<steps>", cfg="${cfg_scale}"), {})
    assert caught.value.message == (
        "The token 'steps' has no value: node 8 (KSampler 'Sample'), input steps.\n"
        "The token 'cfg_scale' has no value: node 8 (KSampler 'Sample'), input cfg."
    )
    assert caught.value.remedy == (
        "Set it (--set steps=…), or give it a default in the workflow's manifest."
    )


def test_malformed_node_is_copied_unchanged() -> None:
    malformed: dict[str, Any] = {"1": "text", "2": {"inputs": None}}
    assert bind(malformed, {}) == malformed
