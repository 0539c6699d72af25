"""What A1111's clients list: models, samplers, upscalers and more, under the names it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imagen import __version__
from imagen.core.request import INTERPOLATIONS
from imagen.core.samplers import (
    COMFYUI_SAMPLERS,
    COMFYUI_SCHEDULERS,
    parse_sampler,
    parse_scheduler,
)
from imagen.errors import ImagenError
from imagen.server.a1111.translate import NO_UPSCALER, read_capabilities

if TYPE_CHECKING:
    from imagen.backends.base import ModelKind
    from imagen.runtime import Runtime
    from imagen.server.a1111.runs import A1111Session

    Entry = dict[str, Any]

_SAMPLERS: Mapping[str, str] = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "lms": "LMS",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "uni_pc": "UniPC",
    "lcm": "LCM",
    "pndm": "PLMS",
    "restart": "Restart",
    "tcd": "TCD",
    "ipndm": "IPNDM",
    "deis": "DEIS",
}
"""A1111's names, by the usual ones. Some clients only offer samplers whose names they know."""
_SCHEDULERS: Mapping[str, str] = {
    "automatic": "Automatic",
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "polyexponential": "Polyexponential",
    "sgm_uniform": "SGM Uniform",
    "kl_optimal": "KL Optimal",
    "ays": "Align Your Steps",
    "simple": "Simple",
    "ddim_uniform": "DDIM",
    "beta": "Beta",
    "turbo": "Turbo",
}


def chosen_backend(session: A1111Session, runtime: Runtime) -> tuple[str, str | None]:
    """The backend and the model of the caller's requests."""
    if not session.model:
        return runtime.backend, None
    choice = runtime.models.find(session.model)
    return choice.backend, choice.model


def list_models(runtime: Runtime) -> list[Entry]:
    """The models that `sd_model_checkpoint` can be set to; a title is the name itself."""
    return [
        {
            "title": choice.id,
            "model_name": choice.id,
            "hash": None,
            "sha256": None,
            "filename": choice.id,
            "config": None,
        }
        for choice in runtime.models.choices()
    ]


def current_model(session: A1111Session, runtime: Runtime) -> str:
    """The title of the model that requests without one get."""
    return session.model or runtime.models.own_choice().id


def read_options(session: A1111Session, runtime: Runtime) -> Entry:
    """The options that clients look at."""
    return {
        "sd_model_checkpoint": current_model(session, runtime),
        "sd_checkpoint_hash": "",
        "sd_vae": "Automatic",
        "CLIP_stop_at_last_layers": 1,
        "samples_format": "png",
        "use_scale_latent_for_hires_fix": False,
        "img2img_background_color": "#ffffff",
        "show_progress_every_n_steps": 1,
        "live_previews_enable": True,
        "imagen_version": __version__,
    }


def list_samplers(session: A1111Session, runtime: Runtime) -> list[Entry]:
    """The samplers of the backend; `Automatic` if it has no choice of them."""
    names = _names_of("sampler", session, runtime, COMFYUI_SAMPLERS)
    entries = []
    for name in names:
        usual, schedule = parse_sampler(name)
        shown = name if schedule else _SAMPLERS.get(usual, name)
        aliases = [name] if shown != name else []
        entries.append({"name": shown, "aliases": aliases, "options": {}})
    left_to_backend = {"name": "Automatic", "aliases": [], "options": {}}
    return _unique(entries, "name") or [left_to_backend]


def list_schedulers(session: A1111Session, runtime: Runtime) -> list[Entry]:
    """The schedulers of the backend, and `automatic`, which leaves them to it."""
    names = ["automatic", *_names_of("scheduler", session, runtime, COMFYUI_SCHEDULERS)]
    entries = []
    for name in names:
        usual = parse_scheduler(name) or "automatic"
        entries.append(
            {
                "name": name,
                "label": _SCHEDULERS.get(usual, name),
                "aliases": None,
                "default_rho": -1.0,
                "need_inner_model": False,
            }
        )
    return _unique(entries, "label")


def list_upscalers(session: A1111Session, runtime: Runtime) -> list[Entry]:
    """None, the interpolations, and the upscalers of the backend."""
    found = [one.name for one in _models("upscaler", session, runtime)]
    names = [NO_UPSCALER, *(name.capitalize() for name in INTERPOLATIONS), *found]
    return [
        {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": 4}
        for name in names
    ]


def list_loras(session: A1111Session, runtime: Runtime) -> list[Entry]:
    """LoRAs by the names that `<lora:name:1>` takes."""
    return [
        {"name": one.name, "alias": one.name, "path": one.name, "metadata": {}}
        for one in _models("lora", session, runtime)
    ]


def list_vaes(session: A1111Session, runtime: Runtime) -> list[Entry]:
    return [
        {"model_name": one.name, "filename": one.name} for one in _models("vae", session, runtime)
    ]


def list_styles(runtime: Runtime) -> list[Entry]:
    return [
        {"name": name, "prompt": style.prompt, "negative_prompt": style.negative or ""}
        for name, style in runtime.settings.styles.items()
    ]


def _models(kind: ModelKind, session: A1111Session, runtime: Runtime) -> list[Any]:
    backend, _ = chosen_backend(session, runtime)
    return [one for one in runtime.models.models_of(backend) if one.kind == kind]


def _names_of(
    kind: ModelKind, session: A1111Session, runtime: Runtime, usual: tuple[str, ...]
) -> list[str]:
    """The backend's choices, else what its engine lists, else what all ComfyUI servers have."""
    backend, model = chosen_backend(session, runtime)
    try:
        parameters = read_capabilities(backend, "text-to-image", model, runtime).parameters
    except ImagenError:
        return []
    if kind not in parameters:
        return []
    listed = [one.name for one in _models(kind, session, runtime)]
    return [*(parameters[kind].choices or listed or usual)]


def _unique(entries: list[Entry], key: str) -> list[Entry]:
    """The first entry of each name: an engine may have two spellings of one sampler."""
    return list({entry[key]: entry for entry in reversed(entries)}.values())[::-1]
