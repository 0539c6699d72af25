"""Graphs of custom nodes are analyzed: texts by side, values by links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.proposed_workflows import encode, sampler

from imagen.graphs.importer.convert import ConvertedGraph
from imagen.graphs.importer.extract_settings import extract_settings
from imagen.graphs.importer.parameters import ProposedWorkflow, propose_parameters

if TYPE_CHECKING:
    from imagen.graphs.graph import Node

PROMPT, NEGATIVE = "a tin robot watering tulips", "blurry, cropped"
SETTINGS = {"seed": 41, "steps": 24, "cfg": 5.5, "sampler_name": "dpmpp_2m", "scheduler": "karras"}
PLAIN: dict[str, Any] = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "garden.safetensors"}},
    "5": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 832, "height": 1216, "batch_size": 1},
    },
    "6": encode(PROMPT),
    "7": encode(NEGATIVE),
    "3": sampler(**SETTINGS),
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}},
}
VALUES = {
    "prompt": PROMPT,
    "negative": NEGATIVE,
    "width": 832,
    "height": 1216,
    "seed": 41,
    "steps": 24,
    "cfg": 5.5,
    "sampler": "dpmpp_2m",
    "scheduler": "karras",
    "count": 1,
}


def node(kind: str, **inputs: Any) -> Node:
    """One node."""
    return {"class_type": kind, "inputs": inputs}


def proposal_for(graph: dict[str, Any]) -> ProposedWorkflow:
    """What `workflows add` makes of it without a catalog."""
    return propose_parameters(ConvertedGraph(graph=graph), catalog={}, title="It")


def places(graph: dict[str, Any]) -> dict[str, list[str]]:
    """By token, where it is put."""
    found: dict[str, list[str]] = {}
    for token in proposal_for(graph).tokens:
        found.setdefault(token.name, []).append(f"{token.node}.{token.input}")
    return found


TWO_CLIP = node("Two Clip Text Encode", prompt=PROMPT, negative_prompt=NEGATIVE, clip=["4", 1])
LOADERS = {
    "20": node("LoadLorasFromPrompt", prompt=NEGATIVE, model=["4", 0], clip=["4", 1]),
    "21": node("LoadLorasFromPrompt", prompt=PROMPT, model=["20", 0], clip=["4", 1]),
    "6": node("CLIPTextEncode", text=["21", 2], clip=["21", 1]),
    "7": node("CLIPTextEncode", text=["20", 2], clip=["20", 1]),
}
CONTEXTS = {
    "20": node("Context (rgthree)", model=["4", 0], clip=["4", 1], latent=["5", 0], seed=["23", 0]),
    "21": node("Context (rgthree)", base_ctx=["20", 0], positive=["6", 0], negative=["7", 0]),
    "22": node("Context (rgthree)", base_ctx=["21", 0]),
    "23": node("Seed (rgthree)", seed=41),
    "3": sampler(
        **SETTINGS | {"seed": ["22", 8]},
        model=["22", 1],
        positive=["22", 4],
        negative=["22", 5],
        latent_image=["22", 6],
    ),
}
SETTINGS_NODE = {
    "20": node(
        "Input Parameters (Image Saver)",
        seed=41,
        steps=24,
        cfg=5.5,
        sampler="dpmpp_2m",
        scheduler="karras",
    ),
    "21": node("Sampler Selector", sampler_name="dpmpp_2m"),
    "3": sampler(
        seed=["20", 0],
        steps=["20", 1],
        cfg=["20", 2],
        sampler_name=["21", 0],
        scheduler=["20", 4],
    ),
}
HOLDERS = {
    "20": node("easy int", value=24),
    "21": node("PreviewAny", source=["20", 0]),
    "22": node("ComfySwitchNode", switch=True, on_true=["23", 0], on_false=["24", 0]),
    "23": node("PrimitiveFloat", value=5.5),
    "24": node("PrimitiveFloat", value=1.0),
    "3": sampler(**SETTINGS | {"steps": ["21", 0], "cfg": ["22", 0]}),
}
SHOWN = {
    "20": node("PrimitiveStringMultiline", value=PROMPT),
    "21": node("easy showAnything", text="1.0", anything=["20", 0]),
    "22": node("ShowText|pysssss", text=["21", 0], text_0="something shown before"),
    "6": node("CLIPTextEncode", text=["22", 0], clip=["4", 1]),
    "23": node("easy showAnything", text="1.0", anything=["3", 0]),
}
JOINED = {
    "20": node("Text Multiline", text="a tin robot"),
    "21": node("Text Concatenate", delimiter=" ", text_a=["20", 0], text_b="watering tulips"),
    "6": node("CLIPTextEncode", text=["21", 0], clip=["4", 1]),
}
STYLER = {
    "20": node("SDXLPromptStyler", text_negative=NEGATIVE, text_positive=PROMPT, style="none"),
    "6": node("CLIPTextEncode", text=["20", 0], clip=["4", 1]),
    "7": node("CLIPTextEncode", text=["20", 1], clip=["4", 1]),
}
PUT_TOGETHER = {
    "20": node("Text Concatenate", linebreak_addition="false", text_a="a tin", text_b=["21", 0]),
    "21": node("Textbox", text="shown before", passthrough=["22", 0]),
    "22": node("PrimitiveString", value=" robot watering tulips"),
    "6": node("CLIPTextEncode", text=["20", 0], clip=["4", 1]),
}
BOTH_LATENTS = {
    "20": node("LTXVConcatAVLatent", video_latent=["5", 0], audio_latent=["21", 0]),
    "21": node("LTXVEmptyLatentAudio", batch_size=1),
    "3": sampler(**SETTINGS, latent_image=["20", 0]),
}
GUIDER = {
    "20": node("DualCFGGuider", cond1=["6", 0], cond2=["7", 0], negative=["7", 0], cfg_conds=5.5),
    "3": node(
        "SamplerCustomAdvanced",
        noise=["21", 0],
        guider=["20", 0],
        sampler=["22", 0],
        sigmas=["23", 0],
        latent_image=["5", 0],
    ),
    "21": node("RandomNoise", noise_seed=41),
    "22": node("KSamplerSelect", sampler_name="dpmpp_2m"),
    "23": node("BasicScheduler", scheduler="karras", steps=24, denoise=1.0),
}
TITLES = {"6": encode(PROMPT, "Negative"), "7": encode(NEGATIVE, "Positive")}
EFFICIENT = {
    "20": node(
        "Efficient Loader",
        ckpt_name="garden.safetensors",
        clip_skip=-1,
        lora_name="None",
        positive=PROMPT,
        negative=NEGATIVE,
        empty_latent_width=832,
        empty_latent_height=1216,
        batch_size=1,
    ),
    "3": node(
        "KSampler (Efficient)",
        **SETTINGS,
        model=["20", 0],
        positive=["20", 1],
        negative=["20", 2],
        latent_image=["20", 3],
    ),
}
PIPES = {
    "20": node(
        "ttN pipeLoader",
        ckpt_name="garden.safetensors",
        seed=0,
        positive=["23", 0],
        negative=NEGATIVE,
        empty_latent_width=832,
        empty_latent_height=1216,
        batch_size=1,
    ),
    "23": node("ttN text", text=PROMPT),
    "3": node("ttN pipeKSampler", pipe=["20", 0], **SETTINGS, image_output="Hide"),
}


EASY = {
    "20": node(
        "easy fullLoader",
        ckpt_name="garden.safetensors",
        resolution="width x height (custom)",
        empty_latent_width=832,
        empty_latent_height=1216,
        positive=PROMPT,
        positive_weight_interpretation="comfy",
        negative=NEGATIVE,
        negative_weight_interpretation="comfy",
        batch_size=1,
    ),
    "21": node("easy preSampling", pipe=["20", 0], **SETTINGS, denoise=1.0),
    "3": node("easy kSampler", pipe=["21", 0], image_output="Hide", save_prefix="x"),
    "8": node("easy pipeOut", pipe=["3", 0]),
    "9": node("SaveImage", filename_prefix="x", images=["8", 6]),
}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(EASY, id="a pipe of settings"),
        pytest.param(LOADERS, id="texts through nodes that load LoRAs from them"),
        pytest.param(
            {"6": TWO_CLIP, "3": sampler(**SETTINGS, positive=["6", 0], negative=["6", 1])},
            id="one encoder for both sides",
        ),
        pytest.param(CONTEXTS, id="contexts"),
        pytest.param(SETTINGS_NODE, id="a node of settings"),
        pytest.param(HOLDERS, id="nodes that hold or pass on one value"),
        pytest.param(SHOWN, id="nodes that show what passes"),
        pytest.param(JOINED, id="a text of two parts"),
        pytest.param(PUT_TOGETHER, id="parts without a delimiter, and a text box"),
        pytest.param(BOTH_LATENTS, id="two latents in one"),
        pytest.param(STYLER, id="a text node for both sides"),
        pytest.param(GUIDER, id="a dual guider"),
        pytest.param(TITLES, id="titles that say the opposite"),
        pytest.param(EFFICIENT, id="a loader that holds both texts"),
        pytest.param(PIPES, id="a pipe"),
    ],
)
def test_custom_nodes_have_the_same_settings_as_the_plain_graph(changes: dict[str, Any]) -> None:
    found = extract_settings(PLAIN | changes)
    assert found.values == VALUES
    assert (found.models, found.loras) == (("garden.safetensors",), ())


def test_crossed_outputs_swap_the_prompts() -> None:
    crossed = {"6": TWO_CLIP, "3": sampler(**SETTINGS, positive=["6", 1], negative=["6", 0])}
    assert extract_settings(PLAIN | crossed).values["prompt"] == NEGATIVE
    assert extract_settings(PLAIN | crossed).values["negative"] == PROMPT


def test_each_output_of_a_text_node_has_its_own_text() -> None:
    texts = node("Text String", text=NEGATIVE, text_b=PROMPT, text_c="", text_d="")
    linked = {
        "20": texts,
        "6": node("CLIPTextEncode", text=["20", 1], clip=["4", 1]),
        "7": node("CLIPTextEncode", text=["20", 0], clip=["4", 1]),
    }
    assert extract_settings(PLAIN | linked).values == VALUES


def test_text_from_a_language_model_is_not_invented() -> None:
    written = {
        "6": node("CLIPTextEncode", text=["20", 0], clip=["4", 1]),
        "20": node("ShowText|pysssss", text=["21", 0], text_0="what an earlier run wrote"),
        "21": node("Captioner", image=["22", 0], system_prompt="You describe images."),
        "22": node("LoadImage", image="cat.png"),
    }
    values = extract_settings(PLAIN | written).values
    assert "prompt" not in values
    assert values["negative"] == NEGATIVE
    assert "prompt" not in places(PLAIN | written)


def test_node_with_both_prompts_has_two_tokens() -> None:
    graph = {"20": EFFICIENT["20"], "3": EFFICIENT["3"], "8": PLAIN["8"], "9": PLAIN["9"]}
    found = places(graph)
    assert (found["prompt"], found["negative"]) == (["20.positive"], ["20.negative"])
    assert found["width"] == ["20.empty_latent_width"]
    assert found["height"] == ["20.empty_latent_height"]
    assert found["count"] == ["20.batch_size"]
    assert "prompt_2" not in found


def test_tokens_are_placed_where_links_lead() -> None:
    found = places(PLAIN | SETTINGS_NODE)
    assert found["steps"] == ["20.steps"]
    assert found["sampler"] == ["21.sampler_name"]
    parts = places(PLAIN | JOINED)
    assert (parts["prompt"], parts["prompt_part_2"]) == (["20.text"], ["21.text_b"])


def test_empty_prompt_has_a_token() -> None:
    empty = {
        "20": node("PrimitiveStringMultiline", value=""),
        "6": node("CLIPTextEncode", text=["20", 0], clip=["4", 1]),
    }
    assert places(PLAIN | empty)["prompt"] == ["20.value"]
    painter = {"1": node("CloudPainter", prompt=""), "2": node("SaveImage", images=["1", 0])}
    assert places(painter)["prompt"] == ["1.prompt"]


def test_placeholder_for_a_number_has_a_token_and_is_not_a_setting() -> None:
    graph = PLAIN | {"3": sampler(**SETTINGS | {"seed": "PARAM_SEED"})}
    assert places(graph)["seed"] == ["3.seed"]
    assert "seed" not in extract_settings(graph).values


SAMPLERS = [
    pytest.param(
        node(
            "XlabsSampler",
            model=["4", 0],
            conditioning=["6", 0],
            neg_conditioning=["7", 0],
            latent_image=["5", 0],
            noise_seed=41,
            steps=24,
            true_gs=5.5,
        ),
        {"seed": "3.noise_seed", "steps": "3.steps", "cfg": "3.true_gs", "width": "5.width"},
        id="xlabs",
    ),
    pytest.param(
        node(
            "WanVideoSampler",
            model=["4", 0],
            text_embeds=["20", 0],
            image_embeds=["5", 0],
            seed=41,
            steps=24,
            cfg=5.5,
            scheduler="unipc",
        ),
        {"seed": "3.seed", "steps": "3.steps", "cfg": "3.cfg", "width": "5.width"},
        id="wan video",
    ),
    pytest.param(
        node(
            "HyVideoSampler",
            model=["4", 0],
            hyvid_embeds=["21", 0],
            width=832,
            height=1216,
            seed=41,
            steps=24,
            embedded_guidance_scale=5.5,
        ),
        {
            "seed": "3.seed",
            "steps": "3.steps",
            "guidance": "3.embedded_guidance_scale",
            "width": "3.width",
        },
        id="hunyuan video",
    ),
]


@pytest.mark.parametrize(("kind", "expected"), SAMPLERS)
def test_samplers_with_other_input_names_have_tokens(
    kind: dict[str, Any], expected: dict[str, str]
) -> None:
    graph = PLAIN | {
        "3": kind,
        "20": node("WanVideoTextEncode", positive_prompt=PROMPT, negative_prompt=NEGATIVE),
        "21": node("HyVideoTextEncode", prompt=PROMPT, force_offload=True),
    }
    found = places(graph)
    assert {name: found[name][0] for name in expected} == expected
    values = extract_settings(graph).values
    assert values["prompt"] == PROMPT
    assert values.get("negative") == (None if "hyvid_embeds" in kind["inputs"] else NEGATIVE)


def test_settings_pipe_is_read_without_a_sampler() -> None:
    graph = {
        "1": node("SeargeTextInputV2", prompt=PROMPT),
        "2": node("SeargeTextInputV2", prompt=NEGATIVE),
        "3": node("SeargePromptAdapterV2", main_prompt=["1", 0], negative_main_prompt=["2", 0]),
        "4": node(
            "SeargeGenerationParameters",
            **SETTINGS,
            image_size_preset="1344x768 (16:9)",
            image_width=1024,
            image_height=1024,
            data=["3", 0],
        ),
        "5": node("SeargeUpscaleModels", high_res_upscaler="4x.pth", data=["4", 0]),
        "6": node("SeargeModelSelector", base_checkpoint="garden.safetensors", data=["5", 0]),
        "7": node("SeargeLoras", lora_1="ink.safetensors", lora_1_strength=0.2, data=["6", 0]),
        "8": node("SeargeMagicBox", stage="sampling", data=["7", 0]),
        "9": node("SeargePreviewImage", enabled=True, images=["8", 1]),
    }
    found = extract_settings(graph)
    sized = {"width": 1344, "height": 768}
    assert found.values == {n: v for n, v in VALUES.items() if n != "count"} | sized
    assert found.models[0] == "garden.safetensors"
    assert found.loras == (("ink.safetensors", 0.2),)
    assert "width" not in places(graph)


POWER = node(
    "Power Lora Loader (rgthree)",
    PowerLoraLoaderHeaderWidget={"type": "PowerLoraLoaderHeaderWidget"},
    lora_1={"on": True, "lora": "ink.safetensors", "strength": 0.7},
    lora_2={"on": False, "lora": "off.safetensors", "strength": 1},
    model=["4", 0],
)


@pytest.mark.parametrize(
    "stack",
    [
        pytest.param(POWER, id="power lora loader"),
        pytest.param(
            node(
                "CR LoRA Stack",
                switch_1="On",
                lora_name_1="ink.safetensors",
                model_weight_1=0.7,
                clip_weight_1=1.0,
                switch_2="Off",
                lora_name_2="off.safetensors",
                model_weight_2=1.0,
            ),
            id="a stack with switches",
        ),
        pytest.param(
            node(
                "LoRA Stacker",
                input_mode="simple",
                lora_count=1,
                lora_name_1="ink.safetensors",
                lora_wt_1=0.7,
                model_str_1=1.0,
                lora_name_2="off.safetensors",
                lora_wt_2=1.0,
            ),
            id="a stack with a count",
        ),
        pytest.param(
            node(
                "easy loraStack",
                toggle=True,
                num_loras=1,
                lora_1_name="ink.safetensors",
                lora_1_strength=0.7,
                lora_2_name="off.safetensors",
            ),
            id="a stack with numbers in the middle",
        ),
        pytest.param(
            node("WanVideoLoraSelect", lora="ink.safetensors", strength=0.7), id="one by itself"
        ),
        pytest.param(
            node("LoraLoader", lora_name="ink.safetensors", strength_model=0.7, strength_clip=1.0),
            id="the plain loader",
        ),
        pytest.param(
            node("LoadLorasFromPrompt", prompt="<lora:ink.safetensors:0.7>", model=["4", 0]),
            id="a tag in a text",
        ),
        pytest.param(
            node(
                "Lora Loader (LoraManager)",
                text="",
                loras={
                    "__value__": [
                        {"name": "ink.safetensors", "strength": 0.7, "active": True},
                        {"name": "off", "strength": 1, "active": False},
                    ]
                },
            ),
            id="a list of them",
        ),
    ],
)
def test_loras_are_read_from_each_kind_of_loader(stack: dict[str, Any]) -> None:
    unused = node("LoraLoader", lora_name="elsewhere.safetensors", model=["4", 0])
    graph = PLAIN | {"3": sampler(**SETTINGS, model=["20", 0]), "20": stack, "21": unused}
    assert extract_settings(graph).loras == (("ink.safetensors", 0.7),)


@pytest.mark.parametrize("name", ["None", "none", "[none]", "(None)", ""])
def test_lora_named_none_is_ignored(name: str) -> None:
    none = node("LoraLoader", lora_name=name, strength_model=1.0, model=["4", 0])
    assert (
        extract_settings(PLAIN | {"20": none, "3": sampler(**SETTINGS, model=["20", 0])}).loras
        == ()
    )


def test_lora_tags_are_removed_from_the_prompt() -> None:
    tagged = f"{PROMPT} <lora:ink:0.7>"
    loader = node("LoadLorasFromPrompt", prompt=tagged, model=["4", 0], clip=["4", 1])
    linked = {"20": loader, "6": node("CLIPTextEncode", text=["20", 2], clip=["20", 1])}
    found = extract_settings(PLAIN | linked)
    assert (found.values, found.loras) == (VALUES, (("ink", 0.7),))
    plain = extract_settings(PLAIN | {"6": encode(tagged)})
    assert (plain.values["prompt"], plain.loras) == (tagged, ())


def test_lora_from_a_url_is_named_by_the_url() -> None:
    url = "https://example.org/ink.safetensors"
    loader = node("LoraLoaderFromURL", url=url, strength_model=0.7, model=["4", 0])
    graph = PLAIN | {"20": loader, "3": sampler(**SETTINGS, model=["20", 0])}
    assert extract_settings(graph).loras == ((url, 0.7),)


def test_only_the_branch_of_the_main_sampler_counts() -> None:
    other = {
        "30": node("LoraLoader", lora_name="other.safetensors", model=["4", 0], clip=["4", 1]),
        "33": sampler(**SETTINGS | {"seed": 1}, model=["30", 0]),
        "38": node("VAEDecode", samples=["33", 0], vae=["4", 2]),
        "39": node("SaveImage", filename_prefix="y", images=["38", 0]),
    }
    found = extract_settings(PLAIN | other)
    assert (found.values["seed"], found.loras) == (41, ())


SECOND = {
    "30": node("LatentUpscaleBy", samples=["3", 0], scale_by=1.5),
    "31": sampler(**SETTINGS, latent_image=["30", 0], denoise=0.35),
    "8": node("VAEDecode", samples=["31", 0], vae=["4", 2]),
}
BY_SIZE = SECOND | {"30": node("LatentUpscale", samples=["3", 0], width=1248, height=1824)}
TILED = {
    "30": node(
        "UltimateSDUpscale",
        **SETTINGS,
        image=["8", 0],
        model=["4", 0],
        positive=["6", 0],
        negative=["7", 0],
        upscale_by=2.0,
        denoise=0.2,
    ),
    "9": node("SaveImage", filename_prefix="x", images=["30", 0]),
}
REFINED = {
    "31": sampler(**SETTINGS, latent_image=["3", 0], denoise=0.35),
    "8": node("VAEDecode", samples=["31", 0], vae=["4", 2]),
}
SKIPPED = {
    "30": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["4", 1]),
    "6": node("CLIPTextEncode", text=PROMPT, clip=["30", 0]),
}


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        pytest.param(SECOND, {"hires": 1.5, "hires_denoise": 0.35}, id="by a factor"),
        pytest.param(BY_SIZE, {"hires": 1.5, "hires_denoise": 0.35}, id="to a size"),
        pytest.param(TILED, {"hires": 2.0, "hires_denoise": 0.2}, id="in tiles"),
        pytest.param(REFINED, {}, id="a second pass of the same size"),
        pytest.param(SKIPPED, {"clip_skip": 2}, id="clip skip"),
        pytest.param(
            EFFICIENT | {"20": node("L", **EFFICIENT["20"]["inputs"] | {"clip_skip": -2})},
            {"clip_skip": 2},
            id="clip skip of a loader",
        ),
    ],
)
def test_settings_without_a_request_field_are_extracted(
    changes: dict[str, Any], more: dict[str, Any]
) -> None:
    assert extract_settings(PLAIN | changes).values == VALUES | more


def test_texts_of_further_encoders_are_extracted() -> None:
    both = {
        "20": encode("a second robot"),
        "21": node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["20", 0]),
        "3": sampler(**SETTINGS, positive=["21", 0]),
    }
    found = extract_settings(PLAIN | both)
    assert (found.values["prompt"], found.further) == (
        PROMPT,
        {"further prompt": ["a second robot"]},
    )


def test_internal_model_number_is_not_a_model() -> None:
    loader = node("ECHOCheckpointLoaderSimple", ckpt_name="EMS-1-EMS.safetensors")
    assert extract_settings(PLAIN | {"4": loader}).models == ()


@pytest.mark.parametrize(
    "save",
    [
        pytest.param(node("Image Saver", filename="x", images=["8", 0], positive=""), id="saver"),
        pytest.param(node("SwarmSaveImageWS", images=["8", 0]), id="swarm"),
        pytest.param(node("ETN_KritaOutput", images=["8", 0]), id="krita"),
        pytest.param(node("Image Save", images=["8", 0], filename_prefix="x"), id="was"),
        pytest.param(node("easy imageSave", images=["8", 0]), id="easy"),
        pytest.param(node("ETN_SendImageWebSocket", images=["8", 0]), id="websocket"),
    ],
)
def test_custom_save_nodes_are_outputs(save: dict[str, Any]) -> None:
    proposal = proposal_for(PLAIN | {"9": save})
    assert proposal.manifest.output == ("9",)
    assert {token.name for token in proposal.tokens} >= {"prompt", "negative", "seed", "width"}


def test_node_with_save_in_its_name_is_not_always_an_output() -> None:
    middle = node("Image Saver Metadata", images=["8", 0], steps=24)
    assert proposal_for(PLAIN | {"20": middle}).manifest.output == ("9",)


RINGS: list[dict[str, Any]] = [
    {"1": node("SamplerCustomAdvanced", guider=["1", 0], noise=["1", 0])},
    {
        "1": node("SamplerCustomAdvanced", guider=["2", 0], latent_image=["2", 0]),
        "2": node("Context", base_ctx=["1", 0], text=["2", 0], positive=["2", float("inf")]),
        "3": node("SaveImage", images=["2", 0]),
    },
    {
        "1": node("Any Switch (rgthree)", any_01=["2", 0]),
        "2": node("ImpactSwitch", select=["1", 0], input1=["1", 0]),
        "3": sampler(seed=["1", 0], positive=["2", -1], width=["2", 0]),
    },
]


@pytest.mark.parametrize("graph", RINGS)
def test_cyclic_graph_has_no_settings(graph: dict[str, Any]) -> None:
    assert "prompt" not in extract_settings(graph).values
    proposal_for(graph)


ODD: list[Any] = [
    float("nan"),
    float("inf"),
    10**400,
    -1,
    True,
    None,
    [],
    {},
    ["3", -1],
    ["20", 0.5],
]


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_value_that_no_server_accepts_is_ignored(value: Any) -> None:
    odd = {
        "20": node("Text Multiline", text=value),
        "6": node("CLIPTextEncode", text=["20", -1], clip=value),
        "3": sampler(**SETTINGS | {"seed": value, "cfg": value}, model=value),
    }
    values = extract_settings(PLAIN | odd).values
    assert (values["steps"], values["negative"]) == (24, NEGATIVE)
    assert {token.name for token in proposal_for(PLAIN | odd).tokens} >= {"steps", "negative"}


def test_doubling_texts_are_cut_off() -> None:
    doubled: dict[str, Any] = {"100": node("Text Multiline", text="robot")}
    for number in range(101, 160):
        before = [str(number - 1), 0]
        doubled[str(number)] = node("Text Concatenate", text_a=before, text_b=before)
    linked = {"6": node("CLIPTextEncode", text=["159", 0], clip=["4", 1])}
    assert len(str(extract_settings(PLAIN | doubled | linked).values.get("prompt", ""))) < 1000


def test_oversized_graph_has_no_settings() -> None:
    large = {f"x{number}": node("PreviewImage", images=["8", 0]) for number in range(3000)}
    assert extract_settings(PLAIN | large).values == {}


def test_oversized_chain_of_contexts_is_abandoned() -> None:
    chain = {
        f"c{number}": node("Context (rgthree)", base_ctx=[f"c{number + 1}", 0])
        for number in range(1000)
    }
    end = {"c1000": node("Context (rgthree)", positive=["6", 0], negative=["7", 0])}
    start = {"3": sampler(**SETTINGS, positive=["c0", 4], negative=["c0", 5])}
    assert "prompt" not in extract_settings(PLAIN | chain | end | start).values
