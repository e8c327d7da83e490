"""What comparing counters with their rows found, kept for whoever looks later."""

from datetime import datetime

from usage.models import CounterCheck
from usage.reconcile import Reconciled


def remember(done: Reconciled, *, everything: bool, now: datetime) -> None:
    """Write down what a comparison found.

    A sample that finds nothing says nothing of the other counters, so only a
    comparison of `everything` without a difference takes an earlier one back.
    """
    found: dict[str, object] = {"checked_at": now, "counters": done.counters}
    if done.drifts:
        found["drifted_at"] = now
        found["drift"] = f"{done.drifted} differences, first of {done.drifts[0]}"[:500]
    elif everything:
        found |= {"proven_at": now, "drifted_at": None, "drift": ""}
    CounterCheck.objects.update_or_create(pk=CounterCheck.ONLY, defaults=found)
