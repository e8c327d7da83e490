"""The base of our viewsets: DRF's dispatch without its rendering."""

from typing import Any

from django.http import HttpRequest
from rest_framework import viewsets
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request

from config.contract.errors import MethodNotAllowed, UnknownParameter
from config.contract.openapi import operation_of


class OnlyJson(BaseContentNegotiation):
    """There is one representation; an Accept header changes nothing."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the first parser (bodies are read by config.contract.bodies)."""
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[Any, str]:
        """Return the first renderer (answers are rendered by config.contract.responses)."""
        return renderers[0], renderers[0].media_type


class ContractViewSet(viewsets.ViewSet):
    """A viewset whose answers and errors are in the envelope."""

    content_negotiation_class = OnlyJson
    # No OPTIONS: DRF would answer it with a description of the class, in a form
    # of its own. What browsers ask before a request is answered by middleware.
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Let the caller in; then refuse a query string where the route takes none.

        Those that take one read it by `parse_query`, which refuses what is unknown.
        Raises UnknownParameter, and what letting in raises.
        """
        super().initial(request, *args, **kwargs)
        if request.META.get("QUERY_STRING") and request.query_params:
            # None for a verb that the path does not know: that is what is refused then.
            handler = getattr(self, self.action or "", None)
            operation = operation_of(handler)
            if handler is not None and (operation is None or operation.query is None):
                raise UnknownParameter

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Refuse a verb the path does not know."""
        raise MethodNotAllowed(", ".join(self.allowed_methods))


def http(request: Request) -> HttpRequest:
    """Return the Django request under a DRF one."""
    return request._request
