"""What support and billing do all day, in a real browser against the running product."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Page, expect
from pytest_django import Settings

from billing.models import Subscription
from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.transport import Transport
from config.contract import clock
from config.contract.clients import clients
from quotas.models import Entitlement
from tests.support.cast import Org, make_org
from tests.support.live import Live
from tests.support.pictures import picture
from tests.webhooks.cast import an_event, deliver, sign_up, work_off
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "a-password-of-staff"
LogIn = Callable[[str], Page]


@pytest.fixture
def faults() -> list[str]:
    """What a page complained about."""
    return []


@pytest.fixture
def log_in(live: Live, page: Page, settings: Settings, faults: list[str]) -> LogIn:
    """Log a member of staff in, by the page."""
    # The web process knows the real hasher only.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    page.on("console", lambda one: faults.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda one: faults.append(str(one)))
    page.on("request", lambda one: faults.append(one.url) if not _is_ours(one.url, live) else None)

    def log_in(role: str) -> Page:
        user = User.objects.create_user(role.replace(" ", "-"), password=PASSWORD, is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        page.goto(f"{live.base}/admin/login/?next=/admin/acts/")
        page.get_by_label("Username").fill(user.username)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/admin/acts/")
        return page

    return log_in


def _is_ours(url: str, live: Live) -> bool:
    return url.startswith((live.base, "data:"))


def on_page_of(page: Page, live: Live, org: Org) -> Page:
    page.goto(f"{live.base}/admin/organisations/{org.id}/")
    return page


def follow(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="What you may do").get_by_role("link", name=name).click()


def say_why(page: Page, why: str = "ticket 4711") -> None:
    page.get_by_label("Reason").fill(why)
    page.get_by_role("button", name="Show what will change").click()


@pytest.mark.pictures
def test_a_quota_is_reset_after_its_dry_run(
    live: Live, log_in: LogIn, faults: list[str], tmp_path: Path
) -> None:
    org = make_org()
    org.use(10_000)
    page = on_page_of(log_in("billing admin"), live, org)

    follow(page, "Reset quota")
    page.get_by_text("Forgive what was used").click()
    say_why(page, "the gateway looped on 21 November, ticket 4711")
    row = page.get_by_role("row", name="api_call: used")
    expect(row).to_contain_text("10,000")
    picture(page, "act-reset-quota", elsewhere=tmp_path)
    assert org.use(1).status_code == 429
    page.get_by_role("button", name="Reset quota").click()

    expect(page.get_by_text("1 counter reset.").first).to_be_visible()
    assert org.use(1).status_code == 200
    assert not faults


def test_units_are_granted_and_the_next_request_passes(
    live: Live, log_in: LogIn, faults: list[str]
) -> None:
    org = make_org()
    org.use(10_000)
    assert org.use(1).status_code == 429
    page = on_page_of(log_in("billing admin"), live, org)

    follow(page, "Grant or remove units")
    page.get_by_label("Metric").select_option("api_call")
    page.get_by_label("Units").fill("500")
    say_why(page, "goodwill for the outage")
    expect(page.get_by_role("row", name="api_call: remaining")).to_contain_text("500")
    page.get_by_role("button", name="Grant or remove units").click()

    expect(page.get_by_text("500 units of api_call granted").first).to_be_visible()
    assert org.use(500).status_code == 200
    assert not faults


@pytest.fixture
def stripe(live: Live, settings: Settings) -> Any:
    """The gateway of this process talks to the sandbox of the running product."""
    url = live.env["SANDBOX_URL"]
    made = StripeGateway(Transport(api_key=settings.STRIPE_API_KEY, base_url=url))
    with clients.swapped("stripe", made):
        yield made


@pytest.mark.usefixtures("stripe")
def test_a_parked_webhook_is_replayed_and_the_entitlement_converges(
    live: Live, log_in: LogIn, faults: list[str]
) -> None:
    org = sign_up()
    mirror = Subscription.objects.get(org_id=org.id)
    about = {"id": mirror.stripe_subscription_id, "object": "subscription"}
    event = deliver(an_event("customer.subscription.updated", about=about))["eventId"]
    WebhookEvent.objects.filter(event_id=event).update(state="parked", error="boom", org_id=org.id)
    Subscription.objects.filter(pk=mirror.pk).update(status="past_due", past_due_since=clock.now())
    Entitlement.objects.filter(org_id=org.id).update(status="past_due", past_due_since=clock.now())
    page = log_in("support")

    page.goto(f"{live.base}/admin/webhooks/webhookevent/?state__exact=parked")
    page.locator(".action-select").first.check()
    page.locator("select[name=action]").select_option("replay_chosen")
    page.get_by_role("button", name="Run").click()
    say_why(page, "boom is mended")
    expect(page.get_by_role("row", name="1 × customer.subscription.updated")).to_be_visible()
    page.get_by_role("button", name="Replay webhooks").click()
    expect(page.get_by_text("1 event queued.", exact=True)).to_be_visible()
    work_off()

    page.goto(f"{live.base}/admin/quotas/entitlement/{org.id}/change/")
    expect(page.get_by_text("Trialing", exact=True).first).to_be_visible()
    assert WebhookEvent.objects.get(event_id=event).state == "processed"
    assert not faults


def test_support_neither_sees_nor_reaches_the_billing_acts(live: Live, log_in: LogIn) -> None:
    org = make_org()
    page = log_in("support")
    offered = page.locator("a.act-card").all_inner_texts()

    on_page_of(page, live, org)
    links = (
        page.get_by_role("navigation", name="What you may do").get_by_role("link").all_inner_texts()
    )
    answers = [
        page.goto(f"{live.base}/admin/acts/{name}/?org_id={org.id}")
        for name in ("reset-quota", "grant-units", "change-plan", "suspend-organization")
    ]

    ours = ["Re-sync from Stripe", "Replay webhooks"]
    assert [text.split("\n")[1] for text in offered] == [*ours, "Resend this notification"]
    assert [text.split("\n")[-1] for text in links] == ours
    assert [one.status for one in answers if one] == [403] * 4
