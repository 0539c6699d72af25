"""A simulated Replicate for tests: `with Replicate() as cloud:` runs one at `cloud.url`.

It speaks the part of the HTTP API that generates images, and misbehaves as `ReplicateSwitches`
say: `Replicate(lose_answer="drop", seconds=0.5)`.
"""

from simulators.replicate.failure_switches import TOKEN, ReplicateSwitches
from simulators.replicate.models import COMMUNITY, DEPLOYMENT, MODELS
from simulators.replicate.server import Replicate

__all__ = ["COMMUNITY", "DEPLOYMENT", "MODELS", "TOKEN", "Replicate", "ReplicateSwitches"]
