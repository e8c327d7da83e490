"""`manage.py sandbox`: what somebody trying the product by hand can do."""

from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from billing.stripe_gateway import CardDeclined, StripeGateway
from config.contract import clock
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import DAY, Control


def _run(*arguments: str) -> str:
    written = StringIO()
    call_command("sandbox", *arguments, stdout=written)
    return written.getvalue()


@pytest.mark.django_db(transaction=True)
def test_advance_moves_both_clocks(sandbox: Control) -> None:
    before = sandbox.now()

    said = _run("advance", "--months", "1", "--days", "1")

    ahead = sandbox.now() - before
    assert 29 * DAY <= ahead <= 33 * DAY
    assert abs(clock.offset_seconds() - ahead) <= 5
    assert "fell due" in said
    with pytest.raises(CommandError, match="forward"):
        _run("advance", "--to", "2020-01-01T00:00:00Z")


def test_objects_events_and_faults_can_be_seen_and_ordered(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    customer = subscriber.customer_id
    [event] = sandbox.events(customer, type_="customer.created")

    assert subscriber.org_id in _run("show", customer)
    assert event["id"] in _run("events", "--object", customer)
    _run("replay", event["id"])
    _run("fail-next-payment")
    assert "card_declined × 1" in _run("faults")
    assert "pending" in _run("status")
    with pytest.raises(CardDeclined):
        subscriber.subscribe_now("starter")
    assert "slow × 2 on /v1/invoices*" in _run(
        "faults", "slow", "--count", "2", "--path", "/v1/invoices*", "--seconds", "0.1"
    )
    assert "none on order" in _run("faults", "clear")
    assert "past_due" in _run("set", "dunning_outcome", "past_due")
    with pytest.raises(CommandError, match="No such object"):
        _run("show", "cus_none")


def test_it_is_refused_where_money_moves(sandbox: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "STRIPE_MODE", "live")

    with pytest.raises(CommandError, match="sandbox only"):
        _run("status")


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "tomorrow", "2030-01-01T00:00:00"])
def test_time_is_not_moved_where_no_period_can_be_worked_out(at: str, sandbox: Control) -> None:
    with pytest.raises(CommandError, match="--to: Expected an"):
        _run("advance", "--to", at)
