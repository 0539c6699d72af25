"""imagen doctor: check everything that imagen needs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command
from imagen.cli.options import config_option, json_option, quiet_option
from imagen.cli.terminal import apply_style, echo, terminal_width
from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "broken": "red"}
_LONGEST = 600


@click.command(cls=Command)
@click.option("--quick", is_flag=True, help="Do not contact any server.")
@json_option
@quiet_option
@config_option
def doctor(quick: bool, as_json: bool, quiet: bool, config_path: Path | None) -> int:
    """Find problems and suggest fixes.

    Checks the configuration, whether credentials are set, each backend, free disk space,
    interrupted jobs, the library, the cloud, previews and versions. The exit code is 1 if something
    is broken.
    """
    from imagen.doctor import examine
    from imagen.views.doctor import DoctorView

    with _show_pending(quiet=quiet) as watch:
        findings = examine(config_path, quick=quick, watch=watch)
    is_broken = any(finding.state == "broken" for finding in findings)
    if as_json:
        click.echo(json.dumps(DoctorView.of(findings).as_data(), indent=2))
    else:
        for section, group in groupby(findings, lambda finding: finding.section):
            click.echo(apply_style(section, bold=True))
            for finding in group:
                text = one_line(f"{finding.subject}: {finding.says}", limit=_LONGEST)
                line = f"  {finding.state:7}  {text}"
                echo(line, hanging=9, mark=finding.state, fg=_COLOURS[finding.state])
                for remedy in finding.remedies:
                    echo(f"           {one_line(remedy, limit=_LONGEST)}")
        click.echo()
        counts = Counter(finding.state for finding in findings)
        warnings = f"{counts['warning']} warning{'' if counts['warning'] == 1 else 's'}"
        if counts["broken"]:
            echo(f"{counts['broken']} broken, {warnings}.")
        else:
            echo(f"Nothing is broken; {warnings}." if counts["warning"] else "No problems found.")
    return 1 if is_broken else 0


@contextmanager
def _show_pending(*, quiet: bool) -> Iterator[Callable[[Sequence[str]], None]]:
    """On a terminal, show on one line which checks are still running."""
    is_shown = sys.stderr.isatty() and not quiet

    def write(text: str) -> None:
        if is_shown:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def watch(pending: Sequence[str]) -> None:
        width = terminal_width(sys.stderr) or 80
        write(one_line(f"Checking {', '.join(pending)} …", limit=width - 1))

    try:
        yield watch
    finally:
        write("")
