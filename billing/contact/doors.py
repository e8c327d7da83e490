"""An owner's change of name or e-mail, once per Idempotency-Key."""

from dataclasses import asdict, dataclass

from django.db import transaction

from billing import idempotency, operations
from billing.contact import services
from billing.contact.services import Contact
from billing.models import Operation
from config.contract import clock
from config.contract.idempotency import stored_answer


@dataclass(frozen=True, slots=True)
class ContactResult:
    """Name and address after the request; `replayed` where it was carried out before."""

    contact: Contact
    replayed: bool = False


def by_owner(*, org_id: str, name: str | None, email: str | None, key: str | None) -> ContactResult:
    """Carry an owner's request out.

    Stripe is not asked here, so key, change and answer are one transaction: there is
    nothing half-done to go on with. Raises ValidationFailed, NotFound, IdempotencyConflict.
    """
    change = services.read(name=name, email=email)
    now = clock.real_now()
    with transaction.atomic():
        begun = idempotency.begin(
            scope=f"contact:{org_id}",
            key=key,
            body=[change.name, change.email],
            start=lambda: operations.start(
                kind=Operation.Kind.CONTACT,
                org_id=org_id,
                # Which, not what: the organisation's row and its history have the values.
                request={"name": change.name is not None, "email": change.email is not None},
                now=now,
            ),
            now=now,
        )
        if begun.replay is not None:
            return ContactResult(Contact(**stored_answer(begun.replay)), replayed=True)
        contact = services.request_change(org_id=org_id, change=change, now=now)
        operations.finish(begun.operation, result={}, now=now)
        idempotency.keep(begun.key, status=200, response=asdict(contact))
    return ContactResult(contact)
