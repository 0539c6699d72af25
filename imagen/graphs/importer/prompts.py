"""Find the prompts of a graph: the texts that a sampler's positive and negative side come from."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagen.graphs.graph import is_link
from imagen.graphs.importer.dataflow import DISPLAY_CLASS, INPUT_TYPES, MAX_WALK, InputPlace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.graphs.importer.analyze import TokenDraft
    from imagen.graphs.importer.dataflow import Dataflow

LORA_TAG_CLASS = re.compile(r"(?i)lora|power prompt|wildcard")
"""Classes that load LoRAs from `<lora:name:weight>` in their texts."""
LORA_TAG = re.compile(r"<lora:([^<>:]{1,300})(?::(-?\d{1,4}(?:\.\d{1,9})?))?(?::[^<>]{0,100})?>")
_MAIN_TEXTS = ("text", "prompt", "text_l", "clip_l", "bert", "positive_prompt", "user_prompt")
_SECOND_TEXTS = ("text_g", "clip_g", "t5xxl", "mt5xl", "llama")
"""The text of a second encoder in the same node, as in the bundled workflows."""
_POPULATED = "populated_text"
"""What a wildcard's template became; the template itself is not sent."""
_PASSED_TEXT = "passthrough"
"""What a text box passes on instead of its own text."""
_PROMPT_INPUT = re.compile(
    r"(?i)(\w+_)?(prompt|text)|((text|prompt)_)?(positive|negative|pos|neg)(_[lg])?"
)
_NEVER_PROMPT = re.compile(
    r"(?i)filename_prefix|.*(system|preset)[^\n]{0,99}|(region|target|save|custom|wildcard)_?\w*"
)
_TEXT_PART_INPUT = re.compile(
    r"(?i)(\w+[_ ])?(text|prompt|string|str|caption|value|positive|negative|trigger_words)"
    r"([_ ]?(\d+|[a-z]))?|tags"
)
"""Inputs of nodes that put texts together."""
_NEGATIVE = re.compile(r"(?i)negative|(^|_)neg(_|$|\d)")
_POSITIVE = re.compile(r"(?i)positive|(^|_)pos(_|$|\d)|^(conditioning|cond1?)$")
_MIDDLE = re.compile(r"cond2|empty_conditioning|nag_\w*")
"""What a guider, or normalized attention, compares both sides with."""
_WORD = re.compile(r"[^\W\d_]{2}")
_EMPTYING_CLASSES = frozenset(("ConditioningZeroOut", "ImpactNegativeConditioningPlaceholder"))
_NO_TEXT_INPUT = re.compile(
    r"(?i)(.*_)?(model|unet|clip|t5|vae|images?|pixels?|video|audio|latents?|latent_image|samples"
    r"|masks?|noise|sampler|sigmas|scheduler|seed|width|height|steps|cfg|denoise|batch_size|loras?"
    r"|lora_stack|control_net|ipadapter|embeds|clip_vision(_output)?|upscale_model|detector"
    r"|sam_model(_opt)?|guide(_size|s)?|start_image|end_image|strength|options|hook)"
    r"(_?\d+)?"
)
"""Linked inputs that carry neither a prompt nor a bundle (pipe, context) that holds one."""
_TEXT_EMBEDS_INPUT = re.compile(r"(?i)(.*_)?(text|hyvid)_embeds")
_NO_TEXT_TYPES = frozenset(
    ("MODEL", "CLIP", "VAE", "IMAGE", "LATENT", "MASK", "CONTROL_NET", "NOISE", "SAMPLER", "SIGMAS")
) | frozenset(("INT", "FLOAT", "BOOLEAN", "UPSCALE_MODEL", "CLIP_VISION", "CLIP_VISION_OUTPUT"))
_OUTPUT_SIDES: Mapping[str, Mapping[int, str]] = {
    "Efficient Loader": {1: "prompt", 2: "negative"},
    "Context (rgthree)": {4: "prompt", 5: "negative"},
    "Context Big (rgthree)": {4: "prompt", 5: "negative"},
    "ttN pipeLoader": {2: "prompt", 3: "negative"},
    "ControlNetApplyAdvanced": {0: "prompt", 1: "negative"},
}
"""Which output is which side of a prompt, for nodes that have both."""
_OUTPUT_TEXTS: Mapping[str, tuple[str, ...]] = {
    "Text String": ("text", "text_b", "text_c", "text_d")
}
"""Which input each output passes on, for nodes that hold several texts."""
_DELIMITER_INPUTS = ("delimiter", "separator", "sep")
_ESCAPES = {"\\n": "\n", "\\t": "\t"}
_OTHER_SIDE = {"prompt": "negative", "negative": "prompt"}
_MAX_PARTS = 64
_MAX_DEPTH = 48
_MAX_TEXT = 200_000


@dataclass(slots=True)
class PromptSide:
    """The texts that one side of a sampler comes from."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    """The text inputs of each text encoder, the nearest encoder and the main input first."""
    is_known: bool = False
    """Whether the names of inputs say which side it is."""
    has_middle: bool = False
    """Whether something is between the sides."""


def take_prompts(draft: TokenDraft, samplers: list[str]) -> None:
    """Choose the prompt and the negative prompt."""
    flow = draft.flow
    sides = [find_sides(flow, one) for one in samplers]
    for positive, negative in sides:
        for number, (node_id, names) in enumerate(positive.texts.items()):
            if number == 0 or names != negative.texts.get(node_id):
                _take_encoder_texts(draft, "prompt", node_id, names)
    for _, negative in sides:
        for node_id, names in negative.texts.items():
            _take_encoder_texts(draft, "negative", node_id, names)
    if "prompt" not in draft and not any(positive.is_known for positive, _ in sides):
        _take_prompts_by_names(draft)
    is_emptied = any(flow.class_of(node_id) in _EMPTYING_CLASSES for node_id in flow.graph)
    if samplers and is_emptied and "negative" not in draft:
        draft.without["negative"] = "this workflow empties the negative side (ConditioningZeroOut)"


def find_sides(flow: Dataflow, sampler: str) -> tuple[PromptSide, PromptSide]:
    """The positive and the negative side of a sampler.

    If the negative side is the prompt again, it is empty; a dual guider has its negative text
    between the sides.
    """
    positive = find_side(flow, sampler, "prompt")
    negative = find_side(flow, sampler, "negative")
    if negative.texts.items() <= positive.texts.items():
        if not negative.has_middle:
            return positive, PromptSide()
        negative = find_side(flow, sampler, "negative", is_middle=True)
    return positive, negative


def find_side(flow: Dataflow, sampler: str, role: str, *, is_middle: bool = False) -> PromptSide:
    """Follow one side of a sampler, "prompt" or "negative", to its texts.

    Where a pipe holds both sides, names tell them apart. A text without such a name counts as the
    prompt.
    """
    side, passed_on = PromptSide(), dict[str, list[str]]()
    seen: set[tuple[str, str, bool]] = set()
    waiting = deque([(sampler, -1, role, False)])
    while waiting and len(seen) < MAX_WALK:
        node_id, slot, wanted, is_sure = waiting.popleft()
        if {(node_id, wanted, is_sure), (node_id, wanted, True)} & seen:
            continue
        seen.add((node_id, wanted, is_sure))
        if flow.class_of(node_id) in _EMPTYING_CLASSES:
            continue
        fed = {one.name: one for one in flow.fed_inputs(node_id)}
        texts = text_inputs(flow, node_id)
        if not texts and is_sure:
            # A node that makes a text of parts, and does not encode it.
            parts = _text_part_inputs(flow, node_id)
            conditioning = (name for name in parts if INPUT_TYPES.get(name) == "CONDITIONING")
            encodes = any(is_link(flow.inputs(node_id)[name]) for name in conditioning)
            texts = parts if any(map(_TEXT_PART_INPUT.fullmatch, parts)) and not encodes else []
        sides = _sides_of_inputs(flow, node_id, texts)
        middle = [name for name, own in sides.items() if own == "neither"]
        side.has_middle = side.has_middle or bool(middle)
        if is_middle and middle:
            sides = dict.fromkeys(middle, role)
        wanted = _side_of_output(flow, node_id, slot, sides) or wanted
        if node_id == sampler:
            side.is_known = bool(set(sides.values()) & set(_OTHER_SIDE))
        own = _inputs_of_side(sides, wanted, is_sure=is_sure)
        named = [name for name in texts if name in own]
        if named and (is_sure or wanted == "prompt" or wanted in map(sides.get, named)):
            continues = any(name in fed and name not in texts for name in own)
            (passed_on if continues else side.texts).setdefault(node_id, named)
        for name in own:
            if name in fed and name not in texts:
                _, source, output = fed[name]
                waiting.append((source, output, wanted, is_sure or sides[name] == wanted))
    for node_id, names in passed_on.items():
        side.texts.setdefault(node_id, names)
    return side


def text_inputs(flow: Dataflow, node_id: str) -> list[str]:
    """The inputs of a node that hold a text for a text encoder, the main one first."""
    inputs = flow.inputs(node_id)
    if isinstance(inputs.get(_POPULATED), str):
        return [_POPULATED]
    names = [n for n in inputs if _PROMPT_INPUT.fullmatch(n) and not _NEVER_PROMPT.fullmatch(n)]
    sided = [name for name in names if _side_of_name(name) and isinstance(inputs[name], str)]
    exact = [name for name in (*_MAIN_TEXTS, *_SECOND_TEXTS) if name in inputs]
    found = list(dict.fromkeys((*exact, *sided))) or [n for n in names if not _side_of_name(n)]
    if not found:
        specs = {name: flow.spec(InputPlace(node_id, name)) for name in inputs}
        found = [
            name
            for name, spec in specs.items()
            if spec is not None and spec.type == "STRING" and spec.options.get("multiline")
        ]
    return [name for name in found if isinstance(inputs[name], str) or is_link(inputs[name])]


def _text_part_inputs(flow: Dataflow, node_id: str) -> list[str]:
    """The inputs that a node puts its text together from, in order."""
    inputs = flow.inputs(node_id)
    passed = flow.passed_input(node_id)
    if passed is not None:
        return [passed] if passed in inputs else []
    if isinstance(inputs.get(_POPULATED), str):
        return [_POPULATED]
    if is_link(inputs.get(_PASSED_TEXT)):
        return [_PASSED_TEXT]
    linked = {one.name for one in flow.fed_inputs(node_id)}
    displays = DISPLAY_CLASS.search(flow.class_of(node_id))
    names = []
    for name, value in inputs.items():
        if _NEVER_PROMPT.fullmatch(name) or name.startswith("cond"):
            continue
        if is_link(value):
            is_part = name in linked and _carries_text(flow, node_id, name)
        else:
            is_text = isinstance(value, str) and bool(_TEXT_PART_INPUT.fullmatch(name))
            is_part = is_text and not displays
        names += [name] if is_part else []
    return names


def joined_text(flow: Dataflow, node_id: str, name: str, role: str) -> str:
    """The whole text that an input gets, without tags that load LoRAs."""
    words = (
        part
        if isinstance(part, str)
        else _without_lora_tags(flow, part.node, str(flow.literal(part)))
        for part in _text_parts(flow, node_id, name, role, [_MAX_PARTS], 0)
    )
    return "".join(words)[:_MAX_TEXT]


def _text_parts(
    flow: Dataflow, node_id: str, name: str, role: str, left: list[int], depth: int
) -> list[InputPlace | str]:
    """The places of a text's parts, and what is put between them; `left` counts down the parts."""
    value = flow.inputs(node_id).get(name)
    if isinstance(value, str):
        left[0] -= 1
        is_empty = not _without_lora_tags(flow, node_id, value).strip()
        return [] if is_empty else [InputPlace(node_id, name)]
    fed = next((one for one in flow.fed_inputs(node_id) if one.name == name), None)
    if fed is None or left[0] <= 0 or depth > _MAX_DEPTH:
        return []
    kind = flow.class_of(fed.node)
    if kind in _EMPTYING_CLASSES:
        return []
    left[0] -= 1
    names = _text_part_inputs(flow, fed.node)
    by_output = _OUTPUT_TEXTS.get(kind, ())
    if 0 <= fed.slot < len(by_output):
        names = [by_output[fed.slot]]
    sides = _sides_of_inputs(flow, fed.node, names)
    role = _side_of_output(flow, fed.node, fed.slot, sides) or role
    own = _inputs_of_side(sides, role, is_sure=True)
    parts: list[InputPlace | str] = []
    for part in (name for name in names if name in own and left[0] > 0):
        more = _text_parts(flow, fed.node, part, role, left, depth + 1)
        if parts and more:
            parts.append(_delimiter(flow, fed.node))
        parts.extend(more)
    return parts


def _delimiter(flow: Dataflow, node_id: str) -> str:
    inputs = flow.inputs(node_id)
    if inputs.get("tidy_tags") == "no" or inputs.get("linebreak_addition") == "false":
        return ""
    if inputs.get("linebreak_addition") == "true":
        return "\n"
    places = (flow.find_literal(node_id, name) for name in _DELIMITER_INPUTS)
    value = next((flow.literal(place) for place in places if place is not None), ", ")
    return _ESCAPES.get(value, value) if isinstance(value, str) else ", "


def _without_lora_tags(flow: Dataflow, node_id: str, text: str) -> str:
    if "<lora:" in text and LORA_TAG_CLASS.search(flow.class_of(node_id)):
        return LORA_TAG.sub("", text).strip(" ,\n")
    return text


def _sides_of_inputs(flow: Dataflow, node_id: str, texts: list[str]) -> dict[str, str]:
    """The side of each input that leads to texts, as its name says; "" if it does not say."""
    linked = [one.name for one in flow.fed_inputs(node_id)]
    names = [*texts, *(n for n in linked if n not in texts and _carries_text(flow, node_id, n))]
    sides = {name: _side_of_name(name) for name in names}
    if "negative" in sides.values() and "prompt" not in sides.values():
        sides |= {name: "prompt" for name in texts if not sides[name]}
    return sides


def _side_of_name(name: str) -> str:
    if _MIDDLE.fullmatch(name):
        return "neither"
    if _NEGATIVE.search(name):
        return "negative"
    return "prompt" if _POSITIVE.search(name) else ""


def _inputs_of_side(sides: dict[str, str], wanted: str, *, is_sure: bool) -> dict[str, str]:
    """The inputs of the wanted side.

    One whose name says so wins over one that says nothing, as an input of a pipe's node replaces
    what the pipe brings. If the side is known already, a single name does not change it.
    """
    counting = {wanted}
    if wanted not in sides.values():
        counting |= {"", _OTHER_SIDE[wanted]} if is_sure else {""}
    return {name: own for name, own in sides.items() if own in counting}


def _side_of_output(flow: Dataflow, node_id: str, slot: int, sides: dict[str, str]) -> str:
    """The side of an output, for a node with both; "" if it is unknown."""
    if slot < 0 or not set(_OTHER_SIDE) <= set(sides.values()):
        return ""
    by_class = _OUTPUT_SIDES.get(flow.class_of(node_id), {})
    name = flow.output_name(node_id, slot).strip().lower()
    by_name = _side_of_name(name) or {"+": "prompt", "-": "negative"}.get(name[-1:], "")
    if by_class or by_name:
        return by_class.get(slot) or by_name
    used = {
        number
        for one, number in flow.uses[node_id]
        if _side_of_name(one)
        or _PROMPT_INPUT.fullmatch(one)
        or INPUT_TYPES.get(one) == "CONDITIONING"
    }
    if len(used) != 2 or slot not in used:
        return ""
    return "prompt" if slot == min(used) else "negative"


def _carries_text(flow: Dataflow, node_id: str, name: str) -> bool:
    spec = flow.spec(InputPlace(node_id, name))
    if spec is not None and spec.type not in ("", "*"):
        return spec.type not in _NO_TEXT_TYPES
    return not _NO_TEXT_INPUT.fullmatch(name) or bool(_TEXT_EMBEDS_INPUT.fullmatch(name))


def _take_encoder_texts(draft: TokenDraft, role: str, node_id: str, names: list[str]) -> None:
    """Choose the main text, and that of a second encoder if it differs."""
    texts = {name: joined_text(draft.flow, node_id, name, role) for name in names}
    filled = [name for name in names if texts[name].strip()]
    main = _take_text(draft, role, node_id, (filled or names)[0])
    for name in filled[1:]:
        if main is not None:
            is_same = texts[name] == draft.defaults.get(role)
            second = f"{role}_2" if main == role else main
            _take_text(draft, role if is_same else second, node_id, name)


def _take_text(draft: TokenDraft, role: str, node_id: str, name: str) -> str | None:
    """Choose a text, or each of its parts; return the token of the first."""
    flow = draft.flow
    places: list[InputPlace] = [InputPlace(node_id, name)]
    if is_link(flow.inputs(node_id).get(name)):
        side = "negative" if role.startswith("negative") else "prompt"
        parts = _text_parts(flow, node_id, name, side, [_MAX_PARTS], 0)
        places = list(dict.fromkeys(part for part in parts if isinstance(part, InputPlace)))
    if not places:  # the text may be empty
        empty = flow.find_literal(node_id, name)
        places = [empty] if empty is not None and isinstance(flow.literal(empty), str) else []
    tokens = [draft.take_place(role, place) for place in places]
    return next((token for token in tokens if token is not None), None)


def _take_prompts_by_names(draft: TokenDraft) -> None:
    """Choose texts by the names of inputs and by titles, if no sampler leads to them."""
    flow = draft.flow
    used = flow.ancestors(flow.output_nodes()) or set(flow.graph)
    empty: list[InputPlace] = []
    for node_id in flow.in_order:
        if node_id not in used or DISPLAY_CLASS.search(flow.class_of(node_id)):
            continue
        for name in text_inputs(flow, node_id):
            value = flow.inputs(node_id)[name]
            is_negative = bool(_NEGATIVE.search(name))
            if isinstance(value, str) and _WORD.search(value):
                is_negative = is_negative or "negative" in flow.title(node_id).lower()
                draft.take_place("negative" if is_negative else "prompt", InputPlace(node_id, name))
            elif value == "" and not is_negative:
                empty.append(InputPlace(node_id, name))
    if empty and "prompt" not in draft:
        draft.take_place("prompt", empty[0])
