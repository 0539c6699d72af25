"""Checks of backends and the cloud, with simulated servers."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from simulators.supabase import BUCKET, SERVICE_KEY, Bucket, Supabase
from support.doctor_samples import settings, summarize

from imagen.doctor import run_checks
from imagen.doctor.checks import Check, backend_checks, check_cloud
from imagen.testing.comfyui import ComfyUI
from imagen.testing.http_server import HeldPort

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.doctor import Finding

_FILE = "sd_xl_base_1.0.safetensors"
_VERSION = "0.9.2"


def _backends(quick: bool = False, **blocks: dict[str, Any]) -> list[Finding]:
    whole = settings(Path(), backends=blocks)
    checks = list(backend_checks(whole, {}, quick=quick))
    return run_checks(checks, patience_seconds=60)


def _sdxl(url: str) -> dict[str, Any]:
    return {"type": "comfyui", "workflow": "sdxl", "url": url, "connect_seconds": 2}


@pytest.fixture
def dead() -> Iterator[str]:
    """An address at which connections are refused."""
    held = HeldPort()
    yield held.url
    held.release()


@pytest.fixture
def mute() -> Iterator[str]:
    """An address at which somebody listens, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_complete_server_is_ok() -> None:
    with ComfyUI(version=_VERSION) as server:
        first, *_ = _backends(studio=_sdxl(server.url))
    assert (first.section, first.subject, first.state) == ("backends", "studio", "ok")
    assert first.says.startswith(f"version {_VERSION}; device ")
    assert "; workflow sdxl; GPU Imaginary GPU, " in first.says


def test_missing_model_is_named_with_its_download() -> None:
    with ComfyUI(version=_VERSION, missing_models=[_FILE]) as server:
        (found,) = _backends(studio=_sdxl(server.url))
    assert found.state == "broken"
    assert _FILE in found.says
    (remedy,) = found.remedies
    assert "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0" in remedy
    assert "models/checkpoints" in remedy


def test_missing_capability_is_a_note() -> None:
    with ComfyUI(version=_VERSION, missing_models=["RealESRGAN_x4plus.safetensors"]) as server:
        first, *notes = _backends(studio=_sdxl(server.url))
    assert first.state == "ok"
    assert {note.state for note in notes} == {"note"}
    (upscale,) = [note for note in notes if "upscale" in note.says]
    assert upscale.says.startswith("cannot upscale now: ")
    assert "RealESRGAN_x4plus" in upscale.says
    assert len(upscale.remedies) == 1


def test_dead_port_is_broken_and_others_are_checked(dead: str) -> None:
    found = _backends(gone=_sdxl(dead), paint={"type": "mock"})
    assert [(f.subject, f.state) for f in found] == [("gone", "broken"), ("paint", "ok")]
    assert dead in found[0].says
    assert found[0].remedies != ()


def test_silent_server_delays_no_other_check(mute: str) -> None:
    whole = settings(Path(), backends={"mute": _sdxl(mute), "paint": {"type": "mock"}})
    checks = list(backend_checks(whole, {}, quick=False))
    assert summarize(run_checks(checks, patience_seconds=0.5)) == [
        ("mute", "broken", "no answer within 0.5 s"),
        ("paint", "ok", "ok"),
    ]


def test_quick_asks_no_engine(dead: str) -> None:
    assert summarize(_backends(quick=True, gone=_sdxl(dead))) == [
        ("gone", "ok", "configured; its engine was not asked")
    ]


def test_invalid_backend_is_reported_once() -> None:
    service = {"type": "replicate", "model": "black-forest-labs/flux-schnell"}
    assert summarize(_backends(wrong={"type": "mock", "lok": "x"}, service=service)) == [
        ("wrong", "broken", "cannot be used: its configuration is wrong, as reported above"),
        ("service", "broken", "cannot be used without its credential"),
    ]


def _cloud(
    environ: dict[str, str], *, quick: bool = False, **more: Any
) -> list[tuple[str, str, str]]:
    look = partial(check_cloud, settings(Path(), **more), environ, quick=quick)
    check = Check(section="cloud", subject="cloud", look=look)
    return summarize(run_checks([check], patience_seconds=60))


def _environ(project: Supabase) -> dict[str, str]:
    return {"SUPABASE_URL": project.url, "SUPABASE_SERVICE_KEY": SERVICE_KEY}


def test_unconfigured_cloud_is_a_note() -> None:
    assert _cloud({}) == [
        (
            "cloud",
            "note",
            "off: SUPABASE_URL and SUPABASE_SERVICE_KEY and owner_user_id are not set",
        )
    ]
    assert _cloud({}, output={"cloud_sync": "off"}) == [
        ("cloud", "note", "off: images stay on this machine")
    ]


def test_incomplete_cloud_is_a_warning() -> None:
    environ = {"SUPABASE_URL": "https://abc.supabase.co", "SUPABASE_SERVICE_KEY": "x"}
    assert _cloud(environ) == [("cloud", "warning", "off: owner_user_id is not set")]


def test_cloud_bucket_is_reported() -> None:
    with Supabase() as project:
        found = _cloud(_environ(project), owner_user_id="me")
        assert found == [("cloud", "ok", f"{project.url}, private bucket {BUCKET}")]
        assert SERVICE_KEY not in repr(found)


def test_public_bucket_with_prompts_is_a_warning() -> None:
    with Supabase(buckets=[Bucket(name=BUCKET, public=True)]) as project:
        found = _cloud(_environ(project), owner_user_id="me", cloud={"metadata": "full"})
    assert [(subject, state) for subject, state, _ in found] == [
        ("cloud", "ok"),
        ("cloud", "warning"),
    ]


def test_missing_bucket_is_broken() -> None:
    with Supabase(buckets=[]) as project:
        ((subject, state, says),) = _cloud(_environ(project), owner_user_id="me")
    assert (subject, state) == ("cloud", "broken")
    assert "ucket" in says


def test_refused_key_is_broken_and_not_shown() -> None:
    with Supabase() as project:
        environ = {"SUPABASE_URL": project.url, "SUPABASE_SERVICE_KEY": "sb_wrong_key"}
        ((_, state, says),) = _cloud(environ, owner_user_id="me")
    assert state == "broken"
    assert "sb_wrong_key" not in says


def test_quick_does_not_ask_the_cloud(dead: str) -> None:
    environ = {"SUPABASE_URL": dead, "SUPABASE_SERVICE_KEY": "x"}
    assert _cloud(environ, quick=True, owner_user_id="me") == [
        ("cloud", "ok", "configured, and not asked")
    ]
