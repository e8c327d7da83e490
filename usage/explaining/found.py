"""Finding what a customer quotes: a request, a correlation id, or the id of a use."""

from dataclasses import dataclass

from django.db import OperationalError
from psycopg.errors import QueryCanceled

from quotas.denial_models import DeniedRequest
from usage.explaining.shape import CountedUse
from usage.models import UsageEvent, UsageVoid

#: Requests under one correlation id that an explanation names.
MOST_SHOWN = 20
_MOST_TWINS = 5


@dataclass(frozen=True, slots=True)
class Found:
    """What is known under an id. `ledger_asked` is False where only the denials were looked at."""

    denied: list[DeniedRequest]
    counted: CountedUse | None
    ledger_asked: bool = True


def find(quoted: str, *, org_id: str | None, metric: str | None) -> Found:
    """Return the denied requests and the counted use known as `quoted`, of one organisation or all.

    Without an organisation the ledger is read as far as time allows: its keys begin
    with the organisation.
    """
    denied = DeniedRequest.objects.known_as(quoted).select_related("denial").order_by("-at", "-pk")
    events = UsageEvent.objects.filter(request_id=quoted).order_by("-pk")
    if org_id is not None:
        denied = denied.filter(denial__org_id=org_id)
        events = events.filter(org_id=org_id)
    if metric is not None:
        denied = denied.filter(denial__metric=metric)
        events = events.filter(metric=metric)
    requests = list(denied[:MOST_SHOWN])
    if requests and org_id is None:
        # Ids are unique within an organisation: the same one elsewhere is another's.
        requests = [one for one in requests if one.denial.org_id == requests[0].denial.org_id]
        events = events.filter(org_id=requests[0].denial.org_id)
    try:
        event = events.first()
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        return Found(requests, None, ledger_asked=False)
    return Found(requests, _with_its_void(event) if event else None)


def _with_its_void(event: UsageEvent) -> CountedUse:
    same = {"org_id": event.org_id, "request_id": event.request_id}
    twins = (
        UsageEvent.objects.filter(
            org_id=event.org_id,
            metric=event.metric,
            counted_at=event.counted_at,
            occurred_at=event.occurred_at,
            value=event.value,
        )
        .exclude(pk=event.pk)
        .order_by("pk")
        .values_list("request_id", flat=True)
    )
    return CountedUse(
        event=event,
        void=UsageVoid.objects.filter(**same).first(),
        twins=list(twins[:_MOST_TWINS]),
    )
