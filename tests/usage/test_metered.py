"""@metered: any Django view, guarded by the quota and counted before it runs."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from config.contract import clock
from config.contract.errors import NotFound
from config.contract.hotpool import close_pool
from quotas.models import UsageCounter
from tests.support.cast import Org, error, make_org, tokens_for
from tests.support.live import ROOT
from tokens import operators, scopes
from tokens.operators import operator_token
from usage.metered import metered
from usage.models import UsageEvent, UsageVoid

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls(__name__),
]

ran: list[str] = []


def page(request: HttpRequest) -> HttpResponse:
    ran.append(request.path)
    return HttpResponse("here you are")


def rows(request: HttpRequest) -> int:
    return int(request.GET.get("rows", "1"))


def failing(request: HttpRequest) -> HttpResponse:
    return HttpResponse("no", status=int(request.GET["status"]))


def raising(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the view is broken")


def absent(request: HttpRequest) -> HttpResponse:
    raise NotFound


def losing_the_database(request: HttpRequest) -> HttpResponse:
    connection.settings_dict["HOST"] = "/nowhere"
    connection.close()
    close_pool()
    return HttpResponse("no", status=500)


def priced_wrong(units: Any) -> Callable[[HttpRequest], HttpResponse]:
    view: Callable[[HttpRequest], HttpResponse]
    view = metered(metric="api_call", units=lambda request: units)(page)
    return view


one_call = metered(metric="api_call")
urlpatterns = [
    path("free", page),
    path("metered", one_call(page)),
    path("rows", metered(metric="compute_ms", units=rows)(page)),
    path("kept", one_call(failing)),
    path("refunded", metered(metric="api_call", units=5, refund_on_error=True)(failing)),
    path("api/raising", metered(metric="api_call", refund_on_error=True)(raising)),
    path("raising", metered(metric="api_call", refund_on_error=True)(raising)),
    path("losing", metered(metric="api_call", refund_on_error=True)(losing_the_database)),
    path("zero", priced_wrong(0)),
    path("negative", priced_wrong(-5)),
    path("huge", priced_wrong(10**9 + 1)),
    path("float", priced_wrong(1.0)),
    path("true", priced_wrong(True)),
    path("none", priced_wrong(None)),
    path("nothing-of-that-name", metered(metric="unheard_of")(page)),
]


@pytest.fixture(autouse=True)
def _nothing_ran_yet() -> None:
    ran.clear()


@pytest.fixture
def quiet(org: Org) -> Org:
    """The organisation, with a client that answers 500 as a server does."""
    org.client = Client(raise_request_exception=False)
    return org


def used(org: Org, metric: str = "api_call") -> int:
    return UsageCounter.objects.get(org_id=org.id, metric=metric).used


def test_a_request_is_counted_and_then_served(org: Org) -> None:
    response = org.get("/metered")

    assert (response.status_code, response.content) == (200, b"here you are")
    assert used(org) == 1
    assert response.headers["RateLimit"].startswith('"api_call";r=9999;t=')
    assert response.headers["RateLimit-Policy"].startswith('"api_call";q=10000;w=')


def test_no_header_of_the_client_is_the_id_of_a_use(org: Org) -> None:
    for _ in range(2):
        org.get("/metered", **{"x-request-id": "mine", "Idempotency-Key": "mine"})

    assert used(org) == 2
    ids = set(UsageEvent.objects.values_list("request_id", flat=True))
    assert len(ids) == 2
    assert "mine" not in ids


def test_past_the_quota_the_view_does_not_run_and_the_answer_is_the_standard_denial(
    transactional_db: None,
) -> None:
    org = make_org(included=1)
    assert org.get("/metered").status_code == 200

    response = org.get("/metered", **{"x-correlation-id": "c-1"})

    assert response.status_code == 429
    denial = error(response)
    assert (denial["code"], denial["message"]) == ("RATE_LIMITED", "Quota exceeded")
    assert response.json()["data"] == {"allow": False, "remaining": 0}
    assert response.json()["meta"]["correlationId"] == "c-1"
    assert response.headers["Retry-After"].endswith("GMT")
    assert ran == ["/metered"]
    assert used(org) == 1


def test_without_a_subscription_the_view_does_not_run(transactional_db: None) -> None:
    org = make_org(status="canceled")

    response = org.get("/metered")

    assert (response.status_code, error(response)["code"]) == (402, "PAYMENT_REQUIRED")
    assert ran == []


def test_without_a_token_the_view_does_not_run(transactional_db: None) -> None:
    response = Client().get("/metered")

    assert (response.status_code, error(response)["code"]) == (401, "UNAUTHENTICATED")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert ran == []


def test_a_token_that_may_only_read_does_not_run_it(org: Org) -> None:
    org.tokens = tokens_for(org.id, (scopes.ENTITLEMENTS_READ,))

    response = org.get("/metered")

    assert (response.status_code, error(response)["code"]) == (403, "SCOPE_MISSING")
    assert ran == []
    assert used(org) == 0


def test_the_same_view_stays_free_where_it_is_not_declared_metered(org: Org) -> None:
    assert Client().get("/free").status_code == 200
    assert used(org) == 0


def test_a_post_needs_no_csrf_token(org: Org) -> None:
    org.client = Client(enforce_csrf_checks=True)

    assert org.post("/metered", {}).status_code == 200


def test_units_are_computed_from_the_request(org: Org) -> None:
    assert org.get("/rows?rows=250").status_code == 200

    assert used(org, "compute_ms") == 250


@pytest.mark.parametrize("route", ["zero", "negative", "huge", "float", "true", "none"])
def test_units_that_no_event_may_have_are_refused_and_not_counted(quiet: Org, route: str) -> None:
    response = quiet.get(f"/{route}")

    assert (response.status_code, error(response)["code"]) == (400, "VALIDATION_ERROR")
    assert ran == []
    assert not UsageEvent.objects.exists()


def test_a_request_that_has_no_price_is_refused_without_echo(quiet: Org) -> None:
    response = quiet.get("/rows?rows=plenty")

    assert (response.status_code, error(response)["code"]) == (400, "VALIDATION_ERROR")
    assert b"plenty" not in response.content
    assert ran == []


@pytest.mark.parametrize("units", [0, -1, 10**9 + 1, 1.5, True, "1"])
def test_a_number_of_units_that_no_event_may_have_cannot_be_declared(units: Any) -> None:
    with pytest.raises(ValueError, match="units must be 1 to 1000000000"):
        metered(metric="api_call", units=units)


def test_a_metric_that_nobody_counts_is_no_way_in(quiet: Org) -> None:
    response = quiet.get("/nothing-of-that-name")

    assert response.status_code == 400
    assert ran == []


@pytest.mark.parametrize("status", [500, 503])
def test_a_view_that_answers_5xx_is_refunded(org: Org, status: int) -> None:
    response = org.get(f"/refunded?status={status}")

    assert response.status_code == status
    assert used(org) == 0
    [event], [void] = UsageEvent.objects.all(), UsageVoid.objects.all()
    assert (event.request_id, event.value) == (void.request_id, 5)


@pytest.mark.parametrize("status", [200, 301, 404, 429])
def test_a_view_that_answers_anything_else_is_paid(org: Org, status: int) -> None:
    org.get(f"/refunded?status={status}")

    assert used(org) == 5


def test_without_refund_a_failure_is_paid(org: Org) -> None:
    org.get("/kept?status=500")

    assert used(org) == 1


@pytest.mark.parametrize("route", ["raising", "api/raising"])
def test_a_view_that_raises_is_refunded(quiet: Org, route: str) -> None:
    response = quiet.get(f"/{route}")

    assert response.status_code == 500
    assert b"the view is broken" not in response.content
    assert used(quiet) == 0
    assert UsageVoid.objects.count() == 1


@contextmanager
def database_back() -> Iterator[None]:
    host = connection.settings_dict["HOST"]
    try:
        yield
    finally:
        connection.settings_dict["HOST"] = host
        connection.close()
        close_pool()


def test_a_refund_that_fails_leaves_the_views_answer_as_it_is(quiet: Org) -> None:
    with database_back():
        response = quiet.get("/losing")

    assert (response.status_code, response.content) == (500, b"no")
    assert used(quiet) == 1  # the ledger is honest: it could not be taken back


def test_an_operator_is_counted_for_the_organisation_it_names(org: Org, stranger: Org) -> None:
    made = operators.create(
        name="gateway", wanted=sorted(scopes.OPERATOR), who="test", now=clock.real_now()
    )
    token = operator_token(key_id=made.key_id, secret=made.secret, now=clock.real_now())[0]
    bearer = {"Authorization": f"Bearer {token}"}

    named = Client().get("/metered", headers={**bearer, "x-tenant-id": org.id})
    nameless = Client().get("/metered", headers=bearer)

    assert named.status_code == 200
    assert named.headers["x-tenant-id"] == org.id
    assert (used(org), used(stranger)) == (1, 0)
    assert (nameless.status_code, error(nameless)["code"]) == (400, "VALIDATION_ERROR")


def test_the_page_of_the_documentation_runs_as_it_is_printed(org: Org) -> None:
    text = (ROOT / "docs" / "metered-views.md").read_text()
    [printed] = re.findall(r"```python\n(.*?)```", text, re.S)
    module: dict[str, Any] = {"__name__": "reports.views"}
    exec(printed, module)  # noqa: S102 - our own page
    urlpatterns.append(path("report", module["report"]))
    try:
        response = org.get("/report?rows=7")
    finally:
        urlpatterns.pop()

    assert response.json() == {"rows": 7}
    assert used(org) == 7
