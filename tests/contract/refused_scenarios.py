"""What every route refuses, by what kind of route it is."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.test import override_settings

from config.contract import clock
from tests.contract.credentials import staff_token
from tests.contract.outages import no_database, no_valkey
from tests.contract.routes import Route
from tests.support.cast import Org, make_org, tokens_for
from tokens import jwt
from tokens.families import revoke_family
from tokens.suspension import suspend

Answers = Iterator[tuple[str, Any]]


def refusals(route: Route) -> Answers:
    """Return each kind of refusal of a route, by name."""
    org = make_org()
    yield (
        "wrong verb",
        route.send(b"", org=org, method="PUT" if route.method == "PATCH" else "PATCH"),
    )
    if route.throttled:
        yield "throttled", _throttled(route)
    if route.call.body is not None:
        yield from _of_bodies(route, org)
    if route.by:
        yield "no token", route.send_json({})
    if route.by == "organisation":
        yield from _of_tokens(route)
    if route.by == "staff":
        yield "no permission", _as_staff_without_permission(route, org)
    if route.path in ("api/quota/check", "api/v1/usage", "api/me/entitlements"):
        # Routes of other apps answer an outage through the same handler.
        body = route.send_valid
        with no_valkey(), no_database():
            yield "database and Valkey away", body(org)


def _of_bodies(route: Route, org: Org) -> Answers:
    yield "malformed", route.send(b"{", org=org)
    yield "not valid", route.send_json({"extra": 1}, org=org)
    yield "too large", route.send(b" " * (route.call.cap + 1), org=org)
    yield "not JSON", route.send(b"{}", org=org, content_type="text/plain")


def _of_tokens(route: Route) -> Answers:
    org = make_org()
    yield "expired token", route.send_valid(_with_expired_token(org))
    yield "scope missing", route.send_valid(Org(org.id, tokens_for(org.id, ())))
    yield "another tenant", route.send_valid(org, headers={"x-tenant-id": "org_other"})
    bound = make_org(domain="shop.example")
    yield "another domain", route.send_valid(bound, headers={"origin": "https://x.example"})
    now = clock.real_now()
    suspend(org_id=org.id, reason="test", who="test", now=now)
    yield "suspended", route.send_valid(org)
    revoke_family(org_id=org.id, family_id=org.tokens.family.id, who="test", now=now)
    yield "revoked token", route.send_valid(org)


def _with_expired_token(org: Org) -> Org:
    family = org.tokens.family
    token = jwt.mint(
        subject=f"installation:{family.id}",
        org=org.id,
        scopes=list(family.scopes),
        domain="",
        family_id=family.id,
        audience="metergate",
        now=clock.real_now() - timedelta(hours=1),
    )
    tokens = type(org.tokens)(token, org.tokens.refresh_token, family)
    return Org(org.id, tokens)


def _throttled(route: Route) -> Any:
    limit = "1/hour"
    with override_settings(
        THROTTLE_SIGNUP=limit, THROTTLE_TOKENS=limit, THROTTLE_ADMIN_TOKEN=limit, THROTTLE_HOT=limit
    ):
        org = make_org()
        route.send_json({}, org=org)
        return route.send_json({}, org=org)


def _as_staff_without_permission(route: Route, org: Org) -> Any:
    people: Any = get_user_model().objects
    clerk = people.create_user("clerk", is_staff=True)
    token = staff_token(clerk)
    return route.send_valid(org, headers={"Authorization": f"Bearer {token}"})
