"""Counters and histograms for Prometheus, multiprocess-safe."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter("metergate_requests_total", "Requests answered.", ["route", "method", "status"])
SECONDS = Histogram(
    "metergate_request_seconds",
    "Time to answer, in seconds.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
SMOKE = Counter("metergate_smoke_total", "Calls of the smoke test.")
TURNED_AWAY = Counter(
    "metergate_turned_away_total", "Requests answered before any work was done.", ["reason"]
)
WAITED = Histogram(
    "metergate_queue_seconds",
    "Time that a request which found no thread free waited for one, in seconds.",
    ["lane"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
)
DECISIONS = Counter("metergate_quota_decisions_total", "Quota decisions.", ["door", "code"])
COPY_FAILURES = Counter(
    "metergate_copy_failures_total", "Reads or publishes that Valkey did not answer.", ["what"]
)
DENIALS_DROPPED = Counter(
    "metergate_denials_dropped_total", "Denials that no row tells of: the database was away."
)

DRIFT = Counter(
    "metergate_counter_drift_total", "Counters found to differ from their rows.", ["what"]
)
SAMPLES_SKIPPED = Counter(
    "metergate_counter_samples_skipped_total",
    "Organisations too large for a sample to compare: `reconcile_usage` does.",
)
DELIVERIES = Counter(
    "metergate_notification_deliveries_total",
    "Attempts to tell an owner.",
    ["channel", "outcome"],
)
WEBHOOKS = Counter(
    "metergate_webhooks_total",
    "Stripe's events: received, duplicate, ignored or refused; processed, retried or parked.",
    ["outcome"],
)
ROLLOVER_FAILED = Counter(
    "metergate_rollover_failed_total", "Organisations that could not be rolled over."
)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def observe_request(route: str, method: str, status: int, seconds: float) -> None:
    """Count one answered request and the seconds it took."""
    if method not in _METHODS:
        method = "other"  # a client's own word must not make a series
    REQUESTS.labels(route, method, str(status)).inc()
    SECONDS.labels(route).observe(seconds)
