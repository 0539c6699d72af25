"""How a reproduction differs from the original: in its settings and in its pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal

from imagen.core.filesystem import file_sha256
from imagen.core.image_file import DECODE_ERRORS, open_image
from imagen.core.json_values import as_mapping
from imagen.core.text import one_line
from imagen.graphs.graph import describe_node, inputs_of
from imagen.graphs.model_names import bare_name, base_name, is_model_file
from imagen.outputs.provenance import backend_kind, find_provenance, is_graph, sent_models

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from imagen.core.result import Facts
    from imagen.core.ticket import Ticket
    from imagen.outputs import ImageRecord
    from imagen.reproduce.request import Reproduction

DriftKind = Literal[
    "backend", "engine", "model", "version", "workflow", "parameter", "input", "unread", "batch"
]
_LONGEST_VALUE = 60
_EMPTY: tuple[object, ...] = (None, "", [], {}, ())
_IMAGE_FIELDS = ("image", "mask", "references")
_NOT_COMPARED = ("style", "extra", "count", *_IMAGE_FIELDS)
"""Request fields that are applied before, compared otherwise, or without effect on the image."""
_CONFIGURED = (
    "hardware",
    "family",
    "variant",
    "pipeline",
    "look",
    "scheduler",
    "scheduler_options",
)
"""Parts of a payload that come from the configuration, not from the request."""
_VERSIONS = {
    "server_version": "the server's version",
    "diffusers": "diffusers",
    "torch": "torch",
    "version": "version",
    "model_version": "the model's version",
    "device": "device",
    "dtype": "dtype",
    "offload": "offload",
}
"""Facts of an engine that affect the image."""
_LOSSY_FORMATS = ("JPEG", "WEBP", "AVIF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference between then and now."""

    what: DriftKind
    name: str
    """The parameter, the program, the input of a node, …"""
    then: Any = None
    """None is nothing, or unknown."""
    now: Any = None
    why: str = ""

    @property
    def then_text(self) -> str:
        """The value of then in words, shortened; empty for nothing."""
        return "" if self.then in _EMPTY else one_line(_format(self.then))

    @property
    def now_text(self) -> str:
        """The value of now in words, shortened; empty for nothing."""
        return "" if self.now in _EMPTY else one_line(_format(self.now))

    @property
    def sentence(self) -> str:
        """`steps: 50 then, 10 now (at most 10)`."""
        change = f"{self.then_text or 'nothing'} then, {self.now_text or 'nothing'} now"
        if self.what == "unread":
            change = f"{_format(self.then)} then, which cannot be requested"
        why = f" ({self.why})" if self.why else ""
        return one_line(f"{self.name}: {change}{why}", limit=300)


def _format(value: object) -> str:
    """A value in a sentence, shortened if it is long."""
    if isinstance(value, dict):
        text = ", ".join(f"{name} {_format(inner)}" for name, inner in value.items())
    elif isinstance(value, list | tuple):
        text = "; ".join(map(_format, value))
    else:
        text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionTarget:
    """Which backend generates the image now, and what the user changes."""

    backend: str
    kind: str
    """The kind of its adapter."""
    changed: Collection[str] = ()
    """The parameters that the user changes."""
    is_graph_own: bool = False
    """Whether the recorded graph is sent instead of the backend's workflow."""


def predict_drift(
    record: ImageRecord,
    reproduction: Reproduction,
    ticket: Ticket,
    target: ReproductionTarget,
    unchanged: Ticket,
) -> list[Drift]:
    """The differences that are known before anything is generated, without those the user wants.

    `ticket` is the one that will run; `unchanged` is one without the user's changes, which shows
    differences of the workflow and the configuration.
    """
    if target.is_graph_own:  # everything else that is recorded has no effect
        record = replace(record, source="prompt", resolved={}, request={}, inputs=())
    drifts: list[Drift] = []
    if _is_other_backend(record, target):
        then, now = record.backend, target.backend
        drifts.append(Drift(what="backend", name="backend", then=then, now=now))
    kind = find_provenance(record).kind
    if kind and target.kind and kind != target.kind:
        drifts.append(Drift(what="engine", name="engine", then=kind, now=target.kind))
    return [
        *drifts,
        *_compare_models(record, unchanged, target),
        *_compare_setup(record, unchanged, target),
        *(() if target.is_graph_own else _compare_parameters(record, reproduction, ticket, target)),
        *_compare_inputs(record, ticket, target),
        *_compare_batch(record, reproduction, target),
        *(
            Drift(what="unread", name=name, then=value)
            for name, value in reproduction.unread.items()
            if name not in target.changed
        ),
    ]


def _is_other_backend(record: ImageRecord, target: ReproductionTarget) -> bool:
    return bool(record.backend) and record.backend != target.backend


def _is_foreign(record: ImageRecord) -> bool:
    """Whether another program recorded it."""
    return record.source not in ("sidecar", "imagen")


def _compare_models(
    record: ImageRecord, ticket: Ticket, target: ReproductionTarget
) -> Iterator[Drift]:
    """The main model, and for the same backend the other model files."""
    # A graph distinguishes a LoRA from a model, other records do not.
    then = sent_models(record.graph) if is_graph(record.graph) else find_provenance(record).models
    now = sent_models(ticket.payload)
    if not (then and now):
        return
    if not is_same_model(then[0], now[0]):
        yield Drift(what="model", name="model", then=then[0], now=now[0])
    if _is_other_backend(record, target) or target.kind != "comfyui":
        return
    gone = [one for one in then[1:] if not any(is_same_model(one, other) for other in now)]
    new = [one for one in now[1:] if not any(is_same_model(one, other) for other in then)]
    if gone or new:
        yield Drift(what="model", name="models", then=gone, now=new)


def is_same_model(one: str, other: str) -> bool:
    """Whether two names mean the same file, whatever the folder, the ending and the case."""
    return bare_name(base_name(one)).lower() == bare_name(base_name(other)).lower()


def has_other_model(one: Ticket, other: Ticket) -> bool:
    """Whether two tickets use different main models."""
    first, second = sent_models(one.payload), sent_models(other.payload)
    return bool(first and second) and not is_same_model(first[0], second[0])


def _compare_setup(
    record: ImageRecord, ticket: Ticket, target: ReproductionTarget
) -> Iterator[Drift]:
    """The workflow, or what else the configuration gives to the engine."""
    then, now = record.graph, ticket.payload
    is_other = _is_other_backend(record, target)
    if is_graph(then) and is_graph(now):
        if target.is_graph_own or not (is_other or _is_foreign(record)):
            yield from compare_graphs(then, now)
        else:
            sizes = [f"a graph of {len(graph)} nodes" for graph in (then, now)]
            why = "--graph sends the old one"
            yield Drift(what="workflow", name="workflow", then=sizes[0], now=sizes[1], why=why)
        return
    if is_other:
        return
    for name in _CONFIGURED:
        if name in then and name in now and then[name] != now[name]:
            yield Drift(what="workflow", name=name, then=then[name], now=now[name])
    lines = then.get("arguments"), now.get("arguments")
    if isinstance(lines[0], list) and isinstance(lines[1], list):
        # Of paths only the names count.
        old, new = (
            [PureWindowsPath(str(one)).name or str(one) for one in line or ()] for line in lines
        )
        gone, added = [a for a in old if a not in new], [a for a in new if a not in old]
        if gone or added:
            before, after = " ".join(gone), " ".join(added)
            yield Drift(what="workflow", name="arguments", then=before, now=after)


def compare_graphs(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Drift]:
    """The differences between two ComfyUI graphs: nodes and their inputs.

    Titles do not count, nor does the folder of a model file.
    """
    drifts: list[Drift] = []
    for node_id in dict.fromkeys((*then, *now)):
        before, after = as_mapping(then.get(node_id)), as_mapping(now.get(node_id))
        if before.get("class_type") != after.get("class_type"):
            names = [describe_node(graph, node_id) or None for graph in (then, now)]
            drift = Drift(what="workflow", name=f"node {node_id}", then=names[0], now=names[1])
            drifts.append(drift)
            continue
        values, new_values = inputs_of(then.get(node_id)), inputs_of(now.get(node_id))
        for name in dict.fromkeys((*values, *new_values)):
            old, new = values.get(name), new_values.get(name)
            files = [base_name(str(one)) for one in (old, new) if is_model_file(one)]
            if len(files) == 2 and files[0] == files[1]:
                continue
            if old != new:
                place = f"node {node_id} ({describe_node(now, node_id)}), {name}"
                drifts.append(Drift(what="workflow", name=place, then=old, now=new))
    return drifts


def _compare_parameters(
    record: ImageRecord, reproduction: Reproduction, ticket: Ticket, target: ReproductionTarget
) -> Iterator[Drift]:
    provenance = find_provenance(record)
    then = _flatten(provenance.values)
    now = _flatten(ticket.request.model_dump(mode="json"))
    # Images are compared by content; those in lists have numbered names.
    images = {str(known.get("parameter", "")) for known in record.inputs}
    images |= {known.parameter for known in ticket.inputs}
    skipped = {*_NOT_COMPARED, *images, *target.changed, *reproduction.unread}
    for name in then if _is_foreign(record) else dict.fromkeys((*then, *now)):
        if name in skipped:
            continue
        old, new = then.get(name), now.get(name)
        outcome = ticket.receipt.get(name)
        why = outcome.why if outcome else ""
        if outcome is not None and outcome.outcome == "mapped" and new is None:
            new = outcome.model_dump(mode="json")["used"]
        called = provenance.renamed.get(name)
        if not (old == new or (old in _EMPTY and new in _EMPTY)):
            yield Drift(what="parameter", name=name, then=called or old, now=new, why=why)
        elif called is not None:
            why = why or "its name here"
            yield Drift(what="parameter", name=name, then=called, now=new, why=why)


def _flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with those of `extra` among the others, and controls without their files."""
    flat = {**values, **as_mapping(values.get("extra"))}
    controls = flat.get("controls")
    if isinstance(controls, list | tuple):
        flat["controls"] = [
            {k: v for k, v in one.items() if k not in ("image", "preprocess")}
            for one in controls
            if isinstance(one, dict)
        ]
    return flat


def _compare_inputs(
    record: ImageRecord, ticket: Ticket, target: ReproductionTarget
) -> Iterator[Drift]:
    """The input images, by content."""
    now = {one.parameter: one for one in ticket.inputs}
    for known in record.inputs:
        parameter, name = str(known.get("parameter")), known.get("name")
        given = now.get(parameter)
        if given is None:
            yield Drift(what="input", name=parameter, then=name)
        elif given.sha256 != known.get("sha256"):
            is_wanted = parameter.partition(".")[0] in target.changed
            why = "as requested" if is_wanted else "it has changed"
            yield Drift(what="input", name=parameter, then=name, now=given.name, why=why)


def _compare_batch(
    record: ImageRecord, reproduction: Reproduction, target: ReproductionTarget
) -> Iterator[Drift]:
    """An image after the first of a batch with one seed can only be generated in that batch."""
    index = record.file.get("index")
    if not (reproduction.shares_noise and reproduction.batch < reproduction.batch_then):
        return
    if type(index) is int and index and "count" not in target.changed:
        then = f"number {index + 1} of {reproduction.batch_then} that share one seed"
        yield Drift(what="batch", name="batch", then=then, now="one alone")


def detect_drift(
    record: ImageRecord, facts: Facts, kind: str, before: Sequence[Drift]
) -> list[Drift]:
    """The differences that the facts of the new generation show, without those predicted before."""
    drifts: list[Drift] = []
    model = next(iter(find_provenance(record).models), "")
    if model and facts.model and not is_same_model(model, facts.model):
        drifts.append(Drift(what="model", name="model", then=model, now=facts.model))
    if backend_kind(record) == kind:
        then = as_mapping(record.facts.get("engine"))
        for key, name in _VERSIONS.items():
            old, new = then.get(key), facts.engine.get(key)
            if old and new and old != new:
                drifts.append(Drift(what="version", name=name, then=old, now=new))
    known = {(one.what, one.name) for one in before}
    return [one for one in drifts if (one.what, one.name) not in known]


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """How similar a reproduced image is to the original."""

    identical: Literal["file", "pixels", ""]
    """Whether it is identical byte for byte, or only once decoded; "" if it is not."""
    difference: float
    """The average difference of a channel of a pixel, 0 to 1; 1 if the sizes differ."""
    format: str = ""
    """Pillow's name for the format of the original, if only that one is lossy."""

    @property
    def sentence(self) -> str:
        if self.identical == "file":
            return "It is identical, byte for byte."
        if self.identical == "pixels":
            return "Its pixels are identical."
        share = f"{self.difference:.2%}" if self.difference >= 0.0001 else "less than 0.01%"
        sentence = f"Its pixels differ by {share} on average."
        lossy = f" The original is in {self.format}, which does not keep every pixel exactly."
        return sentence + (lossy if self.format else "")


def measure_similarity(old: Path, new: Path) -> Similarity | None:
    """Compare two image files; None if one of them cannot be read."""
    try:
        if file_sha256(old) == file_sha256(new):
            return Similarity(identical="file", difference=0.0)
        from PIL import ImageChops, ImageStat

        with open_image(old) as first, open_image(new) as second:
            if first.size != second.size:
                return Similarity(identical="", difference=1.0)
            if first.mode == second.mode and first.tobytes() == second.tobytes():
                return Similarity(identical="pixels", difference=0.0)
            format = first.format or ""
            is_lossy = format in _LOSSY_FORMATS and format != second.format
            mode = "RGBA" if "A" in (*first.getbands(), *second.getbands()) else "RGB"
            apart = ImageChops.difference(first.convert(mode), second.convert(mode))
            means = ImageStat.Stat(apart).mean
            difference = sum(means) / len(means) / 255
            return Similarity(
                identical="", difference=difference, format=format if is_lossy else ""
            )
    except DECODE_ERRORS:
        return None
