"""The header of a model file is read, and an incomplete file is refused."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from support.model_file_samples import SD1, gguf, gguf_text, safetensors, write_file

from imagen.errors import ConfigError
from imagen.model_files.headers import read_model_header

if TYPE_CHECKING:
    from pathlib import Path

_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 6938078334\n"
_HUGE = struct.pack("<Q", 2**40)


def _refusal(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_model_header(path)
    return caught.value


def test_safetensors_header_lists_tensors_and_metadata(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.safetensors", safetensors({"w": (2, 3)}, {"note": "made here"}))
    weights = read_model_header(path)
    assert weights.format == "safetensors"
    assert weights.tensors == {"w": (2, 3)}
    assert weights.notes == {"note": "made here"}
    assert weights.size_bytes == path.stat().st_size


def test_gguf_header_lists_tensors_in_pytorch_order(tmp_path: Path) -> None:
    texts = struct.pack("<IIQ", 9, 8, 2) + gguf_text("ab") + gguf_text("c")
    numbers = struct.pack("<IIQ3h", 9, 3, 3, 1, 2, 3)
    notes = gguf_text("words") + texts + gguf_text("numbers") + numbers
    notes += gguf_text("general.architecture") + struct.pack("<I", 8) + gguf_text("flux")
    weights = read_model_header(write_file(tmp_path / "a.gguf", gguf({"w": (2, 3)}, notes, 3)))
    assert weights.format == "gguf"
    assert weights.tensors == {"w": (2, 3)}
    assert weights.notes["general.architecture"] == "flux"


def test_pytorch_archive_is_only_checked_for_completeness(tmp_path: Path) -> None:
    from zipfile import ZipFile

    with ZipFile(tmp_path / "a.ckpt", "w") as archive:
        archive.writestr("archive/data.pkl", b"...")
    weights = read_model_header(tmp_path / "a.ckpt")
    assert (weights.format, dict(weights.tensors)) == ("pickle", {})


def test_old_pytorch_file_is_accepted_unchecked(tmp_path: Path) -> None:
    assert read_model_header(write_file(tmp_path / "a.pth", b"\x80\x02}q\x00.")).format == "pickle"


def test_only_the_header_of_a_large_file_is_read(tmp_path: Path) -> None:
    header = b'{"w":{"dtype":"U8","shape":[2000000000],"data_offsets":[0,2000000000]}}'
    path = write_file(tmp_path / "big.safetensors", struct.pack("<Q", len(header)) + header)
    with path.open("r+b") as file:
        file.truncate(8 + len(header) + 2_000_000_000)  # a hole: takes no room on the disk
    assert read_model_header(path).tensors == {"w": (2_000_000_000,)}


@pytest.mark.parametrize(
    ("data", "sentence", "remedy"),
    [
        pytest.param(b"", "is empty.", "Download it again.", id="empty"),
        pytest.param(
            b"<!DOCTYPE html>\n<html><title>Sign in</title>",
            "is a web page, not a model: '<!DOCTYPE html> <html><title>Sign in</title>'.",
            "The download may have needed a login, or a link to the file itself.",
            id="a web page",
        ),
        pytest.param(
            b"\xef\xbb\xbf  <html>{", "is a web page, not a model: '<html>{'.", "login", id="BOM"
        ),
        pytest.param(
            _LFS,
            "is a git-lfs pointer: 75 bytes of text instead of the model of 6,938,078,334 bytes.",
            "Fetch the model itself with: git lfs pull",
            id="a git-lfs pointer",
        ),
        pytest.param(
            b'{"error": "Repository not found"}',
            'is text, not a model: \'{"error": "Repository not found"}\'.',
            "Download it again",
            id="a server's answer",
        ),
        pytest.param(
            bytes(range(256)),
            "is not a safetensors, GGUF or PyTorch file.",
            "Download it again",
            id="garbage",
        ),
        pytest.param(
            _HUGE + b"{", "is not a safetensors, GGUF or PyTorch file.", "", id="an absurd length"
        ),
        pytest.param(
            safetensors(SD1)[:-1],
            "is incomplete: it has 1,035 bytes and needs 1,036.",
            "",
            id="cut off",
        ),
        pytest.param(
            safetensors(SD1)[:100],
            "is incomplete: it has 100 bytes and needs more for its header alone",
            "Download it again",
            id="cut off within the header",
        ),
        pytest.param(
            safetensors(SD1) + b"?",
            "is not a valid safetensors file: it has 1 bytes more than it says.",
            "",
            id="too long",
        ),
        pytest.param(
            struct.pack("<Q", 9) + b'{"w": 1} ',
            "is not a valid safetensors file: ",
            "",
            id="no shape",
        ),
        pytest.param(
            struct.pack("<Q", 9) + b'{"w": ...',
            "is not a valid safetensors file: ",
            "",
            id="no JSON",
        ),
        pytest.param(
            struct.pack("<Q", 49) + b'{"w":{"shape":["x"],"data_offsets":[0,1],"d":""}}' + b"1",
            "is not a valid safetensors file: a shape or an offset is not a whole number.",
            "",
            id="no numbers",
        ),
        pytest.param(
            struct.pack("<Q", 20) + b'{"__metadata__":[1]}',
            "is not a valid safetensors file: ",
            "",
            id="notes that are none",
        ),
        pytest.param(
            gguf({}, gguf_text("a") + struct.pack("<IIQQ", 9, 8, 2, 2**63), 1),
            "is not a valid GGUF file: ",
            "",
            id="GGUF with an absurd length",
        ),
        pytest.param(
            gguf({"w": (2, 3)})[:-1], "is incomplete: it has 107 bytes", "", id="cut off GGUF"
        ),
        pytest.param(
            gguf({"w": (2, 3)})[:30],
            "is incomplete: it has 30 bytes and needs",
            "",
            id="cut off within the header of a GGUF",
        ),
        pytest.param(
            b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
            "is not a valid GGUF file: its version of GGUF is 1; expected 2 or 3.",
            "",
            id="GGUF of another version",
        ),
        pytest.param(
            b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0),
            "is not a valid GGUF file: its header has an impossible count of 1152921504606846976.",
            "",
            id="GGUF with an absurd count",
        ),
        pytest.param(
            gguf({}, gguf_text("a") + struct.pack("<IIQ", 9, 9, 1), 1),
            "is not a valid GGUF file: its header has an array of arrays.",
            "",
            id="GGUF with nested arrays",
        ),
        pytest.param(
            b"PK\x03\x04 and no end",
            "is incomplete: it has 15 bytes and needs more: its end is missing.",
            "Download it again",
            id="cut off PyTorch archive",
        ),
    ],
)
def test_incomplete_or_invalid_model_is_refused(
    tmp_path: Path, data: bytes, sentence: str, remedy: str
) -> None:
    path = write_file(tmp_path / "model.safetensors", data)
    refusal = _refusal(path)
    assert str(path) in refusal.message
    assert sentence in refusal.message
    assert remedy in refusal.remedy


def test_misspelled_file_name_gets_a_suggestion(tmp_path: Path) -> None:
    write_file(tmp_path / "juggernaut.safetensors", safetensors(SD1))
    refusal = _refusal(tmp_path / "jugernaut.safetensors")
    assert refusal.message.startswith("File ")
    assert refusal.message.endswith("Did you mean 'juggernaut.safetensors'?")


def test_missing_folder_gives_no_suggestion(tmp_path: Path) -> None:
    path = tmp_path / "no" / "model.gguf"
    assert _refusal(path).message == f"File {path} not found."


def test_overlong_file_name_is_an_error(tmp_path: Path) -> None:
    assert "Cannot read" in _refusal(tmp_path / ("x" * 300)).message


def test_folder_is_not_a_file(tmp_path: Path) -> None:
    assert _refusal(tmp_path).message == (f"{tmp_path} is a folder; expected a model file.")
