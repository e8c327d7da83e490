"""Voiding an event, as staff do it."""

import pytest

from quotas.models import UsageCounter
from tests.backoffice.acting import REASON, Look, Staff, confirm, look
from tests.support.cast import Org
from usage.models import UsageEvent, UsageVoid

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_event_is_voided_and_its_units_are_there_again(staff: Staff, org: Org) -> None:
    org.use(9_999, request_id="doubled")
    client = staff("billing admin")

    looked = look(client, "void-event", org_id=org.id, request_id="doubled")

    assert looked.changes == {
        "Event doubled": ("counts", "voided"),
        "api_call: used in " + UsageCounter.objects.get(metric="api_call").period_key: (
            "9,999",
            "0",
        ),
    }
    assert confirm(client, "void-event", looked).status_code == 302
    void = UsageVoid.objects.get()
    assert (void.reason, void.voided_by[:6]) == (REASON, "staff:")
    assert org.use(10_000).status_code == 200


def test_an_event_is_voided_once(staff: Staff, org: Org) -> None:
    org.use(5, request_id="r-1")
    client = staff("billing admin")
    first, second = (look(client, "void-event", org_id=org.id, request_id="r-1") for _ in "ab")
    confirm(client, "void-event", first)

    late = Look(confirm(client, "void-event", second))
    again = look(client, "void-event", org_id=org.id, request_id="r-1")

    assert late.response.status_code == 409
    assert f"It was voided at {UsageVoid.objects.get().voided_at:%Y-%m-%d %H:%M}" in late.text
    assert not late.can_be_confirmed
    assert not again.can_be_confirmed


@pytest.mark.parametrize("request_id", ["unknown", "theirs"])
def test_what_is_not_the_organisations_is_not_found(
    staff: Staff, org: Org, stranger: Org, request_id: str
) -> None:
    stranger.use(5, request_id="theirs")

    looked = look(staff("billing admin"), "void-event", org_id=org.id, request_id=request_id)

    assert "No such event" in looked.text


def test_an_event_from_before_a_reset_is_settled(staff: Staff, org: Org) -> None:
    org.use(5, request_id="r-1")
    client = staff("billing admin")
    confirm(
        client, "reset-quota", look(client, "reset-quota", org_id=org.id, metric="", force="on")
    )

    looked = look(client, "void-event", org_id=org.id, request_id="r-1")

    assert not looked.can_be_confirmed
    assert "reset" in looked.text


def test_the_page_of_an_event_leads_to_voiding_it(staff: Staff, org: Org) -> None:
    org.use(5, request_id="r-1")
    event = UsageEvent.objects.get()

    page = staff("billing admin").get(f"/admin/usage/usageevent/{event.pk}/change/")

    assert f"/admin/acts/void-event/?org_id={org.id}&amp;request_id=r-1" in page.content.decode()
