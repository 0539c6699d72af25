"""The worker that runs queued prompts: what it sends, what it saves, and how a run can end."""

from __future__ import annotations

import threading
from itertools import count
from typing import TYPE_CHECKING, Any

from imagen.testing.comfyui import images, websocket
from imagen.testing.comfyui.failure_switches import NodeError
from imagen.testing.comfyui.graph import (
    execution_order,
    find_source,
    is_link,
    node_inputs,
    node_signatures,
)
from imagen.testing.comfyui.state import ServerStopped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from imagen.testing.comfyui.failure_switches import FailureSwitches
    from imagen.testing.comfyui.state import QueuedPrompt, ServerState

    Output = dict[str, Any]
    """What an output node gives: `{"images": [...]}`."""

_JOIN_SECONDS = 5.0
_HUGE_BYTES = 20 << 20
_STREAMING_CLASS = "SaveImageWebsocket"
_EVIL_PREFIX = "../../evil\x1b[31m\r\n\t\u202e"
_MEMORY_TIPS = (
    "\nThis error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before "
    "you might have accidentally set the batch_size to a large number."
)
_TRACEBACK = [
    '  File "/opt/comfyui/execution.py", line 496, in execute\n    output_data = await run()\n',
    '  File "/opt/comfyui/nodes.py", line 1525, in go\n    raise error\n',
]


class PromptWorker:
    """Runs prompts one after another in a thread, from its making until `close`."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._thread = threading.Thread(target=self._work, name="comfyui-worker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._state.stopping.set()
        self._state.queue.close()
        self._thread.join(_JOIN_SECONDS)

    def _work(self) -> None:
        if self._state.switches.worker_dead:
            return
        for number in count(1):
            prompt = self._state.queue.take()
            if prompt is None or self._state.switches.worker_dies:
                return
            try:
                state = self._state
                state.send_status()
                state.interrupted.clear()
                entry = PromptRun(state, prompt, number).perform()
                state.running_node = None
                state.queue.finish(prompt, entry)
                state.send_status()
                if prompt.client_id is not None and not state.switches.no_terminal:
                    end = websocket.text_message(
                        "executing", {"node": None, "prompt_id": prompt.prompt_id}
                    )
                    state.clients.send(prompt.client_id, "end", end)
                prompt.done.set()
            except ServerStopped:
                return


class _Interrupted(Exception):
    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.node = node


class _NodeFailed(Exception):
    def __init__(self, node: str, error: NodeError) -> None:
        super().__init__(node)
        self.node = node
        self.error = error


class PromptRun:
    """Runs the nodes of one prompt."""

    def __init__(self, state: ServerState, prompt: QueuedPrompt, number: int) -> None:
        self._state = state
        self._prompt = prompt
        late_from = state.switches.late_from
        is_late = bool(late_from) and number >= late_from
        self._slowness = state.switches.late_factor if is_late else 1
        self._graph = prompt.graph
        self._messages: list[tuple[str, dict[str, object]]] = []
        self._progress: dict[str, dict[str, object]] = {}
        self._executed: list[str] = []
        self._nodes = execution_order(prompt.graph, prompt.outputs)
        self._signatures = node_signatures(
            prompt.graph,
            self._nodes,
            lambda node: state.files.fingerprint(node_inputs(prompt.graph, node).get("image")),
        )
        cache = state.queue.cache
        self._cached = [node for node in self._nodes if self._signatures[node] in cache]
        self._fresh = [node for node in self._nodes if node not in self._cached]
        self._outputs = _OutputWriter(state, prompt)
        self._has_loaded = False
        self._is_half_done = False
        # ComfyUI keeps only what the last prompt used.
        kept = {self._signatures[node] for node in self._cached}
        state.queue.cache = {key: output for key, output in cache.items() if key in kept}

    @property
    def _switches(self) -> FailureSwitches:
        return self._state.switches

    def perform(self) -> dict[str, object]:
        """Run the prompt and return its entry for the history."""
        prompt_id, status = self._prompt.prompt_id, "error"
        if self._switches.instant_cached:
            for node in self._fresh:
                self._state.queue.cache[self._signatures[node]] = self._outputs.write(node)
            self._cached, self._fresh = self._nodes, []
        self._record("execution_start", {})
        self._record("execution_cached", {"nodes": self._cached})
        self._send_foreign_frames()
        if self._switches.huge_frame:
            self._send_preview(websocket.preview_frame(bytes(_HUGE_BYTES)))
        try:
            for node in self._nodes:
                if node in self._cached:
                    # Send the output of a cached output node again.
                    if node in self._prompt.outputs:
                        output = self._state.queue.cache[self._signatures[node]]
                        self._outputs.record(node, output)
                        self._send_output(node, output)
                        self._send_state(node, 1, 1, "finished")
                else:
                    self._execute(node)
        except _Interrupted as end:
            to_all = self._prompt.client_id is None
            self._record("execution_interrupted", self._location(end.node), to_all=to_all)
        except _NodeFailed as end:
            self._record("execution_error", self._describe_failure(end))
        else:
            status = "success"
            self._send_foreign_frames()
            data = {"prompt_id": prompt_id, "timestamp": websocket.milliseconds()}
            self._messages.append(("execution_success", data))
            if not self._switches.no_execution_success:
                self._send("execution_success", data)
        return {
            "prompt": self._prompt.row(with_secrets=False),
            "outputs": self._outputs.history,
            "status": {
                "status_str": status,
                "completed": status == "success",
                "messages": self._messages,
            },
            "meta": self._outputs.meta,
        }

    def _execute(self, node: str) -> None:
        if node == self._fresh[-1]:
            self._reach_half_way()
        self._raise_if_interrupted(node)
        self._send_state(node, 0.0, 1.0, "running")
        self._state.running_node = node
        self._send("executing", {"node": node, "display_node": node})
        error = self._find_error(node)
        is_blocked = error is not None and error.exception == "ExecutionBlocked"
        if error is not None and not is_blocked:
            raise _NodeFailed(node, error)
        self._state.sleep(self._silent_seconds(node))
        steps = self._sample(node) if images.is_sampler(self._graph, node) else 1
        if is_blocked:
            self._send(
                "execution_error",
                {
                    **self._location(node),
                    "exception_message": "Execution Blocked: not today",
                    "exception_type": "ExecutionBlocked",
                    "traceback": [],
                    "current_inputs": [],
                    "current_outputs": [],
                },
            )
        try:
            output = None if is_blocked else self._outputs.write(node)
            streamed = self._outputs.streamed_images(node)
        except (OSError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as failure:
            raise _NodeFailed(
                node, NodeError(exception=type(failure).__name__, message=str(failure))
            ) from failure
        self._state.queue.cache[self._signatures[node]] = output
        for index, data in enumerate(streamed):
            self._send_step(node, index, len(streamed), data)
        if output is not None:
            self._send_output(node, output)
        self._send_state(node, steps, steps, "finished")
        self._executed.append(node)

    def _find_error(self, node: str) -> NodeError | None:
        """The error of this node: by a switch, or because its images are not a link."""
        error = None if self._prompt.is_foreign else self._switches.error
        if error is not None:
            if error.node:
                place = error.node
            elif error.exception == "ExecutionBlocked":
                place = self._fresh[-1]
            else:
                samplers = (each for each in self._fresh if images.is_sampler(self._graph, each))
                place = next(samplers, self._fresh[-1])
            if node == place:
                return error
        value = node_inputs(self._graph, node).get("images", [])
        if isinstance(value, str | int | float) and not is_link(value):
            message = f"'{type(value).__name__}' object has no attribute 'shape'"
            return NodeError(exception="AttributeError", message=message)
        return None

    def _silent_seconds(self, node: str) -> float:
        """For how long a node sends nothing."""
        if "Loader" in self._graph[node]["class_type"] and not self._has_loaded:
            self._has_loaded = True
            return self._state.options.load_seconds + self._switches.silent_load
        return self._prompt.seconds if node == self._fresh[0] else 0.0

    def _sample(self, node: str) -> int:
        steps = images.sampling_steps(self._graph, node)
        previews: list[bytes] = []
        if self._state.options.live_previews or self._switches.previews:
            previews = images.render_previews(self._graph, node, self._state.options.images)
        for step in range(1, steps + 1):
            for _ in range(self._slowness):
                self._state.sleep(self._state.options.step_seconds)
                self._raise_if_interrupted(node)
            self._send_step(node, step, steps, previews[step - 1] if previews else None)
            if step >= (steps + 1) // 2:
                self._reach_half_way()
        return steps

    def _reach_half_way(self) -> None:
        """Where other clients interrupt, and where the server dies."""
        if self._is_half_done or self._prompt.is_foreign:
            return
        self._is_half_done = True
        if self._switches.interrupt:
            self._state.interrupted.set()
        dies = self._switches.die or self._switches.restart_empty
        if dies and self._state.active.strikes("death", 1):
            self._state.die()
            raise ServerStopped

    def _raise_if_interrupted(self, node: str) -> None:
        self._state.sleep(0)
        if self._state.interrupted.is_set():
            self._state.interrupted.clear()
            raise _Interrupted(node)

    def _location(self, node: str) -> dict[str, object]:
        kind = self._graph[node]["class_type"]
        return {"node_id": node, "node_type": kind, "executed": list(self._executed)}

    def _describe_failure(self, end: _NodeFailed) -> dict[str, object]:
        is_out_of_memory = end.error.exception == "torch.OutOfMemoryError"
        inputs = node_inputs(self._graph, end.node)
        return {
            **self._location(end.node),
            "exception_message": end.error.message + (_MEMORY_TIPS if is_out_of_memory else "\n"),
            "exception_type": end.error.exception,
            "traceback": _TRACEBACK,
            "current_inputs": {name: [value] for name, value in inputs.items()},
            "current_outputs": [end.node, *(node for node in self._nodes if node != end.node)],
        }

    def _send_step(self, node: str, value: int, steps: int, image: bytes | None) -> None:
        """One step; a preview with metadata comes before the number, an old one after it."""
        self._send_state(node, value, steps, "running")
        forced = self._switches.previews
        wants_metadata = forced == 4 or (
            not forced and self._state.clients.wants_metadata(self._prompt.client_id)
        )
        if image is not None and wants_metadata:
            prompt_id = self._prompt.prompt_id
            self._send_preview(websocket.preview_with_metadata(image, prompt_id, node))
        self._send("progress", {"value": value, "max": steps, "node": node}, to_all=True)
        if image is not None and not wants_metadata:
            self._send_preview(websocket.preview_frame(image))

    def _send_preview(self, frame: bytes) -> None:
        self._state.clients.send(self._prompt.client_id, "preview", frame)

    def _send_state(self, node: str, value: float, steps: float, state: str) -> None:
        self._progress[node] = {
            "value": value,
            "max": steps,
            "state": state,
            "node_id": node,
            "prompt_id": self._prompt.prompt_id,
            "display_node_id": node,
            "parent_node_id": None,
            "real_node_id": node,
        }
        if not self._switches.old_server:
            self._send("progress_state", {"nodes": self._progress}, to_all=True)

    def _send_output(self, node: str, output: Output | None) -> None:
        for name, display_node, each in self._outputs.messages(node, output):
            if self._state.active.strikes("mute_outputs", self._switches.mute_outputs):
                continue
            self._send("executed", {"node": name, "display_node": display_node, "output": each})

    def _record(self, kind: str, data: dict[str, object], *, to_all: bool = False) -> None:
        """Send a message that also goes into the history."""
        timestamp = websocket.milliseconds()
        message = {"prompt_id": self._prompt.prompt_id, **data, "timestamp": timestamp}
        self._messages.append((kind, message))
        self._send(kind, message, to_all=to_all)

    def _send(self, kind: str, data: dict[str, Any], *, to_all: bool = False) -> None:
        """Send to the client; without one, some kinds go to everybody and others to no one."""
        if self._prompt.client_id is not None or to_all:
            message = websocket.text_message(kind, {**data, "prompt_id": self._prompt.prompt_id})
            self._state.clients.send(self._prompt.client_id, kind, message)

    def _send_foreign_frames(self) -> None:
        if self._switches.foreign_frames and self._prompt.client_id is not None:
            for frame in websocket.foreign_frames():
                self._state.clients.send(self._prompt.client_id, "foreign", frame)


class _OutputWriter:
    """Saves the outputs of one prompt, and keeps what the history says about them."""

    def __init__(self, state: ServerState, prompt: QueuedPrompt) -> None:
        self._state = state
        self._prompt = prompt
        self.history: dict[str, Output] = {}
        self.meta: dict[str, dict[str, str | None]] = {}

    def write(self, node: str) -> Output | None:
        """Run a node; its output for the client, or None where it has none."""
        kind, inputs = self._prompt.graph[node]["class_type"], node_inputs(self._prompt.graph, node)
        # Classes that only the user's own catalog has save like SaveImage.
        saves = node in self._prompt.outputs and "images" in inputs
        if kind == _STREAMING_CLASS or not saves or self._state.switches.empty_success:
            return None
        folder = "temp" if kind == "PreviewImage" else "output"
        prefix = str(inputs.get("filename_prefix", "ComfyUI"))
        rendered = self._render(node)
        descriptions = [self._save(image, folder, prefix) for image in rendered]
        output: Output = {"images": descriptions}
        if self._state.switches.extra_outputs:
            output.update(self._write_extras(descriptions, rendered[0]))
        self.record(node, output)
        return output

    def record(self, node: str, output: Output | None) -> None:
        """Write an output into the history."""
        if output is None:
            return
        entries = {node: output}
        if self._state.switches.extra_outputs:
            entries[f"{node}.0.0.1"] = self._expanded_output(node)
        for name, each in entries.items():
            self.history[name] = each
            self.meta[name] = {
                "node_id": name,
                "display_node": node,
                "parent_node": None if name == node else node,
                "real_node_id": node,
            }

    def messages(
        self, node: str, output: Output | None
    ) -> Iterator[tuple[str, str, Output | None]]:
        """The node, the node that is displayed for it, and the output of each message."""
        yield node, node, output
        if output is not None and self._state.switches.extra_outputs:
            yield f"{node}.0.0.1", node, self._expanded_output(node)
            yield f"{node}.0.0.2", node, None

    def streamed_images(self, node: str) -> list[bytes]:
        """The images that a node sends over the websocket."""
        if self._prompt.graph[node]["class_type"] != _STREAMING_CLASS:
            return []
        style = self._state.options.images
        return [images.encode_png(image, {}, style) for image in self._render(node)]

    def _render(self, node: str) -> list[Image.Image]:
        source = find_source(self._prompt.graph, node, "images") or node
        style = self._state.options.images
        return images.render_node(self._prompt.graph, source, self._state.files, style)

    def _save(self, image: Image.Image, folder: str, prefix: str) -> dict[str, str]:
        subfolder, name = self._state.files.next_name(prefix, folder)
        if self._state.switches.evil_names:
            name = _EVIL_PREFIX + name
        description = self._state.files.put(self._encode(image), folder, subfolder, name)
        if self._state.switches.bare_names:
            del description["type"]
        return description

    def _encode(self, image: Image.Image) -> bytes:
        more = self._prompt.extra_data.get("extra_pnginfo")
        texts = {"prompt": self._prompt.graph, **(more if isinstance(more, dict) else {})}
        return images.encode_png(image, texts, self._state.options.images)

    def _write_extras(self, descriptions: list[dict[str, str]], image: Image.Image) -> Output:
        """The same file name in other places, and outputs that are not images."""
        files, name = self._state.files, descriptions[0]["filename"]
        elsewhere = files.put(self._encode(image.rotate(180)), "output", "elsewhere", name)
        temporary = files.put(self._encode(image.rotate(90, expand=True)), "temp", "", name)
        gif = files.put(b"GIF89a moving;", "output", "", "moving_00001.gif")
        sound = files.put(b"fLaC sound", "output", "audio", "sound_00001_.flac")
        return {
            "images": [*descriptions, elsewhere, temporary],
            "gifs": [{**gif, "format": "image/gif", "frame_rate": 8.0}],
            "audio": [sound],
            "text": ["some words"],
            "animated": [False],
        }

    def _expanded_output(self, node: str) -> Output:
        """The output of a node that this node expanded into."""
        name = f"expanded_from_{node}_00001_.png"
        if self._state.files.get("output", "expanded", name) is None:
            data = self._encode(self._render(node)[0])
            self._state.files.put(data, "output", "expanded", name)
        return {"images": [{"filename": name, "subfolder": "expanded", "type": "output"}]}
