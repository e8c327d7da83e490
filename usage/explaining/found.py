"""Finding what a customer quotes: a request, a correlation id, or the id of a use."""

from dataclasses import dataclass

from django.db import OperationalError, connection
from psycopg.errors import QueryCanceled

from quotas.denial_models import DeniedRequest
from usage.explaining.shape import CountedUse
from usage.models import UsageEvent, UsageVoid

#: Requests under one correlation id that an explanation names.
MOST_SHOWN = 20
_MOST_TWINS = 5
# One look-up in the unique index for each organisation, however long the ledger is.
_NEWEST = """
SELECT u.id FROM quotas_entitlement o
 CROSS JOIN LATERAL (SELECT id FROM usage_usageevent e
                      WHERE e.org_id = o.org_id AND e.request_id = %s LIMIT 1) u
 ORDER BY u.id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known under an id. `ledger_asked` is False where only the denials were looked at."""

    denied: list[DeniedRequest]
    counted: CountedUse | None
    ledger_asked: bool = True


def find(quoted: str, *, org_id: str | None, metric: str | None) -> Found:
    """Return the denied requests and the counted use known as `quoted`, of one organisation or all.

    Without an organisation it is the newest of them; `ledger_asked` tells whether
    the database took the time to look into each organisation's events.
    """
    denied = DeniedRequest.objects.known_as(quoted).select_related("denial").order_by("-at", "-pk")
    if org_id is not None:
        denied = denied.filter(denial__org_id=org_id)
    if metric is not None:
        denied = denied.filter(denial__metric=metric)
    requests = list(denied[:MOST_SHOWN])
    if requests and org_id is None:
        # Ids are unique within an organisation: the same one elsewhere is another's.
        org_id = requests[0].denial.org_id
        requests = [one for one in requests if one.denial.org_id == org_id]
    try:
        event = _event(quoted, org_id)
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        return Found(requests, None, ledger_asked=False)
    if event is not None and metric not in (None, event.metric):
        event = None
    return Found(requests, _with_its_void(event) if event else None)


def _event(request_id: str, org_id: str | None) -> UsageEvent | None:
    if org_id is not None:
        return UsageEvent.objects.filter(org_id=org_id, request_id=request_id).first()
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, [request_id])
        found = cursor.fetchone()
    return UsageEvent.objects.get(pk=found[0]) if found else None


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
