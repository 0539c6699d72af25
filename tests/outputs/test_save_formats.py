"""Saving in the configured format: first the engine's file, then the converted one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from support.output_samples import (
    NOW,
    comfy_png,
    encode_sample,
    load_bytes,
    pixels,
    png_output,
    sample_request,
    sample_result,
    sample_settings,
    sample_ticket,
)

from imagen.core.result import Output, Result
from imagen.errors import OutputError
from imagen.outputs import (
    SavedImage,
    check_output_settings,
    find_saved,
    metadata,
    read_record,
    save_outputs,
)
from imagen.outputs.save import write_synced

OUT = Path("outputs")


def _save(
    what: Result | None = None, *, is_resumed: bool = False, **options: Any
) -> list[SavedImage]:
    return save_outputs(
        what or sample_result(),
        sample_ticket(),
        sample_settings(OUT, **{"name": "fox", **options}),
        asked=sample_request(),
        now=NOW,
        rescue=Path("rescued"),
        is_resumed=is_resumed,
    )


def _names() -> list[str]:
    return sorted(path.name for path in OUT.rglob("*") if path.is_file())


def _sidecar(saved: SavedImage) -> dict[str, Any]:
    assert saved.sidecar is not None
    found: dict[str, Any] = json.loads(saved.sidecar.read_text(encoding="utf-8"))
    return found


def _as(format: str, **options: Any) -> Result:
    return sample_result(
        Output(data=encode_sample(format, **options), media_type=f"image/{format.lower()}", seed=7)
    )


@pytest.mark.parametrize(
    ("ending", "media_type"),
    [("jpg", "jpeg"), ("jpeg", "jpeg"), ("webp", "webp"), ("avif", "avif")],
)
def test_save_converts_to_the_configured_format(ending: str, media_type: str) -> None:
    (saved,) = _save(format=ending)
    assert _names() == [f"fox.{ending}", f"fox.{ending}.json"]
    assert saved.path == OUT / f"fox.{ending}"
    assert saved.media_type == f"image/{media_type}"
    assert load_bytes(saved.path.read_bytes()).format == media_type.upper()
    assert (saved.width, saved.height, saved.seed, saved.warning) == (48, 32, 7, "")


@pytest.mark.parametrize("ending", ["jpg", "webp", "avif"])
def test_a_converted_image_has_the_whole_record(ending: str) -> None:
    (before,) = _save(sidecar=False)
    (saved,) = _save(format=ending, sidecar=False)
    told, whole = read_record(saved.path), read_record(before.path)
    assert told == whole
    assert told.graph != {}


def test_the_sidecar_describes_the_conversion() -> None:
    (saved,) = _save(format="webp")
    sidecar = _sidecar(saved)
    assert sidecar["file"] == "fox.webp"
    assert sidecar["sha256"] == hashlib.sha256(saved.path.read_bytes()).hexdigest() == saved.sha256
    assert sidecar["media_type"] == "image/webp"
    assert sidecar["converted"] == {"from": "image/png", "quality": 90}


def test_an_image_in_the_configured_format_is_not_converted() -> None:
    (saved,) = _save(format="png", metadata=False)
    assert pixels(saved.path.read_bytes()) == pixels(comfy_png())
    assert saved.path.read_bytes() == encode_sample("PNG")
    assert "converted" not in _sidecar(saved)


def test_a_jpeg_is_converted_to_a_png_of_the_same_pixels() -> None:
    (saved,) = _save(_as("JPEG"), format="png")
    assert saved.path.name == "fox.png"
    assert pixels(saved.path.read_bytes()) == pixels(encode_sample("JPEG"))
    assert _sidecar(saved)["converted"] == {"from": "image/jpeg", "quality": None}


def test_an_image_without_room_for_texts_gets_them_when_converted() -> None:
    (saved,) = _save(_as("BMP"), format="webp", sidecar=False)
    assert read_record(saved.path).resolved["prompt"] == "A red fox, asleep"


def test_save_uses_the_configured_quality() -> None:
    (saved,) = _save(format="webp", quality=100)
    assert pixels(saved.path.read_bytes()) == load_bytes(comfy_png()).tobytes()
    assert _sidecar(saved)["converted"]["quality"] == 100


def test_a_converted_image_has_no_metadata_if_turned_off() -> None:
    (saved,) = _save(format="webp", metadata=False)
    assert metadata.read_texts(saved.path.read_bytes()) == {}


def test_videos_are_not_converted() -> None:
    (saved,) = _save(sample_result(Output(data=b"video", media_type="video/mp4")), format="webp")
    assert (saved.path.name, saved.path.read_bytes(), saved.warning) == ("fox.mp4", b"video", "")


def test_an_image_that_cannot_be_converted_is_kept_with_a_warning() -> None:
    tall = sample_result(Output(data=_tall(), media_type="image/png", seed=7))
    (saved,) = _save(tall, format="webp")
    assert _names() == ["fox.png", "fox.png.json"]
    assert saved.media_type == "image/png"
    assert saved.warning == (
        f"{OUT / 'fox.png'} keeps the format of the engine: it could not be converted to webp. "
        "It has 1 × 16384 pixels, but a side of WebP has at most 16383."
    )
    assert "converted" not in _sidecar(saved)


def _tall() -> bytes:
    from io import BytesIO

    from PIL import Image

    data = BytesIO()
    Image.new("L", (1, 16384)).save(data, "PNG")
    return data.getvalue()


def test_a_full_disk_keeps_the_file_of_the_engine() -> None:
    written: list[Path] = []

    def write(path: Path, data: bytes) -> None:
        if data[8:12] == b"WEBP":
            raise OSError(28, "No space left on device")
        written.append(path)
        write_synced(path, data)

    (saved,) = save_outputs(
        sample_result(),
        sample_ticket(),
        sample_settings(OUT, name="fox", format="webp"),
        asked=sample_request(),
        now=NOW,
        rescue=Path("rescued"),
        write=write,
    )
    assert _names() == ["fox.png", "fox.png.json"]
    assert saved.warning.endswith("it could not be converted to webp. No space left on device.")


def test_save_keeps_files_of_earlier_runs() -> None:
    OUT.mkdir()
    (OUT / "fox.png").write_bytes(b"mine")
    (OUT / "fox.webp").write_bytes(b"mine, too")
    (saved,) = _save(format="webp")
    assert _names() == ["fox-2.webp", "fox-2.webp.json", "fox.png", "fox.webp"]
    assert (OUT / "fox.png").read_bytes() == b"mine"
    assert saved.path == OUT / "fox-2.webp"


def test_a_resumed_run_leaves_one_file_after_a_kill_during_conversion() -> None:
    _save(format="webp")
    (OUT / "fox.webp.json").unlink()
    _save(sidecar=False)
    assert _names() == ["fox.png", "fox.webp"]
    (saved,) = _save(format="webp", is_resumed=True)
    assert _names() == ["fox.webp", "fox.webp.json"]
    assert saved.path == OUT / "fox.webp"


def test_a_folder_named_by_extension_is_that_of_the_converted_file() -> None:
    (saved,) = _save(format="webp", name="{ext}/fox")
    assert saved.path == OUT / "webp" / "fox.webp"
    assert [path.name for path in OUT.iterdir()] == ["webp"]


def test_every_image_of_a_batch_is_converted() -> None:
    batch = sample_result(png_output(index=0, seed=7), png_output(index=1, seed=8))
    saved = _save(batch, format="webp", name="{seed}")
    assert [one.path.name for one in saved] == ["7.webp", "8.webp"]


def test_find_saved_finds_a_converted_image() -> None:
    (saved,) = _save(format="webp")
    assert saved.sidecar is not None
    found = find_saved(saved.sidecar, ticket=sample_ticket().id)
    assert found is not None
    assert found[0] == saved


def test_a_format_without_encoder_is_refused_beforehand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import features

    monkeypatch.setattr(features, "check", lambda _: False)
    with pytest.raises(OutputError, match="Pillow cannot write AVIF images") as refused:
        check_output_settings(sample_settings(OUT, format="avif"))
    assert refused.value.remedy == "Update it with: pip install --upgrade pillow"
