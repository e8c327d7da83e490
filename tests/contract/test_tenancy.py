"""Two organisations never see or touch each other's data, on any route."""

from collections.abc import Callable
from typing import Any

import pytest

from config.contract import clock
from config.contract.ids import new_id
from quotas.models import UsageCounter
from tests.contract.refusals import refused, refused_fields
from tests.contract.routes import ROUTES, WITH_TOKEN, Route
from tests.contract.state import digest, nothing_written
from tests.support.cast import Org, data, make_org
from tokens import access, jwt, scopes
from tokens.models import OrgAccess
from tokens.services import IssuedTokens

pytestmark = pytest.mark.django_db(transaction=True)

each_route = pytest.mark.parametrize("route", WITH_TOKEN, ids=str)
with_an_organisation_in_its_body = pytest.mark.parametrize(
    "route", [route for route in WITH_TOKEN if "orgId" in route.call.fields], ids=str
)

#: Ids that are not the caller's: one exists, the others do not.
OTHERS: dict[str, Callable[[Org], str]] = {
    "of another organisation": lambda stranger: stranger.id,
    "of nobody": lambda stranger: new_id("org"),
    "of nobody, in another form": lambda stranger: "acme",
    "of every organisation": lambda stranger: "*",
    "of another organisation, in lower case": lambda stranger: stranger.id.lower(),
}


def without_ids(response: Any, *ids: str) -> tuple[int, bytes, dict[str, str]]:
    """Return an answer but for the ids of its request."""
    headers = dict(response.headers)
    request_id = headers.pop("x-request-id")
    headers.pop("x-correlation-id")
    return response.status_code, response.content.replace(request_id.encode(), b"-"), headers


@with_an_organisation_in_its_body
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_another_organisation_in_the_body_is_refused(
    route: Route, other: Callable[[Org], str], org: Org, stranger: Org
) -> None:
    body = {**route.valid_body(org), "orgId": other(stranger)}

    with nothing_written():
        response = route.send_json(body, org=org)

    refused(response, 403, "TENANT_MISMATCH")
    assert stranger.id.encode() not in response.content
    assert response.headers["x-tenant-id"] == org.id


@each_route
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_another_organisation_in_the_tenant_header_is_refused(
    route: Route, other: Callable[[Org], str], org: Org, stranger: Org
) -> None:
    with nothing_written():
        response = route.send_valid(org, headers={"x-tenant-id": other(stranger)})

    refused(response, 403, "TENANT_MISMATCH")
    assert stranger.id.encode() not in response.content
    assert response.headers["x-tenant-id"] == org.id


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

    assert response.status_code == 200
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


@pytest.fixture
def operator(transactional_db: None) -> Org:
    """Somebody with an operator's token: an Org only for its way of calling."""
    access.open_access("opk_test", installation_limit=0)
    token = jwt.mint(
        subject="operator:test",
        org="*",
        scopes=sorted(scopes.OPERATOR),
        domain="",
        family_id="opk_test",
        audience="metergate",
        now=clock.real_now(),
    )
    return Org("*", IssuedTokens(token, "", None))  # type: ignore[arg-type]


def by_body(route: Route, operator: Org, org_id: str, **headers: str) -> Any:
    """Call as the operator, naming the organisation in the body."""
    body = {**route.valid_body(operator), "orgId": org_id}
    return route.send_json(body, org=operator, headers=headers)


def by_header(route: Route, operator: Org, org_id: str) -> Any:
    """Call as the operator, naming the organisation in the header (and the body, if it has one)."""
    if route.call.body is None:
        return route.send(b"", org=operator, headers={"x-tenant-id": org_id})
    return by_body(route, operator, org_id, **{"x-tenant-id": org_id})


@with_an_organisation_in_its_body
def test_an_operator_acts_for_the_organisation_of_the_body(
    route: Route, operator: Org, org: Org, stranger: Org
) -> None:
    before = digest(of=stranger.id)

    response = by_body(route, operator, org.id)

    assert response.status_code == 200
    assert response.headers["x-tenant-id"] == org.id
    assert digest(of=stranger.id) == before


@each_route
def test_an_operator_acts_for_the_organisation_of_the_header(
    route: Route, operator: Org, org: Org
) -> None:
    response = by_header(route, operator, org.id)

    assert response.status_code == 200
    assert response.headers["x-tenant-id"] == org.id


@with_an_organisation_in_its_body
def test_an_operator_may_not_name_two_organisations(
    route: Route, operator: Org, org: Org, stranger: Org
) -> None:
    with nothing_written():
        response = by_body(route, operator, org.id, **{"x-tenant-id": stranger.id})

    refused(response, 403, "TENANT_MISMATCH")


@pytest.mark.parametrize("route", [r for r in WITH_TOKEN if r.call.body is None], ids=str)
def test_an_operator_has_to_name_an_organisation(route: Route, operator: Org) -> None:
    assert refused_fields(route.send(b"", org=operator)) == {"orgId"}


@each_route
@pytest.mark.parametrize("org_id", ["org_of_nobody", "*", "x\x00y", "a b", "'"])
def test_an_operator_naming_nobody_is_404_and_echoes_nothing(
    route: Route, org_id: str, operator: Org
) -> None:
    response = by_header(route, operator, org_id)

    assert response.status_code == 404 or "\x00" in org_id
    assert response.status_code in (400, 404)
    assert "x-tenant-id" not in response.headers
    assert b"org_of_nobody" not in response.content


@each_route
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
