"""Plan changes over the public API, against the sandbox."""

import json
from typing import Any

import pytest
from django.test import Client

from billing import convergence
from billing.models import InvoiceRef, Operation, Subscription
from config.contract import clock
from quotas.models import Entitlement
from tests.sandbox.server import Control
from tests.support.cast import Org, data, error
from tokens.services import IssuedTokens, activate

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner(sandbox: Control) -> Org:
    """The owner of an organisation that just signed up: trialing on starter, with a card."""
    signed_up = data(
        Client().post(
            "/api/signup",
            json.dumps({"orgName": "Acme", "email": "owner@acme.example"}),
            content_type="application/json",
        )
    )
    tokens: IssuedTokens = activate(
        code=signed_up["activationCode"], domain=None, now=clock.real_now()
    )
    return Org(signed_up["orgId"], tokens)


def upgrade(owner: Org, plan: str = "pro", **more: Any) -> Any:
    return owner.post("/api/plans/upgrade", {"orgId": owner.id, "newPlanCode": plan, **more})


def downgrade(owner: Org, plan: str = "starter") -> Any:
    return owner.post("/api/plans/downgrade", {"orgId": owner.id, "newPlanCode": plan})


def preview(owner: Org, plan: str, **more: Any) -> Any:
    return owner.post("/api/plans/preview", {"orgId": owner.id, "planCode": plan, **more})


def mirror(owner: Org) -> Subscription:
    return Subscription.objects.get(org_id=owner.id)


def paid(sandbox: Control) -> list[int]:
    return [one["amount_paid"] for one in sandbox.objects("invoice") if one["amount_paid"]]


def test_upgrade_in_the_trial_ends_it_and_charges_what_was_previewed(
    owner: Org, sandbox: Control
) -> None:
    seen = data(preview(owner, "pro"))

    answer = data(
        upgrade(owner, prorationDate=seen["prorationDate"], expectedAmount=seen["amount"])
    )

    assert answer == {"planCode": "pro", "includedUnits": 100000, "used": 0, "remaining": 100000}
    assert seen["amount"] == 9900
    assert paid(sandbox) == [9900]
    assert data(owner.get("/api/me/entitlements"))["status"] == "active"


def test_upgrade_keeps_the_counters_and_raises_the_limit_at_once(owner: Org) -> None:
    owner.use(9000)

    answer = data(upgrade(owner))

    assert answer == {
        "planCode": "pro",
        "includedUnits": 100000,
        "used": 9000,
        "remaining": 91000,
    }
    assert data(owner.use(5000))["remaining"] == 86000


def test_upgrade_in_a_period_charges_the_proration_to_the_cent(
    owner: Org, sandbox: Control
) -> None:
    upgrade(owner)
    sandbox.travel(days=10)
    seen = data(preview(owner, "business"))

    upgrade(
        owner,
        "business",
        prorationDate=seen["prorationDate"],
        expectedAmount=seen["amount"],
    )

    assert paid(sandbox) == [9900, seen["amount"]]
    assert sum(line["amount"] for line in seen["items"] if line["proration"]) == seen["amount"]


def test_upgrade_to_the_plan_one_is_on_asks_stripe_nothing(owner: Org, sandbox: Control) -> None:
    first = data(upgrade(owner))
    sandbox.fault("error", count=100)

    again = data(upgrade(owner))

    assert again == first


def test_cheaper_plan_is_no_upgrade(owner: Org) -> None:
    upgrade(owner, "business")

    response = upgrade(owner, "pro")

    assert response.status_code == 409
    assert error(response)["code"] == "PLAN_CHANGE_CONFLICT"


@pytest.mark.parametrize("change", [{"expectedAmount": 1}, {"prorationDate": 1_700_000_000}])
def test_a_preview_that_no_longer_holds_is_refused_and_nothing_changes(
    owner: Org, sandbox: Control, change: dict[str, Any]
) -> None:
    response = upgrade(owner, **change)

    assert response.status_code == 409
    assert error(response)["code"] == "PREVIEW_STALE"
    assert mirror(owner).plan_code == "starter"
    assert paid(sandbox) == []


def test_a_declined_card_is_402_and_the_old_plan_stays(owner: Org, sandbox: Control) -> None:
    sandbox.fault("card_declined")

    response = upgrade(owner)

    assert response.status_code == 402
    assert error(response)["details"]["reason"] == "card_declined"
    assert data(owner.get("/api/me/entitlements"))["planCode"] == "starter"
    assert data(upgrade(owner))["planCode"] == "pro"


def test_downgrade_is_scheduled_and_takes_effect_at_the_periods_end(
    owner: Org, sandbox: Control
) -> None:
    upgrade(owner)
    ends = mirror(owner).current_period_end

    answer = data(downgrade(owner))
    again = data(downgrade(owner))

    assert answer == again == {"newPlanCode": "starter", "effectiveAt": answer["effectiveAt"]}
    scheduled = data(owner.get("/api/me/entitlements"))["scheduledChange"]
    assert scheduled == answer
    assert Entitlement.objects.get(org_id=owner.id).scheduled_at == ends
    sandbox.travel(days=32)
    assert data(owner.get("/api/me/entitlements"))["planCode"] == "starter"
    convergence.converge(mirror(owner).stripe_subscription_id, because="test")
    assert mirror(owner).plan_code == "starter"


def test_downgrade_is_rewritten_taken_back_and_released_by_an_upgrade(owner: Org) -> None:
    upgrade(owner, "business")
    downgrade(owner, "starter")

    rewritten = data(downgrade(owner, "pro"))

    assert rewritten["newPlanCode"] == "pro"
    taken_back = owner.client.delete(
        f"/api/plans/downgrade?orgId={owner.id}", headers=owner.headers()
    )
    assert data(taken_back) == {"cancelled": True}
    assert data(owner.get("/api/me/entitlements"))["scheduledChange"] is None
    taken_back = owner.client.delete(
        f"/api/plans/downgrade?orgId={owner.id}", headers=owner.headers()
    )
    assert data(taken_back) == {"cancelled": False}


def test_upgrade_releases_a_pending_downgrade(owner: Org) -> None:
    upgrade(owner, "pro")
    downgrade(owner, "starter")

    upgrade(owner, "business")

    after = data(owner.get("/api/me/entitlements"))
    assert (after["planCode"], after["scheduledChange"]) == ("business", None)


def test_declined_upgrade_leaves_the_pending_downgrade_in_place(
    owner: Org, sandbox: Control
) -> None:
    upgrade(owner, "pro")
    downgrade(owner, "starter")
    sandbox.fault("card_declined")

    assert upgrade(owner, "business").status_code == 402

    convergence.converge(mirror(owner).stripe_subscription_id, because="test")
    assert data(owner.get("/api/me/entitlements"))["scheduledChange"]["newPlanCode"] == "starter"


def test_cancel_at_period_end_resume_cancel_now_subscribe_again(
    owner: Org, sandbox: Control
) -> None:
    upgrade(owner)
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


def test_the_answer_under_an_idempotency_key_is_given_again(owner: Org, sandbox: Control) -> None:
    key = {"Idempotency-Key": "k-1"}
    body = {"orgId": owner.id, "newPlanCode": "pro"}
    first = owner.post("/api/plans/upgrade", body, **key)

    again = owner.post("/api/plans/upgrade", body, **key)
    other = owner.post("/api/plans/upgrade", {**body, "newPlanCode": "business"}, **key)

    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert error(other)["code"] == "IDEMPOTENCY_CONFLICT"
    assert paid(sandbox) == [9900]


@pytest.mark.parametrize(
    "fault",
    [
        "cut_before",
        "cut_after",
        "error",
        "stored_error",
        "stored_error_after",
        "rate_limited",
        "conflict",
    ],
)
def test_a_fault_at_stripe_converges_without_a_second_charge(
    owner: Org, sandbox: Control, fault: str
) -> None:
    sandbox.fault(fault, path="/v1/subscriptions/*", method="POST")

    refused = upgrade(owner)
    done = upgrade(owner)

    assert refused.status_code in (502, 503)
    assert data(done)["planCode"] == "pro"
    assert paid(sandbox) == [9900]
    assert not Operation.objects.filter(state="started").exists()


def test_invoices_are_listed_with_stripes_cursor(owner: Org) -> None:
    upgrade(owner)
    upgrade(owner, "business")

    first = data(owner.get("/api/invoices?limit=1"))
    rest = data(owner.get(f"/api/invoices?limit=100&cursor={first['nextCursor']}"))

    assert len(first["invoices"]) == 1
    assert set(first["invoices"][0]) == {"id", "amount", "currency", "status", "url", "created"}
    assert first["invoices"][0]["id"] not in [one["id"] for one in rest["invoices"]]
    assert rest["nextCursor"] is None
    assert owner.get("/api/invoices?cursor=in_nobody").status_code == 400
    assert owner.get("/api/invoices?limit=101").status_code == 400
    assert not InvoiceRef.objects.exists()


def test_setup_and_portal_answer_with_what_only_the_customer_may_have(owner: Org) -> None:
    setup = owner.post("/api/payments/setup", {"orgId": owner.id})
    portal = owner.post("/api/payments/portal", {"orgId": owner.id})
    elsewhere = owner.post(
        "/api/payments/portal", {"orgId": owner.id, "returnUrl": "https://evil.example/"}
    )

    assert data(setup)["clientSecret"].startswith("seti_")
    assert setup.headers["Cache-Control"] == "no-store"
    assert data(portal)["url"].startswith("http")
    assert elsewhere.status_code == 400
