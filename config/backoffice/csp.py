"""Which page may load what."""

from collections.abc import Callable

from csp.constants import HEADER
from csp.utils import build_policy
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from billing.statements.page import STYLE_SOURCE

#: What the pages under a path need beyond CONTENT_SECURITY_POLICY.
BEYOND: dict[str, dict[str, list[str]]] = {
    # Alpine, in the admin's theme, evaluates the expressions in its attributes.
    "/admin/": {"script-src": ["'unsafe-eval'"], "style-src": ["'unsafe-inline'"]},
    # Swagger UI sets styles on its elements.
    "/api/docs": {"style-src": ["'unsafe-inline'"]},
    # A statement holds its own style, so that a saved copy prints as well: that one alone.
    "/api/statements": {"style-src": [STYLE_SOURCE]},
    "/portal/statements/": {"style-src": [STYLE_SOURCE]},
}


class PolicyMiddleware:
    """One policy for all, and one for each path in BEYOND.

    django-csp's own middleware writes the policy anew for each response, which
    costs the hot routes 50 microseconds; these are written once.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.strict = build_policy()
        self.beyond = {path: build_policy(update=more) for path, more in BEYOND.items()}

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault(HEADER, self._policy_of(request.path_info))
        return response

    def _policy_of(self, path: str) -> str:
        for prefix, policy in self.beyond.items():
            if path.startswith(prefix):
                return policy
        return self.strict
