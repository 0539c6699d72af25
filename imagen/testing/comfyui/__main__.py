"""`python -m imagen.testing.comfyui`: the simulator by itself, until Ctrl-C."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import threading
from typing import TYPE_CHECKING, Any

from imagen.testing.comfyui.failure_switches import (
    BLOCKED,
    OUT_OF_MEMORY,
    FailureSwitches,
    GatewayAnswer,
    NodeError,
)
from imagen.testing.comfyui.setup import NEW_VERSION
from imagen.testing.comfyui.simulator import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAULTS = {"": NodeError(), "oom": OUT_OF_MEMORY, "blocked": BLOCKED}
_FIELDS = {each.name: each.default for each in dataclasses.fields(FailureSwitches)}


def switch(text: str) -> tuple[str, Any]:
    """The name and the value of `NAME` or `NAME=VALUE`."""
    name, _, value = text.partition("=")
    if name not in _FIELDS:
        names = ", ".join(sorted(_FIELDS))
        raise argparse.ArgumentTypeError(f"there is no switch {name!r}; there are {names}")
    try:
        return name, _value(name, value)
    except (ValueError, KeyError) as error:
        raise argparse.ArgumentTypeError(f"{name} can't be {value!r}") from error


def _value(name: str, value: str) -> Any:
    if name == "error":
        return _FAULTS[value]
    if name == "http_errors":
        return (GatewayAnswer(status=int(value or 503), times=sys.maxsize),)
    if isinstance(_FIELDS[name], bool):
        return {"": True, "true": True, "false": False}[value]
    if isinstance(_FIELDS[name], str):
        return value
    return float(value) if isinstance(_FIELDS[name], float) else int(value or 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulator until it is interrupted."""
    asked = _parser().parse_args(arguments)
    with ComfyUI(
        port=asked.port,
        version=asked.version,
        step_seconds=asked.step_seconds,
        load_seconds=asked.load_seconds,
        pictures=asked.pictures,
        previews=asked.previews,
        switches=FailureSwitches(**dict(asked.switch)),
    ) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        _until_interrupted()


def _until_interrupted() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="imagen.testing.comfyui", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=8188, help="0 takes any that is free")
    add("--version", default=NEW_VERSION, help="the version it claims to be")
    add("--step-seconds", type=float, default=0.0, help="how long a step takes")
    add("--load-seconds", type=float, default=0.0, help="how long loading a model takes")
    add("--pictures", choices=("painted", "flat", "noise"), default="painted")
    add("--previews", action="store_true", help="send a preview at each step")
    add(
        "--switch", type=switch, action="append", default=[], help="a hostility: NAME or NAME=VALUE"
    )
    return parser


if __name__ == "__main__":
    main()
