"""What the billing routes take and answer."""

from typing import Annotated

from msgspec import Meta

from config.contract.bodies import Answer, Body


class SignUpBody(Body):
    """A new organisation. With `checkout` its owner pays on Stripe's page."""

    org_name: Annotated[str, Meta(min_length=1, max_length=120)]
    email: Annotated[str, Meta(min_length=3, max_length=254)]
    checkout: bool = False


class SignUpAnswer(Answer):
    """The organisation and its trial."""

    org_id: str
    plan_code: str
    trial_ends_at: str
    checkout_url: str | None = None
    activation_code: str | None = None


class PlanMetric(Answer, omit_defaults=False):
    """What a plan includes of one metric; the amount is a decimal in minor units."""

    included_units: int
    overage: str
    overage_unit_amount: str | None


class PlanAnswer(Answer, omit_defaults=False):
    """One plan. `amount` is in minor units; `includedUnits` is of `api_call`."""

    plan_code: str
    name: str
    amount: int
    currency: str
    interval: str
    trial_days: int
    included_units: int
    metrics: dict[str, PlanMetric]


class PlansAnswer(Answer):
    """The plans on sale, cheapest first."""

    plans: list[PlanAnswer]
