"""From an answer or a refusal to HTTP."""

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions as drf
from rest_framework.request import Request

from config.contract import pools
from config.contract.context import context_of
from config.contract.database_errors import passes
from config.contract.envelope import wrap_error, wrap_success
from config.contract.errors import (
    ApiError,
    Forbidden,
    InternalError,
    MalformedJson,
    MethodNotAllowed,
    NotFound,
    Throttled,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
    ValidationFailed,
)

JSON = "application/json; charset=utf-8"
logger = structlog.get_logger("metergate.request")
_encode = msgspec.json.Encoder().encode


def success(
    data: Any,
    *,
    meta: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    no_store: bool = False,
) -> HttpResponse:
    """Answer 200 with `data` (a msgspec Struct or plain JSON types) in the envelope.

    `no_store` is for answers that hold a token, a code or a client secret.
    """
    response = HttpResponse(_encode(wrap_success(data, meta)), content_type=JSON)
    for name, value in (headers or {}).items():
        response.headers[name] = value
    if no_store:
        response.headers["Cache-Control"] = "no-store"
    return response


def error_response(request: HttpRequest | Request, error: ApiError) -> HttpResponse:
    """Answer with the error envelope."""
    state = context_of(request).call_state
    body = wrap_error(error, request_id=state.request_id, correlation_id=state.correlation_id)
    response = HttpResponse(_encode(body), content_type=JSON, status=error.status)
    for name, value in error.headers.items():
        response.headers[name] = value
    response.error_code = error.code  # type: ignore[attr-defined]  # for the log line
    return response


def route_of(request: HttpRequest | Request) -> str:
    """Return the route of a request for logs and metrics, never its path.

    A client may have put anything into the path.
    """
    return request.resolver_match.route if request.resolver_match else "unknown"


def handle(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """The one exception handler of DRF views: every error becomes the envelope."""
    request: Request = context["request"]
    refusal = as_api_error(error)
    if refusal.status >= 500:
        log_failure(error, refusal, route=route_of(request))
    return error_response(request, refusal)


def as_api_error(error: Exception) -> ApiError:
    """Translate what Django, DRF or the database raise into the contract's codes."""
    match error:
        case ApiError():
            return error
        case drf.MethodNotAllowed():
            return MethodNotAllowed()
        case drf.NotAuthenticated() | drf.AuthenticationFailed():
            return Unauthenticated()
        case drf.PermissionDenied() | PermissionDenied():
            return Forbidden()
        case drf.NotFound() | Http404():
            return NotFound()
        case drf.UnsupportedMediaType():
            return UnsupportedMediaType()
        case drf.ParseError():
            return MalformedJson()
        case drf.Throttled():
            return Throttled(int(getattr(error, "wait", None) or 1))
        case drf.ValidationError() | drf.NotAcceptable() | SuspiciousOperation():
            return ValidationFailed({"": ["The request is not valid"]})
        case _ if passes(error):
            # Nothing was committed, and trying again is right.
            return Unavailable()
        case _:
            return InternalError()


def log_failure(error: Exception, refusal: ApiError, **more: Any) -> None:
    """Log what a request failed with, and suspect connections that were lost with this one."""
    pools.renew_after(error)
    # Expected refusals are not faults; these are. `from None` inside the
    # gateway has already cut what must not be printed.
    log = logger.exception if isinstance(refusal, InternalError) else logger.warning
    log("request_failed", error=type(error).__name__, code=refusal.code, **more)
