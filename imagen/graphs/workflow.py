"""Workflow: a graph with tokens, and what its manifest says of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imagen.core.capabilities import Capabilities, Parameter, translate_words
from imagen.core.request import USUAL_SIDE
from imagen.core.text import did_you_mean
from imagen.errors import RequestError, WorkflowError
from imagen.graphs.manifest import Manifest
from imagen.graphs.tokens import bind, canonical, tokens_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_INFERRED: Mapping[str, Mapping[str, Any]] = {
    "prompt": {"type": "string"},
    "negative": {"type": "string", "default": ""},
    "prompt_2": {"type": "string"},
    "negative_2": {"type": "string"},
    "width": {"type": "int", "default": USUAL_SIDE, "min": 16, "max": 16384},
    "height": {"type": "int", "default": USUAL_SIDE, "min": 16, "max": 16384},
    "seed": {"type": "int", "min": 0},
    "steps": {"type": "int", "min": 1, "max": 10000},
    "cfg": {"type": "float", "min": 0, "max": 100},
    "guidance": {"type": "float", "min": 0, "max": 100},
    "sampler": {"type": "string"},
    "scheduler": {"type": "string"},
    "count": {"type": "int", "min": 1, "default": 1},
    "image": {"type": "image"},
    "strength": {"type": "float", "min": 0, "max": 1, "default": 1.0},
    "mask": {"type": "image"},
    "reference": {"type": "image"},
    "filename_prefix": {"type": "string", "default": "imagen"},
}
"""What a token that no manifest explains may be, where its name tells."""


@dataclass(frozen=True)
class Workflow:
    """A ComfyUI graph in API format, whose tokens are its parameters."""

    name: str
    graph: Mapping[str, Any]
    manifest: Manifest
    source: str
    """Where it came from, for people: `bundled`, or the file's path."""

    @cached_property
    def tokens(self) -> frozenset[str]:
        """The canonical names of the graph's tokens."""
        return frozenset(canonical(token) for _, _, token in tokens_of(self.graph))

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Each token's parameter, in the manifest's order; inferred where it says nothing."""
        known = {n: p for n, p in self.manifest.parameters.items() if n in self.tokens}
        return known | {n: _inferred(n) for n in sorted(self.tokens - known.keys())}

    def capabilities(self, overrides: Mapping[str, Any] | None = None) -> Capabilities:
        """What this workflow accepts; `overrides` are other defaults, by token.

        Raises WorkflowError for an override of no token, or one that its parameter can't take.
        """
        parameters = dict(self.parameters)
        named, _ = translate_words(overrides or {}, parameters)
        for name, value in named.items():
            parameter = self._parameter(name)
            default = self._default(name, parameter, value)
            parameters[canonical(name)] = parameter.model_copy(update={"default": default})
        return Capabilities(
            tasks=(self.manifest.task,), parameters=parameters, without=self.manifest.without
        )

    def sample(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The graph bound to its defaults; a token that has none stays, and is not checked."""
        values: dict[str, Any] = {name: f"$<{name}>" for name in self.tokens}
        for name, parameter in self.capabilities(overrides).parameters.items():
            if parameter.default is not None:
                values[name] = parameter.default
        return bind(self.graph, values)

    def _parameter(self, name: str) -> Parameter:
        parameter = self.parameters.get(canonical(name))
        if parameter is None:
            raise WorkflowError(
                f"The workflow {self.name!r} has no parameter {name!r}."
                + did_you_mean(name, self.parameters),
                remedy=f"It has: {', '.join(self.parameters)}.",
            )
        return parameter

    def _default(self, name: str, parameter: Parameter, value: Any) -> Any:
        try:
            fitted = parameter.fit(name, value)
        except RequestError as error:
            raise WorkflowError(
                f"Workflow {self.name!r}: {error.message}", remedy=error.remedy
            ) from error
        if fitted != value:
            raise WorkflowError(
                f"Workflow {self.name!r}: {name} can't be {value!r}; the nearest is {fitted!r}."
            )
        return fitted


def inferred_manifest(graph: Mapping[str, Any]) -> Manifest:
    """The manifest of a graph that has none: its tokens are its parameters."""
    names = sorted({canonical(token) for _, _, token in tokens_of(graph)})
    return Manifest(task=_task(names), parameters={name: _inferred(name) for name in names})


def _inferred(name: str) -> Parameter:
    return Parameter.model_validate(_INFERRED.get(name, {}))


def _task(names: list[str]) -> str:
    if "mask" in names:
        return "inpaint"
    return "image-to-image" if "image" in names else "text-to-image"
