"""What the output nodes of one run give away: files, and words about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.testing.comfyui import pictures
from imagen.testing.comfyui.graph import branch, inputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from imagen.testing.comfyui.jobs import Job
    from imagen.testing.comfyui.world import World

_FOLDERS = {"PreviewImage": "temp"}
_STREAMER = "SaveImageWebsocket"
_EVIL = "../../evil\x1b[31m\r\n\t\u202e"


class Outputs:
    """Makes the outputs of one job, and keeps what the history says of them."""

    def __init__(self, world: World, job: Job) -> None:
        self._world = world
        self._job = job
        self.history: dict[str, Any] = {}
        self.meta: dict[str, Any] = {}

    def make(self, node: str) -> dict[str, Any] | None:
        """Run a node; what it gives to the client, or None where it gives nothing."""
        folder = self._folder(node)
        if folder is None or self._world.hostility.empty_success:
            return None
        made = self._pictures(node)
        output: dict[str, Any] = {"images": [self._save(node, folder, each) for each in made]}
        if self._world.hostility.extra_outputs:
            output.update(self._extras(output["images"], made[0]))
        self.keep(node, output)
        return output

    def keep(self, node: str, output: dict[str, Any] | None) -> None:
        """Write an output into the history."""
        if output is None:
            return
        self._remember(node, node, output)
        if self._world.hostility.extra_outputs:
            self._remember(f"{node}.0.0.1", node, self._made_by_node(node))

    def told(self, node: str, output: Any) -> Iterator[tuple[str, str, Any]]:
        """The node, the node that is shown for it, and the output of each message."""
        yield node, node, output
        if output is not None and self._world.hostility.extra_outputs:
            yield f"{node}.0.0.1", node, self._made_by_node(node)
            yield f"{node}.0.0.2", node, None

    def streamed(self, node: str) -> list[bytes]:
        """The pictures that a node sends over the websocket."""
        if self._job.graph[node]["class_type"] != _STREAMER:
            return []
        look = self._world.setup.pictures
        return [pictures.png(picture, {}, look) for picture in self._pictures(node)]

    def _folder(self, node: str) -> str | None:
        """Where a node saves: classes that only the user's catalogue has save like SaveImage."""
        kind = self._job.graph[node]["class_type"]
        saves = node in self._job.outputs and "images" in inputs(self._job.graph, node)
        return None if kind == _STREAMER or not saves else _FOLDERS.get(kind, "output")

    def _pictures(self, node: str) -> list[Image.Image]:
        source = branch(self._job.graph, node, "images") or node
        look = self._world.setup.pictures
        return pictures.pictures(self._job.graph, source, self._world.files, look)

    def _save(self, node: str, folder: str, picture: Image.Image) -> dict[str, str]:
        prefix = str(inputs(self._job.graph, node).get("filename_prefix", "ComfyUI"))
        subfolder, name = self._world.files.next_name(prefix, folder)
        if self._world.hostility.evil_names:
            name = _EVIL + name
        said = self._world.files.put(self._encoded(picture), folder, subfolder, name)
        if self._world.hostility.bare_names:
            del said["type"]
        return said

    def _encoded(self, picture: Image.Image) -> bytes:
        more = self._job.extra_data.get("extra_pnginfo")
        texts = {"prompt": self._job.graph, **(more if isinstance(more, dict) else {})}
        return pictures.png(picture, texts, self._world.setup.pictures)

    def _extras(self, images: list[dict[str, str]], picture: Image.Image) -> dict[str, Any]:
        """The same name in other places, and things that are no pictures."""
        files, name = self._world.files, images[0]["filename"]
        turned = self._encoded(picture.rotate(180))
        elsewhere = files.put(turned, "output", "elsewhere", name)
        passing = files.put(self._encoded(picture.rotate(90, expand=True)), "temp", "", name)
        gif = files.put(b"GIF89a moving;", "output", "", "moving_00001.gif")
        sound = files.put(b"fLaC sound", "output", "audio", "sound_00001_.flac")
        return {
            "images": [*images, elsewhere, passing],
            "gifs": [{**gif, "format": "image/gif", "frame_rate": 8.0}],
            "audio": [sound],
            "text": ["some words"],
            "animated": [False],
        }

    def _made_by_node(self, node: str) -> dict[str, Any]:
        name = f"made_by_{node}_00001_.png"
        if self._world.files.get("output", "made", name) is None:
            picture = self._pictures(node)[0]
            self._world.files.put(self._encoded(picture), "output", "made", name)
        return {"images": [{"filename": name, "subfolder": "made", "type": "output"}]}

    def _remember(self, node: str, shown: str, output: dict[str, Any]) -> None:
        self.history[node] = output
        parent = None if node == shown else shown
        self.meta[node] = {
            "node_id": node,
            "display_node": shown,
            "parent_node": parent,
            "real_node_id": shown,
        }
