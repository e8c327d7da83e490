"""An organisation that uses more than its plan includes, and what came of it at Stripe."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from billing.models import Operation
from billing.overage import services
from config.contract import clock
from tests.billing.owners import Owner, new_owner
from tests.sandbox.server import Control
from tests.support.cast import data

INCLUDED = 1_000_000
#: Minor units that one call past the included ones costs on business.
EACH = Decimal("0.05")
#: What Stripe may do wrong with a report.
FAULTS = ("cut_before", "cut_after", "error", "stored_error", "stored_error_after", "rate_limited")
METER_EVENTS = "/v1/billing/meter_events"


def cents(units: int) -> int:
    """Return what units past the plan cost."""
    return int((EACH * units).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def on_business(sandbox: Control) -> Owner:
    """Sign up on the tenth of a January, and upgrade: quota periods are calendar months."""
    at = datetime(clock.now().year + 1, 1, 10, 12, tzinfo=UTC)
    sandbox.travel(seconds=int(at.timestamp()) - sandbox.now())
    made = new_owner()
    assert data(made.upgrade("business"))["planCode"] == "business"
    return made


def until(sandbox: Control, month: int, day: int, hour: int = 12) -> None:
    """Let time pass."""
    at = datetime(clock.now().year, month, day, hour, tzinfo=UTC)
    sandbox.travel(seconds=int(at.timestamp()) - sandbox.now())


def closed(sandbox: Control) -> None:
    """Let January end, and the 72 hours in which late events still count."""
    until(sandbox, 2, 4)


def charge() -> services.Charged:
    """Do what the worker does every ten minutes."""
    return services.charge_due(now=clock.now())


def rested() -> None:
    """Let the time pass for which an operation waits before its next try."""
    Operation.objects.filter(state=Operation.State.STARTED).update(
        lease_until=clock.real_now() - timedelta(seconds=1)
    )


def settle(tries: int = 6) -> None:
    """Charge until nothing waits."""
    for _ in range(tries):
        charge()
        rested()
    left = Operation.objects.filter(kind="overage", state=Operation.State.STARTED)
    assert not left.exists(), list(left.values_list("request", "error"))


def metered_lines(sandbox: Control, owner: Owner) -> list[tuple[int, int]]:
    """Return quantity and amount of what was charged for use, on all of the owner's invoices."""
    found = []
    for invoice in sandbox.objects("invoice"):
        if invoice["customer"] != owner.customer_id:
            continue
        for line in invoice["lines"]["data"]:
            price = sandbox.show(line["pricing"]["price_details"]["price"])
            # An invoice of its own has a price of its own, which does not recur.
            recurring = price["recurring"] or {"usage_type": "metered"}
            metered = recurring["usage_type"] == "metered"
            if metered and line["quantity"]:
                found.append((line["quantity"], line["amount"]))
    return found


def overage_of(owner: Owner, period_key: str) -> Any:
    """Return the overage that the statement of a period says."""
    statement = data(owner.get(f"/api/statements?periodKey={period_key}"))
    return statement["metrics"]["api_call"]["overage"]


def january() -> str:
    """Return the key of the quota period that everybody is in."""
    return f"{clock.now().year}-01"
