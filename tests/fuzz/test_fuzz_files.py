"""Any file gives a result or an error sentence, within 2 s and 300 MB, without escape codes."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.editor_files import CATALOGUE, editor, node, subgraph
from support.model_file_samples import SD1, VAE, gguf, gguf_text, safetensors
from support.mutated_inputs import limits, mutated_bytes, mutated_text, run_imagen
from support.other_tools_images import A1111, INVOKEAI, SDCPP, comfyui, graph, noise, png

from imagen.cli import run
from imagen.errors import ConfigError
from imagen.model_files.headers import read_model_header

_PROJECT = Path(__file__).parents[2]
_GRAPHS: list[Any] = [
    graph(),
    graph("flux1-schnell"),
    graph("sd15-img2img"),
    graph("upscale-model"),
]
_EDITORS: list[Any] = [
    editor(
        {
            "1": node("CheckpointLoaderSimple", "a.safetensors"),
            "2": node("CLIPTextEncode", "a fox // no cat {a|b}"),
            "3": node("CLIPTextEncode", "blur"),
            "4": node("EmptyLatentImage", 512, 512, 1),
            "5": node("KSampler", 7, "randomize", 20, 8, "euler", "normal", 1),
            "6": node("VAEDecode"),
            "7": node("SaveImage", "%date:yyyy%/%KSampler.seed%"),
        },
        [
            *(("1", 0, "5", "model", "MODEL"), ("1", 1, "2", "clip", "CLIP")),
            *(("1", 1, "3", "clip", "CLIP"), ("1", 2, "6", "vae", "VAE")),
            *(("2", 0, "5", "positive", "CONDITIONING"), ("3", 0, "5", "negative", "CONDITIONING")),
            *(("4", 0, "5", "latent_image", "LATENT"), ("5", 0, "6", "samples", "LATENT")),
            ("6", 0, "7", "images", "IMAGE"),
        ],
        extra={"ue_links": [], "groupNodes": {}},
    ),
    editor(
        {"1": node("LoadImage", "example.png"), "2": node("sub"), "3": node("SaveImage", "x")},
        [("1", 0, "2", "image", "IMAGE"), ("2", 0, "3", "images", "IMAGE")],
        definitions={
            "subgraphs": [
                subgraph(
                    "sub",
                    {"1": node("Blur", 3), "2": node("Reroute", inputs=[("", "*")])},
                    [
                        *(("-10", 0, "1", "image", "IMAGE"), ("1", 0, "2", "", "IMAGE")),
                        ("2", 0, "-20", "0", "IMAGE"),
                    ],
                    [("image", "IMAGE")],
                    [("image", "IMAGE")],
                )
            ]
        },
    ),
]
_TEXTS = [A1111.encode(), SDCPP.encode(), json.dumps(INVOKEAI).encode()]
_SCHEMA: Any = {
    "Input": {
        "required": ["prompt"],
        "properties": {
            "prompt": {"type": "string", "title": "Prompt", "x-order": 0},
            "seed": {"type": "integer", "minimum": 0, "maximum": 99, "x-order": 1},
            "size": {"allOf": [{"$ref": "#/components/schemas/size"}], "default": "1:1"},
            "width": {"type": "integer", "multipleOf": 8, "default": 512},
            "image": {"anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}]},
        },
    },
    "size": {"type": "string", "enum": ["1:1", "16:9"]},
}


def _mutated_yaml(texts: list[bytes]) -> st.SearchStrategy[bytes]:
    """Mutated as bytes, or as values: JSON is YAML."""
    return mutated_bytes(texts) | mutated_text([yaml.safe_load(text) for text in texts])


_MANIFESTS = _mutated_yaml(
    [path.read_bytes() for path in (_PROJECT / "workflows").glob("sd*.yaml")]
)
_CONFIGS = _mutated_yaml([(_PROJECT / "imagen.example.yaml").read_bytes()])


@cache
def _images() -> tuple[bytes, ...]:
    """Small images with the texts of several tools, as PNG, JPEG, WebP and AVIF."""
    png("a.png", parameters=A1111)
    png("b.png", invokeai_metadata=json.dumps(INVOKEAI))
    comfyui("c.png")
    exif = Image.Exif()
    exif[0x9286] = b"UNICODE\0" + A1111.encode("utf-16-be")
    exif[0x010F] = "workflow:" + json.dumps(_EDITORS[0])
    exif[0x0110] = "prompt:" + json.dumps(graph())
    for name in ("d.jpg", "e.webp"):
        noise().save(name, exif=exif)
    assert run(["generate", "a fox", "-o", "f.png", "--quiet", "--size", "32x32"]) == 0
    assert run(["convert", "f.png", "--to", "avif"]) == 0
    names = ("a.png", "b.png", "c.png", "d.jpg", "e.webp", "f.png", "f.avif")
    return tuple(Path(name).read_bytes() for name in names)


@cache
def _sidecar() -> Any:
    assert run(["generate", "a fox", "-o", "s.png", "--quiet", "--size", "32x32"]) == 0
    return json.loads(Path("s.png.json").read_bytes())


def _write(name: str, data: bytes) -> str:
    Path(name).write_bytes(data)
    return name


@given(data=st.data())
def test_commands_survive_mutated_images(data: st.DataObject) -> None:
    run_imagen("show", _write("odd.png", data.draw(mutated_bytes(_images()))))


@given(data=st.data())
def test_commands_survive_mutated_image_metadata(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["parameters", "Comment", "prompt", "workflow", "imagen"]))
    text = data.draw(mutated_bytes(_TEXTS) | mutated_text([*_GRAPHS, INVOKEAI, _sidecar()]))
    png("odd.png", **{kind: text.decode("utf-8", "replace").replace("\0", " ")})
    run_imagen("show", "odd.png")
    run_imagen("again", "odd.png", "--dry-run", "-b", "mock")


@given(data=st.data())
def test_commands_survive_mutated_sidecars(data: st.DataObject) -> None:
    name = _write("odd.json", data.draw(mutated_text([_sidecar()])))
    run_imagen("show", name)
    run_imagen("generate", "--from-json", name, "--dry-run", "-b", "mock")


@given(data=st.data())
def test_library_add_survives_mutated_files_beside_valid_ones(data: st.DataObject) -> None:
    folder = Path("added")
    folder.mkdir(exist_ok=True)
    png(folder / "z.png", parameters=A1111)
    Path("added/odd.png").write_bytes(data.draw(mutated_bytes(_images())))
    sidecar = data.draw(mutated_text([_sidecar()]))
    Path("added/other.png").write_bytes(_images()[0])
    Path("added/other.png.json").write_bytes(sidecar)
    run_imagen("library", "add", "added", "--json")
    code, listing = run_imagen("history", "--json")
    assert code == 0
    assert "z.png" in listing


@given(data=st.data())
def test_workflows_commands_survive_mutated_graphs(data: st.DataObject) -> None:
    name = _write("odd.json", data.draw(mutated_text(_GRAPHS)))
    run_imagen("workflows", "add", name, "--dry-run")
    run_imagen("workflows", "check", name)


@given(data=st.data())
def test_workflows_add_survives_mutated_editor_files(data: st.DataObject) -> None:
    Path("catalog.json").write_text(json.dumps(CATALOGUE), "utf-8")
    name = _write("odd.json", data.draw(mutated_text(_EDITORS)))
    run_imagen("workflows", "add", name, "--catalog", "catalog.json", "--dry-run")


@given(data=st.data())
def test_workflows_add_survives_mutated_node_catalogs(data: st.DataObject) -> None:
    name = _write("catalog.json", data.draw(mutated_text([CATALOGUE])))
    Path("editor.json").write_text(json.dumps(_EDITORS[0]), "utf-8")
    run_imagen("workflows", "add", "editor.json", "--catalog", name, "--dry-run")


@given(data=st.data())
def test_workflows_list_survives_mutated_manifests_beside_valid_ones(data: st.DataObject) -> None:
    folder = Path("workflows")
    folder.mkdir(exist_ok=True)
    Path("imagen.yaml").write_text("workflow_dirs: [workflows]\n", "utf-8")
    (folder / "odd.yaml").write_bytes(data.draw(_MANIFESTS))
    (folder / "odd.json").write_text(json.dumps(_GRAPHS[0]), "utf-8")
    code, listing = run_imagen("workflows", "list")
    assert code == 0
    assert "flux1-schnell" in listing
    run_imagen("workflows", "show", "odd")


@given(data=st.data())
def test_config_commands_survive_mutated_configurations(data: st.DataObject) -> None:
    name = _write("odd.yaml", data.draw(_CONFIGS))
    run_imagen("config", "validate", "--config", name)
    run_imagen("config", "show", "--config", name)


@given(data=st.data())
def test_replicate_survives_mutated_input_schemas(data: st.DataObject) -> None:
    _write("schema.json", data.draw(mutated_text([_SCHEMA])))
    block = {"type": "replicate", "model": "a/b", "input_schema": "schema.json"}
    Path("imagen.yaml").write_text(yaml.safe_dump({"backends": {"cloud": block}}), "utf-8")
    run_imagen("backends", "show", "cloud")


@given(data=st.data())
def test_model_headers_survive_mutated_weights_files(data: st.DataObject) -> None:
    note = gguf_text("general.architecture") + b"\x08\0\0\0" + gguf_text("flux")
    samples = [safetensors(SD1 | VAE, {"modelspec.title": "x"}), gguf(SD1, note, 1)]
    path = Path("odd.safetensors")
    path.write_bytes(data.draw(mutated_bytes(samples)))
    with limits(), suppress(ConfigError):
        read_model_header(path)


@given(data=st.data())
def test_compare_survives_mutated_records(data: st.DataObject) -> None:
    folder = Path("compared")
    if not folder.is_dir():
        command = ["compare", "a fox", "--models", "mock", "-o", "compared", "--size", "32x32"]
        assert run([*command, "--quiet"]) == 0
        shutil.copy(folder / "compare.json", "sound.json")
    sound = json.loads(Path("sound.json").read_bytes())
    (folder / "compare.json").write_bytes(data.draw(mutated_text([sound])))
    run_imagen("compare", "a fox", "--models", "mock", "-o", "compared", "--dry-run")


_WILDCARDS = [
    b"{2::a|b|{c|d}} __animal__ {1-3$$ and $$x|__a*__|z} \\{e|f\\} {-2$$g|h}",
    b'{"a": "b|c {d|e}", "f": [1, {"g": "{2$$__animal__}"}]}',
]
_WORDS = [b"# animals\nfox\n2::bear\n{snowy|barn} owl\n__birds/*__\n", b"__animal__\n"]
_LISTS = [b"animal: [fox, 2::bear]\nbirds:\n  owls: [barn owl, '__animal__']\n  n: 5\n"]
_PROMPT_ROWS: dict[str, list[bytes]] = {
    "odd.txt": [b"# foxes\na {red|blue} fox\n\nan owl\n"],
    "odd.csv": [
        b'prompt,size,lora,control,backend,output\n"a fox, red",64x64,i:0.8;b,canny:e.png,mock,a\n',
        b"animal;place;steps;#x\nfox;snow;8;1\n;;;\n",
    ],
    "odd.jsonl": [
        b'{"prompt": "a", "loras": [{"name": "ink"}], "size": "9"}\n{"animal": "b", "seed": 5}\n',
        b'[{"prompt": "a", "output": "x.webp", "extra": {"y": [1]}}, {"prompt": "b"}]',
    ],
}


@given(data=st.data())
def test_wildcards_survive_mutated_files_and_prompts(data: st.DataObject) -> None:
    Path("words/birds").mkdir(parents=True, exist_ok=True)
    Path("imagen.yaml").write_text("wildcard_dirs: [words]\n", "utf-8")
    Path("words/animal.txt").write_bytes(data.draw(mutated_bytes(_WORDS)))
    Path("words/birds/owl.txt").write_bytes(data.draw(mutated_bytes(_WORDS)))
    Path("words/lists.yaml").write_bytes(data.draw(_mutated_yaml(_LISTS)))
    text = data.draw(mutated_bytes(_WILDCARDS)).decode("utf-8", "replace").replace("\0", " ")
    more = data.draw(st.sampled_from([(), ("--combinatorial",), ("--count", "3")]))
    run_imagen("generate", "-b", "mock", "--dry-run", *more, "--", text)


@given(data=st.data())
def test_batch_survives_mutated_prompt_files(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(_PROMPT_ROWS)))
    _write(name, data.draw(mutated_bytes(_PROMPT_ROWS[name])))
    more = data.draw(st.sampled_from([(), ("--prompt-template", "a {animal} in {place}")]))
    run_imagen("batch", name, "-b", "mock", "--size", "64x64", "--dry-run", *more)


@given(prompt=mutated_bytes([b"a (cat:1.5) <lora:ink:0.8:te> {a|b} [x] \\(y\\)", A1111.encode()]))
def test_generate_survives_mutated_prompts(prompt: bytes) -> None:
    text = prompt.decode("utf-8", "replace").replace("\0", " ")
    run_imagen("generate", "-b", "mock", "--dry-run", "--", text)
