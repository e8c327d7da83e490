"""Disputes: a cardholder asks their bank for the money of a charge.

Opened over the control endpoints (`POST /_sandbox/disputes`); decided as Stripe's test
mode decides them, by the evidence `winning_evidence` or `losing_evidence`.
"""

from typing import Any

from billing.sandbox.errors import StripeFault, invalid
from billing.sandbox.shapes import Obj, new
from billing.sandbox.store import Store

#: States in which the seller still has a say.
OPEN = ("needs_response", "warning_needs_response", "under_review", "warning_under_review")
_RESPONSE_SECONDS = 9 * 86_400


def create(
    store: Store, charge_id: str, *, amount: int | None = None, inquiry: bool = False
) -> Obj:
    """Open a dispute. An inquiry takes no money yet. Raises StripeFault."""
    charge = store.get("charge", charge_id, param="charge")
    store.lock_customer(charge["customer"])
    charge = store.get("charge", charge_id)
    dispute = new(
        "dispute",
        created=store.at,
        amount=charge["amount"] if amount is None else amount,
        charge=charge["id"],
        currency=charge["currency"],
        payment_intent=charge["payment_intent"],
        is_charge_refundable=inquiry,
        status="warning_needs_response" if inquiry else "needs_response",
    )
    dispute["evidence_details"]["due_by"] = store.at + _RESPONSE_SECONDS
    charge["disputed"] = True
    store.put(charge)
    store.put(dispute, "charge.dispute.created", parent=charge["id"])
    if not inquiry:
        store.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def update(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/disputes/{id}: evidence, which decides the dispute."""
    dispute = _open(store, ids["id"])
    text = params.get("evidence", {}).get("uncategorized_text")
    if text:
        dispute["evidence"]["uncategorized_text"] = text
        dispute["evidence_details"].update(
            has_evidence=True, submission_count=1, submission_method="manual"
        )
    if params.get("submit", True) and text:
        was_inquiry = dispute["status"].startswith("warning")
        dispute["status"] = "warning_under_review" if was_inquiry else "under_review"
    store.put(dispute, "charge.dispute.updated")
    if dispute["status"].endswith("under_review") and text == "winning_evidence":
        return _decide(store, dispute, won=True)
    if dispute["status"].endswith("under_review") and text == "losing_evidence":
        return _decide(store, dispute, won=False)
    return dispute


def close(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/disputes/{id}/close: the seller gives in."""
    return _decide(store, _open(store, ids["id"]), won=False)


def listing(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/disputes by charge or payment intent."""
    where: Obj = {name: params[name] for name in ("charge", "payment_intent") if name in params}
    return store.listing("dispute", params, "/v1/disputes", where=where)


def _open(store: Store, dispute_id: str) -> Obj:
    dispute = store.get("dispute", dispute_id)
    store.lock_customer(store.get("charge", dispute["charge"])["customer"])
    dispute = store.get("dispute", dispute_id)
    if dispute["status"] not in OPEN:
        raise invalid("This dispute is already closed")
    return dispute


def _decide(store: Store, dispute: Obj, *, won: bool) -> Obj:
    inquiry = dispute["status"].startswith("warning")
    if inquiry and not won:
        raise StripeFault("An inquiry is not lost: it becomes a dispute.")
    dispute["status"] = "warning_closed" if inquiry else "won" if won else "lost"
    store.put(dispute, "charge.dispute.closed")
    if won and not inquiry:
        store.emit("charge.dispute.funds_reinstated", dispute)
    return dispute
