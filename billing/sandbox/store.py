"""The objects of one transaction: read, write, list, and tell the world.

Every write may name an event; `*.updated` events carry the old values of what
changed. Events go to the outbox in the same transaction as the change.
"""

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from billing.sandbox import API_VERSION
from billing.sandbox.config import Config
from billing.sandbox.database import Connection, lock
from billing.sandbox.errors import invalid, missing
from billing.sandbox.pricing import plan_of
from billing.sandbox.shapes import Obj, new, notes, page, public

_PAGE_LIMIT = 100


class Store:
    """What a handler may do. `at` is the sandbox's instant, in whole seconds."""

    def __init__(
        self,
        connection: Connection,
        config: Config,
        *,
        at: int | None = None,
        request_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        self.connection = connection
        self.config = config
        self._request = {"id": request_id, "idempotency_key": idempotency_key}
        self._at_was_given = at is not None
        self.at = at if at is not None else self._now()

    def _now(self) -> int:
        return int(time.time()) + int(self.setting("offset", 0))

    # Settings

    def setting(self, key: str, default: Any) -> Any:
        """Return a stored setting."""
        row = self.connection.execute("SELECT value FROM settings WHERE key = %s", [key]).fetchone()
        return default if row is None else row["value"]

    def set_setting(self, key: str, value: Any) -> None:
        """Store a setting."""
        self.connection.execute(
            "INSERT INTO settings (key, value) VALUES (%s, %s)"
            " ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
            [key, Jsonb(value)],
        )

    # Objects

    def find(self, id_: str) -> Obj | None:
        """Return the object, or None."""
        row = self.connection.execute("SELECT data FROM objects WHERE id = %s", [id_]).fetchone()
        return None if row is None else self._shown([row["data"]])[0]

    def _shown(self, stored: list[Obj]) -> list[Obj]:
        """Return what is stored, the prices of subscriptions' items as they are now."""
        items = [
            item
            for obj in stored
            if obj["object"] == "subscription"
            for item in obj["items"]["data"]
        ]
        if items:
            rows = self.connection.execute(
                "SELECT id, data FROM objects WHERE id = ANY(%s)",
                [list({item["price"]["id"] for item in items})],
            )
            prices = {row["id"]: public(row["data"]) for row in rows}
            for item in items:
                price = prices[item["price"]["id"]]
                item.update(price=deepcopy(price), plan=plan_of(price))
        return stored

    def get(self, kind: str, id_: str, *, param: str | None = None) -> Obj:
        """Return the object of that kind.

        Raises `resource_missing`: 404 for the one in the path, 400 for a parameter.
        """
        found = self.find(id_)
        if found is None or found["object"] != kind:
            status = 404 if param is None else 400
            raise missing(kind, id_, param=param or "id", status=status)
        return found

    def customer(self, id_: str, *, param: str | None = "customer") -> Obj:
        """Return a customer who has not been deleted."""
        found = self.get("customer", id_, param=param)
        if found.get("deleted"):
            raise missing("customer", id_, param=param or "id", status=400 if param else 404)
        return found

    def put(self, obj: Obj, event: str | None = None, *, parent: str | None = None) -> Obj:
        """Write the object as it now is and announce `event`, if it says anything new."""
        before = self.find(obj["id"])
        if before == obj:
            return obj
        customer = obj["id"] if obj["object"] == "customer" else obj.get("customer")
        self.connection.execute(
            "INSERT INTO objects (id, object, customer, parent, due_at, data)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE"
            " SET data = EXCLUDED.data, due_at = EXCLUDED.due_at, customer = EXCLUDED.customer,"
            " parent = coalesce(EXCLUDED.parent, objects.parent)",
            [obj["id"], obj["object"], customer, parent, notes(obj).get("due"), Jsonb(obj)],
        )
        if event and event.endswith(".updated"):
            changed = _previous(public(before or {}), public(obj))
            if changed:
                self.emit(event, obj, previous=changed)
        elif event:
            self.emit(event, obj)
        return obj

    def delete(self, id_: str) -> None:
        """Forget the object."""
        self.connection.execute("DELETE FROM objects WHERE id = %s", [id_])

    def emit(self, type_: str, obj: Obj, *, previous: Obj | None = None) -> Obj:
        """Record an event and put its delivery into the outbox."""
        data: Obj = {"object": deepcopy(public(obj))}
        if previous is not None:
            data["previous_attributes"] = previous
        event = new(
            "event",
            api_version=API_VERSION,
            created=self.at,
            data=data,
            pending_webhooks=1,
            request=dict(self._request),
            type=type_,
        )
        self.connection.execute(
            "INSERT INTO objects (id, object, parent, data) VALUES (%s, 'event', %s, %s)",
            [event["id"], obj.get("id"), Jsonb(event)],
        )
        self.connection.execute(
            "INSERT INTO outbox (event_id, due) VALUES (%s, %s)", [event["id"], time.time()]
        )
        return event

    # Many objects

    def all(
        self,
        kind: str,
        *,
        customer: str | None = None,
        parent: str | None = None,
        where: Obj | None = None,
    ) -> list[Obj]:
        """Return the objects of a kind that contain `where`, oldest first."""
        rows = self.connection.execute(
            "SELECT data FROM objects WHERE object = %(kind)s"
            " AND (%(customer)s::text IS NULL OR customer = %(customer)s)"
            " AND (%(parent)s::text IS NULL OR parent = %(parent)s)"
            " AND data @> %(where)s ORDER BY seq",
            {"kind": kind, "customer": customer, "parent": parent, "where": Jsonb(where or {})},
        )
        return self._shown([row["data"] for row in rows])

    def listing(
        self,
        kind: str,
        params: dict[str, Any],
        url: str,
        *,
        where: Mapping[str, Any] | None = None,
        conditions: Sequence[sql.Composable] = (),
        values: dict[str, Any] | None = None,
    ) -> Obj:
        """Return one page, newest first, by Stripe's cursors. Raises StripeFault."""
        limit = int(params.get("limit", 10))
        if not 1 <= limit <= _PAGE_LIMIT:
            raise invalid("Limit must be between 1 and 100", param="limit")
        after, before = params.get("starting_after"), params.get("ending_before")
        if after and before:
            raise invalid("Pass starting_after or ending_before, not both", param="ending_before")
        given: dict[str, Any] = {
            "kind": kind,
            "where": Jsonb(dict(where or {})),
            "limit": limit + 1,
        }
        given |= values or {}
        tests: list[sql.Composable] = [
            sql.SQL("object = %(kind)s"),
            sql.SQL("data @> %(where)s"),
            *conditions,
        ]
        for bound, (operator, sign) in _CREATED.items():
            limits = params.get("created")
            if isinstance(limits, dict) and bound in limits:
                tests.append(sql.SQL(f"(data->>'created')::bigint {operator} %({sign})s"))
                given[sign] = limits[bound]
        if isinstance(params.get("created"), int):
            tests.append(sql.SQL("(data->>'created')::bigint = %(created)s"))
            given["created"] = params["created"]
        if after or before:
            param = "starting_after" if after else "ending_before"
            given["cursor"] = self._seq(kind, after or before or "", param)
            tests.append(sql.SQL("seq < %(cursor)s" if after else "seq > %(cursor)s"))
        order = sql.SQL("ASC" if before else "DESC")
        rows = self.connection.execute(
            sql.SQL("SELECT data FROM objects WHERE {} ORDER BY seq {} LIMIT %(limit)s").format(
                sql.SQL(" AND ").join(tests), order
            ),
            given,
        ).fetchall()
        found = self._shown([row["data"] for row in rows[:limit]])
        if before:
            found.reverse()
        return page(found, url, has_more=len(rows) > limit)

    def _seq(self, kind: str, id_: str, param: str) -> int:
        row = self.connection.execute(
            "SELECT seq FROM objects WHERE id = %s AND object = %s", [id_, kind]
        ).fetchone()
        if row is None:
            raise missing(kind, id_, param=param, status=400)
        return int(row["seq"])

    def lock_customer(self, customer: str) -> None:
        """Wait until nobody else works on this customer; hold it to the end."""
        lock(self.connection, f"customer:{customer}")
        if not self._at_was_given:
            # The clock may have been moved while we waited.
            self.at = self._now()


_CREATED = {
    "gt": (">", "created_gt"),
    "gte": (">=", "created_gte"),
    "lt": ("<", "created_lt"),
    "lte": ("<=", "created_lte"),
}


def _previous(before: Any, after: Any) -> Obj:
    """Return the old values of what differs: objects key by key, lists whole."""
    changed: Obj = {}
    for name in before.keys() | after.keys():
        old, new_ = before.get(name), after.get(name)
        if old == new_:
            continue
        if isinstance(old, dict) and isinstance(new_, dict):
            changed[name] = _previous(old, new_)
        else:
            changed[name] = old
    return changed
