"""Sign-up: a Stripe customer, a trial on the starter plan, and everything that follows from it.

Nothing is visible before Stripe has answered: the organisation, its entitlement,
its counters and its owner's code are written in one transaction at the end. A
failure in between leaves an operation that the retry, or the completer, goes on
with under the same organisation id and the same idempotency keys.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from billing import catalogue, idempotency, operations, prices
from billing.bodies import SignUpBody
from billing.models import Operation, Organization, Plan, Subscription
from billing.stripe_gateway import Gateway
from config.contract import clock
from config.contract.bodies import rfc3339
from config.contract.clients import clients
from config.contract.doorbell import ring
from config.contract.errors import ApiError, ValidationFailed
from config.contract.ids import new_id
from quotas.services import grant
from tokens import access, scopes, secrets
from tokens.models import ActivationCode
from tokens.services import issue_code

logger = structlog.get_logger("metergate.billing")
#: An operation that failed so often is given up: a person has to look at it.
MOST_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class SignedUp:
    """A new organisation. `code` is None where its one-time code is used or over."""

    org_id: str
    plan_code: str
    trial_ends_at: str
    checkout_url: str | None
    code: str | None
    replayed: bool


def sign_up(*, asked: SignUpBody, key: str | None) -> SignedUp:
    """Sign an organisation up, once per Idempotency-Key.

    Raises ValidationFailed, IdempotencyConflict, IdempotencyInProgress, or the
    gateway's 402, 502 and 503, after which a retry with the same key completes
    the same sign-up.
    """
    name, email = _checked(asked)
    real_now = clock.real_now()
    begun = idempotency.begin(
        scope=f"sign_up:{hashlib.sha256(email.lower().encode()).hexdigest()[:40]}",
        key=key,
        body=[name, email.lower(), asked.checkout],
        start=lambda: operations.start(
            kind=Operation.Kind.SIGN_UP,
            org_id=new_id("org"),
            request={"name": name, "email": email, "checkout": asked.checkout},
            now=real_now,
        ),
        now=real_now,
    )
    if begun.replay is not None:
        return _signed_up(begun.operation, begun.replay.response or {}, replayed=True)
    try:
        return complete(begun)
    except ApiError as error:
        idempotency.let_go(begun, error=error.code, now=clock.real_now())
        if begun.key is None:
            # The caller was told no and has no way to ask for this one again.
            give_up(begun.operation, error=error.code)
        raise


def complete(begun: idempotency.Begun) -> SignedUp:
    """Do what is left of a sign-up. Safe to run again after a crash at any point."""
    operation = begun.operation
    plan = Plan.objects.prefetch_related("metrics").get(code=catalogue.TRIAL_PLAN)
    gateway: Gateway = clients.stripe
    with gateway.session():
        customer_id = gateway.ensure_customer(
            org_id=operation.org_id,
            email=operation.request["email"],
            name=operation.request["name"],
            idempotency_key=operations.stripe_key(operation, "customer"),
        )
        subscription = gateway.create_subscription(
            customer_id=customer_id,
            price_id=prices.price_id(plan),
            org_id=operation.org_id,
            trial_days=plan.trial_days,
            idempotency_key=operations.stripe_key(operation, "subscription"),
        )
    with transaction.atomic():
        operation = Operation.objects.select_for_update().get(pk=operation.pk)
        if operation.state == Operation.State.STARTED:
            result = _write(operation, plan, customer_id, subscription)
            operations.finish(operation, result=result, now=clock.real_now())
            transaction.on_commit(lambda: _ring(operation.pk))
        assert operation.result is not None  # noqa: S101 - finished above or by another
        idempotency.keep(begun.key, status=200, response=operation.result)
    return _signed_up(operation, operation.result, replayed=False)


def give_up(operation: Operation, *, error: str) -> None:
    """Close an operation that will not be completed; what Stripe has of it is inert."""
    with transaction.atomic():
        held = Operation.objects.select_for_update().get(pk=operation.pk)
        if held.state == Operation.State.STARTED:
            held.error = error
            held.save(update_fields=["error"])
            operations.finish(held, result={}, now=clock.real_now(), failed=True)


def owners_code(operation: Operation) -> str:
    """Return the owner's one-time code: derived, so that it need not be stored to be shown."""
    return secrets.derived_code(str(operation.uuid))


def _write(
    operation: Operation, plan: Plan, customer_id: str, subscription: dict[str, Any]
) -> dict[str, Any]:
    now = clock.now()
    trial_ends_at = _instant(subscription["trial_end"])
    item = subscription["items"]["data"][0]
    Organization.objects.create(
        org_id=operation.org_id,
        name=operation.request["name"],
        email=operation.request["email"],
        stripe_customer_id=customer_id,
        created_at=now,
    )
    Subscription.objects.create(
        stripe_subscription_id=subscription["id"],
        org_id=operation.org_id,
        stripe_customer_id=customer_id,
        status=subscription["status"],
        plan_code=plan.code,
        stripe_item_id=item["id"],
        current_period_start=_instant(item["current_period_start"]),
        current_period_end=_instant(item["current_period_end"]),
        billing_cycle_anchor=_instant(subscription["billing_cycle_anchor"]),
        trial_ends_at=trial_ends_at,
        created_at=_instant(subscription["created"]),
    )
    access.open_access(operation.org_id, installation_limit=plan.installation_limit)
    grant(
        org_id=operation.org_id,
        plan_code=plan.code,
        status=subscription["status"],
        allowances=catalogue.allowances_of(plan),
        because="sign-up",
        now=now,
        anchor_at=_instant(subscription["billing_cycle_anchor"]),
        trial_ends_at=trial_ends_at,
    )
    issue_code(
        org_id=operation.org_id,
        code=owners_code(operation),
        scopes=scopes.OWNER,
        issued_by="sign-up",
        now=clock.real_now(),
    )
    return {
        "orgId": operation.org_id,
        "planCode": plan.code,
        "trialEndsAt": rfc3339(trial_ends_at),
    }


def _signed_up(operation: Operation, result: dict[str, Any], *, replayed: bool) -> SignedUp:
    code = owners_code(operation)
    usable = ActivationCode.objects.filter(
        code_hash=secrets.hashed(code),
        used_at=None,
        revoked_at=None,
        expires_at__gt=clock.real_now(),
    ).exists()
    return SignedUp(
        org_id=result["orgId"],
        plan_code=result["planCode"],
        trial_ends_at=result["trialEndsAt"],
        checkout_url=result.get("checkoutUrl"),
        code=code if usable else None,
        replayed=replayed,
    )


def _checked(asked: SignUpBody) -> tuple[str, str]:
    name, email = asked.org_name.strip(), asked.email.strip()
    faults: dict[str, list[str]] = {}
    if not name or not name.isprintable():
        faults["orgName"] = ["Expected 1 to 120 printable characters"]
    try:
        validate_email(email)
    except ValidationError:
        faults["email"] = ["Expected an e-mail address"]
    if faults:
        raise ValidationFailed(faults)
    return name, email


def _instant(unix: int) -> datetime:
    return datetime.fromtimestamp(unix, UTC)


def _ring(operation_pk: int) -> None:
    from billing.tasks import mail_owner  # tasks call this module: imported late

    ring(mail_owner, operation_pk)
