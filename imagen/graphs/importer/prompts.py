"""Which texts are prompts: those that a sampler's positive and negative side lead to."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagen.graphs.importer import node_classes as known_names
from imagen.graphs.importer.reading import MOST_NODES, Place
from imagen.graphs.tokens import is_link

if TYPE_CHECKING:
    from imagen.graphs.importer.reading import Draft, Reading

_MAIN = ("text", "prompt", "text_l", "clip_l", "bert", "positive_prompt", "user_prompt")
_SECOND = ("text_g", "clip_g", "t5xxl", "mt5xl", "llama")
"""The text of a second encoder in the same node; which is which goes by the bundled workflows."""
_POPULATED = "populated_text"
"""What a wildcard's template became; the template beside it is not sent."""
_PASSED = "passthrough"
"""What a text box passes on in place of its own text."""
_ANY_PROMPT = re.compile(
    r"(?i)(\w+_)?(prompt|text)|((text|prompt)_)?(positive|negative|pos|neg)(_[lg])?"
)
_NEVER = re.compile(
    r"(?i)filename_prefix|.*(system|preset)[^\n]{0,99}|(region|target|save|custom|wildcard)_?\w*"
)
_STRING = re.compile(
    r"(?i)(\w+[_ ])?(text|prompt|string|str|caption|value|positive|negative|trigger_words)"
    r"([_ ]?(\d+|[a-z]))?|tags"
)
"""Inputs that hold a part of a text, in nodes that make texts."""
_NEGATIVE = re.compile(r"(?i)negative|(^|_)neg(_|$|\d)")
_POSITIVE = re.compile(r"(?i)positive|(^|_)pos(_|$|\d)|^(conditioning|cond1?)$")
_BETWEEN = re.compile(r"cond2|empty_conditioning|nag_\w*")
"""Neither side: what a guider, or normalized attention, compares the sides with."""
_DELIMITERS = ("delimiter", "separator", "sep")
_ESCAPES = {"\\n": "\n", "\\t": "\t"}
_OTHER = {"prompt": "negative", "negative": "prompt"}
_MOST_PARTS = 64
_DEEPEST = 48
_LONGEST = 200_000
_WITHOUT_NEGATIVE = "this workflow empties the negative side (ConditioningZeroOut)"


@dataclass(slots=True)
class Side:
    """What one side of a sampler is made from."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    """To each text encoder, the nearest first, its inputs, the main one first."""
    is_known: bool = False
    """Whether the names of links say which side it is."""
    has_between: bool = False
    """Whether there is something between the sides."""


def take_prompts(draft: Draft, samplers: list[str]) -> None:
    """Choose the prompt and the negative prompt."""
    reading = draft.reading
    sides = [find_sides(reading, one) for one in samplers]
    for positive, negative in sides:
        for number, (node_id, names) in enumerate(positive.texts.items()):
            if number == 0 or names != negative.texts.get(node_id):
                _take_texts(draft, "prompt", node_id, names)
    for _, negative in sides:
        for node_id, names in negative.texts.items():
            _take_texts(draft, "negative", node_id, names)
    if not draft.takes("prompt") and not any(positive.is_known for positive, _ in sides):
        _take_by_names(draft)
    zeroed = any(reading.kind_of_node(key) in known_names.EMPTYING for key in reading.graph)
    if samplers and zeroed and not draft.takes("negative"):
        draft.without["negative"] = _WITHOUT_NEGATIVE


def find_sides(reading: Reading, sampler: str) -> tuple[Side, Side]:
    """The positive and the negative side of a sampler.

    A negative side that is the prompt again is none; a dual guider has its negative text between.
    """
    positive = find_side(reading, sampler, "prompt")
    negative = find_side(reading, sampler, "negative")
    if negative.texts.items() <= positive.texts.items():
        if not negative.has_between:
            return positive, Side()
        negative = find_side(reading, sampler, "negative", is_between=True)
    return positive, negative


def find_side(reading: Reading, sampler: str, role: str, *, is_between: bool = False) -> Side:
    """Follow one side of a sampler, "prompt" or "negative", up to its texts.

    Where a pipe holds both sides, names tell them apart; a text that no name says to be of
    either counts as the prompt.
    """
    side, beside = Side(), dict[str, list[str]]()
    seen: set[tuple[str, str, bool]] = set()
    waiting = deque([(sampler, -1, role, False)])
    while waiting and len(seen) < MOST_NODES:
        node_id, slot, wanted, is_sure = waiting.popleft()
        if {(node_id, wanted, is_sure), (node_id, wanted, True)} & seen:
            continue
        seen.add((node_id, wanted, is_sure))
        if reading.kind_of_node(node_id) in known_names.EMPTYING:
            continue
        links = {link.name: link for link in reading.links(node_id)}
        texts = text_inputs(reading, node_id) or (
            _joined_inputs(reading, node_id) if is_sure else []
        )
        sides = _sides(reading, node_id, texts)
        between = [name for name, own in sides.items() if own == "neither"]
        side.has_between = side.has_between or bool(between)
        if is_between and between:
            sides = dict.fromkeys(between, role)
        wanted = _side_of_output(reading, node_id, slot, sides) or wanted
        if node_id == sampler:
            side.is_known = bool(set(sides.values()) & set(_OTHER))
        own = _of_side(sides, wanted, is_sure=is_sure)
        named = [name for name in texts if name in own]
        if named and (is_sure or wanted == "prompt" or wanted in map(sides.get, named)):
            goes_on = any(name in links and name not in texts for name in own)
            (beside if goes_on else side.texts).setdefault(node_id, named)
        for name in own:
            if name in links and name not in texts:
                _, source, output = links[name]
                waiting.append((source, output, wanted, is_sure or sides[name] == wanted))
    for node_id, names in beside.items():
        side.texts.setdefault(node_id, names)
    return side


def text_inputs(reading: Reading, node_id: str) -> list[str]:
    """The inputs of a node that hold a text for a text encoder, the main one first."""
    inputs = reading.inputs(node_id)
    if isinstance(inputs.get(_POPULATED), str):
        return [_POPULATED]
    names = [name for name in inputs if _ANY_PROMPT.fullmatch(name) and not _NEVER.fullmatch(name)]
    sided = [name for name in names if _side(name) and isinstance(inputs[name], str)]
    exact = [name for name in (*_MAIN, *_SECOND) if name in inputs]
    found = list(dict.fromkeys((*exact, *sided))) or [n for n in names if not _side(n)]
    found = found or [name for name in inputs if _is_multiline(reading, node_id, name)]
    return [name for name in found if isinstance(inputs[name], str) or is_link(inputs[name])]


def string_inputs(reading: Reading, node_id: str) -> list[str]:
    """The inputs of a node that its text is put together of, in their order."""
    inputs = reading.inputs(node_id)
    chosen = reading.chosen(node_id)
    if chosen is not None:
        return [chosen] if chosen in inputs else []
    if isinstance(inputs.get(_POPULATED), str):
        return [_POPULATED]
    if is_link(inputs.get(_PASSED)):
        return [_PASSED]
    linked = {link.name for link in reading.links(node_id)}
    shows = known_names.SHOWING.search(reading.kind_of_node(node_id))
    return [
        name
        for name, value in inputs.items()
        if not _NEVER.fullmatch(name)
        and not name.startswith("cond")
        and ((name in linked and _carries_text(reading, node_id, name)) or not is_link(value))
        and (name in linked or (isinstance(value, str) and not shows and _STRING.fullmatch(name)))
    ]


def _joined_inputs(reading: Reading, node_id: str) -> list[str]:
    """The inputs of a node that makes a text without encoding it; none for another node."""
    names = string_inputs(reading, node_id)
    sides = [name for name in names if known_names.KINDS.get(name) == "CONDITIONING"]
    if any(is_link(reading.inputs(node_id)[name]) for name in sides):
        return []
    return names if any(_STRING.fullmatch(name) for name in names) else []


def text_parts(reading: Reading, node_id: str, name: str, role: str) -> list[Place]:
    """The places of the parts of a text that an input gets, in their order."""
    parts = _spelled(reading, node_id, name, role, [_MOST_PARTS], 0)
    return list(dict.fromkeys(part for part in parts if isinstance(part, Place)))


def joined_text(reading: Reading, node_id: str, name: str, role: str) -> str:
    """The whole text that an input gets, without the tags that load LoRAs."""
    parts = _spelled(reading, node_id, name, role, [_MOST_PARTS], 0)
    words = (
        part
        if isinstance(part, str)
        else _without_tags(reading, part.node, str(reading.literal(part)))
        for part in parts
    )
    return "".join(words)[:_LONGEST]


def _without_tags(reading: Reading, node_id: str, text: str) -> str:
    """A text as a node passes it on that takes `<lora:…>` out of it; any other's as it is."""
    if "<lora:" in text and known_names.LORA_TAGS.search(reading.kind_of_node(node_id)):
        return known_names.LORA_TAG.sub("", text).strip(" ,\n")
    return text


def _sides(reading: Reading, node_id: str, texts: list[str]) -> dict[str, str]:
    """To each input that leads to texts the side its name says; "" where it says none."""
    links = [link.name for link in reading.links(node_id)]
    names = [*texts, *(n for n in links if n not in texts and _carries_text(reading, node_id, n))]
    sides = {name: _side(name) for name in names}
    if "negative" in sides.values() and "prompt" not in sides.values():
        sides |= {name: "prompt" for name in texts if not sides[name]}
    return sides


def _side(name: str) -> str:
    if _BETWEEN.fullmatch(name):
        return "neither"
    if _NEGATIVE.search(name):
        return "negative"
    return "prompt" if _POSITIVE.search(name) else ""


def _of_side(sides: dict[str, str], wanted: str, *, is_sure: bool) -> dict[str, str]:
    """The inputs that are of the wanted side.

    One that says so comes before one that says nothing, as what is given to a pipe's node replaces
    what the pipe brings. Where the side is known already, a single name does not change it.
    """
    counting = {wanted}
    if wanted not in sides.values():
        counting |= {"", _OTHER[wanted]} if is_sure else {""}
    return {name: own for name, own in sides.items() if own in counting}


def _side_of_output(reading: Reading, node_id: str, slot: int, sides: dict[str, str]) -> str:
    """Which side an output of a node with both is; "" if that is unknown."""
    if slot < 0 or not set(_OTHER) <= set(sides.values()):
        return ""
    by_class = known_names.OUTPUT_SIDES.get(reading.kind_of_node(node_id), {})
    called = reading.output_name(node_id, slot).strip().lower()
    by_name = _side(called) or {"+": "prompt", "-": "negative"}.get(called[-1:], "")
    if by_class or by_name:
        return by_class.get(slot) or by_name
    used = {number for name, number in reading.uses[node_id] if _is_of_texts(name)}
    return (
        ("prompt" if slot == min(used) else "negative") if len(used) == 2 and slot in used else ""
    )


def _is_of_texts(name: str) -> bool:
    return bool(
        _side(name) or _ANY_PROMPT.fullmatch(name) or known_names.KINDS.get(name) == "CONDITIONING"
    )


def _carries_text(reading: Reading, node_id: str, name: str) -> bool:
    known = reading.declared(Place(node_id, name))
    if known is not None and known.type not in ("", "*"):
        return known.type not in known_names.NO_TEXT_TYPES
    return not known_names.NO_TEXT.fullmatch(name) or bool(known_names.BUNDLES.fullmatch(name))


def _spelled(
    reading: Reading, node_id: str, name: str, role: str, left: list[int], depth: int
) -> list[Place | str]:
    """The parts of a text and what is put between them; `left` counts down the parts."""
    value = reading.inputs(node_id).get(name)
    if isinstance(value, str):
        left[0] -= 1
        return [Place(node_id, name)] if _without_tags(reading, node_id, value).strip() else []
    link = next((link for link in reading.links(node_id) if link.name == name), None)
    if link is None or left[0] <= 0 or depth > _DEEPEST:
        return []
    if reading.kind_of_node(link.node) in known_names.EMPTYING:
        return []
    left[0] -= 1
    names = string_inputs(reading, link.node)
    by_output = known_names.OUTPUT_INPUTS.get(reading.kind_of_node(link.node), ())
    if 0 <= link.slot < len(by_output):
        names = [by_output[link.slot]]
    sides = _sides(reading, link.node, names)
    role = _side_of_output(reading, link.node, link.slot, sides) or role
    parts: list[Place | str] = []
    own = _of_side(sides, role, is_sure=True)
    for one in (name for name in names if name in own and left[0] > 0):
        more = _spelled(reading, link.node, one, role, left, depth + 1)
        if parts and more:
            parts.append(_delimiter(reading, link.node))
        parts.extend(more)
    return parts


def _delimiter(reading: Reading, node_id: str) -> str:
    inputs = reading.inputs(node_id)
    if inputs.get("tidy_tags") == "no" or inputs.get("linebreak_addition") == "false":
        return ""
    if inputs.get("linebreak_addition") == "true":
        return "\n"
    found = (reading.place(node_id, name) for name in _DELIMITERS)
    value = next((reading.literal(place) for place in found if place is not None), ", ")
    return _ESCAPES.get(value, value) if isinstance(value, str) else ", "


def _take_texts(draft: Draft, role: str, node_id: str, names: list[str]) -> None:
    """The main text, and the second encoder's where it says something else."""
    reading = draft.reading
    filled = [name for name in names if joined_text(reading, node_id, name, role).strip()]
    main = _take_text(draft, role, node_id, (filled or names)[0])
    for name in filled[1:]:
        same = joined_text(reading, node_id, name, role) == draft.defaults.get(role)
        if main is not None:
            _take_text(
                draft, role if same else f"{role}_2" if main == role else main, node_id, name
            )


def _take_text(draft: Draft, role: str, node_id: str, name: str) -> str | None:
    """The text itself, or each part of it; the token of the first."""
    value = draft.reading.inputs(node_id).get(name)
    own = [] if is_link(value) else [Place(node_id, name)]
    side = "negative" if role.startswith("negative") else "prompt"
    parts = own or text_parts(draft.reading, node_id, name, side)
    if not parts:  # it may be empty yet
        empty = draft.reading.place(node_id, name)
        is_text = empty is not None and isinstance(draft.reading.literal(empty), str)
        parts = [empty] if empty is not None and is_text else []
    taken = [draft.take_place(role, place) for place in parts]
    return next((token for token in taken if token is not None), None)


def _is_multiline(reading: Reading, node_id: str, name: str) -> bool:
    known = reading.declared(Place(node_id, name))
    return known is not None and known.type == "STRING" and bool(known.options.get("multiline"))


def _take_by_names(draft: Draft) -> None:
    """Without a sampler that leads there: texts by the names of inputs, and by titles."""
    reading = draft.reading
    used = reading.above(reading.outputs()) or set(reading.graph)
    empty: list[Place] = []
    for node_id in reading.in_order:
        if node_id not in used or known_names.SHOWING.search(reading.kind_of_node(node_id)):
            continue
        for name in text_inputs(reading, node_id):
            value = reading.inputs(node_id)[name]
            if isinstance(value, str) and _WORD.search(value):
                negative = _NEGATIVE.search(name) or "negative" in reading.title(node_id).lower()
                draft.take_place("negative" if negative else "prompt", Place(node_id, name))
            elif value == "" and not _NEGATIVE.search(name):
                empty.append(Place(node_id, name))
    if empty and not draft.takes("prompt"):
        draft.take_place("prompt", empty[0])


_WORD = re.compile(r"[^\W\d_]{2}")
"""What a prompt holds at the least; a number that a node displayed does not."""
