"""The OpenAPI document and its page, assets served from here."""

import threading
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.views import APIView

from config import plainroutes
from config.contract.errors import NotFound, UnknownParameter
from tokens.authentication import (
    StaffAuthentication,
    TokenAuthentication,
    TokenOrStaffAuthentication,
)


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Organisations' and operators' access tokens."""

    target_class = TokenAuthentication
    name = "accessToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Describe the scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class StaffScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Staff tokens."""

    target_class = StaffAuthentication
    name = "staffToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Describe the scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class TokenOrStaffScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Operators' or staff tokens."""

    target_class = TokenOrStaffAuthentication
    name = "operatorOrStaffToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Describe the scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


def add_plain_routes(result: Any, generator: Any, request: Any, public: bool) -> Any:
    """Add to the document the routes that are no views of DRF's; a hook of drf-spectacular."""
    result["paths"].update(plainroutes.PATHS)
    return result


class _Strict(APIView):
    """Takes the query parameters it names, and no others."""

    query_names: frozenset[str] = frozenset()
    # No OPTIONS, as everywhere (config.contract.views).
    http_method_names = ["get", "head"]

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        """Raise UnknownParameter for any other."""
        super().initial(request, *args, **kwargs)
        if not self.query_names.issuperset(request.query_params):
            raise UnknownParameter


class SwaggerView(_Strict, SpectacularSwaggerSplitView):
    """Swagger UI; its script is a second request, so that no inline script is needed."""

    query_names = frozenset({"script"})


class SchemaView(_Strict, SpectacularAPIView):
    """The OpenAPI document, built once by a process: that takes more than a second."""

    query_names = frozenset({"format"})
    _title = settings.SPECTACULAR_SETTINGS["TITLE"]
    _lock = threading.Lock()
    _document: dict[str, Any] | None = None
    _written: dict[str, bytes] = {}

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        """Raise NotFound for a format that is empty or one of two, as for one there is not."""
        super().initial(request, *args, **kwargs)
        formats = request.query_params.getlist("format")
        if len(formats) > 1 or "" in formats:
            raise NotFound

    def _get_schema_response(self, request: Any) -> HttpResponse:
        renderer = request.accepted_renderer
        with self._lock:
            written = self._written.get(renderer.media_type)
            if written is None:
                if self._document is None:
                    generator: Any = self.generator_class(urlconf=self.urlconf)
                    SchemaView._document = generator.get_schema(
                        request=None, public=self.serve_public
                    )
                written = self._written[renderer.media_type] = renderer.render(self._document)
        name, charset = f"{self._title}.{renderer.format}", renderer.charset
        return HttpResponse(
            written,
            content_type=renderer.media_type + (f"; charset={charset}" if charset else ""),
            headers={"Content-Disposition": f'inline; filename="{name}"'},
        )
