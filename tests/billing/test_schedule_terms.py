"""A scheduled downgrade leaves the subscription as it is, field by field, also after its end."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from billing.stripe_gateway import StripeGateway
from tests.billing.owners import Owner, new_owner, schedules, use_card
from tests.sandbox.dashboard import Dashboard
from tests.sandbox.server import Control

#: What says where a subscription stands, not what was agreed.
_STANDING = {"schedule", "latest_invoice"}


@pytest.fixture
def dashboard(gateway: StripeGateway) -> Dashboard:
    """Staff at Stripe."""
    return Dashboard(gateway)


def terms_of(sandbox: Control, owner: Owner) -> dict[str, Any]:
    """Return all that Stripe shows of the owner's subscription, but for where it stands."""
    there = sandbox.show(owner.mirror.stripe_subscription_id)
    return {name: value for name, value in there.items() if name not in _STANDING}


def _on_business(owner: Owner) -> str:
    assert owner.upgrade("business").status_code == 200
    id_: str = owner.mirror.stripe_subscription_id
    return id_


def _everything(dashboard: Dashboard, item_id: str) -> dict[str, Any]:
    return {
        "application_fee_percent": 2.5,
        "billing_thresholds": {"amount_gte": 900000, "reset_billing_cycle_anchor": False},
        "collection_method": "send_invoice",
        "days_until_due": 30,
        "default_tax_rates": [dashboard.tax_rate(19)],
        "description": "as agreed in spring",
        "discounts": [
            {"coupon": dashboard.coupon(percent_off=10, duration="forever")},
            {
                "coupon": dashboard.coupon(
                    amount_off=500, duration="repeating", duration_in_months=4
                )
            },
        ],
        "invoice_settings": {
            "custom_fields": [{"name": "PO", "value": "4711"}],
            "description": "Thank you",
            "footer": "bye",
        },
        "items": [
            {
                "id": item_id,
                "discounts": [{"coupon": dashboard.coupon(percent_off=5, duration="forever")}],
                "tax_rates": [dashboard.tax_rate(7, inclusive=True)],
                "metadata": {"seat": "a"},
                "quantity": 3,
            }
        ],
        "metadata": {"agreed_by": "sales"},
        "on_behalf_of": "acct_1",
        "transfer_data": {"destination": "acct_1", "amount_percent": 50},
        "proration_behavior": "none",
    }


def test_a_downgrade_and_its_take_back_leave_every_field_as_it_was(
    sandbox: Control, owner: Owner, dashboard: Dashboard
) -> None:
    subscription = _on_business(owner)
    item = sandbox.show(subscription)["items"]["data"][0]
    dashboard.edit(subscription, **_everything(dashboard, item["id"]))
    before = terms_of(sandbox, owner)

    assert owner.downgrade().status_code == 200
    assert terms_of(sandbox, owner) == before
    assert owner.downgrade("pro").status_code == 200
    assert terms_of(sandbox, owner) == before
    assert owner.keep_plan().status_code == 200

    assert terms_of(sandbox, owner) == before
    assert schedules(sandbox) == []


def test_the_cheaper_plan_begins_on_the_terms_of_the_dearer_one(
    sandbox: Control, owner: Owner, dashboard: Dashboard
) -> None:
    subscription = _on_business(owner)
    item = sandbox.show(subscription)["items"]["data"][0]
    dashboard.edit(subscription, **_everything(dashboard, item["id"]))
    before = terms_of(sandbox, owner)

    assert owner.downgrade().status_code == 200
    dashboard.edit(subscription, metadata={"agreed_by": "support"})
    sandbox.travel(days=33)
    after = terms_of(sandbox, owner)

    [old, _overage], [new] = before.pop("items")["data"], after.pop("items")["data"]
    assert new["price"]["lookup_key"] == "starter"
    for name in ("id", "discounts", "tax_rates", "metadata", "quantity", "billing_thresholds"):
        assert new[name] == old[name], name
    assert after == {**before, "metadata": {**before["metadata"], "agreed_by": "support"}}


def test_a_downgrade_within_a_trial_leaves_the_trial(
    sandbox: Control, owner: Owner, dashboard: Dashboard
) -> None:
    sandbox.settings(auto_card=True)
    subscription = owner.mirror.stripe_subscription_id
    price = _price(sandbox, "business")
    [item] = sandbox.show(subscription)["items"]["data"]
    dashboard.edit(
        subscription,
        items=[{"id": item["id"], "price": price}],
        trial_end=sandbox.now() + 20 * 86_400,
        discounts=[{"coupon": dashboard.coupon(percent_off=10, duration="forever")}],
    )
    owner.converge()
    before = terms_of(sandbox, owner)
    assert before["status"] == "trialing"

    assert owner.downgrade("pro").status_code == 200
    assert terms_of(sandbox, owner) == before
    assert owner.keep_plan().status_code == 200
    assert terms_of(sandbox, owner) == before


def test_a_refused_upgrade_puts_the_downgrade_back_on_the_same_terms(
    sandbox: Control, owner: Owner, dashboard: Dashboard
) -> None:
    assert owner.upgrade("pro").status_code == 200
    subscription = owner.mirror.stripe_subscription_id
    coupon = dashboard.coupon(percent_off=10, duration="forever")
    rate = dashboard.tax_rate(19)
    dashboard.edit(
        subscription, discounts=[{"coupon": coupon}], default_tax_rates=[rate], description="x"
    )
    assert owner.downgrade().status_code == 200
    before = terms_of(sandbox, owner)
    use_card(owner, "pm_card_chargeCustomerFail")

    assert owner.upgrade("business").status_code == 402

    assert terms_of(sandbox, owner) == before
    assert owner.entitlements()["scheduledChange"]["newPlanCode"] == "starter"
    later = schedules(sandbox)[0]["phases"][1]
    assert [one["discount"] for one in later["discounts"]] == before["discounts"]
    assert [one["id"] for one in later["default_tax_rates"]] == [rate]


def _price(sandbox: Control, plan: str) -> str:
    [id_] = [one["id"] for one in sandbox.objects("price") if one["lookup_key"] == plan]
    return str(id_)


def _phase(sandbox: Control, plan: str) -> dict[str, Any]:
    return {
        "items": [{"price": _price(sandbox, plan)}],
        "duration": {"interval": "month", "interval_count": 1},
    }


def test_an_agreement_made_at_stripe_is_left_alone_and_said_to_be_there(
    sandbox: Control, owner: Owner, dashboard: Dashboard
) -> None:
    assert owner.upgrade("pro").status_code == 200
    subscription: str = owner.mirror.stripe_subscription_id
    made = dashboard.schedule(subscription, _phase(sandbox, "starter"), _phase(sandbox, "pro"))
    owner.converge()
    before = sandbox.show(made["id"])

    assert owner.entitlements()["scheduledChange"]["newPlanCode"] == "starter"
    assert owner.upgrade("business").status_code == 409
    assert owner.keep_plan().status_code == 409
    assert sandbox.show(made["id"]) == before
    assert owner.cancel().status_code == 200
    assert sandbox.show(subscription)["cancel_at_period_end"] is True


def test_a_contract_that_ends_at_stripe_is_not_turned_into_one_that_goes_on(
    sandbox: Control, owner: Owner, dashboard: Dashboard
) -> None:
    assert owner.upgrade("pro").status_code == 200
    made = dashboard.schedule(owner.mirror.stripe_subscription_id, end_behavior="cancel")
    owner.converge()
    before = sandbox.show(made["id"])

    assert owner.downgrade("starter").status_code == 409
    assert owner.upgrade("business").status_code == 409
    assert sandbox.show(made["id"]) == before


def test_one_change_planned_at_stripe_is_taken_back_like_ours(
    sandbox: Control, owner: Owner, dashboard: Dashboard
) -> None:
    assert owner.upgrade("business").status_code == 200
    before = terms_of(sandbox, owner)
    dashboard.schedule(owner.mirror.stripe_subscription_id, _phase(sandbox, "starter"))
    owner.converge()

    assert owner.downgrade("pro").status_code == 200
    assert owner.entitlements()["scheduledChange"]["newPlanCode"] == "pro"
    assert owner.keep_plan().status_code == 200
    assert terms_of(sandbox, owner) == before


_optional = {
    "billing_thresholds": st.just({"amount_gte": 900000}),
    "description": st.sampled_from(["a", "as agreed"]),
    "collection_method": st.just("send_invoice"),
    "metadata": st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"), min_size=1),
    "application_fee_percent": st.sampled_from([1.0, 12.25]),
    "on_behalf_of": st.just("acct_1"),
    "transfer_data": st.just({"destination": "acct_1"}),
    "invoice_settings": st.fixed_dictionaries(
        {}, optional={"footer": st.just("f"), "description": st.just("d")}
    ),
    "tax": st.sampled_from(["rates", "automatic"]),
    "discounts": st.lists(
        st.sampled_from(["forever", "repeating", "once"]), min_size=1, max_size=3
    ),
    "quantity": st.integers(2, 9),
    "item_discounts": st.lists(st.sampled_from(["forever", "repeating"]), min_size=1, max_size=2),
    "item_metadata": st.just({"seat": "a"}),
    "add_on": st.integers(1, 4),
}
mixes = st.fixed_dictionaries({}, optional=_optional)
acts = st.lists(st.sampled_from(["starter", "pro", "keep"]), min_size=1, max_size=3)


def _coupons(dashboard: Dashboard, durations: list[str]) -> list[dict[str, str]]:
    terms: dict[str, dict[str, Any]] = {"repeating": {"duration_in_months": 3}}
    return [
        {"coupon": dashboard.coupon(percent_off=7, duration=one, **terms.get(one, {}))}
        for one in durations
    ]


def _edit(dashboard: Dashboard, subscription: dict[str, Any], mix: dict[str, Any]) -> None:
    item: dict[str, Any] = {"id": subscription["items"]["data"][0]["id"]}
    edit: dict[str, Any] = {name: mix[name] for name in mix.keys() & _PLAIN}
    if "collection_method" in mix:
        edit["days_until_due"] = 14
    if "discounts" in mix:
        edit["discounts"] = _coupons(dashboard, mix["discounts"])
    if mix.get("tax") == "rates":
        edit["default_tax_rates"] = [dashboard.tax_rate(8.25)]
        item["tax_rates"] = [dashboard.tax_rate(20, inclusive=True)]
    elif "tax" in mix:
        edit["automatic_tax"] = {"enabled": True}
    if "quantity" in mix:
        item["quantity"] = mix["quantity"]
    if "item_discounts" in mix:
        item["discounts"] = _coupons(dashboard, mix["item_discounts"])
    if "item_metadata" in mix:
        item["metadata"] = mix["item_metadata"]
    items = [item]
    if "add_on" in mix:
        product = subscription["items"]["data"][0]["price"]["product"]
        price = dashboard.price(product, 700, nickname="seats")
        items.append({"price": price, "quantity": mix["add_on"], "metadata": {"kind": "seats"}})
    dashboard.edit(subscription["id"], items=items, proration_behavior="none", **edit)


_PLAIN = {
    "billing_thresholds",
    "description",
    "collection_method",
    "metadata",
    "application_fee_percent",
    "on_behalf_of",
    "transfer_data",
    "invoice_settings",
}


def test_any_mix_of_terms_survives_any_order_of_downgrades(
    transactional_db: None, sandbox: Control, dashboard: Dashboard, full: bool
) -> None:
    sandbox.settings(auto_card=True)

    @settings(
        max_examples=60 if full else 4,
        derandomize=not full,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mixes, acts)
    def run(mix: dict[str, Any], steps: list[str]) -> None:
        owner = new_owner()
        subscription = _on_business(owner)
        _edit(dashboard, sandbox.show(subscription), mix)
        before = terms_of(sandbox, owner)
        for step in steps:
            note(step)
            response = owner.keep_plan() if step == "keep" else owner.downgrade(step)
            assert response.status_code == 200, response.content
            assert terms_of(sandbox, owner) == before

    run()
