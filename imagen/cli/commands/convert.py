"""imagen convert: images into another format, with their metadata."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.options import (
    json_option,
    no_metadata_option,
    output_option,
    refuse_stdout,
)
from imagen.cli.parsing import ENDINGS, PATH
from imagen.core.text import printable
from imagen.errors import ImagenError, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.cli.parsing import Target
    from imagen.config.settings import ImageFormat
    from imagen.outputs.convert import ConvertedImage


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@click.option("--to", "ending", type=click.Choice(ENDINGS), help="The format.")
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="By default 90 for JPEG and WebP, 80 for AVIF; at 100 WebP is lossless.",
)
@no_metadata_option
@output_option
@json_option
def convert(
    files: tuple[Path, ...],
    ending: ImageFormat | None,
    quality: int | None,
    no_metadata: bool,
    output: Target | None,
    as_json: bool,
) -> int:
    """Convert images to another format, with their metadata.

    FILE is a PNG, JPEG, WebP, AVIF, GIF, BMP or TIFF image, and stays as it is. The new file is put
    beside it; a name that is taken gets -2. The path of each is printed on its own line. Pixels
    of an image that has this format already are not touched, unless --quality is given.
    """
    format = _format(ending, output, files, quality)
    if output is not None and output.is_stdout:
        refuse_stdout(as_json=as_json)
        sys.stdout.buffer.write(_read_and_convert(files[0], format, quality, not no_metadata).data)
        sys.stdout.buffer.flush()
        return 0
    rows: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    exit_code = 0
    for file in files:
        try:
            path, converted = _convert_file(file, format, quality, output, not no_metadata)
        except ImagenError as error:
            if len(files) == 1:
                raise
            exit_code = max(exit_code, error.exit_code)
            about = {"code": error.code, "message": error.message, "remedy": error.remedy}
            errors.append({"source": str(file), **about})
            if not as_json:
                click.echo(printable(f"imagen: {error.message}"), err=True)
        else:
            rows.append(_row(file, path, converted))
            if not as_json:
                for remark in converted.remarks:
                    click.echo(printable(f"{path}: {remark}"), err=True)
                click.echo(str(path))
    if as_json:
        click.echo(json.dumps({"images": rows, "errors": errors}, indent=2))
    return exit_code


def _format(
    ending: ImageFormat | None, output: Target | None, files: Sequence[Path], quality: int | None
) -> ImageFormat:
    """The format that --to or --output names; raises UsageError where the options disagree."""
    named = output.format if output else None
    if named is not None and ending is not None and named != ending:
        raise usage_error(f"--to says {ending}, and --output a file that ends in .{named}.")
    format = ending or named
    if format is None:
        raise usage_error(f"Say the format with --to: {', '.join(ENDINGS)}.")
    if output is not None and (output.is_stdout or output.name is not None) and len(files) > 1:
        raise usage_error(f"--output names one file, and {len(files)} are to be converted.")
    if format == "png" and quality is not None:
        raise usage_error("--quality has no effect on PNG, which is lossless.")
    return format


def _convert_file(
    file: Path,
    format: ImageFormat,
    quality: int | None,
    output: Target | None,
    has_metadata: bool,
) -> tuple[Path, ConvertedImage]:
    """The new file, or the same one that an earlier call made; raises OutputError."""
    from imagen.outputs import files

    folder = output.folder if output and output.folder else file.parent
    name = f"{(output.name if output else None) or file.stem}.{format}"
    converted = _read_and_convert(file, format, quality, has_metadata)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = files.find_written(converted.data, folder, name, is_ours=lambda _: True)
        return there or files.write_numbered(converted.data, folder, name), converted
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{name} can't be written into {folder}: {reason}.") from error


def _read_and_convert(
    file: Path, format: ImageFormat, quality: int | None, has_metadata: bool
) -> ConvertedImage:
    """Raises OutputError, which names the file."""
    from imagen.outputs import convert as conversion
    from imagen.outputs.metadata import KINDS
    from imagen.outputs.read import read_image_bytes

    data = read_image_bytes(file)
    try:
        return conversion.convert_image(data, KINDS[format], quality, keeps_metadata=has_metadata)
    except OutputError as error:
        message = f"{file} is not converted. {error.message}"
        raise OutputError(message, remedy=error.remedy) from error


def _row(file: Path, path: Path, converted: ConvertedImage) -> dict[str, Any]:
    """The documented JSON of one image."""
    from imagen.outputs import metadata

    width, height = metadata.size(converted.data)
    return {
        "source": str(file),
        "path": str(path),
        "media_type": f"image/{metadata.kind(converted.data)}",
        "width": width,
        "height": height,
        "size_bytes": len(converted.data),
        "quality": converted.quality,
        "warnings": list(converted.remarks),
    }
