"""Backends are added to a configuration that a person wrote."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from imagen.config import Addition, add_backends, example, load_settings, with_backends, write_new
from imagen.errors import ConfigError

FILE = Path("imagen.yaml")
NEW = {"sdxl": {"type": "comfyui", "workflow": "sdxl"}}
BLOCK = "  sdxl:\n    type: comfyui\n    workflow: sdxl\n"


def merged(text: str) -> str:
    FILE.write_bytes(text.encode())
    add_backends(FILE, NEW)
    return FILE.read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("backends:\n  a:\n    type: mock\n", f"{BLOCK}", id="last-key"),
        pytest.param("backends:\n  a:\n    type: mock", f"\n{BLOCK}", id="no-line-end"),
        pytest.param("backends:\n  a: {type: mock}\n", f"{BLOCK}", id="inner-flow"),
        pytest.param("backends:\n", f"{BLOCK}", id="empty-section"),
        pytest.param("backends:  # mine\n  # b:\n  #   type: mock\n", f"{BLOCK}", id="comments"),
        pytest.param("limits:\n  max_width: 64\n", f"\nbackends:\n{BLOCK}", id="no-section"),
        pytest.param("# A comment.\n", f"\nbackends:\n{BLOCK}", id="only-a-comment"),
        pytest.param(
            "backends:\n  a:\n    type: mock\n    # look: x\n  # End of mine.\n",
            f"{BLOCK}",
            id="comments-of-the-last-block",
        ),
    ],
)
def test_new_blocks_are_written_below_existing_ones(before: str, after: str) -> None:
    assert merged(before) == before + after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            "backends:\n  a:\n    type: mock\n\n# Presets.\nstyles: {}\n",
            f"backends:\n  a:\n    type: mock\n{BLOCK}\n# Presets.\nstyles: {{}}\n",
            id="another-section-below",
        ),
        pytest.param(
            "backends:\nlimits: {}\n",
            f"backends:\n{BLOCK}limits: {{}}\n",
            id="empty-section-above-another",
        ),
        pytest.param(
            "backends:\n      a:\n        type: mock\n",
            "backends:\n      a:\n        type: mock\n"
            "      sdxl:\n        type: comfyui\n        workflow: sdxl\n",
            id="own-indentation",
        ),
        pytest.param(
            "backends: {}\n",
            'backends: {"sdxl": {"type": "comfyui", "workflow": "sdxl"}}\n',
            id="empty-braces",
        ),
        pytest.param(
            '{"backends": {"a": {"type": "mock"}}}',
            '{"backends": {"sdxl": {"type": "comfyui", "workflow": "sdxl"}, '
            '"a": {"type": "mock"}}}',
            id="json",
        ),
        pytest.param(
            '{"limits": {}}',
            '{"backends": {"sdxl": {"type": "comfyui", "workflow": "sdxl"}}, "limits": {}}',
            id="json-without-backends",
        ),
        pytest.param(
            "backends:\r\n  a:\r\n    type: mock\r\n",
            "backends:\r\n  a:\r\n    type: mock\r\n"
            "  sdxl:\r\n    type: comfyui\r\n    workflow: sdxl\r\n",
            id="windows-line-ends",
        ),
        pytest.param(
            "backends:\n  ä:\n    type: mock\n    title: 'ü 🦊'\nlimits: {}\n",
            f"backends:\n  ä:\n    type: mock\n    title: 'ü 🦊'\n{BLOCK}limits: {{}}\n",
            id="beyond-ascii",
        ),
    ],
)
def test_text_around_new_blocks_is_unchanged(before: str, after: str) -> None:
    assert merged(before) == after


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("backends: 3\n", id="not-a-mapping"),
        pytest.param("backends: [a]\n", id="a-list"),
        pytest.param("limits: {}\n...\n", id="document-end"),
        pytest.param(
            "backends: &b\n  a:\n    type: mock\nstyles: *b\n", id="settings-that-share-the-blocks"
        ),
        pytest.param("backends:\n  a:\n    type: |+\n      mock\n\nlimits: {}\n", id="kept-blanks"),
    ],
)
def test_file_whose_other_settings_would_change_is_refused(text: str) -> None:
    FILE.write_text(text)
    with pytest.raises(ConfigError, match=r"^imagen\.yaml was not changed") as error:
        add_backends(FILE, NEW)
    assert error.value.remedy == f"Add this to `backends` by hand:\n{BLOCK}".rstrip("\n")
    assert FILE.read_text() == text


def test_invalid_yaml_is_refused_with_its_place() -> None:
    FILE.write_text("a: b: c\n")
    with pytest.raises(ConfigError, match="line 1, column 5"):
        add_backends(FILE, NEW)
    assert FILE.read_text() == "a: b: c\n"


def test_backend_of_the_same_name_is_kept_and_reported() -> None:
    text = "backends:\n  sdxl: {type: mock}\n  sd15: {type: mock}\n"
    FILE.write_text(text)
    blocks = {**NEW, "sd15": {"type": "mock"}, "new": {"type": "mock"}}
    assert add_backends(FILE, blocks) == Addition(
        FILE, added=("new",), present=("sd15",), differing=("sdxl",)
    )
    assert FILE.read_text() == f"{text}  new:\n    type: mock\n"


def test_file_with_every_block_is_not_written() -> None:
    merged("backends:\n  a:\n    type: mock\n")
    FILE.chmod(0o400)
    before = FILE.stat()
    add_backends(FILE, NEW)
    assert (FILE.stat().st_mtime_ns, FILE.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize("text", [None, "", " \n\n"], ids=["missing", "empty", "blank"])
def test_missing_or_empty_file_becomes_the_sample(text: str | None) -> None:
    path = Path("of/mine/imagen.yaml")
    path.parent.mkdir(parents=True)
    FILE.write_text(text or "")
    os.replace(FILE, path) if text is not None else FILE.unlink()
    assert add_backends(path, NEW) == Addition(path, ("sdxl",), is_new_file=True)
    assert load_settings(path).backends == {**NEW, "mock": {"type": "mock"}}


def test_new_file_uses_the_given_template() -> None:
    add_backends(FILE, NEW, template=example())
    assert FILE.read_text() == with_backends(example(), NEW)


def test_empty_file_takes_a_new_configuration() -> None:
    FILE.write_text("\n")
    write_new(FILE, "limits: {}\n")
    assert FILE.read_text() == "limits: {}\n"


def test_configuration_is_never_overwritten() -> None:
    FILE.write_text("# Mine.\n")
    with pytest.raises(ConfigError, match=r"^imagen\.yaml already has a configuration"):
        write_new(FILE, "limits: {}\n")
    assert FILE.read_text() == "# Mine.\n"


def test_folder_of_a_new_file_is_created() -> None:
    add_backends(Path("a/b/imagen.yaml"), NEW)
    assert "sdxl" in load_settings(Path("a/b/imagen.yaml")).backends


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encoding_of_the_file_is_kept(encoding: str) -> None:
    FILE.write_bytes("# Füchse\nbackends:\n".encode(encoding))
    add_backends(FILE, NEW)
    assert FILE.read_bytes() == f"# Füchse\nbackends:\n{BLOCK}".encode(encoding)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_symbolic_link_stays_a_link() -> None:
    Path("dotfiles.yaml").write_text("backends:\n")
    FILE.symlink_to("dotfiles.yaml")
    add_backends(FILE, NEW)
    assert FILE.is_symlink()
    assert Path("dotfiles.yaml").read_text() == f"backends:\n{BLOCK}"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such modes")
def test_mode_of_the_file_is_kept() -> None:
    FILE.write_text("backends:\n")
    FILE.chmod(0o640)
    add_backends(FILE, NEW)
    assert FILE.stat().st_mode & 0o777 == 0o640


def test_folder_is_refused_as_a_configuration() -> None:
    FILE.mkdir()
    with pytest.raises(ConfigError, match="Cannot read"):
        add_backends(FILE, NEW)


def test_file_below_a_file_is_refused() -> None:
    FILE.write_text("backends:\n")
    with pytest.raises(ConfigError, match="Cannot write"):
        add_backends(FILE / "imagen.yaml", NEW)


def test_no_temporary_file_is_left() -> None:
    merged("backends:\n")
    assert os.listdir() == ["imagen.yaml"]
