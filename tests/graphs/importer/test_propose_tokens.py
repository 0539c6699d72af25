"""Tokens are proposed by what feeds the samplers; the old values are the defaults."""

from __future__ import annotations

from support.editor_files import PORTRAIT
from support.proposed_workflows import SAVE, encode, proposed, sampler, tokens

from imagen.graphs import Workflow
from imagen.graphs.importer.convert import ConvertedGraph
from imagen.graphs.importer.parameters import propose_parameters

PLAIN = {
    "prompt": ["6.text"],
    "negative": ["7.text"],
    "width": ["5.width"],
    "height": ["5.height"],
    "count": ["5.batch_size"],
    "seed": ["3.seed"],
    "steps": ["3.steps"],
    "cfg": ["3.cfg"],
    "sampler": ["3.sampler_name"],
    "scheduler": ["3.scheduler"],
    "checkpoint": ["4.ckpt_name"],
}


def test_plain_graph_gets_the_usual_tokens() -> None:
    assert tokens(PORTRAIT) == PLAIN


def test_same_tokens_are_found_without_a_catalog() -> None:
    proposal = propose_parameters(ConvertedGraph(graph=PORTRAIT), catalog={}, title="It")
    assert {token.name: [f"{token.node}.{token.input}"] for token in proposal.tokens} == PLAIN
    assert proposal.manifest.output == ("9",)


def test_defaults_reproduce_the_original_graph() -> None:
    proposal = proposed(PORTRAIT)
    workflow = Workflow("it", proposal.graph, proposal.manifest, "it")
    assert proposal.graph["3"]["inputs"]["steps"] == "$<steps>"
    assert workflow.bind_defaults() == PORTRAIT


def test_manifest_has_types_ranges_and_outputs() -> None:
    manifest = proposed(PORTRAIT, description="Mine.").manifest
    assert (manifest.title, manifest.description) == ("It", "Mine.")
    assert (manifest.task, manifest.output) == ("text-to-image", ("9",))
    assert manifest.parameters["width"].model_dump(exclude_none=True) == {
        "type": "int",
        "default": 512,
        "min": 16,
        "max": 16384,
        "multiple_of": 8,
        "description": "Pixels.",
    }
    assert manifest.parameters["seed"].model_dump(exclude_none=True) == {
        "type": "int",
        "default": 7,
        "min": 0,
        "description": "The seed of the noise.",
    }
    assert list(manifest.parameters)[:4] == ["prompt", "negative", "width", "height"]


def test_default_outside_the_usual_range_removes_the_range() -> None:
    graph = PORTRAIT | {"3": sampler(steps=20000)}
    assert proposed(graph).manifest.parameters["steps"].max is None


def test_prompts_are_distinguished_by_links() -> None:
    graph = PORTRAIT | {"3": sampler(positive=["7", 0], negative=["6", 0])}
    assert tokens(graph)["prompt"] == ["7.text"]
    assert tokens(graph)["negative"] == ["6.text"]


def test_prompts_are_found_through_controlnets() -> None:
    control = {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {
            "positive": ["6", 0],
            "negative": ["7", 0],
            "control_net": ["21", 0],
            "image": ["22", 0],
            "strength": 1.0,
        },
    }
    load = {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "c.safetensors"}}
    image = {"class_type": "LoadImage", "inputs": {"image": "pose.png"}}
    more = {"20": control, "21": load, "22": image}
    graph = PORTRAIT | {"3": sampler(positive=["20", 0], negative=["20", 1])} | more
    assert tokens(graph) == PLAIN | {
        "control_image": ["22.image"],
        "controlnet": ["21.control_net_name"],
    }
    assert proposed(graph).manifest.task == "text-to-image"


def test_emptied_negative_is_explained_in_the_manifest() -> None:
    empty = {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["6", 0]}}
    graph = PORTRAIT | {"7": empty}
    assert "negative" not in tokens(graph)
    assert proposed(graph).manifest.without == {
        "negative": "this workflow empties the negative side (ConditioningZeroOut)"
    }


def test_emptied_text_is_not_a_negative_prompt() -> None:
    empty = {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["21", 0]}}
    assert tokens(PORTRAIT | {"7": empty, "21": encode("a wolf")})["prompt"] == ["6.text"]
    assert "negative" not in tokens(PORTRAIT | {"7": empty, "21": encode("a wolf")})


def test_prompt_is_followed_to_its_text() -> None:
    text = {"class_type": "PrimitiveString", "inputs": {"value": "a fox"}}
    linked = {"class_type": "CLIPTextEncode", "inputs": {"text": ["30", 0], "clip": ["4", 1]}}
    assert tokens(PORTRAIT | {"6": linked, "30": text})["prompt"] == ["30.value"]


def test_two_encoders_share_an_equal_text() -> None:
    both = {
        "class_type": "CLIPTextEncodeSDXL",
        "inputs": {"text_g": "a fox", "text_l": "a fox", "clip": ["4", 1], "width": 1024},
    }
    assert tokens(PORTRAIT | {"6": both})["prompt"] == ["6.text_l", "6.text_g"]


def test_different_text_of_the_second_encoder_is_prompt_2() -> None:
    both = {
        "class_type": "CLIPTextEncodeSDXL",
        "inputs": {"text_g": "red", "text_l": "a fox", "clip": ["4", 1]},
    }
    found = tokens(PORTRAIT | {"6": both})
    assert (found["prompt"], found["prompt_2"]) == (["6.text_l"], ["6.text_g"])


SECOND = {
    "20": sampler(latent_image=["3", 0], steps=8, seed=7, denoise=0.4),
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["20", 0], "vae": ["4", 2]}},
}


def test_second_sampler_shares_equal_values_and_numbers_others() -> None:
    found = tokens(PORTRAIT | SECOND)
    assert found["seed"] == ["3.seed", "20.seed"]
    assert found["cfg"] == ["3.cfg", "20.cfg"]
    assert (found["steps"], found["steps_2"]) == (["3.steps"], ["20.steps"])
    assert "strength" not in found


def test_numbered_parameter_names_its_node() -> None:
    parameters = proposed(PORTRAIT | SECOND).manifest.parameters
    assert parameters["steps_2"].description == "Sampling steps; of node 20, KSampler."


def test_prompt_of_a_second_sampler_has_its_own_name() -> None:
    more = {"20": sampler(latent_image=["3", 0], positive=["21", 0]), "21": encode("a wolf")}
    found = tokens(PORTRAIT | SECOND | more)
    assert (found["prompt"], found["prompt_part_2"]) == (["6.text"], ["21.text"])


def test_sampler_without_added_noise_has_no_seed() -> None:
    quiet = sampler(latent_image=["3", 0], seed=0, add_noise="disable")
    found = tokens(PORTRAIT | SECOND | {"20": quiet})
    assert found["seed"] == ["3.seed"]
    assert "seed_2" not in found


PICTURE = {"class_type": "LoadImage", "inputs": {"image": "cat.png"}}
ENCODED = {"class_type": "VAEEncode", "inputs": {"pixels": ["21", 0], "vae": ["4", 2]}}


def test_initial_image_comes_with_strength() -> None:
    graph = PORTRAIT | {"5": ENCODED, "21": PICTURE, "3": sampler(denoise=0.6)}
    found = tokens(graph)
    assert (found["image"], found["strength"]) == (["21.image"], ["3.denoise"])
    assert {"width", "count"} & set(found) == set()
    manifest = proposed(graph).manifest
    assert manifest.task == "image-to-image"
    assert manifest.parameters["image"].type == "image"
    assert manifest.parameters["image"].default == "cat.png"


def test_second_sampler_has_no_initial_image() -> None:
    graph = PORTRAIT | SECOND | {"5": ENCODED, "21": PICTURE, "3": sampler(denoise=0.6)}
    assert tokens(graph)["strength"] == ["3.denoise"]
    assert "strength_2" not in tokens(graph)


def test_mask_makes_the_task_inpaint() -> None:
    masked = {
        "class_type": "SetLatentNoiseMask",
        "inputs": {"samples": ["22", 0], "mask": ["23", 0]},
    }
    mask = {"class_type": "LoadImageMask", "inputs": {"image": "mask.png", "channel": "alpha"}}
    graph = PORTRAIT | {"5": masked, "21": PICTURE, "22": ENCODED, "23": mask}
    proposal = proposed(graph)
    assert tokens(graph)["mask"] == ["23.image"]
    assert tokens(graph)["image"] == ["21.image"]
    assert proposal.manifest.task == "inpaint"
    assert proposal.notes == (
        "Node 23, channel: imagen's masks have no transparency; use red to accept --mask.",
    )


def test_alpha_mask_is_explained_in_the_manifest() -> None:
    masked = {
        "class_type": "SetLatentNoiseMask",
        "inputs": {"samples": ["22", 0], "mask": ["21", 1]},
    }
    graph = PORTRAIT | {"5": masked, "21": PICTURE, "22": ENCODED}
    assert proposed(graph).manifest.without["mask"] == (
        "this workflow uses the initial image's own transparency as mask"
    )


def test_upscaling_without_a_prompt_is_the_task_upscale() -> None:
    graph = {
        "1": PICTURE,
        "2": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "4x.pth"}},
        "3": {
            "class_type": "ImageUpscaleWithModel",
            "inputs": {"image": ["1", 0], "upscale_model": ["2", 0]},
        },
        "8": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    assert tokens(graph) == {"image": ["1.image"], "upscale_model": ["2.model_name"]}
    manifest = proposed(graph).manifest
    assert (manifest.task, manifest.output) == ("upscale", ("8",))


def test_parts_of_a_custom_sampler_are_analyzed() -> None:
    graph = {
        "1": encode("a fox") | {"inputs": {"text": "a fox"}},
        "2": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["1", 0], "guidance": 3.5}},
        "3": {"class_type": "BasicGuider", "inputs": {"conditioning": ["2", 0]}},
        "4": {"class_type": "RandomNoise", "inputs": {"noise_seed": 5}},
        "5": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "6": {
            "class_type": "BasicScheduler",
            "inputs": {"scheduler": "normal", "steps": 4, "denoise": 1.0},
        },
        "7": PORTRAIT["5"],
        "10": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                "noise": ["4", 0],
                "guider": ["3", 0],
                "sampler": ["5", 0],
                "sigmas": ["6", 0],
                "latent_image": ["7", 0],
            },
        },
        "11": {"class_type": "ModelSamplingFlux", "inputs": {"width": 512, "height": 768}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["10", 0]}},
        "9": SAVE,
    }
    assert tokens(graph) == {
        "prompt": ["1.text"],
        "width": ["7.width", "11.width"],
        "height": ["7.height", "11.height"],
        "count": ["7.batch_size"],
        "seed": ["4.noise_seed"],
        "steps": ["6.steps"],
        "guidance": ["2.guidance"],
        "sampler": ["5.sampler_name"],
        "scheduler": ["6.scheduler"],
    }


def test_prompts_without_a_sampler_are_found_by_names_and_titles() -> None:
    graph = {
        "1": encode("a fox") | {"inputs": {"text": "a fox"}},
        "2": encode("blurry", "Negative")
        | {"inputs": {"text": "blurry"}, "_meta": {"title": "Negative"}},
        "3": {"class_type": "CloudPainter", "inputs": {"a": ["1", 0], "b": ["2", 0], "seed": 3}},
        "8": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    assert tokens(graph) == {"prompt": ["1.text"], "negative": ["2.text"], "seed": ["3.seed"]}


def test_previews_are_not_outputs_beside_saved_images() -> None:
    preview = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    assert proposed(PORTRAIT | {"1": preview}).manifest.output == ("9",)


def test_existing_tokens_stay() -> None:
    graph = PORTRAIT | {"3": sampler(steps="$<steps>", cfg="${my_cfg}")}
    proposal = proposed(graph)
    assert proposal.graph["3"]["inputs"]["cfg"] == "${my_cfg}"
    assert {"steps", "my_cfg", "seed"} <= set(proposal.manifest.parameters)
    assert "steps" not in {token.name for token in proposal.tokens}


def test_editor_only_text_features_are_reported() -> None:
    save = PORTRAIT["9"] | {"inputs": {"filename_prefix": "%date%/x", "images": ["8", 0]}}
    assert proposed(PORTRAIT | {"6": encode("a {red|blue} fox"), "9": save}).notes == (
        "Node 6, text: the editor replaces {a|b} by one of both; imagen does not.",
        "Node 9, filename_prefix: the editor fills in the words between %; a server may not.",
    )


def test_graph_without_parameters_is_reported() -> None:
    graph = {
        "1": {"class_type": "Still", "inputs": {}},
        "9": SAVE,
        "8": {"class_type": "A", "inputs": {}},
    }
    assert proposed(graph).notes == ("Nothing in it looks like a parameter: every value is fixed.",)


def test_empty_text_is_not_the_prompt() -> None:
    both = {
        "class_type": "CLIPTextEncodeFlux",
        "inputs": {"clip_l": "", "t5xxl": "a fox", "guidance": 3.5, "clip": ["4", 1]},
    }
    found = tokens(PORTRAIT | {"6": both})
    assert (found["prompt"], found["guidance"]) == (["6.t5xxl"], ["6.guidance"])
    assert "prompt_2" not in found


def test_left_out_nodes_are_reported() -> None:
    proposal = propose_parameters(
        ConvertedGraph(graph=PORTRAIT, left_out=2), catalog={}, title="It"
    )
    assert proposal.notes == ("2 nodes are left out, since no output depends on them.",)
