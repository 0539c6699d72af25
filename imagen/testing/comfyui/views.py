"""GET /view: a file that was made or uploaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.testing.comfyui.files import FOLDERS, content_type
from imagen.testing.comfyui.pictures import reencoded
from imagen.testing.comfyui.wire import Answer, broken

if TYPE_CHECKING:
    from imagen.testing.comfyui.wire import Request
    from imagen.testing.comfyui.world import World


def get(world: World, request: Request) -> Answer:
    """The file of `filename`, `subfolder` and `type`; `preview=FORMAT;QUALITY` encodes it anew."""
    query = request.query
    if "filename" not in query:
        return Answer(status=404)
    name, folder = query["filename"], query.get("type", "output")
    subfolder = query.get("subfolder", "")
    if world.hostility.evil_names:
        return _found(world, folder, subfolder, name, "")
    if not name or ".." in name or name.startswith("/") or folder not in FOLDERS:
        return Answer(status=400)
    if ".." in subfolder.split("/") or subfolder.startswith("/"):
        return Answer(status=403)
    return _found(world, folder, subfolder, name.rpartition("/")[2], query.get("preview", ""))


def _found(world: World, folder: str, subfolder: str, name: str, preview: str) -> Answer:
    data = world.files.get(folder, subfolder, name)
    if data is None:
        return Answer(status=404)
    headers = {"Content-Disposition": f'filename="{name}"'}
    if world.hostility.evil_names:
        headers = {}
    if not preview:
        return _spoilt(world, data, content_type(name), headers)
    try:
        kind = "image/jpeg" if preview.startswith("jpeg") else "image/webp"
        return Answer(body=reencoded(data, preview), content_type=kind, headers=headers)
    except OSError:
        return broken()


def _spoilt(world: World, data: bytes, kind: str, headers: dict[str, str]) -> Answer:
    missing = 0
    if world.mischief.strikes("truncate_view", world.hostility.truncate_view):
        missing = (len(data) + 1) // 2
    elif world.mischief.strikes("cut_file", world.hostility.cut_file):
        data = data[: len(data) // 2]
    return Answer(body=data, content_type=kind, headers=headers, missing=missing)
