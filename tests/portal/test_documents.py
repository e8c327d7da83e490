"""Statements and invoices on the usage page."""

import json
from datetime import timedelta

import pytest

from billing.models import InvoiceRef
from config.contract import clock
from tests.portal.cast import Visitor, html, shown_to, visitor_of
from tests.support.cast import Org, make_org

pytestmark = pytest.mark.django_db(transaction=True)


def test_invoices_are_listed_with_stripes_pages_of_them(org: Org) -> None:
    stranger, now = make_org(), clock.now()
    rows = [
        (org.id, "paid", 1900, 2),
        (org.id, "open", 9900, 1),
        (org.id, "draft", 5500, 0),
        (org.id, "void", 6600, 0),
        (stranger.id, "paid", 7700, 0),
    ]
    for number, (org_id, status, total, days) in enumerate(rows):
        InvoiceRef.objects.create(
            stripe_invoice_id=f"in_{number}",
            org_id=org_id,
            status=status,
            total=total,
            currency="usd",
            hosted_invoice_url=f"https://invoice.example/{number}",
            created_at=now - timedelta(days=days),
        )

    page = shown_to(org)

    assert page.index("$99.00") < page.index("$19.00")
    assert 'href="https://invoice.example/0" rel="noreferrer">View' in page
    assert 'href="https://invoice.example/1" rel="noreferrer">Pay' in page
    for amount in ("$55.00", "$66.00", "$77.00"):
        assert amount not in page


def test_statements_are_downloaded_as_the_api_gives_them(org: Org) -> None:
    org.use(42)
    visitor, key = visitor_of(org), f"{clock.now():%Y-%m}"

    as_json = visitor.get(f"/portal/statements/{key}.json")
    as_csv = visitor.get(f"/portal/statements/{key}.csv")

    assert f"/portal/statements/{key}.json" in html(visitor.get())
    assert "Statement of use" in html(visitor.get(f"/portal/statements/{key}"))
    assert json.loads(as_json.content) == org.get(f"/api/statements?periodKey={key}").json()["data"]
    of_api = org.get(f"/api/statements?periodKey={key}", Accept="text/csv")
    assert as_csv.content == of_api.content
    for answer, ending in ((as_json, "json"), (as_csv, "csv")):
        name = f'attachment; filename="statement-{key}.{ending}"'
        assert answer.headers["Content-Disposition"] == name
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("key", ["1999-01", "x", "2026-11-31", "é", "%00", "%ff", "9" * 200])
def test_a_period_without_a_statement_is_not_found(key: str, visitor: Visitor) -> None:
    answer = visitor.get(f"/portal/statements/{key}.json")

    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in html(answer)


def test_statements_need_a_visit(org: Org) -> None:
    org.use(1)

    assert Visitor().get(f"/portal/statements/{clock.now():%Y-%m}.json").status_code == 401


def test_an_address_that_names_nothing_is_a_missing_page(org: Org) -> None:
    visitor = visitor_of(org)

    for path in ("statements/%00", "statements/%00.csv", "statements/1999-01"):
        assert visitor.get(f"/portal/{path}").status_code == 404, path
    unknown = visitor.get("/portal/plans/unknown").status_code
    assert visitor.get("/portal/plans/%00").status_code == unknown < 500
