"""HTTP doors for reading the ledger, and for taking an event back."""

from datetime import datetime

from django.http import HttpResponse
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from config.contract import clock
from config.contract.bodies import instant, parse, parse_query, rfc3339
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from quotas import catalogue
from tokens import scopes
from tokens.authentication import TokenAuthentication, TokenOrStaffAuthentication
from tokens.permissions import (
    acting_for,
    acts_for,
    caller_of,
    needs_scope,
    needs_scope_or_staff,
)
from usage import queries
from usage.bodies import (
    EventAnswer,
    EventsAnswer,
    EventsQuery,
    PointAnswer,
    SeriesAnswer,
    SeriesQuery,
    UsageAnswer,
    VoidBody,
)
from usage.models import UsageEvent, UsageVoid
from usage.voids import void_event

_MAY_READ = needs_scope(scopes.ENTITLEMENTS_READ)()


class LedgerViewSet(ContractViewSet):
    """GET /api/v1/usage and /api/v1/usage/series."""

    authentication_classes = [TokenAuthentication]

    def get_permissions(self) -> list[BasePermission]:
        """Return what reading asks for."""
        return [_MAY_READ]

    @documented(
        summary="The events",
        tag="usage",
        query=EventsQuery,
        answer=EventsAnswer,
        answer_example={"events": [], "nextCursor": None},
    )
    def list(self, request: Request) -> HttpResponse:
        """Return a page, newest first."""
        asked = parse_query(EventsQuery, request)
        caller = acting_for(http(request), caller_of(request), None)
        page = queries.list_events(
            org_id=caller.org_id,
            metric=catalogue.require(asked.metric) if asked.metric else None,
            start=_instant(asked.start, "from"),
            end=_instant(asked.end, "to"),
            request_id=asked.request_id,
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return success(
            EventsAnswer(
                events=[_event(event, void) for event, void in page.events],
                next_cursor=page.next_cursor,
            )
        )

    @documented(
        summary="Use by hour or day",
        tag="usage",
        query=SeriesQuery,
        answer=SeriesAnswer,
        answer_example={"points": [{"at": "2026-11-22T00:00:00Z", "used": 42}]},
    )
    def series(self, request: Request) -> HttpResponse:
        """Return the use over time; voided events do not count."""
        asked = parse_query(SeriesQuery, request)
        metric = catalogue.require(asked.metric)
        caller = acting_for(http(request), caller_of(request), None)
        now = clock.now()
        month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        points = queries.series(
            org_id=caller.org_id,
            metric=metric,
            start=_instant(asked.start, "from") or month,
            end=_instant(asked.end, "to") or now,
            by=asked.by,
        )
        return success(
            SeriesAnswer(points=[PointAnswer(at=rfc3339(one.at), used=one.used) for one in points])
        )


class VoidViewSet(ContractViewSet):
    """POST /api/v1/usage/void."""

    authentication_classes = [TokenOrStaffAuthentication]
    permission_classes = [needs_scope_or_staff(scopes.USAGE_VOID, "usage.add_usagevoid")]

    @documented(
        summary="Take an event back",
        tag="usage",
        body=VoidBody,
        body_example={
            "orgId": "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C",
            "request_id": "req-1",
            "reason": "Reported twice by the gateway",
        },
        answer=UsageAnswer,
        answer_example={"periodKey": "2026-11", "used": 0, "remaining": 10000},
        errors=(409,),
    )
    def create(self, request: Request) -> HttpResponse:
        """Lower the counter by the event's units; voiding it again answers the same."""
        body = parse(VoidBody, request)
        void = void_event(
            org_id=acts_for(request, body.org_id),
            request_id=body.request_id,
            reason=body.reason,
            voided_by=str(request.user),
            now=clock.now(),
        )
        return success(
            UsageAnswer(
                period_key=void.period_key, used=void.used_after, remaining=void.remaining_after
            )
        )


def _instant(text: str | None, field: str) -> datetime | None:
    return instant(text, field=field) if text is not None else None


def _event(event: UsageEvent, void: UsageVoid | None) -> EventAnswer:
    return EventAnswer(
        request_id=event.request_id,
        metric=event.metric,
        value=event.value,
        occurred_at=rfc3339(event.occurred_at),
        counted_at=rfc3339(event.counted_at),
        recorded_at=rfc3339(event.recorded_at),
        period_key=event.period_key,
        voided_at=rfc3339(void.voided_at) if void else None,
        void_reason=void.reason if void else None,
    )
