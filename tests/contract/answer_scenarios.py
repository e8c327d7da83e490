"""Calls of every route that meet each kind of answer it has of its own."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model

from config.contract import clock
from quotas.models import Entitlement
from quotas.rules import Allowance
from quotas.services import ScheduledChange
from tests.contract import billing_scenarios
from tests.contract.billing_scenarios import Answers, Scenario
from tests.contract.credentials import admit_the_operator, operators_token, staff_token
from tests.contract.routes import Route
from tests.sandbox.server import Control
from tests.support.cast import Org, make_org, tokens_for
from tests.webhooks.cast import an_event, encoded, send, signature
from tokens import operators, scopes, secrets
from tokens.services import issue_code

_CORRELATED = {"x-correlation-id": "corr-1"}


def check(route: Route, sandbox: Control) -> Answers:
    """POST /api/quota/check."""
    org, nobody = make_org(included=10), make_org(status="canceled")
    yield "allowed", org.check(10)
    yield "denied", org.check(11)
    yield "denied softly", org.check(11, soft=True)
    yield "no subscription", nobody.check()
    yield "no subscription, softly", nobody.check(soft=True)
    yield "unknown metric", org.check(metric="x")


def usage(route: Route, sandbox: Control) -> Answers:
    """POST /api/v1/usage."""
    org, at = make_org(included=10), clock.now()
    yield "counted", org.use(4, request_id="r1", occurredAt=at.isoformat())
    yield "counted before", org.use(4, request_id="r1", occurredAt=at.isoformat())
    yield "conflict", org.use(5, request_id="r1", occurredAt=at.isoformat())
    yield "denied", org.use(7)
    yield "no subscription", make_org(status="canceled").use()
    yield "too early", org.use(occurredAt=(at + timedelta(hours=1)).isoformat())
    _void(org, "r1")
    yield "voided", org.use(4, request_id="r1", occurredAt=at.isoformat())


def batch(route: Route, sandbox: Control) -> Answers:
    """POST /api/v1/usage/batch."""
    org, at = make_org(included=10), clock.now().isoformat()
    event = {"metric": "api_call", "value": 6, "occurredAt": at}
    ids: list[Any] = ["r1", "r1", "r2", 5]
    events = [{**event, "request_id": one} for one in ids]
    yield "some of each", org.post(f"/{route.path}", {"orgId": org.id, "events": events})


def read_usage(route: Route, sandbox: Control) -> Answers:
    """GET /api/v1/usage."""
    org = make_org()
    for name in ("r1", "r2"):
        org.use(request_id=name)
    _void(org, "r1")
    yield "all", org.get("/api/v1/usage")
    yield "a page", org.get("/api/v1/usage?limit=1")
    yield "a bad cursor", org.get("/api/v1/usage?cursor=x")
    yield "an unknown parameter", org.get("/api/v1/usage?x=1")


def series(route: Route, sandbox: Control) -> Answers:
    """GET /api/v1/usage/series."""
    org = make_org()
    org.use()
    yield "by day", org.get("/api/v1/usage/series?metric=api_call&by=day")
    yield "by minute", org.get("/api/v1/usage/series?metric=api_call&by=minute")


def void(route: Route, sandbox: Control) -> Answers:
    """POST /api/v1/usage/void."""
    org = make_org()
    org.use(request_id="r1")
    yield "unknown", _void(org, "r2")
    yield "voided", _void(org, "r1")
    yield "voided before", _void(org, "r1")


def reset(route: Route, sandbox: Control) -> Answers:
    """POST /api/admin/quotas/reset."""
    org = make_org()
    org.use(3)
    named = {"orgIds": [org.id], "metric": "api_call"}
    yield "tried", _as_staff(route, {**named, "dryRun": True})
    yield "done", _as_staff(route, named)
    yield "forced", _as_staff(route, {**named, "force": True, "reason": "a test"})
    yield "forced for no reason", _as_staff(route, {**named, "force": True})


def replay(route: Route, sandbox: Control) -> Answers:
    """POST /api/admin/webhooks/replay."""
    yield "unknown", _as_staff(route, {"eventIds": ["evt_unknown"]})
    event = an_event()
    _stripe_sends(event)
    yield "queued", _as_staff(route, {"eventIds": [event["id"]]})


def webhook(route: Route, sandbox: Control) -> Answers:
    """POST /api/webhooks/stripe."""
    event = an_event()
    yield "received", _stripe_sends(event)
    yield "received before", _stripe_sends(event)
    yield "not signed", route.send(encoded(event))
    yield "too large", route.send(b" " * (512 * 1024 + 1))


def entitlements(route: Route, sandbox: Control) -> Answers:
    """GET /api/me/entitlements."""
    yield "active", make_org().get(f"/{route.path}")
    yield "trialing", make_org(status="trialing").get(f"/{route.path}")
    now = clock.now()
    later = ScheduledChange("starter", {"api_call": Allowance(1, "block")}, now + timedelta(days=1))
    yield "changing", make_org(plan="pro", scheduled=later).get(f"/{route.path}")
    nothing = make_org()
    Entitlement.objects.filter(org_id=nothing.id).delete()
    yield "nothing granted", nothing.get(f"/{route.path}")


def explained(route: Route, sandbox: Control) -> Answers:
    """GET /api/quota/explain."""
    org, path = make_org(included=10), f"/{route.path}"
    yield "allowed", org.get(f"{path}?metric=api_call")
    org.use(10, request_id="use-1")
    yield "spent", org.get(f"{path}?metric=api_call")
    org.post("/api/quota/check", {"orgId": org.id, "metric": "api_call"}, **_CORRELATED)
    yield "denied", org.get(f"{path}?correlationId=corr-1")
    yield "counted", org.get(f"{path}?requestId=use-1")
    yield "before it was", org.get(f"{path}?metric=api_call&at=2020-01-01T00:00:00Z")
    yield "unknown id", org.get(f"{path}?correlationId=unknown")
    yield "no metric", org.get(path)
    later = ScheduledChange(
        "starter", {"api_call": Allowance(1, "block")}, clock.now() + timedelta(days=1)
    )
    changing = make_org(plan="pro", status="trialing", scheduled=later)
    yield "changing", changing.get(f"{path}?metric=api_call")
    staff = {"Authorization": f"Bearer {staff_token()}"}
    yield "to staff", org.client.get(f"{path}?correlationId=corr-1", headers=staff)
    yield "of nobody", org.client.get(f"{path}?metric=api_call", headers=staff)


def activate(route: Route, sandbox: Control) -> Answers:
    """POST /api/tokens/activate."""
    org, now = make_org(), clock.real_now()
    free, bound = secrets.new_code(), secrets.new_code()
    told: dict[str, Any] = {
        "org_id": org.id,
        "scopes": scopes.INSTALLATION,
        "issued_by": "test",
        "now": now,
    }
    issue_code(code=free, **told)
    issue_code(code=bound, domain="shop.example", **told)
    here = {"origin": "https://shop.example"}
    yield "activated", route.send_json({"activationCode": free})
    yield "activated before", route.send_json({"activationCode": free})
    yield "activated for a domain", route.send_json({"activationCode": bound}, headers=here)


def refresh(route: Route, sandbox: Control) -> Answers:
    """POST /api/tokens/refresh."""
    token = {"refreshToken": make_org().tokens.refresh_token}
    yield "refreshed", route.send_json(token)
    yield "unknown", route.send_json({"refreshToken": "mgr_unknown"})


def revoke(route: Route, sandbox: Control) -> Answers:
    """POST /api/tokens/revoke."""
    yield "revoked", route.send_json({"refreshToken": make_org().tokens.refresh_token})
    yield "unknown", route.send_json({"refreshToken": "mgr_unknown"})


def operator(route: Route, sandbox: Control) -> Answers:
    """POST /api/tokens/operator."""
    now = clock.real_now()
    made = operators.create(name="gateway", wanted=["usage:write"], who="test", now=now)
    yield "known", route.send_json({"keyId": made.key_id, "secret": made.secret})
    yield "unknown", route.send_json({"keyId": made.key_id, "secret": "mgo_unknown"})


def codes(route: Route, sandbox: Control) -> Answers:
    """POST /api/tokens/codes."""
    org = make_org()
    body = {"orgId": org.id, "domain": "shop.example"}
    yield "made", org.post(f"/{route.path}", body)
    yield "no host name", org.post(f"/{route.path}", {**body, "domain": "not a host"})
    wider = Org(org.id, tokens_for(org.id, ("billing:write",)))
    yield "wider than its maker", wider.post(f"/{route.path}", body)
    for _ in range(20):
        last = org.post(f"/{route.path}", body)
    yield "no room", last


def families(route: Route, sandbox: Control) -> Answers:
    """GET /api/tokens."""
    org = make_org(domain="shop.example")
    other = tokens_for(org.id, scopes.OWNER)
    refreshed = {"refreshToken": other.refresh_token}
    org.post("/api/tokens/refresh", refreshed)
    yield "listed", Org(org.id, other).get("/api/tokens")


def end_family(route: Route, sandbox: Control) -> Answers:
    """DELETE /api/tokens/{id}."""
    org = make_org()
    spare = tokens_for(org.id, scopes.OWNER).family.id
    for name, family in (("ended", spare), ("unknown", "fam_unknown")):
        yield name, org.client.delete(f"/api/tokens/{family}", headers=org.headers())


def admin_token(route: Route, sandbox: Control) -> Answers:
    """POST /api/admin/token."""
    people: Any = get_user_model().objects
    people.create_user("ada", password="a long password", is_staff=True)
    good = {"username": "ada", "password": "a long password"}
    yield "logged in", route.send_json(good)
    yield "wrong password", route.send_json({**good, "password": "wrong"})
    for _ in range(6):
        last = route.send_json({**good, "password": "wrong"})
    yield "locked out", last


def smoke(route: Route, sandbox: Control) -> Answers:
    """GET /api/diag/smoke."""
    yield "answered", route.send(b"")


def page(route: Route, sandbox: Control) -> Answers:
    """A page or a document, whose form is not ours to choose."""
    yield "shown", route.send(b"")


def _void(org: Org, request_id: str) -> Any:
    admit_the_operator()
    body = {"orgId": org.id, "request_id": request_id, "reason": "a test"}
    headers = {"Authorization": f"Bearer {operators_token()}"}
    return org.client.post(
        "/api/v1/usage/void", body, content_type="application/json", headers=headers
    )


def _as_staff(route: Route, body: Any) -> Any:
    return route.send_json(body, headers={"Authorization": f"Bearer {staff_token()}"})


def _stripe_sends(event: Any) -> Any:
    body = encoded(event)
    return send(body, signature(body))


ANSWERS: Mapping[str, Scenario] = {
    **billing_scenarios.ANSWERS,
    "POST api/quota/check": check,
    "POST api/v1/usage": usage,
    "GET api/v1/usage": read_usage,
    "POST api/v1/usage/batch": batch,
    "GET api/v1/usage/series": series,
    "POST api/v1/usage/void": void,
    "POST api/admin/quotas/reset": reset,
    "POST api/admin/webhooks/replay": replay,
    "POST api/webhooks/stripe": webhook,
    "GET api/quota/explain": explained,
    "GET api/me/entitlements": entitlements,
    "POST api/tokens/activate": activate,
    "POST api/tokens/refresh": refresh,
    "POST api/tokens/revoke": revoke,
    "POST api/tokens/operator": operator,
    "POST api/tokens/codes": codes,
    "GET api/tokens": families,
    "DELETE api/tokens/<str:family_id>": end_family,
    "POST api/admin/token": admin_token,
    "GET api/diag/smoke": smoke,
    "GET api/schema": page,
    "GET api/docs": page,
}
