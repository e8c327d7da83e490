"""What staff do at Stripe, past us: over the same API, with every parameter it takes."""

from dataclasses import dataclass
from itertools import count
from typing import Any

from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.transport import Json

_numbers = count(1)


@dataclass
class Dashboard:
    """Staff at Stripe's dashboard."""

    gateway: StripeGateway

    def coupon(self, **terms: Any) -> str:
        """Make a coupon; `once` unless `duration` says otherwise. Returns its id."""
        if "amount_off" in terms:
            terms.setdefault("currency", "usd")
        id_: str = self._call(lambda c: c.v1.coupons.create(terms))["id"]
        return id_

    def promotion_code(self, coupon: str, **terms: Any) -> Json:
        """Make a code for a coupon."""
        promotion: Any = {"promotion": {"type": "coupon", "coupon": coupon}, **terms}
        return self._call(lambda c: c.v1.promotion_codes.create(promotion))

    def tax_rate(self, percentage: float, *, inclusive: bool = False, **more: Any) -> str:
        """Make a tax rate. Returns its id."""
        rate: Any = {"display_name": "VAT", "percentage": percentage, "inclusive": inclusive}
        id_: str = self._call(lambda c: c.v1.tax_rates.create({**rate, **more}))["id"]
        return id_

    def price(self, product: str, amount: int, interval: str = "month", **more: Any) -> str:
        """Make a price that no plan of ours has. Returns its id."""
        price: Any = {
            "product": product,
            "currency": "usd",
            "unit_amount": amount,
            "recurring": {"interval": interval},
            **more,
        }
        id_: str = self._call(lambda c: c.v1.prices.create(price))["id"]
        return id_

    def subscription(self, id_: str) -> Json:
        """Return a subscription with its discounts."""
        return self._call(lambda c: c.v1.subscriptions.retrieve(id_))

    def subscribe(self, customer_id: str, price_id: str, **more: Any) -> Json:
        """Start a (further) subscription."""
        params: Any = {"customer": customer_id, "items": [{"price": price_id}], **more}
        return self._call(lambda c: c.v1.subscriptions.create(params))

    def edit(self, subscription_id: str, **changes: Any) -> Json:
        """Change a subscription."""
        return self._call(lambda c: c.v1.subscriptions.update(subscription_id, changes))

    def schedule(self, subscription_id: str, *later: Json, end_behavior: str = "release") -> Json:
        """Put the subscription under a schedule, with these phases after the running one."""
        schedule = self._call(
            lambda c: c.v1.subscription_schedules.create({"from_subscription": subscription_id})
        )
        [running] = schedule["phases"]
        first = {
            "items": [
                {name: item[name] for name in ("price", "quantity") if name in item}
                for item in running["items"]
            ],
            "start_date": running["start_date"],
            "end_date": running["end_date"],
        }
        params: Any = {"phases": [first, *later], "end_behavior": end_behavior}
        return self._call(lambda c: c.v1.subscription_schedules.update(schedule["id"], params))

    def delete_customer(self, customer_id: str) -> None:
        """Delete a customer."""
        self._call(lambda c: c.v1.customers.delete(customer_id))

    def _call(self, request: Any) -> Json:
        return self.gateway._call(f"dashboard.{next(_numbers)}", request)
