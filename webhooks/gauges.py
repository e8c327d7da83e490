"""The state of the inbox for Prometheus, read when it is asked for: no process has to keep it."""

from collections.abc import Iterator
from datetime import datetime

import structlog
from django.db import DatabaseError
from django.db.models import Count, Min
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from config.contract import clock
from webhooks.models import EventCoverage, WebhookEvent

logger = structlog.get_logger("metergate.webhooks")
State = WebhookEvent.State


class InboxCollector(Collector):
    """How much waits, for how long, and how far the inbox is known to be complete.

    Each is one look at an index that holds nothing else. Without the database
    they are absent: the other metrics are still told.
    """

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Look."""
        try:
            waiting = WebhookEvent.objects.filter(state=State.PENDING).aggregate(
                count=Count("pk"), oldest=Min("due_at")
            )
            parked = WebhookEvent.objects.filter(state=State.PARKED).count()
            covered = EventCoverage.objects.values_list("covered_to", flat=True).first()
        except DatabaseError as error:
            logger.warning("inbox_unknown", error=type(error).__name__)
            return
        yield _gauge(
            "pending", "Events that wait for a worker or for another try.", waiting["count"]
        )
        yield _gauge(
            "lag_seconds",
            "For how long the event that is due longest has been due.",
            _since(waiting["oldest"], clock.real_now()),
        )
        yield _gauge("parked", "Events that wait for a person.", parked)
        if covered is not None:
            yield _gauge(
                "gap_seconds",
                "Age of the newest comparison with Stripe's own list of events.",
                _since(covered, clock.now()),
            )


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"metergate_webhooks_{name}", words, value=value)


def _since(instant: datetime | None, now: datetime) -> float:
    return 0.0 if instant is None else max(0.0, (now - instant).total_seconds())
