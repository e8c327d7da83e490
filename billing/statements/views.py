"""HTTP door of the statements."""

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from billing.bodies import StatementAnswer, StatementQuery
from billing.statements.page import as_page
from billing.statements.services import statement, table_of
from config.contract import clock
from config.contract.bodies import parse_query
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from tokens import scopes
from tokens.authentication import TokenAuthentication
from tokens.permissions import acting_for, caller_of, needs_scope


class StatementViewSet(ContractViewSet):
    """GET /api/statements."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [needs_scope(scopes.BILLING_READ)]

    @documented(
        summary="The statement of a period",
        tag="payments",
        description="`Accept: text/csv` gives rows of a table, `text/html` a page to print.",
        query=StatementQuery,
        answer=StatementAnswer,
        answer_example={
            "periodKey": "2026-11",
            "status": "open",
            "metrics": {
                "api_call": {
                    "included": 10000,
                    "adjusted": 0,
                    "counted": 42,
                    "voided": 0,
                    "forgiven": 0,
                    "used": 42,
                    "remaining": 9958,
                    "overage": 0,
                    "days": [{"date": "2026-11-22", "used": 42}],
                }
            },
            "planChanges": [],
            "invoiceIds": [],
            "digest": None,
            "previousDigest": None,
        },
        forms={
            "text/csv": "metric,row,value\r\n",
            "text/html": "<!doctype html><title>Statement</title>",
        },
    )
    def retrieve(self, request: Request) -> HttpResponse:
        """Return included + adjusted - (counted - forgiven) = remaining, and the days behind it."""
        asked = parse_query(StatementQuery, request)
        caller = acting_for(http(request), caller_of(request), None)
        now = clock.now()
        found = statement(org_id=caller.org_id, period_key=asked.period_key, now=now)
        accepted = request.META.get("HTTP_ACCEPT", "")
        if "text/csv" in accepted:
            return as_csv(found)
        if "text/html" in accepted:
            return as_page(found, org_id=caller.org_id, now=now)
        return success(found)


def as_csv(found: dict[str, Any]) -> HttpResponse:
    """Return a statement as a file of rows."""
    response = HttpResponse(table_of(found), content_type="text/csv; charset=utf-8")
    name = f"statement-{found['periodKey']}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
