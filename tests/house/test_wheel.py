"""The wheel built from the source distribution works without anything else."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

_ROOT = Path(__file__).parents[2]
_NAMES = sorted(path.stem for path in (_ROOT / "workflows").glob("*.json"))


def _run(*words: str | Path, cwd: Path | None = None) -> str:
    ran = subprocess.run(list(map(str, words)), capture_output=True, text=True, cwd=cwd)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def imagen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed from the wheel that is built from the source distribution."""
    place = tmp_path_factory.mktemp("built")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", place, _ROOT)
    (wheel,) = place.glob("*.whl")
    venv.create(place / "venv", with_pip=True)
    bin_ = place / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    _run(bin_ / "python", "-m", "pip", "install", "--quiet", wheel)
    return bin_ / "imagen"


def test_an_installed_wheel_has_every_workflow(imagen: Path, tmp_path: Path) -> None:
    listed = json.loads(_run(imagen, "workflows", "list", "--json", cwd=tmp_path))
    assert sorted(entry["name"] for entry in listed) == _NAMES


def test_a_wheel_has_the_page_if_it_could_be_built(imagen: Path) -> None:
    """As the source distribution has the built page, this needs no Node.js."""
    (wheel,) = imagen.parents[2].glob("*.whl")
    names = ZipFile(wheel).namelist()
    is_built = (_ROOT / "imagen" / "server" / "static" / "index.html").is_file()
    assert ("imagen/server/static/index.html" in names) is is_built


def test_an_installed_wheel_names_its_distribution(imagen: Path, tmp_path: Path) -> None:
    """The name `imagen` belongs to another project of the package index."""
    program = "from imagen.errors import install_command; print(install_command('socks'))"
    printed = _run(imagen.with_name("python"), "-c", program, cwd=tmp_path)
    assert printed == 'pip install "imagen-backends[socks]"\n'


@pytest.mark.parametrize(
    ("flags", "file"), [((), "imagen/config/sample.yaml"), (("--full",), "imagen.example.yaml")]
)
def test_an_installed_wheel_prints_the_sample_configurations(
    imagen: Path, tmp_path: Path, flags: tuple[str, ...], file: str
) -> None:
    sample = (_ROOT / file).read_text(encoding="utf-8")
    assert _run(imagen, "config", "init", *flags, cwd=tmp_path) == sample


def test_an_installed_wheel_generates_an_image_with_its_declared_dependencies(
    imagen: Path, tmp_path: Path
) -> None:
    printed = _run(imagen, "generate", "x", "--size", "64x64", "--quiet", cwd=tmp_path)
    assert (tmp_path / printed.strip()).read_bytes().startswith(b"\x89PNG")
