"""One run of a graph: what is sent while it goes on, and the history that is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.testing.comfyui import frames, mishaps, pictures
from imagen.testing.comfyui.graph import inputs, order, signatures
from imagen.testing.comfyui.outputs import Outputs

if TYPE_CHECKING:
    from imagen.testing.comfyui.failure_switches import FailureSwitches
    from imagen.testing.comfyui.jobs import Job
    from imagen.testing.comfyui.world import World

_HUGE = 20 << 20


class Run:
    """Goes through the nodes of one job."""

    def __init__(self, world: World, job: Job) -> None:
        self._world = world
        self._job = job
        self._messages: list[tuple[str, Any]] = []
        self._states: dict[str, dict[str, Any]] = {}
        self._executed: list[str] = []
        self._nodes = order(job.graph, job.outputs)
        self._signatures = signatures(job.graph, self._nodes, self._mark)
        cache = world.jobs.cache
        self._cached = [node for node in self._nodes if self._signatures[node] in cache]
        self._fresh = [node for node in self._nodes if node not in self._cached]
        self._outputs = Outputs(world, job)
        self._loaded = False
        self._half_done = False
        # The cache holds what the last prompt used, no more.
        keep = {self._signatures[node] for node in self._cached}
        world.jobs.cache = {key: kept for key, kept in cache.items() if key in keep}

    def perform(self) -> dict[str, Any]:
        """Run it all; the entry for the history."""
        status, completed = "error", False
        if self._hostility.instant_cached:
            self._make_at_once()
        self._stage("execution_start", {})
        self._stage("execution_cached", {"nodes": self._cached})
        self._disturb()
        if self._hostility.huge_frame:
            self._send_preview(frames.preview(bytes(_HUGE)))
        try:
            self._all_nodes()
        except mishaps.Interrupted as end:
            broadcast = self._job.client_id is None
            self._stage("execution_interrupted", self._at(end.node), broadcast=broadcast)
        except mishaps.Failed as end:
            details = mishaps.described(end, self._job.graph, self._executed, self._nodes)
            self._stage("execution_error", {**self._at(end.node), **details})
        else:
            status, completed = "success", True
            self._succeed()
        return self._entry(status, completed)

    @property
    def _hostility(self) -> FailureSwitches:
        return self._world.hostility

    def _mark(self, node: str) -> str:
        return self._world.files.fingerprint(inputs(self._job.graph, node).get("image"))

    def _make_at_once(self) -> None:
        for node in self._fresh:
            self._world.jobs.cache[self._signatures[node]] = self._outputs.make(node)
        self._cached, self._fresh = self._nodes, []

    def _all_nodes(self) -> None:
        for node in self._nodes:
            if node in self._cached:
                self._resend(node)
            else:
                self._node(node)

    def _resend(self, node: str) -> None:
        """What a cached output node gave, once more."""
        if node in self._job.outputs:
            found = self._world.jobs.cache[self._signatures[node]]
            self._outputs.keep(node, found)
            self._give(node, found)
            self._state(node, 1, 1, "finished")

    def _node(self, node: str) -> None:
        if node == self._fresh[-1]:
            self._half_way()
        self._check(node)
        self._state(node, 0.0, 1.0, "running")
        self._world.now_at = node
        self._tell("executing", {"node": node, "display_node": node})
        self._work(node)
        self._executed.append(node)

    def _work(self, node: str) -> None:
        """What a node does between its start and its end."""
        asked = None if self._job.is_foreign else self._hostility.error
        fault = mishaps.at(node, self._job.graph, self._fresh, asked)
        if fault is not None and fault.exception != "ExecutionBlocked":
            raise mishaps.Failed(node, fault)
        self._world.sleep(self._silence(node))
        steps: float = 1.0
        if pictures.is_sampler(self._job.graph, node):
            steps = self._sample(node)
        if fault:
            self._tell("execution_error", mishaps.blocked(node, self._job.graph, self._executed))
        with mishaps.of_node(node):
            found = None if fault else self._outputs.make(node)
            streamed = self._outputs.streamed(node)
        self._world.jobs.cache[self._signatures[node]] = found
        for index, data in enumerate(streamed):
            self._progress(node, index, len(streamed), data)
        if found is not None:
            self._give(node, found)
        self._state(node, steps, steps, "finished")

    def _silence(self, node: str) -> float:
        """For how long a node says nothing."""
        kind = self._job.graph[node]["class_type"]
        if "Loader" in kind and not self._loaded:
            self._loaded = True
            return self._world.setup.load_seconds + self._hostility.silent_load
        return self._job.seconds if node == self._fresh[0] else 0.0

    def _sample(self, node: str) -> int:
        steps = pictures.steps(self._job.graph, node)
        shown = self._previews(node)
        for step in range(1, steps + 1):
            self._world.sleep(self._world.setup.step_seconds)
            self._check(node)
            self._progress(node, step, steps, shown[step - 1] if shown else None)
            if step >= (steps + 1) // 2:
                self._half_way()
        return steps

    def _previews(self, node: str) -> list[bytes]:
        if self._world.setup.live_previews or self._hostility.previews:
            return pictures.previews(self._job.graph, node, self._world.setup.pictures)
        return []

    def _half_way(self) -> None:
        """Where others interrupt, and the server dies."""
        if self._half_done or self._job.is_foreign:
            return
        self._half_done = True
        if self._hostility.interrupt:
            self._world.interrupted.set()
        if self._hostility.die or self._hostility.restart_empty:
            mishaps.die(self._world)

    def _check(self, node: str) -> None:
        self._world.sleep(0)
        if self._world.interrupted.is_set():
            self._world.interrupted.clear()
            raise mishaps.Interrupted(node)

    def _progress(self, node: str, value: int, most: int, picture: bytes | None) -> None:
        """One step; the picture comes before the number to those who know previews by name."""
        self._state(node, value, most, "running")
        rich = self._rich()
        if picture is not None and rich:
            self._send_preview(frames.preview_with_metadata(picture, self._job.prompt_id, node))
        self._tell("progress", {"value": value, "max": most, "node": node}, to_all=True)
        if picture is not None and not rich:
            self._send_preview(frames.preview(picture))

    def _rich(self) -> bool:
        forced = self._hostility.previews
        return forced == 4 or (not forced and self._world.hub.wants_metadata(self._job.client_id))

    def _send_preview(self, frame: bytes) -> None:
        self._world.hub.send(self._job.client_id, "preview", frame)

    def _state(self, node: str, value: float, most: float, state: str) -> None:
        self._states[node] = {
            "value": value,
            "max": most,
            "state": state,
            "node_id": node,
            "prompt_id": self._job.prompt_id,
            "display_node_id": node,
            "parent_node_id": None,
            "real_node_id": node,
        }
        if not self._hostility.old_server:
            self._tell("progress_state", {"nodes": self._states}, to_all=True)

    def _give(self, node: str, found: Any) -> None:
        for name, shown, output in self._outputs.told(node, found):
            if self._world.mischief.strikes("mute_outputs", self._hostility.mute_outputs):
                continue
            self._tell("executed", {"node": name, "display_node": shown, "output": output})

    def _succeed(self) -> None:
        self._disturb()
        data = {"prompt_id": self._job.prompt_id, "timestamp": frames.milliseconds()}
        self._messages.append(("execution_success", data))
        if not self._hostility.no_execution_success:
            self._tell("execution_success", data)

    def _stage(self, kind: str, data: dict[str, Any], *, broadcast: bool = False) -> None:
        """A message that also goes into the history."""
        whole = {"prompt_id": self._job.prompt_id, **data, "timestamp": frames.milliseconds()}
        self._messages.append((kind, whole))
        self._tell(kind, whole, to_all=broadcast)

    def _tell(self, kind: str, data: dict[str, Any], *, to_all: bool = False) -> None:
        """A message to the client; of a job without one, all hear some kinds and nobody others."""
        if self._job.client_id is not None or to_all:
            whole = {**data, "prompt_id": self._job.prompt_id}
            self._world.hub.tell(self._job.client_id, kind, whole)

    def _disturb(self) -> None:
        if self._hostility.foreign_frames and self._job.client_id is not None:
            for frame in frames.foreign(mishaps.STRAY_PICTURE):
                self._world.hub.send(self._job.client_id, "foreign", frame)

    def _at(self, node: str) -> dict[str, Any]:
        kind = self._job.graph[node]["class_type"]
        return {"node_id": node, "node_type": kind, "executed": list(self._executed)}

    def _entry(self, status: str, completed: bool) -> dict[str, Any]:
        return {
            "prompt": self._job.row(whole=False),
            "outputs": self._outputs.history,
            "status": {"status_str": status, "completed": completed, "messages": self._messages},
            "meta": self._outputs.meta,
        }
