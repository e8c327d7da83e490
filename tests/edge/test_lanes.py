"""Who runs, who waits and who is sent away: the rules alone, with jobs that end when told to."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from config.edge.lanes import CROWD, FEW, Lane, Limits, Neighbours

LIMITS = Limits(
    "test",
    slots=3,
    slots_of_one=2,
    slots_of_stranger=1,
    slots_of_strangers=2,
    waiting_of_one=4,
    waiting=8,
)


@dataclass
class Job:
    """One that runs until it is let go."""

    caller: str
    is_stranger: bool = False
    size: int = 0
    refused: list[str] = field(default_factory=list)
    began: threading.Event = field(default_factory=threading.Event)
    may_end: threading.Event = field(default_factory=threading.Event)
    ran: Callable[[str], None] = lambda caller: None
    answer_bytes: int = 0
    seconds: float = 0.0

    def run(self) -> int:
        """Run until let go."""
        self.ran(self.caller)
        self.began.set()
        assert self.may_end.wait(30)
        time.sleep(self.seconds)
        return self.answer_bytes

    def refuse(self, reason: str) -> None:
        """Note why."""
        self.refused.append(reason)


class Bench:
    """A lane, and threads that bring jobs to it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.rests: list[float] = []
        self.neighbours = Neighbours()
        self.lane = Lane(limits, self.neighbours, rest=self.rests.append)
        self.threads: list[threading.Thread] = []

    def starts(self, job: Job) -> Job:
        """Bring a job that has to run at once."""
        thread = threading.Thread(target=self.lane.submit, args=(job,))
        thread.start()
        self.threads.append(thread)
        assert job.began.wait(30)
        return job

    def waits(self, job: Job) -> Job:
        """Bring a job that has to wait: whoever brings it goes on at once."""
        self.lane.submit(job)
        assert not job.began.is_set()
        assert not job.refused
        return job

    def refuses(self, job: Job) -> str:
        """Bring a job that there is no room for."""
        self.lane.submit(job)
        assert not job.began.is_set()
        [reason] = job.refused
        return reason

    def ends(self, *jobs: Job) -> None:
        """Let jobs end, and wait for all threads."""
        for job in jobs:
            job.may_end.set()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def bench() -> Bench:
    """A lane of three slots."""
    return Bench()


def test_one_caller_never_holds_all_slots(bench: Bench) -> None:
    running = [bench.starts(Job("a")) for _ in range(2)]
    waiting = bench.waits(Job("a"))
    other = bench.starts(Job("b"))

    bench.ends(*running, other, waiting)
    assert waiting.began.is_set()


def test_one_stranger_holds_less_than_strangers_together(bench: Bench) -> None:
    running = bench.starts(Job("1.1.1.1", is_stranger=True))
    waiting = bench.waits(Job("1.1.1.1", is_stranger=True))
    other = bench.starts(Job("2.2.2.2", is_stranger=True))

    bench.ends(running, other, waiting)
    assert waiting.began.is_set()


def test_strangers_together_never_hold_all_slots(bench: Bench) -> None:
    strangers = [bench.starts(Job(name, is_stranger=True)) for name in ("1.1.1.1", "2.2.2.2")]
    third = bench.waits(Job("3.3.3.3", is_stranger=True))
    known = bench.starts(Job("a"))

    bench.ends(*strangers, known, third)
    assert third.began.is_set()


def test_beyond_its_share_of_the_queue_a_caller_is_sent_away_and_others_are_not(
    bench: Bench,
) -> None:
    running = [bench.starts(Job("a")) for _ in range(2)]
    waiting = [bench.waits(Job("a")) for _ in range(4)]

    assert bench.refuses(Job("a")) == "share"
    other = bench.starts(Job("b"))
    waiting += [bench.waits(Job("c")) for _ in range(4)]
    assert bench.refuses(Job("d")) == "queue"

    bench.ends(*running, *waiting, other)
    assert all(job.began.is_set() for job in waiting)


def test_beyond_the_bytes_that_may_wait_a_request_is_sent_away() -> None:
    bench = Bench(replace(LIMITS, slots=1, waiting_bytes=100))
    running = bench.starts(Job("a"))
    waiting = bench.waits(Job("b", size=100))

    assert bench.refuses(Job("c", size=1)) == "memory"

    bench.ends(running, waiting)
    after = Job("c", size=100)
    bench.ends(bench.starts(after), after)


def test_who_waited_too_long_hears_it_and_does_not_run() -> None:
    bench = Bench(replace(LIMITS, slots=1, seconds=-1.0))
    running = bench.starts(Job("a"))
    waiting = bench.waits(Job("b"))

    bench.ends(running)

    assert waiting.refused == ["waited"]
    assert not waiting.began.is_set()


def test_a_caller_with_many_waiting_does_not_go_before_one_with_few() -> None:
    order: list[str] = []
    bench = Bench(replace(LIMITS, slots=1, waiting_of_one=100, waiting=1000))
    running = bench.starts(Job("a", ran=order.append))
    many = [bench.waits(Job("a", ran=order.append)) for _ in range(50)]
    few = [bench.waits(Job(name, ran=order.append)) for name in "bcd"]

    bench.ends(running, *many, *few)

    assert set(order[1:6]) >= set("bcd")
    assert Counter(order) == {"a": 51, "b": 1, "c": 1, "d": 1}


def test_all_that_came_runs_once_and_the_lane_is_empty_again() -> None:
    ran: Counter[str] = Counter()
    lock = threading.Lock()

    def count(caller: str) -> None:
        with lock:
            ran[caller] += 1

    lane = Lane(replace(LIMITS, waiting_of_one=10_000, waiting=10_000), Neighbours())
    jobs = [Job(f"org-{n % 7}", is_stranger=n % 7 > 4, ran=count) for n in range(2_000)]
    for job in jobs:
        job.may_end.set()

    def bring(part: int) -> None:
        for job in jobs[part::8]:
            lane.submit(job)

    threads = [threading.Thread(target=bring, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sum(ran.values()) == 2_000
    assert lane.waiting == 0
    last = Job("org-0")
    bench = Bench()
    bench.lane = lane
    bench.ends(bench.starts(last), last)


def crowd_of(size: int, *, beside: str, limits: Limits = LIMITS, **costs: Any) -> list[float]:
    """Let one caller bring so many at once, while somebody else calls; returns how it rested."""
    bench = Bench(replace(limits, slots_of_one=1, waiting_of_one=100, waiting=100))
    first = bench.starts(Job("crowd", **costs))
    waiting = [bench.waits(Job("crowd", **costs)) for _ in range(size)]
    bench.neighbours.saw(beside)
    bench.ends(first, *waiting)
    assert all(job.began.is_set() for job in waiting)
    return bench.rests


def test_a_crowd_rests_between_its_requests_while_somebody_else_calls() -> None:
    rests = crowd_of(CROWD + 3, beside="neighbour", seconds=0.002)

    # Until it is no crowd any more.
    assert len(rests) == 3
    assert all(0 < seconds <= 0.25 for seconds in rests)


def test_nobody_rests_in_the_last_slot() -> None:
    rests = crowd_of(CROWD + 3, beside="neighbour", limits=replace(LIMITS, slots=1), seconds=0.002)

    assert rests == []


@pytest.mark.parametrize(
    ("size", "beside"), [(CROWD + 3, "crowd"), (CROWD, "neighbour")], ids=["alone", "no crowd"]
)
def test_whoever_is_alone_or_no_crowd_goes_on_at_once(size: int, beside: str) -> None:
    assert crowd_of(size, beside=beside, seconds=0.002) == []


def test_a_few_rest_for_what_sending_large_answers_costs() -> None:
    assert crowd_of(FEW + 2, beside="neighbour", answer_bytes=250_000) == [0.01, 0.01]
    assert crowd_of(FEW + 2, beside="neighbour", answer_bytes=2_500) == []
