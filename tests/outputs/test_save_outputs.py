"""Saving images and sidecars; Pillow reads the texts back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.output_samples import (
    GRAPH,
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
    user_comment,
)
from support.secrets_in_images import exif, find_encodings, write_secret

from imagen.core.result import Output, Result
from imagen.outputs import SavedImage, save_outputs

if TYPE_CHECKING:
    from imagen.core.request import Request
    from imagen.core.ticket import Ticket

OUT = Path("outputs")
PNG_NAME = "2025-11-21-083005-a-red-fox-asleep-7.png"


def _save(
    what: Result | None = None,
    *,
    of: Ticket | None = None,
    request: Request | None = None,
    **options: Any,
) -> list[SavedImage]:
    return save_outputs(
        what or sample_result(),
        of or sample_ticket(request),
        sample_settings(OUT, **options),
        asked=request or sample_request(),
        now=NOW,
        rescue=Path("rescued"),
    )


def _sidecar(saved: SavedImage) -> dict[str, Any]:
    assert saved.sidecar is not None
    found: dict[str, Any] = json.loads(saved.sidecar.read_text(encoding="utf-8"))
    return found


def _entry(saved: SavedImage) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(load_bytes(saved.path.read_bytes()).info["imagen"])
    return found


def test_save_writes_image_and_sidecar_by_template() -> None:
    (saved,) = _save()
    assert saved == SavedImage(
        path=OUT / PNG_NAME,
        sidecar=OUT / f"{PNG_NAME}.json",
        index=0,
        media_type="image/png",
        width=48,
        height=32,
        seed=7,
        sha256=hashlib.sha256(saved.path.read_bytes()).hexdigest(),
    )
    assert sorted(path.name for path in OUT.iterdir()) == [PNG_NAME, f"{PNG_NAME}.json"]


def test_save_keeps_the_pixels_and_comfyuis_graph() -> None:
    (saved,) = _save()
    data = saved.path.read_bytes()
    assert pixels(data) == pixels(comfy_png())
    assert json.loads(load_bytes(data).info["prompt"]) == GRAPH


def test_the_embedded_record_says_how_the_image_was_made() -> None:
    (saved,) = _save()
    assert _entry(saved) == {
        "imagen": 1,
        "backend": "flux-local",
        "request": {"prompt": "A red fox, asleep", "steps": 50},
        "resolved": {
            "prompt": "A red fox, asleep",
            "width": 48,
            "height": 32,
            "seed": 7,
            "steps": 10,
            "cfg": 1.0,
            "sampler": "euler",
        },
        "receipt": {
            "prompt": {"outcome": "applied"},
            "steps": {"outcome": "clamped", "used": 10, "why": "at most 10"},
        },
        "model": "flux1-schnell.safetensors",
        "models": ["flux1-schnell.safetensors", "ae.safetensors"],
        "seed": 7,
        "index": 0,
    }


def test_the_parameters_text_has_the_used_values() -> None:
    (saved,) = _save(sample_result(png_output(), sampler="dpmpp_2m", scheduler="karras"))
    assert load_bytes(saved.path.read_bytes()).info["parameters"] == (
        "A red fox, asleep\n"
        "Steps: 10, Sampler: dpmpp_2m, Schedule type: karras, CFG scale: 1, Seed: 7, "
        "Size: 48x32, Model: flux1-schnell, Backend: flux-local, Version: imagen"
    )


def test_the_sidecar_has_the_whole_record() -> None:
    (saved,) = _save()
    told = _sidecar(saved)
    assert told["imagen"] == 1
    assert told["file"] == PNG_NAME
    assert told["sha256"] == saved.sha256
    assert told["created"] == "2025-11-21T08:30:05+00:00"
    assert told["media_type"] == "image/png"
    assert told["ticket"] == "3c4ad4a2-9d0a-4a5c-8b60-5f6d5be54b63"
    assert told["backend"] == "flux-local"
    assert told["graph"] == GRAPH
    assert told["request"] == {"prompt": "A red fox, asleep", "steps": 50}
    assert told["receipt"]["steps"] == {
        "outcome": "clamped",
        "asked": 50,
        "used": 10,
        "why": "at most 10",
    }
    assert told["facts"]["latency_seconds"] == 3.25
    assert told["facts"]["engine"] == {"prompt_id": "3c4ad4a2", "client_id": "c1"}
    assert told["facts"]["cost_usd"] is None
    assert told["warnings"] == []


def test_the_same_request_and_pixels_give_the_same_bytes() -> None:
    (first,) = _save()
    later = sample_result(
        png_output(), latency_seconds=9.5, engine={"prompt_id": "other"}, cached=True
    )
    other = sample_ticket().model_copy(update={"id": "0e1d4f5e-7c59-4a0e-8d43-1f6b8b7f3d11"})
    (second,) = save_outputs(
        later,
        other,
        sample_settings(OUT),
        asked=sample_request(),
        now=NOW + timedelta(days=400),
        rescue=Path("rescued"),
    )
    assert first.path != second.path
    assert first.path.read_bytes() == second.path.read_bytes()


@pytest.mark.parametrize(
    ("format", "extension"),
    [pytest.param("JPEG", "jpg", id="JPEG"), pytest.param("WEBP", "webp", id="WebP")],
)
def test_jpeg_and_webp_hold_the_same_texts(format: str, extension: str) -> None:
    data = encode_sample(format)
    media_type = f"image/{format.lower()}"
    (saved,) = _save(sample_result(Output(data=data, media_type=media_type)))
    after = saved.path.read_bytes()
    assert saved.path.suffix == f".{extension}"
    assert (saved.width, saved.height, saved.media_type) == (48, 32, media_type)
    assert user_comment(after).startswith(b"UNICODE\0" + "A red fox".encode("utf-16-be"))
    assert b'"prompt":"A red fox, asleep"' in after
    assert pixels(after) == pixels(data)


def test_the_media_type_follows_from_the_bytes() -> None:
    (saved,) = _save(sample_result(Output(data=encode_sample("JPEG"), media_type="image/png")))
    assert saved.path.suffix == ".jpg"
    assert saved.media_type == "image/jpeg"


@pytest.mark.parametrize(
    ("media_type", "extension"),
    [
        pytest.param("video/mp4", ".mp4", id="a video"),
        pytest.param("text/plain; charset=utf-8", ".txt", id="a text"),
        pytest.param("image/gif", ".gif", id="another image"),
        pytest.param("image/svg+xml", ".svg", id="a drawing"),
        pytest.param("video/webm", ".webm", id="a video for the web"),
        pytest.param("video/x-matroska", ".mkv", id="Matroska"),
        pytest.param("video/quicktime", ".mov", id="QuickTime"),
        pytest.param("audio/flac", ".flac", id="FLAC"),
        pytest.param("audio/mpeg", ".mp3", id="MP3"),
        pytest.param("audio/ogg", ".ogg", id="Ogg"),
        pytest.param("audio/opus", ".opus", id="Opus"),
        pytest.param("audio/wav", ".wav", id="a sound"),
        pytest.param("audio/x-wav", ".wav", id="a sound by its other name"),
        pytest.param("model/gltf-binary", ".glb", id="a 3D model"),
        pytest.param("application/json", ".json", id="JSON"),
        pytest.param("application/zip", ".zip", id="an archive"),
        pytest.param("application/../../x.exe", ".bin", id="unknown"),
    ],
)
def test_other_files_are_saved_unchanged(media_type: str, extension: str) -> None:
    (saved,) = _save(sample_result(Output(data=b"\0anything\xff", media_type=media_type)))
    assert saved.path.suffix == extension
    assert saved.path.read_bytes() == b"\0anything\xff"
    assert _sidecar(saved)["sha256"] == hashlib.sha256(b"\0anything\xff").hexdigest()
    assert (saved.width, saved.warning) == (None, "")


def test_without_metadata_comfyuis_graph_is_removed() -> None:
    (saved,) = _save(metadata=False)
    assert saved.path.read_bytes() == encode_sample("PNG")
    assert saved.warning == ""
    assert _sidecar(saved)["sha256"] == hashlib.sha256(encode_sample("PNG")).hexdigest()


@pytest.mark.parametrize("kind", ["png", "apng", "jpeg", "webp", "avif", "animation"])
def test_without_metadata_images_do_not_contain_the_prompt(kind: str) -> None:
    made = write_secret(kind, "zyxomma")
    (saved,) = _save(sample_result(Output(data=made, media_type="image/unknown")), metadata=False)
    after = saved.path.read_bytes()
    assert "utf-8" in find_encodings(made, "zyxomma")
    assert find_encodings(after, "zyxomma") == []
    assert pixels(after) == pixels(made)
    assert load_bytes(after).info.get("icc_profile") == load_bytes(made).info.get("icc_profile")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_without_metadata_the_orientation_stays(format: str) -> None:
    made = encode_sample(format, exif=exif("zyxomma", orientation=6))
    (saved,) = _save(sample_result(Output(data=made, media_type="image/unknown")), metadata=False)
    assert dict(load_bytes(saved.path.read_bytes()).getexif()) == {0x0112: 6}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"GIF89a fox", "it is not a PNG, JPEG, WebP or AVIF image", id="another kind"),
        pytest.param(comfy_png()[:60], "the PNG is cut short at byte 60", id="damaged"),
    ],
)
def test_without_metadata_files_that_cannot_be_stripped_give_a_warning(
    data: bytes, why: str
) -> None:
    (saved,) = _save(sample_result(Output(data=data, media_type="image/gif")), metadata=False)
    assert saved.path.read_bytes() == data
    assert saved.warning == (f"The metadata of this file cannot be removed: {why}.")


def test_no_sidecar_is_written_if_turned_off() -> None:
    (saved,) = _save(sidecar=False)
    assert saved.sidecar is None
    assert [path.name for path in OUT.iterdir()] == [PNG_NAME]


def test_a_damaged_image_is_saved_unchanged_with_a_warning() -> None:
    data = comfy_png()[:-20]
    (saved,) = _save(sample_result(Output(data=data, media_type="image/png")))
    assert saved.path.read_bytes() == data
    assert saved.warning == (
        f"No metadata was written into the image: the PNG is cut short at byte {len(data)}."
    )


def test_images_of_a_batch_have_their_own_names_and_seeds() -> None:
    batch = [png_output(index=0, seed=7), png_output(index=1, seed=8), png_output(index=2, seed=8)]
    saved = _save(sample_result(*batch), name="{slug}-{seed}")
    assert [one.path.name for one in saved] == [
        "a-red-fox-asleep-7.png",
        "a-red-fox-asleep-8.png",
        "a-red-fox-asleep-8-2.png",
    ]
    assert [(one.index, one.seed) for one in saved] == [(0, 7), (1, 8), (2, 8)]
    assert [_entry(one)["index"] for one in saved] == [0, 1, 2]


def test_every_placeholder_of_the_template_is_filled() -> None:
    name = "{backend}/{date}/{time}-{index}-{slug}.{ext}"
    (saved,) = _save(name=name)
    assert saved.path == OUT / "flux-local/2025-11-21/083005-0-a-red-fox-asleep.png"


def test_the_name_of_an_image_without_a_seed_says_noseed() -> None:
    (saved,) = _save(
        of=sample_ticket().model_copy(update={"request": sample_request()}), name="{seed}"
    )
    assert saved.path.name == "noseed.png"
    assert saved.seed is None


def test_save_never_overwrites() -> None:
    (first,), (second,) = _save(), _save()
    assert second.path.name == "2025-11-21-083005-a-red-fox-asleep-7-2.png"
    assert second.sidecar == OUT / "2025-11-21-083005-a-red-fox-asleep-7-2.png.json"
    assert _sidecar(first)["file"] == PNG_NAME


_PRIVATE = {
    "image": "/home/ada/private/fox.png",
    "mask": "C:\\Users\\ada\\mask.png",
    "controls": [{"kind": "canny", "image": "~/private/edges.png"}],
    "model": "/home/ada/private/dream.safetensors",
    "loras": [{"name": "/home/ada/private/ink.safetensors"}, {"name": "styles/oil"}],
    "upscale": {"method": "/home/ada/private/4x.pth"},
    "restore": {"model": "~/private/gfpgan.pth"},
    "extra": {"reference": "/home/ada/private/style.png", "mood": "/calm and happy"},
}


def test_no_file_contains_a_path_of_this_machine() -> None:
    request = sample_request(**_PRIVATE)
    made = sample_ticket(request).model_copy(
        update={"payload": {"1": {"inputs": {"image": "/home/ada/private/fox.png"}}}}
    )
    (saved,) = _save(request=request, of=made)
    written = saved.path.read_bytes() + saved.path.with_name(f"{saved.path.name}.json").read_bytes()
    assert b"ada" not in written
    assert b"private" not in written
    assert _entry(saved)["request"]["image"] == "fox.png"
    assert _entry(saved)["request"]["mask"] == "mask.png"
    assert _entry(saved)["resolved"]["controls"][0]["image"] == "edges.png"
    loras = _entry(saved)["resolved"]["loras"]
    assert [lora["name"] for lora in loras] == ["ink.safetensors", "styles/oil"]
    assert _entry(saved)["resolved"]["model"] == "dream.safetensors"
    assert _entry(saved)["request"]["upscale"]["method"] == "4x.pth"
    assert _entry(saved)["request"]["restore"]["model"] == "gfpgan.pth"
    assert _entry(saved)["request"]["extra"] == {
        "reference": "style.png",
        "mood": "/calm and happy",
    }
    assert _sidecar(saved)["graph"] == {"1": {"inputs": {"image": "fox.png"}}}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        pytest.param("https://example.org/a/fox.png?sig=secret#x", "fox.png", id="an address"),
        pytest.param("data:image/png;base64,AA/BB", "data:", id="data"),
        pytest.param("fox.png", "fox.png", id="a name"),
    ],
)
def test_references_are_recorded_by_name(reference: str, expected: str) -> None:
    (saved,) = _save(request=sample_request(image=reference))
    assert _entry(saved)["request"]["image"] == expected


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param('🦊 "quoted" \\ \'n\nnew\ttab \u202eright to left', id="of all kinds"),
        pytest.param("fox 雪 " * 14_000, id="of 100 kB"),
        pytest.param("a\x00b\x1b[31m\x7f", id="with control characters"),
        pytest.param("", id="of nothing"),
    ],
)
def test_prompts_are_recorded_unchanged(prompt: str) -> None:
    (saved,) = _save(request=sample_request(prompt=prompt))
    assert _entry(saved)["request"].get("prompt", "") == prompt
    assert _sidecar(saved)["resolved"].get("prompt", "") == prompt


def test_values_that_json_cannot_hold_are_converted() -> None:
    engine = {"nan": float("nan"), "path": Path("x"), "half": "\ud83d", "seeds": (1, 2**64 - 1)}
    (saved,) = _save(sample_result(png_output(), engine=engine))
    assert _sidecar(saved)["facts"]["engine"] == {
        "nan": None,
        "path": "x",
        "half": "\ud83d",
        "seeds": [1, 18446744073709551615],
    }


def test_the_sidecar_has_the_warnings() -> None:
    (saved,) = _save(replace(sample_result(), warnings=("The server is old.",)))
    assert _sidecar(saved)["warnings"] == ["The server is old."]


def test_an_empty_result_saves_nothing() -> None:
    assert _save(Result(outputs=())) == []


@pytest.mark.parametrize(
    "values",
    [
        {"image": "/photos/My Fox.jpg"},
        {"image": r"C:\photos\My Fox.jpg"},
        {"references": ("My Fox.png", "b.png")},
        {"controls": ({"kind": "canny", "image": "My Fox.png"},)},
    ],
    ids=["of this system", "of Windows", "a reference", "a control image"],
)
def test_without_a_prompt_the_name_comes_from_the_input(values: dict[str, Any]) -> None:
    (saved,) = _save(request=sample_request(prompt="", **values))
    assert saved.path.name == "2025-11-21-083005-my-fox-7.png"


def test_a_resumed_run_ignores_a_file_with_an_unreadable_sidecar() -> None:
    def resume() -> SavedImage:
        (saved,) = save_outputs(
            sample_result(),
            sample_ticket(),
            sample_settings(OUT),
            asked=sample_request(),
            now=NOW,
            rescue=Path("rescued"),
            is_resumed=True,
        )
        return saved

    first = resume()
    assert resume().path == first.path
    assert first.sidecar is not None
    first.sidecar.write_bytes(b"{")
    assert resume().path == OUT / PNG_NAME.replace("-7.png", "-7-2.png")
