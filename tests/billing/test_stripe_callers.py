"""Who may ask Stripe, how many at once, and whose turn it is."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from billing.stripe_gateway.callers import CallerLimits, Callers
from config.contract.errors import Unavailable

_PATIENCE = 30.0


def callers(
    *,
    at_once: int = 2,
    per_org: int = 1,
    places: int = 6,
    per_org_places: int = 4,
    wait: float = 30,
) -> Callers:
    """Return a small queue."""
    return Callers(CallerLimits(at_once, per_org, places, per_org_places, wait))


class Caller:
    """A thread that asks Stripe for an organisation until it is told to end."""

    def __init__(self, queue: Callers, org_id: str | None) -> None:
        self.asks, self.refused = threading.Event(), threading.Event()
        self._end = threading.Event()
        self._queue, self._org_id = queue, org_id
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._queue.turn(self._org_id):
                self.asks.set()
                self._end.wait(_PATIENCE)
        except Unavailable:
            self.refused.set()

    def comes_to_its_turn(self) -> bool:
        """Wait for its turn."""
        return self.asks.wait(_PATIENCE)

    def waits(self) -> bool:
        """Tell whether it neither asks nor was refused."""
        return not self.asks.is_set() and not self.refused.is_set()

    def end(self) -> None:
        """Let it go, and wait until it has gone."""
        self._end.set()
        self._thread.join(_PATIENCE)


@contextmanager
def calling(queue: Callers, *org_ids: str | None) -> Iterator[list[Caller]]:
    """Start callers one after the other, each with its place taken before the next comes."""
    made: list[Caller] = []
    try:
        for org_id in org_ids:
            before = queue.placed(org_id)
            made.append(Caller(queue, org_id))
            while queue.placed(org_id) == before and not made[-1].refused.is_set():
                pass  # it takes its place as soon as it runs
        yield made
    finally:
        for one in made:
            one.end()


def test_who_comes_while_all_turns_are_taken_waits_and_comes_to_a_turn() -> None:
    with calling(callers(), "a", "b", "c") as (first, second, third):
        assert first.comes_to_its_turn()
        assert second.comes_to_its_turn()
        assert third.waits()

        first.end()

        assert third.comes_to_its_turn()


def test_an_organisation_at_its_share_does_not_keep_others_waiting() -> None:
    with calling(callers(), "a", "a", "b") as (first, second, other):
        assert first.comes_to_its_turn()
        assert other.comes_to_its_turn()
        assert second.waits()


def test_sign_ups_which_are_nobodys_yet_share_as_one_organisation() -> None:
    with calling(callers(), None, None, "b") as (first, second, other):
        assert first.comes_to_its_turn()
        assert other.comes_to_its_turn()
        assert second.waits()


def test_who_waited_longer_than_the_budget_is_refused() -> None:
    queue = callers(at_once=1, wait=0.01)

    with calling(queue, "a") as (first,):
        assert first.comes_to_its_turn()
        with pytest.raises(Unavailable) as refused, queue.turn("b"):
            pass

    assert refused.value.headers["Retry-After"] == "1"
    with queue.turn("b"):
        pass  # nothing of the one that was refused is left


def test_an_organisation_cannot_take_all_places_to_wait() -> None:
    queue = callers(places=6, per_org_places=4)

    with calling(queue, *["a"] * 4):
        with queue.place("b"):
            pass
        with pytest.raises(Unavailable), queue.place("a"):
            pass


def test_where_all_places_are_taken_the_next_is_refused_at_once() -> None:
    queue = callers(places=3, per_org_places=3)

    with calling(queue, "a", "b", "c"), pytest.raises(Unavailable), queue.turn("d"):
        pass


def test_work_that_has_its_place_needs_no_second_one() -> None:
    queue = callers(places=1, per_org_places=1)

    with queue.place("a"), queue.place("a"), queue.turn("a"):
        assert queue.placed("a") == 1
    assert queue.placed("a") == 0


def test_a_crowd_comes_through_and_no_bound_is_ever_passed() -> None:
    queue = callers(at_once=4, per_org=2, places=100, per_org_places=100)
    lock, asking, most = threading.Lock(), Counter[str](), Counter[str]()

    def ask(org_id: str) -> None:
        with queue.turn(org_id):
            with lock:
                asking.update([org_id, "all"])
                for name in (org_id, "all"):
                    most[name] = max(most[name], asking[name])
            with lock:
                asking.subtract([org_id, "all"])

    with ThreadPoolExecutor(60) as pool:
        for one in [pool.submit(ask, f"org {n % 3}") for n in range(600)]:
            one.result(_PATIENCE)

    assert most["all"] <= 4
    assert all(most[f"org {n}"] <= 2 for n in range(3))
