"""The routes as they are, and a few whose views fail with secrets in the text of the fault."""

from typing import Any, NoReturn

from django.http import HttpRequest
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from rest_framework.request import Request

from config.contract.views import ContractViewSet
from config.urls import handler400, handler403, handler404, handler500
from config.urls import urlpatterns as real
from tests.contract.canaries import CANARIES

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

#: How secrets turn up in the text of exceptions.
TEXT = "; ".join(
    (
        f"connecting to postgres://metergate:{CANARIES['password']}@db/metergate failed",
        f'password="{CANARIES["password"]}"',
        f"{{'password': '{CANARIES['password']}', 'client_secret': '{CANARIES['password']}'}}",
        f"Authorization: Bearer {CANARIES['token']}",
        # A password that nothing names as one cannot be told from any other word.
        *(secret for kind, secret in CANARIES.items() if kind != "password"),
    )
)


class Failing(ContractViewSet):
    """A viewset that fails."""

    def fail(self, request: Request) -> NoReturn:
        """Fail, and while that is handled fail again."""
        try:
            _with_a_local(TEXT)
        except RuntimeError as error:
            raise ValueError(TEXT) from error


def plain(request: HttpRequest) -> NoReturn:
    """A plain view that fails."""
    _with_a_local(TEXT)


def page(request: HttpRequest) -> TemplateResponse:
    """A page whose template fails, after its view has returned."""
    return TemplateResponse(
        request, engines["django"].from_string("{{ fail }}"), {"fail": lambda: _with_a_local(TEXT)}
    )


def failing_middleware(get_response: Any) -> Any:
    """A middleware that fails before any view."""
    return lambda request: _with_a_local(TEXT)


def _with_a_local(secret: Any) -> NoReturn:
    raise RuntimeError(secret)


urlpatterns = [
    path("api/failing", Failing.as_view({"get": "fail", "post": "fail"})),
    path("api/plain", plain),
    path("plain", plain),
    path("page", page),
    path("admin/broken/", plain),
    *real,
]
