"""Resetting quotas, and granting and removing units, as staff do it."""

from datetime import timedelta

import pytest

from config.contract import clock
from quotas.models import Adjustment, Entitlement, Forgiveness, UsageCounter
from tests.backoffice.acting import Look, Staff, confirm, do, look
from tests.support.cast import Org, make_org

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_reset_shows_its_dry_run_and_takes_the_use_off_the_books(staff: Staff, org: Org) -> None:
    org.use(10_000)
    client = staff("billing admin")

    looked = look(client, "reset-quota", org_id=org.id, metric="", force="on")

    assert looked.changes == {
        "api_call: used": ("10,000", "0"),
        "api_call: remaining": ("0", "10,000"),
    }
    assert org.use(1).status_code == 429
    confirm(client, "reset-quota", looked)
    assert org.use(1).status_code == 200
    assert Forgiveness.objects.get().units == 10_000


def test_a_reset_without_force_forgives_nothing(staff: Staff, org: Org) -> None:
    org.use(10_000)

    looked = look(staff("billing admin"), "reset-quota", org_id=org.id, metric="")

    assert not looked.can_be_confirmed
    assert "Every counter is open already" in looked.text


def test_a_reset_opens_what_nobody_touched_yet(staff: Staff, org: Org) -> None:
    UsageCounter.objects.all().delete()
    client = staff("billing admin")

    looked = look(client, "reset-quota", org_id=org.id, metric="api_call")

    assert looked.changes == {"Counters of this period": ("not open yet", "1 opened")}
    confirm(client, "reset-quota", looked)
    assert UsageCounter.objects.get().metric == "api_call"


def test_a_little_use_while_somebody_reads_is_no_surprise(staff: Staff, org: Org) -> None:
    org.use(5_000)
    client = staff("billing admin")
    looked = look(client, "reset-quota", org_id=org.id, metric="api_call", force="on")

    org.use(100)

    assert confirm(client, "reset-quota", looked).status_code == 302
    assert Forgiveness.objects.get().units == 5_100


@pytest.mark.parametrize("more", [101, 5_000])
def test_much_use_while_somebody_reads_is_shown_anew(staff: Staff, org: Org, more: int) -> None:
    org.use(5_000)
    client = staff("billing admin")
    looked = look(client, "reset-quota", org_id=org.id, metric="api_call", force="on")

    org.use(more)

    again = Look(confirm(client, "reset-quota", looked))
    assert again.response.status_code == 409
    assert again.changes["api_call: used"] == (f"{5_000 + more:,}", "0")
    assert not Forgiveness.objects.exists()


def test_units_granted_let_the_next_request_pass(staff: Staff, org: Org) -> None:
    org.use(10_000)
    assert org.use(1).status_code == 429

    do(staff("billing admin"), "grant-units", org_id=org.id, metric="api_call", units=500)

    assert org.use(500).status_code == 200
    assert org.use(1).status_code == 429


def test_units_removed_shut_the_door(staff: Staff, org: Org) -> None:
    client = staff("billing admin")

    looked = look(client, "grant-units", org_id=org.id, metric="api_call", units=-10_000)

    assert looked.changes["api_call: remaining"] == ("10,000", "0")
    confirm(client, "grant-units", looked)
    assert org.check().status_code == 429


def test_more_removed_than_there_was_is_counted(staff: Staff) -> None:
    org = make_org(included=100)
    client = staff("billing admin")
    do(client, "grant-units", org_id=org.id, metric="api_call", units=-500)

    looked = look(client, "grant-units", org_id=org.id, metric="api_call", units=450)

    assert looked.changes["api_call: remaining"] == ("0", "50")


def test_units_end_by_themselves(staff: Staff, org: Org) -> None:
    until = clock.now() + timedelta(hours=1)
    client = staff("billing admin")

    do(
        client,
        "grant-units",
        org_id=org.id,
        metric="api_call",
        units=500,
        expires_at=f"{until:%Y-%m-%dT%H:%M}",
    )

    row = Adjustment.objects.get()
    assert row.expires_at == until.replace(second=0, microsecond=0)
    assert UsageCounter.objects.get(metric="api_call").limit == 10_500


def test_an_end_that_has_passed_is_refused(staff: Staff, org: Org) -> None:
    looked = look(
        staff("billing admin"),
        "grant-units",
        org_id=org.id,
        metric="api_call",
        units=500,
        expires_at="2020-01-01T00:00",
    )

    assert "Must be ahead" in looked.text


def test_an_organisation_to_which_nothing_was_granted_has_no_quota(staff: Staff, org: Org) -> None:
    UsageCounter.objects.all().delete()
    Entitlement.objects.all().delete()
    client = staff("billing admin")

    for act, asked in (("grant-units", {"units": 5}), ("reset-quota", {"force": "on"})):
        looked = look(client, act, org_id=org.id, metric="api_call", **asked)
        assert not looked.can_be_confirmed
