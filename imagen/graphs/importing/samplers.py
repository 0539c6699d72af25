"""What samplers are set to: seed, steps, cfg, guidance, sampler, schedule, and the size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagen.graphs.importing.draft import Draft
    from imagen.graphs.importing.reading import Reading

_SEEDS = ("seed", "noise_seed")
_ROLES = {
    "seed": "seed",
    "noise_seed": "seed",
    "steps": "steps",
    "cfg": "cfg",
    "cfg_conds": "cfg",
    "guidance": "guidance",
    "sampler_name": "sampler",
    "scheduler": "scheduler",
}
_PARTS = ("NOISE", "GUIDER", "SAMPLER", "SIGMAS")
_FLOWS = ("CONDITIONING", "GUIDER")
_SIDES = ("width", "height")


def find_samplers(reading: Reading) -> list[str]:
    """The nodes that sample, each after those whose pictures it goes on with."""
    return [key for key in reading.in_order if _samples(reading, key)]


def take_settings(draft: Draft, samplers: list[str]) -> None:
    """Choose what the samplers are set to; where there is none, at least the seeds."""
    reading = draft.reading
    for sampler in samplers:
        for node_id in (sampler, *_upstream(reading, sampler, _PARTS)):
            for name in reading.inputs(node_id):
                if name in _ROLES and not _is_silent(reading, node_id, name):
                    draft.take(_ROLES[name], node_id, name)
        for node_id in _upstream(reading, sampler, _FLOWS):
            draft.take("guidance", node_id, "guidance")
    for node_id in reading.in_order if not samplers else ():
        for name in _SEEDS:
            draft.take("seed", node_id, name)


def take_sizes(draft: Draft, samplers: list[str]) -> None:
    """Choose the size and the count of the pictures: those of the empty latents."""
    reading = draft.reading
    for sampler in samplers:
        for node_id in latents(reading, sampler):
            if set(_SIDES) <= set(reading.inputs(node_id)):
                for name in _SIDES:
                    draft.take(name, node_id, name)
                draft.take("count", node_id, "batch_size")
    if draft.takes("width") and draft.takes("height"):
        _follow(draft)


def latents(reading: Reading, sampler: str) -> list[str]:
    """What a sampler starts from, the nearest first; not beyond another sampler."""
    seen: dict[str, None] = {}
    waiting = [source for _, source, _ in reading.fed(sampler, ("LATENT",))]
    while waiting:
        node_id = waiting.pop(0)
        if node_id not in seen and not _samples(reading, node_id):
            seen.setdefault(node_id)
            waiting += [source for _, source, _ in reading.fed(node_id, ("LATENT",))]
    return list(seen)


def _samples(reading: Reading, node_id: str) -> bool:
    inputs = reading.inputs(node_id)
    if "guider" in inputs:
        return True
    return "positive" in inputs and bool({*_SEEDS, "latent_image"} & set(inputs))


def _upstream(reading: Reading, node_id: str, kinds: tuple[str, ...]) -> list[str]:
    seen: dict[str, None] = {}
    waiting = [source for _, source, _ in reading.fed(node_id, kinds)]
    while waiting:
        source = waiting.pop(0)
        if source not in seen:
            seen.setdefault(source)
            waiting += [further for _, further, _ in reading.fed(source, kinds)]
    return list(seen)


def _is_silent(reading: Reading, node_id: str, name: str) -> bool:
    """A sampler that goes on with another's picture may add no noise: its seed says nothing."""
    return name in _SEEDS and reading.inputs(node_id).get("add_noise") == "disable"


def _follow(draft: Draft) -> None:
    """Elsewhere the same size again is the same thing: models and schedules are told it too."""
    reading = draft.reading
    for node_id in reading.in_order:
        for wide, high in (("width", "height"), ("target_width", "target_height")):
            places = [reading.place(node_id, name) for name in (wide, high)]
            sizes = [None if place is None else reading.literal(place) for place in places]
            if sizes == [draft.defaults["width"], draft.defaults["height"]]:
                draft.take("width", node_id, wide)
                draft.take("height", node_id, high)
