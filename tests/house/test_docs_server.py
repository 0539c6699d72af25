"""The files with which the server is deployed are valid, and their commands exist."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.pages import ROOT, accept_command
from support.thoroughness import IS_THOROUGH

from imagen.backends import configure
from imagen.config import check, load_settings

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = ROOT / "docs" / "how-to" / "server"


def _instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each on one line."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    pairs = [line.partition(" ") for line in lines if not line.startswith("#")]
    return [(name, " ".join(rest.split())) for name, _, rest in pairs]


def _last(name: str) -> str:
    return [rest for one, rest in _instructions() if one == name][-1]


# The image


def test_the_image_is_built_from_a_fixed_small_python() -> None:
    bases = {rest.partition(" AS ")[0] for name, rest in _instructions() if name == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.1\d-slim", bases.pop())


def test_the_image_runs_as_a_user_with_one_volume() -> None:
    names = [name for name, _ in _instructions()]
    user = int(_last("USER").partition(":")[0])  # a number, which Kubernetes can check
    assert user > 0
    assert names.count("VOLUME") == 1
    assert _last("VOLUME") == _last("WORKDIR") == "/data"
    assert "HOME=/data" in _last("ENV")
    assert f"--uid {user}" in _last("RUN")
    assert names.index("VOLUME") > names.index("USER")  # the folder belongs to the user by then


def test_the_image_starts_a_command_that_exists() -> None:
    assert json.loads(_last("ENTRYPOINT")) == ["imagen"]
    command = json.loads(_last("CMD"))
    accept_command(command)
    port = command[command.index("--addr") + 1].removeprefix(":")
    assert _last("EXPOSE") == port
    health = json.loads(_last("HEALTHCHECK").partition("CMD ")[2])
    assert f"http://127.0.0.1:{port}/health" in health[-1]
    compile(health[-1], "HEALTHCHECK", "exec")
    assert _last("STOPSIGNAL") == "SIGTERM"


def test_the_image_has_no_secret_and_no_file_from_elsewhere() -> None:
    names = {name for name, _ in _instructions()}
    assert not names & {"ADD", "ARG"}
    assert not re.search("TOKEN|PASSWORD|KEY", _last("ENV"))


def test_the_image_installs_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    run = next(rest for name, rest in _instructions() if name == "RUN")
    found = re.search(r"\.\[([a-z0-9,]+)\]", run)
    assert found is not None
    extras = set(found[1].split(","))
    assert extras <= project["optional-dependencies"].keys()
    assert {"serve", "mcp"} <= extras
    assert "diffusers" not in extras


def test_the_image_is_built_from_what_the_wheel_needs_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert all((ROOT / name).exists() for name in sent)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = build["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*wheel["packages"], *wheel["force-include"], build["project"]["readme"]} <= sent
    assert not any(fnmatch(name, ".*") for name in sent)  # .git, .venv, .env


def test_hadolint_accepts_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint")
    ran = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_docker_builds_the_image_and_it_is_healthy() -> None:
    if not IS_THOROUGH:
        pytest.skip("takes minutes: scripts/test thorough builds it")
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode:
        pytest.skip("no docker")
    image = "imagen:test-of-the-dockerfile"
    built = subprocess.run([docker, "build", "-t", image, ROOT], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([docker, "run", "--rm", image, "version"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


# Compose, systemd


def test_the_compose_file_gives_the_token_as_a_secret_and_publishes_to_this_machine() -> None:
    compose = yaml.safe_load((_FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    server: dict[str, Any] = compose["services"]["server"]
    secret = server["environment"]["IMAGEN_TOKEN_FILE"]
    assert secret == f"/run/secrets/{server['secrets'][0]}"
    assert compose["secrets"].keys() == {*server["secrets"]}
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    assert (_FOLDER / server["build"] / "Dockerfile").resolve() == ROOT / "Dockerfile"
    assert server["volumes"][0].partition(":")[2] == _last("VOLUME")


def test_docker_compose_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("no docker compose")
    words = [docker, "compose", "-f", str(_FOLDER / "compose.yaml"), "config", "--quiet"]
    ran = subprocess.run(words, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_configuration_of_the_compose_file_is_valid() -> None:
    assert check(_FOLDER / "imagen.yaml").problems == ()
    settings = load_settings(_FOLDER / "imagen.yaml", environ={})
    for name in settings.backends:
        assert configure(name, settings.backends)[1].name == name


def test_the_unit_runs_a_command_that_exists_and_may_write_where_imagen_writes() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(_FOLDER / "imagen-serve.service", encoding="utf-8")
    service = parser["Service"]
    words = shlex.split(service["ExecStart"])
    assert words[0].endswith("/bin/imagen")
    accept_command(words[1:])
    assert service["WorkingDirectory"] in service["ReadWritePaths"].split()
    assert {"%h/.local/share/imagen", "%h/.local/state/imagen"} <= {
        *service["ReadWritePaths"].split()
    }
    assert float(service["TimeoutStopSec"]) > 10  # how long the server may take


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    text = (_FOLDER / "imagen-serve.service").read_text(encoding="utf-8")
    unit = tmp_path / "imagen-serve.service"
    # It looks whether the program exists.
    unit.write_text(text.replace("%h/.local/bin/imagen", sys.executable), encoding="utf-8")
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    words = ["systemd-analyze", "--user", "verify", str(unit)]
    ran = subprocess.run(words, capture_output=True, text=True, env=environ)
    assert ran.returncode == 0, ran.stderr
    assert unit.name not in ran.stderr


# Proxies


@pytest.mark.parametrize("name", ["nginx.conf", "nginx-base-path.conf"])
def test_nginx_sends_the_clients_name_and_address_and_buffers_nothing(name: str) -> None:
    text = re.sub(r"#.*", "", (_FOLDER / name).read_text(encoding="utf-8"))
    directives = {" ".join(one.split()) for one in re.split("[;{}]", text)}
    assert directives >= {
        "proxy_set_header Host $host",
        "proxy_set_header X-Forwarded-For $remote_addr",
        "proxy_set_header X-Forwarded-Proto $scheme",
        "proxy_buffering off",
        "proxy_read_timeout 1h",
        "client_max_body_size 64m",
    }


def test_nginx_accepts_its_files(tmp_path: Path) -> None:
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("no nginx")
    whole = (_FOLDER / "nginx.conf").read_text(encoding="utf-8")
    whole = re.sub(r"(?m)^ *ssl_certificate.*\n", "", whole).replace(
        "listen 443 ssl", "listen 8081"
    )
    part = (_FOLDER / "nginx-base-path.conf").read_text(encoding="utf-8")
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off;\n{whole}\n"
        f"server {{ listen 8082; {part} }} }}",
        encoding="utf-8",
    )
    ran = subprocess.run([nginx, "-t", "-c", str(config)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", ["Caddyfile", "Caddyfile-base-path"])
def test_caddy_accepts_its_files(name: str, tmp_path: Path) -> None:
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("no caddy")
    words = [caddy, "validate", "--adapter", "caddyfile", "--config", str(_FOLDER / name)]
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    ran = subprocess.run(words, capture_output=True, text=True, env=environ)
    assert ran.returncode == 0, ran.stderr
