"""Asking Stripe about changes that were due and of which nothing was heard.

A trial that ended, a scheduled change, a cancellation: each is applied here by
time alone, provisionally. The state fetched from Stripe wins either way, so it
is asked for: at the instant, and again with growing patience while the instant
still stands in the entitlement.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from billing.models import Subscription
from config.contract import clock
from config.contract.ids import new_request_id
from quotas.models import Entitlement, Status
from webhooks import inbox
from webhooks.events import Arrival
from webhooks.handlers import CONVERGE

#: When to ask, counted from the instant. After the last it is up to the reconciler.
PATIENCE = (
    timedelta(0),
    timedelta(minutes=5),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)
_LIVE = (Status.TRIALING, Status.ACTIVE, Status.PAST_DUE)
_TRIAL = Q(status=Status.TRIALING)
_PAGE = 500


def ask(*, now: datetime) -> int:
    """Put a row into the inbox for each change that should have been heard of by `now`.

    Returns how many were put. Safe to repeat: an instant is asked about once per
    step of patience.
    """
    put = last = 0
    while page := list(_overdue(now).filter(pk__gt=last)[:_PAGE]):
        last = page[-1].pk
        questions = {one.event_id: one for one in _questions(page, now)}
        for event_id in inbox.unknown(questions):
            pk = inbox.put(
                questions[event_id],
                correlation_id=new_request_id(),
                now=now,
                real_now=clock.real_now(),
            )
            put += pk is not None
    return put


def _overdue(now: datetime) -> "QuerySet[Entitlement]":
    return Entitlement.objects.filter(
        Q(scheduled_at__lte=now) | Q(ends_at__lte=now) | _TRIAL & Q(trial_ends_at__lte=now),
        status__in=_LIVE,
    ).order_by("pk")


def _questions(entitlements: list[Entitlement], now: datetime) -> Iterator[Arrival]:
    orgs = [one.org_id for one in entitlements]
    running: dict[str, list[str]] = {}
    for mirror in Subscription.objects.filter(org_id__in=orgs).exclude(
        status__in=Subscription.TERMINAL
    ):
        running.setdefault(mirror.org_id, []).append(mirror.stripe_subscription_id)
    for entitlement in entitlements:
        # A Checkout trial has no subscription yet: billing.checkouts looks after it.
        for subscription_id in running.get(entitlement.org_id, ()):
            yield _question(subscription_id, _latest(entitlement, now), now)


def _question(subscription_id: str, due_at: datetime, now: datetime) -> Arrival:
    step = sum(due_at + patience <= now for patience in PATIENCE)
    return Arrival(
        event_id=f"converge:{subscription_id}:{int(due_at.timestamp())}:{step}",
        type=CONVERGE,
        object_id=subscription_id,
        api_version="",
        created_at=due_at,
        payload=None,
    )


def _latest(entitlement: Entitlement, now: datetime) -> datetime:
    instants = [entitlement.scheduled_at, entitlement.ends_at]
    if entitlement.status == Status.TRIALING:
        instants.append(entitlement.trial_ends_at)
    return max(at for at in instants if at is not None and at <= now)
