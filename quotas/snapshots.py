"""A counter as the fast paths carry it: out of the row, into the copy, and back."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from config.contract.clients import clients
from config.contract.copy_publisher import Field
from config.contract.models import Installation
from quotas.models import Overage, UsageCounter
from quotas.periods import Period

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class CounterSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """The numbers of one counter at one version. Instants are microseconds since 1970."""

    epoch: int
    metric: str
    period_key: str
    start_us: int
    end_us: int
    version: int
    used: int
    limit: int
    allows_overage: bool
    access: bool
    valid_until_us: int

    @property
    def remaining(self) -> int:
        """Units left, never negative."""
        return max(0, self.limit - self.used)

    @property
    def period(self) -> Period:
        """The period these numbers are of."""
        return Period(self.period_key, _instant(self.start_us), _instant(self.end_us))

    def holds_at(self, now: datetime) -> bool:
        """Tell whether neither status, limit nor period changed by time alone since."""
        return self.start_us <= microseconds(now) < min(self.end_us, self.valid_until_us)

    def has_room(self, value: int) -> bool:
        """Tell whether `value` more units may be used. Access is another question."""
        return self.allows_overage or self.used + value <= self.limit


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CounterSnapshot).decode


def microseconds(at: datetime) -> int:
    """Return an instant as whole microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def _instant(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def of_row(counter: UsageCounter, epoch: int) -> CounterSnapshot:
    """Return the snapshot of a counter's row."""
    return CounterSnapshot(
        epoch=epoch,
        metric=counter.metric,
        period_key=counter.period_key,
        start_us=microseconds(counter.period_start),
        end_us=microseconds(counter.period_end),
        version=counter.version,
        used=counter.used,
        limit=counter.limit,
        allows_overage=counter.overage == Overage.ALLOW,
        access=counter.access,
        valid_until_us=microseconds(counter.valid_until),
    )


def of_columns(row: tuple[Any, ...]) -> CounterSnapshot:
    """Return the snapshot of a row selected with `COLUMNS`."""
    (epoch, metric, key, start, end, version, used, limit, overage, access, valid_until) = row
    return CounterSnapshot(
        epoch=epoch,
        metric=metric,
        period_key=key,
        start_us=microseconds(start),
        end_us=microseconds(end),
        version=version,
        used=used,
        limit=limit,
        allows_overage=overage == Overage.ALLOW,
        access=access,
        valid_until_us=microseconds(valid_until),
    )


#: Selects a snapshot from `quotas_usagecounter c, contract_installation i`.
COLUMNS = """i.copy_epoch, c.metric, c.period_key, c.period_start, c.period_end, c.version,
       c.counted - c.forgiven, greatest(0, c.included + c.adjusted), c.overage, c.access,
       c.valid_until"""


def from_copy(held: dict[str, bytes] | None, metric: str) -> CounterSnapshot | None:
    """Return the snapshot that the copy holds of a metric, if it does."""
    packed = held.get(_name(metric)) if held else None
    try:
        return _decode(packed) if packed is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Damaged, or written by another version of us: as good as none.
        return None


def fields(snapshots: Iterable[CounterSnapshot]) -> list[Field]:
    """Return the copy's fields for `snapshots`."""
    return [
        Field(_name(one.metric), one.epoch, one.start_us, one.version, _encode(one))
        for one in snapshots
    ]


def publish(org_id: str, snapshots: Iterable[CounterSnapshot]) -> None:
    """Publish committed counters. A failure is retried in the background."""
    found = fields(snapshots)
    if found:
        clients.copy.publish(org_id, found)


def seed(rows: Iterable[tuple[Any, ...]]) -> None:
    """Publish counters that were just opened, of many organisations at once.

    Each row is an organisation, and `COLUMNS` of its counter. Not retried: until then a
    copy holds a period that is over, or nothing, and the database is asked.
    """
    by_org: dict[str, list[CounterSnapshot]] = {}
    for org_id, *columns in rows:
        by_org.setdefault(org_id, []).append(of_columns(tuple(columns)))
    clients.copy.publish_many({org_id: fields(found) for org_id, found in by_org.items()})


def installation_epoch() -> int:
    """Return the epoch of the copy: publishes of an older one lose."""
    return (
        Installation.objects.filter(pk=Installation.ONLY).values_list("copy_epoch", flat=True).get()
    )


def _name(metric: str) -> str:
    return f"m:{metric}"
