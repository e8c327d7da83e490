"""May this be used? Reads, never counts."""

import time
from dataclasses import dataclass
from datetime import datetime

from config.contract import metrics
from config.contract.clients import clients
from config.contract.hotpool import fetch
from quotas import counters, snapshots
from quotas.denial_book import book
from quotas.denials import Numbers, numbers_of, rate_limit_headers
from quotas.errors import PaymentRequired, QuotaExceeded
from quotas.snapshots import CounterSnapshot

#: For so long, in seconds, a denial is answered from the numbers the database
#: confirmed, as long as the copy still says the same version.
_CONFIRMED_FOR = 0.25
_MOST_CONFIRMED = 10_000

_CURRENT = f"""
SELECT {snapshots.COLUMNS}
  FROM quotas_usagecounter c, contract_installation i
 WHERE c.org_id = %s AND c.metric = %s AND c.period_start <= %s AND c.period_end > %s
"""  # noqa: S608 - COLUMNS is a constant

_confirmed: dict[tuple[str, str], tuple[float, CounterSnapshot]] = {}


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer of a check, and where it was found."""

    code: str | None
    numbers: Numbers
    decided_by: str

    @property
    def allow(self) -> bool:
        """Whether the call may go ahead."""
        return self.code is None

    def headers(self, now: datetime) -> dict[str, str]:
        """Return the RateLimit headers."""
        return rate_limit_headers(
            self.numbers.metric,
            remaining=self.numbers.remaining,
            limit=self.numbers.limit,
            period=self.numbers.period,
            now=now,
        )

    def or_raise(self, now: datetime) -> "Decision":
        """Return self where it allows. Raises PaymentRequired or QuotaExceeded."""
        if self.code == "PAYMENT_REQUIRED":
            raise PaymentRequired
        if self.code is not None:
            raise QuotaExceeded(self.numbers, rate_limit_headers=self.headers(now))
        return self


def check(
    *, org_id: str, metric: str, value: int, now: datetime, held: dict[str, bytes] | None
) -> Decision:
    """Decide whether `value` units of `metric` may be used at `now`.

    `held` is the organisation's copy as the request read it. Only what is
    clearly inside is allowed from the copy; a denial is confirmed on the
    counter's row first. Raises PaymentRequired where nothing was ever granted.
    """
    copied = snapshots.from_copy(held, metric)
    if copied is not None and copied.holds_at(now):
        if copied.access and copied.has_room(value):
            return _decision(org_id, copied, value, now, decided_by="copy")
        known = _still_confirmed(org_id, copied)
        if known is not None:
            return _decision(org_id, known, value, now, decided_by="copy")
    try:
        fresh = _from_database(org_id, metric, now, had_copy=held is not None)
    except PaymentRequired as refusal:
        book.note(
            org_id=org_id,
            metric=metric,
            code=refusal.code,
            value=value,
            now=now,
            door="check",
            decided_by="database",
        )
        raise
    if not (fresh.access and fresh.has_room(value)):
        _remember(org_id, fresh)
    return _decision(org_id, fresh, value, now, decided_by="database")


def _decision(
    org_id: str, snapshot: CounterSnapshot, value: int, now: datetime, *, decided_by: str
) -> Decision:
    code = None
    if not snapshot.access:
        code = "PAYMENT_REQUIRED"  # 402 before 429
    elif not snapshot.has_room(value):
        code = "RATE_LIMITED"
    metrics.DECISIONS.labels("check", code or "ALLOW").inc()
    numbers = numbers_of(snapshot)
    if code is not None:
        book.note(
            org_id=org_id,
            metric=snapshot.metric,
            code=code,
            value=value,
            now=now,
            door="check",
            decided_by=decided_by,
            numbers=numbers,
            version=snapshot.version,
        )
    return Decision(code=code, numbers=numbers, decided_by=decided_by)


def _from_database(org_id: str, metric: str, now: datetime, *, had_copy: bool) -> CounterSnapshot:
    read_at = time.monotonic()
    found = _read(org_id, metric, now)
    if found is not None and not found.holds_at(now):
        # Where a scheduled change restarts the period, that ends this counter.
        counters.refresh(org_id=org_id, now=now)
        found = _read(org_id, metric, now)
    if found is None:
        refused = counters.open_periods(org_id=org_id, wanted=[(metric, now)], now=now)
        for error in refused.values():
            raise error
        found = _read(org_id, metric, now)
    if found is None:
        # Opened and gone again within a request: an anchor restarted in between.
        raise PaymentRequired
    clients.copy.fill(org_id, snapshots.fields([found]), read_at=read_at, had_copy=had_copy)
    return found


def _read(org_id: str, metric: str, now: datetime) -> CounterSnapshot | None:
    rows = fetch(_CURRENT, (org_id, metric, now, now))
    return snapshots.of_columns(rows[0]) if rows else None


def _still_confirmed(org_id: str, copied: CounterSnapshot) -> CounterSnapshot | None:
    found = _confirmed.get((org_id, copied.metric))
    if found is None:
        return None
    confirmed_at, snapshot = found
    if time.monotonic() - confirmed_at > _CONFIRMED_FOR or snapshot != copied:
        return None
    return snapshot


def _remember(org_id: str, snapshot: CounterSnapshot) -> None:
    if len(_confirmed) >= _MOST_CONFIRMED:
        _confirmed.clear()
    _confirmed[(org_id, snapshot.metric)] = (time.monotonic(), snapshot)
