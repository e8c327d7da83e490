"""Two organisations never see or touch each other's data, on any route."""

from typing import Any

import pytest

from config.contract import clock
from config.contract.ids import new_id
from quotas.models import UsageCounter
from tests.contract.credentials import admit_the_operator, operators_token
from tests.contract.refusals import refused, refused_fields
from tests.contract.routes import FOR_OPERATORS, ROUTES, WITH_TOKEN, Route
from tests.contract.state import digest, nothing_written
from tests.support.cast import Org, data, make_org
from tokens.models import OrgAccess
from tokens.services import IssuedTokens

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sandbox")]

each_route = pytest.mark.parametrize("route", WITH_TOKEN, ids=str)
with_an_organisation_in_its_body = pytest.mark.parametrize(
    "route", [route for route in WITH_TOKEN if "orgId" in route.call.fields], ids=str
)


def others(stranger: Org) -> list[str]:
    """Return ids that are not the caller's: the first exists, the others do not."""
    return [stranger.id, new_id("org"), "acme", "*", stranger.id.lower()]


def without_ids(response: Any, *ids: str) -> tuple[int, bytes, dict[str, str]]:
    """Return an answer but for the ids of its request."""
    headers = dict(response.headers)
    request_id = headers.pop("x-request-id")
    headers.pop("x-correlation-id")
    return response.status_code, response.content.replace(request_id.encode(), b"-"), headers


@with_an_organisation_in_its_body
def test_another_organisation_in_the_body_is_refused(route: Route, org: Org, stranger: Org) -> None:
    valid = route.valid_body(org)

    with nothing_written():
        answers = [
            route.send_json({**valid, "orgId": other}, org=org) for other in others(stranger)
        ]

    for answer in answers:
        refused(answer, 403, "TENANT_MISMATCH")
        assert stranger.id.encode() not in answer.content
        assert answer.headers["x-tenant-id"] == org.id


@each_route
def test_another_organisation_in_the_tenant_header_is_refused(
    route: Route, org: Org, stranger: Org
) -> None:
    with nothing_written():
        answers = [
            route.send_valid(org, headers={"x-tenant-id": other}) for other in others(stranger)
        ]

    for answer in answers:
        refused(answer, 403, "TENANT_MISMATCH")
        assert stranger.id.encode() not in answer.content
        assert answer.headers["x-tenant-id"] == org.id


@pytest.mark.parametrize("route", [r for r in WITH_TOKEN if r.call.path], ids=str)
def test_another_organisation_in_the_path_or_query_is_refused(
    route: Route, org: Org, stranger: Org
) -> None:
    with nothing_written():
        response = route.send(b"", org=org, owner=stranger.id)

    # A thing of somebody else's is as if it were not there; an orgId is a claim.
    refused(response, *((404, "NOT_FOUND") if "<" in route.path else (403, "TENANT_MISMATCH")))
    assert stranger.id.encode() not in response.content


@each_route
def test_the_refusal_is_the_same_whether_the_other_organisation_exists_or_not(
    route: Route, org: Org, stranger: Org
) -> None:
    ids = [stranger.id, new_id("org")]

    by_header = [route.send_valid(org, headers={"x-tenant-id": one}) for one in ids]
    by_body = [
        route.send_json({**route.valid_body(org), "orgId": one}, org=org)
        for one in ids
        if route.call.body is not None
    ]

    for answers in (by_header, by_body):
        assert len({repr(without_ids(answer)) for answer in answers}) <= 1


@each_route
def test_what_one_organisation_does_changes_no_row_of_another(
    route: Route, org: Org, stranger: Org
) -> None:
    stranger.use(5, request_id="theirs")
    before = digest(of=stranger.id)

    response = route.send_valid(org)

    assert response.status_code in route.call.answers
    assert digest(of=stranger.id) == before


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_no_answer_holds_a_word_about_another_organisation(
    route: Route, org: Org, stranger: Org
) -> None:
    stranger.use(4321, request_id="their-request-id")

    response = route.send(b"", org=org) if route.call.body is None else _call(route, org)

    assert stranger.id.encode() not in response.content
    assert b"4321" not in response.content
    assert b"their-request-id" not in response.content


def test_the_same_request_id_counts_in_both_organisations(org: Org, stranger: Org) -> None:
    event = {"metric": "api_call", "occurredAt": clock.now().isoformat(), "request_id": "same"}

    single = [data(one.use(3, **event)) for one in (org, stranger)]
    batch = [
        data(one.post("/api/v1/usage/batch", {"orgId": one.id, "events": [{**event, "value": 3}]}))
        for one in (org, stranger)
    ]

    assert [answer["used"] for answer in single] == [3, 3]
    assert [answer["duplicates"] for answer in batch] == [1, 1]
    assert {_used(org), _used(stranger)} == {3}


def test_a_repeat_is_never_answered_with_another_organisations_answer(
    org: Org, stranger: Org
) -> None:
    at = clock.now().isoformat()
    org.use(4321, request_id="same", occurredAt=at)

    answer = stranger.use(4321, request_id="same", occurredAt=at)

    assert data(answer)["used"] == 4321
    assert "Idempotent-Replayed" not in answer.headers
    assert answer.headers["x-tenant-id"] == stranger.id


def test_a_spent_quota_denies_its_own_organisation_alone(transactional_db: None) -> None:
    spent, fresh = make_org(included=1), make_org(included=1)
    spent.use(1)

    assert [one.check().status_code for one in (spent, fresh)] == [429, 200]
    assert [one.use(1).status_code for one in (spent, fresh)] == [429, 200]


# --- Operators: one credential for many organisations, each named by the request ---


each_route_for_operators = pytest.mark.parametrize("route", FOR_OPERATORS, ids=str)
for_operators_with_an_organisation_in_its_body = pytest.mark.parametrize(
    "route", [route for route in FOR_OPERATORS if "orgId" in route.call.fields], ids=str
)


@pytest.fixture
def operator(transactional_db: None) -> Org:
    """Somebody with an operator's token: an Org only for its way of calling."""
    admit_the_operator()
    return Org("*", IssuedTokens(operators_token(), "", None))  # type: ignore[arg-type]


def by_body(route: Route, operator: Org, org_id: str, **headers: str) -> Any:
    """Call as the operator, naming the organisation in the body."""
    body = {**route.valid_body(operator), "orgId": org_id}
    return route.send_json(body, org=operator, headers=headers)


def by_header(route: Route, operator: Org, org_id: str) -> Any:
    """Call as the operator, naming the organisation in the header (and the body, if it has one)."""
    if route.call.body is None:
        return route.send(b"", org=operator, owner=org_id, headers={"x-tenant-id": org_id})
    return by_body(route, operator, org_id, **{"x-tenant-id": org_id})


@pytest.mark.parametrize("route", [r for r in ROUTES if r.by == "operator"], ids=str)
def test_what_is_for_operators_no_organisations_token_may_do(
    route: Route, org: Org, stranger: Org
) -> None:
    body = {**route.valid_body(org), "orgId": stranger.id}

    with nothing_written():
        answers = [
            route.send_json(one, headers=org.headers()) for one in (body, route.valid_body(org))
        ]

    for answer in answers:
        refused(answer, 403, "SCOPE_MISSING")


@for_operators_with_an_organisation_in_its_body
def test_an_operator_acts_for_the_organisation_of_the_body(
    route: Route, operator: Org, org: Org, stranger: Org
) -> None:
    before = digest(of=stranger.id)

    response = by_body(route, operator, org.id)

    assert response.status_code in route.call.answers
    assert response.headers["x-tenant-id"] == org.id
    assert digest(of=stranger.id) == before


@each_route_for_operators
def test_an_operator_acts_for_the_organisation_of_the_header(
    route: Route, operator: Org, org: Org
) -> None:
    response = by_header(route, operator, org.id)

    assert response.status_code in route.call.answers
    assert response.headers["x-tenant-id"] == org.id


@for_operators_with_an_organisation_in_its_body
def test_an_operator_may_not_name_two_organisations(
    route: Route, operator: Org, org: Org, stranger: Org
) -> None:
    with nothing_written():
        response = by_body(route, operator, org.id, **{"x-tenant-id": stranger.id})

    refused(response, 403, "TENANT_MISMATCH")


@pytest.mark.parametrize("route", [r for r in FOR_OPERATORS if r.call.body is None], ids=str)
def test_an_operator_has_to_name_an_organisation(route: Route, operator: Org) -> None:
    assert refused_fields(route.send(b"", org=operator, owner="")) == {"orgId"}


@each_route_for_operators
def test_an_operator_naming_nobody_is_404_and_echoes_nothing(route: Route, operator: Org) -> None:
    for org_id in ("org_of_nobody", "*", "a b", "'", "é"):
        response = by_header(route, operator, org_id)

        refused(response, 404, "NOT_FOUND")
        assert "x-tenant-id" not in response.headers
        assert b"org_of_nobody" not in response.content


@pytest.mark.parametrize("route", [r for r in FOR_OPERATORS if r.call.body is None], ids=str)
def test_an_operator_naming_what_no_database_takes_is_refused(route: Route, operator: Org) -> None:
    response = by_header(route, operator, "org\x00")

    assert response.status_code in (400, 404)


@each_route_for_operators
def test_an_operator_may_not_act_for_a_suspended_organisation(
    route: Route, operator: Org, org: Org
) -> None:
    OrgAccess.objects.filter(org_id=org.id).update(suspended_at=clock.real_now())
    org_copy_forgotten(org)

    with nothing_written():
        response = by_header(route, operator, org.id)

    refused(response, 403, "ORG_SUSPENDED")


def org_copy_forgotten(org: Org) -> None:
    """Drop the copy of an organisation, as its expiry would."""
    from config.contract.clients import clients

    clients.copy.forget(org.id)


def _call(route: Route, org: Org) -> Any:
    body = {} if route.path == "api/signup" else route.valid_body(org)
    return route.send_json(body, org=org)


def _used(org: Org) -> int:
    return UsageCounter.objects.get(org_id=org.id, metric="api_call").used
