"""Which texts are prompts: those that a sampler's positive and negative lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.graphs.importing.reading import Place
from imagen.graphs.tokens import is_link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.graphs.importing.draft import Draft
    from imagen.graphs.importing.reading import Reading

_ZEROED = "ConditioningZeroOut"
_MAIN = ("text", "prompt", "text_l", "clip_l", "bert", "positive_prompt", "user_prompt")
_SECOND = ("text_g", "clip_g", "t5xxl", "mt5xl")
"""The text of a second encoder in the same node; which is which goes by the bundled workflows."""
_OPPOSITE = {"prompt": "negative", "negative": "positive"}
_NEVER = ("filename_prefix", "system_prompt")
_FLOWS = ("CONDITIONING", "GUIDER")
_STRINGS = ("STRING",)
_WITHOUT_NEGATIVE = "this workflow empties the negative side (ConditioningZeroOut)"


def take_prompts(draft: Draft, samplers: list[str]) -> None:
    """Choose the prompt and the negative prompt."""
    for sampler in samplers:
        for node_id in encoders(draft.reading, sampler, "prompt"):
            _take_texts(draft, "prompt", node_id)
    for sampler in samplers:
        for node_id in encoders(draft.reading, sampler, "negative"):
            _take_texts(draft, "negative", node_id)
    if not draft.takes("prompt"):
        _take_by_title(draft)
    zeroed = any(draft.reading.kind_of_node(key) == _ZEROED for key in draft.reading.graph)
    if samplers and zeroed and not draft.takes("negative"):
        draft.without["negative"] = _WITHOUT_NEGATIVE


def encoders(reading: Reading, sampler: str, role: str) -> list[str]:
    """The nodes whose texts one side of a sampler is made from, the nearest first."""
    seen: dict[str, None] = {}
    waiting = list(_sides(reading, sampler, role))
    while waiting:
        node_id = waiting.pop(0)
        if node_id in seen or reading.kind_of_node(node_id) == _ZEROED:
            continue
        seen.setdefault(node_id)
        waiting += _upstream(reading, node_id, role)
    return [node_id for node_id in seen if texts_of(reading, node_id)]


def texts_of(reading: Reading, node_id: str) -> list[str]:
    """The inputs of a node that hold a text for a text encoder, the main one first."""
    inputs = reading.inputs(node_id)
    known = [name for name in dict.fromkeys((*_MAIN, *_SECOND)) if name in inputs]
    found = known or [name for name in inputs if _is_multiline(reading, node_id, name)]
    return [name for name in found if name not in _NEVER and _is_text(reading, node_id, name)]


def _sides(reading: Reading, sampler: str, role: str) -> Iterator[str]:
    """What feeds one side of a sampler; a guider has the sides in its stead."""
    for name, source, _ in reading.fed(sampler, _FLOWS):
        if name == "guider":
            yield from _sides(reading, source, role)
        elif name.startswith("negative") == (role == "negative") and name != "empty_conditioning":
            yield source


def _upstream(reading: Reading, node_id: str, role: str) -> list[str]:
    fed = reading.fed(node_id, _FLOWS)
    return [source for name, source, _ in fed if not name.startswith(_OPPOSITE[role])]


def _take_texts(draft: Draft, role: str, node_id: str) -> None:
    """The main text, and the second encoder's where it says something else."""
    names = texts_of(draft.reading, node_id)
    filled = [name for name in names if _said(draft.reading, node_id, name)] or names[:1]
    main = _take_text(draft, role, node_id, filled[0])
    for name in filled[1:]:
        if main == role and not _shares(draft, node_id, name, role):
            _take_text(draft, f"{role}_2", node_id, name)
        elif main is not None:
            _take_text(draft, main, node_id, name)


def _take_text(draft: Draft, role: str, node_id: str, name: str) -> str | None:
    """The text itself, or the first there is where it is put together of several."""
    taken = draft.take(role, node_id, name)
    if taken is not None:
        return taken
    value = draft.reading.inputs(node_id).get(name)
    return next(_joined(draft, role, str(value[0])), None) if is_link(value) and value else None


def _joined(draft: Draft, role: str, node_id: str) -> Iterator[str]:
    waiting, seen = [node_id], set[str]()
    while waiting:
        at = waiting.pop(0)
        if at in seen:
            continue
        seen.add(at)
        for name, value in draft.reading.inputs(at).items():
            is_string = draft.reading.kind(at, name) in _STRINGS
            if is_string and is_link(value):
                waiting.append(value[0])
            elif is_string and isinstance(value, str) and len(value) > 2:
                taken = draft.take(role, at, name)
                if taken is not None:
                    yield taken


def _shares(draft: Draft, node_id: str, name: str, role: str) -> bool:
    """Whether this text is the main one again; then they are one token."""
    place = draft.reading.place(node_id, name)
    if place is None or draft.reading.literal(place) != draft.defaults.get(role):
        return False
    return draft.take(role, node_id, name) is not None


def _said(reading: Reading, node_id: str, name: str) -> bool:
    place = reading.place(node_id, name)
    return place is None or bool(str(reading.literal(place) or "").strip())


def _is_text(reading: Reading, node_id: str, name: str) -> bool:
    value = reading.inputs(node_id).get(name)
    return isinstance(value, str) or is_link(value)


def _is_multiline(reading: Reading, node_id: str, name: str) -> bool:
    known = reading.declared(Place(node_id, name))
    return known is not None and known.type == "STRING" and bool(known.options.get("multiline"))


def _take_by_title(draft: Draft) -> None:
    """Without a sampler that leads there: texts by the names of inputs, and by titles."""
    reading = draft.reading
    for node_id in reading.in_order:
        for name in texts_of(reading, node_id):
            value = reading.inputs(node_id).get(name)
            if isinstance(value, str):
                negative = "negative" in f"{name} {reading.title(node_id)}".lower()
                draft.take("negative" if negative else "prompt", node_id, name)
    for node_id in reading.in_order:
        if isinstance(reading.inputs(node_id).get("negative_prompt"), str):
            draft.take("negative", node_id, "negative_prompt")
