"""Whether a posted graph may run, and in ComfyUI's words why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.testing.comfyui.catalogue import is_choice

if TYPE_CHECKING:
    from collections.abc import Collection

    from imagen.testing.comfyui.catalogue import Catalogue

_MOST_CHOICES = 20
_FAILED = "prompt_outputs_failed_validation"
_CONVERTED = {"INT": int, "FLOAT": float, "STRING": str}
_INNER = "exception_during_inner_validation"
_OUTER = "exception_during_validation"

Graph = dict[str, dict[str, Any]]
Problem = dict[str, Any]


class Invalid(Exception):
    """The graph is refused."""

    def __init__(self, kind: str, message: str, details: str = "", nodes: Any = None) -> None:
        super().__init__(message)
        self.body = {
            "error": {"type": kind, "message": message, "details": details, "extra_info": {}},
            "node_errors": nodes or {},
        }


@dataclass(slots=True)
class Verdict:
    """The outputs that will run, and what is wrong with the nodes of the others."""

    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, Any] = field(default_factory=dict)


def validate(graph: Graph, catalogue: Catalogue, targets: Collection[str] | None) -> Verdict:
    """Check every output node and all it depends on; converts values in place, as ComfyUI does."""
    _known(graph, catalogue)
    outputs = [
        node
        for node, said in graph.items()
        if catalogue.is_output(said["class_type"]) and (targets is None or node in targets)
    ]
    if not outputs:
        raise Invalid("prompt_no_outputs", "Prompt has no outputs")
    return _judged(_Check(graph, catalogue), outputs)


def _known(graph: Graph, catalogue: Catalogue) -> None:
    for node, said in graph.items():
        if "class_type" not in said:
            raise Invalid(
                "invalid_prompt",
                "Cannot execute because a node is missing the class_type property.",
                f"Node ID '#{node}'",
            )
        if said["class_type"] not in catalogue:
            raise Invalid(
                "invalid_prompt",
                f"Cannot execute because node {said['class_type']} does not exist.",
                f"Node ID '#{node}'",
            )


def _judged(check: _Check, outputs: list[str]) -> Verdict:
    verdict, bad = Verdict(), list[Problem]()
    for output in outputs:
        if check.output(output):
            verdict.outputs.append(output)
        else:
            bad += check.problems.get(output, [])
            _blame(verdict.node_errors, check, output)
    if not verdict.outputs:
        details = "\n".join(f"{problem['message']}: {problem['details']}" for problem in bad)
        raise Invalid(_FAILED, "Prompt outputs failed validation", details, verdict.node_errors)
    return verdict


def _blame(node_errors: dict[str, Any], check: _Check, output: str) -> None:
    for node, problems in check.problems.items():
        if problems and node in check.reached[output]:
            kind = check.graph[node]["class_type"]
            empty = {"errors": problems, "dependent_outputs": [], "class_type": kind}
            node_errors.setdefault(node, empty)["dependent_outputs"].append(output)


class _Check:
    """The nodes of one graph, each looked at once."""

    def __init__(self, graph: Graph, catalogue: Catalogue) -> None:
        self.graph = graph
        self.problems: dict[str, list[Problem]] = {}
        self.reached: dict[str, set[str]] = {}
        self._catalogue = catalogue
        self._valid: dict[str, bool] = {}
        self._open: set[str] = set()

    def output(self, node: str) -> bool:
        try:
            return self._node(node)
        except RecursionError:
            return False  # a cycle: ComfyUI refuses it without a word about where
        except (KeyError, IndexError, TypeError) as error:
            self.problems[node] = [_broken(_OUTER, "Exception when validating node", error)]
            self._valid[node] = False
            self.reached[node] = {node}
            return False

    def _node(self, node: str) -> bool:
        if node in self._open:
            self.problems.clear()
            raise RecursionError
        if node not in self._valid:
            self._open.add(node)
            try:
                self._look(node)
            finally:
                self._open.discard(node)
        return self._valid[node]

    def _look(self, node: str) -> None:
        said = self.graph[node]["inputs"]
        found: list[Problem] = []
        self.reached[node], good = {node}, True
        specs = self._catalogue.inputs(self.graph[node]["class_type"])
        for name, (spec, required) in specs.items():
            if name not in said:
                found += [_missing(name)] if required else []
            elif isinstance(said[name], list):
                good = self._link(node, name, spec, found) and good
            else:
                found += self._literal(said, name, spec)
        self.problems[node] = found
        self._valid[node] = good and not found

    def _link(self, node: str, name: str, spec: Any, found: list[Problem]) -> bool:
        link = self.graph[node]["inputs"][name]
        if len(link) != 2:
            found.append(_bad_link(name, spec, link))
            return False
        source, slot = link
        kind = self._catalogue.returns(self.graph[source]["class_type"])[slot]
        if isinstance(spec[0], str) and kind != spec[0] and "*" not in (kind, spec[0]):
            found.append(_mismatch(name, spec, kind, link))
            return False
        return self._source(node, source, found)

    def _source(self, node: str, source: str, found: list[Problem]) -> bool:
        try:
            good = self._node(source)
        except (KeyError, IndexError, TypeError) as error:
            found.append(_broken(_INNER, "Exception when validating inner node", error))
            return False
        self.reached[node] |= self.reached[source]
        return good

    def _literal(self, said: dict[str, Any], name: str, spec: Any) -> list[Problem]:
        if is_choice(spec):
            return self._choice(said[name], name, spec)
        convert = _CONVERTED.get(spec[0])
        if convert is not None:
            try:
                said[name] = convert(said[name])
            except (ValueError, TypeError) as error:
                return [_unconvertible(name, spec, said[name], error)]
        return _out_of_range(said[name], name, spec)

    def _choice(self, value: Any, name: str, spec: Any) -> list[Problem]:
        if self._catalogue.allows(spec, value):
            return []
        if spec[0] == "models:input":
            return [_invalid_file(name, value)]
        choices = self._catalogue.choices(spec)
        few = len(choices) <= _MOST_CHOICES
        listed = str(choices) if few else f"(list of length {len(choices)})"
        details = f"{name}: '{value}' not in {listed}"
        config = [choices, spec[1] if len(spec) > 1 else {}] if few else None
        extra = {"input_name": name, "input_config": config, "received_value": value}
        return [_problem("value_not_in_list", "Value not in list", details, extra)]


def _problem(kind: str, message: str, details: str, extra: dict[str, Any]) -> Problem:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def _missing(name: str) -> Problem:
    extra = {"input_name": name}
    return _problem("required_input_missing", "Required input is missing", name, extra)


def _bad_link(name: str, spec: Any, value: Any) -> Problem:
    message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
    extra = {"input_name": name, "input_config": spec, "received_value": value}
    return _problem("bad_linked_input", message, name, extra)


def _mismatch(name: str, spec: Any, kind: str, link: Any) -> Problem:
    details = f"{name}, received_type({kind}) mismatch input_type({spec[0]})"
    extra = {
        "input_name": name,
        "input_config": spec,
        "received_type": kind,
        "linked_node": link,
    }
    message = "Return type mismatch between linked nodes"
    return _problem("return_type_mismatch", message, details, extra)


def _invalid_file(name: str, value: Any) -> Problem:
    details = f"{name} - Invalid image file: {value}"
    message = "Custom validation failed for node"
    return _problem("custom_validation_failed", message, details, {"input_name": name})


def _unconvertible(name: str, spec: Any, value: Any, error: Exception) -> Problem:
    message = f"Failed to convert an input value to a {spec[0]} value"
    extra = {
        "input_name": name,
        "input_config": spec,
        "received_value": value,
        "exception_message": str(error),
    }
    return _problem("invalid_input_type", message, f"{name}, {value}, {error}", extra)


def _out_of_range(value: Any, name: str, spec: Any) -> list[Problem]:
    limits = spec[1] if len(spec) > 1 else {}
    extra = {"input_name": name, "input_config": spec, "received_value": value}
    if "min" in limits and value < limits["min"]:
        message = f"Value {value} smaller than min of {limits['min']}"
        return [_problem("value_smaller_than_min", message, name, extra)]
    if "max" in limits and value > limits["max"]:
        message = f"Value {value} bigger than max of {limits['max']}"
        return [_problem("value_bigger_than_max", message, name, extra)]
    return []


def _broken(kind: str, message: str, error: Exception) -> Problem:
    extra = {"exception_type": type(error).__name__, "traceback": []}
    return _problem(kind, message, str(error), extra)
