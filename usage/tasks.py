"""What is scheduled here."""

import structlog
from celery import shared_task

from config.contract import clock, metrics
from usage.reconcile import sample

logger = structlog.get_logger("metergate.reconcile")
_ORGANISATIONS = 50


@shared_task
def sample_counters() -> None:
    """Compare some counters with their rows: a difference is a bug, and is told as one."""
    done = sample(now=clock.now(), organisations=_ORGANISATIONS)
    for drift in done.drifts:
        metrics.DRIFT.labels(drift.what).inc()
        logger.error(
            "counter_drift",
            tenant_id=drift.org_id,
            metric=drift.metric,
            period=drift.period_key,
            what=drift.what,
            counter=drift.counter,
            rows=drift.rows,
        )
