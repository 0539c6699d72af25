"""The mock backend passes the contract, is deterministic and fails as configured."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from imagen.backends import open_backend
from imagen.backends.mock import adapter
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.errors import RateLimited, TimedOut
from imagen.testing import BackendContract, Rig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends import Backend
    from imagen.testing.contract import Scenario

_BLOCKS: dict[Scenario, dict[str, Any]] = {
    "ok": {},
    "slow": {"step_seconds": 30},
    "unreachable": {"fail": "unavailable"},
    "unauthorized": {"fail": "unauthorized"},
    "rejected": {"fail": "rejected"},
    "failed": {"fail": "failed"},
    "lost": {"fail": "lost"},
}


class _MockRig:
    adapter = adapter

    def block(self) -> Mapping[str, Any]:
        return {"look": "bright"}

    def open(self, scenario: Scenario) -> Backend:
        return open_backend("rigged", {"rigged": {"type": "mock", **_BLOCKS[scenario]}})

    def submissions(self) -> int:
        """The mock has no engine that counts: collecting again paints again."""
        return 0

    def at_work(self) -> bool:
        return False


class TestMock(BackendContract):
    goes_on_alone = False

    @pytest.fixture
    def rig(self) -> Rig:
        return _MockRig()


def _paint(block: dict[str, Any], **asked: Any) -> list[bytes]:
    request = Request(prompt="a fox", width=32, height=32, seed=1, steps=2).with_values(asked)
    with closing(open_backend("m", {"m": {"type": "mock", **block}})) as engine:
        result = engine.collect(engine.prepare(request), no_progress)
    return [image.data for image in result.images]


def test_more_steps_give_another_image() -> None:
    assert _paint({}, steps=2) != _paint({}, steps=3)


def test_negative_prompt_gives_another_image() -> None:
    assert _paint({}, negative="blur") != _paint({})


def test_another_look_gives_another_image() -> None:
    assert _paint({"look": "bright"}) != _paint({})


def test_batch_uses_consecutive_seeds() -> None:
    assert _paint({}, count=3) == [*_paint({}), *_paint({}, seed=2), *_paint({}, seed=3)]


def test_seed_after_the_greatest_is_zero() -> None:
    assert _paint({}, seed=2**64 - 1, count=2)[1:] == _paint({}, seed=0)


@pytest.mark.parametrize(
    ("fail", "error"), [("rate_limited", RateLimited), ("timed_out", TimedOut)]
)
def test_fail_raises_the_configured_error(fail: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="The mock fails as configured"):
        _paint({"fail": fail})
