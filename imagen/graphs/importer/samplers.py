"""What samplers are set to: seed, steps, cfg, guidance, sampler, schedule, and the size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.graphs.importer.node_classes import SETTINGS, SYNONYMS

if TYPE_CHECKING:
    from imagen.graphs.importer.reading import Draft, Reading

_SEEDS = ("seed", "noise_seed", "seed_num")
_STEPS = {"steps", "steps_total"}
_SETTINGS = {*_STEPS, "sigmas", "cfg", "sampler_name"}
_CONDITIONED = {"positive", "conditioning"}
_PARTS = ("NOISE", "GUIDER", "SAMPLER", "SIGMAS")
_SIDES = tuple(zip(SYNONYMS["width"], SYNONYMS["height"], strict=True))
_MOST = 32
"""Of more samplers than this, the further ones are not looked at."""


def find_samplers(reading: Reading) -> list[str]:
    """The nodes that sample, each after those whose images it goes on with.

    Those that lead to an output, where any does.
    """
    found = [key for key in reading.in_order if _samples(reading, key)]
    used = reading.above(reading.outputs())
    return ([key for key in found if key in used] or found)[:_MOST]


def take_settings(draft: Draft, samplers: list[str]) -> None:
    """Choose what the samplers are set to; where there is none, at least the seeds."""
    reading = draft.reading
    for sampler in samplers:
        own = {SETTINGS[name] for name in reading.inputs(sampler) if name in SETTINGS}
        _take_named(draft, sampler)
        for node_id in _upstream(reading, sampler, _PARTS):
            _take_named(draft, node_id)
        for node_id in _bundled(reading, sampler):
            _take_named(draft, node_id, but=own)
        for node_id in _upstream(reading, sampler, ("CONDITIONING", "GUIDER")):
            draft.take("guidance", node_id, "guidance")
    for node_id in reading.in_order if not samplers else ():
        for name in _SEEDS:
            draft.take("seed", node_id, name)


def take_sizes(draft: Draft, samplers: list[str]) -> None:
    """Choose the size and the count of the images: those of the empty latents."""
    reading = draft.reading
    for sampler in samplers:
        for node_id in size_sources(reading, sampler):
            inputs = reading.inputs(node_id)
            for wide, high in _SIDES:
                if wide in inputs and high in inputs and reading.preset_size(node_id) is None:
                    draft.take("width", node_id, wide)
                    draft.take("height", node_id, high)
                    draft.take("count", node_id, "batch_size")
                    break
    if draft.takes("width") and draft.takes("height"):
        _follow(draft)


def size_sources(reading: Reading, sampler: str) -> list[str]:
    """The nodes that say how large the images of a sampler are, the nearest first."""
    return list(dict.fromkeys((sampler, *latents(reading, sampler), *_bundled(reading, sampler))))


def latents(reading: Reading, sampler: str) -> list[str]:
    """What a sampler starts from, the nearest first; not beyond another sampler."""

    def onward(node_id: str) -> list[str]:
        return [] if _samples(reading, node_id) else _latent_sources(reading, node_id)

    found = reading.walk(_latent_sources(reading, sampler), onward)
    return [node_id for node_id in found if not _samples(reading, node_id)]


def _latent_sources(reading: Reading, node_id: str) -> list[str]:
    """The nodes behind the latents of a node; else behind what may hold them among others."""
    found = [link.node for link in reading.fed(node_id, ("LATENT",))]
    found += [link.node for link in reading.links(node_id) if link.name == "image_embeds"]
    return found or [link.node for link in reading.bundles(node_id)]


def _samples(reading: Reading, node_id: str) -> bool:
    """Whether a node samples: it has a guider, or takes a seed beside what it is to show.

    A node that gets the settings to write them into a file is not one.
    """
    inputs = reading.inputs(node_id)
    if "guider" in inputs:
        return True
    linked = {link.name for link in reading.links(node_id)} - set(SETTINGS)
    if not linked or any(name.startswith("filename") for name in inputs):
        return False
    names = set(inputs)
    if "latent_image" in names and _CONDITIONED & names:
        return True
    return not names.isdisjoint(_SEEDS) and not names.isdisjoint(
        _SETTINGS if _CONDITIONED & names else _STEPS
    )


def _take_named(draft: Draft, node_id: str, but: set[str] | None = None) -> None:
    for name in draft.reading.inputs(node_id):
        role = SETTINGS.get(name)
        if role in (None, "width", "height", "count") or role in (but or ()):
            continue
        if not _is_silent(draft.reading, node_id, name):
            draft.take(str(role), node_id, name)


def _bundled(reading: Reading, sampler: str) -> list[str]:
    """The nodes behind a sampler's pipes and contexts that do not sample themselves."""

    def onward(node_id: str) -> list[str]:
        return [link.node for link in reading.bundles(node_id)]

    found = reading.walk(onward(sampler), onward)
    return [node_id for node_id in found if not _samples(reading, node_id)]


def _upstream(reading: Reading, sampler: str, kinds: tuple[str, ...]) -> list[str]:
    def onward(node_id: str) -> list[str]:
        return [link.node for link in reading.fed(node_id, kinds)]

    return reading.walk(onward(sampler), onward)


def _is_silent(reading: Reading, node_id: str, name: str) -> bool:
    """A sampler that goes on with another's image may add no noise: its seed says nothing."""
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
