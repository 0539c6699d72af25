"""A simulated server with A1111's API: `with A1111Server() as server:` runs one at `server.url`.

It runs one job at a time, as the programs do, and misbehaves as its switches say:
`A1111Server("forge", switches=A1111Switches(seconds=30, answer="cut"))`.
"""

from simulators.a1111.lists import CREDENTIAL
from simulators.a1111.server import A1111Server, A1111Switches

__all__ = ["CREDENTIAL", "A1111Server", "A1111Switches"]
