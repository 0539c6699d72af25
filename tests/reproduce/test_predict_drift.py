"""Drift: what is not as it was, told before anything is made."""

from __future__ import annotations

from typing import Any

import pytest
from support.other_tools_images import graph

from imagen.core.capabilities import ParameterOutcome
from imagen.core.request import Request
from imagen.core.ticket import InputImage, Ticket
from imagen.outputs import ImageRecord
from imagen.reproduce import (
    Drift,
    ReproductionTarget,
    predict_drift,
    reproduce_graph,
    reproduce_request,
)

_USED = {"prompt": "a fox", "steps": 10, "seed": 7}
_INPUT = {"parameter": "image", "name": "den.png", "sha256": "aa", "width": 1, "height": 1}


def _record(**values: Any) -> ImageRecord:
    known: dict[str, Any] = {"request": _USED, "resolved": _USED, "file": {"seed": 7, "index": 0}}
    return ImageRecord(source="sidecar", backend="studio", **known | values)


def _ticket(values: dict[str, Any] | None = None, **more: Any) -> Ticket:
    request = Request.of(_USED | (values or {}))
    known: dict[str, Any] = {"receipt": {}, "payload": {}}
    return Ticket(id="t", backend="studio", request=request, **known | more)


def _drift(
    record: ImageRecord,
    ticket: Ticket,
    *,
    backend: str = "studio",
    kind: str = "comfyui",
    changed: tuple[str, ...] = (),
    unchanged: Ticket | None = None,
) -> list[Drift]:
    remake = reproduce_request(record, elsewhere=backend != record.backend)
    chosen = ReproductionTarget(backend=backend, kind=kind, changed=changed)
    return predict_drift(record, remake, ticket, chosen, unchanged or ticket)


def _sentences(*arguments: Any, **options: Any) -> list[str]:
    return [one.sentence for one in _drift(*arguments, **options)]


def test_unchanged_setup_has_no_drift() -> None:
    record = _record(graph=graph(steps=10))
    assert _drift(record, _ticket(payload=graph(steps=10))) == []


def test_unsupported_values_are_drift_unless_the_graph_is_sent() -> None:
    skipping = graph(prompt="a fox", seed=7)
    skipping["90"] = {
        "class_type": "CLIPSetLastLayer",
        "inputs": {"clip": ["1", 1], "stop_at_clip_layer": -2},
    }
    encoder = next(one for one in skipping.values() if "TextEncode" in one["class_type"])
    encoder["inputs"]["clip"] = ["90", 0]
    record = ImageRecord(source="prompt", graph=skipping)
    remake = reproduce_request(record)
    ticket = Ticket(
        id="t", backend="studio", request=remake.request, receipt={}, payload=graph(seed=7)
    )
    chosen = ReproductionTarget(backend="studio", kind="comfyui")
    found = [one.sentence for one in predict_drift(record, remake, ticket, chosen, ticket)]
    assert [one for one in found if "clip_skip" in one] == [
        "clip_skip: 2 then, which cannot be requested"
    ]
    own = reproduce_graph(record)
    sent = Ticket(id="t", backend="studio", request=own.request, receipt={}, payload=skipping)
    chosen = ReproductionTarget(backend="studio", kind="comfyui", is_graph_own=True)
    assert predict_drift(record, own, sent, chosen, sent) == []


def test_recorded_graph_is_requested_with_its_token_values() -> None:
    joined = graph(seed=7)
    joined["90"] = {
        "class_type": "Text Concatenate",
        "inputs": {"text_a": "a fox", "text_b": "in snow", "delimiter": " "},
    }
    encoder = next(one for one in joined.values() if "TextEncode" in one["class_type"])
    encoder["inputs"] |= {"text_l": ["90", 0], "text_g": ["90", 0]}
    record = ImageRecord(source="prompt", graph=joined)
    assert reproduce_request(record).request.prompt == "a fox in snow"
    assert reproduce_graph(record).request.prompt == "a fox"


def test_other_backend_and_engine_are_drift() -> None:
    record = _record(graph=graph(), facts={"model": "a.safetensors"})
    found = _sentences(record, _ticket(payload={"look": ""}), backend="toy", kind="mock")
    assert found == ["backend: studio then, toy now", "engine: comfyui then, mock now"]


def test_other_main_model_is_one_drift() -> None:
    record = _record(graph=graph())
    other = graph()
    other["1"]["inputs"]["ckpt_name"] = "dream.safetensors"
    assert _drift(record, _ticket(payload=other), backend="other") == [
        Drift(what="backend", name="backend", then="studio", now="other"),
        Drift(
            what="model",
            name="model",
            then="sd_xl_base_1.0.safetensors",
            now="dream.safetensors",
        ),
        Drift(
            what="workflow",
            name="workflow",
            then="a graph of 7 nodes",
            now="a graph of 7 nodes",
            why="--graph sends the old one",
        ),
    ]


def test_model_in_another_folder_is_the_same() -> None:
    moved = graph()
    moved["1"]["inputs"]["ckpt_name"] = "xl\\sd_xl_base_1.0.safetensors"
    assert _drift(_record(graph=graph()), _ticket(payload=moved)) == []


def test_changed_workflow_is_reported_by_node() -> None:
    changed = graph(cfg=5.0)
    asked = graph(cfg=5.0, seed=1)
    found = _drift(
        _record(graph=graph()),
        _ticket({"seed": 1}, payload=asked),
        changed=("seed",),
        unchanged=_ticket(payload=changed),
    )
    assert [(one.what, one.then, one.now) for one in found] == [("workflow", 7.0, 5.0)]
    assert found[0].name == "node 8 (KSampler 'Sample'), cfg"


@pytest.mark.parametrize(
    ("then", "values", "receipt", "sentence"),
    [
        (
            {"steps": 50},
            {},
            {"steps": ParameterOutcome(outcome="clamped", asked=50, used=10, why="at most 10")},
            "steps: 50 then, 10 now (at most 10)",
        ),
        (
            {"negative": "blurry"},
            {},
            {"negative": ParameterOutcome(outcome="dropped", asked="blurry", why="it takes none")},
            "negative: blurry then, nothing now (it takes none)",
        ),
        (
            {"width": 512},
            {},
            {"width": ParameterOutcome(outcome="mapped", asked=512, used={"aspect_ratio": "1:1"})},
            "width: 512 then, aspect_ratio 1:1 now",
        ),
        ({}, {"sampler": "euler"}, {}, "sampler: nothing then, euler now"),
        (
            {"loras": [{"name": "ink", "strength": 0.5}]},
            {},
            {},
            "loras: name ink, strength 0.5 then, nothing now",
        ),
        ({"extra": {"shift": 3}}, {"extra": {"shift": 2}}, {}, "shift: 3 then, 2 now"),
    ],
    ids=["clamped", "dropped", "mapped", "new", "a LoRA", "a parameter of its own"],
)
def test_parameter_outcome_is_drift(
    then: dict[str, Any],
    values: dict[str, Any],
    receipt: dict[str, ParameterOutcome],
    sentence: str,
) -> None:
    record = _record(resolved=_USED | then)
    assert _sentences(record, _ticket(values, receipt=receipt)) == [sentence]


def test_requested_changes_are_not_drift() -> None:
    assert _drift(_record(), _ticket({"steps": 20}), changed=("steps",)) == []


def test_none_and_empty_text_are_equal() -> None:
    assert _drift(_record(resolved=_USED | {"negative": ""}), _ticket()) == []


def test_translated_names_are_drift() -> None:
    values = _USED | {"sampler": "DPM++ 2M", "scheduler": "Karras"}
    record = ImageRecord(source="parameters", resolved=values, facts={"Clip skip": "2"})
    ticket = _ticket({"sampler": "dpmpp_2m", "scheduler": "karras", "cfg": 7})
    assert _sentences(record, ticket, backend="studio") == [
        "sampler: DPM++ 2M then, dpmpp_2m now (its name here)",
        "scheduler: Karras then, karras now (its name here)",
        "Clip skip: 2 then, which cannot be requested",
    ]


@pytest.mark.parametrize(
    ("now", "changed", "sentences"),
    [
        (InputImage(**_INPUT), (), []),  # type: ignore[arg-type]
        (None, (), ["image: den.png then, nothing now"]),
        (
            InputImage(parameter="image", name="fox.png", sha256="bb", width=1, height=1),
            ("image",),
            ["image: den.png then, fox.png now (as requested)"],
        ),
    ],
    ids=["the same", "none", "another"],
)
def test_input_images_are_compared_by_content(
    now: InputImage | None, changed: tuple[str, ...], sentences: list[str]
) -> None:
    ticket = _ticket(inputs=(now,) if now else ())
    record = _record(inputs=(_INPUT,))
    assert _sentences(record, ticket, changed=changed) == sentences


def test_image_of_a_shared_batch_is_drift_elsewhere() -> None:
    record = _record(resolved=_USED | {"count": 4}, file={"seed": 7, "index": 2})
    assert _sentences(record, _ticket(), backend="other", kind="") == [
        "backend: studio then, other now",
        "batch: number 3 of 4 that share one seed then, one alone now",
    ]


def test_configured_engine_settings_are_compared() -> None:
    record = _record(graph={"pipeline": "A", "arguments": ["--steps", "10", "-m", "/a/x.gguf"]})
    now = {"pipeline": "B", "arguments": ["--steps", "10", "-m", "/b/x.gguf", "--fa"]}
    assert _sentences(record, _ticket(payload=now), kind="sdcpp") == [
        "pipeline: A then, B now",
        "arguments: nothing then, --fa now",
    ]
