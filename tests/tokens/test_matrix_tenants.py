"""Whatever a request can name by an id: the id of another organisation's thing leads nowhere.

The parameters come from the OpenAPI document and the fields of bodies from
tests/contract/calls.py; one that is neither known as plain nor tried out here
fails the first tests. Bodies' `orgId`, the tenant header and the path are tried on
every route in tests/contract/test_tenancy.py.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from config.contract import clock
from quotas.denial_book import book
from tests.billing.owners import Owner, new_owner
from tests.contract.routes import FOR_OPERATORS, ROUTES, WITH_TOKEN, client
from tests.contract.state import digest
from tests.support.cast import Org, data, tokens_for
from tokens import operators, scopes
from tokens.models import TokenFamily

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sandbox")]

Attempt = Callable[[Owner, Owner], Any]

#: Parameters and fields of bodies that name nothing that could be anybody's.
PLAIN = frozenset(
    ("at", "by", "domain", "email", "emails", "expectedAmount", "from", "limit", "metric")
    + ("newPlanCode", "occurredAt", "orgName", "periodKey", "planCode", "proration")
    + ("prorationDate",)
    + ("reason", "returnUrl", "scopes", "soft", "thresholds", "to", "url", "value")
)
#: The organisation itself: tests/contract/test_tenancy.py.
ORGANISATION = "orgId"


def _their_invoice(owner: Owner, stranger: Owner) -> Any:
    theirs = data(stranger.get("/api/invoices"))["invoices"]
    assert theirs, "the stranger has an invoice to be found"
    return owner.get(f"/api/invoices?cursor={theirs[0]['id']}")


def _their_cursor(owner: Owner, stranger: Owner) -> Any:
    page = data(stranger.get("/api/v1/usage?metric=api_call&limit=1"))
    assert page["nextCursor"], "the stranger has a second page"
    return owner.get(f"/api/v1/usage?metric=api_call&limit=10&cursor={page['nextCursor']}")


def _their_event(owner: Owner, stranger: Owner) -> Any:
    return owner.get("/api/v1/usage?metric=api_call&requestId=theirs-0")


def _their_family(owner: Owner, stranger: Owner) -> Any:
    family = TokenFamily.objects.filter(org_id=stranger.id).latest("created_at")
    return owner.client.delete(f"/api/tokens/{family.id}", headers=owner.headers())


def _their_downgrade(owner: Owner, stranger: Owner) -> Any:
    return owner.client.delete(f"/api/plans/downgrade?orgId={stranger.id}", headers=owner.headers())


def _their_event_in_a_batch(owner: Owner, stranger: Owner) -> Any:
    event = {
        "orgId": stranger.id,
        "metric": "api_call",
        "value": 1,
        "occurredAt": clock.now().isoformat(),
        "request_id": "nested",
    }
    return owner.post("/api/v1/usage/batch", {"orgId": owner.id, "events": [event]})


def _their_event_to_void(owner: Owner, stranger: Owner) -> Any:
    now = clock.real_now()
    key = operators.create(name="gateway", wanted=["usage:void"], who="test", now=now)
    token, _ = operators.operator_token(key_id=key.key_id, secret=key.secret, now=now)
    return owner.client.post(
        "/api/v1/usage/void",
        json.dumps({"orgId": owner.id, "request_id": "theirs-0", "reason": "a test"}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )


def _their_event_again(owner: Owner, stranger: Owner) -> Any:
    return owner.use(4321, request_id="theirs-0")


def _their_use_explained(owner: Owner, stranger: Owner) -> Any:
    return owner.get("/api/quota/explain?requestId=theirs-0")


def _their_denial_explained(owner: Owner, stranger: Owner) -> Any:
    return owner.get("/api/quota/explain?correlationId=theirs-2")


def _their_quota_explained(owner: Owner, stranger: Owner) -> Any:
    return owner.get(f"/api/quota/explain?metric=api_call&orgId={stranger.id}")


#: Route and parameter → how another organisation's thing is named, and the answer:
#: a refusal, or 200 with the caller's own things alone.
TRIED: dict[tuple[str, str], tuple[Attempt, set[int]]] = {
    ("GET api/invoices", "cursor"): (_their_invoice, {400, 404}),
    ("GET api/v1/usage", "cursor"): (_their_cursor, {200, 400, 404}),
    ("GET api/v1/usage", "requestId"): (_their_event, {200}),
    ("GET api/quota/explain", "requestId"): (_their_use_explained, {404}),
    ("GET api/quota/explain", "correlationId"): (_their_denial_explained, {404}),
    ("GET api/quota/explain", "orgId"): (_their_quota_explained, {403}),
    ("DELETE api/tokens/<str:family_id>", "family_id"): (_their_family, {404}),
    ("DELETE api/plans/downgrade", "orgId"): (_their_downgrade, {403}),
    ("POST api/v1/usage/batch", "events"): (_their_event_in_a_batch, {200}),
    ("POST api/v1/usage", "request_id"): (_their_event_again, {200}),
    ("POST api/v1/usage/void", "request_id"): (_their_event_to_void, {404}),
}


def parameters() -> set[tuple[str, str]]:
    """Return every parameter of a path or a query, by its route."""
    document = json.loads(client().get("/api/schema?format=json").content)
    by_path = {re.sub(r"<[^:>]+:([^>]+)>", r"{\1}", f"/{one.path}"): one for one in ROUTES}
    guarded = {str(route) for route in FOR_OPERATORS}
    return {
        (name, parameter["name"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if path in by_path and (name := f"{method.upper()} {by_path[path].path}") in guarded
        for parameter in operation.get("parameters", [])
        if parameter.get("in") in ("path", "query")
    }


def fields() -> set[tuple[str, str]]:
    """Return every field of a body, by its route."""
    return {(str(route), name) for route in FOR_OPERATORS for name in route.call.fields}


@pytest.fixture
def stranger(sandbox: object) -> Owner:
    """An organisation with use, a denial, an invoice and an installation of its own."""
    made = new_owner("Stranger")
    for number in range(2):
        made.use(4321, request_id=f"theirs-{number}")
    body = {"orgId": made.id, "metric": "api_call", "value": 10**9}
    denied = made.post("/api/quota/check", body, **{"x-correlation-id": "theirs-2"})
    assert denied.status_code == 429
    book.flush()
    tokens_for(made.id, scopes.INSTALLATION)
    return made


@pytest.fixture
def owner(sandbox: object) -> Owner:
    """Who tries."""
    return new_owner()


def test_every_parameter_and_field_is_plain_or_tried_out() -> None:
    naming = {
        (route, name)
        for route, name in parameters() | fields()
        if name not in PLAIN and (name != ORGANISATION or (route, name) in TRIED)
    }

    assert naming == set(TRIED)


def test_every_parameter_in_a_path_is_tried_out() -> None:
    in_paths = {
        (str(route), name)
        for route in ROUTES
        for name in re.findall(r"<[^:>]+:([^>]+)>", route.path)
    }

    assert in_paths <= set(TRIED)


@pytest.mark.parametrize("named", TRIED, ids=" ".join)
def test_the_id_of_another_organisations_thing_leads_nowhere(
    named: tuple[str, str], owner: Owner, stranger: Owner
) -> None:
    attempt, expected = TRIED[named]
    owner.use(7, request_id="ours")
    marks = [stranger.id, "theirs-", "4321", stranger.customer_id]

    before = digest(of=stranger.id)

    answer = attempt(owner, stranger)

    assert answer.status_code in expected, answer.content
    assert not any(mark.encode() in answer.content for mark in marks)
    assert digest(of=stranger.id) == before


@pytest.mark.parametrize("name", ["orgId", "org_id", "org", "tenant", "tenantId", "x-tenant-id"])
def test_an_organisation_in_the_query_is_refused_or_changes_nothing(
    name: str, org: Org, stranger: Owner
) -> None:
    before = digest(of=stranger.id)

    for route in WITH_TOKEN:
        path = f"/{route.call.path(org.id) if route.call.path else route.path}"
        query = f"{route.call.query}&{name}={stranger.id}".lstrip("&")
        body = json.dumps(route.valid_body(org)) if route.call.body else ""
        answer = client().generic(
            route.method,
            f"{path.partition('?')[0]}?{query}",
            body,
            content_type="application/json",
            headers=org.headers(),
        )
        assert answer.status_code in route.call.answers | {400, 403, 404}, str(route)
        assert stranger.id.encode() not in answer.content, str(route)
        assert b"4321" not in answer.content, str(route)

    assert digest(of=stranger.id) == before
