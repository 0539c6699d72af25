"""What can be wrong with a simulated Replicate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TOKEN = "r8_stand_in_token"
"""The token that a simulated Replicate accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicateSwitches:
    """Switches, all off by default.

    Submissions
    - `no_credit`: refused with 402.
    - `throttled`: the first so many are refused with 429; `throttle` says where the pause stands:
      in the header, in the body, or only in its words.
    - `broken`: the first so many are answered with 500, and not taken.
    - `lose_answer`: the first is taken, and its answer is cut off, a 500, or no JSON.
    - `refused_input`: the name of an input that is refused with 422, whatever its value.

    Predictions
    - `seconds`: how long each runs; `queue_seconds`: how long it waits before.
    - `end`: how each ends; `error`: the words of one that failed.
    - `removed`: their data is deleted; `forgotten`: nobody knows them.
    - `unsteady`: the first so many questions for one, or for all, are answered with 503.
    - `portal`: a question for all is answered with JSON that is no listing.
    - `late`: a prediction that is cancelled goes on all the same.

    Files
    - `shape`: what the output looks like.
    - `cut_short`: the first so many downloads end before their end.
    - `redirect`: the address to which each download is sent on.
    - `gone`: no download is there.
    - `page`: the first so many downloads are a page for people.
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
