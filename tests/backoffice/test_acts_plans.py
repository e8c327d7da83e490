"""Changing a plan on an organisation's behalf."""

import pytest
from django.test import Client

from billing.models import Operation
from quotas.models import Entitlement
from tests.backoffice.acting import REASON, Look, Staff, confirm, do, look
from tests.billing.owners import Owner, new_owner, paid, use_card
from tests.sandbox.server import Control

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner(sandbox: Control) -> Owner:
    """An organisation on starter, its trial over and paid."""
    made = new_owner()
    sandbox.travel(days=15)
    made.converge()
    return made


def plan_page(client: Client, owner: Owner, plan: str) -> Look:
    return look(client, "change-plan", org_id=owner.id, plan_code=plan)


def test_an_upgrade_shows_stripes_price_and_charges_just_that(
    staff: Staff, owner: Owner, sandbox: Control
) -> None:
    client = staff("billing admin")
    owner.use(7)
    before = sum(paid(sandbox, owner.customer_id))

    looked = plan_page(client, owner, "pro")

    assert looked.changes["Plan, from now on"] == ("Starter", "Pro")
    assert looked.changes["api_call: included"] == ("10,000", "100,000")
    assert confirm(client, "change-plan", looked).status_code == 302
    charged = sum(paid(sandbox, owner.customer_id)) - before
    assert looked.changes["Charged now"] == ("–", f"${charged / 100:,.2f}")
    assert owner.entitlements()["planCode"] == "pro"
    assert owner.entitlements()["used"] == 7


def test_the_history_of_a_change_names_who_did_it(staff: Staff, owner: Owner) -> None:
    do(staff("billing admin"), "change-plan", org_id=owner.id, plan_code="pro")

    done = Operation.objects.get(kind="upgrade")
    told = Entitlement.pgh_event_model.objects.filter(org_id=owner.id).latest("pk")  # type: ignore[attr-defined]
    assert done.state == "done"
    assert told.pgh_context["who"].startswith("staff:")


def test_an_upgrade_sent_twice_is_charged_once(
    staff: Staff, owner: Owner, sandbox: Control
) -> None:
    client = staff("billing admin")
    looked = plan_page(client, owner, "pro")

    for _ in range(2):
        confirm(client, "change-plan", looked)

    assert Operation.objects.filter(kind="upgrade").count() == 1


def test_an_upgrade_that_somebody_made_meanwhile_is_shown_anew(staff: Staff, owner: Owner) -> None:
    client = staff("billing admin")
    looked = plan_page(client, owner, "business")
    owner.upgrade("pro")

    late = Look(confirm(client, "change-plan", looked))

    assert late.response.status_code == 409
    assert late.changes["Plan, from now on"] == ("Pro", "Business")
    assert owner.entitlements()["planCode"] == "pro"


def test_a_declined_card_is_said_and_the_plan_stays(staff: Staff, owner: Owner) -> None:
    use_card(owner, "pm_card_chargeCustomerFail")
    client = staff("billing admin")

    answer = Look(confirm(client, "change-plan", plan_page(client, owner, "pro")))

    assert "declined" in answer.text
    assert owner.entitlements()["planCode"] == "starter"


def test_a_downgrade_waits_for_the_end_of_the_period_and_can_be_taken_back(
    staff: Staff, owner: Owner
) -> None:
    client = staff("billing admin")
    owner.upgrade("pro")

    looked = plan_page(client, owner, "starter")
    confirm(client, "change-plan", looked)
    scheduled = owner.entitlements()["scheduledChange"]
    again = plan_page(client, owner, "starter")
    do(client, "keep-plan", org_id=owner.id)

    assert "Nothing changes, and nothing is charged, before then" in looked.text
    assert scheduled["newPlanCode"] == "starter"
    assert "That is scheduled already" in again.text
    assert owner.entitlements()["scheduledChange"] is None


def test_the_plan_one_is_on_cannot_be_confirmed(staff: Staff, owner: Owner) -> None:
    looked = plan_page(staff("billing admin"), owner, "starter")

    assert "It is on this plan already" in looked.text
    assert not looked.can_be_confirmed


def test_a_subscription_is_cancelled_resumed_ended_and_begun_again(
    staff: Staff, owner: Owner
) -> None:
    client = staff("billing admin")

    do(client, "cancel-subscription", org_id=owner.id, at="period_end")
    ends = owner.mirror.cancel_at
    do(client, "resume-subscription", org_id=owner.id)
    goes_on = owner.mirror.cancel_at
    do(client, "cancel-subscription", org_id=owner.id, at="now")
    ended = owner.entitlements()["status"]
    do(client, "change-plan", org_id=owner.id, plan_code="pro")

    assert ends is not None
    assert goes_on is None
    assert ended == "canceled"
    assert (owner.entitlements()["status"], owner.entitlements()["planCode"]) == ("active", "pro")


def test_what_does_not_run_cannot_be_cancelled(staff: Staff, owner: Owner) -> None:
    owner.cancel("now")
    client = staff("billing admin")

    for act, asked in (("cancel-subscription", {"at": "now"}), ("resume-subscription", {})):
        looked = look(client, act, org_id=owner.id, **asked)
        assert "No subscription runs" in looked.text


def test_only_what_suits_is_offered(staff: Staff, owner: Owner) -> None:
    client = staff("billing admin")
    path = f"/admin/billing/organization/{owner.id}/change/"
    running = client.get(path).content.decode()

    owner.cancel("period_end")

    ending = client.get(path).content.decode()
    assert "/admin/acts/resume-subscription/" not in running
    assert "/admin/acts/resume-subscription/" in ending
    assert "/admin/acts/keep-plan/" not in ending
    assert REASON not in ending
