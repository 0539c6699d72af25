"""How the simulated Replicate misbehaves: one switch for each way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TOKEN = "r8_stand_in_token"
"""The token that the simulated Replicate accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicateSwitches:
    """Switches, all off by default.

    Submissions
    - `no_credit`: refused with 402.
    - `throttled`: the first N are refused with 429; `throttle` says where the pause is given: in
      the header, in the body, or only in the text.
    - `broken`: the first N are answered with 500, and not accepted.
    - `lose_answer`: the first is accepted, and its answer is cut off, a 500, or truncated JSON.
    - `refused_input`: the name of an input that is refused with 422, whatever its value.

    Predictions
    - `seconds`: duration of each run; `queue_seconds`: how long it waits before.
    - `end`: how each ends; `error`: the message of one that failed.
    - `removed`: their data is deleted; `forgotten`: requests for one are answered 404.
    - `unsteady`: the first N requests for one, or for the list, are answered with 503.
    - `portal`: the list is answered with JSON of another form.
    - `late`: a cancelled prediction continues.

    Files
    - `shape`: the form of the output.
    - `cut_short`: the first N downloads end before their end.
    - `redirect`: the address to which each download is redirected.
    - `gone`: every download is answered with 404.
    - `page`: the first N downloads are an HTML page.
    """

    no_credit: bool = False
    throttled: int = 0
    throttle: Literal["header", "body", "words"] = "header"
    throttle_seconds: int = 0
    broken: int = 0
    lose_answer: Literal["", "drop", "500", "garbled"] = ""
    refused_input: str = ""

    seconds: float = 0.0
    queue_seconds: float = 0.0
    end: Literal["succeeded", "failed", "canceled", "aborted"] = "succeeded"
    error: str = "Prediction failed: out of paint (E1000)"
    removed: bool = False
    forgotten: bool = False
    unsteady: int = 0
    portal: bool = False
    late: bool = False

    shape: Literal["list", "one", "data", "named", "words", "nothing"] = "list"
    cut_short: int = 0
    redirect: str = ""
    gone: bool = False
    page: int = 0
