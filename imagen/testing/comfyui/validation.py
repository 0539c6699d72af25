"""Validate a posted graph as ComfyUI does, with its refusals word for word."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.testing.comfyui.node_catalog import is_choice

if TYPE_CHECKING:
    from collections.abc import Collection

    from imagen.testing.comfyui.node_catalog import InputSpec, NodeClasses

_MAX_LISTED_CHOICES = 20
_CONVERTED = {"INT": int, "FLOAT": float, "STRING": str}

PostedGraph = dict[str, dict[str, Any]]
NodeProblem = dict[str, object]


class PromptRefused(Exception):
    """The graph is refused; `body` is the answer."""

    def __init__(
        self, kind: str, message: str, details: str = "", node_errors: object = None
    ) -> None:
        super().__init__(message)
        self.body = {
            "error": {"type": kind, "message": message, "details": details, "extra_info": {}},
            "node_errors": node_errors or {},
        }


@dataclass(slots=True)
class ValidatedPrompt:
    """The outputs that will run, and the errors of nodes that the other outputs need."""

    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, dict[str, Any]] = field(default_factory=dict)


def validate_prompt(
    graph: PostedGraph, catalog: NodeClasses, targets: Collection[str] | None
) -> ValidatedPrompt:
    """Check every output node and all it depends on; converts values in place, as ComfyUI does."""
    for node, content in graph.items():
        if "class_type" not in content:
            raise PromptRefused(
                "invalid_prompt",
                "Cannot execute because a node is missing the class_type property.",
                f"Node ID '#{node}'",
            )
        if content["class_type"] not in catalog:
            raise PromptRefused(
                "invalid_prompt",
                f"Cannot execute because node {content['class_type']} does not exist.",
                f"Node ID '#{node}'",
            )
    outputs = [
        node
        for node, content in graph.items()
        if catalog.is_output(content["class_type"]) and (targets is None or node in targets)
    ]
    if not outputs:
        raise PromptRefused("prompt_no_outputs", "Prompt has no outputs")
    validator = _GraphValidator(graph, catalog)
    prompt, refused = ValidatedPrompt(), list[NodeProblem]()
    for output in outputs:
        if validator.validate_output(output):
            prompt.outputs.append(output)
            continue
        refused += validator.problems.get(output, [])
        for node, problems in validator.problems.items():
            if problems and node in validator.reached[output]:
                kind = graph[node]["class_type"]
                empty = {"errors": problems, "dependent_outputs": [], "class_type": kind}
                prompt.node_errors.setdefault(node, empty)["dependent_outputs"].append(output)
    if not prompt.outputs:
        details = "\n".join(f"{each['message']}: {each['details']}" for each in refused)
        raise PromptRefused(
            "prompt_outputs_failed_validation",
            "Prompt outputs failed validation",
            details,
            prompt.node_errors,
        )
    return prompt


class _GraphValidator:
    """Validates the nodes of one graph, each once."""

    def __init__(self, graph: PostedGraph, catalog: NodeClasses) -> None:
        self.problems: dict[str, list[NodeProblem]] = {}
        self.reached: dict[str, set[str]] = {}
        """The nodes that each node depends on, and itself."""
        self._graph = graph
        self._catalog = catalog
        self._is_valid: dict[str, bool] = {}
        self._being_validated: set[str] = set()

    def validate_output(self, node: str) -> bool:
        try:
            return self._validate(node)
        except RecursionError:
            return False  # ComfyUI refuses a cycle without saying where it is
        except (KeyError, IndexError, TypeError) as error:
            kind, message = "exception_during_validation", "Exception when validating node"
            self.problems[node] = [_exception_problem(kind, message, error)]
            self._is_valid[node] = False
            self.reached[node] = {node}
            return False

    def _validate(self, node: str) -> bool:
        if node in self._being_validated:
            self.problems.clear()
            raise RecursionError
        if node not in self._is_valid:
            self._being_validated.add(node)
            try:
                inputs = self._graph[node]["inputs"]
                problems: list[NodeProblem] = []
                self.reached[node], are_links_valid = {node}, True
                for name, (spec, required) in self._catalog.inputs(
                    self._graph[node]["class_type"]
                ).items():
                    if name not in inputs:
                        if required:
                            problems.append(
                                _problem(
                                    "required_input_missing",
                                    "Required input is missing",
                                    name,
                                    input_name=name,
                                )
                            )
                    elif isinstance(inputs[name], list):
                        is_valid = self._validate_link(node, name, spec, problems)
                        are_links_valid = are_links_valid and is_valid
                    else:
                        problems += self._validate_literal(inputs, name, spec)
                self.problems[node] = problems
                self._is_valid[node] = are_links_valid and not problems
            finally:
                self._being_validated.discard(node)
        return self._is_valid[node]

    def _validate_link(
        self, node: str, name: str, spec: InputSpec, problems: list[NodeProblem]
    ) -> bool:
        """Whether the linked node is valid; problems of the link itself go into `problems`."""
        link = self._graph[node]["inputs"][name]
        if len(link) != 2:
            problems.append(
                _problem(
                    "bad_linked_input",
                    "Bad linked input, must be a length-2 list of [node_id, slot_index]",
                    name,
                    input_name=name,
                    input_config=spec,
                    received_value=link,
                )
            )
            return False
        source, slot = link
        kind = self._catalog.outputs(self._graph[source]["class_type"])[slot]
        if isinstance(spec[0], str) and kind != spec[0] and "*" not in (kind, spec[0]):
            problems.append(
                _problem(
                    "return_type_mismatch",
                    "Return type mismatch between linked nodes",
                    f"{name}, received_type({kind}) mismatch input_type({spec[0]})",
                    input_name=name,
                    input_config=spec,
                    received_type=kind,
                    linked_node=link,
                )
            )
            return False
        try:
            is_valid = self._validate(source)
        except (KeyError, IndexError, TypeError) as error:
            kind = "exception_during_inner_validation"
            problems.append(_exception_problem(kind, "Exception when validating inner node", error))
            return False
        self.reached[node] |= self.reached[source]
        return is_valid

    def _validate_literal(
        self, inputs: dict[str, Any], name: str, spec: InputSpec
    ) -> list[NodeProblem]:
        if is_choice(spec):
            return self._validate_choice(inputs[name], name, spec)
        convert = _CONVERTED.get(spec[0])
        if convert is not None:
            try:
                inputs[name] = convert(inputs[name])
            except (ValueError, TypeError) as error:
                problem = _problem(
                    "invalid_input_type",
                    f"Failed to convert an input value to a {spec[0]} value",
                    f"{name}, {inputs[name]}, {error}",
                    input_name=name,
                    input_config=spec,
                    received_value=inputs[name],
                    exception_message=str(error),
                )
                return [problem]
        value, limits = inputs[name], spec[1] if len(spec) > 1 else {}
        extra = {"input_name": name, "input_config": spec, "received_value": value}
        if "min" in limits and value < limits["min"]:
            message = f"Value {value} smaller than min of {limits['min']}"
            return [_problem("value_smaller_than_min", message, name, **extra)]
        if "max" in limits and value > limits["max"]:
            message = f"Value {value} bigger than max of {limits['max']}"
            return [_problem("value_bigger_than_max", message, name, **extra)]
        return []

    def _validate_choice(self, value: object, name: str, spec: InputSpec) -> list[NodeProblem]:
        if self._catalog.allows(spec, value):
            return []
        if spec[0] == "models:input":
            details = f"{name} - Invalid image file: {value}"
            message = "Custom validation failed for node"
            return [_problem("custom_validation_failed", message, details, input_name=name)]
        choices = self._catalog.choices(spec)
        is_short = len(choices) <= _MAX_LISTED_CHOICES
        listed = str(choices) if is_short else f"(list of length {len(choices)})"
        problem = _problem(
            "value_not_in_list",
            "Value not in list",
            f"{name}: '{value}' not in {listed}",
            input_name=name,
            input_config=[choices, spec[1] if len(spec) > 1 else {}] if is_short else None,
            received_value=value,
        )
        return [problem]


def _problem(kind: str, message: str, details: str, **extra_info: object) -> NodeProblem:
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info}


def _exception_problem(kind: str, message: str, error: Exception) -> NodeProblem:
    exception_type = type(error).__name__
    return _problem(kind, message, str(error), exception_type=exception_type, traceback=[])
