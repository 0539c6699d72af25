"""The checkpoint that a request names, on a ComfyUI server."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_backends import MANIFEST, REQUEST, SAMPLED, open_comfyui
from support.comfyui_tasks import UNREACHABLE_URL, node, open_workflow, write_workflow
from support.model_file_samples import SD1, VAE, safetensors, write_file

from imagen.config import Settings
from imagen.core.request import Request
from imagen.errors import RequestError
from imagen.pipeline.prepare import prepare
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.core.result import Progress, Result
    from imagen.core.ticket import Ticket

OWN = "v1-5-pruned-emaonly-fp16.safetensors"
FILES = {
    "checkpoints": [
        OWN,
        "sd15\\dreamshaper_8.safetensors",
        "photon_v1.safetensors",
        "photon_v2.safetensors",
    ]
}
DREAM = FILES["checkpoints"][1]
TOKENS: dict[str, Any] = SAMPLED | {"1": node("CheckpointLoaderSimple", ckpt_name="$<checkpoint>")}
MANIFEST_OF_TOKENS = {
    "family": "sd15",
    "parameters": MANIFEST["parameters"] | {"checkpoint": {"type": "string", "default": OWN}},
}


def _made(model: str) -> tuple[Ticket, Result]:
    """What one request for a model gives, with the ticket as it was sent."""
    told: list[Progress] = []
    with ComfyUI(models=FILES) as server, closing(open_comfyui(server.url)) as backend:
        ticket = backend.prepare(REQUEST.with_values({"model": model}))
        result = backend.collect(ticket, told.append)
    sent = [progress.ticket for progress in told if progress.ticket is not None]
    return sent[-1], result


def _refusal(model: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        _made(model)
    return caught.value


@pytest.mark.parametrize(
    "asked",
    ["sd15/dreamshaper_8.safetensors", "dreamshaper_8", "DreamShaper_8.safetensors", "shaper"],
    ids=["separator", "no ending", "case", "part"],
)
def test_a_model_is_used_under_the_name_that_the_server_lists(asked: str) -> None:
    ticket, result = _made(asked)
    fate = ticket.receipt["model"]
    assert (fate.outcome, fate.asked, fate.used) == ("mapped", asked, DREAM)
    assert (ticket.request.model, result.facts.model) == (DREAM, DREAM)
    assert ticket.payload["1"]["inputs"]["ckpt_name"] == DREAM


def test_a_model_named_as_the_server_does_is_applied() -> None:
    ticket, _ = _made(DREAM)
    assert (ticket.receipt["model"].outcome, ticket.receipt["model"].used) == ("applied", None)


def test_a_model_that_the_server_does_not_list_is_refused() -> None:
    refusal = _refusal("dreamshapr_8")
    assert "Model 'dreamshapr_8' not found on http://127.0.0.1:" in refusal.message
    assert " (4 models). Did you mean 'dreamshaper_8'?" in refusal.message
    assert refusal.remedy.splitlines() == [
        f"Known: {', '.join(FILES['checkpoints'])}.",
        "See: imagen models --backend lab",
    ]


def test_a_name_that_matches_several_models_is_refused_and_lists_them() -> None:
    refusal = _refusal("photon")
    assert refusal.message == (
        "model 'photon' matches 2 models: photon_v1.safetensors, photon_v2.safetensors."
    )


def test_a_local_path_is_found_by_its_last_part(tmp_path: Path) -> None:
    ticket, _ = _made(str(tmp_path / "photon_v1.safetensors"))
    fate = ticket.receipt["model"]
    assert (fate.used, fate.why) == (
        "photon_v1.safetensors",
        "a ComfyUI server loads models from its own folders",
    )


def test_a_local_path_that_the_server_lacks_is_refused_and_names_its_folder() -> None:
    assert _refusal("~/models/other.safetensors").remedy.splitlines()[-1] == (
        "A ComfyUI server loads models from its own folders; put the file into models/checkpoints."
    )


def test_prepare_does_not_contact_the_server() -> None:
    ticket = open_comfyui(UNREACHABLE_URL).prepare(REQUEST.with_values({"model": "dream"}))
    assert (ticket.request.model, ticket.receipt["model"].outcome) == ("dream", "applied")


def test_a_requested_model_replaces_the_models_parameter_of_the_workflow() -> None:
    write_workflow("mine", TOKENS, MANIFEST_OF_TOKENS)
    asked = REQUEST.with_values({"model": "dream", "checkpoint": "other.safetensors"})
    ticket = open_workflow(UNREACHABLE_URL, "mine").prepare(asked)
    fate = ticket.receipt["checkpoint"]
    assert ticket.payload["1"]["inputs"]["ckpt_name"] == "dream"
    assert (fate.outcome, fate.used, fate.why) == ("mapped", "dream", "model determines it")
    assert "checkpoint" not in ticket.request.extra


def test_a_parameter_of_the_workflow_that_needs_a_value_gets_it_from_the_model() -> None:
    write_workflow("bare", TOKENS, {"parameters": MANIFEST["parameters"]})
    ticket = open_workflow(UNREACHABLE_URL, "bare").prepare(REQUEST.with_values({"model": "dream"}))
    assert ticket.payload["1"]["inputs"]["ckpt_name"] == "dream"


def test_a_parameter_called_model_is_the_model() -> None:
    write_workflow("named", SAMPLED | {"1": node("CheckpointLoaderSimple", ckpt_name="$<model>")})
    ticket = open_workflow(UNREACHABLE_URL, "named").prepare(
        REQUEST.with_values({"model": "dream"})
    )
    assert ticket.payload["1"]["inputs"]["ckpt_name"] == "dream"


def test_a_workflow_with_several_models_says_how_to_choose_one() -> None:
    second = {"2": node("CheckpointLoaderSimple", ckpt_name="refiner.safetensors")}
    decoded = {"90": node("VAEDecode", samples=["8", 0], vae=["2", 2])}
    write_workflow("two", SAMPLED | second | decoded)
    ticket = open_workflow(UNREACHABLE_URL, "two").prepare(REQUEST.with_values({"model": "dream"}))
    assert ticket.receipt["model"].why == (
        "this workflow loads several models; name the node: --set 1.ckpt_name=NAME"
    )


def test_a_workflow_without_a_model_drops_a_requested_one() -> None:
    write_workflow("none", {"9": node("SaveImage", images="$<prompt>")})
    ticket = open_workflow(UNREACHABLE_URL, "none").prepare(REQUEST.with_values({"model": "dream"}))
    assert ticket.receipt["model"].why == "this workflow loads no checkpoint by name"


@pytest.mark.parametrize("task", ["text-to-image", "image-to-image", "inpaint"])
def test_every_task_of_a_bundled_workflow_takes_a_model(task: Any) -> None:
    known = open_workflow(UNREACHABLE_URL, "flux1-schnell").capabilities(task)
    assert known.parameters["model"].default is None


@pytest.mark.parametrize("model", ["z_image_turbo_bf16.safetensors", "z_image_turbo_bf16"])
def test_a_model_that_another_family_of_workflows_loads_is_refused(model: str) -> None:
    backend = open_workflow(UNREACHABLE_URL, "flux1-schnell")
    with pytest.raises(RequestError) as caught:
        backend.prepare(REQUEST.with_values({"model": model}))
    assert caught.value.message == (
        f"model {model!r} is of the family z-image, and the workflow is for flux1."
    )
    assert caught.value.remedy == (
        "Set `workflow` of the backend, or --workflow of generate, to one for that family: "
        "z-image-turbo, z-image-turbo-img2img, z-image-turbo-inpaint."
    )


def test_a_refused_model_is_named_with_the_family_that_models_lists() -> None:
    with pytest.raises(RequestError, match="is of the family sd21, and the workflow is for sd15"):
        open_workflow(UNREACHABLE_URL, "sd15").prepare(REQUEST.with_values({"model": "sd_turbo"}))


def test_a_local_file_of_another_family_is_refused_by_its_header(tmp_path: Path) -> None:
    path = write_file(tmp_path / "dream.safetensors", safetensors(SD1 | VAE))
    with pytest.raises(RequestError, match="is of the family sd1, and the workflow is for flux1"):
        open_workflow(UNREACHABLE_URL, "flux1-schnell").prepare(
            REQUEST.with_values({"model": str(path)})
        )


def test_a_model_of_an_unknown_family_is_left_to_the_server() -> None:
    ticket = open_workflow(UNREACHABLE_URL, "flux1-schnell").prepare(
        REQUEST.with_values({"model": "xl-flux"})
    )
    assert ticket.receipt["model"].outcome == "applied"


def test_a_seed_of_minus_one_overrides_the_default_of_a_workflow() -> None:
    seed = {"seed": {"type": "int", "default": 7}}
    manifest = MANIFEST | {"parameters": MANIFEST["parameters"] | seed}
    write_workflow("fixed", SAMPLED, manifest)
    backend = open_workflow(UNREACHABLE_URL, "fixed")
    (usual,) = prepare(backend, Request(prompt="a fox"), Settings())
    (drawn,) = prepare(backend, Request(prompt="a fox", seed=-1), Settings())
    assert usual.request.seed == 7
    assert drawn.request.seed not in (None, -1, 7)
