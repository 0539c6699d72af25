"""Predictions of the simulated Replicate: they follow the clock, and their images are painted."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from imagen.backends.mock.painting import paint
from simulators.replicate.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulators.replicate.failure_switches import ReplicateSwitches

_TICK_SECONDS = 0.05
_ENDED = ("succeeded", "failed", "canceled", "aborted")
_DEFAULT_SEED = 4242
_SIDE = 96
"""The longer side in pixels, for models that take an aspect ratio."""
_FORMATS = {"png": "PNG", "webp": "WEBP", "jpg": "JPEG"}


@dataclass(slots=True)
class Prediction:
    """One prediction; times are those of `time.time`."""

    id: str
    model: str
    version: str
    input: Mapping[str, Any]
    """As it was sent."""
    switches: ReplicateSwitches
    created: float
    deadline: float | None
    deployment: str = ""
    cancelled: float | None = None
    output: object = None

    @property
    def started(self) -> float:
        return self.created + self.switches.queue_seconds

    @property
    def ends(self) -> float:
        """When it ends: by itself, by its deadline, or because it was cancelled."""
        moments = [self.started + self.switches.seconds, self.deadline, self.cancelled]
        return min(moment for moment in moments if moment is not None)

    def status(self, now: float | None = None) -> str:
        """The status at a time, by default now."""
        now = time.time() if now is None else now
        if now < self.ends:
            return "starting" if now < self.started else "processing"
        if self.ends in (self.cancelled, self.deadline):
            return "aborted" if self.ends < self.started else "canceled"
        return self.switches.end

    @property
    def has_ended(self) -> bool:
        return self.status() in _ENDED

    def cancel(self) -> None:
        if not self.has_ended and not self.switches.late:
            self.cancelled = time.time()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, at most this long."""
        limit = time.time() + seconds
        while not self.has_ended and time.time() < limit:
            time.sleep(min(_TICK_SECONDS, max(0.0, self.ends - time.time())))

    def as_json(self, url: str) -> dict[str, object]:
        """As the API shows it."""
        status = self.status()
        is_removed = self.switches.removed and self.has_ended
        content: dict[str, object] = {
            "id": self.id,
            "model": self.model,
            "version": self.version,
            "input": {} if is_removed else dict(self.input),
            "logs": "" if is_removed else self._log(),
            "output": self.output if status == "succeeded" and not is_removed else None,
            "data_removed": is_removed,
            "error": self.switches.error if status == "failed" else None,
            "source": "api",
            "status": status,
            "created_at": format_time(self.created),
            "urls": {
                "cancel": f"{url}/predictions/{self.id}/cancel",
                "get": f"{url}/predictions/{self.id}",
                "web": f"https://replicate.com/p/{self.id}",
            },
        }
        if self.deadline is not None:
            content["deadline"] = format_time(self.deadline)
        if status not in ("starting", "aborted"):
            content["started_at"] = format_time(self.started)
        if status in _ENDED:
            content["completed_at"] = format_time(self.ends)
        if status == "succeeded":
            total = self.ends - self.created
            content["metrics"] = {"predict_time": self.switches.seconds, "total_time": total}
        return content | ({"deployment": self.deployment} if self.deployment else {})

    def _log(self) -> str:
        """What the model prints: its seed, and a progress bar."""
        if self.status() == "starting":
            return ""
        steps = int(self.input.get("num_inference_steps") or 4)
        share = min(1.0, (time.time() - self.started) / (self.switches.seconds or 1e-6))
        done = int(share * steps)
        has_seed = "seed" in MODELS[self.model]["Input"]["properties"]
        seed = f"Using seed: {self.input.get('seed', _DEFAULT_SEED)}\n" if has_seed else ""
        return f"{seed}{100 * done // steps:3d}%|####| {done}/{steps} [00:01<00:00]\n"


class Predictions:
    """All predictions, in the order of their creation."""

    def __init__(self) -> None:
        self._predictions: dict[str, Prediction] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._predictions)

    def add(self, prediction: Prediction) -> None:
        with self._lock:
            self._predictions[prediction.id] = prediction

    def get(self, id: str) -> Prediction | None:
        return self._predictions.get(id)

    def newest_first(self) -> list[Prediction]:
        with self._lock:
            return list(reversed(self._predictions.values()))


def format_time(seconds: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def paint_outputs(values: Mapping[str, Any], count: int) -> list[bytes]:
    """The image files of a prediction with this input."""
    if values.get("width") and values.get("height"):
        width, height = int(values["width"]), int(values["height"])
    else:
        width, height = _SIDE, _SIDE
        across, _, down = str(values.get("aspect_ratio") or "1:1").partition(":")
        if across.isdecimal() and down.isdecimal():
            height = max(16, _SIDE * int(down) // int(across))
    inputs = ("image", "mask", "input_image", "input_images", "image_prompt", "control_image")
    files = []
    for index in range(count):
        image = paint(
            prompt=str(values.get("prompt") or ""),
            negative=str(values.get("negative_prompt") or ""),
            seed=int(values.get("seed", _DEFAULT_SEED)) + index,
            width=width,
            height=height,
            steps=int(values.get("num_inference_steps") or 4),
            # Other input images give another result.
            variant="".join(str(values[name]) for name in inputs if values.get(name)),
        )
        data = BytesIO()
        image.save(data, _FORMATS[str(values.get("output_format") or "png")])
        files.append(data.getvalue())
    return files
