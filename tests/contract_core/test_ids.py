"""Identifiers: sortable, safe to show, never taken from a client unseen."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.contract.ids import base32, is_well_formed, new_id, new_request_id, trace_id_of

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@given(st.integers(0, 2**128 - 1))
def test_base32_can_be_read_back(number: int) -> None:
    written = base32(number, 26)

    assert len(written) == 26
    read = 0
    for character in written:
        read = read * 32 + CROCKFORD.index(character)
    assert read == number


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_base32_sorts_as_the_numbers_do(one: int, other: int) -> None:
    assert (base32(one, 26) < base32(other, 26)) == (one < other)


def test_new_ids_are_unique_and_sort_by_their_making() -> None:
    made = [new_id("org") for _ in range(2_000)]

    assert sorted(made) == made
    assert len(set(made)) == 2_000
    assert all(re.fullmatch(rf"org_[{CROCKFORD}]{{26}}", one) for one in made)


def test_a_made_request_id_would_be_accepted_from_a_client() -> None:
    assert is_well_formed(new_request_id())


@pytest.mark.parametrize("good", ["a", "req-1", "A.b_c:d-9", "x" * 128])
def test_well_formed_ids_are_used_as_they_are(good: str) -> None:
    assert is_well_formed(good)


@pytest.mark.parametrize(
    "bad", [None, "", "x" * 129, "a b", "a\n", "a\r\nx: y", "é", "a/b", "<script>", "a\x00", "٣"]
)
def test_anything_else_is_replaced(bad: str | None) -> None:
    assert not is_well_formed(bad)


def test_a_traceparent_carries_its_trace() -> None:
    assert trace_id_of(f"00-{TRACE}-00f067aa0ba902b7-01") == TRACE
    assert trace_id_of(f"cc-{TRACE}-00f067aa0ba902b7-01-what-the-future-will-bring") == TRACE


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "",
        TRACE,
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE[:-1]}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7",
        f"00-{TRACE}-00f067aa0ba902b7-01\nx",
    ],
)
def test_what_is_not_a_traceparent_carries_none(bad: str | None) -> None:
    assert trace_id_of(bad) is None
