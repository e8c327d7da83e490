"""Cancelling, and taking that back."""

from contextlib import suppress
from typing import Any

from billing import checkouts, convergence, operations
from billing.changes import schedules, sight, standing
from billing.changes.engine import Json, Work
from billing.changes.payment import charging
from billing.models import Operation
from billing.stripe_gateway import CardDeclined, Gateway, StripeNotFound
from config.contract import clock
from config.contract.bodies import rfc3339
from config.contract.clients import clients
from quotas.models import Entitlement, Status


def cancel(operation: Operation) -> Work:
    """End the subscription, at the end of its period or now.

    A sign-up by Checkout may be cancelled before it has one: its page is closed.
    """
    gateway: Gateway = clients.stripe
    with gateway.session(org_id=operation.org_id):
        if standing.awaits_checkout(operation.org_id):
            # First of all: what is closed cannot be completed while we look.
            checkouts.close_pages(
                operation,
                customer_id=standing.organization(operation.org_id).stripe_customer_id,
            )
            if sight.named(operation) is None:
                return _leave_checkout(operation)
        subscription = sight.look(operation)
        if subscription is not None and not sight.is_over(subscription):
            schedules.release(gateway, operation, subscription)
            if operation.request["at"] == "now":
                _end(gateway, subscription)
            elif not subscription["cancel_at_period_end"]:
                _cancel_at_end(gateway, operation, subscription, cancel=True)
        after = convergence.fetch(operation.request["subscription"])
    return Work(after, lambda: state(after.subscription_id))


def resume(operation: Operation) -> Work:
    """Undo a pending cancellation, or start a paused subscription again."""
    gateway: Gateway = clients.stripe
    with gateway.session(org_id=operation.org_id):
        subscription = sight.alive(operation)
        if subscription["status"] == Status.PAUSED:
            try:
                with charging(operation.org_id):
                    _wake(gateway, operation, subscription)
            except CardDeclined:
                # It stays paused, but Stripe billed it: its period and anchor are others now.
                sight.look(operation)
                raise
        elif subscription["cancel_at"] is not None:
            _cancel_at_end(gateway, operation, subscription, cancel=False)
        after = convergence.fetch(subscription["id"])
    return Work(after, lambda: state(after.subscription_id))


def _leave_checkout(operation: Operation) -> Work:
    """Let the trial of a sign-up end by itself at its time, or now. Nothing is ever charged."""
    entitlement = Entitlement.objects.get(org_id=operation.org_id)
    if entitlement.status != Status.TRIALING:
        raise standing.nothing_runs(operation.org_id)

    def result() -> Json:
        if operation.request["at"] == "period_end":
            ends_at = entitlement.trial_ends_at
            return {"status": entitlement.status, "endsAt": rfc3339(ends_at) if ends_at else None}
        now = clock.now()
        checkouts.stop_trial(entitlement, because="cancelled before Checkout", now=now)
        return {"status": Status.CANCELED, "endsAt": rfc3339(now)}

    return Work(None, result)


def state(subscription_id: str) -> Json:
    """Return `{status, endsAt}` as it is written down."""
    mirror = sight.mirror_of(subscription_id)
    ends = mirror.ended_at or mirror.cancel_at
    return {"status": mirror.status, "endsAt": rfc3339(ends) if ends else None}


def _end(gateway: Gateway, subscription: Json) -> None:
    # It may have ended between our look and this.
    with suppress(StripeNotFound):
        # What was reported to its meters is billed: no renewal will do it.
        gateway.cancel_subscription(subscription_id=subscription["id"], invoice_now=True)


def _cancel_at_end(
    gateway: Gateway, operation: Operation, subscription: Json, *, cancel: bool
) -> None:
    gateway.set_cancel_at_period_end(
        subscription_id=subscription["id"],
        cancel=cancel,
        idempotency_key=operations.stripe_key(operation, "cancel" if cancel else "resume"),
    )


def _wake(gateway: Gateway, operation: Operation, subscription: Json) -> None:
    """Bill a paused subscription again. Raises CardDeclined where that is not paid.

    Stripe leaves it paused until the invoice of its resumption is paid. One that
    an earlier try left open is paid, rather than a second one made.
    """
    invoice = _open_invoice(gateway, subscription["latest_invoice"])
    if invoice is None:
        resumed = gateway.resume_subscription(
            subscription_id=subscription["id"],
            idempotency_key=operations.stripe_key(operation, "resume"),
        )
        if resumed["status"] != Status.PAUSED:
            return
        invoice = _open_invoice(gateway, resumed["latest_invoice"])
    if invoice is not None:
        gateway.pay_invoice(
            invoice_id=invoice["id"],
            idempotency_key=operations.stripe_key(operation, f"pay:{invoice['id']}"),
        )


def _open_invoice(gateway: Gateway, reference: Any) -> Json | None:
    if reference is None:
        return None
    found: Json = (
        reference if isinstance(reference, dict) else gateway.retrieve_invoice(invoice_id=reference)
    )
    return found if found["status"] == "open" else None
