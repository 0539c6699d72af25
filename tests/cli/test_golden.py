"""The wording of every command: its whole output is compared with the files in golden/.

A changed sentence is changed here and nowhere else. To write the files anew:

    pytest tests/cli/test_golden.py --update-golden
"""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from imagen.cli import run

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = Path(__file__).parent / "golden"
_NAMES = sorted(path.stem for path in _FOLDER.glob("*.txt"))
_VARYING = (
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d:\d\d|Z)?", "<time>"),
    (r"\b\d{4}-\d\d-\d\d\b", "<date>"),
    (r"\b\d+(\.\d+)? (ms|s)\b", "<seconds>"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
    (r"(?<![\w/])(?=[0-9a-f]*\d)[0-9a-f]{8}(?![\w])", "<id>"),
    (r"\b[0-9a-f]{64}\b", "<sha256>"),
    (r"_seconds: [\d.e-]+", "_seconds: <seconds>"),
    (r"(python|torch|imagen): [\d.]+\S*", r"\1: <version>"),
)


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.mark.parametrize("name", _NAMES)
def test_output_of_commands_is_as_recorded(
    name: str, update_golden: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each line of the file that begins with `$` is a command; the rest is what it prints."""
    golden = _FOLDER / f"{name}.txt"
    recorded = golden.read_text(encoding="utf-8")
    Image.radial_gradient("L").convert("RGB").resize((64, 48)).save("photo.png")
    Image.new("L", (64, 48), 255).save("mask.png")
    capfd.readouterr()
    sessions = []
    for line in recorded.splitlines():
        if line.startswith("$ "):
            code = run(shlex.split(line)[2:])
            sessions.append(f"{line}\n{_output(capfd, tmp_path)}[exit code {code}]\n")
    actual = "\n".join(sessions)
    if update_golden:
        golden.write_text(actual, encoding="utf-8")
    assert actual == golden.read_text(encoding="utf-8")


def _output(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> str:
    """What was printed on stdout, and on stderr with a mark; what varies is replaced."""
    out, err = capfd.readouterr()
    shown = out + "".join(f"! {line}\n" for line in err.splitlines())
    shown = shown.replace(str(tmp_path), "<tmp>")
    for pattern, placeholder in _VARYING:
        shown = re.sub(pattern, placeholder, shown)
    return re.sub(r"[ \t]+\n", "\n", shown)
