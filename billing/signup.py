"""Sign-up: a Stripe customer, a trial on the starter plan, and everything that follows from it.

Nothing is visible before Stripe has answered: the organisation, its entitlement,
its counters and its owner's code are written in one transaction at the end. A
failure in between leaves an operation that the retry, or the completer, goes on
with under the same organisation id and the same idempotency keys.

With `checkout` there is no subscription yet: Stripe makes it when the owner
completes the page, and its webhook brings it here (billing.checkouts).
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from billing import catalogue, checkouts, convergence, idempotency, operations, prices
from billing.bodies import SignUpBody
from billing.checkouts import Opened
from billing.contact.services import read as read_contact
from billing.convergence import Fetched
from billing.models import Operation, Organization, Plan
from billing.stripe_gateway import Gateway, StripeFailed, StripeRefused
from config.contract import clock
from config.contract.bodies import rfc3339
from config.contract.clients import clients
from config.contract.doorbell import ring
from config.contract.errors import ApiError, Unavailable
from config.contract.ids import new_id
from quotas.models import Entitlement
from tokens import scopes, secrets
from tokens.models import ActivationCode
from tokens.services import issue_code

#: An operation that failed so often is given up, until somebody retries it.
MOST_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class SignedUp:
    """A new organisation.

    `code` is None where its one-time code is used or over, `checkout_url` where
    the page is closed, or was never asked for.
    """

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
        scope=key_scope(email),
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
        result = idempotency.stored_answer(begun.replay)
        url = checkouts.url_of(result["checkoutSession"]) if asked.checkout else None
        return _signed_up(begun.operation, result, url=url, replayed=True)
    try:
        return complete(begun)
    except ApiError as error:
        if idempotency.is_decided(error):
            give_up(begun, error=error.code, refusal=error)
        elif begun.key is None:
            # The caller was told no and has no way to ask for this one again.
            give_up(begun, error=error.code)
        else:
            idempotency.let_go(begun, error=error.code, now=clock.real_now())
        raise


def complete(begun: idempotency.Begun) -> SignedUp:
    """Do what is left of a sign-up. Safe to run again after a crash at any point.

    Raises the gateway's errors.
    """
    operation = begun.operation
    plan = Plan.objects.prefetch_related("metrics").get(code=catalogue.TRIAL_PLAN)
    try:
        customer_id, made = _ask_stripe(operation, plan)
    except (StripeFailed, StripeRefused) as error:
        # Stripe keeps such an answer under its key for a day. Under new keys the
        # next try looks first whether the old ones took effect.
        operations.renew_keys(operation)
        prices.forget_if_refused(plan, error)
        raise
    with transaction.atomic():
        operation = Operation.objects.select_for_update().get(pk=operation.pk)
        if operation.state == Operation.State.STARTED:
            result = _write(operation, plan, customer_id, made)
            operations.finish(operation, result=result, now=clock.real_now())
            transaction.on_commit(lambda: _ring(operation.pk))
        if not operation.result:
            raise Unavailable  # given up meanwhile: a retry opens it again
        idempotency.keep(begun.key, status=200, response=operation.result)
    url = made.url if isinstance(made, Opened) else None
    return _signed_up(operation, operation.result, url=url, replayed=False)


def give_up(begun: idempotency.Begun, *, error: str, refusal: ApiError | None = None) -> None:
    """Close an operation that will not be completed; what Stripe has of it is inert.

    A decided `refusal` is remembered for the key. Otherwise a retry opens it again.
    """
    with transaction.atomic():
        held = Operation.objects.select_for_update().get(pk=begun.operation.pk)
        if held.state == Operation.State.STARTED:
            held.error = error
            held.save(update_fields=["error"])
            operations.finish(held, result={}, now=clock.real_now(), failed=True)
            if refusal is not None:
                idempotency.keep_refusal(begun.key, refusal)


def key_scope(email: str) -> str:
    """Return what Idempotency-Keys of sign-ups are scoped by: route and normalised address."""
    return f"sign_up:{hashlib.sha256(email.lower().encode()).hexdigest()[:40]}"


def owners_code(operation: Operation) -> str:
    """Return the owner's one-time code: derived, so that it need not be stored to be shown."""
    return secrets.derived_code(str(operation.uuid))


def _ask_stripe(operation: Operation, plan: Plan) -> tuple[str, Fetched | Opened]:
    gateway: Gateway = clients.stripe
    with gateway.session():
        customer_id = gateway.ensure_customer(
            org_id=operation.org_id,
            email=operation.request["email"],
            name=operation.request["name"],
            idempotency_key=operations.stripe_key(operation, "customer"),
        )
        price_id = prices.price_id(plan)
        if operation.request["checkout"]:
            opened = checkouts.open_page(
                operation,
                plan,
                customer_id=customer_id,
                price_id=price_id,
                metered_price_ids=prices.metered_price_ids(plan),
            )
            return customer_id, opened
        return customer_id, _subscribed(operation, plan, customer_id, price_id)


def _subscribed(operation: Operation, plan: Plan, customer_id: str, price_id: str) -> Fetched:
    gateway: Gateway = clients.stripe
    made = _made_before(operation, customer_id) or gateway.create_subscription(
        customer_id=customer_id,
        price_id=price_id,
        metered_price_ids=prices.metered_price_ids(plan),
        org_id=operation.org_id,
        trial_days=plan.trial_days,
        idempotency_key=operations.stripe_key(operation, "subscription"),
    )
    number = convergence.take_number(made["id"])
    if number == 1:
        # The number is from after the making, and nobody has asked before: whatever
        # changes after its making is fetched under a higher number.
        return Fetched(made["id"], number, made)
    return convergence.fetch(made["id"], number=number)


def _made_before(operation: Operation, customer_id: str) -> dict[str, Any] | None:
    """Find what an earlier try made, whose answer was lost and whose key may be too."""
    if operation.attempts < 2:
        return None
    gateway: Gateway = clients.stripe
    for subscription in gateway.list_subscriptions(customer_id=customer_id):
        if subscription["metadata"].get("org_id") == operation.org_id:
            return subscription
    return None


def _write(
    operation: Operation, plan: Plan, customer_id: str, made: Fetched | Opened
) -> dict[str, Any]:
    now = clock.now()
    org_id = operation.org_id
    Organization.objects.create(
        org_id=org_id,
        name=operation.request["name"],
        email=operation.request["email"],
        stripe_customer_id=customer_id,
        created_at=now,
    )
    if isinstance(made, Opened):
        checkouts.start_trial(org_id, plan, ends_at=made.trial_ends_at, now=now)
    else:
        convergence.apply(made, because="sign-up")
    issue_code(
        org_id=org_id,
        code=owners_code(operation),
        scopes=scopes.OWNER,
        issued_by="sign-up",
        now=clock.real_now(),
    )
    # What was granted, and not what was asked for: an event may have known more.
    entitlement = Entitlement.objects.get(org_id=org_id)
    assert entitlement.trial_ends_at is not None  # noqa: S101 - the plan has a trial
    result = {
        "orgId": org_id,
        "planCode": entitlement.plan_code,
        "trialEndsAt": rfc3339(entitlement.trial_ends_at),
    }
    return result | ({"checkoutSession": made.session_id} if isinstance(made, Opened) else {})


def _signed_up(
    operation: Operation, result: dict[str, Any], *, url: str | None, replayed: bool
) -> SignedUp:
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
        checkout_url=url,
        code=code if usable else None,
        replayed=replayed,
    )


def _checked(asked: SignUpBody) -> tuple[str, str]:
    contact = read_contact(name=asked.org_name, email=asked.email)
    assert contact.name is not None  # noqa: S101 - given
    assert contact.email is not None  # noqa: S101 - given
    return contact.name, contact.email


def _ring(operation_pk: int) -> None:
    from billing.tasks import mail_owner  # tasks call this module: imported late

    ring(mail_owner, operation_pk)
