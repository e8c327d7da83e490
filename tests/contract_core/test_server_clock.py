"""Another machine's clock is known as well as its answers tell, and no better."""

from hypothesis import given
from hypothesis import strategies as st

from config.contract.server_clock import ServerClock

seconds = st.floats(0, 1)


@given(st.floats(-1e6, 1e6), st.lists(st.tuples(seconds, seconds, st.floats(-5, 5)), min_size=1))
def test_a_server_is_known_as_exactly_as_its_last_answer_was_quick(
    ahead: float, answers: list[tuple[float, float, float]]
) -> None:
    clock, now = ServerClock(), 0.0
    for there, back, set_by in answers:
        ahead += set_by
        known = clock.learn(now + there + ahead, sent_at=now, received_at=now + there + back)
        assert ahead - back - 1e-6 <= known <= ahead + there + 1e-6
        now += there + back


def test_a_slow_answer_makes_nothing_worse() -> None:
    clock = ServerClock()
    exact = clock.learn(1000.0, sent_at=10.0, received_at=10.0)

    assert clock.learn(1001.0, sent_at=10.5, received_at=14.0) == exact


def test_of_the_first_answer_the_earliest_time_is_taken() -> None:
    # A server that is believed to be further ahead than it is takes what is late.
    assert ServerClock().learn(1000.0, sent_at=10.0, received_at=14.0) == 1000.0 - 14.0
