"""One API request: key, faults, parameters, idempotency, one transaction, answer."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from billing.sandbox import faults
from billing.sandbox.config import Config
from billing.sandbox.database import Connection, Database, try_lock
from billing.sandbox.errors import StripeFault, invalid
from billing.sandbox.expand import expanded
from billing.sandbox.forms import decode
from billing.sandbox.operations import match
from billing.sandbox.params import checked
from billing.sandbox.routes import Route, unsupported
from billing.sandbox.shapes import Obj, random_text
from billing.sandbox.store import Store

_KEY_LENGTH = 255


class ConnectionCut(Exception):
    """Close the connection without an answer."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What came over the wire."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    authorization: str = field(default="", repr=False)
    idempotency_key: str | None = None
    version: str | None = None
    id: str = field(default_factory=lambda: f"req_{random_text(14)}")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes back: a status, JSON text, and headers of Stripe's."""

    status: int
    body: str
    headers: dict[str, str]


class Api:
    """Stripe's API over our store."""

    def __init__(self, database: Database, config: Config) -> None:
        self._database = database
        self._config = config

    def answer(self, request: Request) -> Answer:
        """Answer one request. Raises ConnectionCut where a fault asks for it."""
        headers = {"Request-Id": request.id}
        if request.version:
            headers["Stripe-Version"] = request.version
        if request.idempotency_key:
            headers["Idempotency-Key"] = request.idempotency_key
        try:
            self.check_key(request.authorization)
            order = self._fault(request)
            kind, seconds = order or ("", 0.0)
            if kind == "cut_before":
                raise ConnectionCut
            if kind in {"rate_limited", "conflict", "error"}:
                raise faults.refusal(kind)
            if kind == "slow":
                time.sleep(seconds)
            status, body, replayed = self._run(request, kind)
        except StripeFault as refused:
            return Answer(status=refused.status, body=_json(refused.body), headers=headers)
        if kind == "slow_after":
            time.sleep(seconds)
        if kind == "cut_after":
            raise ConnectionCut
        if replayed:
            headers["Idempotent-Replayed"] = "true"
        return Answer(status=status, body=body, headers=headers)

    def check_key(self, authorization: str) -> None:
        """Raise a 401 StripeFault unless the request carries our key."""
        given = authorization.removeprefix("Bearer ").strip()
        if not hmac.compare_digest(given.encode(), self._config.api_key.encode()):
            raise StripeFault("Invalid API Key provided.", status=401)

    def _fault(self, request: Request) -> tuple[str, float] | None:
        with self._database.transaction() as connection:
            return faults.take(connection, *faults.API, method=request.method, path=request.path)

    def _run(self, request: Request, fault: str) -> tuple[int, str, bool]:
        found = match(request.method, request.path)
        if found is None:
            raise StripeFault(
                f"Unrecognized request URL ({request.method}: {request.path}).", status=404
            )
        route, ids = found
        params = _parameters(route, request)
        key = request.idempotency_key if request.method == "POST" else None
        if key is not None and len(key) > _KEY_LENGTH:
            raise StripeFault("Idempotency keys are at most 255 characters.")
        with self._database.transaction() as connection:
            fingerprint = _fingerprint(request)
            if key is not None:
                stored = _stored(connection, key, fingerprint)
                if stored is not None:
                    return stored[0], stored[1], True
            store = Store(connection, self._config, request_id=request.id, idempotency_key=key)
            _lock(store, params, ids, route)
            status, body = _execute(
                connection, lambda: self._call(store, route, params, ids), fault
            )
            if key is not None:
                connection.execute(
                    "INSERT INTO idempotency (key, fingerprint, status, body, request_id)"
                    " VALUES (%s, %s, %s, %s, %s)",
                    [key, fingerprint, status, body, request.id],
                )
        return status, body, False

    def _call(self, store: Store, route: Route, params: dict[str, Any], ids: dict[str, str]) -> Obj:
        made = route.handler(store, params, ids)
        return expanded(store, made, params.get("expand", []))


def _parameters(route: Route, request: Request) -> dict[str, Any]:
    tree = decode(request.body if request.method == "POST" else request.query)
    params = checked(tree, route.typed)
    ignored = unsupported(params, route.supported)
    if ignored:
        raise invalid(
            f"The sandbox does not act on {ignored}.", code="sandbox_unsupported", param=ignored
        )
    return params


def _fingerprint(request: Request) -> str:
    text = f"{request.method} {request.path} {json.dumps(decode(request.body), sort_keys=True)}"
    return hashlib.sha256(text.encode()).hexdigest()


def _stored(connection: Connection, key: str, fingerprint: str) -> tuple[int, str] | None:
    """Return the first answer under this key. Raises 409 in flight, 400 for other parameters."""
    if not try_lock(connection, f"idempotency:{key}"):
        raise StripeFault(
            "There is currently another in-progress request using this Idempotency-Key.",
            status=409,
            type_="idempotency_error",
            code="idempotency_key_in_use",
        )
    row = connection.execute(
        "SELECT fingerprint, status, body FROM idempotency WHERE key = %s", [key]
    ).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != fingerprint:
        raise StripeFault(
            "Keys for idempotent requests can only be used with the same parameters they were "
            "first used with.",
            type_="idempotency_error",
        )
    return int(row["status"]), str(row["body"])


def _lock(store: Store, params: dict[str, Any], ids: dict[str, str], route: Route) -> None:
    """Serialise with whoever else works on the same customer."""
    if route.method == "GET":
        return
    named = [params[n] for n in ("customer", "subscription", "from_subscription") if n in params]
    if route.kind:
        named.append(ids["id"])
    for id_ in named:
        found = store.find(id_)
        customer = found and (
            found["id"] if found["object"] == "customer" else found.get("customer")
        )
        if customer:
            store.lock_customer(customer)
            return


def _execute(connection: Connection, call: Callable[[], Obj], fault: str) -> tuple[int, str]:
    """Run the operation; a refusal undoes it, unless it says that it keeps its effects."""
    if fault == "stored_error":
        return 500, _json(faults.refusal(fault).body)
    try:
        with connection.transaction():
            kept: StripeFault | None = None
            try:
                body = call()
            except StripeFault as refused:
                if not refused.keep:
                    raise
                kept = refused
    except StripeFault as refused:
        if refused.ordered:
            faults.take(connection, refused.ordered)
        return refused.status, _json(refused.body)
    if kept is not None:
        return kept.status, _json(kept.body)
    if fault == "stored_error_after":
        return 500, _json(faults.refusal(fault).body)
    return 200, _json(body)


def _json(body: Obj) -> str:
    return json.dumps(body, separators=(",", ":"))
