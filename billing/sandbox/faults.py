"""Faults on order: what the next requests, payments or deliveries run into.

A row says how often (`remaining`; -1 for ever) and for which requests: `path`
and `method` are SQL LIKE patterns.
"""

from billing.sandbox.database import Connection
from billing.sandbox.errors import StripeFault, invalid

#: Kinds a request can meet, in the order in which they are looked for.
API = (
    "rate_limited",  # 429 before anything happens
    "conflict",  # 409 lock_timeout before anything happens
    "error",  # 500 before anything happens, not kept
    "stored_error",  # 500 before anything happens, kept under the key
    "stored_error_after",  # everything happens, a 500 is kept under the key
    "slow",  # `seconds` late, then as usual
    "slow_after",  # as usual, but the answer comes `seconds` late
    "cut_before",  # connection closed, nothing happened
    "cut_after",  # everything happens, connection closed without an answer
)
PAYMENTS = ("card_declined",)
WEBHOOKS = (
    "webhook_delay",  # `seconds` late
    "webhook_duplicate",  # delivered twice
    "webhook_reorder",  # the waiting batch goes out last first
    "webhook_drop",  # never sent, counts as failed
    "webhook_fail",  # not sent this time, retried later
)
KINDS = API + PAYMENTS + WEBHOOKS


def order(
    connection: Connection,
    *,
    kind: str,
    count: int = 1,
    method: str = "%",
    path: str = "%",
    seconds: float = 0,
) -> None:
    """Put a fault on order. `*` in `path` stands for anything."""
    if kind not in KINDS:
        raise invalid(f"Invalid kind: must be one of {', '.join(KINDS)}", param="kind")
    connection.execute(
        "INSERT INTO faults (kind, method, path, remaining, seconds) VALUES (%s, %s, %s, %s, %s)",
        [kind, method.upper(), path.replace("*", "%"), count, seconds],
    )


def take(
    connection: Connection, *kinds: str, method: str = "", path: str = ""
) -> tuple[str, float] | None:
    """Use up one ordered fault of these kinds; return its kind and seconds."""
    row = connection.execute(
        "UPDATE faults SET remaining = remaining - CASE WHEN remaining > 0 THEN 1 ELSE 0 END"
        " WHERE id = (SELECT id FROM faults WHERE kind = ANY(%s) AND remaining <> 0"
        " AND %s LIKE method AND %s LIKE path ORDER BY id LIMIT 1 FOR UPDATE)"
        " RETURNING kind, seconds",
        [list(kinds), method, path],
    ).fetchone()
    return None if row is None else (row["kind"], float(row["seconds"]))


def clear(connection: Connection) -> None:
    """Forget every order."""
    connection.execute("DELETE FROM faults")


def waiting(connection: Connection) -> list[dict[str, object]]:
    """Return what is still on order."""
    rows = connection.execute(
        "SELECT kind, method, path, remaining, seconds FROM faults WHERE remaining <> 0 ORDER BY id"
    )
    return [
        {name: v.replace("%", "*") if isinstance(v, str) else v for name, v in row.items()}
        for row in rows
    ]


def refusal(kind: str) -> StripeFault:
    """Return the error answer of an API fault."""
    if kind == "rate_limited":
        return StripeFault("Request rate limit exceeded.", status=429, code="rate_limit")
    if kind == "conflict":
        return StripeFault(
            "This object cannot be accessed right now because another API request or Stripe "
            "process is currently accessing it.",
            status=409,
            code="lock_timeout",
        )
    return StripeFault("An unknown error occurred", status=500, type_="api_error")
