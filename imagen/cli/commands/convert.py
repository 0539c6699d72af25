"""imagen convert: convert images to another format, with their metadata."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.options import json_option, no_metadata_option, output_option, refuse_stdout
from imagen.cli.parsing import IMAGE_FORMATS, PATH
from imagen.core.text import printable
from imagen.errors import ImagenError, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagen.cli.parsing import OutputTarget
    from imagen.config.settings import ImageFormat
    from imagen.outputs.convert import ConvertedImage


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@click.option("--to", "extension", type=click.Choice(IMAGE_FORMATS), help="The new format.")
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="The default is 90 for JPEG and WebP, 80 for AVIF; 100 is lossless for WebP.",
)
@no_metadata_option
@output_option
@json_option
def convert(
    files: tuple[Path, ...],
    extension: ImageFormat | None,
    quality: int | None,
    no_metadata: bool,
    output: OutputTarget | None,
    as_json: bool,
) -> int:
    """Convert images to another format, with their metadata.

    FILE is a PNG, JPEG, WebP, AVIF, GIF, BMP or TIFF image; it is not changed. The new file is put
    beside it, with -2 in its name if the name is taken. The path of each is printed on its own
    line. The pixels of an image that already has the format are kept, unless --quality is given.
    """
    format = _choose_format(extension, output, files, quality)
    if output is not None and output.is_stdout:
        refuse_stdout(as_json=as_json)
        sys.stdout.buffer.write(_convert_bytes(files[0], format, quality, not no_metadata).data)
        sys.stdout.buffer.flush()
        return 0
    from imagen.views.images import ConvertedImageView

    images: list[dict[str, object]] = []
    errors: list[dict[str, object]] = []
    exit_code = 0
    for file in files:
        try:
            path, converted = _convert_file(file, format, quality, output, not no_metadata)
        except ImagenError as error:
            if len(files) == 1:
                raise
            exit_code = max(exit_code, error.exit_code)
            keys = ("code", "message", "remedy")
            errors.append({"source": str(file), **{key: getattr(error, key) for key in keys}})
            if not as_json:
                click.echo(printable(f"imagen: {error.message}"), err=True)
        else:
            images.append(ConvertedImageView.of(str(file), str(path), converted).as_data())
            if not as_json:
                for remark in converted.remarks:
                    click.echo(printable(f"{path}: {remark}"), err=True)
                click.echo(str(path))
    if as_json:
        click.echo(json.dumps({"images": images, "errors": errors}, indent=2))
    return exit_code


def _choose_format(
    extension: ImageFormat | None,
    output: OutputTarget | None,
    files: Sequence[Path],
    quality: int | None,
) -> ImageFormat:
    """The format of --to or --output; raises UsageError if the options contradict each other."""
    named = output.format if output else None
    if named is not None and extension is not None and named != extension:
        raise usage_error(f"--to is {extension}, but --output ends in .{named}.")
    format = extension or named
    if format is None:
        raise usage_error(f"Choose a format with --to: {', '.join(IMAGE_FORMATS)}.")
    if output is not None and (output.is_stdout or output.name is not None) and len(files) > 1:
        raise usage_error(f"--output names one file, but there are {len(files)} to convert.")
    if format == "png" and quality is not None:
        raise usage_error("--quality does not apply to PNG, which is lossless.")
    return format


def _convert_file(
    file: Path,
    format: ImageFormat,
    quality: int | None,
    output: OutputTarget | None,
    has_metadata: bool,
) -> tuple[Path, ConvertedImage]:
    """The new file, or the same one from an earlier call; raises OutputError."""
    from imagen.outputs.save import find_written, write_numbered

    folder = output.folder if output and output.folder else file.parent
    name = f"{(output.name if output else None) or file.stem}.{format}"
    converted = _convert_bytes(file, format, quality, has_metadata)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        existing = find_written(converted.data, folder, name, is_ours=lambda _: True)
        return existing or write_numbered(converted.data, folder, name), converted
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"Cannot write {name} to {folder}: {reason}.") from error


def _convert_bytes(
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
        raise error.replace(message=f"Cannot convert {file}. {error.message}") from error
