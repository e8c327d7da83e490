"""Comparing Stripe, the mirror and the entitlement: what differs, and what may be repaired.

What would change if everything were fetched and written down now is exactly what
differs. Repairing is fetching and writing down: it is safe wherever the mirror or
the entitlement lags behind Stripe. Where Stripe itself is not as it should be, a
person has to look.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import structlog
from django.db import transaction

from billing import convergence, invoices
from billing.changes import standing
from billing.convergence import Fetched
from billing.invoices import FetchedInvoice
from billing.models import InvoiceRef, Organization, Subscription
from billing.stripe_gateway import Gateway, StripeNotFound
from config.contract import clock
from config.contract.clients import clients
from quotas import rules
from quotas.models import Entitlement
from webhooks.found import Found, Reader
from webhooks.models import WebhookEvent
from webhooks.trial import Difference, differences

logger = structlog.get_logger("metergate.reconciliation")
Json = dict[str, Any]
_BECAUSE = "reconciliation"
#: Invoices compared per organisation, the newest.
_INVOICES = 100

#: What may be found, in words. The first five are repaired by fetching again.
SAFE = {
    "missing_mirror": "Stripe has a subscription that is not known here",
    "mirror_differs": "the mirror does not say what Stripe says",
    "missing_invoice": "Stripe has an invoice that is not known here",
    "invoice_differs": "what is known of an invoice is not what Stripe says",
    "entitlement_differs": "the entitlement is not what the subscriptions give",
}
UNSAFE = {
    "customer_gone": "Stripe does not have the customer any more",
    "customer_of_another": "the customer at Stripe names another organisation",
    "several_subscriptions": "more than one subscription is running",
    "unknown_price": "a subscription is on a price that no plan has",
    "unknown_scheduled_price": "a schedule changes a subscription to a price that no plan has",
    "revived": "a subscription that ended here runs at Stripe",
    "access_without_subscription": "there is access, and no subscription that gives it",
    "parked_event": "an event could not be processed",
    "unlinked_subscription": "a subscription runs for a customer who is nobody's",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not agree."""

    org_id: str
    kind: str
    key: str
    detail: str = ""
    repaired: bool = False

    def __str__(self) -> str:
        """Say what, where, and what became of it."""
        words = SAFE.get(self.kind) or UNSAFE[self.kind]
        text = f"{self.org_id or '-'} {self.kind} {self.key}: {words}"
        text += f" ({self.detail})" if self.detail else ""
        return f"{text}, repaired" if self.repaired else text


def reconcile(organization: Organization, *, repair: bool) -> list[Finding]:
    """Compare one organisation; with `repair`, mend what is safe to mend.

    A difference is believed when a second look still finds it: the first may
    have met a change on its way. Raises the gateway's errors.
    """
    gateway: Gateway = clients.stripe
    with gateway.session():
        first = _compare(organization)
    if not first:
        return []
    with gateway.session():
        second = _compare(organization)
        # What was seen twice, as it is now.
        standing = [one for one in second if (one.kind, one.key) in _keys(first)]
        if not repair or not any(one.kind in SAFE for one in standing):
            return standing
        _repair(organization, standing)
    with gateway.session():
        left = _keys(_compare(organization))
    return [
        replace(one, repaired=one.kind in SAFE and (one.kind, one.key) not in left)
        for one in standing
    ]


def loose_ends() -> Iterator[Finding]:
    """Return what no organisation's comparison finds: parked events, nobody's subscriptions."""
    for event in WebhookEvent.objects.filter(state=WebhookEvent.State.PARKED).order_by("pk"):
        yield Finding(event.org_id, "parked_event", event.event_id, event.error)
    unlinked = Subscription.objects.filter(org_id="", fetch_applied__gt=0)
    for mirror in unlinked.exclude(status__in=Subscription.TERMINAL).order_by("pk"):
        detail = mirror.stripe_customer_id
        yield Finding("", "unlinked_subscription", mirror.stripe_subscription_id, detail)


def _keys(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(one.kind, one.key) for one in findings}


def _compare(organization: Organization) -> list[Finding]:
    org_id, customer_id = organization.org_id, organization.stripe_customer_id
    findings = list(_of_customer(organization))
    if any(one.kind == "customer_gone" for one in findings):
        listed: list[Json] = []
        billed: list[FetchedInvoice] = []
    else:
        gateway: Gateway = clients.stripe
        listed = gateway.list_subscriptions(customer_id=customer_id)
        billed = invoices.fetch_latest(customer_id=customer_id, limit=_INVOICES)
    findings += _of_subscriptions(org_id, listed)
    known = set(
        InvoiceRef.objects.filter(org_id=org_id).values_list("stripe_invoice_id", flat=True)
    )
    read = Reader(dry=True)
    found = Found(
        subscriptions=read.subscriptions([*_worth_fetching(listed), *_running(org_id)]),
        # A draft is told of when it is finalised.
        invoices=tuple(
            one
            for one in billed
            if one.invoice and (one.invoice["status"] != "draft" or one.invoice_id in known)
        ),
    )
    for fetched in found.subscriptions:
        findings += _of_prices(org_id, fetched)
    return findings + _classified(org_id, differences(found, because=_BECAUSE, org_id=org_id))


def _of_prices(org_id: str, fetched: Fetched) -> Iterator[Finding]:
    """Name a running subscription that is on a price of no plan, or will be."""
    subscription = fetched.subscription
    if subscription is None or subscription["status"] in Subscription.TERMINAL:
        return
    if convergence.sold_item(subscription) is None:
        ids = [item["price"]["id"] for item in subscription["items"]["data"]]
        yield Finding(org_id, "unknown_price", fetched.subscription_id, ", ".join(ids))
    for phase in convergence.unknown_phases(fetched):
        when = convergence.instant(phase["start_date"])
        detail = f"from {when:%Y-%m-%d} on"
        yield Finding(org_id, "unknown_scheduled_price", fetched.subscription_id, detail)


def _of_customer(organization: Organization) -> Iterator[Finding]:
    org_id, customer_id = organization.org_id, organization.stripe_customer_id
    gateway: Gateway = clients.stripe
    try:
        customer = gateway.retrieve_customer(customer_id=customer_id)
    except StripeNotFound:
        customer = {"deleted": True}
    if customer.get("deleted"):
        yield Finding(org_id, "customer_gone", customer_id)
        return
    named = (customer.get("metadata") or {}).get("org_id")
    if named != org_id:
        yield Finding(org_id, "customer_of_another", customer_id, str(named))


def _of_subscriptions(org_id: str, listed: list[Json]) -> Iterator[Finding]:
    running = [one["id"] for one in listed if one["status"] not in Subscription.TERMINAL]
    if len(running) > 1:
        # The one that leads grants; the others are what somebody has to look at.
        leading = standing.leading_id(org_id)
        key = next((one for one in running if one == leading), running[0])
        states = {one["id"]: one["status"] for one in listed}
        others = ", ".join(f"{one} {states[one]}" for one in running if one != key)
        yield Finding(org_id, "several_subscriptions", key, f"leads; besides it: {others}")
    ended = Subscription.objects.filter(
        stripe_subscription_id__in=running, status__in=Subscription.TERMINAL
    )
    for mirror in ended:
        yield Finding(org_id, "revived", mirror.stripe_subscription_id)
    entitlement = Entitlement.objects.filter(org_id=org_id).first()
    has_access = entitlement is not None and rules.has_access(entitlement, clock.now())
    mirrored = Subscription.objects.filter(org_id=org_id).exists()
    # With a mirror, the entitlement is compared with what the mirrors give.
    if entitlement and has_access and not running and not mirrored and not _on_trial(entitlement):
        yield Finding(org_id, "access_without_subscription", entitlement.plan_code)


def _on_trial(entitlement: Entitlement) -> bool:
    """A Checkout trial runs before there is a subscription."""
    return entitlement.status == "trialing"


def _worth_fetching(listed: list[Json]) -> list[str]:
    """Leave out what has ended on both sides: it cannot change any more."""
    ended = [one["id"] for one in listed if one["status"] in Subscription.TERMINAL]
    settled = set(
        Subscription.objects.filter(
            stripe_subscription_id__in=ended, status__in=Subscription.TERMINAL
        ).values_list("stripe_subscription_id", flat=True)
    )
    return [one["id"] for one in listed if one["id"] not in settled]


def _running(org_id: str) -> list[str]:
    mirrors = Subscription.objects.filter(org_id=org_id).exclude(status__in=Subscription.TERMINAL)
    return list(mirrors.values_list("stripe_subscription_id", flat=True))


def _classified(org_id: str, found: list[Difference]) -> list[Finding]:
    grouped: dict[tuple[str, str], list[Difference]] = {}
    for one in found:
        grouped.setdefault((one.table, one.key), []).append(one)
    findings = []
    for (table, key), several in grouped.items():
        kind = {
            ("subscription", True): "missing_mirror",
            ("subscription", False): "mirror_differs",
            ("invoice", True): "missing_invoice",
            ("invoice", False): "invoice_differs",
        }.get((table, several[0].is_new), "entitlement_differs")
        detail = "; ".join(f"{one.field} {one.before} -> {one.after}" for one in several)
        findings.append(Finding(org_id, kind, key, detail))
    return findings


def _repair(organization: Organization, standing: list[Finding]) -> None:
    """Fetch under numbers what differs, and write it down."""
    read = Reader()
    kinds = {"missing_mirror", "mirror_differs"}
    subscriptions = [one.key for one in standing if one.kind in kinds]
    kinds = {"missing_invoice", "invoice_differs"}
    found = Found(
        subscriptions=read.subscriptions(subscriptions),
        invoices=tuple(read.invoice(one.key) for one in standing if one.kind in kinds),
    )
    with transaction.atomic():
        Organization.objects.select_for_update().get(pk=organization.pk)
        found.apply(because=_BECAUSE)
        convergence.grant_from_mirrors(organization.org_id, because=_BECAUSE)
    for one in standing:
        if one.kind in SAFE:
            logger.warning(
                "reconciliation_repaired", tenant_id=one.org_id, kind=one.kind, key=one.key
            )
