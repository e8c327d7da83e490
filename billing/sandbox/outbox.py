"""Delivers events as signed webhooks, and retries what was not taken.

Stripe promises at least once and no order. The switches in `faults` make both
visible: late, twice, last first, never, or failed and retried.
"""

import hashlib
import hmac
import json
import logging
import time
import urllib.error
import urllib.request
from typing import Any

from billing.sandbox import faults
from billing.sandbox.config import Config
from billing.sandbox.database import Connection, Database
from billing.sandbox.store import Store

_log = logging.getLogger(__name__)

_BATCH = 20
_TIMEOUT = 10.0
#: Seconds until the next try: doubling from one second to five minutes.
_LONGEST_WAIT = 300.0
_GIVE_UP_AFTER = 16


def sign(body: bytes, secret: str, at: int) -> str:
    """Return the Stripe-Signature header: HMAC-SHA256 over `t.body`."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def deliver(database: Database, config: Config, *, all_waiting: bool = False) -> dict[str, int]:
    """Send what is due (everything that waits, once, with `all_waiting`)."""
    counted = {"delivered": 0, "failed": 0, "dropped": 0}
    tried: list[int] = []
    while True:
        with database.transaction() as connection:
            url = Store(connection, config).setting("webhook_url", config.webhook_url)
            if not url:
                return counted
            rows = _claim(connection, tried, all_waiting=all_waiting)
            if not rows:
                return counted
            # Rows stay locked while they are sent: a crash here means sent again.
            for row in rows:
                tried.append(row["id"])
                counted[_send(connection, config, url, row, at_once=all_waiting)] += 1


def _claim(connection: Connection, tried: list[int], *, all_waiting: bool) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT outbox.id, event_id, attempts, data FROM outbox JOIN objects"
        " ON objects.id = event_id WHERE state = 'pending' AND (due <= %s OR %s)"
        " AND outbox.id <> ALL(%s) ORDER BY outbox.id LIMIT %s FOR UPDATE OF outbox SKIP LOCKED",
        [time.time(), all_waiting, tried, _BATCH],
    ).fetchall()
    found = [dict(row) for row in rows]
    if len(found) > 1 and faults.take(connection, "webhook_reorder"):
        found.reverse()
    return found


def _send(
    connection: Connection, config: Config, url: str, row: dict[str, Any], *, at_once: bool
) -> str:
    late = None if at_once or row["attempts"] else faults.take(connection, "webhook_delay")
    if late:
        return _later(connection, row, late[1], "delayed by order")
    if faults.take(connection, "webhook_drop"):
        _finish(connection, row, "dropped", "dropped by order")
        return "dropped"
    if faults.take(connection, "webhook_fail"):
        return _failed(connection, row, "failed by order")
    for _ in range(2 if faults.take(connection, "webhook_duplicate") else 1):
        error = _post(config, url, row["data"])
        if error is not None:
            return _failed(connection, row, error)
    _finish(connection, row, "delivered", None)
    return "delivered"


def _post(config: Config, url: str, event: dict[str, Any]) -> str | None:
    body = json.dumps(event, separators=(",", ":")).encode()
    if not url.startswith(("http://", "https://")):
        return "the webhook URL is not http"
    request = urllib.request.Request(  # noqa: S310 (the scheme is checked above)
        url,
        data=body,
        headers={
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(body, config.webhook_secret, int(time.time())),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            answer.read()
        return None
    except urllib.error.HTTPError as refused:
        refused.close()
        return f"HTTP {refused.code}"
    except OSError as broken:
        return type(broken).__name__


def _failed(connection: Connection, row: dict[str, Any], error: str) -> str:
    if row["attempts"] + 1 >= _GIVE_UP_AFTER:
        _finish(connection, row, "failed", error)
        _log.warning("gave up delivering %s: %s", row["event_id"], error)
        return "failed"
    return _later(connection, row, min(2.0 ** row["attempts"], _LONGEST_WAIT), error)


def _later(connection: Connection, row: dict[str, Any], seconds: float, why: str) -> str:
    connection.execute(
        "UPDATE outbox SET due = %s, attempts = attempts + 1, last_error = %s WHERE id = %s",
        [time.time() + seconds, why, row["id"]],
    )
    return "failed"


def _finish(connection: Connection, row: dict[str, Any], state: str, error: str | None) -> None:
    connection.execute(
        "UPDATE outbox SET state = %s, attempts = attempts + 1, last_error = %s WHERE id = %s",
        [state, error, row["id"]],
    )
