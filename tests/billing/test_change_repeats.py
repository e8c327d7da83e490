"""A repeat under an Idempotency-Key: the first answer is the answer, whatever happened since."""

from collections.abc import Callable
from typing import Any

import pytest

from billing.models import IdempotencyKey, Operation
from tests.billing.owners import Owner, live_subscriptions, paid, unfinished
from tests.sandbox.server import Control
from tests.support.cast import data, error


def replayed(first: Any, again: Any) -> bool:
    """Tell whether the second answer is the first, byte for byte, and says so."""
    return (
        again.status_code == first.status_code
        and again.content == first.content
        and again.headers.get("Idempotent-Replayed") == "true"
        and "Idempotent-Replayed" not in first.headers
    )


def test_an_upgrade_is_answered_the_same_after_the_subscription_ended(
    owner: Owner, sandbox: Control
) -> None:
    first = owner.upgrade(key="k")
    owner.cancel("now")

    again = owner.upgrade(key="k")

    assert replayed(first, again)
    assert paid(sandbox) == [9900]


def test_a_previewed_upgrade_is_answered_the_same_when_its_preview_is_old(
    owner: Owner, sandbox: Control
) -> None:
    seen = data(owner.preview("pro"))
    as_previewed = {"prorationDate": seen["prorationDate"], "expectedAmount": seen["amount"]}
    first = owner.upgrade(key="k", **as_previewed)
    sandbox.travel(hours=1)

    again = owner.upgrade(key="k", **as_previewed)

    assert replayed(first, again)


def test_a_downgrade_is_answered_the_same_after_it_took_effect(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade("business")
    first = owner.downgrade("pro", key="k")
    sandbox.travel(days=32)
    owner.converge()

    again = owner.downgrade("pro", key="k")

    assert replayed(first, again)
    assert owner.mirror.plan_code == "pro"


def test_a_cancellation_is_answered_the_same_after_it(owner: Owner) -> None:
    first = owner.cancel("now", key="k")

    again = owner.cancel("now", key="k")

    assert replayed(first, again)
    assert data(first)["status"] == "canceled"


def test_resuming_and_subscribing_are_answered_the_same(owner: Owner, sandbox: Control) -> None:
    owner.cancel("period_end")
    resumed = owner.resume(key="r")
    owner.cancel("now")
    subscribed = owner.subscribe("pro", key="s")

    assert replayed(resumed, owner.resume(key="r"))
    assert replayed(subscribed, owner.subscribe("pro", key="s"))
    assert len(live_subscriptions(sandbox)) == 1
    assert paid(sandbox) == [9900]


def test_a_plan_that_left_the_catalogue_does_not_change_an_answer(owner: Owner) -> None:
    from billing.models import Plan

    first = owner.upgrade(key="k")
    Plan.objects.filter(code="pro").update(on_sale=False)

    try:
        again = owner.upgrade(key="k")
        fresh = owner.upgrade(key="other")
    finally:
        Plan.objects.filter(code="pro").update(on_sale=True)

    assert replayed(first, again)
    assert error(fresh)["code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    ("ask", "make_it_possible"),
    [
        (lambda owner: owner.upgrade("pro", key="k"), "start_again_on_starter"),
        (lambda owner: owner.downgrade("business", key="k"), None),
        (lambda owner: owner.subscribe("pro", key="k"), "end"),
    ],
    ids=["upgrade", "downgrade", "subscribe"],
)
def test_a_decided_refusal_is_kept_although_it_would_be_possible_now(
    owner: Owner, ask: Callable[[Owner], Any], make_it_possible: str | None
) -> None:
    owner.upgrade("business")

    first = ask(owner)
    if make_it_possible:
        owner.cancel("now")
    if make_it_possible == "start_again_on_starter":
        owner.subscribe("starter")
    again = ask(owner)

    assert first.status_code == 409
    assert again.status_code == 409
    assert error(again) == error(first)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert unfinished() == 0


def test_a_declined_card_is_kept_and_another_key_asks_again(owner: Owner, sandbox: Control) -> None:
    sandbox.fault("card_declined")
    declined = owner.upgrade(key="k")

    again = owner.upgrade(key="k")
    other = owner.upgrade(key="other")

    assert declined.status_code == 402
    assert again.status_code == 402
    assert error(again) == error(declined)
    assert data(other)["planCode"] == "pro"
    assert paid(sandbox) == [9900]


@pytest.mark.parametrize("fault", ["error", "stored_error_after", "rate_limited", "cut_after"])
def test_an_undecided_error_is_not_kept_and_the_repeat_carries_on(
    owner: Owner, sandbox: Control, fault: str
) -> None:
    sandbox.fault(fault, path="/v1/subscriptions/*", method="POST")
    failed = owner.upgrade(key="k")

    again = owner.upgrade(key="k")

    assert failed.status_code in (502, 503)
    assert data(again)["planCode"] == "pro"
    assert "Idempotent-Replayed" not in again.headers
    assert Operation.objects.filter(kind=Operation.Kind.UPGRADE).count() == 1
    assert paid(sandbox) == [9900]


def test_a_bad_request_is_not_kept_under_its_key(owner: Owner) -> None:
    bad = owner.upgrade("platinum", key="k")

    good = owner.upgrade("pro", key="k")

    assert error(bad)["details"] == {"fields": {"newPlanCode": ["Unknown plan"]}}
    assert data(good)["planCode"] == "pro"


def test_a_key_belongs_to_one_route_and_one_organisation(owner: Owner, sandbox: Control) -> None:
    from tests.billing.owners import new_owner

    neighbour = new_owner("Neighbour")
    owner.upgrade(key="k")

    other_route = owner.downgrade("starter", key="k")
    other_organisation = neighbour.upgrade(key="k")

    assert data(other_route)["newPlanCode"] == "starter"
    assert data(other_organisation)["planCode"] == "pro"
    assert "Idempotent-Replayed" not in other_organisation.headers


def test_another_body_under_the_key_is_a_conflict(owner: Owner) -> None:
    owner.upgrade("pro", key="k")

    response = owner.upgrade("business", key="k")

    assert response.status_code == 409
    assert error(response)["code"] == "IDEMPOTENCY_CONFLICT"
    assert owner.mirror.plan_code == "pro"


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "ключ", "a\tb"])
def test_a_key_that_is_none_is_refused_before_anything_happens(owner: Owner, key: str) -> None:
    response = owner.upgrade(key=key)

    assert response.status_code == 400
    assert set(error(response)["details"]["fields"]) == {"Idempotency-Key"}
    assert not IdempotencyKey.objects.exclude(scope__startswith="sign_up").exists()
    assert owner.mirror.plan_code == "starter"
