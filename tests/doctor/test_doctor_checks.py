"""Checks of this machine: credentials, folders, jobs, preview, versions."""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path

import pytest
from support.doctor_samples import settings, summarize

import imagen
from imagen.core.filesystem import lock
from imagen.doctor import checks
from imagen.errors import install_command

_NO_CLOUD = {"output": {"cloud_sync": "off"}}


def test_set_credential_is_reported_and_never_shown() -> None:
    blocks = {"flux": {"type": "replicate", "model": "black-forest-labs/flux-schnell"}}
    found = list(
        checks.check_credentials(
            settings(Path(), backends=blocks, **_NO_CLOUD), {"REPLICATE_API_TOKEN": "r8_secret"}
        )
    )
    assert summarize(found) == [("REPLICATE_API_TOKEN", "ok", "set, for flux")]
    assert "r8_secret" not in repr(found)


def test_missing_credential_is_reported_with_its_users() -> None:
    block = {"type": "replicate", "model": "black-forest-labs/flux-schnell"}
    mine = {"type": "comfyui", "workflow": "sdxl", "bearer_env": "STUDIO_TOKEN"}
    blocks = {"flux": block, "flux-2": block, "studio": mine}
    found = list(checks.check_credentials(settings(Path(), backends=blocks, **_NO_CLOUD), {}))
    assert summarize(found) == [
        ("REPLICATE_API_TOKEN", "broken", "not set; flux, flux-2 needs it"),
        ("STUDIO_TOKEN", "broken", "not set; studio needs it"),
    ]
    assert found[1].remedies == ("Set it before studio is used.",)


def test_value_instead_of_a_variable_name_is_not_shown() -> None:
    blocks = {"studio": {"type": "comfyui", "workflow": "sdxl", "bearer_env": "hunter2"}}
    found = list(checks.check_credentials(settings(Path(), backends=blocks, **_NO_CLOUD), {}))
    assert summarize(found) == [("(not a variable name)", "broken", "not set; studio needs it")]


def test_credentials_of_cloud_library_and_webhooks_are_checked() -> None:
    whole = settings(
        Path(),
        library={"url": "postgresql://me@host/db", "password_env": "PG_WORD"},
        webhooks=[{"url": "https://example.org", "secret_env": "HOOK_SECRET"}],
        cloud={"key_env": ["SUPABASE_SERVICE_KEY", "OWN_KEY"]},
    )
    assert summarize(checks.check_credentials(whole, {"OWN_KEY": "x", "HOOK_SECRET": " "})) == [
        ("PG_WORD", "warning", "not set; the library needs it"),
        ("HOOK_SECRET", "broken", "not set; the signature of a webhook needs it"),
        ("SUPABASE_URL", "note", "not set; the cloud needs it"),
        ("OWN_KEY", "ok", "set, for the cloud"),
    ]


def test_unused_cloud_needs_no_credentials() -> None:
    assert summarize(checks.check_credentials(settings(Path()), {})) == [
        ("credentials", "ok", "none is needed")
    ]


def test_folders_are_reported_with_free_space(tmp_path: Path) -> None:
    found = list(checks.check_disk(settings(tmp_path)))
    assert [(f.subject, f.state) for f in found] == [
        ("output.directory", "ok"),
        ("state_dir", "ok"),
        ("library.url", "ok"),
    ]
    match = re.fullmatch(r"(.+), (\d+\.\d) GB free", found[0].says)
    assert match is not None
    assert match[1] == str(tmp_path / "images")
    assert float(match[2]) == pytest.approx(shutil.disk_usage(tmp_path).free / 10**9, abs=5)


def test_library_on_a_server_has_no_folder(tmp_path: Path) -> None:
    found = checks.check_disk(settings(tmp_path, library={"url": "postgresql://me@host/db"}))
    assert [finding.subject for finding in found] == ["output.directory", "state_dir"]


def test_file_instead_of_a_folder_is_broken(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("")
    first, *_ = checks.check_disk(settings(tmp_path))
    assert (first.state, first.says) == ("broken", f"{tmp_path / 'images'} is not a folder")
    assert first.remedies == ("Name another folder: output.directory.",)


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write everywhere")
def test_unwritable_folder_is_broken(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    first, *_ = checks.check_disk(settings(tmp_path))
    tmp_path.chmod(0o700)
    assert (first.state, first.says) == ("broken", f"{tmp_path} is not writable")


def test_low_disk_space_is_a_warning() -> None:
    found = checks.check_space("state_dir", Path("/state"), 250_000_000)
    assert (found.state, found.says) == ("warning", "/state, 0.2 GB free")
    assert found.remedies == ("Free some space on this disk.",)


def test_no_interrupted_job_is_ok(tmp_path: Path) -> None:
    assert summarize(checks.check_jobs(tmp_path)) == [("interrupted", "ok", "none")]


def test_interrupted_jobs_are_a_warning_and_running_ones_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "tickets"
    folder.mkdir()
    (folder / "a.json").touch()
    (folder / "b.json").touch()
    held = lock(folder / "b.lock")
    assert held is not None
    found = list(checks.check_jobs(tmp_path))
    held.release()
    assert summarize(found) == [
        ("at work", "ok", "1 job"),
        ("interrupted", "warning", "1 job is unfinished: a"),
    ]
    assert found[1].remedies == ("Finish them with: imagen resume",)


def test_many_jobs_are_not_all_named(tmp_path: Path) -> None:
    (tmp_path / "tickets").mkdir()
    for name in "abcdefg":
        (tmp_path / "tickets" / f"{name}.json").touch()
    (found,) = checks.check_jobs(tmp_path)
    assert found.says == "7 jobs are unfinished: a, b, c, d, e, …"


def test_missing_viewer_in_tmux_is_a_note(tmp_path: Path) -> None:
    found = list(
        checks.check_preview(settings(Path()).output, {"TMUX": "x", "PATH": str(tmp_path)})
    )
    assert summarize(found) == [
        ("preview", "note", "nowhere: the viewer 'tmux-img' is not on the PATH"),
    ]
    assert found[0].remedies == ("Install it, or name another in output.preview_command.",)


@pytest.mark.parametrize(
    ("switch", "environ", "told_"),
    [
        pytest.param("off", {}, ("note", "off"), id="off"),
        pytest.param(
            "auto",
            {"TERM": "xterm"},
            ("note", "nowhere: this is neither tmux nor a terminal that is known to show images"),
            id="nowhere",
        ),
        pytest.param(
            "auto",
            {"TERM": "xterm-kitty"},
            ("ok", "in the terminal, with kitty's protocol"),
            id="kitty",
        ),
        pytest.param(
            "on",
            {"TERM": "xterm"},
            ("warning", "A preview is required, but this terminal cannot show images."),
            id="on, and nowhere",
        ),
        pytest.param(
            "on",
            {"TMUX": "x", "PATH": ""},
            ("warning", "'tmux' is not on the PATH"),
            id="without tmux",
        ),
    ],
)
def test_preview_place_is_reported(
    switch: str, environ: dict[str, str], told_: tuple[str, str]
) -> None:
    (found,) = checks.check_preview(settings(Path(), output={"preview": switch}).output, environ)
    assert (found.state, found.says) == told_


def test_versions_are_reported() -> None:
    found = {finding.subject: finding for finding in checks.check_versions()}
    assert found["imagen"].says == imagen.__version__
    assert found["Python"].says == platform.python_version()
    assert "pydantic 2." in found["packages"].says


def test_extra_is_reported_with_its_packages() -> None:
    none = checks.check_extra("diffusers", [], ["torch", "diffusers"])
    assert (none.state, none.says) == ("note", "not installed")
    assert none.remedies == (f"Install it with: {install_command('diffusers')}",)
    half = checks.check_extra("x", ["pydantic"], ["torch"])
    assert half.state == "warning"
    assert half.says.endswith("; without torch")
