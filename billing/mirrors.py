"""Which of an organisation's subscriptions leads, and what may be asked of several of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q

from quotas.models import Status

if TYPE_CHECKING:
    from billing.models import Subscription

#: States that are over for good.
TERMINAL = frozenset({Status.CANCELED, Status.INCOMPLETE_EXPIRED})
#: States in which the customer is charged, or will be when a trial ends.
LIVE = frozenset({Status.TRIALING, Status.ACTIVE, Status.PAST_DUE})


@dataclass(frozen=True, slots=True)
class PaidTwice:
    """An organisation that pays for more than one subscription, of which `leading` grants."""

    org_id: str
    leading: "Subscription"
    others: list["Subscription"]

    def __str__(self) -> str:
        """Name them, as staff look for them."""
        others = ", ".join(one.stripe_subscription_id for one in self.others)
        return (
            f"{self.org_id}: {self.leading.stripe_subscription_id} leads,"
            f" paid for besides: {others}"
        )


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    """Mirrors of subscriptions."""

    def known(self) -> "SubscriptionQuerySet":
        """Those of which a fetch was written down."""
        return self.filter(fetch_applied__gt=0).exclude(status="")

    def running(self) -> "SubscriptionQuerySet":
        """Those that are not over."""
        return self.known().exclude(status__in=TERMINAL)

    def leading(self, *, now: datetime) -> "Subscription | None":
        """Return the one of these that leads at `now`; None where there is none.

        It grants, and it is the one that plan changes are about. Those that give
        access come first (`Subscription.gives_access`), then those that are not
        over; among these the dearer plan (`Plan.rank`), then the newest. What is
        over has no rank: there the newest leads, as what was bought last.
        """
        from billing.models import Plan  # models import this module

        mirrors = list(self.known())
        if len(mirrors) < 2:
            return mirrors[0] if mirrors else None
        codes = {mirror.plan_code_at(now) for mirror in mirrors}
        ranks = {plan.code: plan.rank for plan in Plan.objects.filter(code__in=codes)}

        def precedence(mirror: "Subscription") -> tuple[Any, ...]:
            runs = mirror.status not in TERMINAL
            # Of no rank at all: what is over, and what is on a plan that nobody knows.
            rank = ranks.get(mirror.plan_code_at(now), ()) if runs else ()
            # One that was gone before it was first looked at has no age.
            age = (mirror.created_at is not None, mirror.created_at)
            return mirror.gives_access(now), runs, rank, age, mirror.pk

        return max(mirrors, key=precedence)

    def beside_another(self, *, now: datetime) -> "SubscriptionQuerySet":
        """Those that time alone changed by `now`, where another one of the organisation runs.

        Only there may another one lead now, of which no event would tell.
        """
        others = self.model._default_manager.filter(org_id=OuterRef("org_id"))
        others = others.exclude(pk=OuterRef("pk")).exclude(status__in=[*TERMINAL, ""])
        trial: timedelta = settings.TRIAL_GRACE
        grace: timedelta = settings.PAST_DUE_GRACE
        return self.running().filter(
            Q(scheduled_at__lte=now)
            | Q(cancel_at__lte=now)
            | Q(status=Status.TRIALING, trial_ends_at__lte=now - trial)
            | Q(status=Status.PAST_DUE, past_due_since__lte=now - grace),
            Exists(others),
            ~Q(org_id=""),
        )

    def paid_twice(self, *, now: datetime) -> Iterator[PaidTwice]:
        """Yield the organisations that are charged for more than one of these."""
        others = self.model._default_manager.filter(org_id=OuterRef("org_id"), status__in=LIVE)
        live = self.known().filter(
            Exists(others.exclude(pk=OuterRef("pk"))), ~Q(org_id=""), status__in=LIVE
        )
        for org_id, several in groupby(live.order_by("org_id", "pk"), lambda one: one.org_id):
            leading = self.filter(org_id=org_id).leading(now=now)
            if leading is not None:
                yield PaidTwice(org_id, leading, [one for one in several if one != leading])
