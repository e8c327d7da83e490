"""Who is let in: the scope each route asks for, and suspension, on every guarded route."""

import pytest

from config.contract import clock
from config.contract.clients import clients
from tests.contract.outages import no_valkey
from tests.contract.refusals import refused
from tests.contract.routes import WITH_TOKEN, Route
from tests.contract.state import nothing_written
from tests.support.cast import Org, make_org, tokens_for
from tokens import scopes
from tokens.suspension import restore, suspend

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sandbox")]

each_route = pytest.mark.parametrize("route", WITH_TOKEN, ids=str)

READ, WRITE = scopes.ENTITLEMENTS_READ, scopes.USAGE_WRITE
BILLING_READ, BILLING_WRITE = scopes.BILLING_READ, scopes.BILLING_WRITE
#: What each route asks for (one of them is enough).
ASKED = {
    "POST api/quota/check": {WRITE, READ},
    "POST api/v1/usage": {WRITE},
    "POST api/v1/usage/batch": {WRITE},
    "GET api/v1/usage": {READ},
    "GET api/v1/usage/series": {READ},
    "GET api/quota/explain": {READ},
    "GET api/me/entitlements": {READ},
    "PATCH api/me": {BILLING_WRITE},
    "POST api/plans/preview": {BILLING_READ},
    "POST api/plans/upgrade": {BILLING_WRITE},
    "POST api/plans/downgrade": {BILLING_WRITE},
    "DELETE api/plans/downgrade": {BILLING_WRITE},
    "POST api/plans/cancel": {BILLING_WRITE},
    "POST api/plans/resume": {BILLING_WRITE},
    "POST api/plans/subscribe": {BILLING_WRITE},
    "POST api/plans/checkout": {BILLING_WRITE},
    "GET api/invoices": {BILLING_READ},
    "GET api/statements": {BILLING_READ},
    "GET api/notifications": {BILLING_READ},
    "PUT api/notifications": {BILLING_WRITE},
    "POST api/notifications/secret": {BILLING_WRITE},
    "POST api/payments/setup": {BILLING_WRITE},
    "POST api/payments/portal": {BILLING_WRITE},
    "POST api/portal-links": {BILLING_READ},
    "POST api/tokens/codes": {BILLING_WRITE},
    "GET api/tokens": {BILLING_READ},
    "DELETE api/tokens/<str:family_id>": {BILLING_WRITE},
}


def test_every_route_with_a_token_says_which_scope_it_asks_for() -> None:
    assert {str(route) for route in WITH_TOKEN} == set(ASKED)


@each_route
def test_without_the_scope_a_route_is_shut_and_with_it_open(route: Route) -> None:
    org = make_org()
    asked = ASKED[str(route)]
    everything_else = tuple(scopes.ORGANISATION - asked)
    shut = Org(org.id, tokens_for(org.id, everything_else))

    with nothing_written():
        refusal = route.send_valid(shut)

    assert set(refused(refusal, 403, "SCOPE_MISSING")["details"]["anyOf"]) == asked
    for scope in asked:
        opened = route.send_valid(Org(org.id, tokens_for(org.id, (scope,))))
        # A code may still not carry more than its maker has; that says no `anyOf`.
        assert b"anyOf" not in opened.content


@each_route
def test_the_scope_is_asked_before_the_body_is_read(route: Route, org: Org) -> None:
    shut = Org(org.id, tokens_for(org.id, ()))

    refused(route.send(b"{", org=shut), 403, "SCOPE_MISSING")


@each_route
def test_a_suspended_organisation_is_refused_at_once_through_the_copy(
    route: Route, org: Org
) -> None:
    org.check()  # its copy says that it may

    suspend(org_id=org.id, reason="test", who="test", now=clock.real_now())

    with nothing_written():
        refused(route.send_valid(org), 403, "ORG_SUSPENDED")


@each_route
def test_a_suspended_organisation_is_refused_at_once_without_the_copy(
    route: Route, org: Org
) -> None:
    suspend(org_id=org.id, reason="test", who="test", now=clock.real_now())
    clients.copy.forget(org.id)

    with nothing_written():
        refused(route.send_valid(org), 403, "ORG_SUSPENDED")


def test_a_suspended_organisation_is_refused_while_valkey_is_away(org: Org) -> None:
    suspend(org_id=org.id, reason="test", who="test", now=clock.real_now())

    with no_valkey():
        refused(org.check(), 403, "ORG_SUSPENDED")


def test_a_suspension_comes_before_everything_but_the_token(org: Org) -> None:
    org.use(1, request_id="r1", occurredAt=(at := clock.now().isoformat()))
    powerless = Org(org.id, tokens_for(org.id, ()))
    suspend(org_id=org.id, reason="test", who="test", now=clock.real_now())

    repeat = org.use(1, request_id="r1", occurredAt=at)
    nonsense = org.post("/api/v1/usage", {"x": 1})

    for answer in (repeat, nonsense, powerless.check()):
        refused(answer, 403, "ORG_SUSPENDED")


def test_who_is_let_back_in_goes_on_where_it_was(org: Org) -> None:
    at = clock.now().isoformat()
    first = org.use(3, request_id="r1", occurredAt=at)
    suspend(org_id=org.id, reason="test", who="test", now=clock.real_now())
    assert org.use(3, request_id="r1", occurredAt=at).status_code == 403

    restore(org_id=org.id, reason="test", who="test", now=clock.real_now())

    assert org.use(3, request_id="r1", occurredAt=at).content == first.content
