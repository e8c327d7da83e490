"""Metering any Django view: guarded by the quota, and counted, before it runs.

@metered(metric="api_call")
def search(request): ...

urlpatterns = [path("reports", metered(metric="compute_ms", units=cost_of)(view))]
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from config.contract import clock
from config.contract.errors import ApiError
from config.contract.ids import new_id
from config.contract.responses import as_api_error, error_response
from quotas import catalogue
from tokens import scopes
from tokens.authentication import authenticate
from tokens.permissions import acting_for, require_scope
from usage.ledger import NewUsageEvent
from usage.services import record_usage
from usage.voids import void_event

logger = structlog.get_logger("metergate.metered")
View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Metering:
    """What one request of a view costs. `units` may be computed from the request."""

    metric: str
    units: int | Callable[[HttpRequest], int]
    refund_on_error: bool

    def units_of(self, request: HttpRequest) -> int:
        """Return the units that this request costs."""
        return self.units(request) if callable(self.units) else self.units


def metered(
    *,
    metric: str,
    units: int | Callable[[HttpRequest], int] = 1,
    refund_on_error: bool = False,
) -> Callable[[View], View]:
    """Declare a view metered: one event of `units` per request, counted before it runs.

    The caller authenticates with an organisation's token holding `usage:write`.
    Past the quota the view does not run and the answer is the standard denial.
    With `refund_on_error` the event is voided when the view answers 5xx.
    """

    def declare(view: View) -> View:
        view.metering = Metering(metric, units, refund_on_error)  # type: ignore[attr-defined]
        return view

    return declare


class QuotaMiddleware:
    """Guards and counts the views that are declared metered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        counted: _Counted | None = getattr(request, "metered_event", None)
        if counted is None:
            return response
        for name, value in counted.headers.items():
            response.headers.setdefault(name, value)
        if response.status_code >= 500 and counted.refund_on_error:
            _refund(counted)
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], _args: Any, _kwargs: Any
    ) -> HttpResponse | None:
        """Count a request to a metered view. Answers in its place when it is refused."""
        metering: Metering | None = getattr(view, "metering", None)
        if metering is None:
            return None
        try:
            request.metered_event = _count(request, metering)  # type: ignore[attr-defined]
        except Exception as error:
            refusal = as_api_error(error)
            if refusal.code == "INTERNAL":
                logger.exception("metering_failed", metric=metering.metric)
            return error_response(request, refusal)
        return None


@dataclass(frozen=True, slots=True)
class _Counted:
    org_id: str
    request_id: str
    headers: dict[str, str]
    refund_on_error: bool


def _count(request: HttpRequest, metering: Metering) -> _Counted:
    principal = authenticate(request)
    require_scope(principal, scopes.USAGE_WRITE)
    principal = acting_for(request, principal, None)
    now = clock.now()
    event = NewUsageEvent(
        metric=catalogue.require(metering.metric),
        value=metering.units_of(request),
        occurred_at=now,
        # Never a client's header: a client that repeats one would use for free.
        request_id=new_id("req"),
    )
    recorded = record_usage(org_id=principal.org_id, event=event, now=now)
    return _Counted(
        org_id=principal.org_id,
        request_id=event.request_id,
        headers=recorded.headers(now),
        refund_on_error=metering.refund_on_error,
    )


def _refund(counted: _Counted) -> None:
    try:
        void_event(
            org_id=counted.org_id,
            request_id=counted.request_id,
            reason="The metered view answered with an error",
            voided_by="metered",
            now=clock.now(),
        )
    except ApiError as error:
        # The caller keeps the answer of the view; that the refund failed is ours to see.
        logger.error("refund_failed", code=error.code, event=counted.request_id)
