"""What would applying change? Tried in a transaction that is rolled back."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import models, transaction
from django.db.models import Q

from billing import convergence
from billing.models import InvoiceRef, Organization, Subscription
from quotas.models import Entitlement
from webhooks.found import Found

#: What a row notes for itself: numbers of fetches, versions, when and why.
_BOOKKEEPING = frozenset(
    {
        "id",
        "fetch_requested",
        "fetch_applied",
        "version",
        "updated_at",
        "started_at",
        "status_since",
        "status_because",
        "allowances_since",
        "prior_allowances",
        "contact_version",
        "contact_synced",
        "contact_due_at",
        "contact_tries",
        # Stripe makes a new address for the same page as it pleases.
        "hosted_invoice_url",
    }
)
_Picture = dict[tuple[str, str, str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one row, which is not there yet where `is_new`."""

    org_id: str
    table: str
    key: str
    field: str
    before: Any
    after: Any
    is_new: bool = False

    def __str__(self) -> str:
        return (
            f"{self.table} {self.key} {self.field}: {_shown(self.before)} -> {_shown(self.after)}"
        )


def differences(found: Found, *, because: str, org_id: str = "") -> list[Difference]:
    """Return what writing `found` down would change, and write nothing.

    With `org_id`, also what that organisation's subscriptions entitle it to and
    its entitlement does not say.
    """
    with transaction.atomic():
        orgs = _lock(found, org_id)
        before = _picture(found, orgs)
        found.renumbered().apply(because=because)
        if org_id:
            convergence.grant_from_mirrors(org_id, because=because)
        after = _picture(found, orgs)
        transaction.set_rollback(True)
    return list(_compare(before, after))


def _lock(found: Found, org_id: str) -> list[str]:
    """Lock every organisation concerned, so that nobody else moves its rows meanwhile."""
    subscriptions = Subscription.objects.filter(
        stripe_subscription_id__in=[one.subscription_id for one in found.subscriptions]
    )
    customers = {
        str(one.subscription["customer"]) for one in found.subscriptions if one.subscription
    }
    customers |= {str(one.invoice["customer"]) for one in found.invoices if one.invoice}
    named = [one.org_id for one in found.customers]
    known = {org_id, *named, *subscriptions.values_list("org_id", flat=True)}
    locked = (
        Organization.objects.select_for_update()
        .filter(Q(org_id__in=known) | Q(stripe_customer_id__in=customers))
        .order_by("org_id")
    )
    return [one.org_id for one in locked]


def _picture(found: Found, orgs: list[str]) -> _Picture:
    rows: list[tuple[str, str, models.Model]] = []
    for mirror in Subscription.objects.filter(
        stripe_subscription_id__in=[one.subscription_id for one in found.subscriptions],
        fetch_applied__gt=0,
    ):
        rows.append(("subscription", mirror.stripe_subscription_id, mirror))
    for ref in InvoiceRef.objects.filter(
        stripe_invoice_id__in=[one.invoice_id for one in found.invoices], fetch_applied__gt=0
    ):
        rows.append(("invoice", ref.stripe_invoice_id, ref))
    for organization in Organization.objects.filter(
        org_id__in=[one.org_id for one in found.customers]
    ):
        rows.append(("organisation", organization.org_id, organization))
    for entitlement in Entitlement.objects.filter(org_id__in=orgs):
        rows.append(("entitlement", entitlement.org_id, entitlement))
    return {(table, key, _org_of(row)): _fields(row) for table, key, row in rows}


def _org_of(row: models.Model) -> str:
    return str(getattr(row, "org_id", ""))


def _fields(row: models.Model) -> dict[str, Any]:
    return {
        field.name: getattr(row, field.name)
        for field in row._meta.concrete_fields
        if field.name not in _BOOKKEEPING
    }


def _compare(before: _Picture, after: _Picture) -> Iterable[Difference]:
    was = {key[:2]: fields for key, fields in before.items()}
    for (table, key, org_id), fields in sorted(after.items()):
        old = was.get((table, key))
        for name, value in fields.items():
            if old is None and value not in ("", None):
                yield Difference(org_id, table, key, name, None, value, is_new=True)
            elif old is not None and old[name] != value:
                yield Difference(org_id, table, key, name, old[name], value)


def _shown(value: Any) -> str:
    return "nothing" if value in (None, "") else str(value)
