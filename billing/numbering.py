"""Numbers of fetches: taken before Stripe is asked, so that an answer that comes late is known."""

from typing import TypeVar

from django.db import connection
from psycopg import sql

from billing.models import InvoiceRef, Subscription

Mirror = TypeVar("Mirror", Subscription, InvoiceRef)
#: What each is known by at Stripe.
_KEYS: dict[object, str] = {
    Subscription: "stripe_subscription_id",
    InvoiceRef: "stripe_invoice_id",
}
_TAKE = """
    UPDATE {table} SET fetch_requested = fetch_requested + 1 WHERE {key} = %s
    RETURNING fetch_requested
"""


def take_number(model: type[Mirror], stripe_id: str) -> int:
    """Number a fetch that is about to begin; the row is made where there is none yet.

    One statement, since every event takes one. Outside of a transaction it commits.
    """
    taken = _take(model, stripe_id)
    while taken is None:
        rows: list[Mirror] = [model(**{_KEYS[model]: stripe_id})]
        model._default_manager.bulk_create(rows, ignore_conflicts=True)
        taken = _take(model, stripe_id)
    return taken


def _take(model: type[Mirror], stripe_id: str) -> int | None:
    statement = sql.SQL(_TAKE).format(
        table=sql.Identifier(model._meta.db_table), key=sql.Identifier(_KEYS[model])
    )
    with connection.cursor() as cursor:
        cursor.execute(statement.as_string(), [stripe_id])
        row = cursor.fetchone()
    return None if row is None else int(row[0])
