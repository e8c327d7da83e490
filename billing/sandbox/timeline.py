"""Time: an offset to the real clock, and everything that falls due, in order."""

from collections.abc import Callable

from billing.sandbox import checkout, cycle, schedules
from billing.sandbox.config import Config
from billing.sandbox.database import Connection, Database, lock
from billing.sandbox.shapes import Obj
from billing.sandbox.store import Store

_HANDLERS: dict[str, Callable[[Store, Obj], object]] = {
    "subscription": cycle.subscription_due,
    "invoice": cycle.invoice_due,
    "subscription_schedule": schedules.due,
    "checkout.session": checkout.close,
}
#: At one instant a schedule changes its phase before the subscription renews on it.
_NEXT = """
    SELECT id, object, customer, due_at FROM objects WHERE due_at <= %s
    ORDER BY due_at, CASE object WHEN 'invoice' THEN 0 WHEN 'subscription_schedule' THEN 1
    ELSE 2 END, seq LIMIT 1
"""


def advance(database: Database, config: Config, to: int) -> int:
    """Move the clock to `to`, doing on the way what falls due. Returns how much was done."""
    done = 0
    while step(database, config, to):
        done += 1
    with database.transaction() as connection:
        lock(connection, "clock")
        _move_to(Store(connection, config), to)
    return done


def step(database: Database, config: Config, until: int) -> bool:
    """Do the first thing due by `until`, at its own instant. False when nothing is."""
    with database.transaction() as connection:
        row = connection.execute(_NEXT, [until]).fetchone()
        if row is None:
            return False
        store = Store(connection, config)
        if row["customer"]:
            store.lock_customer(row["customer"])
        if row["due_at"] > store.at:
            lock(connection, "clock")
            _move_to(store, row["due_at"])
        _handle(connection, config, row["id"])
    return True


def _handle(connection: Connection, config: Config, id_: str) -> None:
    obj = Store(connection, config).find(id_)
    due = (obj or {}).get("_", {}).get("due")
    now = Store(connection, config).at
    if obj is None or due is None or due > now:
        return  # somebody changed it while we waited for the customer
    # What was missed while the process was down happened when it was due.
    store = Store(connection, config, at=max(due, obj["created"]))
    _HANDLERS[obj["object"]](store, obj)
    after = store.find(id_) or {}
    if after.get("_", {}).get("due") == due:
        raise RuntimeError(f"{obj['object']} {id_} is still due after it was handled")


def _move_to(store: Store, to: int) -> None:
    """Set the clock; it never goes back."""
    if to > store.at:
        store.set_setting("offset", store.setting("offset", 0) + to - store.at)
