"""Is all well? One light for each thing that can go wrong quietly, with words beside the colour."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial

from django.db.models import Avg, Count, F, Max, Min, Q
from django.urls import reverse
from django.utils.timesince import timesince

from billing.models import InvoiceRef, Operation, UnpricedOverage
from billing.stripe_gateway import StripeKeyRefused
from config.contract import clock
from config.contract.clients import clients
from config.contract.old_snapshots import SEES_ALL, oldest_snapshots
from usage.models import CounterCheck, DailyTotal
from webhooks import progress
from webhooks.models import EventCoverage, WebhookEvent

_SLOW_WEBHOOK = timedelta(minutes=1)
_STUCK_WEBHOOK = timedelta(minutes=10)
_LATE_COVERAGE = timedelta(hours=3)
_STUCK_OPERATION = timedelta(minutes=10)
#: The rollup runs every five minutes, the comparison of counters every one.
_LATE_ROLLUP = timedelta(minutes=20)
_LATE_CHECK = timedelta(minutes=5)
#: What keeps old rows of counters longer than any transaction of ours does.
_OLD_SNAPSHOT = timedelta(minutes=1)
_VERY_OLD_SNAPSHOT = timedelta(minutes=10)
_MANY_TRANSACTIONS = 500_000
_FAILED_REFUND_SHOWN = timedelta(days=30)
_THEN = datetime(2000, 1, 1, tzinfo=UTC)
#: Over how many of the latest webhook events their time is averaged.
_RECENT = 100


class State(StrEnum):
    """How it stands. The word is shown; the colour only repeats it."""

    GOOD = "good"
    LOOK = "look"
    BAD = "bad"

    @property
    def word(self) -> str:
        """What the light says."""
        return {"good": "OK", "look": "Look", "bad": "Act"}[self.value]


@dataclass(frozen=True, slots=True)
class Light:
    """One light: how it stands, and a sentence that says why. `url` leads to the rows behind it."""

    name: str
    state: State
    sentence: str
    url: str = ""


def lights(*, now: datetime) -> list[Light]:
    """Return every light. A fixed number of queries, each over few rows or a partial index."""
    check = CounterCheck.objects.first()
    makers: tuple[Callable[[datetime], Light], ...] = (
        _webhook_lag,
        _parked,
        _coverage,
        partial(_drift, check),
        partial(_worker, check),
        _rollup,
        _operations,
        _overage,
        _disputes,
        _copy,
        _snapshots,
    )
    return [make(now) for make in makers]


def _webhook_lag(now: datetime) -> Light:
    waiting = WebhookEvent.objects.filter(state=WebhookEvent.State.PENDING).aggregate(
        count=Count("pk"),
        oldest=Min("received_at"),
        refused=Count("pk", filter=Q(error=StripeKeyRefused.__name__)),
    )
    url = _list("webhooks_webhookevent", "state__exact=pending")
    if waiting["refused"]:
        return Light(
            "Webhooks",
            State.BAD,
            f"Stripe refuses our API key (STRIPE_API_KEY): {waiting['refused']:,} events wait,"
            " and are worked off once it is accepted.",
            url,
        )
    if waiting["oldest"] is None:
        return Light("Webhooks", State.GOOD, f"All worked off{_usual_time()}.", url)
    lag = now - waiting["oldest"]
    state = State.GOOD
    if lag >= _SLOW_WEBHOOK:
        state = State.LOOK if lag < _STUCK_WEBHOOK else State.BAD
    return Light(
        "Webhooks",
        state,
        f"{waiting['count']:,} waiting, the oldest for {_length(lag)}.",
        url,
    )


def _usual_time() -> str:
    """Return how long the latest took, as the end of a sentence."""
    newest = WebhookEvent.objects.order_by("-pk")[:_RECENT]
    taken = WebhookEvent.objects.filter(
        pk__in=newest.values("pk"), state=WebhookEvent.State.PROCESSED
    ).aggregate(mean=Avg(F("processed_at") - F("received_at")))["mean"]
    if taken is None:
        return ""
    return f"; the latest took {max(0.0, taken.total_seconds()):.1f} s on average"


def _parked(now: datetime) -> Light:
    parked = WebhookEvent.objects.filter(state=WebhookEvent.State.PARKED).aggregate(
        count=Count("pk"), oldest=Min("received_at")
    )
    url = _list("webhooks_webhookevent", "state__exact=parked")
    if not parked["count"]:
        return Light("Parked events", State.GOOD, "None: every event could be worked.", url)
    return Light(
        "Parked events",
        State.BAD,
        f"{parked['count']:,} gave up after eight tries; the oldest came"
        f" {_length(now - parked['oldest'])} ago.",
        url,
    )


def _coverage(now: datetime) -> Light:
    url = _list("webhooks_eventcoverage")
    row = EventCoverage.objects.first()
    if row is None or row.covered_to is None:
        return Light("Stripe's list", State.LOOK, "Not compared with the inbox yet.", url)
    behind = now - row.covered_to
    state = State.GOOD if behind < _LATE_COVERAGE else State.LOOK
    return Light(
        "Stripe's list", state, f"Every event until {_length(behind)} ago is in the inbox.", url
    )


def _drift(row: CounterCheck | None, now: datetime) -> Light:
    url = _list("usage_countercheck")
    if row is None:
        return Light("Counters", State.LOOK, "Not compared with the ledger yet.", url)
    if row.drifted_at is not None:
        return Light("Counters", State.BAD, f"{row.drift}.", url)
    proven = f"; all of them {_length(now - row.proven_at)} ago" if row.proven_at else ""
    return Light("Counters", State.GOOD, f"They say what the ledger says{proven}.", url)


def _worker(check: CounterCheck | None, now: datetime) -> Light:
    stuck = progress.trouble(now=clock.real_now())
    if stuck:
        return Light("Worker and beat", State.BAD, f"{stuck.capitalize()}.")
    if check is None:
        return Light("Worker and beat", State.LOOK, "Nothing was heard of them yet.")
    silent = now - check.checked_at
    if silent < _LATE_CHECK:
        return Light("Worker and beat", State.GOOD, f"Last heard {_length(silent)} ago.")
    return Light("Worker and beat", State.BAD, f"Silent for {_length(silent)}: do they run?")


def _rollup(now: datetime) -> Light:
    url = _list("usage_dailytotal")
    at = DailyTotal.objects.filter(day__gte=now.date() - timedelta(days=2)).aggregate(
        at=Max("computed_at")
    )["at"]
    if at is None:
        return Light("Use by day", State.LOOK, "Not computed for today yet.", url)
    state = State.GOOD if now - at < _LATE_ROLLUP else State.LOOK
    return Light("Use by day", state, f"Computed {_length(now - at)} ago.", url)


def _operations(now: datetime) -> Light:
    stuck = Operation.objects.filter(
        state=Operation.State.STARTED, created_at__lt=now - _STUCK_OPERATION
    ).count()
    url = _list("billing_operation", "state__exact=started")
    if not stuck:
        return Light("Plan changes", State.GOOD, "None is stuck.", url)
    return Light(
        "Plan changes", State.LOOK, f"{stuck:,} not finished within ten minutes; retried.", url
    )


def _overage(now: datetime) -> Light:
    url = _list("billing_unpricedoverage")
    unpriced = UnpricedOverage.objects.count()
    if not unpriced:
        return Light("Overage", State.GOOD, "Every closed period that went over has a price.", url)
    return Light(
        "Overage",
        State.BAD,
        f"{unpriced:,} closed periods went over and are not charged: no price is known.",
        url,
    )


def _disputes(now: datetime) -> Light:
    name = "Disputes and refunds"
    # One query over two partial indexes: the dashboard has a fixed number of them.
    disputed = Q(dispute_status__in=InvoiceRef.DISPUTE_OPEN)
    failed = Q(refund_failed_at__gte=now - _FAILED_REFUND_SHOWN)
    counts = InvoiceRef.objects.filter(disputed | failed).aggregate(
        waiting=Count("pk", filter=Q(dispute_status__in=InvoiceRef.DISPUTE_WAITS_FOR_US)),
        failed=Count("pk", filter=failed),
        open=Count("pk", filter=disputed),
    )
    if counts["waiting"]:
        sentence = f"{_number(counts['waiting'], 'payment')} disputed: answer the bank in time."
        return Light(name, State.BAD, sentence, _list("billing_invoiceref", "dispute=waits"))
    if counts["failed"]:
        back = _number(counts["failed"], "refund")
        sentence = f"{back} came back in the last 30 days: pay it another way."
        url = _list("billing_invoiceref", "dispute=refund_failed")
        return Light(name, State.LOOK, sentence, url)
    url = _list("billing_invoiceref", "dispute=open")
    if counts["open"]:
        sentence = f"{_number(counts['open'], 'dispute')} under review at a bank."
        return Light(name, State.LOOK, sentence, url)
    return Light(name, State.GOOD, "None is open, and no refund came back.", url)


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _copy(now: datetime) -> Light:
    trouble = clients.copy.trouble()
    if not trouble:
        return Light("Valkey", State.GOOD, "Answers: checks are decided from the copy.")
    return Light("Valkey", State.BAD, f"{trouble.capitalize()}: PostgreSQL decides every check.")


def _snapshots(now: datetime) -> Light:
    name = "Old snapshots"
    snapshots = oldest_snapshots()
    ages = [one.seconds for one in snapshots.oldest if one.seconds is not None]
    age = timedelta(seconds=max(ages, default=0.0))
    held = max(snapshots.oldest, key=lambda one: one.transactions, default=None)
    if age >= _OLD_SNAPSHOT:
        state = State.LOOK if age < _VERY_OLD_SNAPSHOT else State.BAD
        sentence = f"A transaction has been open for {_length(age)}: busy counters slow down."
        return Light(name, state, sentence)
    if held is not None and held.transactions >= _MANY_TRANSACTIONS:
        sentence = (
            f"A {held.kind} keeps the rows of the last {held.transactions:,} transactions:"
            " busy counters slow down."
        )
        return Light(name, State.BAD, sentence)
    if not snapshots.sees_all:
        sentence = f"Other roles' are not seen: GRANT {SEES_ALL} to the schema's owner."
        return Light(name, State.LOOK, sentence)
    return Light(name, State.GOOD, "None that keeps old rows of counters.")


def clock_note() -> str:
    """Return what is to be said where the sandbox's clock was moved, else nothing."""
    ahead = clock.offset_seconds()
    if not ahead:
        return ""
    return f"The sandbox's clock is {_length(timedelta(seconds=ahead))} ahead of real time."


def _length(taken: timedelta) -> str:
    """Return a length of time in words: two units at most, seconds below a minute."""
    seconds = max(0, int(taken.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    words: str = timesince(_THEN, _THEN + taken)
    return words.replace("\N{NO-BREAK SPACE}", " ")


def _list(name: str, query: str = "") -> str:
    url = reverse(f"admin:{name}_changelist")
    return f"{url}?{query}" if query else url
