"""The OpenAPI document and its page, assets served from here."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularSwaggerSplitView

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


class SwaggerView(SpectacularSwaggerSplitView):
    """Swagger UI; its script is a second request, so that no inline script is needed."""
