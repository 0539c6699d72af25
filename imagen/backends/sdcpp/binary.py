"""The program sd-cli: where it is, and what it says of itself."""

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
from typing import TYPE_CHECKING, Any

from imagen.backends.base import Detection, Gpu, MissingCapability
from imagen.backends.learned import read_learned, write_learned
from imagen.backends.sdcpp.config import DEFAULT_URL, SdCppConfig
from imagen.core.text import one_line
from imagen.errors import BackendError, ConfigError, Unavailable
from imagen.model_files.identify import identify_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


NAMES = ("sd-cli", "sd")
"""What the program is called; older releases call it `sd`, as does a tool for searching text."""

_PROBE_SECONDS = 30
_READING = 1
"""Raised where its words are read otherwise: what was noted before then counts no more."""
_PROCESSORS = ("CPU", "BLAS")
"""How the names of devices of ggml begin that are not graphics cards."""
_OPTION = re.compile(r"^ {1,4}(?:(-\w), )?(--[\w-]+)", re.MULTILINE)
_SIGN = "--diffusion-model"
"""Every stable-diffusion.cpp takes this, and no other program that is called sd."""


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


def find_commands(
    binary: tuple[str, ...] | str, environ: Mapping[str, str] = os.environ
) -> Iterator[tuple[str, ...]]:
    """The commands that may start it, the likeliest first; one alone where it is configured.

    Raises Unavailable where what is configured is not there.
    """
    command = (binary,) if isinstance(binary, str) else binary
    if any(command):
        yield _configured(command, environ)
        return
    for path in (environ.get("PATH"), *map(str, _usual_places(environ))):
        for name in NAMES:
            found = shutil.which(name, path=path)
            if found is not None and not is_batch_file(found):
                yield (found,)


def _configured(command: tuple[str, ...], environ: Mapping[str, str]) -> tuple[str, ...]:
    found = shutil.which(os.path.expanduser(command[0]), path=environ.get("PATH"))
    if found is None:
        raise Unavailable(
            f"There is no program {one_line(command[0])} that can be run.",
            remedy="Set `binary` to the path of sd-cli, or leave it out to have it looked for.",
        )
    if is_batch_file(found):
        raise Unavailable(
            f"{one_line(command[0])} is a batch file: parts of a prompt could run as commands.",
            remedy="Set `binary` to the program itself, or to a list that begins a command.",
        )
    return (os.path.abspath(found), *command[1:])


def is_batch_file(path: str) -> bool:
    """Whether Windows would have a shell read the arguments: a prompt must never be a command."""
    return path.lower().endswith((".bat", ".cmd"))


def _usual_places(environ: Mapping[str, str], system: str = sys.platform) -> Iterator[Path]:
    home = Path(environ.get("USERPROFILE" if system == "win32" else "HOME") or Path.home())
    built = home / "stable-diffusion.cpp" / "build" / "bin"
    if system == "win32":
        for name in ("LOCALAPPDATA", "ProgramFiles"):
            if environ.get(name):
                yield Path(environ[name]) / "stable-diffusion.cpp"
        yield built / "Release"
    else:
        yield from (home / ".local/bin", Path("/usr/local/bin"), Path("/opt/homebrew/bin"))
        yield Path("/opt/stable-diffusion.cpp/bin")
    yield built


def find_sd_cli(
    binary: tuple[str, ...] | str,
    cache_dir: Path | None,
    environ: Mapping[str, str] = os.environ,
) -> SdCli:
    """What the configured program, or the first one that is found, says of itself.

    It is asked once and the answer kept below `cache_dir`, until the file changes. Raises
    Unavailable where there is none, or none that can be used.
    """
    reasons: list[Unavailable] = []
    for command in find_commands(binary, environ):
        try:
            return _known(command, cache_dir)
        except Unavailable as error:
            reasons.append(error)
    if reasons:
        raise reasons[0]
    raise Unavailable(
        "There is no sd-cli on the PATH or in the usual places.",
        remedy="Install stable-diffusion.cpp, and set `binary` to the path of its sd-cli.",
    )


def _known(command: tuple[str, ...], cache_dir: Path | None) -> SdCli:
    note = cache_dir and cache_dir / "sdcpp" / f"{_key(command)}.json"
    program = _noted(read_learned(note), command)
    if program is None:
        program = probe_sd_cli(command)
        write_learned(note, asdict(program) | {"flags": sorted(program.flags)})
    return program


def _key(command: tuple[str, ...]) -> str:
    """Another one for another file, and for the same one after an update, its or ours."""
    parts: list[Any] = [_READING, *command]
    for part in command:
        with suppress(OSError, ValueError):
            told = os.stat(part)
            parts += [told.st_mtime_ns, told.st_size]
    return sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _noted(said: Mapping[str, Any], command: tuple[str, ...]) -> SdCli | None:
    try:
        lists = {name: tuple(map(str, said[name])) for name in ("samplers", "schedulers", "modes")}
        flags = frozenset(map(str, said["flags"]))
        return SdCli(command=command, version=str(said["version"]), flags=flags, **lists)
    except (KeyError, TypeError):
        return None


def probe_sd_cli(command: tuple[str, ...]) -> SdCli:
    """Ask a program what it can do; raises Unavailable where it is no stable-diffusion.cpp."""
    said = _said(command, "--help")
    flags = frozenset(flag for match in _OPTION.finditer(said) for flag in match.groups() if flag)
    at = one_line(command[-1])
    if _SIGN not in flags:
        raise Unavailable(
            f"{at} is no sd-cli: its --help does not name {_SIGN}.",
            remedy="Set `binary` to the path of the sd-cli of stable-diffusion.cpp.",
        )
    modes = _choices(said, "--mode")
    if "img_gen" not in modes:
        raise Unavailable(
            f"{at} is too old: it has no mode img_gen.",
            remedy="Install a newer stable-diffusion.cpp.",
        )
    return SdCli(
        command=command,
        version=_version(_said(command, "--version")),
        flags=flags,
        samplers=_choices(said, "--sampling-method"),
        schedulers=_choices(said, "--scheduler"),
        modes=modes,
    )


def list_gpus(program: SdCli) -> tuple[Gpu, ...]:
    """The graphics cards that the program lists; none for a version that can't list them."""
    if "--list-devices" not in program.flags:
        return ()
    try:
        lines = _said(program.command, "--list-devices").splitlines()
    except Unavailable:
        return ()
    devices = (line.partition("\t")[::2] for line in lines if "\t" in line)
    return tuple(
        Gpu(name=one_line(description or name, limit=80))
        for name, description in devices
        if not name.upper().startswith(_PROCESSORS)
    )


def _said(command: tuple[str, ...], flag: str) -> str:
    try:
        ran = subprocess.run(
            [*command, flag],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unavailable(f"{one_line(command[0])} can't be started: {reason}.") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{one_line(command[0])} {flag} does not end.") from error
    return ran.stdout.decode("utf-8", "replace").replace("\r", "")


def _choices(said: str, flag: str) -> tuple[str, ...]:
    """What stands in brackets in the paragraph of this flag."""
    paragraph = re.search(rf" {flag}\b(.*?)(?=\n {{1,4}}-|\n\n|\Z)", said, re.DOTALL)
    listed = re.search(r"\[([^\[\]]*)\]", paragraph[1]) if paragraph else None
    return tuple(re.findall(r"[\w+]+", listed[1])) if listed else ()


def _version(said: str) -> str:
    match = re.search(r"version (\S+), commit (\S+)", said)
    if match is None or match[1] == "unknown":
        return one_line(match[2]) if match and match[2] != "unknown" else ""
    return one_line(match[1], limit=80)


_FOLDERS = ("models", "~/models", "~/stable-diffusion.cpp/models")
_ENDINGS = (".safetensors", ".gguf")
_SECONDS = 2.0


def detect(address: str, *, usual: str = DEFAULT_URL) -> Detection:
    """A block for the server at an address, or at the `usual` one, and one for each whole model
    that the program could run.

    Raises Unavailable where an address is given and no server answers there.
    """
    url = address or usual
    blocks: dict[str, dict[str, Any]] = {}
    left_out: list[MissingCapability] = []
    if _is_server(url, is_asked_for=bool(address)):
        blocks["sd-server"] = {"type": "sdcpp", "url": url}
    else:
        left_out.append(MissingCapability(what="sd-server", why=f"{url} does not answer."))
    if not address:
        try:
            binary = find_sd_cli("", None).command[0]
        except Unavailable as error:
            left_out.append(
                MissingCapability(what="sd-cli", why=error.message, remedy=error.remedy)
            )
        else:
            models = list(_models())
            blocks |= {
                path.stem: {"type": "sdcpp", "binary": binary, "model": str(path)}
                for path in models
            }
            if not models:
                folders = ", ".join(_FOLDERS)
                left_out.append(
                    MissingCapability(what="sd-cli", why=f"No whole model was found in {folders}.")
                )
    return Detection(blocks, tuple(left_out))


def _is_server(url: str, *, is_asked_for: bool) -> bool:
    from imagen.backends.sdcpp.server_client import SdServerClient

    config = SdCppConfig(name="sdcpp", url=url, connect_seconds=10 if is_asked_for else _SECONDS)
    client = SdServerClient(config)
    try:
        client.about()
    except BackendError:
        if is_asked_for:
            raise
        return False
    finally:
        client.close()
    return True


def _models() -> Iterator[Path]:
    for folder in _FOLDERS:
        there = Path(folder).expanduser().absolute()
        files = sorted(there.iterdir()) if os.path.isdir(there) else ()
        for path in files:
            if path.suffix.lower() in _ENDINGS and _is_whole_model(path):
                yield path


def _is_whole_model(path: Path) -> bool:
    try:
        return identify_model(path).role == "checkpoint"
    except ConfigError:
        return False
