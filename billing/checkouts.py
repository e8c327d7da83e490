"""Sign-up over Stripe's Checkout page: the trial starts now, the subscription comes later.

Until the owner completes the page there is nothing at Stripe to mirror: the
entitlement is a trial of our own, with the end that the page was given. When
the page is completed Stripe makes the subscription, with that same end and the
organisation's id in its metadata, and its webhook is applied like any other.

The page's URL lets whoever has it act for the customer, so it is not stored: a
replay asks Stripe for it again, and leaves it out once the page is closed.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction

from billing import catalogue, convergence, operations
from billing.models import Operation, Organization, Plan, Subscription
from billing.overage.deal import overage_prices
from billing.stripe_gateway import Gateway, StripeKeyRefused, StripeNotFound, StripeRefused
from config.contract import clock
from config.contract.clients import clients
from config.contract.errors import ApiError, Unavailable
from quotas.models import Entitlement, Status
from quotas.services import grant
from tokens import access

logger = structlog.get_logger("metergate.billing")

#: Stripe wants a trial's end at least 48 hours ahead; an hour more for its clock and ours.
LEAST_AHEAD = timedelta(hours=49)
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Opened:
    """A page that was made. `url` is None where it is closed already."""

    session_id: str
    url: str | None
    trial_ends_at: datetime


def open_page(
    operation: Operation,
    plan: Plan,
    *,
    customer_id: str,
    price_id: str,
    metered_price_ids: Sequence[str] = (),
) -> Opened:
    """Make the page of a sign-up; again with the same operation: the same page.

    Raises the gateway's errors.
    """
    trial_end = _trial_end(operation, plan)
    session = _page(
        operation,
        customer_id=customer_id,
        price_id=price_id,
        metered_price_ids=metered_price_ids,
        trial_end=trial_end,
    )
    return Opened(session["id"], session["url"], convergence.instant(trial_end))


def open_another_page(
    operation: Operation,
    *,
    customer_id: str,
    price_id: str,
    metered_price_ids: Sequence[str],
    now: datetime,
) -> str:
    """Make a fresh page for a sign-up whose first one was not completed; returns its id.

    The trial's end is kept. Stripe takes none that is less than two days ahead: what
    is left is then rounded up to whole days from the page's completion, so that
    nobody gets less than was promised. Of a trial that is over nothing is left: the page
    is paid at once. Raises the gateway's errors.
    """
    session = _page(
        operation,
        customer_id=customer_id,
        price_id=price_id,
        metered_price_ids=metered_price_ids,
        # By this a lost answer's page is known again.
        metadata={"operation": str(operation.uuid)},
        **_what_is_left(operation.org_id, now=now),
    )
    return str(session["id"])


def close_pages(operation: Operation, *, customer_id: str) -> str | None:
    """Close the organisation's open pages; returns the id of the one `operation` made before.

    That one stays open. Of one that is completed meanwhile nothing is closed: what it
    made is for the caller to look for. Raises the gateway's errors.
    """
    gateway: Gateway = clients.stripe
    ours = None
    try:
        pages = gateway.list_open_checkout_sessions(customer_id=customer_id)
    except StripeNotFound:
        return None  # the customer was deleted, and the pages with it
    for session in pages:
        marks = session["metadata"] or {}
        if session["mode"] != "subscription" or marks.get("org_id") != operation.org_id:
            continue  # a page of something else that is sold to this customer
        if marks.get("operation") == str(operation.uuid):
            ours = str(session["id"])
            continue
        with suppress(StripeRefused):
            gateway.expire_checkout_session(
                session_id=session["id"],
                idempotency_key=operations.stripe_key(operation, f"close:{session['id']}"),
            )
    return ours


def url_of(session_id: str) -> str | None:
    """Ask Stripe for the URL of a page; None once it is completed or expired.

    Raises the gateway's errors, so that a client asks again and gets the same answer.
    """
    gateway: Gateway = clients.stripe
    try:
        session: dict[str, Any] = gateway.retrieve_checkout_session(session_id=session_id)
    except StripeNotFound:
        return None
    return session["url"] if session["status"] == "open" else None


def start_trial(org_id: str, plan: Plan, *, ends_at: datetime, now: datetime) -> None:
    """Grant the trial that no subscription stands behind yet. In the caller's transaction."""
    access.open_access(org_id, installation_limit=plan.installation_limit)
    grant(
        org_id=org_id,
        plan_code=plan.code,
        status=Status.TRIALING,
        allowances=catalogue.allowances_of(plan),
        overage_prices=overage_prices(plan),
        because="sign-up",
        now=now,
        # Where Stripe will count the billing periods from.
        anchor_at=ends_at,
        period_rule=catalogue.period_rule_of(plan),
        trial_ends_at=ends_at,
    )


def end_trials(*, now: datetime) -> int:
    """End the trials that ran out with no subscription known here; returns how many ended.

    Stripe is asked first: the page may have been completed and its webhook lost.
    Raises Unavailable where Stripe is away, StripeKeyRefused; what was done until then stays done.
    """
    mirrored = Subscription.objects.exclude(org_id="").values("org_id")
    over = (
        Entitlement.objects.filter(status=Status.TRIALING, trial_ends_at__lte=now)
        .exclude(org_id__in=mirrored)
        .order_by("trial_ends_at")
    )
    ended = 0
    for entitlement in over[:_AT_ONCE]:
        try:
            made = made_by_the_page(entitlement.org_id)
            if made is None:
                ended += _end_trial(entitlement, now=now)
            else:
                convergence.converge(made, because="checkout completed")
        except (Unavailable, StripeKeyRefused):
            raise
        except ApiError as error:
            # One that cannot be settled must not keep the others waiting.
            logger.error(
                "checkout_trial_stuck", org_id=entitlement.org_id, error=type(error).__name__
            )
    return ended


def made_by_the_page(org_id: str) -> str | None:
    """Return the newest subscription that Stripe has of the organisation, if it has one."""
    customer_id = Organization.objects.get(org_id=org_id).stripe_customer_id
    gateway: Gateway = clients.stripe
    try:
        known = gateway.list_subscriptions(customer_id=customer_id)
    except StripeNotFound:
        return None  # the customer was deleted
    return str(known[0]["id"]) if known else None


def _end_trial(entitlement: Entitlement, *, now: datetime) -> bool:
    org_id = entitlement.org_id
    with transaction.atomic():
        Organization.objects.select_for_update().get(org_id=org_id)
        if Subscription.objects.filter(org_id=org_id).exists():
            return False  # its webhook came while we asked
        stop_trial(entitlement, because="the trial ended and Checkout was not completed", now=now)
    logger.info("checkout_trial_ended", org_id=org_id)
    return True


def stop_trial(entitlement: Entitlement, *, because: str, now: datetime) -> None:
    """End a trial that no subscription stands behind. In the caller's transaction."""
    plan = Plan.objects.prefetch_related("metrics").get(code=entitlement.plan_code)
    grant(
        org_id=entitlement.org_id,
        plan_code=plan.code,
        status=Status.CANCELED,
        allowances=catalogue.allowances_of(plan),
        overage_prices=overage_prices(plan),
        because=because,
        now=now,
        anchor_at=entitlement.anchor_at,
        period_rule=catalogue.period_rule_of(plan),
        trial_ends_at=entitlement.trial_ends_at,
    )


def _page(operation: Operation, **sold: Any) -> dict[str, Any]:
    gateway: Gateway = clients.stripe
    return gateway.create_checkout_session(
        org_id=operation.org_id,
        success_url=f"{settings.PUBLIC_URL}/portal/checkout/done",
        cancel_url=f"{settings.PUBLIC_URL}/portal/checkout/left",
        idempotency_key=operations.stripe_key(operation, "checkout"),
        **sold,
    )


def _what_is_left(org_id: str, *, now: datetime) -> dict[str, int]:
    entitlement = Entitlement.objects.get(org_id=org_id)
    ends_at = entitlement.trial_ends_at
    if entitlement.status != Status.TRIALING or ends_at is None or ends_at <= now:
        return {}
    if ends_at - now >= LEAST_AHEAD:
        return {"trial_end": int(ends_at.timestamp())}
    return {"trial_days": math.ceil((ends_at - now) / timedelta(days=1))}


def _trial_end(operation: Operation, plan: Plan) -> int:
    """Return the trial's end in Unix seconds: chosen once, kept for every retry.

    One that came too near while the sign-up lay broken is chosen anew; the page
    is then another one, under another key.
    """
    now = clock.now()
    held: int | None = operation.request.get("trialEnd")
    if held is not None and held >= (now + LEAST_AHEAD).timestamp():
        return held
    if held is not None:
        operations.renew_keys(operation)
        operation.refresh_from_db()
    chosen = int((now + timedelta(days=plan.trial_days)).timestamp())
    operation.request["trialEnd"] = chosen
    operation.save(update_fields=["request"])
    return chosen
