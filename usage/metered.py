"""Metering any Django view: guarded by the quota, and counted, before it runs.

@metered(metric="api_call")
def search(request): ...

urlpatterns = [path("reports", metered(metric="compute_ms", units=cost_of)(view))]
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar, cast

import structlog
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from config.contract import clock
from config.contract.errors import ValidationFailed
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
Units = int | Callable[[HttpRequest], int]
MOST_UNITS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Metering:
    """What one request of a view costs. `units` may be computed from the request."""

    metric: str
    units: Units
    refund_on_error: bool

    def units_of(self, request: HttpRequest) -> int:
        """Return the units that this request costs.

        Raises ValidationFailed where they are not 1 to `MOST_UNITS`, or where the
        function finds with ValueError that what the request asks has no price.
        """
        if not callable(self.units):
            return self.units
        try:
            units = self.units(request)
        except ValueError:
            units = None
        if not _is_countable(units):
            raise ValidationFailed({"": ["What the request asks for cannot be counted in units"]})
        return units


def _is_countable(units: object) -> TypeGuard[int]:
    return type(units) is int and 1 <= units <= MOST_UNITS


def metered(
    *, metric: str, units: Units = 1, refund_on_error: bool = False
) -> Callable[[View], View]:
    """Declare a view metered: one event of `units` per request, counted before it runs.

    The caller authenticates with an organisation's token holding `usage:write`.
    Past the quota the view does not run and the answer is the standard denial.
    With `refund_on_error` the event is voided when the view answers 5xx. Raises
    ValueError for a number of units that no event may have.
    """
    if not callable(units) and not _is_countable(units):
        raise ValueError(f"units must be 1 to {MOST_UNITS}, not {units!r}")

    def declare(view: View) -> View:
        @functools.wraps(view)
        def counted(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs)

        # On a function of its own: the same view may stand unmetered elsewhere.
        counted.metering = Metering(metric, units, refund_on_error)  # type: ignore[attr-defined]
        # The caller is known by a header that no foreign page can make a browser send.
        counted.csrf_exempt = True  # type: ignore[attr-defined]
        return cast(View, counted)

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
    recorded = record_usage(org_id=principal.org_id, event=event)
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
    except Exception as error:
        # The caller keeps the answer of the view; that the refund failed is ours to see.
        logger.exception("refund_failed", error=type(error).__name__, use=counted.request_id)
