"""Asking Stripe for the overage of one period, by its meter or by an invoice of its own."""

from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.db import transaction

from billing import operations
from billing.changes import standing
from billing.models import Operation, Organization
from billing.stripe_gateway import Gateway, StripeNotFound, StripeRefused, is_metered
from config.contract import clock
from config.contract.clients import clients
from config.contract.errors import ApiError

Json = dict[str, Any]
METER, INVOICE = "meter", "invoice"

#: Stripe forgets idempotency keys and identifiers after a day.
_KEYS_LAST = timedelta(hours=23)
_TAKEN = "duplicate_meter_event"
#: Seconds after which a report that came shows in the sums.
_METERS_LAG = 3600
#: What is reported this long ago is billed by whatever ends the subscription in a moment.
_MINUTE = 60


class NotYetKnown(ApiError):
    """Whether a report came cannot be told yet: Stripe sums it up later."""

    def __init__(self) -> None:
        super().__init__("UNAVAILABLE", "The report cannot be looked for yet", 503)


def amount(units: int, unit_amount: str) -> int:
    """Return what units cost in minor units, half of one rounded up, as Stripe does."""
    exact = Decimal(unit_amount) * units
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def charge(operation: Operation) -> Json:
    """Have the units charged once; again: look what is there and do the rest.

    The subscription's next invoice charges them where it carries the metered price
    they were sold at and renews each month; an invoice of their own does otherwise: it
    is over, on another plan or price, paid by the year, or its current period has a
    report already (Stripe rounds the sum of reports, and each of ours is to be what its
    statement says). Raises the
    gateway's errors, StripeNotFound for `customer` where that was deleted.
    """
    organization = standing.organization(operation.org_id)
    gateway: Gateway = clients.stripe
    with gateway.session():
        result = None
        if operation.request.get("way") != INVOICE:
            result = _by_meter(gateway, operation, organization)
        result = result or _by_invoice(gateway, operation, organization)
    asked = operation.request
    return {
        **result,
        "units": asked["units"],
        "amount": amount(asked["units"], asked["unitAmount"]),
        "currency": asked["currency"],
    }


def _by_meter(gateway: Gateway, operation: Operation, organization: Organization) -> Json | None:
    """Report the units to the meter; None where no invoice would charge them."""
    asked = operation.request
    meters = {one["event_name"]: one["id"] for one in gateway.list_meters()}
    meter_id = meters.get(asked["metric"])
    item = _item(gateway, operation, meter_id)
    if asked.get("way") == METER and _is_stale(operation, item):
        # The period it was reported in is over, or its keys are forgotten.
        if clock.now().timestamp() < asked["timestamp"] + _METERS_LAG:
            raise NotYetKnown
        if meter_id is not None and _was_taken(gateway, operation, organization, meter_id):
            return {"way": METER}
        operations.renew_keys(operation)
        operations.note(operation, way=None)
        operation.refresh_from_db()
        asked = operation.request
    if item is None or not _claims(operation, since=item["current_period_start"]):
        return None
    try:
        gateway.create_meter_event(
            event_name=asked["metric"],
            customer_id=organization.stripe_customer_id,
            value=asked["units"],
            identifier=f"overage:{operation.uuid}",
            timestamp=operation.request["timestamp"],
            idempotency_key=operations.stripe_key(operation, "report"),
        )
    except StripeRefused as refused:
        if refused.stripe_code != _TAKEN:
            raise
    return {"way": METER}


def _item(gateway: Gateway, operation: Operation, meter_id: str | None) -> Json | None:
    """Return the subscription's item that charges this meter at the price it was sold at."""
    mirror = standing.leading(operation.org_id)
    if meter_id is None or mirror is None:
        return None
    try:
        found = gateway.retrieve_subscription(subscription_id=mirror.stripe_subscription_id)
    except StripeNotFound:
        return None
    if found["status"] not in standing.LIVE:
        return None
    for item in found["items"]["data"]:
        price: Json = item["price"]
        if (
            is_metered(item)
            and price["recurring"]["meter"] == meter_id
            # The next invoice of any other would come up to a year later.
            and price["recurring"]["interval"] == "month"
            and Decimal(price["unit_amount_decimal"] or 0)
            == Decimal(operation.request["unitAmount"])
        ):
            charged: Json = item
            return charged
    return None


def _is_stale(operation: Operation, item: Json | None) -> bool:
    age: float = clock.real_now().timestamp() - operation.request["askedAt"]
    if item is None or age > _KEYS_LAST.total_seconds():
        return True
    return bool(operation.request["timestamp"] < item["current_period_start"])


def _was_taken(
    gateway: Gateway, operation: Operation, organization: Organization, meter_id: str
) -> bool:
    start = operation.request["timestamp"] // _MINUTE * _MINUTE
    used = gateway.metered_use(
        meter_id=meter_id,
        customer_id=organization.stripe_customer_id,
        start=start,
        end=start + _MINUTE,
    )
    return used >= int(operation.request["units"])


def _claims(operation: Operation, *, since: int) -> bool:
    """Note when it is reported; False where its billing period has another report already."""
    if operation.request.get("way") == METER:
        return True
    with transaction.atomic():
        Operation.objects.select_for_update().get(pk=operation.pk)
        # Two periods of one organisation, found at once, are worked on one after the other.
        Organization.objects.select_for_update().get(org_id=operation.org_id)
        others = Operation.objects.filter(
            org_id=operation.org_id,
            kind=Operation.Kind.OVERAGE,
            request__metric=operation.request["metric"],
            request__way=METER,
            request__timestamp__gte=since,
        ).exclude(pk=operation.pk)
        if others.exists():
            return False
        at = max(int(clock.now().timestamp()) - _MINUTE, since)
        asked_at = int(clock.real_now().timestamp())
        operations.note(operation, way=METER, timestamp=at, askedAt=asked_at)
    return True


def _by_invoice(gateway: Gateway, operation: Operation, organization: Organization) -> Json:
    """Bill the units on an invoice that holds nothing else.

    The item is put on a draft of ours rather than left for the customer's next
    invoice: what others left waiting there is theirs to bill.
    """
    asked, mark = operation.request, {"operation": str(operation.uuid)}
    customer_id = organization.stripe_customer_id
    item = None
    if asked.get("way") == INVOICE:
        # A lost answer may have left ours behind: it carries our mark.
        item = _marked(gateway.list_invoice_items(customer_id=customer_id), mark)
    else:
        operations.note(operation, way=INVOICE)
    if item is None:
        draft = _draft(gateway, operation, organization, mark)
        item = gateway.create_invoice_item(
            customer_id=customer_id,
            invoice_id=draft["id"],
            currency=asked["currency"],
            unit_amount=asked["unitAmount"],
            quantity=asked["units"],
            description=(
                f"{asked['units']} × {asked['metric']} past the plan in {asked['periodKey']}"
            ),
            metadata=mark,
            idempotency_key=operations.stripe_key(operation, f"item:{draft['id']}"),
        )
    # One without an invoice is an earlier version's: the customer's next invoice bills it.
    if item["invoice"] is not None:
        _finalize(gateway, operation, item["invoice"])
    return {"way": INVOICE, "invoiceItem": item["id"]}


def _draft(
    gateway: Gateway, operation: Operation, organization: Organization, mark: dict[str, str]
) -> Json:
    """Return the draft that carries our mark, made where there is none."""
    customer_id = organization.stripe_customer_id
    return _marked(gateway.list_drafts(customer_id=customer_id), mark) or gateway.create_invoice(
        customer_id=customer_id,
        currency=operation.request["currency"],
        metadata=mark,
        idempotency_key=operations.stripe_key(operation, "draft"),
    )


def _finalize(gateway: Gateway, operation: Operation, invoice_id: str) -> None:
    """Have the invoice collected; one that is on its way already is left as it is."""
    try:
        gateway.finalize_invoice(
            invoice_id=invoice_id,
            idempotency_key=operations.stripe_key(operation, f"finalize:{invoice_id}"),
        )
    except StripeRefused:
        if gateway.retrieve_invoice(invoice_id=invoice_id)["status"] == "draft":
            raise


def _marked(found: list[Json], mark: dict[str, str]) -> Json | None:
    return next(
        (one for one in found if (one["metadata"] or {}).get("operation") == mark["operation"]),
        None,
    )
