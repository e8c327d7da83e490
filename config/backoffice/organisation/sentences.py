"""Rows in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Model

from billing.models import InvoiceRef, Operation, Organization, Subscription
from billing.money import money
from config.backoffice.models import StaffAct, StaffActEnd
from quotas.models import Adjustment, CounterRepair, Entitlement, Forgiveness
from tokens.models import AuditEntry, OrgAccess
from usage.models import UsageVoid


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Told:
    """What happened, and what stood before and after."""

    sentence: str
    changes: list[Change]


#: What is worth telling of a tracked row, by the words staff use. What is not here
#: follows from what is (versions, since when) or is an id that the row's page shows.
_FIELDS: dict[type[Model], dict[str, str]] = {
    Entitlement: {
        "plan_code": "plan",
        "status": "status",
        "trial_ends_at": "trial ends",
        "past_due_since": "past due since",
        "ends_at": "ends",
        "scheduled_plan_code": "scheduled plan",
        "scheduled_at": "scheduled for",
        "period_rule": "periods",
        "anchor_at": "billing anchor",
    },
    Subscription: {
        "status": "status",
        "plan_code": "plan",
        "current_period_end": "paid until",
        "trial_ends_at": "trial ends",
        "cancel_at": "cancels",
        "scheduled_plan_code": "scheduled plan",
        "scheduled_at": "scheduled for",
        "ended_at": "ended",
    },
    Operation: {"state": "state", "error": "error"},
    InvoiceRef: {
        "status": "status",
        "total": "total",
        "amount_due": "amount due",
        "amount_refunded": "refunded",
        "amount_credited": "credited",
        "amount_disputed": "disputed",
        "dispute_status": "dispute",
        "refund_failed_at": "refund came back",
    },
    # That it was suspended is in the audit.
    OrgAccess: {"installation_limit": "installations allowed"},
    Organization: {"name": "name", "email": "e-mail", "stripe_customer_id": "Stripe customer"},
}

_AUDIT = {
    "code_issued": "An activation code was issued",
    "codes_revoked": "Activation codes were revoked",
    "activated": "An installation was activated",
    "revoked": "An installation was revoked",
    "reuse_detected": "A refresh token was used twice: its installation was shut out",
    "suspended": "The organisation was suspended",
    "restored": "The suspension was taken back",
    "portal_link_made": "A link to the usage page was made",
    "portal_link_used": "A link to the usage page was used",
    "portal_closed": "The usage page was closed",
    "portal_upgrade": "On the usage page an upgrade was confirmed",
    "portal_downgrade": "On the usage page a cheaper plan was confirmed",
    "portal_subscribe": "On the usage page a new subscription was confirmed",
    "portal_cancel": "On the usage page a cancellation was confirmed",
    "portal_resume": "On the usage page the plan was resumed",
    "portal_keep_plan": "On the usage page a scheduled change was taken back",
    "portal_stripe_opened": "From the usage page Stripe's pages were opened",
}


def of_change(tracked: type[Model], before: Any, after: Any) -> Told | None:
    """Return what a copy of a tracked row says over the copy before it; None: nothing of note.

    `before` is None for the first copy of a row.
    """
    changes = _changes(_FIELDS[tracked], before, after)
    if tracked is Entitlement:
        changes += _allowance_changes(before, after)
    if not changes and (before is not None or tracked is OrgAccess):
        return None
    return Told(_SENTENCES[tracked](before, after, changes), changes if before is not None else [])


def of_audit(row: AuditEntry) -> str:
    """Return what happened to codes and tokens."""
    sentence = _AUDIT.get(row.what, row.what.replace("_", " ").capitalize())
    about = str(row.detail.get("domain") or row.detail.get("plan") or "")
    return f"{sentence}{f' for {about}' if about else ''}."


def of_adjustment(row: Adjustment) -> str:
    """Return what was granted or taken."""
    done = "were granted" if row.units > 0 else "were taken away"
    until = f", until {_shown(row.expires_at)}" if row.expires_at else ""
    return f"{abs(row.units):,} units of {row.metric} {done} in {row.period_start:%Y-%m}{until}."


def of_forgiveness(row: Forgiveness) -> str:
    """Return what was forgiven."""
    return (
        f"The quota of {row.metric} was reset in {row.period_start:%Y-%m}:"
        f" {row.units:,} units forgiven."
    )


def of_void(row: UsageVoid) -> str:
    """Return what was taken back."""
    return f"The event {row.request_id} was voided: {row.value:,} units of {row.metric} came back."


def of_repair(row: CounterRepair) -> str:
    """Return what was repaired."""
    return f"The counter of {row.metric} was set back to what the ledger says."


def of_act(row: StaffAct, end: StaffActEnd | None) -> str:
    """Return what a member of staff did, and how it ended."""
    name = row.act.replace("-", " ").capitalize()
    if end is None:
        return f"{name}: begun, and cut off before it ended."
    if end.state == StaffActEnd.State.FAILED:
        return f"{name}: refused. {end.said}"
    return f"{name}: {end.said}"


def person(who: str) -> str:
    """Return who did it, in words; `staff:7` is a member of staff, as the accounts know them."""
    kind, _, rest = who.partition(":")
    if kind == "staff" and rest:
        return f"staff {rest}"
    return who


def _changes(fields: Mapping[str, str], before: Any, after: Any) -> list[Change]:
    if before is None:
        return []
    found = []
    for name, label in fields.items():
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            found.append(Change(label, _shown_of(before, name), _shown_of(after, name)))
    return found


def _allowance_changes(before: Any, after: Any) -> list[Change]:
    if before is None:
        return []
    found = []
    for metric in sorted({*before.allowances, *after.allowances}):
        old, new = before.allowances.get(metric), after.allowances.get(metric)
        if old != new:
            found.append(Change(f"included {metric}", _allowance(old), _allowance(new)))
    return found


def _allowance(one: Mapping[str, Any] | None) -> str:
    if not one:
        return "none"
    return f"{one['included']:,}{', overage charged' if one['overage'] == 'allow' else ''}"


def _entitlement(before: Any, after: Any, changes: list[Change]) -> str:
    if before is None:
        return f"Began on {after.plan_code} as {_word(after, 'status')}."
    if before.plan_code != after.plan_code:
        return f"Moved from {before.plan_code} to {after.plan_code}."
    if before.status != after.status:
        return f"Went from {_word(before, 'status')} to {_word(after, 'status')}."
    if before.scheduled_plan_code != after.scheduled_plan_code:
        if not after.scheduled_plan_code:
            return f"The change to {before.scheduled_plan_code} was taken off the schedule."
        when = _shown(after.scheduled_at)
        return f"A change to {after.scheduled_plan_code} was scheduled for {when}."
    if before.ends_at != after.ends_at:
        if after.ends_at is None:
            return "The cancellation was taken back."
        return f"A cancellation was set for {_shown(after.ends_at)}."
    return f"The entitlement changed: {_names(changes)}."


def _subscription(before: Any, after: Any, changes: list[Change]) -> str:
    name = f"Subscription {after.stripe_subscription_id}"
    if before is None:
        return f"{name} is known from here on: {_word(after, 'status') or 'not fetched yet'}."
    if before.status != after.status:
        return f"{name} is {_word(after, 'status')}, says Stripe."
    return f"{name} changed at Stripe: {_names(changes)}."


def _operation(before: Any, after: Any, changes: list[Change]) -> str:
    kind = after.get_kind_display()
    if before is None:
        return f"{kind} was asked for."
    if after.state == Operation.State.DONE:
        return f"{kind} was carried through."
    if after.state == Operation.State.FAILED:
        return f"{kind} failed{f': {after.error}' if after.error else ''}."
    return f"{kind} goes on: {_names(changes)}."


def _invoice(before: Any, after: Any, changes: list[Change]) -> str:
    name = f"Invoice {after.stripe_invoice_id}"
    if after.currency:
        name = f"{name} over {money(after.total, after.currency)}"
    if before is None or before.status != after.status:
        return f"{name} is {after.status or 'not fetched yet'}."
    return f"{name} changed: {_names(changes)}."


def _access(before: Any, after: Any, changes: list[Change]) -> str:
    return f"It may have {after.installation_limit:,} installations now."


def _organization(before: Any, after: Any, changes: list[Change]) -> str:
    return "Signed up." if before is None else f"The organisation's {_names(changes)} changed."


_SENTENCES = {
    Entitlement: _entitlement,
    Subscription: _subscription,
    Operation: _operation,
    InvoiceRef: _invoice,
    Organization: _organization,
    OrgAccess: _access,
}


def _names(changes: list[Change]) -> str:
    return ", ".join(change.what for change in changes)


def _word(row: Any, name: str) -> str:
    return str(getattr(row, f"get_{name}_display")()).lower()


def _shown_of(row: Any, name: str) -> str:
    if isinstance(getattr(row, name), int) and hasattr(row, "currency") and row.currency:
        return money(getattr(row, name), row.currency)
    display = getattr(row, f"get_{name}_display", None)
    return _shown(display().lower() if display else getattr(row, name))


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "none" if value in (None, "") else str(value)
