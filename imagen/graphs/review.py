"""A workflow's faults, seen without a server: the graph's own, and those of graph and manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.core.text import did_you_mean
from imagen.errors import RequestError
from imagen.graphs.structure import Fault, at, structural_faults
from imagen.graphs.tokens import canonical, tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.graphs.workflow import Workflow


_FILLED_IN = frozenset(
    {
        *("prompt", "prompt_2", "negative_2", "seed", "variation_seed", "variation_strength"),
        *("width", "height", "left", "top", "right", "bottom", "fidelity"),
        *("loras", "controls", "references", "upscale", "restore", "outpaint", "preprocess"),
    }
)
"""What a request of the workflow's task brings, or imagen fills in."""


def faults(workflow: Workflow) -> list[Fault]:
    """Everything that is wrong with a workflow, as far as it can be told without a server."""
    return [
        *structural_faults(workflow.graph, workflow.manifest.output),
        *_unknown_tokens(workflow),
        *_unused_parameters(workflow),
        *_defaults(workflow),
        *_models(workflow),
    ]


def missing_values(workflow: Workflow, overrides: Mapping[str, Any] | None = None) -> list[Fault]:
    """A fault for each token that has no value unless somebody asks for it by name.

    `overrides` are a backend's own defaults. What every request brings or imagen fills in is not
    missing: the prompt, images, sides and seeds.
    """
    known = workflow.capabilities(overrides).parameters
    open_tokens = {
        name
        for name, parameter in known.items()
        if name in workflow.manifest.parameters  # of others, `faults` complains
        if parameter.default is None and parameter.type != "image" and name not in _FILLED_IN
    }
    return [
        at(
            workflow.graph,
            node_id,
            name,
            f"the token {token!r} has no value.",
            "Give it a default in the manifest, or in the backend's parameters; or ask for it "
            f"each time: --set {canonical(token)}=…",
        )
        for node_id, name, token in tokens_of(workflow.graph)
        if canonical(token) in open_tokens
    ]


def _unknown_tokens(workflow: Workflow) -> Iterator[Fault]:
    known = workflow.manifest.parameters
    for node_id, name, token in tokens_of(workflow.graph):
        if canonical(token) not in known:
            what = f"the token {token!r} is not in the manifest.{did_you_mean(token, known)}"
            yield at(workflow.graph, node_id, name, what, f"Add parameters: {canonical(token)}.")


def _unused_parameters(workflow: Workflow) -> Iterator[Fault]:
    for name in workflow.manifest.parameters:
        if name not in workflow.tokens:
            yield Fault(
                what=f"The manifest's parameter {name!r} has no token in the graph."
                + did_you_mean(name, workflow.tokens),
                remedy=f'Put "$<{name}>" where its value belongs, or take the parameter out.',
            )


def _defaults(workflow: Workflow) -> Iterator[Fault]:
    for name, parameter in workflow.manifest.parameters.items():
        if parameter.default is None:
            continue
        try:
            fitted = parameter.fit(name, parameter.default)
        except RequestError as error:
            yield Fault(what=f"The manifest's default is off: {error.message}")
            continue
        if fitted != parameter.default:
            yield Fault(
                what=f"The manifest's default of {name}, {parameter.default!r}, is out of its own "
                f"range; the nearest within is {fitted!r}."
            )


def _models(workflow: Workflow) -> Iterator[Fault]:
    for model in workflow.manifest.models:
        if model.token and canonical(model.token) not in workflow.tokens:
            yield Fault(
                what=f"The manifest's model {model.file!r} belongs to the token {model.token!r}, "
                f"which the graph has not.{did_you_mean(model.token, workflow.tokens)}"
            )
