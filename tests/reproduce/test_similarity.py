"""What a run that is over adds: versions, and how like the old image it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from imagen.core.result import Facts
from imagen.outputs import ImageRecord
from imagen.reproduce import Drift, Similarity, detect_drift, measure_similarity

_GRAPH = {"3": {"class_type": "KSampler", "inputs": {}}}


def _image(name: str, colour: tuple[int, int, int], size: int = 8, level: int = 6) -> Path:
    path = Path(name)
    Image.new("RGB", (size, size), colour).save(path, compress_level=level)
    return path


def test_other_engine_version_and_model_are_drift() -> None:
    record = ImageRecord(
        source="sidecar",
        graph=_GRAPH,
        facts={"model": "a.safetensors", "engine": {"server_version": "0.3.64", "device": "x"}},
    )
    facts = Facts(model="b.safetensors", engine={"server_version": "0.9.2", "device": "x"})
    assert [one.sentence for one in detect_drift(record, facts, "comfyui", [])] == [
        "model: a.safetensors then, b.safetensors now",
        "the server's version: 0.3.64 then, 0.9.2 now",
    ]


def test_predicted_drift_is_not_repeated() -> None:
    record = ImageRecord(source="sidecar", facts={"model": "a.safetensors"})
    before = [Drift(what="model", name="model", then="a", now="b")]
    assert detect_drift(record, Facts(model="b.safetensors"), "comfyui", before) == []


def test_versions_of_different_engines_are_not_compared() -> None:
    record = ImageRecord(source="sidecar", graph=_GRAPH, facts={"engine": {"version": "1"}})
    assert detect_drift(record, Facts(engine={"version": "2"}), "replicate", []) == []


@pytest.mark.parametrize(
    ("other", "expected", "sentence"),
    [
        (
            ((9, 9, 9), 8, 6),
            Similarity(identical="file", difference=0.0),
            "It is identical, byte for byte.",
        ),
        (
            ((9, 9, 9), 8, 0),
            Similarity(identical="pixels", difference=0.0),
            "Its pixels are identical.",
        ),
        (
            ((9, 9, 162), 8, 6),
            Similarity(identical="", difference=0.2),
            "Its pixels differ by 20.00% on average.",
        ),
        (
            ((9, 9, 9), 4, 6),
            Similarity(identical="", difference=1.0),
            "Its pixels differ by 100.00% on average.",
        ),
    ],
    ids=["the same file", "the same pixels", "another", "another size"],
)
def test_new_image_is_compared_with_the_original(
    other: tuple[tuple[int, int, int], int, int], expected: Similarity, sentence: str
) -> None:
    found = measure_similarity(_image("old.png", (9, 9, 9)), _image("new.png", *other))
    assert found == expected
    assert found.sentence == sentence


def test_undecodable_image_is_not_compared() -> None:
    Path("new.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert measure_similarity(_image("old.png", (1, 2, 3)), Path("new.png")) is None


def test_missing_image_is_not_compared(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "new.png")
    assert measure_similarity(tmp_path / "old.png", tmp_path / "new.png") is None


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
def test_lossy_original_is_mentioned(format: str) -> None:
    before = Image.effect_noise((48, 32), 90).convert("RGB")
    before.save("new.png")
    before.save("old", format)
    like = measure_similarity(Path("old"), Path("new.png"))
    assert like is not None
    assert like.sentence.endswith(
        f" on average. The original is in {format}, which does not keep every pixel exactly."
    )
