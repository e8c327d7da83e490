"""Flexible billing: what is given back counts from what was debited, not from today's price."""

import pytest

from tests.sandbox.cast import Subscriber
from tests.sandbox.server import DAY, Control


def proportion(amount: int, left: int, length: int) -> int:
    """Return the credit for an amount of which `left` of `length` seconds is unused."""
    return -left * amount // length


def test_a_change_that_was_not_debited_is_not_credited(
    sandbox: Control, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")
    item = made["items"]["data"][0]
    start, end = item["current_period_start"], item["current_period_end"]
    subscriber.change(made, "pro", proration="none")
    sandbox.advance(to=start + 10 * DAY)

    changed = subscriber.change(made, "business", proration_date=start + 10 * DAY)

    credit, debit = [line["amount"] for line in changed["latest_invoice"]["lines"]["data"]]
    left, length = end - start - 10 * DAY, end - start
    assert credit == proportion(1_900, left, length)
    assert debit == left * 49_900 // length


@pytest.mark.parametrize("days", [3, 11, 26])
def test_a_second_change_credits_what_the_first_one_debited(
    sandbox: Control, subscriber: Subscriber, days: int
) -> None:
    made = subscriber.subscribe_now("starter")
    item = made["items"]["data"][0]
    start, end = item["current_period_start"], item["current_period_end"]
    first, second = start + DAY + 7, start + days * DAY + 13
    sandbox.advance(to=first)
    once = subscriber.change(made, "pro", proration_date=first)
    debited = once["latest_invoice"]["lines"]["data"][1]["amount"]
    sandbox.advance(to=second)

    shown = subscriber.preview(made, "business", proration_date=second)
    twice = subscriber.change(made, "business", proration_date=second)

    credit = twice["latest_invoice"]["lines"]["data"][0]["amount"]
    assert credit == proportion(debited, end - second, end - first)
    assert shown["amount_due"] == twice["latest_invoice"]["amount_paid"]


def test_a_new_period_is_credited_from_its_own_debit(
    sandbox: Control, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")
    subscriber.change(made, "pro", proration="none")
    sandbox.advance(to=made["items"]["data"][0]["current_period_end"] + 7_200)
    renewed = subscriber.gateway.retrieve_subscription(subscription_id=made["id"])
    item = renewed["items"]["data"][0]
    start, end = item["current_period_start"], item["current_period_end"]
    sandbox.advance(to=start + 5 * DAY)

    changed = subscriber.change(renewed, "business", proration_date=start + 5 * DAY)

    credit = changed["latest_invoice"]["lines"]["data"][0]["amount"]
    assert credit == proportion(9_900, end - start - 5 * DAY, end - start)
