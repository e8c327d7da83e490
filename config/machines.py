"""Those that watch us ask by an address, or with no name; and programs call over https or not."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import resolve

from config.contract.errors import Forbidden
from config.contract.responses import error_response

_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
#: Called by programs, which `SECURE_REDIRECT_EXEMPT` lets come here.
_CALLED = ("/api/", "/.well-known/")
_PAGES = ("/api/docs",)


class MachineMiddleware:
    """Answers health, readiness and metrics before anything looks at the Host or the scheme.

    A call over plain http is refused where pages are led to https: a redirect would
    hide that its token was sent in the clear.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.wants_https: bool = settings.SECURE_SSL_REDIRECT

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        if path in _PATHS:
            match = request.resolver_match = resolve(path)
            response: HttpResponseBase = match.func(request)
            return response
        is_call = path.startswith(_CALLED) and not path.startswith(_PAGES)
        if self.wants_https and is_call and not request.is_secure():
            return error_response(request, Forbidden("Use https: what was sent is not secret now"))
        return self.get_response(request)
