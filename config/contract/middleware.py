"""The outermost middleware: ids in, ids out, and no error outside the envelope."""

from collections.abc import Callable
from typing import cast

import structlog
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from config.contract import clock, metrics
from config.contract.context import (
    CallState,
    ContextRequest,
    Environment,
    forget_decision,
    new_context,
    told_decision,
)
from config.contract.ids import call_ids, trace_id_of
from config.contract.responses import route_of

logger = structlog.get_logger("metergate.request")


class ContextMiddleware:
    """Makes `request.ctx` and sets the three id headers on every response."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.env = Environment(
            app_env=settings.APP_ENV,
            stripe_mode=settings.STRIPE_MODE,
            tenant_header=settings.TENANT_HEADER,
            service=settings.SERVICE_NAME,
            version=settings.SERVICE_VERSION,
            signup_returns_code=settings.SIGNUP_RETURNS_CODE,
        )

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        state = _call_state(request)
        cast(ContextRequest, request).ctx = new_context(self.env, state)
        forget_decision()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(
            request_id=state.request_id, correlation_id=state.correlation_id
        )
        if state.trace_id:
            structlog.contextvars.bind_contextvars(trace_id=state.trace_id)
        response = self.get_response(request)
        response.headers["x-request-id"] = state.request_id
        response.headers["x-correlation-id"] = state.correlation_id
        state = cast(ContextRequest, request).ctx.call_state
        if state.tenant_id:
            response.headers[self.env.tenant_header] = state.tenant_id
        if state.principal is not None:
            # It was answered to somebody: no cache may hand it to the next one.
            response.headers.setdefault("Cache-Control", "no-store")
        self._tell(request, response)
        return response

    def _tell(self, request: HttpRequest, response: HttpResponseBase) -> None:
        route = route_of(request)
        taken = clock.real_now() - cast(ContextRequest, request).ctx.call_state.started_at
        seconds = taken.total_seconds()
        metrics.observe_request(route, request.method or "", response.status_code, seconds)
        denial = told_decision()
        # A line for each counted use would cost more than counting it.
        if route in settings.HOT_ROUTES and response.status_code < 400 and denial is None:
            return
        # By path: a static file is served before there is a route.
        quiet = request.path_info.removeprefix("/").startswith(settings.QUIET_ROUTES)
        if response.status_code >= 400 or not quiet:
            logger.info(
                "request",
                method=request.method,
                route=route,
                status=response.status_code,
                milliseconds=round(seconds * 1000, 1),
                **_refusal(request, response),
                **({"denial": denial} if denial else {}),
            )


def _refusal(request: HttpRequest, response: HttpResponseBase) -> dict[str, str | None]:
    """Return who was refused, and by which code of the API: what an investigation begins with."""
    if response.status_code < 400:
        return {}
    refusal = {"who": cast(ContextRequest, request).ctx.call_state.principal}
    code = getattr(response, "error_code", None)
    return refusal if code is None else {**refusal, "code": code}


def _call_state(request: HttpRequest) -> CallState:
    request_id, correlation_id = call_ids(request.META)
    return CallState(
        request_id=request_id,
        correlation_id=correlation_id,
        started_at=clock.real_now(),
        trace_id=trace_id_of(request.META.get("HTTP_TRACEPARENT")),
    )
