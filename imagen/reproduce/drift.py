"""What is not as it was, as far as that can be told before anything is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from imagen.graphs.model_names import bare_name, base_name
from imagen.outputs.provenance import find_provenance, is_graph, sent_models
from imagen.reproduce.drifts import Drift
from imagen.reproduce.graphs import workflow_drift

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from imagen.core.capabilities import ParameterOutcome
    from imagen.core.ticket import Ticket
    from imagen.outputs import ImageRecord
    from imagen.reproduce.request import Remake

_PICTURES = ("image", "mask", "references")
_ELSEWHERE = ("style", "extra", "count", *_PICTURES)
"""Of a request, what is settled before, told in other words, or of no consequence."""
_SETUP = ("hardware", "family", "variant", "pipeline", "look", "scheduler", "scheduler_options")
"""Of what an engine is sent, what its configuration says and no request does."""

_NOTHING: tuple[Any, ...] = (None, "", [], {}, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which backend is to make it now, and what the user wants otherwise."""

    backend: str
    kind: str
    """Of its adapter."""
    changed: Collection[str] = ()
    """The parameters that were asked to be other than they were."""
    is_graph_own: bool = False
    """Whether the graph that made it is sent, and not the backend's workflow."""


def foreseen(
    record: ImageRecord, remake: Remake, ticket: Ticket, chosen: Chosen, unchanged: Ticket
) -> list[Drift]:
    """All that is not as it was, but for what was asked to be so.

    `ticket` is of the run to come; `unchanged` of one with nothing asked to be otherwise, which
    shows what became of the workflow and the configuration.
    """
    if chosen.is_graph_own:  # then all else that is known of the picture has no say
        record = replace(record, source="prompt", resolved={}, request={}, inputs=())
    return [
        *_engine(record, chosen),
        *_models(record, unchanged, chosen),
        *_setup(record, unchanged, chosen),
        *(() if chosen.is_graph_own else _parameters(record, remake, ticket, chosen)),
        *_inputs(record, ticket, chosen),
        *_batch(record, remake, chosen),
        *_unread(remake, chosen),
    ]


def _is_other(record: ImageRecord, chosen: Chosen) -> bool:
    return bool(record.backend) and record.backend != chosen.backend


def _engine(record: ImageRecord, chosen: Chosen) -> Iterator[Drift]:
    if _is_other(record, chosen):
        yield Drift(what="backend", name="backend", then=record.backend, now=chosen.backend)
    kind = find_provenance(record).kind
    if kind and chosen.kind and kind != chosen.kind:
        yield Drift(what="engine", name="engine", then=kind, now=chosen.kind)


def _models(record: ImageRecord, ticket: Ticket, chosen: Chosen) -> Iterator[Drift]:
    """The main model; and for the same backend the files beside it."""
    then, now = _then_models(record), sent_models(ticket.payload)
    if not (then and now):
        return
    if not same_model(then[0], now[0]):
        yield Drift(what="model", name="model", then=then[0], now=now[0])
    if _is_other(record, chosen) or chosen.kind != "comfyui":
        return
    gone = [one for one in then[1:] if not any(same_model(one, other) for other in now)]
    come = [one for one in now[1:] if not any(same_model(one, other) for other in then)]
    if gone or come:
        yield Drift(what="model", name="models", then=gone, now=come)


def _then_models(record: ImageRecord) -> tuple[str, ...]:
    """Out of the graph where there is one: it knows a LoRA from a model."""
    if is_graph(record.graph):
        return sent_models(record.graph)
    return find_provenance(record).models


def same_model(one: str, other: str) -> bool:
    """Whether two names mean one file, whatever its folder, its ending and its letters' case."""
    return bare_name(base_name(one)).lower() == bare_name(base_name(other)).lower()


def is_other_model(one: Ticket, other: Ticket) -> bool:
    """Whether the main models that two tickets tell their engine to use are not the same."""
    first, second = sent_models(one.payload), sent_models(other.payload)
    return bool(first and second) and not same_model(first[0], second[0])


def _setup(record: ImageRecord, ticket: Ticket, chosen: Chosen) -> Iterator[Drift]:
    """The workflow, or what else the configuration tells the engine."""
    then, now = record.graph, ticket.payload
    if is_graph(then) and is_graph(now):
        if chosen.is_graph_own or not (_is_other(record, chosen) or _is_foreign(record)):
            yield from workflow_drift(then, now)
        else:
            yield _other_workflow(then, now)
        return
    if _is_other(record, chosen):
        return
    for name in _SETUP:
        if name in then and name in now and then[name] != now[name]:
            yield Drift(what="workflow", name=name, then=then[name], now=now[name])
    yield from _arguments(then.get("arguments"), now.get("arguments"))


def _other_workflow(then: Mapping[str, Any], now: Mapping[str, Any]) -> Drift:
    why = "--graph sends the old one"
    return Drift(what="workflow", name="workflow", then=_size(then), now=_size(now), why=why)


def _size(graph: Mapping[str, Any]) -> str:
    return f"a graph of {len(graph)} nodes"


def _arguments(then: Any, now: Any) -> Iterator[Drift]:
    """Of a command line, what stands in one of the two only; of paths the names count."""
    if not (isinstance(then, list) and isinstance(now, list)):
        return
    old, new = [_name(one) for one in then], [_name(one) for one in now]
    gone, come = [a for a in old if a not in new], [a for a in new if a not in old]
    if gone or come:
        yield Drift(what="workflow", name="arguments", then=" ".join(gone), now=" ".join(come))


def _name(argument: Any) -> str:
    return PureWindowsPath(str(argument)).name or str(argument)


def _is_foreign(record: ImageRecord) -> bool:
    return record.source not in ("sidecar", "imagen")


def _parameters(
    record: ImageRecord, remake: Remake, ticket: Ticket, chosen: Chosen
) -> Iterator[Drift]:
    told = find_provenance(record)
    then = _flat(told.values)
    now = _flat(ticket.request.model_dump(mode="json"))
    pictures = {_parameter(known) for known in (*record.inputs, *_of(ticket))}
    left_out = {*_ELSEWHERE, *pictures, *chosen.changed, *remake.unread}
    names = then if _is_foreign(record) else dict.fromkeys((*then, *now))
    for name in names:
        if name not in left_out:
            yield from _parameter_drift(
                name, then.get(name), now.get(name), ticket, told.renamed.get(name)
            )


def _parameter_drift(
    name: str, then: Any, now: Any, ticket: Ticket, called: str | None
) -> Iterator[Drift]:
    fate = ticket.receipt.get(name)
    if fate is not None and fate.outcome == "mapped" and now is None:
        now = _plain(fate.used)
    if not _same(then, now):
        why = fate.why if fate else ""
        yield Drift(what="parameter", name=name, then=called or then, now=now, why=why)
    elif called is not None:
        yield Drift(what="parameter", name=name, then=called, now=now, why=_why(fate))


def _why(fate: ParameterOutcome | None) -> str:
    return (fate.why if fate else "") or "its name here"


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """With the further parameters among the others, and control pictures without their files."""
    extra = values.get("extra")
    flat = {**values, **(extra if isinstance(extra, dict) else {})}
    controls = flat.get("controls")
    if isinstance(controls, list | tuple):
        flat["controls"] = [
            {k: v for k, v in one.items() if k not in ("image", "preprocess")}
            for one in controls
            if isinstance(one, dict)
        ]
    return flat


def _plain(value: Any) -> Any:
    dumped = getattr(value, "model_dump", None)
    return value if dumped is None else dumped(mode="json")


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or (one in _NOTHING and other in _NOTHING)


def _of(ticket: Ticket) -> list[dict[str, Any]]:
    return [{"parameter": one.parameter, "sha256": one.sha256} for one in ticket.inputs]


def _parameter(known: Mapping[str, Any]) -> str:
    """The parameter that a picture is of; a list of several is compared by itself."""
    name = str(known.get("parameter", ""))
    return "" if "." in name else name


def _inputs(record: ImageRecord, ticket: Ticket, chosen: Chosen) -> Iterator[Drift]:
    """The pictures that it was made of, by their content."""
    now = {one.parameter: one for one in ticket.inputs}
    for known in record.inputs:
        parameter, name = str(known.get("parameter")), known.get("name")
        given = now.get(parameter)
        if given is None:
            yield Drift(what="input", name=parameter, then=name)
        elif given.sha256 != known.get("sha256"):
            why = "asked for" if parameter.partition(".")[0] in chosen.changed else "it has changed"
            yield Drift(what="input", name=parameter, then=name, now=given.name, why=why)


def _batch(record: ImageRecord, remake: Remake, chosen: Chosen) -> Iterator[Drift]:
    """A picture beyond the first of a batch of one seed comes about in that batch only."""
    index = record.file.get("index")
    if not (remake.shares_noise and remake.batch < remake.batch_then):
        return
    if type(index) is int and index and "count" not in chosen.changed:
        then = f"number {index + 1} of {remake.batch_then} that share one seed"
        yield Drift(what="batch", name="batch", then=then, now="one alone")


def _unread(remake: Remake, chosen: Chosen) -> Iterator[Drift]:
    for name, value in remake.unread.items():
        if name not in chosen.changed:
            yield Drift(what="unread", name=name, then=value)
