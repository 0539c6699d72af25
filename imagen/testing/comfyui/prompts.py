"""POST /prompt: taking a graph into the queue."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from imagen.testing.comfyui.jobs import Job
from imagen.testing.comfyui.validation import Invalid, Verdict, validate
from imagen.testing.comfyui.wire import CUT, Answer, as_json, broken

if TYPE_CHECKING:
    from imagen.testing.comfyui.wire import Request
    from imagen.testing.comfyui.world import World

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LONGEST_WAIT_SECONDS = 30.0
STRANGER = "a-stranger"


def post(world: World, request: Request) -> Answer:
    """Take a prompt, or say what is wrong with it."""
    if world.mischief.strikes("lost_post_request", world.hostility.lost_post_request):
        return CUT
    try:
        body = request.json()
        if "prompt" not in body:
            raise Invalid("no_prompt", "No prompt provided", "No prompt provided")
        return _taken(world, body)
    except Invalid as refused:
        return as_json(refused.body, 400)
    except (ValueError, TypeError, AttributeError):
        return broken()


def _taken(world: World, body: dict[str, Any]) -> Answer:
    number = _number(world, body)
    extra = dict(body.get("extra_data", {}))
    if "client_id" in body:
        extra["client_id"] = body["client_id"]
    prompt_id = _prompt_id(world, body)
    verdict = _judged(world, body)
    job = Job(number, prompt_id, body["prompt"], extra, verdict.outputs)
    world.observed.prompts.append(body)
    for _ in range(world.hostility.busy):
        enqueue(world, stranger(world, seconds=world.hostility.busy_seconds, number=number))
    is_lost = world.mischief.strikes("lost_post_response", world.hostility.lost_post_response)
    if is_lost and world.hostility.taken_late:
        world.jobs.hold(job, world.hostility.taken_late)
        return CUT
    enqueue(world, job)
    if world.hostility.instant_cached:
        job.done.wait(_LONGEST_WAIT_SECONDS)
    if is_lost:
        return CUT
    errors = verdict.node_errors
    return as_json({"prompt_id": prompt_id, "number": number, "node_errors": errors})


def enqueue(world: World, job: Job) -> None:
    world.jobs.put(job, world.tell_status)


def stranger(
    world: World,
    graph: dict[str, Any] | None = None,
    *,
    seconds: float,
    client_id: str | None = STRANGER,
    number: float | None = None,
) -> Job:
    """The job of somebody else."""
    colour = uuid.uuid4().int % (1 << 24)
    graph = graph or {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": colour},
        },
        "9": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    outputs = [
        node for node, said in graph.items() if world.catalogue.is_output(said["class_type"])
    ]
    position = world.jobs.number() if number is None else number - 0.5
    extra = {} if client_id is None else {"client_id": client_id}
    return Job(position, str(uuid.uuid4()), graph, extra, outputs, seconds, is_foreign=True)


def _number(world: World, body: dict[str, Any]) -> float:
    count = world.jobs.number()
    if "number" in body:
        return float(body["number"])
    return -count if body.get("front") else count


def _prompt_id(world: World, body: dict[str, Any]) -> str:
    if "prompt_id" not in body or world.hostility.old_server:
        return str(uuid.uuid4())
    prompt_id = str(body["prompt_id"])
    if world.hostility.strict_uuid and not _CANONICAL.fullmatch(prompt_id):
        raise Invalid("invalid_prompt_id", "prompt_id must be a canonical UUID", prompt_id)
    return prompt_id


def _judged(world: World, body: dict[str, Any]) -> Verdict:
    targets = None if world.hostility.old_server else body.get("partial_execution_targets")
    verdict = validate(body["prompt"], world.catalogue, targets)
    if world.hostility.node_errors_200:
        _spoil(verdict, body["prompt"])
    return verdict


def _spoil(verdict: Verdict, graph: dict[str, Any]) -> None:
    """Find fault with the last output; it is skipped unless it's the only one."""
    output = verdict.outputs[-1]
    verdict.outputs = verdict.outputs[:-1] or [output]
    problem = {
        "type": "required_input_missing",
        "message": "Required input is missing",
        "details": "images",
        "extra_info": {"input_name": "images"},
    }
    verdict.node_errors[output] = {
        "errors": [problem],
        "dependent_outputs": [output],
        "class_type": graph[output]["class_type"],
    }
