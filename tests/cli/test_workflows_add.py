"""imagen workflows add."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING, Any

import pytest
from support.catalog_server import configured, serving, studio
from yaml import safe_load

from imagen.cli import run
from imagen.graphs import find_workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.catalog_server import Server

CATALOGUE: dict[str, Any] = {
    "LoadImage": {
        "input": {"required": {"image": [["example.png"], {"image_upload": True}]}},
        "output": ["IMAGE", "MASK"],
    },
    "Blur": {
        "input": {"required": {"image": ["IMAGE"], "amount": ["INT", {"max": 31}]}},
        "output": ["IMAGE"],
    },
    "SaveImage": {
        "input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING", {}]}},
        "output": [],
        "output_node": True,
    },
}
GRAPH: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}},
    "2": {"class_type": "Blur", "inputs": {"amount": 3, "image": ["1", 0]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["2", 0]}},
}
EDITOR: dict[str, Any] = {
    "nodes": [
        {"id": 1, "type": "LoadImage", "widgets_values": ["cat.png", "image"]},
        {
            "id": 2,
            "type": "Blur",
            "widgets_values": [3],
            "inputs": [{"name": "image", "type": "IMAGE", "link": 1}],
        },
        {
            "id": 9,
            "type": "SaveImage",
            "widgets_values": ["x"],
            "inputs": [{"name": "images", "type": "IMAGE", "link": 2}],
        },
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 9, 0, "IMAGE"]],
}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server with a small node catalog."""
    with serving(CATALOGUE) as one:
        yield one


@pytest.fixture(autouse=True)
def _catalog_file() -> None:
    """A saved node catalog in the working directory."""
    Path("nodes.json").write_text(json.dumps(CATALOGUE), "utf-8")


def saved(message: Any, name: str = "soft.json") -> str:
    """A file with this JSON, or these bytes."""
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    Path(name).write_bytes(data)
    return name


def png(**texts: str) -> bytes:
    """An image with these texts in it."""
    header, rest = PIXEL[:33], PIXEL[33:]
    chunks = b"".join(_chunk(name, text) for name, text in texts.items())
    return header + chunks + rest


def _chunk(name: str, text: str) -> bytes:
    body = b"tEXt" + name.encode() + b"\0" + text.encode("latin-1")
    return pack(">I", len(body) - 4) + body + pack(">I", zlib.crc32(body))


def webp(**texts: str) -> bytes:
    """An image with these texts as ComfyUI's animations have them: in tags of the EXIF block."""
    tags = {"prompt": 0x0110, "workflow": 0x010F}
    values = sorted((tags[name], f"{name}:{text}\0".encode()) for name, text in texts.items())
    at = 8 + 2 + 12 * len(values) + 4
    entries, tail = b"", b""
    for tag, value in values:
        entries += pack(">HHII", tag, 2, len(value), at + len(tail))
        tail += value
    tiff = b"MM\0*" + pack(">I", 8) + pack(">H", len(values)) + entries + pack(">I", 0) + tail
    tiff += b"\0" * (len(tiff) % 2)
    canvas = b"VP8X" + pack("<I", 10) + b"\x08" + b"\0" * 9
    chunks = canvas + b"EXIF" + pack("<I", len(tiff)) + tiff
    return b"RIFF" + pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def home() -> Path:
    """The folder of the user's workflows without a configuration."""
    return Path.home() / ".config/imagen/workflows"


def test_an_editor_file_is_added_with_a_saved_catalog(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["workflows", "add", saved(EDITOR), "--catalog", "nodes.json"]) == 0
    assert capsys.readouterr().out == (
        "soft: soft.json, editor format, 3 nodes\n"
        "\n"
        "TOKEN  NODE         INPUT  DEFAULT\n"
        'image  1 LoadImage  image  "cat.png"\n'
        "\n"
        f"Wrote {home() / 'soft.json'}\n"
        f"Wrote {home() / 'soft.yaml'}\n"
        "\n"
        "To use it, add this below `backends:` in the configuration:\n"
        "\n"
        "  soft:\n"
        "    type: comfyui\n"
        "    workflow: soft\n"
    )
    assert run(["workflows", "check", "soft"]) == 0
    assert capsys.readouterr().out == "soft: ok\n"


@pytest.mark.parametrize("name", ["soft", "123", "null", "yes", "1.5", "2026-11-21", "my fox"])
def test_the_printed_block_is_valid_yaml(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflows", "add", saved(GRAPH), "--name", name]) == 0
    _, block = capsys.readouterr().out.split("in the configuration:\n")
    assert safe_load(block) == {name: {"type": "comfyui", "workflow": name}}


def test_an_added_workflow_is_found_without_a_configuration() -> None:
    assert run(["workflows", "add", saved(EDITOR), "--catalog", "nodes.json"]) == 0
    workflow = find_workflow("soft", [home()])
    assert workflow.graph["1"]["inputs"] == {"image": "$<image>"}
    assert workflow.manifest.description == "Imported from soft.json."
    assert workflow.manifest.task == "image-to-image"


def test_workflows_are_added_to_the_first_configured_folder() -> None:
    configured(workflow_dirs=["mine", "other"])
    assert run(["workflows", "add", saved(GRAPH), "--name", "it"]) == 0
    assert sorted(path.name for path in Path("mine").iterdir()) == ["it.json", "it.yaml"]


def test_the_node_catalog_comes_from_the_configured_server(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_TOKEN", "t0p-s3cret")
    studio(server, workflow="sd15", bearer_env="STUDIO_TOKEN")
    assert run(["workflows", "add", saved(EDITOR), "--dry-run"]) == 0
    message = capsys.readouterr().out
    assert "Nothing was written (--dry-run).\n" in message
    assert not home().exists()


def test_the_printed_block_reaches_the_same_server(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    studio(server, workflow="sd15", headers={"X-Who": "me"})
    assert run(["workflows", "add", saved(EDITOR), "--backend", "studio"]) == 0
    assert capsys.readouterr().out.endswith(
        "  soft:\n"
        "    type: comfyui\n"
        f'    url: "http://127.0.0.1:{server.server_port}"\n'
        '    headers: {"X-Who": "me"}\n'
        "    workflow: soft\n"
    )


def test_url_names_the_server(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:t0p-s3cret@proxy:3128")
    url = f"http://127.0.0.1:{server.server_port}"
    assert run(["workflows", "add", saved(EDITOR), "--url", url, "--json"]) == 0
    message = json.loads(capsys.readouterr().out)
    assert message["backend"] == {"soft": {"type": "comfyui", "url": url, "workflow": "soft"}}


def test_workflows_add_json_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["workflows", "add", saved(EDITOR), "--catalog", "nodes.json", "--json"]
    assert run(args) == 0
    assert json.loads(capsys.readouterr().out) == {
        "name": "soft",
        "source": "soft.json",
        "format": "editor",
        "files": [str(home() / "soft.json"), str(home() / "soft.yaml")],
        "tokens": [
            {
                "token": "image",
                "node": "1",
                "class": "LoadImage",
                "input": "image",
                "default": "cat.png",
            }
        ],
        "task": "image-to-image",
        "models": [],
        "output": ["9"],
        "notes": [],
        "faults": [],
        "backend": {"soft": {"type": "comfyui", "workflow": "soft"}},
        "configuration": None,
    }


def test_use_adds_a_backend_to_an_existing_configuration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("imagen.yaml").write_text("# mine\nbackends:\n  m: {type: mock}\n")
    assert run(["workflows", "add", saved(GRAPH), "--use"]) == 0
    assert capsys.readouterr().out.endswith(
        'Added the backend soft in imagen.yaml\nTo use it: imagen generate "…" --backend soft\n'
    )
    text = Path("imagen.yaml").read_text()
    assert text.startswith("# mine\n")
    assert safe_load(text)["backends"]["soft"] == {"type": "comfyui", "workflow": "soft"}
    assert run(["generate", "--backend", "soft", "--dry-run"]) == 0


def test_use_creates_a_configuration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["workflows", "add", saved(GRAPH), "--use", "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["configuration"])
    assert path.name == "imagen.yaml"
    assert path.parent != Path()
    assert safe_load(path.read_text())["backends"]["soft"]["workflow"] == "soft"


def test_use_twice_reports_the_existing_backend(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("backends: {}\n")
    assert run(["workflows", "add", saved(GRAPH), "--use"]) == 0
    assert run(["workflows", "add", saved(GRAPH), "--use", "--force"]) == 0
    assert "The backend already exists: soft in imagen.yaml" in capsys.readouterr().out


def test_use_keeps_another_backend_of_the_same_name(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("backends: {soft: {type: mock}}\n")
    assert run(["workflows", "add", saved(GRAPH), "--use"]) == 2
    output = capsys.readouterr().err
    assert "The workflow was added, but imagen.yaml already has another backend 'soft'." in output
    assert Path("imagen.yaml").read_text() == "backends: {soft: {type: mock}}\n"


def test_use_writes_nothing_in_a_dry_run() -> None:
    Path("imagen.yaml").write_text("backends: {}\n")
    assert run(["workflows", "add", saved(GRAPH), "--use", "--dry-run"]) == 0
    assert Path("imagen.yaml").read_text() == "backends: {}\n"


@pytest.mark.parametrize(
    ("data", "source"),
    [
        pytest.param(png(prompt=json.dumps(GRAPH), workflow="{}"), "prompt", id="png, what ran"),
        pytest.param(png(workflow=json.dumps(EDITOR)), "workflow", id="png, what was drawn"),
        pytest.param(webp(prompt=json.dumps(GRAPH)), "prompt", id="webp, what ran"),
        pytest.param(webp(workflow=json.dumps(EDITOR)), "workflow", id="webp, what was drawn"),
    ],
)
def test_the_workflow_of_an_image_is_added(
    data: bytes, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(data, "Soft Cat.png")
    assert run(["workflows", "add", path, "--catalog", "nodes.json", "--json"]) == 0
    message = json.loads(capsys.readouterr().out)
    assert (message["name"], message["source"]) == ("soft-cat", f"Soft Cat.png ({source})")
    graph = find_workflow("soft-cat", [home()]).bind_defaults()
    assert {key: one["inputs"] for key, one in graph.items()} == {
        key: one["inputs"] for key, one in GRAPH.items()
    }


def test_api_format_needs_no_node_catalog(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflows", "add", saved(GRAPH)]) == 0
    assert capsys.readouterr().out.startswith("soft: soft.json, API format, 3 nodes\n")


def test_api_format_is_added_without_a_reachable_server(
    capsys: pytest.CaptureFixture[str],
) -> None:
    block = {"type": "comfyui", "url": "http://127.0.0.1:9", "workflow": "sd15"}
    configured(backends={"studio": block})
    assert run(["workflows", "add", saved(GRAPH)]) == 0
    assert "Not checked with studio: " in capsys.readouterr().out


def test_missing_models_and_nodes_are_listed_as_to_do(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    studio(server, workflow="sd15")
    own = {"class_type": "Own", "inputs": {}}
    blur = {"class_type": "Blur", "inputs": {"amount": 99, "image": ["1", 0]}}
    assert run(["workflows", "add", saved(GRAPH | {"2": blur, "5": own})]) == 0
    message = capsys.readouterr().out
    assert "\nTo do on studio\n  node 5 (Own): the server has no node 'Own'.\n" in message
    assert "  node 2 (Blur), amount: must be at most 31, not 99.\n" in message


def test_hiding_a_bundled_workflow_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflows", "add", saved(GRAPH), "--name", "sd15"]) == 0
    assert "  It hides the bundled workflow 'sd15'.\n" in capsys.readouterr().out


def test_a_workflow_is_replaced_only_with_force(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflows", "add", saved(GRAPH)]) == 0
    assert run(["workflows", "add", saved(GRAPH)]) == 2
    assert "The workflow 'soft' already exists" in capsys.readouterr().err
    assert run(["workflows", "add", saved(GRAPH), "--force"]) == 0


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        pytest.param(b"", "soft.json is empty.", id="empty"),
        pytest.param(b"<html></html>", "soft.json is a web page, not a workflow.", id="a page"),
        pytest.param(b"\xff\xfe\0", "is not a workflow: expected JSON in UTF-8", id="bytes"),
        pytest.param(PIXEL, "soft.json holds no workflow: ComfyUI was set", id="a plain image"),
        pytest.param(PIXEL[:40], "the PNG is cut short", id="a torn image"),
        pytest.param(json.dumps(EDITOR).encode(), "needs a node catalog", id="no catalog"),
    ],
)
def test_files_without_a_workflow_are_refused(
    data: bytes, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["workflows", "add", saved(data)]) in (2, 5)
    assert sentence in capsys.readouterr().err
    assert not home().exists()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        pytest.param(["none.json"], "There is no file none.json.", id="no such file"),
        pytest.param(["."], ". cannot be read: ", id="a folder"),
        pytest.param(
            ["soft.json", "--name", "a/b"], "'a/b' is not a valid workflow name", id="a bad name"
        ),
        pytest.param(
            ["soft.json", "--catalog", "none.json"],
            "Cannot read the node catalog none.json: ",
            id="no such catalog",
        ),
        pytest.param(
            ["soft.json", "--catalog", "soft.json"],
            "soft.json is not a node catalog of ComfyUI.",
            id="another file for a catalog",
        ),
        pytest.param(
            ["soft.json", "--url", "http://127.0.0.1:9", "--backend", "x"],
            "--backend, --url and --catalog exclude each other",
            id="two catalogs",
        ),
        pytest.param(
            ["soft.json", "--backend", "mock"], "the backend 'mock' is not one", id="another engine"
        ),
        pytest.param(
            ["soft.json", "--url", "ftp://x"], "url must look like http://", id="no address"
        ),
    ],
)
def test_invalid_options_of_workflows_add_are_refused(
    args: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    saved({"nodes": [], "links": []})
    assert run(["workflows", "add", *args]) in (2, 5)
    assert sentence in capsys.readouterr().err


def test_an_endless_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with Path("huge.json").open("wb") as file:
        file.truncate(65 * 2**20)
    assert run(["workflows", "add", "huge.json"]) == 2
    assert capsys.readouterr().err == "imagen: huge.json is larger than 64 MB.\n"
