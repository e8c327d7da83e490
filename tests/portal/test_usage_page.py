"""What an owner sees: plan, use, plans on sale, statements, invoices."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.models import InvoiceRef, Organization, Subscription
from config.contract import clock
from quotas.models import Entitlement
from quotas.rules import Allowance
from quotas.services import ScheduledChange
from tests.billing.owners import Owner
from tests.portal.cast import USAGE, Visitor, forms, html, shown_to, used_before, visitor_of
from tests.sandbox.server import Control
from tests.support.cast import Org, make_org, tokens_for
from tokens import scopes

pytestmark = pytest.mark.django_db(transaction=True)


def looker(org: Org) -> Visitor:
    """Somebody whose link was made by a token that may read and not write."""
    return visitor_of(Org(org.id, tokens_for(org.id, ("billing:read",))))


def test_the_numbers_are_those_of_the_api(org: Org) -> None:
    org.use(7321)

    page = shown_to(org)

    assert '<span class="figure">7,321</span>' in page
    assert "of 10,000" in page
    assert "2,679 left" in page
    assert "73 %" in page
    assert '<rect class="fill" width="73"' in page


def test_units_granted_by_staff_and_use_past_the_limit_are_shown(org: Org) -> None:
    business = make_org(plan="business", included=100)
    business.use(130)

    page = shown_to(business)

    assert "30 over" in page
    assert "Used up. Use goes on, at the plan's price for more." in page


def test_a_trial_says_when_it_ends_and_what_comes_then(owner: Owner) -> None:
    page = shown_to(owner)

    ends = Entitlement.objects.get(org_id=owner.id).trial_ends_at
    assert ends is not None
    assert "Your trial ends in 13 days, on" in page
    assert f"{ends.day} {ends:%B %Y}" in page
    assert "Then it goes on for $19 per month." in page


def test_a_cancelled_a_changing_and_a_renewing_plan_say_when(owner: Owner) -> None:
    owner.upgrade()
    renewing = shown_to(owner)
    owner.downgrade()
    changing = shown_to(owner)
    owner.keep_plan()
    owner.cancel()
    ending = shown_to(owner)

    at = owner.mirror.current_period_end
    assert at is not None
    assert f"Renews on {at.day} {at:%B %Y} for $99 per month." in renewing
    assert f"Changes to Starter on {at.day} {at:%B %Y}." in changing
    assert "Stay on Pro" in changing
    assert f"Cancelled: it ends on {at.day} {at:%B %Y}" in ending
    assert "Go on with Pro" in ending
    assert "Renews on" not in ending


@pytest.mark.parametrize(
    ("status", "label", "says"),
    [
        ("past_due", "Payment failed", "Unless it is paid, requests are denied from"),
        ("paused", "Paused", "ended without a payment method"),
        ("unpaid", "Unpaid", "An invoice waits to be paid"),
        ("canceled", "Ended", "Choose a plan to go on"),
    ],
)
def test_a_plan_in_trouble_says_so_and_what_to_do(
    status: str, label: str, says: str, transactional_db: None
) -> None:
    page = shown_to(make_org(status=status))

    assert f">{label}</span>" in page
    assert says in page


def test_without_a_running_plan_nothing_is_promised(transactional_db: None) -> None:
    page = shown_to(make_org(status="canceled"))

    assert "Requests are denied while there is no running plan." in page
    assert "At this pace" not in page


def test_a_trial_that_ended_by_time_alone_says_that_it_ended(transactional_db: None) -> None:
    now = clock.now()

    page = shown_to(make_org(status="trialing", trial_ends_at=now - timedelta(days=2)))

    assert ">Ended</span>" in page


def test_a_scheduled_change_without_a_word_from_stripe_is_shown(transactional_db: None) -> None:
    at = clock.now() + timedelta(days=3)
    later = ScheduledChange("starter", {"api_call": Allowance(1, "block")}, at)

    assert "Changes to Starter on" in shown_to(make_org(plan="pro", scheduled=later))


def test_the_days_are_drawn_and_stand_in_a_table_too(org: Org) -> None:
    org.use(1)
    now = clock.now()
    used_before(org.id, "api_call", [120, 0, 480], now=now)

    page = shown_to(org)

    [table] = page.split("<table>")[1:2]
    days = [row for row in table.split("</table>")[0].split("<tr>") if "</td>" in row]
    assert len(days) == now.day
    assert "481</td>" in days[0]
    if now.day >= 3:
        assert ">0</td>" in days[1]
        assert "120</td>" in days[2]
        assert page.count('<rect class="bar') == 2


def test_every_way_from_a_plan_is_offered_and_no_other(owner: Owner) -> None:
    from_starter = shown_to(owner)
    owner.upgrade()
    from_pro = shown_to(owner)
    owner.downgrade()
    scheduled = shown_to(owner)
    owner.keep_plan()
    owner.cancel()
    ending = shown_to(owner)
    owner.cancel("now")
    ended = shown_to(owner)

    def ways(page: str) -> list[str]:
        words = ("Upgrade to", "Change to", "Subscribe to")
        names = ("Starter", "Pro", "Business")
        return [f"{way} {name}" for way in words for name in names if f"{way} {name}</a>" in page]

    assert ways(from_starter) == ["Upgrade to Pro", "Upgrade to Business"]
    assert ways(from_pro) == ["Upgrade to Business", "Change to Starter"]
    assert ways(scheduled) == ["Upgrade to Business"]
    assert ways(ending) == ["Upgrade to Business"]
    assert ways(ended) == ["Subscribe to Starter", "Subscribe to Pro", "Subscribe to Business"]


def test_who_may_only_look_is_shown_everything_and_offered_nothing(owner: Owner) -> None:
    owner.use(1)
    page = looker(owner).get()

    assert "This link was made to look at." in html(page)
    assert "Your plan" in html(page)
    assert set(forms(page)) == {USAGE}
    for way in ("/portal/plans/", "/portal/cancel", "/portal/billing", "/portal/payment-method"):
        assert way not in html(page)
    assert ".csv" in html(page)


def test_a_name_is_never_markup(org: Org) -> None:
    Organization.objects.update(name='<script>alert("1")</script>')

    page = visitor_of(org).get().content.decode()

    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_what_was_done_is_said_in_our_words_alone(owner: Owner) -> None:
    visitor = visitor_of(owner)

    assert "Your Starter plan goes on." in html(visitor.get(f"{USAGE}?done=resume"))
    for word in ("x", "<b>", "{plan}"):
        assert 'role="status"' not in html(visitor.get(f"{USAGE}?done={word}"))


def test_the_page_asks_nothing_of_stripe_and_a_bounded_number_of_queries(
    owner: Owner, sandbox: Control
) -> None:
    visitor = visitor_of(owner)
    owner.use(1)

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert visitor.get().status_code == 200
        return len(captured)

    few = queries()
    for number in range(30):
        InvoiceRef.objects.create(
            stripe_invoice_id=f"in_x{number}",
            org_id=owner.id,
            status="paid",
            currency="usd",
            total=1,
            created_at=clock.now(),
        )
        Subscription.objects.create(
            stripe_subscription_id=f"sub_x{number}", org_id=owner.id, status="canceled"
        )
    sandbox.fault("cut_before", count=1000)

    assert queries() == few <= 16


def test_a_fault_of_ours_is_a_page_and_a_line_in_the_log(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("billing.portal.pages.current_entitlement", broken)

    answer = visitor.get()

    assert answer.status_code == 500
    assert "Something went wrong on our side" in html(answer)
    assert "a fault" not in html(answer)
    assert any("page_failed" in record.getMessage() for record in caplog.records)


def test_an_organisation_without_anything_granted_has_no_page(visitor: Visitor, org: Org) -> None:
    Entitlement.objects.filter(org_id=org.id).delete()

    assert visitor.get().status_code == 404


def test_scopes_beyond_reading_are_not_needed_to_look(org: Org) -> None:
    powerless = Org(org.id, tokens_for(org.id, (scopes.ENTITLEMENTS_READ, scopes.USAGE_WRITE)))

    refusal = powerless.post("/api/portal-links", {"orgId": org.id})

    assert refusal.status_code == 403
    assert looker(org).get().status_code == 200
