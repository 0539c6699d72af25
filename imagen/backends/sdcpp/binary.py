"""The program sd-cli: find it, ask what it can do, detect what is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.backends.base import Detection, Gpu, MissingCapability
from imagen.backends.learned import read_learned, write_learned
from imagen.backends.sdcpp.config import DEFAULT_URL, SdCppConfig
from imagen.core.text import one_line
from imagen.errors import BackendError, ConfigError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAMES = ("sd-cli", "sd")
"""The names of the program: older releases call it `sd`, as does a text search tool."""

_PROBE_SECONDS = 30
_CACHE_VERSION = 1
"""Increase it when the output is parsed differently: older cache entries are then ignored."""
_CPU_DEVICES = ("CPU", "BLAS")
"""Prefixes of ggml device names that are not graphics cards."""
_OPTION = re.compile(r"^ {1,4}(?:(-\w), )?(--[\w-]+)", re.MULTILINE)
_IDENTIFYING_FLAG = "--diffusion-model"
"""Every stable-diffusion.cpp has it, and no other program called sd."""
_MODEL_FOLDERS = ("models", "~/models", "~/stable-diffusion.cpp/models")
_MODEL_SUFFIXES = (".safetensors", ".gguf")
_DETECT_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SdCli:
    """One sd-cli, as its `--version` and `--help` describe it."""

    command: tuple[str, ...]
    version: str = ""
    flags: frozenset[str] = frozenset()
    samplers: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return Path(self.command[-1]).name


def find_sd_cli(
    binary: tuple[str, ...] | str,
    cache_dir: Path | None,
    environ: Mapping[str, str] = os.environ,
) -> SdCli:
    """The configured program, or the first usable one that is found.

    It is probed once; the result is cached below `cache_dir` until the file changes. Raises
    Unavailable where there is no usable program.
    """
    errors: list[Unavailable] = []
    for command in find_commands(binary, environ):
        try:
            return _probe_cached(command, cache_dir)
        except Unavailable as error:
            errors.append(error)
    if errors:
        raise errors[0]
    raise Unavailable(
        "sd-cli not found on the PATH or in the usual places.",
        remedy="Install stable-diffusion.cpp, and set `binary` to the path of its sd-cli.",
    )


def find_commands(
    binary: tuple[str, ...] | str, environ: Mapping[str, str] = os.environ
) -> Iterator[tuple[str, ...]]:
    """The configured command alone, or every command that may be sd-cli, the likeliest first.

    Raises Unavailable where the configured program does not exist.
    """
    command = (binary,) if isinstance(binary, str) else binary
    if any(command):
        path = shutil.which(os.path.expanduser(command[0]), path=environ.get("PATH"))
        if path is None:
            raise Unavailable(
                f"{one_line(command[0])} not found, or not executable.",
                remedy="Set `binary` to the path of sd-cli, or leave it out to search for it.",
            )
        if is_batch_file(path):
            raise Unavailable(
                f"{one_line(command[0])} is a batch file: parts of a prompt could run as commands.",
                remedy="Set `binary` to the program itself, or to a list that begins a command.",
            )
        yield (os.path.abspath(path), *command[1:])
        return
    for folder in (environ.get("PATH"), *map(str, _usual_folders(environ))):
        for name in NAMES:
            path = shutil.which(name, path=folder)
            if path is not None and not is_batch_file(path):
                yield (path,)


def is_batch_file(path: str) -> bool:
    """Whether Windows passes the arguments through a shell: a prompt must never be a command."""
    return path.lower().endswith((".bat", ".cmd"))


def _usual_folders(environ: Mapping[str, str], system: str = sys.platform) -> Iterator[Path]:
    home = Path(environ.get("USERPROFILE" if system == "win32" else "HOME") or Path.home())
    build = home / "stable-diffusion.cpp" / "build" / "bin"
    if system == "win32":
        for variable in ("LOCALAPPDATA", "ProgramFiles"):
            if environ.get(variable):
                yield Path(environ[variable]) / "stable-diffusion.cpp"
        yield build / "Release"
    else:
        yield from (home / ".local/bin", Path("/usr/local/bin"), Path("/opt/homebrew/bin"))
        yield Path("/opt/stable-diffusion.cpp/bin")
    yield build


def _probe_cached(command: tuple[str, ...], cache_dir: Path | None) -> SdCli:
    parts: list[object] = [_CACHE_VERSION, *command]
    for part in command:
        with suppress(OSError, ValueError):
            status = os.stat(part)
            parts += [status.st_mtime_ns, status.st_size]
    key = sha256(json.dumps(parts).encode()).hexdigest()[:32]
    cache = cache_dir and cache_dir / "sdcpp" / f"{key}.json"
    values = read_learned(cache)
    try:
        return SdCli(
            command=command,
            version=str(values["version"]),
            flags=frozenset(map(str, values["flags"])),
            samplers=tuple(map(str, values["samplers"])),
            schedulers=tuple(map(str, values["schedulers"])),
            modes=tuple(map(str, values["modes"])),
        )
    except (KeyError, TypeError):
        sd_cli = probe_sd_cli(command)
        write_learned(cache, asdict(sd_cli) | {"flags": sorted(sd_cli.flags)})
        return sd_cli


def probe_sd_cli(command: tuple[str, ...]) -> SdCli:
    """Ask a program what it can do; raises Unavailable where it is not stable-diffusion.cpp."""
    text = _run_with(command, "--help")
    flags = frozenset(flag for match in _OPTION.finditer(text) for flag in match.groups() if flag)
    program = one_line(command[-1])
    if _IDENTIFYING_FLAG not in flags:
        raise Unavailable(
            f"{program} is not sd-cli: its --help does not list {_IDENTIFYING_FLAG}.",
            remedy="Set `binary` to the path of the sd-cli of stable-diffusion.cpp.",
        )
    modes = _choices(text, "--mode")
    if "img_gen" not in modes:
        raise Unavailable(
            f"{program} is too old: it has no mode img_gen.",
            remedy="Install a newer stable-diffusion.cpp.",
        )
    version = re.search(r"version (\S+), commit (\S+)", _run_with(command, "--version"))
    names = [name for name in version.groups() if name != "unknown"] if version else []
    return SdCli(
        command=command,
        version=one_line(names[0], limit=80) if names else "",
        flags=flags,
        samplers=_choices(text, "--sampling-method"),
        schedulers=_choices(text, "--scheduler"),
        modes=modes,
    )


def list_gpus(sd_cli: SdCli) -> tuple[Gpu, ...]:
    """The graphics cards; none for a version that cannot list them."""
    if "--list-devices" not in sd_cli.flags:
        return ()
    try:
        lines = _run_with(sd_cli.command, "--list-devices").splitlines()
    except Unavailable:
        return ()
    devices = (line.partition("\t")[::2] for line in lines if "\t" in line)
    return tuple(
        Gpu(name=one_line(description or name, limit=80))
        for name, description in devices
        if not name.upper().startswith(_CPU_DEVICES)
    )


def _run_with(command: tuple[str, ...], flag: str) -> str:
    """The output of the program with one flag."""
    try:
        process = subprocess.run(
            [*command, flag],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unavailable(f"{one_line(command[0])} cannot be started: {reason}.") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{one_line(command[0])} {flag} does not end.") from error
    return process.stdout.decode("utf-8", "replace").replace("\r", "")


def _choices(text: str, flag: str) -> tuple[str, ...]:
    """The words in brackets in the paragraph of this flag."""
    paragraph = re.search(rf" {flag}\b(.*?)(?=\n {{1,4}}-|\n\n|\Z)", text, re.DOTALL)
    brackets = re.search(r"\[([^\[\]]*)\]", paragraph[1]) if paragraph else None
    return tuple(re.findall(r"[\w+]+", brackets[1])) if brackets else ()


def detect(address: str, *, usual: str = DEFAULT_URL) -> Detection:
    """A block for the server at an address, or the `usual` one, and for each complete model.

    Raises Unavailable where an address is given and no server answers there.
    """
    url = address or usual
    blocks: dict[str, dict[str, object]] = {}
    left_out: list[MissingCapability] = []
    if _is_server(url, is_required=bool(address)):
        blocks["sd-server"] = {"type": "sdcpp", "url": url}
    else:
        left_out.append(MissingCapability(what="sd-server", why=f"{url} does not answer."))
    if address:
        return Detection(blocks, tuple(left_out))
    try:
        binary = find_sd_cli("", None).command[0]
    except Unavailable as error:
        missing = MissingCapability(what="sd-cli", why=error.message, remedy=error.remedy)
        return Detection(blocks, (*left_out, missing))
    from imagen.model_files.identify import identify_model

    has_models = False
    for name in _MODEL_FOLDERS:
        folder = Path(name).expanduser().absolute()
        for path in sorted(folder.iterdir()) if os.path.isdir(folder) else ():
            with suppress(ConfigError):
                if path.suffix.lower() in _MODEL_SUFFIXES and (
                    identify_model(path).role == "checkpoint"
                ):
                    blocks[path.stem] = {"type": "sdcpp", "binary": binary, "model": str(path)}
                    has_models = True
    if not has_models:
        why = f"No complete model found in {', '.join(_MODEL_FOLDERS)}."
        left_out.append(MissingCapability(what="sd-cli", why=why))
    return Detection(blocks, tuple(left_out))


def _is_server(url: str, *, is_required: bool) -> bool:
    from imagen.backends.sdcpp.server_client import SdServerClient

    seconds = 10 if is_required else _DETECT_SECONDS
    client = SdServerClient(SdCppConfig(name="sdcpp", url=url, connect_seconds=seconds))
    try:
        client.info()
    except BackendError:
        if is_required:
            raise
        return False
    finally:
        client.close()
    return True
