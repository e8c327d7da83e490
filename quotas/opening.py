"""Opening the current period of many organisations: what the first touch does for one.

A page of entitlements is one short transaction. Whoever somebody else works on is
skipped, as they are being opened there. Memory is bounded by a page.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from django.db import DatabaseError, connection, transaction
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL

from quotas import counters, rules, snapshots
from quotas.models import Entitlement, Status, UsageCounter
from quotas.periods import Period, period_in

logger = structlog.get_logger("metergate.rollover")
#: Entitlements looked at in one transaction: it holds the locks of those it opens.
PAGE = 250
#: What an organisation that cannot be rolled over raises, and must not stop the rest.
BROKEN = (DatabaseError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_LIVE = (Status.TRIALING, Status.ACTIVE, Status.PAST_DUE)

# Lacks the counter of an instant for one of its metrics. One whose allowances are no
# object is broken: it is let through, to be named.
_LACKS_ONE = """
EXISTS (
    SELECT FROM jsonb_object_keys(
           CASE WHEN jsonb_typeof(quotas_entitlement.allowances) = 'object'
                THEN quotas_entitlement.allowances
                     || coalesce(quotas_entitlement.scheduled_allowances, '{}')
                ELSE '{"": 0}' END) AS k (metric)
     WHERE NOT EXISTS (
           SELECT FROM quotas_usagecounter c
            WHERE c.org_id = quotas_entitlement.org_id AND c.metric = k.metric
              AND c.period_start <= %s AND c.period_end > %s))
"""
# A thousand counters in the time of one round trip. The model's own insert spends most of
# its time on each value.
_INSERT = f"""
WITH c AS (
    INSERT INTO quotas_usagecounter (
        counted, forgiven, forgiven_version, adjusted, version, created_at, updated_at,
        org_id, metric, period_key, period_start, period_end,
        included, overage, access, valid_until)
    SELECT 0, 0, 0, 0, 1, %s, %s, new.*
      FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[],
                  %s::bigint[], %s::text[], %s::boolean[], %s::timestamptz[]) AS new
    RETURNING *)
SELECT c.org_id, {snapshots.COLUMNS} FROM c, contract_installation i
"""  # noqa: S608 - COLUMNS is a constant


@dataclass(slots=True)
class Opened:
    """What became of one page."""

    counters: int = 0
    broken: list[str] = field(default_factory=list)


def pages(org_ids: Collection[str]) -> Iterator[list[int]]:
    """Yield the keys of all entitlements, or of some organisations', a page at a time."""
    rows = Entitlement.objects.order_by("pk")
    if org_ids:
        rows = rows.filter(org_id__in=org_ids)
    last = 0
    while page := list(rows.filter(pk__gt=last).values_list("pk", flat=True)[:PAGE]):
        last = page[-1]
        yield page


def open_page(
    page: list[int], *, now: datetime, metric: str | None = None, dry_run: bool = False
) -> Opened:
    """Open what is missing at `now` of a page of entitlements, of one metric or of all.

    Counts and writes nothing in a dry run. An organisation that cannot be opened
    is named, and left as it is.
    """
    work = _Work(now=now, metric=metric)
    with transaction.atomic():
        due = _due(page, now)
        found = list(due if dry_run else due.select_for_update(skip_locked=True))
        work.look_at(found)
        if dry_run:
            work.done.counters = sum(len(one.missing) for one in work.due)
        else:
            work.insert()
    if not dry_run:
        # After the commit, and without a second try: until a copy holds the new
        # period nobody is answered from it.
        snapshots.seed(work.opened)
        for org_id in work.restarted:
            counters.publish_open(org_id, now=now)
    return work.done


def _due(page: list[int], now: datetime) -> QuerySet[Entitlement]:
    lacks_one = RawSQL(_LACKS_ONE, (now, now), output_field=BooleanField())  # noqa: S611 - constant
    return Entitlement.objects.filter(lacks_one, pk__in=page, status__in=_LIVE).order_by("pk")


@dataclass(frozen=True, slots=True)
class _Due:
    """An organisation, its current period, and the metrics that lack a counter of it."""

    entitlement: Entitlement
    period: Period
    missing: list[str]
    #: The counters to insert, as _INSERT takes them.
    rows: list[tuple[Any, ...]]
    #: Its periods restarted once: the one before may have something to hand over.
    was_cut: bool


class _Work:
    """One page on its way."""

    def __init__(self, *, now: datetime, metric: str | None) -> None:
        self.now = now
        self.metric = metric
        self.done = Opened()
        self.due: list[_Due] = []
        #: What was inserted, as snapshots.COLUMNS, each behind its organisation.
        self.opened: list[tuple[Any, ...]] = []
        self.restarted: list[str] = []

    def look_at(self, entitlements: list[Entitlement]) -> None:
        """Find out what each of them lacks."""
        held = set(
            UsageCounter.objects.filter(
                org_id__in=[one.org_id for one in entitlements],
                period_start__lte=self.now,
                period_end__gt=self.now,
            ).values_list("org_id", "metric")
        )
        for entitlement in entitlements:
            try:
                self._look_at(entitlement, held)
            except BROKEN as error:
                self._park(entitlement.org_id, error)

    def insert(self) -> None:
        """Insert all that is missing in one statement, or, where that fails, one by one."""
        singly = [one for one in self.due if one.was_cut]
        rows = [row for one in self.due if not one.was_cut for row in one.rows]
        try:
            if rows:
                with transaction.atomic(), connection.cursor() as cursor:
                    columns = [list(column) for column in zip(*rows, strict=True)]
                    cursor.execute(_INSERT, [self.now, self.now, *columns])
                    self.opened = cursor.fetchall()
            self.done.counters += len(rows)
        except DatabaseError:
            # One of them is broken: the others must not suffer for it.
            singly = self.due
        for one in singly:
            self._insert_singly(one)

    def _look_at(self, entitlement: Entitlement, held: set[tuple[str, str]]) -> None:
        if not rules.has_access(entitlement, self.now):
            return
        missing = [
            metric
            for metric in rules.metrics_of(entitlement)
            if self.metric in (None, metric) and (entitlement.org_id, metric) not in held
        ]
        cuts = rules.cuts_of(entitlement, self.now)
        if missing:
            period = period_in(cuts, self.now)
            # What a plan says wrongly shows here, not among the rows of all.
            rows = [self._row(entitlement, metric, period) for metric in missing]
            self.due.append(_Due(entitlement, period, missing, rows, was_cut=len(cuts) > 1))

    def _row(self, entitlement: Entitlement, metric: str, period: Period) -> tuple[Any, ...]:
        terms = counters.terms(entitlement, metric, period, now=self.now)
        return (
            *(entitlement.org_id, metric, period.key, period.start, period.end),
            *(terms["included"], terms["overage"], terms["access"], terms["valid_until"]),
        )

    def _insert_singly(self, one: _Due) -> None:
        org_id = one.entitlement.org_id
        try:
            with transaction.atomic():
                now = counters.instant_of(one.entitlement, now=self.now)
                period = rules.period_of(one.entitlement, now, known_at=now)
                counters.insert_counters(
                    one.entitlement, [(metric, period) for metric in one.missing], now=now
                )
        except BROKEN as error:
            self._park(org_id, error)
            return
        self.done.counters += len(one.missing)
        self.restarted.append(org_id)

    def _park(self, org_id: str, error: Exception) -> None:
        self.done.broken.append(org_id)
        logger.warning("rollover_skipped", tenant_id=org_id, error=type(error).__name__)
