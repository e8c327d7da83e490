"""Those that watch us ask by an address, or with no name at all, and need none of the rest."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import resolve

_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


class MachineMiddleware:
    """Answers health, readiness and metrics before anything looks at the Host or the scheme."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info not in _PATHS:
            return self.get_response(request)
        match = request.resolver_match = resolve(request.path_info)
        response: HttpResponseBase = match.func(request)
        return response
