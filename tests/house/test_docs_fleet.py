"""The files with which a fleet is started are valid, and their commands exist."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.pages import accept_command

from imagen.backends import configure
from imagen.config import check, load_settings

_FOLDER = Path(__file__).parents[2] / "docs" / "how-to" / "fleet"


def _compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((_FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    return found


def _unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(_FOLDER / "imagen-worker.service", encoding="utf-8")
    return parser


def test_the_workers_of_the_compose_file_are_accepted() -> None:
    services = _compose()["services"]
    workers = [service for service in services.values() if "build" in service]
    assert len(workers) == 2
    configured = yaml.safe_load((_FOLDER / "imagen.yaml").read_text(encoding="utf-8"))["backends"]
    for worker in workers:
        accept_command(worker["command"])
        assert worker["command"][worker["command"].index("--backends") + 1] in configured


def test_the_compose_file_holds_no_secret() -> None:
    for service in _compose()["services"].values():
        for name, value in service["environment"].items():
            if re.search("PASSWORD|TOKEN|KEY", name):
                assert value.startswith("${"), name


def test_docker_compose_accepts_the_file() -> None:
    docker = shutil.which("docker")
    words = [docker or "", "compose", "-f", str(_FOLDER / "compose.yaml"), "config", "--quiet"]
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("no docker compose")
    environ = {"IMAGEN_DB_PASSWORD": "x", "REPLICATE_API_TOKEN": "x", "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(words, capture_output=True, text=True, env=environ)
    assert ran.returncode == 0, ran.stderr


def test_the_configuration_of_the_workers_is_valid() -> None:
    assert check(_FOLDER / "imagen.yaml").problems == ()
    settings = load_settings(_FOLDER / "imagen.yaml", environ={})
    for name in settings.backends:
        assert configure(name, settings.backends)[1].name == name


def test_the_command_of_the_unit_is_accepted() -> None:
    words = shlex.split(_unit()["Service"]["ExecStart"])
    assert words[0].endswith("/bin/imagen")
    accept_command(words[1:])


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    text = (_FOLDER / "imagen-worker.service").read_text(encoding="utf-8")
    unit = tmp_path / "imagen-worker.service"
    # It looks whether the program exists.
    unit.write_text(text.replace("/opt/imagen/bin/imagen", sys.executable), encoding="utf-8")
    ran = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert unit.name not in ran.stderr
