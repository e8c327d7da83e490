"""Proof that the counts are right: each column of each counter against its rows, and the copy.

Any difference between rows and counter is a bug by design. One snapshot of the
database per page of organisations, so that a count in flight is no difference.
"""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q, Sum

from config.contract.clients import clients
from quotas import counters, rules, snapshots, thresholds
from quotas.adjustments import adjusted_units
from quotas.models import Adjustment, CounterRepair, Entitlement, Forgiveness, UsageCounter
from usage.models import UsageEvent, UsageVoid

_PAGE = 500
#: Columns that rows prove, whatever else is wrong.
_PROVABLE = frozenset(("counted", "forgiven", "adjusted", "next_threshold_at"))
Key = tuple[str, str, datetime]


@dataclass(frozen=True, slots=True)
class Drift:
    """One column of one counter that is not what it should be."""

    org_id: str
    metric: str
    period_key: str
    what: str
    counter: int | bool | str | None
    rows: int | bool | str | None


@dataclass(slots=True)
class Reconciled:
    """What was checked so far, and what differed."""

    organisations: int = 0
    counters: int = 0
    events: int = 0
    repaired: int = 0
    drifts: list[Drift] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Sums by counter, out of one snapshot."""

    counted: dict[Key, tuple[int, int, int]]  # units, events, highest counter_version
    voided: dict[Key, int]
    forgiven: dict[Key, int]
    adjusted: dict[Key, int]


def reconcile(
    *,
    now: datetime,
    org_ids: Collection[str] = (),
    repair_as: str | None = None,
) -> Iterator[Reconciled]:
    """Compare every counter (or those of some organisations) with its rows and its copy.

    Yields running totals after each page. With `repair_as` (who repairs) the
    columns that rows prove are set back under the counter's lock, with a
    CounterRepair row each.
    """
    done = Reconciled()
    for page in _pages(org_ids):
        found = _page(page, now=now)
        for drift in found.drifts:
            if repair_as is not None and drift.what in _PROVABLE:
                done.repaired += _repair(drift, who=repair_as, now=now)
        done.organisations += len(page)
        done.counters += found.counters
        done.events += found.events
        done.drifts += found.drifts
        yield done
    yield done


def sample(*, now: datetime, organisations: int) -> Reconciled:
    """Check some organisations, chosen at random."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT org_id FROM quotas_entitlement ORDER BY random() LIMIT %s", [organisations]
        )
        chosen = [row[0] for row in cursor.fetchall()]
    # The last yield holds the totals.
    return list(reconcile(now=now, org_ids=chosen))[-1] if chosen else Reconciled()


def _pages(org_ids: Collection[str]) -> Iterator[list[str]]:
    if org_ids:
        ordered = sorted(org_ids)
        yield from (ordered[n : n + _PAGE] for n in range(0, len(ordered), _PAGE))
        return
    last = ""
    while True:
        # Events without a counter count as well, so both tables are asked.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT org_id FROM (SELECT org_id FROM quotas_usagecounter WHERE org_id > %s"
                " UNION SELECT org_id FROM quotas_entitlement WHERE org_id > %s) AS o"
                " ORDER BY org_id LIMIT %s",
                [last, last, _PAGE],
            )
            page = [row[0] for row in cursor.fetchall()]
        if not page:
            return
        last = page[-1]
        yield page


def _page(org_ids: list[str], *, now: datetime) -> Reconciled:
    done = Reconciled()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        held = list(UsageCounter.objects.filter(org_id__in=org_ids).order_by("org_id", "pk"))
        entitlements = {one.org_id: one for one in Entitlement.objects.filter(org_id__in=org_ids)}
        rows = _rows(org_ids, now=now)
        armed = thresholds.expected([one for one in held if one.closed_at is None])
        epoch = snapshots.installation_epoch()
    known = set()
    for counter in held:
        known.add((counter.org_id, counter.metric, counter.period_start))
        done.drifts += _differences(counter, rows, entitlements.get(counter.org_id), now=now)
        right = armed.get(counter.pk, counter.next_threshold_at)
        if counter.next_threshold_at != right:
            done.drifts.append(
                _drift(counter, "next_threshold_at", counter.next_threshold_at, right)
            )
    for key, (units, events, _) in rows.counted.items():
        done.events += events
        if key not in known:
            done.drifts.append(Drift(key[0], key[1], key[2].isoformat(), "missing", None, units))
    done.counters = len(held)
    current = [one for one in held if one.period_start <= now < one.period_end]
    done.drifts += _copy_differences(current, epoch)
    return done


def _rows(org_ids: list[str], *, now: datetime) -> _Rows:
    by = ("org_id", "metric", "period_start")
    mine = Q(org_id__in=org_ids)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT org_id, metric, period_start, sum(value), count(*), max(counter_version)"
            " FROM usage_usageevent WHERE org_id = ANY (%s) GROUP BY 1, 2, 3",
            [org_ids],
        )
        counted = {
            (org, metric, start): (int(units), int(events), int(version))
            for org, metric, start, units, events, version in cursor.fetchall()
        }

    def sums(rows: Any, column: str) -> dict[Key, int]:
        return {
            tuple(row[name] for name in by): int(row["total"])
            for row in rows.filter(mine).order_by().values(*by).annotate(total=Sum(column))
        }

    in_force = Adjustment.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now))
    return _Rows(
        counted=counted,
        voided=sums(UsageVoid.objects, "value"),
        forgiven=sums(Forgiveness.objects, "units"),
        adjusted=sums(in_force, "units"),
    )


def _differences(
    counter: UsageCounter, rows: _Rows, entitlement: Entitlement | None, *, now: datetime
) -> Iterator[Drift]:
    key = (counter.org_id, counter.metric, counter.period_start)
    units, _, version = rows.counted.get(key, (0, 0, 0))
    expected: dict[str, int | bool | str] = {
        "counted": units - rows.voided.get(key, 0),
        "forgiven": rows.forgiven.get(key, 0),
    }
    # What time alone changes is derived at the next touch: until then it may lag.
    if now < min(counter.valid_until, counter.period_end):
        expected["adjusted"] = rows.adjusted.get(key, 0)
        if entitlement is not None:
            limit = rules.limit_for(
                entitlement, counter.metric, period_start=counter.period_start, at=now
            )
            expected["included"] = limit.included
            expected["overage"] = str(limit.overage)
            expected["access"] = rules.has_access(entitlement, now)
    for what, value in expected.items():
        if getattr(counter, what) != value:
            yield _drift(counter, what, getattr(counter, what), value)
    if version > counter.version:
        yield _drift(counter, "version", counter.version, version)
    if entitlement is None:
        yield _drift(counter, "entitlement", counter.org_id, None)


def _copy_differences(current: list[UsageCounter], epoch: int) -> Iterator[Drift]:
    copies: dict[str, dict[str, bytes] | None] = {}
    for counter in current:
        if counter.org_id not in copies:
            copies[counter.org_id] = clients.copy.read(counter.org_id)
        copied = snapshots.from_copy(copies[counter.org_id], counter.metric)
        row = snapshots.of_row(counter, epoch)
        # A newer copy was published after our snapshot; an older one is on its way out.
        if copied is None or (copied.start_us, copied.version) != (row.start_us, row.version):
            continue
        if copied != row:
            yield _drift(counter, "copy", copied.used, row.used)


def _drift(
    counter: UsageCounter,
    what: str,
    found: int | bool | str | None,
    expected: int | bool | str | None,
) -> Drift:
    return Drift(counter.org_id, counter.metric, counter.period_key, what, found, expected)


def _repair(drift: Drift, *, who: str, now: datetime) -> bool:
    with transaction.atomic():
        # READ COMMITTED: what is read after the lock is all that was committed under it.
        counter = (
            UsageCounter.objects.select_for_update()
            .filter(org_id=drift.org_id, metric=drift.metric, period_key=drift.period_key)
            .order_by("period_start")
            .first()
        )
        if counter is None:
            return False
        of_counter = Q(
            org_id=counter.org_id, metric=counter.metric, period_start=counter.period_start
        )

        def total(rows: Any, column: str) -> int:
            return int(rows.filter(of_counter).aggregate(total=Sum(column))["total"] or 0)

        right: dict[str, int | None] = {
            "counted": total(UsageEvent.objects, "value") - total(UsageVoid.objects, "value"),
            "forgiven": total(Forgiveness.objects, "units"),
            "adjusted": adjusted_units(counter, now=now)[0],
        }
        before = {name: getattr(counter, name) for name in (*right, "next_threshold_at")}
        for name, value in right.items():
            setattr(counter, name, value)
        right |= {"next_threshold_at": thresholds.expected([counter])[counter.pk]}
        if before == right:
            return False
        UsageCounter.objects.filter(pk=counter.pk).update(
            **right, version=F("version") + 1, updated_at=now
        )
        CounterRepair.objects.create(
            org_id=counter.org_id,
            metric=counter.metric,
            period_start=counter.period_start,
            before=before,
            after=right,
            made_by=who,
            made_at=now,
        )
    counters.publish_open(counter.org_id, now=now)
    return True
