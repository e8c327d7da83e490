"""Invoices, cards and Stripe's own pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from django.conf import settings
from uuid_utils.compat import uuid7

from billing.changes import standing
from billing.models import InvoiceRef, Organization
from billing.stripe_gateway import Gateway, StripeNotFound
from config.contract import clock
from config.contract.clients import clients
from config.contract.errors import NotFound, ValidationFailed

#: By this name we find our configuration of the portal again.
PORTAL_NAME = "Metergate: cards and invoices"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class InvoicePage:
    """One page of Stripe's invoices, newest first."""

    invoices: list[Json]
    next_cursor: str | None


def list_invoices(*, org_id: str, cursor: str | None, limit: int) -> InvoicePage:
    """Return a page of the organisation's invoices; the cursor is Stripe's last id.

    Raises ValidationFailed for a cursor that is none of its invoices, NotFound.
    """
    organization = standing.organization(org_id)
    gateway: Gateway = clients.stripe
    with gateway.session(org_id=org_id), _of_customer():
        if cursor is not None and not _is_theirs(gateway, organization, cursor):
            raise ValidationFailed({"cursor": ["Not a cursor of this list"]})
        page = gateway.list_invoices(
            customer_id=organization.stripe_customer_id, limit=limit, starting_after=cursor
        )
    found: list[Json] = page["data"]
    return InvoicePage(found, found[-1]["id"] if page["has_more"] and found else None)


def start_setup(*, org_id: str) -> str:
    """Return the client secret with which the browser attaches a card. It is kept nowhere.

    Raises NotFound.
    """
    organization = standing.organization(org_id)
    gateway: Gateway = clients.stripe
    with gateway.session(org_id=org_id), _of_customer():
        intent = gateway.create_setup_intent(
            customer_id=organization.stripe_customer_id,
            # Each call is meant to make a new one: nothing is charged by it.
            idempotency_key=f"setup:{uuid7()}",
        )
    secret: str = intent["client_secret"]
    return secret


def open_portal(
    *,
    org_id: str,
    return_url: str | None,
    flow: Literal["payment_method_update"] | None = None,
) -> str:
    """Return the URL of Stripe's portal for the organisation; `flow` leads to one page of it.

    `return_url` must be https on a host of ALLOWED_RETURN_HOSTS (or this
    installation's own); without one the portal leads to a page of ours. Raises
    ValidationFailed, NotFound.
    """
    organization = standing.organization(org_id)
    own = f"{settings.PUBLIC_URL}/portal/billing/done"
    back = _checked(return_url) if return_url is not None else own
    gateway: Gateway = clients.stripe
    with gateway.session(org_id=org_id), _of_customer():
        session = gateway.create_portal_session(
            customer_id=organization.stripe_customer_id,
            return_url=back,
            configuration_id=_configuration(gateway),
            idempotency_key=f"portal:{uuid7()}",
            flow=flow,
        )
    url: str = session["url"]
    return url


@contextmanager
def _of_customer() -> Iterator[None]:
    """Say 404 where the customer was deleted at Stripe; it is not made again."""
    try:
        yield
    except StripeNotFound as missing:
        if missing.param != "customer":
            raise
        raise NotFound("The customer was deleted at the payment provider") from None


def _is_theirs(gateway: Gateway, organization: Organization, invoice_id: str) -> bool:
    """Tell whether an invoice is the organisation's: Stripe takes any as a cursor."""
    known = InvoiceRef.objects.filter(stripe_invoice_id=invoice_id).exclude(org_id="").first()
    if known is not None:
        return known.org_id == organization.org_id
    try:
        found = gateway.retrieve_invoice(invoice_id=invoice_id)
    except StripeNotFound:
        return False
    return bool(found["customer"] == organization.stripe_customer_id)


def _configuration(gateway: Gateway) -> str:
    for one in gateway.list_portal_configurations():
        if one.get("name") == PORTAL_NAME:
            return str(one["id"])
    made = gateway.create_portal_configuration(
        name=PORTAL_NAME,
        # Two processes that find none make one. Stripe keeps a 500 under its key for a
        # day: a minute later it is asked under another.
        idempotency_key=f"portal-configuration:{int(clock.real_now().timestamp()) // 60}",
    )
    return str(made["id"])


def _checked(url: str) -> str:
    wrong = ValidationFailed({"returnUrl": ["Expected https on an allowed host"]})
    if any(ord(character) <= 32 or character == "\\" for character in url):
        raise wrong
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        _ = parts.port  # raises where it is none
    except ValueError:
        raise wrong from None
    own = urlsplit(settings.PUBLIC_URL)
    if (parts.scheme, parts.netloc) == (own.scheme, own.netloc):
        return url
    allowed = host in settings.ALLOWED_RETURN_HOSTS
    if parts.scheme != "https" or not allowed or parts.username is not None:
        raise wrong
    return url
