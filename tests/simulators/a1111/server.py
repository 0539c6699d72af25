"""The simulated server: its routes, and the one job that it runs at a time."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal, Self

from PIL import Image
from support.fake_sd_cli import png

from imagen.testing.http_server import CUT, HttpAnswer, HttpRequest, HttpServer, json_answer
from simulators.a1111.lists import CREDENTIAL, Program, list_answers

_STEP_SECONDS = 0.01
_LINGER_SECONDS = 0.3
_GATEWAY = HttpAnswer(
    status=502, body=b"<html><h1>Bad Gateway</h1></html>", headers={"Content-Type": "text/html"}
)
_JOBS = ("txt2img", "img2img", "extra-single-image")


@dataclass(frozen=True, slots=True, kw_only=True)
class A1111Switches:
    """How the server misbehaves."""

    seconds: float = 0.0
    """How long a job takes."""
    needs_credential: bool = False
    has_tasks: bool = True
    """Whether A1111 and Forge serve `/internal/progress`; not with --nowebui."""
    refusal: tuple[int, Any] | None = None
    """Status and answer of every job, which then does not run."""
    answer: Literal["whole", "cut", "gateway", "login", "no-images", "half", "empty"] = "whole"
    """What becomes of the answer to a job that ran."""
    login_page: bool = False
    """Whether a page with a login form answers every request, with status 200."""
    extra_images: tuple[int, int] = (0, 0)
    """How many images come before and after those that were asked for."""


@dataclass
class _State:
    """What the programs keep about the job that runs; the last one stays where no other runs."""

    job: str = ""
    job_count: int = 0
    step: int = 0
    steps: int = 0
    interrupted: bool = False
    is_finished: bool = False
    number: int = 0


@dataclass
class A1111Server:
    """A server of one program on a port of its own."""

    program: Program = "a1111"
    switches: A1111Switches = field(default_factory=A1111Switches)
    requests: list[tuple[str, Any]] = field(default_factory=list)
    """Method and path, and the body, of every request."""
    submissions: int = 0
    """How many jobs it has accepted."""
    interrupts: int = 0
    current_task: str | None = None
    lingers: bool = False
    """Whether an interrupted job works on for a moment, as one does in the middle of a step."""
    finished: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._state = _State()
        self._gpu = threading.Lock()
        self._pending: list[str] = []
        self._at_work = 0
        self._is_closing = threading.Event()
        self._lists = list_answers(self.program)
        self._server = HttpServer(self._answer, name="a1111")

    @property
    def url(self) -> str:
        return self._server.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, *, abruptly: bool = False) -> None:
        """From now on the port refuses connections."""
        self._is_closing.set()
        if not hasattr(self, "_held"):
            self._held = self._server.stop(abruptly=abruptly)

    def hide_api(self) -> None:
        """Be a server that was started without --api."""
        self._lists = {}

    def finish_current(self) -> None:
        """Let the job that runs end well at once."""
        self._state.is_finished = True

    def is_at_work(self) -> bool:
        return self._at_work > 0

    def bodies(self, path: str) -> list[Any]:
        """The bodies that were posted to a route."""
        return [body for line, body in self.requests if line == f"POST {path}"]

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        body: Any = request.json() if request.body else None
        self.requests.append((f"{request.method} {request.path}", body))
        if self.switches.login_page:
            return HttpAnswer(body=b"<html>Log in</html>", headers={"Content-Type": "text/html"})
        basic = f"Basic {b64encode(CREDENTIAL.encode()).decode()}"
        if self.switches.needs_credential and request.headers.get("authorization") != basic:
            return self._error(401, "Incorrect username or password")
        name = request.path.rpartition("/")[2]
        if request.method == "GET" and request.path in self._lists:
            return json_answer(self._lists[request.path])
        if request.method == "POST" and request.path.startswith("/sdapi/v1/") and name in _JOBS:
            is_served = self.program != "sd.cpp" or name != "extra-single-image"
            return self._run(name, body) if is_served else self._error(404, "Not Found")
        if request.path == "/controlnet/detect" and "/controlnet/module_list" in self._lists:
            return json_answer({"images": body["controlnet_input_images"], "info": "Success"})
        has_progress = self.program != "sd.cpp"
        if request.path == "/sdapi/v1/progress" and has_progress:
            return json_answer(self._progress())
        if request.path == "/internal/progress" and has_progress and self.switches.has_tasks:
            return json_answer(self._task(body["id_task"]))
        if request.path == "/sdapi/v1/interrupt" and has_progress:
            self.interrupts += 1
            self._state.interrupted = True
            return json_answer({})
        if request.path == "/sdapi/v1/unload-checkpoint" and has_progress:
            return json_answer({})
        return self._error(404, "Not Found")

    def _error(self, status: int, detail: Any) -> HttpAnswer:
        if self.program == "sd.cpp":
            return json_answer({"error": detail}, status)
        more = {"error": "HTTPException", "body": "", "errors": ""}
        return json_answer({"detail": detail} | ({} if self.program == "forge" else more), status)

    def _run(self, name: str, body: dict[str, Any]) -> HttpAnswer:
        if self.switches.refusal is not None:
            status, answer = self.switches.refusal
            is_text = isinstance(answer, bytes)
            return (
                HttpAnswer(status=status, body=answer) if is_text else json_answer(answer, status)
            )
        if self.program == "sd.cpp" and not body.get("prompt"):
            return self._error(400, "prompt required")
        self.submissions += 1
        self._at_work += 1
        try:
            images = self._work(name, body)
        finally:
            self._at_work -= 1
        answer = self.switches.answer
        if self._is_closing.is_set() or answer == "cut":
            return CUT
        if answer == "gateway":
            return _GATEWAY
        if answer == "login":
            return HttpAnswer(body=b"<html>Log in</html>")
        if answer == "empty":
            return json_answer({})
        if answer == "no-images":
            images = []
        if answer == "half":
            images = [image[:-20] for image in images]
        encoded = [b64encode(image).decode() for image in images]
        if name == "extra-single-image":
            return json_answer({"html_info": "", "image": encoded[0]})
        first = self.switches.extra_images[0]
        seeds = [body["seed"]] * first + [body["seed"] + i for i in range(len(images) - first)]
        info = {
            "all_seeds": seeds,
            "seed": body["seed"],
            "index_of_first_image": first,
            "sd_model_name": (body.get("override_settings") or {}).get(
                "sd_model_checkpoint", self._lists["/sdapi/v1/options"]["sd_model_checkpoint"]
            ),
            "infotexts": [""] * len(images),
        }
        return json_answer({"images": encoded, "parameters": {}, "info": json.dumps(info)})

    def _work(self, name: str, body: dict[str, Any]) -> list[bytes]:
        """Wait for the GPU, and use it step by step."""
        id = body.get("force_task_id") or f"task({len(self.requests)})"
        has_ids = self.program in ("a1111", "forge") and name != "extra-single-image"
        if has_ids:
            self._pending.append(id)
        with self._gpu:
            state = self._state = _State(
                job=name, job_count=1, steps=body.get("steps", 1), number=self._state.number + 1
            )
            if has_ids:
                self._pending.remove(id)
                self.current_task = id
            end = time.monotonic() + self.switches.seconds
            while (left := end - time.monotonic()) > 0:
                if state.interrupted or state.is_finished:
                    break
                state.step = round(state.steps * (1 - left / self.switches.seconds))
                if self._is_closing.wait(_STEP_SECONDS):
                    break
            if state.interrupted and self.lingers:
                self._is_closing.wait(_LINGER_SECONDS)
            state.job, state.job_count = "", 0
            if self.program == "sdnext":
                state.step = 0
            if has_ids:
                self.current_task = None
                self.finished.append(id)
        return self._images(name, body)

    def _images(self, name: str, body: dict[str, Any]) -> list[bytes]:
        if name == "extra-single-image":
            with Image.open(BytesIO(b64decode(body["image"]))) as image:
                factor = body["upscaling_resize"]
                larger = image.resize((round(image.width * factor), round(image.height * factor)))
                file = BytesIO()
                larger.save(file, "PNG")
                return [file.getvalue()]
        scale = body["hr_scale"] if body.get("enable_hr") else 1
        width, height = round(body["width"] * scale), round(body["height"] * scale)
        before, after = self.switches.extra_images
        count = body.get("batch_size", 1)
        seeds = [*[0] * before, *(body["seed"] + i for i in range(count)), *[1] * after]
        return [png(width, height, seed) for seed in seeds]

    def _progress(self) -> dict[str, Any]:
        state = self._state
        is_busy = state.job_count > 0
        preview = b64encode(png(8, 8, state.step)).decode() if is_busy else None
        more = {"id": f"job{state.number}"} if self.program == "sdnext" else {"current_task": None}
        return more | {
            "progress": state.step / max(state.steps, 1) if is_busy else 0.0,
            "eta_relative": 0.0,
            "state": {
                "job": state.job,
                "job_count": state.job_count,
                "sampling_step": state.step,
                "sampling_steps": state.steps,
                "interrupted": state.interrupted,
            },
            "current_image": preview,
            "textinfo": None,
        }

    def _task(self, id: str) -> dict[str, Any]:
        is_active = id == self.current_task
        return {
            "active": is_active,
            "queued": id in self._pending,
            "completed": id in self.finished,
            "live_preview": None,
            "id_live_preview": -1,
            "textinfo": "Waiting...",
        }
