"""At what use past a plan is sold to a subscription: kept for as long as it is on the plan.

A metered item of the subscription says it, by its price at Stripe. A subscription that
carries none (its plan is paid by the year) pays what the catalogue said when it came onto
the plan, or when the change to that plan was scheduled.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from billing.models import Plan, PlanPrice
from quotas.models import Overage

#: As they are stored: `{metric: {"unitAmount": "0.05", "currency": "usd"}}`.
Stored = dict[str, dict[str, str]]


class UnitPrice(NamedTuple):
    """What one unit costs, in minor units of the currency, fractions kept."""

    amount: Decimal
    currency: str

    @classmethod
    def from_stored(
        cls, prices: Mapping[str, Mapping[str, str]], metric: str
    ) -> "UnitPrice | None":
        """Read the price of a metric; None where none is stored."""
        price = prices.get(metric)
        return None if price is None else cls(Decimal(price["unitAmount"]), price["currency"])

    def stored(self) -> dict[str, str]:
        """Return it as it is stored."""
        return {"unitAmount": f"{self.amount.normalize():f}", "currency": self.currency}


def overage_prices(
    plan: Plan, *, item_prices: Iterable[PlanPrice] = (), kept: Stored | None = None
) -> Stored:
    """Return what use past the plan costs a subscription, as it is stored.

    `item_prices` are those of its items, `kept` is what held for it on this plan so far.
    What neither knows costs what the catalogue says today.
    """
    metered = {
        price.metric: UnitPrice(price.unit_amount, price.currency).stored()
        for price in item_prices
        if price.plan_code == plan.code and price.metric and price.unit_amount is not None
    }
    listed = (plan.listed or plan).currency
    return {
        allowance.metric: metered.get(allowance.metric)
        or (kept or {}).get(allowance.metric)
        or UnitPrice(allowance.overage_unit_amount, listed).stored()
        for allowance in plan.metrics.all()
        if allowance.overage == Overage.ALLOW and allowance.overage_unit_amount is not None
    }
