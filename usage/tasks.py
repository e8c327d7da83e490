"""What is scheduled here."""

import structlog
from celery import shared_task

from config.contract import clock, metrics
from usage.checks import remember
from usage.reconcile import sample
from usage.rollup import days_due, recent_days, roll_days

logger = structlog.get_logger("metergate.reconcile")
_ORGANISATIONS = 50


@shared_task
def sample_counters() -> None:
    """Compare some counters with their rows: a difference is a bug, and is told as one."""
    now = clock.now()
    done = sample(now=now, organisations=_ORGANISATIONS)
    remember(done, everything=False, now=now)
    metrics.SAMPLES_SKIPPED.inc(done.skipped)
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


@shared_task
def roll_days_up() -> None:
    """Compute today, yesterday and every other day that was touched of late."""
    now = clock.now()
    list(roll_days(days_due(now=now), now=now))


@shared_task
def roll_recent_days_up() -> None:
    """Compute all recent days, whether anything was found to touch them or not."""
    now = clock.now()
    list(roll_days(recent_days(now=now), now=now))
