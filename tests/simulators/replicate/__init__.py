"""A simulated Replicate for tests: `with Replicate() as cloud:` gives one at `cloud.url`.

It speaks the part of the HTTP API that makes pictures, paints plausibly and for nothing, and
misbehaves as the switches of `ReplicateSwitches` say: `Replicate(lose_answer="drop", seconds=0.5)`.
"""

from simulators.replicate.failure_switches import TOKEN, ReplicateSwitches
from simulators.replicate.models import COMMUNITY, DEPLOYMENT, MODELS
from simulators.replicate.service import Replicate

__all__ = ["COMMUNITY", "DEPLOYMENT", "MODELS", "TOKEN", "Replicate", "ReplicateSwitches"]
