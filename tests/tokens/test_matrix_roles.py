"""Who may open which door: every route of config.urls, and every kind of caller.

A route without a row fails the first test.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.urls import get_resolver

from config.backoffice.roles import ROLES
from tests.contract.calls import SPARE_FAMILIES
from tests.contract.credentials import admit_the_operator, operators_token, staff_token
from tests.contract.refusals import refused
from tests.contract.routes import Route, all_routes, client, new_client
from tests.contract.state import nothing_written
from tests.support.cast import Org, tokens_for
from tokens import scopes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sandbox")]

STAFF = ("auditor", "support", "billing admin", "superuser")
CALLERS = ("anonymous", "plugin", "owner", "operator", *STAFF)

#: What each caller meets, in the order of CALLERS: a status, or `in` for the
#: route's own answer (tests/contract/calls.py says which are valid ones).
ANYBODY = "in  in  in  in  in  in  in  in"
USE = "401 in  in  in  401 401 401 401"
OWNERS = "401 403 in  in  401 401 401 401"
#: The secret is in the body. The one of these calls is good for nobody.
BY_SECRET = "401 401 401 401 401 401 401 401"
UNSIGNED = "400 400 400 400 400 400 400 400"
NO_SUCH = "404 404 404 404 404 404 404 404"
LEADS_ON = "302 302 302 302 302 302 302 302"
#: Who came by a link has a cookie; nothing else lets anybody in (tests/portal/).
VISITORS = "401 401 401 401 401 401 401 401"
GONE = "410 410 410 410 410 410 410 410"
#: Pages take a session and no token.
PAGES = "302 302 302 302 200 200 200 200"

MATRIX: Mapping[str, str] = {
    "POST api/quota/check": USE,
    "POST api/v1/usage": USE,
    "POST api/v1/usage/batch": USE,
    "GET api/v1/usage": USE,
    "GET api/v1/usage/series": USE,
    "POST api/v1/usage/void": "401 403 403 in  403 403 in  in",
    "POST api/admin/quotas/reset": "401 401 401 401 403 403 in  in",
    "POST api/admin/webhooks/replay": "401 401 401 401 403 in  in  in",
    "POST api/admin/token": BY_SECRET,
    "POST api/webhooks/stripe": UNSIGNED,
    # Staff by session or staff token, of any organisation.
    "GET api/quota/explain": "401 in  in  in  in  in  in  in",
    "GET api/me/entitlements": USE,
    "PATCH api/me": OWNERS,
    "POST api/signup": ANYBODY,
    "GET api/plans": ANYBODY,
    "POST api/plans/preview": OWNERS,
    "POST api/plans/upgrade": OWNERS,
    "POST api/plans/downgrade": OWNERS,
    "DELETE api/plans/downgrade": OWNERS,
    "POST api/plans/cancel": OWNERS,
    "POST api/plans/resume": OWNERS,
    "POST api/plans/subscribe": OWNERS,
    "POST api/plans/checkout": OWNERS,
    "GET api/invoices": OWNERS,
    "GET api/statements": OWNERS,
    "GET api/notifications": OWNERS,
    "PUT api/notifications": OWNERS,
    "POST api/notifications/secret": OWNERS,
    "POST api/payments/setup": OWNERS,
    "POST api/payments/portal": OWNERS,
    "POST api/portal-links": OWNERS,
    "POST api/tokens/activate": BY_SECRET,
    "POST api/tokens/refresh": BY_SECRET,
    "POST api/tokens/revoke": ANYBODY,
    "POST api/tokens/operator": BY_SECRET,
    "POST api/tokens/codes": OWNERS,
    "GET api/tokens": OWNERS,
    "DELETE api/tokens/<str:family_id>": OWNERS,
    "GET api/diag/smoke": ANYBODY,
    "GET api/schema": ANYBODY,
    "GET api/docs": ANYBODY,
    "GET .well-known/jwks.json": ANYBODY,
    "GET portal/checkout/done": ANYBODY,
    "GET portal/checkout/left": ANYBODY,
    "GET portal/billing/done": ANYBODY,
    "GET portal/<str:token>": GONE,
    "GET portal/email/<str:token>": GONE,
    "GET portal/notices/<str:token>": GONE,
    "GET portal/usage": VISITORS,
    "GET portal/statements/<str:period_key>": VISITORS,
    "GET portal/statements/<str:period_key>.json": VISITORS,
    "GET portal/statements/<str:period_key>.csv": VISITORS,
    "GET portal/plans/<str:plan_code>": VISITORS,
    "GET portal/cancel": VISITORS,
    "GET portal/resume": VISITORS,
    "GET portal/keep-plan": VISITORS,
    "GET portal/payment-method": VISITORS,
    "GET portal/billing": VISITORS,
    "GET healthz": ANYBODY,
    "GET readyz": ANYBODY,
    "GET metrics": ANYBODY,
    "GET admin/acts/": PAGES,
    "GET admin/find/": PAGES,
    "GET admin/organisations/<str:org_id>/": PAGES,
    "GET admin/second-factor/": PAGES,
    "GET admin/": PAGES,
    "GET ": LEADS_ON,
    "GET ^admin/(?:autocomplete|r)/": NO_SUCH,
    "GET ^api(?:/.*)?$": NO_SUCH,
}
_ADDRESSES = count()
API = {str(route): route for route in all_routes()}


def every_route() -> set[str]:
    """Return every verb and path of config.urls; a page's verb is GET."""
    paths = {str(pattern.pattern) for pattern in get_resolver().url_patterns}
    return set(API) | {f"GET {path}" for path in paths if not path.startswith("api/")}


@dataclass(frozen=True)
class Caller:
    """Somebody with credentials, and the organisation that is named to the route."""

    org: Org
    headers: dict[str, str]
    session: User | None = None

    def call(self, name: str) -> Any:
        """Call a route as it wants to be called."""
        via = client() if self.session is None else new_client()
        headers = dict(self.headers)
        if self.session is not None:
            via.force_login(self.session)
            # A page of ours would send the same twice.
            via.cookies["csrftoken"] = headers["X-CSRFToken"] = "c" * 32
        route = API.get(name)
        if route is None:
            path = name.removeprefix("GET ").replace("^api(?:/.*)?$", "api/none")
            path = path.replace("^admin/(?:autocomplete|r)/", "admin/autocomplete/")
            path = path.replace("<str:org_id>", self.org.id)
            return via.get(f"/{path}", headers=headers)
        if route.by == "organisation" and "Authorization" in headers:
            headers["x-tenant-id"] = self.org.id
        # Each from somewhere else, or the failed log-ins of one would shut the next out.
        address = f"203.0.113.{next(_ADDRESSES) % 250}"
        return _bare(route).send_valid(
            self.org, headers=headers, owner=self.org.id, via=via, REMOTE_ADDR=address
        )


def _bare(route: Route) -> Route:
    # Without the credentials that it would bring by itself.
    return Route(route.method, route.path, "", route.throttled)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def member(role: str) -> User:
    made, _ = User.objects.get_or_create(
        username=role, is_staff=True, is_superuser=role == "superuser"
    )
    if role != "superuser":
        made.groups.add(Group.objects.get(name=role))
    return made


@pytest.fixture
def org(org: Org) -> Org:
    """The organisation that all calls name, with an installation that may be revoked."""
    SPARE_FAMILIES[org.id] = tokens_for(org.id, scopes.INSTALLATION).family.id
    return org


def callers(name: str, org: Org) -> Iterator[Caller]:
    """Return the callers of a name: staff come twice, with a session and with a token."""
    match name:
        case "anonymous":
            yield Caller(org, {})
        case "plugin":
            plugin = Org(org.id, tokens_for(org.id, scopes.INSTALLATION))
            yield Caller(plugin, plugin.headers())
        case "owner":
            yield Caller(org, org.headers())
        case "operator":
            admit_the_operator()
            yield Caller(org, bearer(operators_token()))
        case _:
            person = member(name)
            yield Caller(org, {}, session=person)
            yield Caller(org, bearer(staff_token(person)))


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert set(MATRIX) == every_route()
    assert {len(row.split()) for row in MATRIX.values()} == {len(CALLERS)}


def test_every_role_of_staff_has_a_column() -> None:
    assert set(STAFF) == {*ROLES, "superuser"}


@pytest.mark.parametrize("name", MATRIX)
def test_a_door_opens_to_whom_it_should(name: str, org: Org) -> None:
    expected = MATRIX[name].split()

    met = [_met(name, caller, org, cell) for caller, cell in zip(CALLERS, expected, strict=True)]

    assert dict(zip(CALLERS, met, strict=True)) == dict(zip(CALLERS, expected, strict=True))


def _met(name: str, caller: str, org: Org, expected: str) -> str:
    """Return what a kind of caller meets at a route, in the words of the matrix."""
    met = set()
    for somebody in callers(caller, org):
        if MATRIX[name] == PAGES and caller in STAFF and somebody.session is None:
            # Pages take no token.
            assert somebody.call(name).status_code == 302
            continue
        with nothing_written() if expected in ("401", "403") else nullcontext():
            status = somebody.call(name).status_code
        answers = API[name].call.answers if name in API else {200}
        met.add("in" if expected == "in" and status in answers else str(status))
    return " ".join(sorted(met))


@pytest.mark.parametrize("name", [n for n, row in MATRIX.items() if "403" in row])
def test_a_known_caller_is_told_why_in_the_words_of_the_contract(name: str, org: Org) -> None:
    row = dict(zip(CALLERS, MATRIX[name].split(), strict=True))

    for caller in (one for one in CALLERS if row[one] == "403"):
        for somebody in callers(caller, org):
            code = "FORBIDDEN" if caller in STAFF else "SCOPE_MISSING"
            refused(somebody.call(name), 403, code)


@pytest.mark.parametrize("name", [n for n in MATRIX if n in API and API[n].by == "staff"])
def test_a_session_without_a_csrf_token_opens_no_staff_route(name: str, org: Org) -> None:
    via = new_client()
    via.force_login(member("superuser"))

    with nothing_written():
        answer = _bare(API[name]).send_valid(org, via=via)

    refused(answer, 403, "FORBIDDEN")


def _ended(user: User) -> None:
    user.is_active = False
    user.save()


def _dismissed(user: User) -> None:
    user.is_staff = False
    user.save()


def _changed_password(user: User) -> None:
    user.set_password("another-password-of-staff")
    user.save()


@pytest.mark.parametrize("happened", [_ended, _dismissed, _changed_password])
def test_a_staff_token_ends_with_what_it_was_got_for(
    happened: Callable[[User], None], org: Org
) -> None:
    boss = member("superuser")
    caller = Caller(org, bearer(staff_token(boss)))
    route = "POST api/admin/quotas/reset"
    assert caller.call(route).status_code == 200

    happened(boss)

    refused(caller.call(route), 401, "UNAUTHENTICATED")
