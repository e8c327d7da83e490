"""Everything of one organisation on one page, in plain sentences and few queries."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import InvoiceRef, Organization
from config.backoffice.organisation import sections, timeline
from config.contract import clock, history
from quotas import corrections
from quotas.models import Entitlement
from tests.backoffice.conftest import READERS
from tests.backoffice.rows import fill, org_id
from tests.support.cast import Org
from tokens import suspension
from tokens.models import AuditEntry, OrgAccess, TokenFamily
from usage.rollup import roll_days
from usage.voids import void_event
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)
Staff = Callable[[str], Client]


def shown(client: Client, org: str, query: str = "") -> Any:
    response = client.get(f"/admin/organisations/{org}/{query}")
    assert response.status_code == 200
    return response


def told(org: str) -> list[str]:
    return [one.sentence for one in timeline.timeline(org)]


@pytest.mark.parametrize("role", READERS)
def test_every_role_reads_it(staff: Staff, role: str) -> None:
    fill(1)

    assert "Customer 0" in shown(staff(role), org_id(0)).content.decode()


def test_strangers_and_staff_without_every_right_to_read_do_not(client: Client) -> None:
    fill(1)
    url = f"/admin/organisations/{org_id(0)}/"
    assert client.get(url).status_code == 302

    clerk = User.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_organization"))
    client.force_login(clerk)

    assert client.get(url).status_code == 403


def test_an_organisation_that_is_not_there_is_said_to_be_missing(staff: Staff) -> None:
    response = staff("support").get("/admin/organisations/org_UNKNOWN/", follow=True)

    assert response.redirect_chain == [("/admin/", 302)]
    assert "There is no organisation org_UNKNOWN" in response.content.decode()


def test_the_page_says_plan_status_quota_and_use(staff: Staff, org: Org) -> None:
    org.use(8_000)
    list(roll_days([clock.now().date()], now=clock.now()))

    response = shown(staff("support"), org.id)

    html = response.content.decode()
    assert f"/admin/explain/?org={org.id}&amp;metric=api_call" in html
    for words in ("starter", "Active", "8,000 of 10,000", "80 %", "owner@acme.example"):
        assert words in html
    assert [chart.total for chart in response.context["usage"]] == [8_000]


def test_a_suspended_organisation_is_shown_as_one_that_may_not(staff: Staff, org: Org) -> None:
    suspension.suspend(org_id=org.id, reason="abuse", who="staff:1", now=clock.now())

    html = shown(staff("support"), org.id).content.decode()

    assert "no, suspended" in html
    assert "abuse" in html


def test_a_sign_up_that_did_not_finish_has_a_page(staff: Staff) -> None:
    Organization.objects.create(
        org_id="org_HALF", name="Half", email="h@half.example", created_at=clock.now()
    )

    assert "did not finish" in shown(staff("support"), "org_HALF").content.decode()


def test_every_table_has_its_section_and_leads_to_its_rows(staff: Staff) -> None:
    fill(1)

    response = shown(staff("auditor"), org_id(0))

    html = response.content.decode()
    filled = {section.title for section in response.context["sections"]}
    assert {"Invoices", "Installations", "Webhook events", "Plan changes", "Resets"} <= filled
    assert {"Voided events", "Units granted and taken", "Denials", "Statements"} <= filled
    for url in (
        "/admin/billing/invoiceref/in_0/change/",
        "/admin/webhooks/webhookevent/evt_0/change/",
        f"/admin/usage/usageevent/?q={org_id(0)}",
    ):
        assert url in html


def test_a_section_shows_the_newest_and_leads_to_all(staff: Staff, org: Org) -> None:
    now = clock.now()
    for number in range(sections.ROWS + 2):
        InvoiceRef.objects.create(
            stripe_invoice_id=f"in_{number}",
            org_id=org.id,
            status="paid",
            total=1900,
            currency="usd",
            hosted_invoice_url=f"https://invoice.example/{number}",
            created_at=now - timedelta(days=number),
        )

    response = shown(staff("support"), org.id)

    [invoices] = [one for one in response.context["sections"] if one.title == "Invoices"]
    assert [row.stripe_invoice_id for row in invoices.rows] == [f"in_{n}" for n in range(8)]
    assert invoices.more
    assert f'href="/admin/billing/invoiceref/?q={org.id}">All of them' in response.content.decode()
    assert 'href="https://invoice.example/0" rel="noreferrer"' in response.content.decode()


def test_an_act_is_offered_to_who_may_do_it(staff: Staff, org: Org) -> None:
    offered = {role: shown(staff(role), org.id).context["acts"] for role in READERS}

    assert offered["auditor"] == []
    assert {act.name for act in offered["billing admin"]} > {act.name for act in offered["support"]}
    assert all(org.id in act.url for act in offered["superuser"])


def test_the_timeline_tells_a_change_with_what_stood_before_and_why(org: Org) -> None:
    held = Entitlement.objects.get(org_id=org.id)
    with history.because("evt_1", who="staff:7"):
        Entitlement.objects.filter(pk=held.pk).update(
            plan_code="pro", allowances={"api_call": {"included": 100_000, "overage": "allow"}}
        )

    newest = timeline.timeline(org.id)[0]

    assert newest.sentence == "Moved from starter to pro."
    assert (newest.why, newest.who) == ("evt_1", "staff 7")
    changes = {(one.what, one.before, one.after) for one in newest.changes}
    assert changes == {
        ("plan", "starter", "pro"),
        ("included api_call", "10,000", "100,000, overage charged"),
        ("included compute_ms", "1,000,000", "none"),
    }


def test_the_timeline_tells_a_status_and_what_follows_from_it(org: Org) -> None:
    now = clock.now()
    held = Entitlement.objects.get(org_id=org.id)
    for status in ("past_due", "active"):
        Entitlement.objects.filter(pk=held.pk).update(
            status=status, past_due_since=now if status == "past_due" else None
        )
    Entitlement.objects.filter(pk=held.pk).update(ends_at=now + timedelta(days=3))
    Entitlement.objects.filter(pk=held.pk).update(ends_at=None, version=9)

    assert told(org.id)[:4] == [
        "The cancellation was taken back.",
        f"A cancellation was set for {now + timedelta(days=3):%Y-%m-%d %H:%M}.",
        "Went from past due to active.",
        "Went from active to past due.",
    ]


def test_what_changes_nothing_that_staff_would_know_is_not_told(org: Org) -> None:
    before = told(org.id)

    Entitlement.objects.filter(org_id=org.id).update(version=77, updated_at=clock.now())
    AuditEntry.objects.create(at=clock.now(), org_id=org.id, what="refreshed", who="fam_1")

    assert told(org.id) == before


def test_another_number_of_installations_is_told(org: Org) -> None:
    OrgAccess.objects.filter(org_id=org.id).update(installation_limit=50)

    assert told(org.id)[0] == "It may have 50 installations now."


def test_corrections_voids_and_credentials_are_told(org: Org) -> None:
    now = clock.now()
    org.use(40, request_id="r-void")
    void_event(org_id=org.id, request_id="r-void", reason="twice", voided_by="staff:1", now=now)
    org.use(60)
    month = f"{now:%Y-%m}"
    by: dict[str, Any] = {"org_id": org.id, "metric": "api_call", "who": "staff:1", "now": now}
    corrections.adjust(**by, units=500, reason="goodwill")
    corrections.adjust(**by, units=-20, reason="too many")
    corrections.forgive(**by, reason="outage")
    suspension.suspend(org_id=org.id, reason="abuse", who="staff:1", now=now)

    sentences = told(org.id)

    assert {
        "The event r-void was voided: 40 units of api_call came back.",
        f"500 units of api_call were granted in {month}.",
        f"20 units of api_call were taken away in {month}.",
        f"The quota of api_call was reset in {month}: 60 units forgiven.",
        "The organisation was suspended.",
        "An installation was activated.",
        "Began on starter as active.",
        "Signed up.",
    } <= set(sentences)


def test_the_timeline_of_a_long_life_begins_no_row_in_the_middle(org: Org) -> None:
    for number in range(timeline.OF_EACH + 5):
        Entitlement.objects.filter(org_id=org.id).update(plan_code=f"plan-{number}")

    sentences = told(org.id)

    assert sentences[0] == "Moved from plan-43 to plan-44."
    assert not [one for one in sentences if one.startswith("Began")]
    assert len(sentences) <= timeline.ROWS


def test_a_schedule_is_told_and_its_end(org: Org) -> None:
    now = clock.now()
    Entitlement.objects.filter(org_id=org.id).update(
        scheduled_plan_code="starter", scheduled_allowances={}, scheduled_at=now
    )
    Entitlement.objects.filter(org_id=org.id).update(
        scheduled_plan_code="", scheduled_allowances=None, scheduled_at=None
    )

    assert told(org.id)[:2] == [
        "The change to starter was taken off the schedule.",
        f"A change to starter was scheduled for {now:%Y-%m-%d %H:%M}.",
    ]


def test_its_queries_do_not_grow_with_its_rows(staff: Staff, org: Org) -> None:
    client = staff("auditor")
    counts = []
    for rows in (3, 9):
        now = clock.now()
        for number in range(rows):
            name = f"{rows}-{number}"
            org.use(1)
            WebhookEvent.objects.create(
                event_id=f"evt_{name}",
                type="invoice.paid",
                org_id=org.id,
                correlation_id="c",
                due_at=now,
                created_at=now,
                received_at=now,
            )
            TokenFamily.objects.create(
                id=f"fam_{name}", org_id=org.id, scopes=[], created_at=now, expires_at=now
            )
            corrections.adjust(
                org_id=org.id, metric="api_call", units=1, reason="x", who="staff:1", now=now
            )
            InvoiceRef.objects.create(stripe_invoice_id=f"in_{name}", org_id=org.id, total=number)
        list(roll_days([now.date()], now=now))
        clock.forget_offset()
        with CaptureQueriesContext(connection) as captured:
            shown(client, org.id)
        counts.append(len(captured))

    assert counts[0] == counts[1]
    # Session and rights 4, the clock, the row, entitlement 2, access, chart, sections 12,
    # timeline 12.
    assert counts[1] <= 38


def test_lists_of_rows_lead_to_it(staff: Staff) -> None:
    fill(2)
    client = staff("auditor")

    for table in (
        "billing/organization",
        "quotas/entitlement",
        "quotas/usagecounter",
        "tokens/orgaccess",
        "usage/usageevent",
        "usage/dailyusage",
        "webhooks/webhookevent",
        "billing/operation",
    ):
        html = client.get(f"/admin/{table}/").content.decode()

        assert f'href="/admin/organisations/{org_id(1)}/"' in html, table
