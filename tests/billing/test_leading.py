"""Which of an organisation's subscriptions leads: one rule, whatever the order of what is heard."""

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client

from billing import convergence, doctor
from billing.changes import standing
from billing.convergence import Fetched
from billing.models import Organization, Subscription
from config.contract import clock
from config.contract.errors import ApiError
from quotas import rules
from quotas.models import Entitlement
from tests.sandbox.server import Control
from tests.support.cast import Org, make_org
from webhooks import tasks

pytestmark = pytest.mark.django_db(transaction=True)

#: Dearest last.
PLANS = ("starter", "pro", "business")
AMOUNTS = {"starter": 1900, "pro": 9900, "business": 49900}
STATUSES = (
    "trialing",
    "active",
    "past_due",
    "incomplete",
    "incomplete_expired",
    "unpaid",
    "paused",
    "canceled",
)
OVER = ("canceled", "incomplete_expired")


@dataclass(frozen=True)
class Version:
    """A subscription as Stripe has it at one time of its life."""

    id: str
    status: str
    plan: str
    age_days: int = 0
    cancel_days: int | None = None

    def fetched(self, customer_id: str, number: int, now: datetime) -> Fetched:
        """Return it as a fetch under a number would bring it."""
        created = int((now - timedelta(days=self.age_days)).timestamp())
        end = int((now + timedelta(days=20)).timestamp())
        item = {
            "id": f"si_{self.id}",
            "price": {
                "id": f"price_{self.plan}",
                "lookup_key": self.plan,
                "metadata": {"plan_code": self.plan},
                "product": f"prod_{self.plan}",
                "currency": "usd",
                "unit_amount": AMOUNTS.get(self.plan, 100),
                "unit_amount_decimal": str(AMOUNTS.get(self.plan, 100)),
                "created": created,
                "recurring": {"usage_type": "licensed", "interval": "month", "interval_count": 1},
            },
            "quantity": 1,
            "current_period_start": created,
            "current_period_end": end,
        }
        cancel = self.cancel_days
        subscription: dict[str, Any] = {
            "id": self.id,
            "customer": customer_id,
            "status": self.status,
            "items": {"data": [item]},
            "schedule": None,
            "metadata": {},
            "pause_collection": None,
            "billing_cycle_anchor": created,
            "trial_end": end if self.status == "trialing" else None,
            "cancel_at": None
            if cancel is None
            else int((now + timedelta(days=cancel)).timestamp()),
            "cancel_at_period_end": False,
            "ended_at": created if self.status in OVER else None,
            "created": created,
        }
        return Fetched(self.id, number, subscription)


@pytest.fixture
def org(sandbox: Control) -> Org:
    """An organisation whose subscriptions nobody has told us about yet."""
    return make_org(plan="starter", status="canceled")


def hear(org: Org, version: Version, *, number: int | None = None) -> None:
    """Write down what a fetch found."""
    customer_id = Organization.objects.get(org_id=org.id).stripe_customer_id
    taken = convergence.take_number(version.id)
    fetched = version.fetched(customer_id, taken if number is None else number, clock.now())
    with transaction.atomic():
        convergence.apply(fetched, because="test")


def entitled(org: Org) -> tuple[str, str]:
    row = Entitlement.objects.get(org_id=org.id)
    return row.status, row.plan_code


def led_by(org: Org) -> str | None:
    return standing.leading_id(org.id)


@pytest.mark.parametrize("status", ["incomplete", "unpaid", "paused", "incomplete_expired"])
@pytest.mark.parametrize("younger_plan", PLANS)
def test_a_younger_one_that_gives_no_access_does_not_lock_a_payer_out(
    org: Org, status: str, younger_plan: str
) -> None:
    hear(org, Version("sub_paid", "active", "pro", age_days=40))

    hear(org, Version("sub_young", status, younger_plan, age_days=1))

    assert entitled(org) == ("active", "pro")
    assert led_by(org) == "sub_paid"
    assert org.check().status_code == 200


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_that_both_pay_the_dearer_plan_grants_however_old_it_is(
    org: Org, first: int
) -> None:
    both = [
        Version("sub_dear", "active", "business", age_days=200),
        Version("sub_cheap", "active", "starter", age_days=1),
    ]

    hear(org, both[first])
    hear(org, both[1 - first])

    assert entitled(org) == ("active", "business")
    assert led_by(org) == "sub_dear"


def test_of_two_on_the_same_plan_the_newest_leads(org: Org) -> None:
    hear(org, Version("sub_young", "active", "pro", age_days=1))
    hear(org, Version("sub_old", "active", "pro", age_days=9))

    assert led_by(org) == "sub_young"


def test_when_the_grace_of_the_leading_one_is_over_the_other_takes_over_without_an_event(
    org: Org, sandbox: Control
) -> None:
    hear(org, Version("sub_dear", "past_due", "business", age_days=40))
    hear(org, Version("sub_cheap", "active", "starter", age_days=90))
    assert (entitled(org), led_by(org)) == (("past_due", "business"), "sub_dear")

    sandbox.travel(seconds=int(settings.PAST_DUE_GRACE.total_seconds()) + 1)
    tasks.ask_overdue()

    assert led_by(org) == "sub_cheap"
    assert entitled(org) == ("active", "starter")
    assert org.check().status_code == 200


def test_when_a_cancellation_takes_effect_by_time_alone_the_other_takes_over(
    org: Org, sandbox: Control
) -> None:
    hear(org, Version("sub_dear", "active", "business", age_days=40, cancel_days=3))
    hear(org, Version("sub_cheap", "active", "starter", age_days=90))

    sandbox.travel(days=4)
    tasks.ask_overdue()

    assert (entitled(org), led_by(org)) == (("active", "starter"), "sub_cheap")


def test_where_one_subscription_runs_time_alone_hands_nothing_over(
    org: Org, sandbox: Control
) -> None:
    hear(org, Version("sub_dear", "past_due", "business"))
    before = Entitlement.objects.get(org_id=org.id).version

    sandbox.travel(days=30)
    tasks.ask_overdue()

    assert entitled(org) == ("past_due", "business")
    assert Entitlement.objects.get(org_id=org.id).version == before


def test_an_ended_one_whose_plan_nobody_knows_does_not_keep_the_access_of_another(
    org: Org,
) -> None:
    hear(org, Version("sub_known", "active", "pro", age_days=9))
    hear(org, Version("sub_odd", "canceled", "of-no-plan", age_days=1))

    hear(org, Version("sub_known", "canceled", "pro", age_days=9))

    assert entitled(org) == ("canceled", "pro")


def test_the_doctor_names_the_subscription_that_is_paid_for_besides(org: Org) -> None:
    hear(org, Version("sub_dear", "active", "business"))
    hear(org, Version("sub_cheap", "active", "starter"))
    hear(org, Version("sub_dead", "canceled", "pro"))
    hear(make_org(), Version("sub_alone", "active", "pro"))

    [finding] = [one for one in doctor.examine() if one.what == "paid twice"]

    assert not finding.ok
    assert f"{org.id}: sub_dear leads, paid for besides: sub_cheap" in finding.detail
    assert "sub_dead" not in finding.detail
    assert "sub_alone" not in finding.detail


def test_the_page_of_the_organisation_names_who_leads_and_what_is_paid_for_besides(
    org: Org, admin_client: Client
) -> None:
    hear(org, Version("sub_dear", "active", "business", age_days=40))
    hear(org, Version("sub_cheap", "active", "starter"))
    hear(org, Version("sub_unpaid", "unpaid", "starter"))

    page = admin_client.get(f"/admin/organisations/{org.id}/").content.decode()

    rows = {
        name: page.split(f">{name}</a>")[1].split("</tr>")[0]
        for name in ("sub_dear", "sub_cheap", "sub_unpaid")
    }
    assert "leads: it grants" in rows["sub_dear"]
    assert "paid for besides" in rows["sub_cheap"]
    assert "does not count" in rows["sub_unpaid"]


def test_the_doctor_is_content_where_nobody_pays_twice(org: Org) -> None:
    hear(org, Version("sub_a", "active", "pro"))
    hear(org, Version("sub_b", "unpaid", "pro"))

    assert [one.ok for one in doctor.examine() if one.what == "paid twice"] == [True]


@pytest.mark.parametrize("seed", range(40))
def test_what_leads_is_what_the_rule_says_in_whatever_order_it_is_heard(
    org: Org, sandbox: Control, seed: int
) -> None:
    """Random histories: each fetch may be written down late, or never before the next."""
    chance = random.Random(seed)  # noqa: S311
    latest: dict[str, Version] = {}
    heard: list[tuple[int, Version]] = []
    for index in range(chance.randint(1, 4)):
        name = f"sub_{index}"
        version = Version(
            name, chance.choice(STATUSES), chance.choice(PLANS), age_days=chance.randint(0, 90)
        )
        for number in range(1, chance.randint(2, 5)):
            heard.append((number, version))
            latest[name] = version
            if version.status in OVER:
                break  # it never comes back
            version = replace(version, status=chance.choice(STATUSES), plan=chance.choice(PLANS))
    chance.shuffle(heard)
    for number, version in heard:
        while (
            Subscription.objects.filter(
                stripe_subscription_id=version.id, fetch_requested__gte=number
            ).count()
            == 0
        ):
            convergence.take_number(version.id)
        hear(org, version, number=number)

    _agrees(org, list(latest.values()), past_due_for=timedelta(0))
    sandbox.travel(seconds=int(settings.PAST_DUE_GRACE.total_seconds()) + 1)
    tasks.ask_overdue()
    _agrees(org, list(latest.values()), past_due_for=settings.PAST_DUE_GRACE)


def _agrees(org: Org, versions: list[Version], *, past_due_for: timedelta) -> None:
    """Compare what leads, grants and can be changed with the rule, told once more in full."""

    def gives_access(one: Version) -> bool:
        if one.status == "past_due":
            return past_due_for < settings.PAST_DUE_GRACE
        return one.status in ("active", "trialing")

    def better(one: Version) -> tuple[Any, ...]:
        runs = one.status not in OVER
        rank = PLANS.index(one.plan) if runs else 0
        return gives_access(one), runs, rank, -one.age_days

    best = max(better(one) for one in versions)
    leaders = [one for one in versions if better(one) == best]
    assert entitled(org) in [(one.status, one.plan) for one in leaders]
    running = [one.id for one in leaders if one.status not in OVER]
    assert led_by(org) in running if running else led_by(org) is None
    entitlement = Entitlement.objects.get(org_id=org.id)
    assert rules.has_access(entitlement, clock.now()) is best[0]
    if led_by(org) is None:
        with pytest.raises(ApiError):
            standing.live(org.id)
