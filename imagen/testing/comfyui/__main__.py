"""`python -m imagen.testing.comfyui`: run the simulator until Ctrl-C."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from imagen.testing.comfyui.failure_switches import (
    BLOCKED,
    OUT_OF_MEMORY,
    FailureSwitches,
    GatewayAnswer,
    NodeError,
)
from imagen.testing.comfyui.server import ComfyUI
from imagen.testing.comfyui.state import NEW_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

_NODE_ERRORS = {"": NodeError(), "oom": OUT_OF_MEMORY, "blocked": BLOCKED}
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(FailureSwitches)}


def parse_switch(text: str) -> tuple[str, object]:
    """The name and the value of `NAME` or `NAME=VALUE`."""
    name, _, value = text.partition("=")
    if name not in _DEFAULTS:
        names = ", ".join(sorted(_DEFAULTS))
        raise argparse.ArgumentTypeError(f"unknown switch {name!r}; known: {names}")
    try:
        return name, _parse_value(name, value)
    except (ValueError, KeyError) as error:
        raise argparse.ArgumentTypeError(f"{value!r} is not a valid value for {name}") from error


def _parse_value(name: str, value: str) -> object:
    if name == "error":
        return _NODE_ERRORS[value]
    if name == "http_errors":
        return (GatewayAnswer(status=int(value or 503), times=sys.maxsize),)
    if isinstance(_DEFAULTS[name], bool):
        return {"": True, "true": True, "false": False}[value]
    if isinstance(_DEFAULTS[name], str):
        return value
    return float(value) if isinstance(_DEFAULTS[name], float) else int(value or 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulator until it is interrupted."""
    parser = argparse.ArgumentParser(prog="imagen.testing.comfyui", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=8188, help="0 takes any free port")
    add("--version", default=NEW_VERSION, help="the version that it reports")
    add("--step-seconds", type=float, default=0.0, help="duration of a step")
    add("--load-seconds", type=float, default=0.0, help="duration of loading a model")
    add("--images", choices=("painted", "flat", "noise"), default="painted", help="their style")
    add("--previews", action="store_true", help="send a preview at each step")
    add(
        "--switch",
        type=parse_switch,
        action="append",
        default=[],
        help="a failure switch: NAME or NAME=VALUE",
    )
    options = parser.parse_args(arguments)
    with ComfyUI(
        port=options.port,
        version=options.version,
        step_seconds=options.step_seconds,
        load_seconds=options.load_seconds,
        images=options.images,
        previews=options.previews,
        switches=FailureSwitches(**dict(options.switch)),
    ) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
