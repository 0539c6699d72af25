"""Which queues a place asks: the tail rule, priority, and models in turn."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen.jobs.choice import (
    FAVOURED_JOBS,
    FAVOURED_SECONDS,
    Choice,
    Favour,
    Place,
    RunningJob,
)
from imagen.jobs.model import Speed, WaitingQueue
from imagen.jobs.queue import queue_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def waiting(
    jobs: int, *, affinity: str = "sd15", pool: str = "all", priority: int = 0, age: float = 0.0
) -> WaitingQueue:
    return WaitingQueue(pool, affinity, priority, jobs, _EPOCH - timedelta(seconds=age))


def speeds(**seconds: float) -> dict[tuple[str, str], Speed]:
    return {(name, "sd15"): Speed(each, each, 1) for name, each in seconds.items()}


def choice(
    *queues: WaitingQueue,
    me: str = "slow",
    others: Iterable[Place] = (),
    known: Mapping[tuple[str, str], Speed] | None = None,
    favour: Favour | None = None,
) -> Choice:
    return Choice(
        place=Place(backends=(me,)),
        others=tuple(others),
        waiting=queues,
        pools={"all": ("slow", "fast", "faster")},
        speeds=known or {},
        favour=favour or Favour(),
    )


def idle(*backends: str) -> Place:
    return Place(backends=backends)


def busy(backend: str, seconds: float, affinity: str = "sd15") -> Place:
    return Place(backends=(backend,), running=RunningJob(backend, affinity, seconds))


def test_a_place_without_others_takes_what_waits() -> None:
    assert choice(waiting(1)).groups(0.0)[0] == ["all/sd15"]


def test_a_place_without_waiting_jobs_asks_nothing() -> None:
    assert choice().groups(0.0) == []


def test_a_slow_place_declines_the_last_job_that_an_idle_fast_one_ends_sooner() -> None:
    known = speeds(slow=4.0, fast=1.0)
    assert choice(waiting(3), others=[idle("fast")], known=known).groups(0.0) == []
    assert choice(waiting(4), others=[idle("fast")], known=known).groups(0.0) != []


def test_what_a_busy_place_does_now_comes_before_its_next_job() -> None:
    known = speeds(slow=4.0, fast=3.0)
    assert choice(waiting(1), others=[busy("fast", 2.5)], known=known).groups(0.0) == []
    assert choice(waiting(1), others=[busy("fast", 0.5)], known=known).groups(0.0) != []


def test_a_late_engine_is_as_slow_as_it_has_been_so_far() -> None:
    known = speeds(slow=4.0, fast=1.0)
    assert choice(waiting(1), others=[busy("fast", 3.0)], known=known).groups(0.0) == []
    assert choice(waiting(1), others=[busy("fast", 5.0)], known=known).groups(0.0) != []


def test_the_last_run_is_believed_when_it_was_worse_than_the_mean() -> None:
    known = {("slow", "sd15"): Speed(1.0, 9.0, 5), ("fast", "sd15"): Speed(4.0, 4.0, 5)}
    assert choice(waiting(2), others=[idle("fast")], known=known).groups(0.0) == []


def test_an_engine_that_was_never_measured_gets_a_job() -> None:
    known = speeds(fast=1.0)
    assert choice(waiting(1), others=[idle("fast")], known=known).groups(0.0) != []


def test_a_place_of_another_pool_does_not_count() -> None:
    known = speeds(slow=4.0, fast=1.0) | {("else", "sd15"): Speed(0.1, 0.1, 1)}
    assert choice(waiting(1), others=[idle("else")], known=known).groups(0.0) != []


def test_declining_ends_once_the_job_could_have_been_done() -> None:
    declined = choice(waiting(1), others=[idle("fast")], known=speeds(slow=4.0, fast=1.0))
    assert declined.groups(0.0, 3.9) == []
    assert declined.groups(0.0, 4.0) != []


def test_urgent_jobs_of_another_model_come_before_the_loaded_model() -> None:
    groups = choice(
        waiting(5), waiting(1, affinity="sdxl", priority=1), favour=Favour("sd15")
    ).groups(0.0)
    assert groups[0] == ["all/sdxl"]


def test_the_loaded_model_comes_before_an_older_job_of_another_model() -> None:
    groups = choice(waiting(5), waiting(1, affinity="sdxl", age=60), favour=Favour("sd15")).groups(
        0.0
    )
    assert groups == [["all/sd15"], ["all/sdxl", "all/sd15"], ["all/sdxl", "all/sd15"]]


@pytest.mark.parametrize(
    "favour",
    [
        pytest.param(Favour("sd15", FAVOURED_JOBS, 0.0), id="jobs"),
        pytest.param(Favour("sd15", 1, -FAVOURED_SECONDS), id="seconds"),
    ],
)
def test_another_model_comes_first_after_so_many_jobs_or_so_much_time(favour: Favour) -> None:
    groups = choice(waiting(5, age=60), waiting(1, affinity="sdxl"), favour=favour).groups(0.0)
    assert groups[0] == ["all/sdxl"]


def test_a_model_that_another_place_has_loaded_is_left_to_it() -> None:
    groups = choice(
        waiting(9, age=60), waiting(9, affinity="sdxl"), others=[busy("fast", 0.1)]
    ).groups(0.0)
    assert groups[0] == ["all/sdxl"]


def test_favour_counts_only_jobs_that_others_waited_for() -> None:
    favour = Favour().after("sd15", 0.0, is_other_waiting=False)
    assert favour == Favour("sd15", 0, 0.0)
    favour = favour.after("sd15", 7.0, is_other_waiting=True)
    assert favour.after("sd15", 9.0, is_other_waiting=True) == Favour("sd15", 2, 7.0)
    assert favour.after("sdxl", 9.0, is_other_waiting=True) == Favour("sdxl", 1, 9.0)


_NAMES = ("slow", "fast", "faster")
_queues = st.builds(
    waiting,
    st.integers(1, 30),
    affinity=st.sampled_from(("sd15", "sdxl", "flux")),
    priority=st.integers(-1, 1),
    age=st.floats(0, 100),
)
_seconds = st.floats(0.1, 100)
_places = st.builds(
    busy, st.sampled_from(_NAMES), _seconds, st.sampled_from(("sd15", "sdxl"))
) | st.builds(idle, st.sampled_from(_NAMES))
_speeds = st.dictionaries(
    st.tuples(st.sampled_from(_NAMES), st.sampled_from(("sd15", "sdxl", "flux"))),
    st.builds(Speed, _seconds, _seconds, st.just(3)),
)
_choices = st.builds(
    choice,
    _queues,
    _queues,
    others=st.lists(_places, max_size=4),
    known=_speeds,
    favour=st.builds(Favour, st.sampled_from((None, "sd15", "sdxl")), st.integers(0, 30)),
)


@given(_choices)
def test_only_waiting_queues_are_asked_and_the_most_urgent_first(one: Choice) -> None:
    groups = one.groups(10.0)
    names = {queue_name(queue.pool, queue.affinity) for queue in one.waiting}
    assert {name for group in groups for name in group} <= names
    assert all(groups)
    assert all(set(group) <= set(groups[-1]) for group in groups)


@given(_choices)
def test_a_place_declines_only_where_the_others_end_everything_sooner(one: Choice) -> None:
    alone = replace(one, others=())
    assert alone.groups(10.0) != []
    if not one.groups(10.0):
        fewer = replace(one, waiting=one.waiting[:1])
        assert fewer.groups(10.0) == []
        assert one.groups(10.0, declined_seconds=1e9) != []


@given(_choices)
def test_some_place_takes_a_job_when_all_are_idle(one: Choice) -> None:
    places = [Place(backends=(name,)) for name in _NAMES]
    each = [
        replace(one, place=place, others=tuple(other for other in places if other is not place))
        for place in places
    ]
    assert any(at.groups(10.0) for at in each)


# A discrete-event simulation of a fleet that chooses by these rules.


@dataclass
class _Engine:
    name: str
    seconds: float
    late_from: float = float("inf")
    late_factor: float = 1.0
    running: tuple[float, float, int] | None = None
    """Began, ends, number of the job."""


@dataclass
class _Fleet:
    engines: Sequence[_Engine]
    jobs: int
    jitter: float = 0.0
    rescue: bool = False
    random: Random = field(default_factory=lambda: Random(7))
    known: dict[tuple[str, str], Speed] = field(default_factory=dict)

    def makespan(self) -> float:
        """When the last job ends, if each idle engine chooses at each event."""
        now, left, ends, done = 0.0, self.jobs, 0.0, 0
        events: list[float] = [0.0]
        total = self.jobs
        steps = 0
        while done < total:
            steps += 1
            assert steps < 100_000, "the simulation does not end"
            now = heapq.heappop(events)
            for engine in self.engines:
                if engine.running is not None and engine.running[1] <= now:
                    self._learn(engine, now - engine.running[0])
                    engine.running, done, ends = None, done + 1, now
            if self.rescue:
                left += self._rescue(left, now)
            for engine in self.engines:
                if engine.running is None and left and self._wants(engine, left, now):
                    left -= 1
                    duration = self._duration(engine, now)
                    engine.running = now, now + duration, left
                    heapq.heappush(events, now + duration)
            if done < total and (not events or events[0] > now + 0.25):
                heapq.heappush(events, now + 0.25)
        return ends

    def _wants(self, engine: _Engine, left: int, now: float) -> bool:
        return bool(self._choice(engine, left, now).groups(now))

    def _choice(self, engine: _Engine, left: int, now: float) -> Choice:
        places = {
            each.name: Place(
                backends=(each.name,),
                running=RunningJob(each.name, "sd15", now - each.running[0])
                if each.running
                else None,
            )
            for each in self.engines
        }
        return Choice(
            place=places[engine.name],
            others=[place for name, place in places.items() if name != engine.name],
            waiting=[waiting(left)] if left else [],
            pools={"all": tuple(places)},
            speeds=self.known,
        )

    def _duration(self, engine: _Engine, now: float) -> float:
        factor = engine.late_factor if now >= engine.late_from else 1.0
        return engine.seconds * factor * (1 + self.random.uniform(-1, 1) * self.jitter)

    def _learn(self, engine: _Engine, seconds: float) -> None:
        old = self.known.get((engine.name, "sd15"), Speed(seconds, seconds, 0))
        mean = old.seconds + (seconds - old.seconds) * max(1 / (old.runs + 1), 0.3)
        self.known[engine.name, "sd15"] = Speed(mean, seconds, old.runs + 1)

    def _rescue(self, left: int, now: float) -> int:
        """Jobs that are given back, as another engine would do them sooner."""
        back = 0
        for engine in self.engines:
            if engine.running is not None:
                began, ends, _ = engine.running
                if self._choice(engine, left + back, now).is_late("all", ends - now):
                    self._learn(engine, now - began)
                    engine.running, back = None, back + 1
        return back


def bound(seconds: Sequence[float], jobs: int) -> float:
    """The least time in which engines of these speeds can do the jobs."""
    ends = sorted(k * each for each in seconds for k in range(1, jobs + 1))
    return ends[jobs - 1]


_MIXES = [
    pytest.param((1, 1, 2, 4), id="one-one-half-quarter"),
    pytest.param((1, 1.5, 2.5, 3.5), id="close"),
    pytest.param((1, 1, 1, 10), id="one-very-slow"),
    pytest.param((1, 3), id="two"),
    pytest.param((2, 2, 3, 5, 7, 11), id="primes"),
]


@pytest.mark.parametrize("jobs", [16, 24, 33, 40, 60, 100])
@pytest.mark.parametrize("seconds", _MIXES)
def test_learned_speeds_give_nearly_the_least_makespan(
    seconds: tuple[float, ...], jobs: int
) -> None:
    known = speeds(**{f"e{n}": float(each) for n, each in enumerate(seconds)})
    engines = [_Engine(f"e{n}", float(each)) for n, each in enumerate(seconds)]
    assert _Fleet(engines, jobs, known=known).makespan() / bound(seconds, jobs) <= 1.001


@pytest.mark.parametrize("jobs", [16, 24, 33, 40, 60, 100])
@pytest.mark.parametrize("seconds", _MIXES)
def test_jitter_costs_a_few_percent(seconds: tuple[float, ...], jobs: int) -> None:
    ratios = []
    for seed in range(10):
        known = speeds(**{f"e{n}": float(each) for n, each in enumerate(seconds)})
        engines = [_Engine(f"e{n}", float(each)) for n, each in enumerate(seconds)]
        fleet = _Fleet(engines, jobs, jitter=0.1, random=Random(seed), known=known)
        ratios.append(fleet.makespan() / bound(seconds, jobs))
    assert sum(ratios) / len(ratios) <= 1.10


@pytest.mark.parametrize("jobs", [24, 40, 60])
def test_unknown_speeds_cost_the_first_job_of_each_engine(jobs: int) -> None:
    seconds = (1, 1, 2, 4)
    engines = [_Engine(f"e{n}", float(each)) for n, each in enumerate(seconds)]
    assert _Fleet(engines, jobs).makespan() / bound(seconds, jobs) <= 1.05


@pytest.mark.parametrize("jobs", [24, 40, 60])
def test_a_straggler_gets_no_further_job(jobs: int) -> None:
    engines = [
        _Engine("e0", 1.0),
        _Engine("e1", 1.0),
        _Engine("e2", 2.0),
        _Engine("e3", 4.0),
    ]
    least = bound((1, 1, 2, 4), jobs)
    engines[0].late_from, engines[0].late_factor = 0.4 * least, 10.0
    known = speeds(e0=1.0, e1=1.0, e2=2.0, e3=4.0)
    # At best, what the others do, and the one job that is late from then on.
    before = [k * 1.0 for k in range(1, jobs) if (k - 1) * 1.0 < 0.4 * least]
    ends = sorted(
        [*before, before[-1] + 10.0, *(k * d for d in (1, 2, 4) for k in range(1, jobs + 1))]
    )
    allowed = max(ends[jobs - 1], 0.4 * least + 10.0)
    assert _Fleet(engines, jobs, known=known).makespan() <= allowed * 1.10


@pytest.mark.parametrize("jobs", [24, 40, 100])
def test_a_server_that_hangs_costs_no_more_than_its_job_begun_anew(jobs: int) -> None:
    engines = [_Engine("e0", 1.0), _Engine("e1", 1.0), _Engine("e2", 2.0), _Engine("e3", 4.0)]
    least = bound((1, 1, 2, 4), jobs)
    engines[0].late_from, engines[0].late_factor = 0.4 * least, 1000.0
    known = speeds(e0=1.0, e1=1.0, e2=2.0, e3=4.0)
    without = bound((1, 2, 4), jobs - int(0.4 * least))
    ratio = _Fleet(engines, jobs, rescue=True, known=known).makespan() / max(without, least)
    assert ratio <= 1.3


def test_no_model_waits_longer_than_its_bound() -> None:
    queues = {"sd15": 200, "sdxl": 1, "flux": 3}
    born = {"sd15": 0.0, "sdxl": 5.0, "flux": 6.0}
    favour, now, order = Favour(), 0.0, []
    while any(queues.values()):
        present = [
            waiting(jobs, affinity=name, age=-born[name])
            for name, jobs in queues.items()
            if jobs and born[name] <= now
        ]
        groups = choice(*present, favour=favour).groups(now)
        affinity = groups[0][0].partition("/")[2]
        queues[affinity] -= 1
        order.append(affinity)
        favour = favour.after(affinity, now, is_other_waiting=len(present) > 1)
        now += 1.0
    assert order.index("sdxl") <= 5 + FAVOURED_JOBS
    assert order.index("flux") <= 6 + 2 * FAVOURED_JOBS
    assert sum(a != b for a, b in itertools.pairwise(order)) <= 4
