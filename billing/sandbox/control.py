"""The sandbox's own endpoints, `/_sandbox/*`: time, faults, deliveries, a look inside.

Loopback only, and with the API key. JSON in, JSON out.
"""

import json
import time
from typing import Any

from billing.sandbox import (
    catalogue,
    charges,
    cycle,
    disputes,
    events,
    faults,
    outbox,
    timeline,
)
from billing.sandbox.config import Config
from billing.sandbox.database import Database
from billing.sandbox.errors import StripeFault, invalid
from billing.sandbox.shapes import Obj, public
from billing.sandbox.store import Store

_SETTINGS: dict[str, Any] = {
    "auto_card": bool,
    "dunning_outcome": str,
    "webhook_url": (str, type(None)),
}


class Control:
    """What drives a sandbox from outside."""

    def __init__(self, database: Database, config: Config) -> None:
        self._database = database
        self._config = config

    def answer(self, method: str, path: str, query: dict[str, str], body: Obj) -> Any:
        """Answer a request to `/_sandbox/{path}`. Raises StripeFault."""
        parts = path.strip("/").split("/")
        match (method, *parts):
            case ("GET", "state"):
                return self._state()
            case ("GET", "objects"):
                return self._objects(query)
            case ("GET", "objects", id_):
                return self._show(id_)
            case ("GET", "events"):
                return self._events(query)
            case ("POST", "events", id_, "replay"):
                return self._replay(id_)
            case ("POST", "advance"):
                return self._advance(body)
            case ("POST", "deliver"):
                return outbox.deliver(self._database, self._config, all_waiting=True)
            case ("POST", "disputes"):
                return self._dispute(body)
            case ("POST", "refunds", id_, "fail"):
                return self._fail_refund(id_)
            case ("POST", "reset"):
                return self._reset()
            case ("POST", "settings"):
                return self._set(body)
            case ("GET" | "POST" | "DELETE", "faults"):
                return self._faults(method, body)
        raise StripeFault(f"Unrecognized control URL ({method} {path}).", status=404)

    def _state(self) -> Obj:
        with self._database.transaction() as connection:
            store = Store(connection, self._config)
            kinds = connection.execute(
                "SELECT object, count(*) AS n FROM objects GROUP BY object ORDER BY object"
            )
            waiting = connection.execute(
                "SELECT state, count(*) AS n FROM outbox GROUP BY state ORDER BY state"
            )
            due: Any = connection.execute(
                "SELECT id, due_at FROM objects WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1"
            ).fetchone()
            return {
                "now": store.at,
                "offset": store.setting("offset", 0),
                "objects": {row["object"]: row["n"] for row in kinds},
                "outbox": {row["state"]: row["n"] for row in waiting},
                "nextDue": due,
                "faults": faults.waiting(connection),
                "settings": {
                    "auto_card": store.setting("auto_card", self._config.auto_card),
                    "dunning_outcome": store.setting("dunning_outcome", cycle.OUTCOMES[0]),
                    "webhook_url": store.setting("webhook_url", self._config.webhook_url),
                },
            }

    def _show(self, id_: str) -> Obj:
        with self._database.transaction() as connection:
            found = Store(connection, self._config).find(id_)
        if found is None:
            raise StripeFault(f"No such object: {id_}", status=404)
        return public(found)

    def _objects(self, query: dict[str, str]) -> list[Obj]:
        """List objects, oldest first, of one kind when `kind` names it."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT data FROM objects WHERE %(kind)s::text IS NULL OR object = %(kind)s"
                " ORDER BY seq LIMIT 5000",
                {"kind": query.get("kind")},
            )
            return [public(dict(row["data"])) for row in rows]

    def _events(self, query: dict[str, str]) -> list[Obj]:
        """List events, oldest first, of one object when `object` names it."""
        with self._database.transaction() as connection:
            store = Store(connection, self._config)
            found = store.all("event", parent=query.get("object"))
        return [public(event) for event in found][-int(query.get("limit", "100")) :]

    def _replay(self, id_: str) -> Obj:
        with self._database.transaction() as connection:
            Store(connection, self._config).get("event", id_)
            connection.execute(
                "INSERT INTO outbox (event_id, due) VALUES (%s, %s)", [id_, time.time()]
            )
        return {"replayed": id_}

    def _advance(self, body: Obj) -> Obj:
        with self._database.transaction() as connection:
            now = Store(connection, self._config).at
        to = body["to"] if "to" in body else now + body.get("seconds", 0)
        if not isinstance(to, int) or to < now:
            raise invalid("Time moves forward, in whole seconds.", param="to")
        done = timeline.advance(self._database, self._config, to)
        with self._database.transaction() as connection:
            store = Store(connection, self._config)
            return {"now": store.at, "offset": store.setting("offset", 0), "handled": done}

    def _dispute(self, body: Obj) -> Obj:
        """Open a dispute of `charge`, of an `amount`; an `inquiry` takes no money yet."""
        if "charge" not in body or body.keys() - {"charge", "amount", "inquiry"}:
            raise invalid("A dispute has charge and any of amount, inquiry.")
        with self._database.transaction() as connection:
            store = Store(connection, self._config)
            return public(
                disputes.create(
                    store,
                    body["charge"],
                    amount=body.get("amount"),
                    inquiry=bool(body.get("inquiry")),
                )
            )

    def _fail_refund(self, id_: str) -> Obj:
        with self._database.transaction() as connection:
            store = Store(connection, self._config)
            return public(charges.fail(store, store.get("refund", id_)))

    def _reset(self) -> Obj:
        self._database.empty()
        self.prepare()
        return {"reset": True}

    def prepare(self) -> None:
        """Make what every sandbox has: the plan catalogue and our webhook endpoint."""
        with self._database.transaction() as connection:
            # Stripe keeps keys for a day at least; a week leaves room to look back.
            connection.execute(
                "DELETE FROM idempotency WHERE stored_at < now() - interval '7 days'"
            )
            store = Store(connection, self._config)
            catalogue.sync(store)
            events.ensure_endpoint(store)

    def _set(self, body: Obj) -> Obj:
        for name, value in body.items():
            if name not in _SETTINGS or not isinstance(value, _SETTINGS[name]):
                raise invalid(f"Unknown or bad setting: {name}", param=name)
        if body.get("dunning_outcome", cycle.OUTCOMES[0]) not in cycle.OUTCOMES:
            raise invalid(
                f"Invalid dunning_outcome: must be one of {', '.join(cycle.OUTCOMES)}",
                param="dunning_outcome",
            )
        with self._database.transaction() as connection:
            store = Store(connection, self._config)
            for name, value in body.items():
                store.set_setting(name, value)
            events.ensure_endpoint(store)
        return body

    def _faults(self, method: str, body: Obj) -> Obj:
        with self._database.transaction() as connection:
            if method == "DELETE":
                faults.clear(connection)
            elif method == "POST":
                known = {"kind", "count", "method", "path", "seconds"}
                if "kind" not in body or body.keys() - known:
                    raise invalid(f"A fault has kind and any of {', '.join(sorted(known))}.")
                faults.order(connection, **body)
            return {"faults": faults.waiting(connection)}


def read_json(text: str) -> Obj:
    """Return the JSON object of a control request. Raises StripeFault."""
    try:
        body = json.loads(text or "{}")
    except ValueError:
        raise invalid("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise invalid("The body is not a JSON object.")
    return body
