"""Made-up customers with months of use, for measuring and for pictures.

Rows are written past the services, a million at a time; the books agree all the
same (`reconcile_usage` proves it). Everything is derived from the row's number,
so that two runs make the same customers.
"""

import json
from datetime import datetime, timedelta
from pathlib import Path

from django.db import connection, transaction

from billing.models import Organization
from quotas.models import Entitlement, Status
from usage.rollup import days_between, roll_days

#: How far back the made-up use goes.
AGE = timedelta(days=45)
_SQL = Path(__file__).with_name("seeding.sql")
_MADE = "SELECT org_id, plan, status, created, allowances, trial_ends, past_due FROM made"


def seed(*, organisations: int, events: int, now: datetime) -> None:
    """Add `organisations` customers with `events` uses between them, then roll the days up."""
    named: dict[str, int | datetime] = {
        "first": Organization.objects.count(),
        "count": organisations,
        "events": events,
        "now": now,
        "since": now - AGE,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in _SQL.read_text().split(";\n"):
            if statement.strip():
                cursor.execute(statement, named)
        cursor.execute(_MADE)
        Entitlement.objects.bulk_create(
            [_entitlement(*row) for row in cursor.fetchall()], batch_size=500
        )
    with connection.cursor() as cursor:
        # Else the planner goes by what it knew of empty tables.
        cursor.execute("ANALYZE")
    list(roll_days(days_between((now - AGE).date(), now.date()), now=now))


def _entitlement(
    org_id: str,
    plan_code: str,
    status: str,
    created: datetime,
    allowances: str,
    trial_ends: datetime,
    past_due: datetime,
) -> Entitlement:
    return Entitlement(
        org_id=org_id,
        plan_code=plan_code,
        status=status,
        status_since=created,
        status_because="seeded",
        allowances=json.loads(allowances),
        allowances_since=created,
        anchor_at=created,
        trial_ends_at=trial_ends if status == Status.TRIALING else None,
        past_due_since=past_due if status == Status.PAST_DUE else None,
        started_at=created,
        updated_at=created,
    )
