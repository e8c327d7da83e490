"""Making notifications: one for each thing that happened, with a delivery for each address."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from billing.invoices import FetchedInvoice
from billing.models import InvoiceRef
from billing.notifications import addresses
from billing.notifications.models import Delivery, Notification, NotificationSettings
from config.contract import clock
from config.contract.bodies import rfc3339
from config.contract.ids import new_id
from quotas.crossings import ThresholdCrossed
from quotas.models import Entitlement, Status

Kind = Notification.Kind
_PAGE = 200


def announce(
    *,
    org_id: str,
    kind: str,
    key: str,
    data: dict[str, Any],
    at: datetime,
    by_mail: bool = True,
) -> Notification | None:
    """Tell an organisation, once for each `key`; None where it was announced before.

    Runs inside the caller's transaction: what happened and that it is to be told
    are written together. `data` is sent as it stands, and holds no personal data;
    `by_mail` False leaves it to the webhook.
    """
    now = clock.real_now()
    try:
        with transaction.atomic():
            made = Notification.objects.create(
                message_id=new_id("msg"),
                org_id=org_id,
                kind=kind,
                key=key,
                data={"orgId": org_id, **data},
                happened_at=at,
                created_at=now,
            )
    except IntegrityError:
        return None
    Delivery.objects.bulk_create(
        Delivery(notification=made, channel=channel, address=address, due_at=now)
        for channel, address in _ways(org_id, by_mail=by_mail)
    )
    return made


def _ways(org_id: str, *, by_mail: bool) -> Iterator[tuple[str, str]]:
    asked = NotificationSettings.objects.filter(org_id=org_id).first()
    if asked is not None and asked.url:
        yield Delivery.Channel.WEBHOOK, ""
    for address in addresses.recipients_of(org_id, asked) if by_mail else ():
        yield Delivery.Channel.EMAIL, address


def announce_crossings() -> int:
    """Announce a page of the thresholds that nobody was told of yet; returns how many it were.

    Of those that were crossed at one stroke a person is mailed the highest; the
    webhook says each.
    """
    with transaction.atomic():
        untold = (
            ThresholdCrossed.objects.filter(told_at=None)
            .order_by("pk")
            .select_for_update(skip_locked=True)
        )
        page = list(untold[:_PAGE])
        highest = {_stroke(one): one.pk for one in sorted(page, key=lambda one: one.percent)}
        for crossed in page:
            announce(
                org_id=crossed.org_id,
                kind=Kind.THRESHOLD_CROSSED,
                key=f"threshold:{crossed.pk}",
                data={
                    "metric": crossed.metric,
                    "periodKey": crossed.period_key,
                    "threshold": crossed.percent,
                    "includedUnits": crossed.units_limit,
                    "used": crossed.used,
                },
                at=crossed.crossed_at,
                by_mail=highest[_stroke(crossed)] == crossed.pk,
            )
        ThresholdCrossed.objects.filter(pk__in=[one.pk for one in page]).update(
            told_at=clock.real_now()
        )
    return len(page)


def _stroke(crossed: ThresholdCrossed) -> tuple[object, ...]:
    return crossed.org_id, crossed.metric, crossed.period_start, crossed.crossed_at


def announce_trial_ends(*, now: datetime) -> int:
    """Announce the trials that end within TRIAL_ENDING_NOTICE; returns how many were new.

    Out of the entitlements, so that it is said of a trial Stripe does not know of too.
    """
    ending = Entitlement.objects.filter(
        status=Status.TRIALING,
        trial_ends_at__gt=now,
        trial_ends_at__lte=now + settings.TRIAL_ENDING_NOTICE,
    ).order_by("pk")
    made = 0
    page: list[Entitlement] = []
    for entitlement in ending.iterator(_PAGE):
        page.append(entitlement)
        if len(page) == _PAGE:
            made += _trial_ends(page, now=now)
            page = []
    return made + _trial_ends(page, now=now)


def _trial_ends(page: list[Entitlement], *, now: datetime) -> int:
    keys = {one.org_id: f"trial:{one.trial_ends_at:%Y-%m-%dT%H:%M:%SZ}" for one in page}
    told = Notification.objects.filter(org_id__in=keys, kind=Kind.TRIAL_ENDING)
    before = set(told.values_list("org_id", "key"))
    made = 0
    for one in page:
        if one.trial_ends_at is None or (one.org_id, keys[one.org_id]) in before:
            continue
        made += bool(
            announce(
                org_id=one.org_id,
                kind=Kind.TRIAL_ENDING,
                key=keys[one.org_id],
                data={"planCode": one.plan_code, "trialEndsAt": rfc3339(one.trial_ends_at)},
                at=now,
            )
        )
    return made


def announce_payment_failed(fetched: FetchedInvoice) -> None:
    """Announce that Stripe could not collect an invoice, where it is still to be paid.

    Runs inside the caller's transaction, after the fetch was written down.
    """
    invoice = fetched.invoice
    if invoice is None or invoice["status"] != "open":
        return
    ref = InvoiceRef.objects.get(stripe_invoice_id=fetched.invoice_id)
    if not ref.org_id:
        return
    announce(
        org_id=ref.org_id,
        kind=Kind.PAYMENT_FAILED,
        key=f"payment:{ref.stripe_invoice_id}:{invoice['attempt_count']}",
        data={
            "invoiceId": ref.stripe_invoice_id,
            "amountDue": ref.amount_due,
            "currency": ref.currency,
        },
        at=clock.now(),
    )
