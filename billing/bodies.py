"""What the billing routes take and answer."""

from typing import Annotated, Literal

import msgspec
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


class ContactBody(Body):
    """What an organisation is called, and where its owner is written to."""

    org_id: Annotated[str, Meta(min_length=1, max_length=30)]
    org_name: Annotated[str, Meta(min_length=1, max_length=120)] | None = None
    email: Annotated[str, Meta(min_length=3, max_length=254)] | None = None


class ContactAnswer(Answer):
    """Name and address; `emailPending` waits for its link to be opened."""

    org_id: str
    org_name: str
    email: str
    email_pending: str | None = None


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


PlanCode = Annotated[str, Meta(min_length=1, max_length=40, examples=["pro"])]
OrgId = Annotated[str, Meta(min_length=1, max_length=30)]


class PreviewBody(Body):
    """What would moving to a plan now cost?"""

    org_id: OrgId
    plan_code: PlanCode
    proration: Literal["always_invoice", "create_prorations", "none"] = "always_invoice"


class PreviewItem(Answer, omit_defaults=False):
    """One line, in minor units; negative is a credit."""

    description: str
    amount: int
    quantity: int
    proration: bool
    period_start: str
    period_end: str


class PreviewQuota(Answer, omit_defaults=False):
    """What the change would do to `api_call`."""

    included_units: int
    used: int
    remaining: int


class PreviewAnswer(Answer, omit_defaults=False):
    """`amount` is due now, or what the next invoice grows by; `prorationDate` is Unix seconds.

    `endsAt` is there only where a cancellation is pending: the change leaves it pending,
    and the subscription still ends then.
    """

    amount: int
    currency: str
    proration: str
    proration_date: int
    items: list[PreviewItem]
    quota: PreviewQuota
    ends_at: str | msgspec.UnsetType = msgspec.UNSET


class UpgradeBody(Body):
    """Move to a dearer plan now; the last two as previewed."""

    org_id: OrgId
    new_plan_code: PlanCode
    proration_date: Annotated[int, Meta(ge=0, le=2**40)] | None = None
    expected_amount: Annotated[int, Meta(ge=-(2**53), le=2**53)] | None = None


class DowngradeBody(Body):
    """Move to a cheaper plan when the billing period ends."""

    org_id: OrgId
    new_plan_code: PlanCode


class CancelBody(Body):
    """End the subscription."""

    org_id: OrgId
    at: Literal["period_end", "now"]


class OrgBody(Body):
    """The organisation to act for."""

    org_id: OrgId


class SubscribeBody(Body):
    """A new subscription after the last one ended."""

    org_id: OrgId
    plan_code: PlanCode


class CheckoutAnswer(Answer):
    """Stripe's page; left out by a replay once it is closed."""

    checkout_url: str | None = None


class QuotaAnswer(Answer, omit_defaults=False):
    """The plan and what is left of `api_call`."""

    plan_code: str
    included_units: int
    used: int
    remaining: int


class SubscribeAnswer(QuotaAnswer, omit_defaults=False):
    """The plan, what is left, and Stripe's status."""

    status: str


class DowngradeAnswer(Answer, omit_defaults=False):
    """When the cheaper plan takes over."""

    effective_at: str
    new_plan_code: str


class KeepPlanAnswer(Answer, omit_defaults=False):
    """Whether there was a downgrade to take back."""

    cancelled: bool


class StateAnswer(Answer, omit_defaults=False):
    """Stripe's status, and when the subscription ends or ended."""

    status: str
    ends_at: str | None


class InvoiceAnswer(Answer, omit_defaults=False):
    """One invoice; `amount` is its total in minor units."""

    id: str
    amount: int
    currency: str
    status: str
    url: str | None
    created: str


class InvoicesAnswer(Answer, omit_defaults=False):
    """One page, newest first."""

    invoices: list[InvoiceAnswer]
    next_cursor: str | None


class InvoicesQuery(Body):
    """`cursor` is the `nextCursor` of the page before."""

    cursor: Annotated[str, Meta(pattern="^[A-Za-z0-9_]{1,255}$")] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 10


class SetupAnswer(Answer, omit_defaults=False):
    """For Stripe.js in the browser; it is stored nowhere."""

    client_secret: str


class PortalBody(Body):
    """Where Stripe's page leads back to: https on an allowed host."""

    org_id: OrgId
    return_url: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None


class UrlAnswer(Answer, omit_defaults=False):
    """A short-lived page of Stripe's."""

    url: str


class PortalLinkAnswer(Answer, omit_defaults=False):
    """A link that is used once, and until when."""

    url: str
    expires_at: str


class StatementQuery(Body):
    """Which period, by its key, such as `2026-11`."""

    period_key: Annotated[str, Meta(min_length=1, max_length=16)]


class StatementDay(Answer, omit_defaults=False):
    """Use of one day (UTC)."""

    date: str
    used: int


class StatementMetric(Answer, omit_defaults=False):
    """included + adjusted - (counted - forgiven) = remaining; `overage` in units past that."""

    included: int
    adjusted: int
    counted: int
    voided: int
    forgiven: int
    used: int
    remaining: int
    overage: int
    days: list[StatementDay]


class PlanChangeRow(Answer, omit_defaults=False):
    """A change of plan within the period."""

    at: str
    was: str = msgspec.field(name="from")
    to: str


class StatementAnswer(Answer, omit_defaults=False):
    """What was used in a period; sealed (`digest`) once it is closed."""

    period_key: str
    status: Literal["open", "closed"]
    metrics: dict[str, StatementMetric]
    plan_changes: list[PlanChangeRow]
    invoice_ids: list[str]
    digest: str | None
    previous_digest: str | None
