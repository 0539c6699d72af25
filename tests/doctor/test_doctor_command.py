"""The command imagen doctor."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.doctor_samples import keep

from imagen.cli import run
from imagen.config import check
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODEL = "sd_xl_base_1.0.safetensors"


def _findings(capsys: pytest.CaptureFixture[str], *words: str, code: int) -> list[dict[str, Any]]:
    assert run(["doctor", "--json", *words]) == code
    body = json.loads(capsys.readouterr().out)
    assert body["ok"] is (code == 0)
    found: list[dict[str, Any]] = body["findings"]
    return found


@pytest.fixture
def _faulty() -> Iterator[None]:
    """A machine on which nearly everything is wrong."""
    with ComfyUI(missing_models=[_MODEL]) as server:
        Path("imagen.yaml").write_text(
            "state_dir: state\n"
            "library: {url: library.db}\n"
            "output: {directory: images, cloud_sync: on}\n"
            "limits: {max_width: 0}\n"
            "webhooks: [{url: 'http://127.0.0.1:9/', secret_env: HOOK_SECRET}]\n"
            "backends:\n"
            f"  bare: {{type: comfyui, workflow: sdxl, url: '{server.url}'}}\n"
            "  gone: {type: comfyui, workflow: sdxl, url: 'http://127.0.0.1:9'}\n"
            "  typo: {type: mock, lok: x}\n"
            "  service: {type: replicate, model: black-forest-labs/flux-schnell}\n"
        )
        Path("images").write_text("a file")
        Path("state/tickets").mkdir(parents=True)
        Path("state/tickets/0.json").write_text("{}")
        keep(check().settings, webhooks=1, why="HTTP 410: it is gone.", stuck=True)
        yield


@pytest.mark.usefixtures("_faulty")
def test_doctor_reports_all_faults_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    found = _findings(capsys, code=1)
    broken = [(f["section"], f["subject"]) for f in found if f["state"] == "broken"]
    assert broken == [
        ("configuration", "imagen.yaml"),
        ("configuration", "imagen.yaml"),
        ("configuration", "switches"),
        ("credentials", "REPLICATE_API_TOKEN"),
        ("credentials", "HOOK_SECRET"),
        ("backends", "bare"),
        ("backends", "gone"),
        ("backends", "typo"),
        ("backends", "service"),
        ("disk", "output.directory"),
        ("library", "outbox"),
        ("cloud", "cloud"),
    ]
    assert [f["subject"] for f in found if f["state"] == "warning"] == ["interrupted"]
    by_subject = {f["subject"]: f for f in found}
    assert "https://huggingface.co/" in by_subject["bare"]["remedies"][0]
    assert by_subject["outbox"]["says"] == "1 for the webhook stuck: HTTP 410: it is gone."


@pytest.mark.usefixtures("_faulty")
def test_each_fault_has_a_remedy_unless_reported_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = _findings(capsys, code=1)
    bare = [f["subject"] for f in found if f["state"] == "broken" and not f["remedies"]]
    assert bare == ["typo", "service", "cloud"]


@pytest.mark.usefixtures("_faulty")
def test_doctor_quick_asks_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    found = _findings(capsys, "--quick", code=1)
    engines = {f["subject"]: f["state"] for f in found if f["section"] == "backends"}
    assert engines == {"bare": "ok", "gone": "ok", "typo": "broken", "service": "broken"}


def test_doctor_lists_a_healthy_machine_by_section(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("backends: {paint: {type: mock}}\n")
    assert run(["doctor"]) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[:2] == [
        "configuration",
        f"  ok       imagen.yaml: {Path('imagen.yaml').absolute()}",
    ]
    assert "  ok       paint: ok" in lines
    assert lines[-2:] == ["", "No problems found."]
    assert output.err == ""


def test_doctor_lists_broken_things_with_remedies(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text(
        "backends: {gone: {type: mock, fail: unavailable}}\ndefault_backend: x\n"
    )
    assert run(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  broken   imagen.yaml: line 2: default_backend: Unknown backend ")
    assert lines[2] == "           Known: gone, mock."
    assert lines[-1] == "2 broken, 0 warnings."


def test_doctor_exits_0_with_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("state_dir: state\n")
    Path("state/tickets").mkdir(parents=True)
    Path("state/tickets/0.json").write_text("{}")
    assert run(["doctor", "--quick"]) == 0
    assert capsys.readouterr().out.endswith("\nNothing is broken; 1 warning.\n")


def test_doctor_accepts_another_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.yaml").write_text("backends: {a: {type: mock}}\n")
    found = _findings(capsys, "--config", "other.yaml", code=0)
    assert found[0]["says"] == str(Path("other.yaml").absolute())


def test_doctor_does_not_repeat_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    token = "r8_" + "a1B2" * 9
    Path("imagen.yaml").write_text(f"backends: {{a: {{type: replicate, token: {token}}}}}\n")
    assert run(["doctor", "--quick"]) == 1
    assert token not in capsys.readouterr().out


_IMPATIENT = """
import sys
from imagen.doctor import examine
found = examine(patience_seconds=0.5)
print(*[f"{f.subject} {f.says}" for f in found if f.state == "broken"])
"""


def test_silent_server_does_not_keep_the_process_alive() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        Path("imagen.yaml").write_text(f"backends: {{mute: {{type: sdcpp, url: '{url}'}}}}\n")
        ran = subprocess.run(
            [sys.executable, "-c", _IMPATIENT], capture_output=True, text=True, timeout=60
        )
    assert (ran.stdout, ran.stderr) == ("mute no answer within 0.5 s\n", "")


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_doctor_shows_progress_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = _Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with ComfyUI(slow=0.2) as server:
        block = f"{{type: comfyui, workflow: sdxl, url: '{server.url}'}}"
        Path("imagen.yaml").write_text(f"backends: {{studio: {block}}}\n")
        assert run(["doctor"]) == 0
    assert "\r\x1b[KChecking studio …" in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[K")
    assert "Looking" not in capsys.readouterr().out
