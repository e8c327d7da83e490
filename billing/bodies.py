"""What the billing routes take and answer."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from config.contract.bodies import Answer, Body
from config.contract.fields import (
    Currency,
    Date,
    Instant,
    NamedOrg,
    OrgId,
    Overage,
    PeriodKey,
    Remaining,
    Status,
    Url,
    described,
)

Email = Annotated[str, Meta(min_length=3, max_length=254, extra_json_schema={"format": "email"})]


class SignUpBody(Body):
    """A new organisation. With `checkout` its owner pays on Stripe's page."""

    org_name: Annotated[str, Meta(min_length=1, max_length=120)]
    email: Email
    checkout: bool = False


class SignUpAnswer(Answer):
    """The organisation and its trial."""

    org_id: OrgId
    plan_code: str
    trial_ends_at: Instant
    checkout_url: Url | None = None
    activation_code: str | None = None


class ContactBody(Body):
    """What an organisation is called, and where its owner is written to."""

    org_id: NamedOrg
    org_name: Annotated[str, Meta(min_length=1, max_length=120)] | None = None
    email: Email | None = None


class ContactAnswer(Answer):
    """Name and address; `emailPending` waits for its link to be opened."""

    org_id: OrgId
    org_name: str
    email: str
    email_pending: str | None = None


class PlanMetric(Answer, omit_defaults=False):
    """What a plan includes of one metric; the amount is a decimal in minor units."""

    included_units: int
    overage: Overage
    overage_unit_amount: Annotated[str, described(pattern=r"^[0-9]+(\.[0-9]+)?$")] | None


class PlanAnswer(Answer, omit_defaults=False):
    """One plan. `amount` is in minor units; `includedUnits` is of `api_call`."""

    plan_code: str
    name: str
    amount: int
    currency: Currency
    interval: str
    trial_days: int
    included_units: int
    metrics: dict[str, PlanMetric]


class PlansAnswer(Answer):
    """The plans on sale, cheapest first."""

    plans: list[PlanAnswer]


PlanCode = Annotated[str, Meta(min_length=1, max_length=40, examples=["pro"])]


class PreviewBody(Body):
    """What would moving to a plan now cost?"""

    org_id: NamedOrg
    plan_code: PlanCode
    proration: Literal["always_invoice", "create_prorations", "none"] = "always_invoice"


class PreviewItem(Answer, omit_defaults=False):
    """One line, in minor units; negative is a credit."""

    description: str
    amount: int
    quantity: int
    proration: bool
    period_start: Instant
    period_end: Instant


class PreviewQuota(Answer, omit_defaults=False):
    """What the change would do to `api_call`."""

    included_units: int
    used: int
    remaining: Remaining


class PreviewAnswer(Answer, omit_defaults=False):
    """`amount` is due now, or what the next invoice grows by; `prorationDate` is Unix seconds.

    `endsAt` is there only where a cancellation is pending: the change leaves it pending,
    and the subscription still ends then.
    """

    amount: int
    currency: Currency
    proration: Annotated[str, described(enum=["always_invoice", "create_prorations", "none"])]
    proration_date: int
    items: list[PreviewItem]
    quota: PreviewQuota
    ends_at: Instant | msgspec.UnsetType = msgspec.UNSET


class UpgradeBody(Body):
    """Move to a dearer plan now; the last two as previewed."""

    org_id: NamedOrg
    new_plan_code: PlanCode
    proration_date: Annotated[int, Meta(ge=0, le=2**40)] | None = None
    expected_amount: Annotated[int, Meta(ge=-(2**53), le=2**53)] | None = None


class DowngradeBody(Body):
    """Move to a cheaper plan when the billing period ends."""

    org_id: NamedOrg
    new_plan_code: PlanCode


class CancelBody(Body):
    """End the subscription."""

    org_id: NamedOrg
    at: Literal["period_end", "now"]


class OrgBody(Body):
    """The organisation to act for."""

    org_id: NamedOrg


class SubscribeBody(Body):
    """A new subscription after the last one ended."""

    org_id: NamedOrg
    plan_code: PlanCode


class CheckoutAnswer(Answer):
    """Stripe's page; left out by a replay once it is closed."""

    checkout_url: Url | None = None


class QuotaAnswer(Answer, omit_defaults=False):
    """The plan and what is left of `api_call`."""

    plan_code: str
    included_units: int
    used: int
    remaining: Remaining


class SubscribeAnswer(QuotaAnswer, omit_defaults=False):
    """The plan, what is left, and Stripe's status."""

    status: Status


class DowngradeAnswer(Answer, omit_defaults=False):
    """When the cheaper plan takes over."""

    effective_at: Instant
    new_plan_code: str


class KeepPlanAnswer(Answer, omit_defaults=False):
    """Whether there was a downgrade to take back."""

    cancelled: bool


class StateAnswer(Answer, omit_defaults=False):
    """Stripe's status, and when the subscription ends or ended."""

    status: Status
    ends_at: Instant | None


class InvoiceAnswer(Answer, omit_defaults=False):
    """One invoice; `amount` is its total in minor units."""

    id: str
    amount: int
    currency: Currency
    status: str
    url: Url | None
    created: Instant


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

    org_id: NamedOrg
    return_url: (
        Annotated[
            str,
            Meta(min_length=1, max_length=2048, extra_json_schema={"format": "uri"}),
        ]
        | None
    ) = None


class UrlAnswer(Answer, omit_defaults=False):
    """A short-lived page of Stripe's."""

    url: Url


class PortalLinkAnswer(Answer, omit_defaults=False):
    """A link that is used once, and until when."""

    url: Url
    expires_at: Instant


class StatementQuery(Body):
    """Which period, by its key, such as `2026-11`."""

    period_key: Annotated[str, Meta(min_length=1, max_length=16)]


class StatementDay(Answer, omit_defaults=False):
    """Use of one day (UTC)."""

    date: Date
    used: int


class StatementMetric(Answer, omit_defaults=False):
    """included + adjusted - (counted - forgiven) = remaining; `overage` in units past that."""

    included: int
    adjusted: int
    counted: int
    voided: int
    forgiven: int
    used: int
    remaining: Remaining
    overage: int
    days: list[StatementDay]


class PlanChangeRow(Answer, omit_defaults=False):
    """A change of plan within the period."""

    at: Instant
    was: str = msgspec.field(name="from")
    to: str


class StatementAnswer(Answer, omit_defaults=False):
    """What was used in a period; sealed (`digest`) once it is closed."""

    period_key: PeriodKey
    status: Literal["open", "closed"]
    metrics: dict[str, StatementMetric]
    plan_changes: list[PlanChangeRow]
    invoice_ids: list[str]
    digest: str | None
    previous_digest: str | None
