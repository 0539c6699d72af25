"""A simulated Replicate for tests: `with Replicate() as cloud:` gives one at `cloud.url`.

It speaks the part of the HTTP API that makes pictures, paints plausibly and for nothing, and
misbehaves as the switches of `Trouble` say: `Replicate(lose_answer="drop", seconds=0.5)`.
"""

from simulators.replicate.models import COMMUNITY, DEPLOYMENT, MODELS
from simulators.replicate.service import Replicate
from simulators.replicate.trouble import TOKEN, Trouble

__all__ = ["COMMUNITY", "DEPLOYMENT", "MODELS", "TOKEN", "Replicate", "Trouble"]
