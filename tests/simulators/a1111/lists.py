"""What the simulated programs list, in the form in which each of them lists it."""

from __future__ import annotations

from typing import Any, Literal

Program = Literal["a1111", "forge", "sdnext", "sd.cpp"]

CREDENTIAL = "ann:sesame street"
MODELS = ("dreamshaper_8.safetensors [879db523c3]", "sd_xl_base_1.0.safetensors [31e35c80fc]")
_SAMPLERS = {
    "sd.cpp": ("default", "euler", "euler_a", "dpm++2m"),
    "sdnext": ("Default", "Euler", "Euler a", "DPM++ 2M"),
}
_SCHEDULERS = {"sd.cpp": ("default", "discrete", "normal", "karras")}
_OPTIONS: dict[str, dict[str, Any]] = {
    "a1111": {"samples_format": "png", "CLIP_stop_at_last_layers": 1},
    "forge": {"samples_format": "png", "forge_preset": "all"},
    "sdnext": {"samples_format": "png", "diffusers_offload_mode": "balanced"},
    "sd.cpp": {"samples_format": "png"},
}
_NETS = (
    *("control_v11p_sd15_canny [d14c016b]", "control_v11p_sd15_openpose [cab727d4]"),
    "diffusers_xl_canny_full [2b69fca4]",
)


def list_answers(program: Program) -> dict[str, Any]:
    """The answer to GET, by path."""
    is_cpp = program == "sd.cpp"
    models = ["sd15"] if is_cpp else list(MODELS)
    samplers = _SAMPLERS.get(program, ("DPM++ 2M", "Euler a", "Euler", "DDIM"))
    schedulers = _SCHEDULERS.get(program, ("automatic", "karras", "sgm_uniform"))
    lists: dict[str, Any] = {
        "options": _OPTIONS[program] | {"sd_model_checkpoint": models[0]},
        "sd-models": [
            {
                "title": title,
                "model_name": title.partition(".")[0],
                "hash": "8888888888" if is_cpp else title[-11:-1],
                "filename": title,
                "config": None,
            }
            for title in models
        ],
        "samplers": [{"name": name, "aliases": [], "options": {}} for name in samplers],
        "schedulers": [{"name": name, "label": name.title()} for name in schedulers],
        "upscalers": [
            {"name": name, "model_name": None, "scale": 4}
            for name in ("None", "Lanczos", "R-ESRGAN 4x+", "R-ESRGAN 4x+ Anime6B")
        ],
        "latent-upscale-modes": [{"name": "Latent"}, {"name": "Latent (bicubic)"}],
        "loras": [{"name": "ink", "path": "style/ink.safetensors", "metadata": {}}],
    }
    answers = {f"/sdapi/v1/{name}": answer for name, answer in lists.items()}
    if is_cpp:
        return answers
    modules = "sd-modules" if program == "forge" else "sd-vae"
    answers[f"/sdapi/v1/{modules}"] = [{"model_name": "kl-f8.vae.pt", "filename": "/m/kl-f8"}]
    if program != "sdnext":
        answers["/sdapi/v1/face-restorers"] = [{"name": "CodeFormer"}, {"name": "GFPGAN"}]
        answers["/controlnet/model_list"] = {"model_list": list(_NETS)}
        answers["/controlnet/module_list"] = {"module_list": ["none", "canny", "openpose_full"]}
    return answers
