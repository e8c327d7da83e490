"""The headers every response has: ids, tenant, cache, authentication."""

from typing import Any

import pytest
from pytest_django import Settings

from config.contract import clock
from tests.contract.calls import CALLS
from tests.contract.refusals import ECHO, refused
from tests.contract.routes import GUARDED, ROUTES, WITH_TOKEN, Route, client, new_client
from tests.support.cast import Org, make_org
from tokens import secrets
from tokens.services import issue_code

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sandbox")]

each_route = pytest.mark.parametrize("route", [r for r in ROUTES if r.call.enveloped], ids=str)
each_route_with_token = pytest.mark.parametrize("route", WITH_TOKEN, ids=str)

MALFORMED = [
    "",
    "  ",
    "x" * 129,
    f"{ECHO} {ECHO}",
    f"{ECHO}/1",
    f"{ECHO}@acme.example",
    f'{ECHO}"',
    f"<{ECHO}>",
    f"{ECHO}é",
    f"{ECHO}\n",
    f"{ECHO}\x00",
]
WELL_FORMED = ["a", "A-z.0_9:", "x" * 128, "0192d3a4-7c11-7000-8000-000000000000"]


def call(route: Route, org: Org, **more: Any) -> Any:
    """Call a route as it wants to be called, short of signing up and of hashing passwords."""
    if route.path in ("api/signup", "api/admin/token"):
        return route.send_json({}, **more)
    return route.send_valid(org, **more)


@each_route
def test_ids_are_made_where_none_are_given(route: Route, org: Org) -> None:
    first, second = call(route, org), call(route, org)
    third = call(route, org, headers={"x-request-id": "r-1"})

    assert first.headers["x-request-id"] == first.headers["x-correlation-id"]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert len(first.headers["x-request-id"]) == 32
    assert third.headers["x-correlation-id"] == "r-1"


@each_route
def test_well_formed_ids_are_kept(route: Route, org: Org) -> None:
    for given in WELL_FORMED:
        headers = {"x-request-id": given, "x-correlation-id": f"c{given[1:]}"}

        answer = call(route, org, headers=headers)

        assert {name: answer.headers[name] for name in headers} == headers


@each_route
def test_malformed_ids_are_replaced_and_never_echoed(route: Route, org: Org) -> None:
    for given in MALFORMED:
        answer = call(route, org, headers={"x-request-id": given, "x-correlation-id": given})

        assert len(answer.headers["x-request-id"]) == 32
        assert answer.headers["x-correlation-id"] == answer.headers["x-request-id"]
        assert ECHO not in str(answer.headers)
        assert ECHO.encode() not in answer.content


@pytest.mark.parametrize(
    "path",
    [
        "/healthz",
        "/readyz",
        "/metrics",
        "/admin/",
        "/nope",
        "/api/x",
        "/api/schema",
        "/api/docs",
        "/.well-known/jwks.json",
    ],
)
def test_ids_are_on_responses_outside_the_contract_too(path: str, org: Org) -> None:
    answer = client().get(path, headers={"x-request-id": "r-1", "x-correlation-id": "c-1"})

    assert answer.headers["x-request-id"] == "r-1"
    assert answer.headers["x-correlation-id"] == "c-1"


def test_an_error_carries_the_ids_of_its_headers(org: Org) -> None:
    answer = org.post("/api/v1/usage", {}, **{"x-request-id": "r-1", "x-correlation-id": "c-1"})

    assert answer.json()["meta"] == {"requestId": "r-1", "correlationId": "c-1"}


@each_route
def test_a_success_never_carries_a_request_id(route: Route, org: Org) -> None:
    answer = call(route, org, headers={"x-request-id": ECHO, "x-correlation-id": ECHO})

    assert ("requestId" in answer.json().get("meta", {})) is (answer.status_code != 200)
    assert (ECHO.encode() in answer.content) is (answer.status_code != 200)


@each_route_with_token
def test_the_tenant_header_is_filled_in_from_the_token(route: Route, org: Org) -> None:
    assert call(route, org).headers["x-tenant-id"] == org.id


@each_route_with_token
def test_the_tenant_header_may_name_the_organisation_of_the_token(route: Route, org: Org) -> None:
    answer = call(route, org, headers={"x-tenant-id": org.id})

    assert answer.status_code in route.call.answers
    assert answer.headers["x-tenant-id"] == org.id


@pytest.mark.parametrize("route", [r for r in ROUTES if not r.by], ids=str)
def test_the_tenant_header_is_ignored_without_a_token(route: Route, org: Org) -> None:
    answer = call(route, org, headers={"x-tenant-id": ECHO})

    assert answer.status_code == call(route, org).status_code
    assert "x-tenant-id" not in answer.headers
    assert ECHO.encode() not in answer.content


@each_route_with_token
def test_the_name_of_the_tenant_header_is_a_setting(
    route: Route, org: Org, settings: Settings
) -> None:
    settings.TENANT_HEADER = "x-workspace"
    fresh = new_client()

    filled, named, other, old = (
        route.send_valid(org, via=fresh, headers=headers)
        for headers in (
            {},
            {"x-workspace": org.id},
            {"x-workspace": "org_other"},
            {"x-tenant-id": "org_other"},
        )
    )

    assert filled.headers["x-workspace"] == named.headers["x-workspace"] == org.id
    assert "x-tenant-id" not in filled.headers
    assert {named.status_code, old.status_code} <= route.call.answers
    refused(other, 403, "TENANT_MISMATCH")


@pytest.mark.parametrize("route", GUARDED, ids=str)
def test_a_missing_token_is_401_and_says_how_to_authenticate(route: Route) -> None:
    answer = route.send_json({})

    refused(answer, 401, "UNAUTHENTICATED")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", GUARDED, ids=str)
def test_what_is_no_bearer_token_is_401(route: Route) -> None:
    for credential in ("Bearer", "Bearer ", "Basic eDp5", "Token x", "Bearer x y", "", "é"):
        answer = route.send_json({}, headers={"Authorization": credential})

        refused(answer, 401, "UNAUTHENTICATED")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_scheme_may_be_written_in_any_case(org: Org) -> None:
    credential = org.headers()["Authorization"].replace("Bearer", "bEARER")

    answer = client().get("/api/me/entitlements", headers={"Authorization": credential})

    assert answer.status_code == 200


def test_a_code_that_is_no_good_is_401_and_says_how_to_authenticate(transactional_db: None) -> None:
    answer = client().post(
        "/api/tokens/activate", {"activationCode": "mgc_x"}, content_type="application/json"
    )

    refused(answer, 401, "CODE_INVALID")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_answers_that_hold_tokens_are_not_stored(
    transactional_db: None, django_user_model: Any
) -> None:
    org = make_org()
    code, now = secrets.new_code(), clock.real_now()
    issue_code(org_id=org.id, code=code, scopes=["usage:write"], issued_by="test", now=now)
    django_user_model.objects.create_user("ada", password="a long password", is_staff=True)

    answers = [
        client().post(path, body, content_type="application/json")
        for path, body in (
            ("/api/tokens/activate", {"activationCode": code}),
            ("/api/admin/token", {"username": "ada", "password": "a long password"}),
        )
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.headers["Cache-Control"] for answer in answers] == ["no-store"] * 2


def test_no_answer_to_somebody_is_kept_by_a_cache(org: Org) -> None:
    answers = {str(route): call(route, org) for route in ROUTES if route.by}

    kept = [
        name
        for name, answer in answers.items()
        if answer.headers.get("Cache-Control") != "no-store"
    ]
    assert kept == []


def test_every_answer_under_the_contract_is_json_in_utf_8(org: Org) -> None:
    answers = [call(route, org) for route in ROUTES if CALLS[str(route)].enveloped]

    assert {answer.headers["Content-Type"] for answer in answers} == {
        "application/json; charset=utf-8"
    }
