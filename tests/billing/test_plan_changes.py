"""Plan changes over the public API, against the sandbox."""

from typing import Any

import pytest

from quotas.models import Entitlement
from tests.billing.owners import Owner, paid
from tests.sandbox.server import Control
from tests.support.cast import data, error

pytestmark = pytest.mark.django_db(transaction=True)


def test_upgrade_in_the_trial_ends_it_and_charges_what_was_previewed(
    owner: Owner, sandbox: Control
) -> None:
    seen = data(owner.preview("pro"))

    answer = data(owner.upgrade(prorationDate=seen["prorationDate"], expectedAmount=seen["amount"]))

    assert answer == {"planCode": "pro", "includedUnits": 100000, "used": 0, "remaining": 100000}
    assert seen["amount"] == 9900
    assert paid(sandbox) == [9900]
    assert owner.entitlements()["status"] == "active"


def test_upgrade_keeps_the_counters_and_raises_the_limit_at_once(owner: Owner) -> None:
    owner.use(9000)

    answer = data(owner.upgrade())

    assert answer == {
        "planCode": "pro",
        "includedUnits": 100000,
        "used": 9000,
        "remaining": 91000,
    }
    assert data(owner.use(5000))["remaining"] == 86000


def test_upgrade_in_a_period_charges_the_proration_to_the_cent(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade()
    sandbox.travel(days=10)
    seen = data(owner.preview("business"))

    owner.upgrade(
        "business",
        prorationDate=seen["prorationDate"],
        expectedAmount=seen["amount"],
    )

    assert paid(sandbox) == [9900, seen["amount"]]
    assert sum(line["amount"] for line in seen["items"] if line["proration"]) == seen["amount"]


def test_upgrade_to_the_plan_one_is_on_asks_stripe_nothing(owner: Owner, sandbox: Control) -> None:
    first = data(owner.upgrade())
    sandbox.fault("error", count=100)

    again = data(owner.upgrade())

    assert again == first


def test_cheaper_plan_is_no_upgrade(owner: Owner) -> None:
    owner.upgrade("business")

    response = owner.upgrade("pro")

    assert response.status_code == 409
    assert error(response)["code"] == "PLAN_CHANGE_CONFLICT"


@pytest.mark.parametrize("change", [{"expectedAmount": 1}, {"prorationDate": 1_700_000_000}])
def test_a_preview_that_no_longer_holds_is_refused_and_nothing_changes(
    owner: Owner, sandbox: Control, change: dict[str, Any]
) -> None:
    response = owner.upgrade(**change)

    assert response.status_code == 409
    assert error(response)["code"] == "PREVIEW_STALE"
    assert owner.mirror.plan_code == "starter"
    assert paid(sandbox) == []


def test_a_declined_card_is_402_and_the_old_plan_stays(owner: Owner, sandbox: Control) -> None:
    sandbox.fault("card_declined")

    response = owner.upgrade()

    assert response.status_code == 402
    assert error(response)["details"]["reason"] == "card_declined"
    assert owner.entitlements()["planCode"] == "starter"
    assert data(owner.upgrade())["planCode"] == "pro"


def test_downgrade_is_scheduled_and_takes_effect_at_the_periods_end(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade()
    ends = owner.mirror.current_period_end

    answer = data(owner.downgrade())
    again = data(owner.downgrade())

    assert answer == again == {"newPlanCode": "starter", "effectiveAt": answer["effectiveAt"]}
    scheduled = owner.entitlements()["scheduledChange"]
    assert scheduled == answer
    assert Entitlement.objects.get(org_id=owner.id).scheduled_at == ends
    sandbox.travel(days=32)
    assert owner.entitlements()["planCode"] == "starter"
    owner.converge()
    assert owner.mirror.plan_code == "starter"


def test_downgrade_is_rewritten_taken_back_and_released_by_an_upgrade(owner: Owner) -> None:
    owner.upgrade("business")
    owner.downgrade("starter")

    rewritten = data(owner.downgrade("pro"))

    assert rewritten["newPlanCode"] == "pro"
    taken_back = owner.keep_plan()
    assert data(taken_back) == {"cancelled": True}
    assert owner.entitlements()["scheduledChange"] is None
    taken_back = owner.keep_plan()
    assert data(taken_back) == {"cancelled": False}


def test_upgrade_releases_a_pending_downgrade(owner: Owner) -> None:
    owner.upgrade("pro")
    owner.downgrade("starter")

    owner.upgrade("business")

    after = owner.entitlements()
    assert (after["planCode"], after["scheduledChange"]) == ("business", None)


def test_declined_upgrade_leaves_the_pending_downgrade_in_place(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade("pro")
    owner.downgrade("starter")
    sandbox.fault("card_declined")

    assert owner.upgrade("business").status_code == 402

    owner.converge()
    assert owner.entitlements()["scheduledChange"]["newPlanCode"] == "starter"


def test_cancel_at_period_end_resume_cancel_now_subscribe_again(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade()
    cancel = {"orgId": owner.id, "at": "period_end"}

    pending = data(owner.post("/api/plans/cancel", cancel))
    resumed = data(owner.post("/api/plans/resume", {"orgId": owner.id}))
    over = data(owner.post("/api/plans/cancel", {**cancel, "at": "now"}))

    assert pending["status"] == "active"
    assert pending["endsAt"] is not None
    assert resumed == {"status": "active", "endsAt": None}
    assert over["status"] == "canceled"
    assert owner.use().status_code == 402
    again = data(owner.post("/api/plans/subscribe", {"orgId": owner.id, "planCode": "starter"}))
    assert (again["status"], again["planCode"]) == ("active", "starter")
    assert data(owner.use())["used"] == 1
    twice = owner.post("/api/plans/subscribe", {"orgId": owner.id, "planCode": "pro"})
    assert error(twice)["code"] == "PLAN_CHANGE_CONFLICT"


def test_the_answer_under_an_idempotency_key_is_given_again(owner: Owner, sandbox: Control) -> None:
    key = {"Idempotency-Key": "k-1"}
    body = {"orgId": owner.id, "newPlanCode": "pro"}
    first = owner.post("/api/plans/upgrade", body, **key)

    again = owner.post("/api/plans/upgrade", body, **key)
    other = owner.post("/api/plans/upgrade", {**body, "newPlanCode": "business"}, **key)

    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert error(other)["code"] == "IDEMPOTENCY_CONFLICT"
    assert paid(sandbox) == [9900]
