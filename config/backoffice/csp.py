"""Which page may load what."""

from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

#: What the pages under a path need beyond CONTENT_SECURITY_POLICY, longest first.
BEYOND: dict[str, dict[str, list[str]]] = {
    # Alpine, in the admin's theme, evaluates the expressions in its attributes.
    "/admin/": {"script-src": ["'unsafe-eval'"], "style-src": ["'unsafe-inline'"]},
    # Swagger UI sets styles on its elements.
    "/api/docs": {"style-src": ["'unsafe-inline'"]},
}


class PolicyMiddleware(CSPMiddleware):
    """django-csp, with a policy that differs by path."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """Return the policy of this path."""
        parts = super().get_policy_parts(request, response, report_only)
        for path, beyond in BEYOND.items():
            if request.path_info.startswith(path):
                parts.update = {**beyond, **(parts.update or {})}
        return parts
