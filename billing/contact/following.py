"""Stripe's customer follows our name and address, and we follow what is changed there.

One rule decides who is right: **a change of ours that is still on its way to Stripe wins;
otherwise what Stripe's customer says is taken over.** `contact_version` counts our changes,
`contact_synced` is the last one that Stripe has. A fetch of the customer counts only if ours
was not on its way from before it until it is written down; otherwise the event waits and asks
again. What was taken over is not sent back, so nothing goes to and fro.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db.models import F
from uuid_utils.compat import uuid7

from billing import operations
from billing.contact import rules
from billing.contact.models import EmailChange
from billing.contact.services import write_email
from billing.models import Organization
from billing.stripe_gateway import Gateway, Json, StripeNotFound, StripeRefused
from config.contract import clock
from config.contract.clients import clients
from config.contract.errors import ApiError, Unavailable

logger = structlog.get_logger("metergate.contact")
#: Stripe is asked again after this, and after twice as long each time up to the longest.
_SHORTEST = timedelta(seconds=5)
_LONGEST = timedelta(minutes=10)


class ChangeOnItsWay(Unavailable):
    """Our own change has not reached Stripe yet: ask again in a moment."""

    def __init__(self) -> None:
        super().__init__("A change of the organisation is on its way to Stripe", retry_after=1)


@dataclass(frozen=True, slots=True)
class FetchedCustomer:
    """A customer as Stripe had it; `version` is ours before the fetch, None if on its way."""

    org_id: str
    version: int | None
    customer: Json


def due(*, now: datetime) -> list[str]:
    """Return the organisations whose customer is to be told now, oldest first. Real time."""
    waiting = Organization.objects.filter(contact_due_at__lte=now).order_by("contact_due_at")
    return list(waiting.values_list("org_id", flat=True)[:100])


def follow(org_id: str, *, now: datetime) -> bool:
    """Bring the customer at Stripe up to date; returns whether it is. `now` is real time.

    Safe to run again after a crash at any point: what is sent is the state, not the change.
    One at a time per organisation, or an older state could arrive last.
    """
    # One conditional UPDATE: the doorbell and the sweeper may both be here.
    won = Organization.objects.filter(org_id=org_id, contact_due_at__lte=now).update(
        contact_due_at=now + operations.LEASE
    )
    if not won:
        return False
    organization = Organization.objects.get(org_id=org_id)
    version = organization.contact_version
    gateway: Gateway = clients.stripe
    try:
        gateway.update_customer(
            customer_id=organization.stripe_customer_id,
            name=organization.name,
            email=organization.email,
            # Each try has its own: what is sent is a state, and Stripe would keep a 5xx
            # under a key for a day.
            idempotency_key=f"contact:{uuid7()}",
        )
    except (StripeNotFound, StripeRefused) as refused:
        # Asking again would be refused again. Ours stays; a person has to look.
        logger.error(
            "contact_refused", tenant_id=org_id, param=refused.param, code=refused.stripe_code
        )
        _rest(organization, version)
        return False
    except ApiError as error:
        logger.warning("contact_waits", tenant_id=org_id, code=error.code)
        _wait(organization, now=clock.real_now())
        return False
    _synced(organization, version)
    return True


def fetch(customer_id: str) -> tuple[FetchedCustomer | None, Json]:
    """Fetch a customer, with what we had before. Raises the gateway's errors.

    The first is None where it is nobody's, or deleted. No transaction open.
    """
    organization = Organization.objects.filter(stripe_customer_id=customer_id).first()
    gateway: Gateway = clients.stripe
    try:
        customer = gateway.retrieve_customer(customer_id=customer_id)
    except StripeNotFound:
        customer = {"deleted": True}
    if organization is None or customer.get("deleted"):
        return None, customer
    version = None if organization.contact_on_its_way else organization.contact_version
    return FetchedCustomer(organization.org_id, version, customer), customer


def apply(fetched: FetchedCustomer) -> str:
    """Take over what Stripe's customer says; returns the organisation it is.

    Runs inside the caller's transaction. What is empty at Stripe, or would be refused of
    an owner, is not taken over. Raises ChangeOnItsWay.
    """
    organization = Organization.objects.select_for_update().get(org_id=fetched.org_id)
    name = _taken(organization, "name", fetched.customer.get("name"))
    email = _taken(organization, "email", fetched.customer.get("email"))
    if (name, email) == (organization.name, organization.email):
        return organization.org_id
    if organization.contact_refused:
        # Stripe would not have ours: what it has is what we replaced.
        return organization.org_id
    if organization.contact_on_its_way or fetched.version != organization.contact_version:
        raise ChangeOnItsWay
    if name != organization.name:
        organization.name = name
        organization.save(update_fields=["name"])
    if email != organization.email:
        write_email(organization, email, source=EmailChange.Source.STRIPE, now=clock.real_now())
    logger.info("contact_taken_over", tenant_id=organization.org_id)
    return organization.org_id


def _taken(organization: Organization, field: str, text: str | None) -> str:
    ours: str = getattr(organization, field)
    if not text:
        return ours
    rule = rules.checked_name if field == "name" else rules.checked_email
    try:
        return rule(text)
    except rules.NotTaken:
        logger.error("contact_not_taken_over", tenant_id=organization.org_id, field=field)
        return ours


def _synced(organization: Organization, version: int) -> None:
    rows = Organization.objects.filter(pk=organization.pk)
    # One that was changed meanwhile stays due.
    rows.filter(contact_version=version).update(
        contact_synced=version, contact_due_at=None, contact_tries=0
    )
    rows.filter(contact_version__gt=version).update(
        contact_synced=version, contact_due_at=clock.real_now(), contact_tries=0
    )


def _rest(organization: Organization, version: int) -> None:
    Organization.objects.filter(pk=organization.pk, contact_version=version).update(
        contact_due_at=None
    )
    Organization.objects.filter(pk=organization.pk, contact_version__gt=version).update(
        contact_due_at=clock.real_now()
    )


def _wait(organization: Organization, *, now: datetime) -> None:
    tries = organization.contact_tries
    pause = min(_SHORTEST * 2 ** min(tries, 10), _LONGEST)
    Organization.objects.filter(pk=organization.pk).update(
        contact_due_at=now + pause, contact_tries=F("contact_tries") + 1
    )
