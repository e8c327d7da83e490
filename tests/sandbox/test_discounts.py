"""Coupons, promotion codes and tax rates: to the cent, and previewed as invoiced."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.stripe_gateway import StripeGateway, StripeNotFound, StripeRefused
from billing.stripe_gateway.transport import Json
from tests.sandbox.cast import Subscriber
from tests.sandbox.dashboard import Dashboard
from tests.sandbox.server import Control


@pytest.fixture
def staff(gateway: StripeGateway) -> Dashboard:
    """Staff at Stripe."""
    return Dashboard(gateway)


def _sums(invoice: Json) -> dict[str, Any]:
    """Return the money of an invoice, without ids of what is only previewed."""
    return {
        "subtotal": invoice["subtotal"],
        "discounts": [one["amount"] for one in invoice["total_discount_amounts"]],
        "taxes": [(one["amount"], one["taxable_amount"]) for one in invoice["total_taxes"]],
        "excluding": invoice["total_excluding_tax"],
        "total": invoice["total"],
        "due": invoice["amount_due"],
        "lines": [
            (line["amount"], [one["amount"] for one in line["discount_amounts"]])
            for line in invoice["lines"]["data"]
        ],
    }


def test_a_percentage_and_an_amount_come_off_in_turn(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber, staff: Dashboard
) -> None:
    made = subscriber.subscribe_now("pro")
    item = made["items"]["data"][0]["id"]
    staff.edit(
        made["id"],
        discounts=[
            {"coupon": staff.coupon(percent_off=15, duration="forever")},
            {"coupon": staff.coupon(amount_off=333, duration="forever")},
        ],
        items=[
            {"id": item, "discounts": [{"coupon": staff.coupon(percent_off=5, duration="forever")}]}
        ],
    )
    shown = gateway.preview_renewal(subscription_id=made["id"])
    sandbox.advance(days=32)
    [invoice, _first] = subscriber.invoices()

    # 5 % of 9900 is 495; 15 % of 9405 is 1410.75; then 333.
    assert _sums(invoice)["lines"] == [(9900, [495, 1411, 333])]
    assert (invoice["subtotal"], invoice["total"]) == (9405, 7661)
    assert _sums(shown) == _sums(invoice)


def test_exclusive_tax_comes_on_top_and_inclusive_tax_is_within(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber, staff: Dashboard
) -> None:
    made = subscriber.subscribe_now("pro")
    coupon = staff.coupon(percent_off=10, duration="forever")
    exclusive, inclusive = staff.tax_rate(19), staff.tax_rate(7, inclusive=True)
    staff.edit(made["id"], discounts=[{"coupon": coupon}], default_tax_rates=[exclusive])
    shown = gateway.preview_renewal(subscription_id=made["id"])
    sandbox.advance(days=32)
    first = subscriber.invoices()[0]
    staff.edit(made["id"], default_tax_rates=[inclusive])
    sandbox.advance(days=31)
    second = subscriber.invoices()[0]

    # 19 % of 8910 is 1692.9; of 8910, 582.9 is within at 7 %.
    assert (first["total"], first["total_excluding_tax"]) == (8910 + 1693, 8910)
    assert _sums(shown) == _sums(first)
    assert (second["total"], second["total_excluding_tax"]) == (8910, 8910 - 583)
    assert second["total_taxes"][0]["taxable_amount"] == 8327


def test_a_coupon_counts_once_for_some_months_or_for_ever(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber, staff: Dashboard
) -> None:
    once = staff.coupon(percent_off=50)
    months = staff.coupon(amount_off=100, duration="repeating", duration_in_months=2)
    made = subscriber.subscribe_now("starter")
    # Not in the second of the anchor: the discount would end as the third period begins.
    sandbox.advance(hours=1)
    staff.edit(made["id"], discounts=[{"coupon": once}, {"coupon": months}])
    totals = []
    for _ in range(4):
        shown = gateway.preview_renewal(subscription_id=made["id"])
        sandbox.advance(days=31)
        totals.append(subscriber.invoices()[0]["total"])
        assert shown["total"] == totals[-1]

    assert totals == [850, 1800, 1900, 1900]
    assert staff.subscription(made["id"])["discounts"] == []


def test_a_promotion_code_is_redeemed_as_often_as_it_may_be(
    subscriber: Subscriber, staff: Dashboard
) -> None:
    coupon = staff.coupon(percent_off=50, duration="forever")
    code = staff.promotion_code(coupon, code="SPRING", max_redemptions=1)
    made = subscriber.subscribe_now("starter")

    edited = staff.edit(made["id"], discounts=[{"promotion_code": code["id"]}])

    assert len(edited["discounts"]) == 1
    with pytest.raises(StripeRefused):
        staff.edit(made["id"], discounts=[{"promotion_code": code["id"]}])
    again = staff.edit(made["id"], discounts=[{"discount": edited["discounts"][0]}])
    assert again["discounts"] == edited["discounts"]


def test_a_credit_gives_back_no_more_than_was_paid(
    sandbox: Control, subscriber: Subscriber, staff: Dashboard
) -> None:
    half = staff.coupon(percent_off=50, duration="forever")
    made = staff.subscribe(
        subscriber.customer_id, subscriber.price("pro"), discounts=[{"coupon": half}]
    )
    assert subscriber.invoiced() == [(4950, "paid")]
    at = made["items"]["data"][0]["current_period_start"]

    shown = subscriber.preview(made, "business", proration_date=at)
    changed = subscriber.change(made, "business", proration_date=at)["latest_invoice"]

    assert [line["amount"] for line in changed["lines"]["data"]] == [-4950, 24950]
    assert _sums(shown) == _sums(changed)


@pytest.mark.parametrize(
    ("edit", "param"),
    [
        ({"discounts": [{"coupon": "no_such"}]}, "discounts[0][coupon]"),
        ({"discounts": [{"discount": "di_no"}]}, "discounts[0][discount]"),
        ({"default_tax_rates": ["txr_no"]}, "default_tax_rates[0]"),
        ({"collection_method": "send_invoice"}, "days_until_due"),
        ({"pause_collection": {"behavior": "forget"}}, "pause_collection[behavior]"),
    ],
)
def test_what_is_not_there_or_not_known_is_refused_by_name(
    subscriber: Subscriber,
    staff: Dashboard,
    edit: Json,
    param: str,
) -> None:
    made = subscriber.subscribe_now("starter")
    before = staff.subscription(made["id"])

    with pytest.raises((StripeRefused, StripeNotFound)) as refused:
        staff.edit(made["id"], **edit)

    assert refused.value.param == param
    assert staff.subscription(made["id"]) == before


def test_an_invoice_that_is_sent_waits_for_its_day(
    sandbox: Control, subscriber: Subscriber, staff: Dashboard
) -> None:
    made = subscriber.subscribe_now("starter")
    staff.edit(made["id"], collection_method="send_invoice", days_until_due=10)
    sandbox.advance(days=32)
    invoice = subscriber.invoices()[0]
    assert (invoice["status"], invoice["collection_method"]) == ("open", "send_invoice")
    assert staff.subscription(made["id"])["status"] == "active"

    sandbox.advance(days=11)

    assert staff.subscription(made["id"])["status"] == "past_due"
    subscriber.gateway.pay_invoice(invoice_id=invoice["id"], idempotency_key="pay")
    assert staff.subscription(made["id"])["status"] == "active"


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("void", "void"), ("mark_uncollectible", "uncollectible"), ("keep_as_draft", "draft")],
)
def test_what_is_billed_during_a_pause_is_not_collected(
    sandbox: Control, subscriber: Subscriber, staff: Dashboard, behavior: str, status: str
) -> None:
    made = subscriber.subscribe_now("starter")
    staff.edit(made["id"], pause_collection={"behavior": behavior})
    subscriber.change(made, "pro")
    sandbox.advance(days=32)

    assert [one for _, one in subscriber.invoiced()] == [status, status, "paid"]
    assert staff.subscription(made["id"])["status"] == "active"
    staff.edit(made["id"], pause_collection="")
    sandbox.advance(days=31)
    assert subscriber.invoiced()[0] == (9900, "paid")


percents = st.integers(1, 10_000).map(lambda hundredths: hundredths / 100)
coupons = st.one_of(
    st.builds(lambda p: {"percent_off": p}, percents),
    st.builds(lambda a: {"amount_off": a}, st.integers(1, 60_000)),
)
durations = st.sampled_from(
    [{"duration": "forever"}, {"duration": "once"}]
    + [{"duration": "repeating", "duration_in_months": n} for n in (1, 2)]
)
terms = st.fixed_dictionaries(
    {
        "discounts": st.lists(st.tuples(coupons, durations), max_size=3),
        "item_discounts": st.lists(st.tuples(coupons, durations), max_size=2),
        "rates": st.lists(st.tuples(percents, st.booleans()), max_size=2),
        "item_rates": st.lists(st.tuples(percents, st.booleans()), max_size=2),
        "plan": st.sampled_from(["pro", "business"]),
        "days": st.integers(0, 27),
        "quantity": st.integers(1, 5),
    }
)


def test_previewed_is_invoiced_under_any_terms(
    sandbox: Control, gateway: StripeGateway, staff: Dashboard
) -> None:
    @settings(
        max_examples=8,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(terms)
    def run(drawn: dict[str, Any]) -> None:
        subscriber = Subscriber(gateway)
        made = subscriber.subscribe_now("starter")
        [item] = made["items"]["data"]
        staff.edit(
            made["id"],
            discounts=[{"coupon": staff.coupon(**c, **d)} for c, d in drawn["discounts"]],
            default_tax_rates=[staff.tax_rate(p, inclusive=i) for p, i in drawn["rates"]],
            items=[
                {
                    "id": item["id"],
                    "quantity": drawn["quantity"],
                    "discounts": [
                        {"coupon": staff.coupon(**c, **d)} for c, d in drawn["item_discounts"]
                    ],
                    "tax_rates": [staff.tax_rate(p, inclusive=i) for p, i in drawn["item_rates"]],
                }
            ],
            proration_behavior="none",
        )
        sandbox.advance(days=drawn["days"])
        at = sandbox.now()
        shown = subscriber.preview(made, drawn["plan"], proration_date=at)
        charged = subscriber.change(made, drawn["plan"], proration_date=at)["latest_invoice"]
        assert _sums(shown) == _sums(charged)
        for _ in range(3):
            renewal = gateway.preview_renewal(subscription_id=made["id"])
            sandbox.advance(days=32)
            invoice = subscriber.invoices()[0]
            assert _sums(renewal) == _sums(invoice)
            _assert_adds_up(invoice)

    run()


def _assert_adds_up(invoice: Json) -> None:
    lines = invoice["lines"]["data"]
    off = [one["amount"] for line in lines for one in line["discount_amounts"]]
    on_top = [
        one["amount"]
        for line in lines
        for one in line["taxes"]
        if one["tax_behavior"] == "exclusive"
    ]
    assert invoice["total"] == sum(line["amount"] for line in lines) - sum(off) + sum(on_top)
    assert sum(off) == sum(one["amount"] for one in invoice["total_discount_amounts"])
    taxes = sum(one["amount"] for one in invoice["total_taxes"])
    assert invoice["total"] - invoice["total_excluding_tax"] == taxes
    assert invoice["total"] >= 0
