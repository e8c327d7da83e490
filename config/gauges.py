"""The state of PostgreSQL for Prometheus, read when it is asked for."""

from collections.abc import Iterator

import structlog
from django.db import DatabaseError, InterfaceError
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from config.contract.old_snapshots import KINDS, oldest_snapshots

logger = structlog.get_logger("metergate.snapshots")


class SnapshotCollector(Collector):
    """How old the oldest snapshot of each kind is. Absent without the database."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Look."""
        try:
            snapshots = oldest_snapshots()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("snapshots_unknown", error=type(error).__name__)
            return
        seconds = GaugeMetricFamily(
            "metergate_oldest_snapshot_seconds",
            "Age of the oldest snapshot that keeps PostgreSQL from removing old rows.",
            labels=["kind"],
        )
        transactions = GaugeMetricFamily(
            "metergate_oldest_snapshot_transactions",
            "Transactions that began since the oldest snapshot.",
            labels=["kind"],
        )
        by_kind = {snapshot.kind: snapshot for snapshot in snapshots.oldest}
        for kind in KINDS:
            snapshot = by_kind.get(kind)
            transactions.add_metric([kind], snapshot.transactions if snapshot else 0)
            if snapshot is None or snapshot.seconds is not None:
                seconds.add_metric([kind], (snapshot.seconds or 0.0) if snapshot else 0.0)
        yield seconds
        yield transactions
        yield GaugeMetricFamily(
            "metergate_snapshots_seen",
            "1 where the snapshots of other roles are seen too (pg_read_all_stats).",
            value=float(snapshots.sees_all),
        )
