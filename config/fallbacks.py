"""What answers when no view does: the envelope under /api, a plain page elsewhere."""

import re
import sys
from typing import Any

import structlog
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from config.contract.errors import (
    ApiError,
    Forbidden,
    InternalError,
    NotFound,
    Unavailable,
    ValidationFailed,
)
from config.contract.responses import as_api_error, error_response, log_failure, route_of

logger = structlog.get_logger("metergate.request")
#: A host as DNS has them, with its port: in lower case, and nothing else.
_HOST = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*(:[0-9]{1,5})?")


def _is_api(request: HttpRequest) -> bool:
    return request.path_info == "/api" or request.path_info.startswith("/api/")


@csrf_exempt  # it changes nothing, and a POST to nowhere is not FORBIDDEN
def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    if _is_api(request):
        return error_response(request, NotFound())
    return defaults.page_not_found(request, exception)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400 from Django itself: a bad host, a suspicious header."""
    said = "The request is not valid"
    if isinstance(exception, DisallowedHost):
        said = "The Host is not one of ALLOWED_HOSTS"
        host = request.META.get("HTTP_HOST", "")
        # Named where it is a name of a host: a client may write anything else there as well.
        logger.warning("host_refused", host=host if _HOST.fullmatch(host) else None)
    if _is_api(request):
        return error_response(request, ValidationFailed({"": [said]}))
    return defaults.bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403 from Django itself."""
    if _is_api(request):
        return error_response(request, Forbidden())
    return defaults.permission_denied(request, exception)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without its CSRF token."""
    if _is_api(request):
        return error_response(request, Forbidden())
    from django.views.csrf import csrf_failure as page

    response: Any = page(request, reason=reason)
    return HttpResponse(response.content, status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 where it passes by itself: the answer to what no view of the API caught.

    Django calls this while it handles what was raised, by whatever: a page of the back
    office, its template, a middleware. Its one line in the log is written here.
    """
    error = sys.exception()
    refusal: ApiError = InternalError()
    if isinstance(error, Exception):
        refusal = as_api_error(error)
        if not (_is_api(request) or isinstance(refusal, Unavailable)):
            refusal = InternalError()  # a page knows no other answer
        if refusal.status >= 500:
            log_failure(error, refusal, route=route_of(request))
    if _is_api(request) and hasattr(request, "ctx"):
        return error_response(request, refusal)
    if isinstance(refusal, Unavailable):
        return HttpResponse(
            _AWAY,
            status=refusal.status,
            headers=refusal.headers,
            content_type="text/html; charset=utf-8",
        )
    return defaults.server_error(request)


_AWAY = b"""<!doctype html>
<html lang="en">
<head><title>Not available</title></head>
<body><h1>Not available</h1><p>Something that we need does not answer. Try again shortly.</p></body>
</html>
"""
