"""An image that cannot be saved in its place is saved elsewhere, with an error."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.output_samples import (
    NOW,
    comfy_png,
    pixels,
    png_output,
    sample_request,
    sample_result,
    sample_settings,
    sample_ticket,
)

from imagen.errors import OutputError
from imagen.outputs import save_outputs
from imagen.outputs.save import write_synced

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.core.result import Result

OUT, RESCUE, LAST = Path("outputs"), Path("rescued"), Path("last")
NAME = "2025-11-21-083005-a-red-fox-asleep-7.png"
REMEDY = "Free disk space, or set output.directory in imagen.yaml to a writable folder."

_LIMITED = """
import resource
from pathlib import Path
from support.output_samples import (
    NOW,
    sample_request,
    sample_result,
    sample_settings,
    sample_ticket,
)
from imagen.errors import OutputError
from imagen.outputs import save_outputs

what = sample_result()
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    save_outputs(
        what,
        sample_ticket(),
        sample_settings(Path("outputs")),
        asked=sample_request(),
        now=NOW,
        rescue=Path("rescued"),
    )
except OutputError as error:
    print(error)
"""


def _last_resort() -> Path:
    LAST.mkdir(exist_ok=True)
    return LAST


def _full_for_the_second(path: Path, data: bytes) -> None:
    if b'"index":1}' in data and path.is_relative_to(OUT):
        raise OSError(errno.ENOSPC, "No space left on device")
    write_synced(path, data)


def _no_room_for_json(path: Path, data: bytes) -> None:
    if data.startswith(b"{"):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    write_synced(path, data)


def _full(*folders: Path) -> Callable[[Path, bytes], None]:
    """A write function for a disk that is full below these folders."""

    def write(path: Path, data: bytes) -> None:
        if any(path.is_relative_to(folder) for folder in folders):
            path.write_bytes(data[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_synced(path, data)

    return write


def _failure(
    what: Result | None = None,
    *,
    write: Callable[[Path, bytes], None] = write_synced,
    rescue: Path = RESCUE,
    last_resort: Callable[[], Path] = _last_resort,
    name: str = "{date}-{time}-{slug}-{seed}",
) -> OutputError:
    with pytest.raises(OutputError) as caught:
        save_outputs(
            what or sample_result(),
            sample_ticket(),
            sample_settings(OUT, name=name),
            asked=sample_request(),
            now=NOW,
            rescue=rescue,
            write=write,
            last_resort=last_resort,
        )
    return caught.value


def test_a_full_disk_is_reported_and_the_image_rescued() -> None:
    error = _failure(write=_full(OUT))
    assert str(error) == (
        "An image cannot be saved in outputs (No space left on device). "
        f"It is in {RESCUE / NAME} instead.\n{REMEDY} Nothing is lost."
    )
    assert error.kept == (RESCUE / NAME,)
    assert pixels((RESCUE / NAME).read_bytes()) == pixels(comfy_png())
    assert (RESCUE / f"{NAME}.json").is_file()
    assert list(OUT.iterdir()) == []


def test_the_save_error_has_its_cause() -> None:
    cause = _failure(write=_full(OUT)).__cause__
    assert isinstance(cause, OSError)
    assert cause.errno == errno.ENOSPC


def test_a_file_instead_of_the_output_directory_is_reported() -> None:
    OUT.write_text("I am no folder")
    error = _failure()
    assert error.message == (
        f"An image cannot be saved in outputs (File exists). It is in {RESCUE / NAME} instead."
    )
    assert OUT.read_text() == "I am no folder"


def test_a_file_instead_of_a_parent_folder_is_reported() -> None:
    OUT.write_text("I am no folder")
    error = _failure(name="{backend}/{slug}")
    assert f"{OUT / 'flux-local'} (Not a directory)" in error.message
    assert error.kept == (RESCUE / "a-red-fox-asleep.png",)


def test_a_failing_rescue_folder_leads_to_the_last_resort() -> None:
    RESCUE.write_text("I am no folder")
    error = _failure(write=_full(OUT))
    assert error.message == (
        "An image cannot be saved in outputs (No space left on device), "
        f"nor in rescued (File exists). It is in {LAST / NAME} instead."
    )
    assert (LAST / NAME).is_file()


def test_the_default_last_resort_is_the_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(OutputError) as caught:
        save_outputs(
            sample_result(),
            sample_ticket(),
            sample_settings(OUT),
            asked=sample_request(),
            now=NOW,
            rescue=RESCUE,
            write=_full(OUT, RESCUE),
        )
    (path,) = caught.value.kept
    assert path.parent.parent == tmp_path
    assert path.is_file()


def test_a_lost_image_is_reported_with_every_cause() -> None:
    error = _failure(write=_full(OUT, RESCUE, LAST))
    assert str(error) == (
        "An image cannot be saved in outputs (No space left on device), "
        "nor in rescued (No space left on device), "
        "nor in the temporary directory (No space left on device). It is lost.\n"
        f"{REMEDY}"
    )
    assert error.kept == ()
    assert isinstance(error.__cause__, ExceptionGroup)
    assert [type(cause) for cause in error.__cause__.exceptions] == [OSError, OSError, OSError]


def test_a_failed_image_does_not_prevent_saving_the_others() -> None:
    batch = sample_result(*(png_output(index=n, seed=n) for n in range(3)))
    error = _failure(batch, write=_full_for_the_second, name="{slug}-{seed}")
    assert error.kept == (
        OUT / "a-red-fox-asleep-0.png",
        RESCUE / "a-red-fox-asleep-1.png",
        OUT / "a-red-fox-asleep-2.png",
    )
    assert [path.is_file() for path in error.kept] == [True, True, True]


def test_every_failure_of_a_batch_is_reported() -> None:
    batch = sample_result(*(png_output(index=n, seed=n) for n in range(2)))
    error = _failure(batch, write=_full(OUT), name="{slug}-{seed}")
    assert error.message.count("An image cannot be saved in outputs") == 2


def test_an_image_stays_if_its_sidecar_fails() -> None:
    error = _failure(write=_no_room_for_json)
    assert error.message == f"{OUT / NAME} was saved, but not its sidecar: Disk quota exceeded."
    assert [path.name for path in OUT.iterdir()] == [NAME]
    assert error.kept == (OUT / NAME,)


def test_an_image_with_an_invalid_template_is_rescued() -> None:
    error = _failure(name="../{slug}")
    assert error.message == (
        "An image cannot be saved in outputs (output.name '../{slug}' contains '..', "
        f"which leads out of the output directory). It is in {RESCUE / NAME} instead."
    )
    assert (RESCUE / NAME).is_file()
    assert not OUT.exists()


def test_an_image_with_an_escaping_link_is_rescued(tmp_path: Path) -> None:
    OUT.mkdir()
    (OUT / "flux-local").symlink_to(tmp_path, target_is_directory=True)
    error = _failure(name="{backend}/{slug}")
    assert "leads out of the output directory by a symbolic link" in error.message
    assert error.kept == (RESCUE / "a-red-fox-asleep.png",)


@pytest.mark.parametrize("device", [pytest.param("/dev/full", id="a device that is always full")])
def test_an_image_is_rescued_if_the_output_directory_is_a_device(device: str) -> None:
    OUT.symlink_to(device)
    assert _failure().kept == (RESCUE / NAME,)


def test_a_file_size_limit_is_reported_by_a_real_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED],
        env=dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "An image cannot be saved in outputs (File too large), nor in rescued" in done.stdout
    assert "It is lost." in done.stdout
    assert list(OUT.iterdir()) == []
