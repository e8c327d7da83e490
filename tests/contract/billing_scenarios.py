"""Calls of the billing routes that meet each kind of answer they have of their own."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from config.contract import clock
from tests.billing.owners import new_owner
from tests.contract.routes import Route
from tests.sandbox.server import Control
from tests.support.cast import Org, make_org

Answers = Iterator[tuple[str, Any]]
Scenario = Callable[[Route, Control], Answers]


def sign_up(route: Route, sandbox: Control) -> Answers:
    """POST /api/signup."""
    body = {"orgName": "Acme", "email": "owner@acme.example"}
    key = {"Idempotency-Key": "k1"}
    yield "signed up", route.send_json(body, headers=key)
    yield "signed up before", route.send_json(body, headers=key)
    yield "another body", route.send_json({**body, "orgName": "Other"}, headers=key)
    yield "over Checkout", route.send_json({**body, "checkout": True})
    yield "no e-mail", route.send_json({**body, "email": "nobody"})
    yield "a bad key", route.send_json(body, headers={"Idempotency-Key": "é"})
    sandbox.fault("error", count=20)
    yield "Stripe fails", route.send_json(body)
    sandbox.clear_faults()


def plans(route: Route, sandbox: Control) -> Answers:
    """GET /api/plans."""
    yield "listed", route.send(b"")


def preview(route: Route, sandbox: Control) -> Answers:
    """POST /api/plans/preview."""
    owner = new_owner()
    yield "previewed", owner.preview("pro")
    yield "unknown plan", owner.preview("x")
    org = make_org()
    yield "unknown to Stripe", org.post(f"/{route.path}", {"orgId": org.id, "planCode": "pro"})


def upgrade(route: Route, sandbox: Control) -> Answers:
    """POST /api/plans/upgrade."""
    owner = new_owner()
    sandbox.fault("card_declined")
    yield "declined", owner.upgrade()
    yield "stale", owner.upgrade(expectedAmount=1)
    yield "upgraded", owner.upgrade(key="k1")
    yield "upgraded before", owner.upgrade(key="k1")
    yield "another body", owner.upgrade("business", key="k1")
    yield "cheaper", owner.upgrade("starter")
    yield "unknown plan", owner.upgrade("x")


def downgrade(route: Route, sandbox: Control) -> Answers:
    """POST /api/plans/downgrade."""
    owner = new_owner()
    yield "same plan", owner.downgrade()
    owner.upgrade()
    yield "scheduled", owner.downgrade(key="k1")
    yield "scheduled before", owner.downgrade(key="k1")
    yield "dearer", owner.downgrade("business")


def keep_plan(route: Route, sandbox: Control) -> Answers:
    """DELETE /api/plans/downgrade."""
    owner = new_owner()
    yield "nothing to take back", owner.keep_plan()
    owner.upgrade()
    owner.downgrade()
    yield "taken back", owner.keep_plan()


def cancel(route: Route, sandbox: Control) -> Answers:
    """POST /api/plans/cancel."""
    owner = new_owner()
    yield "with its period", owner.cancel(key="k1")
    yield "cancelled before", owner.cancel(key="k1")
    yield "now", owner.cancel("now")
    yield "nothing left", owner.cancel("now")


def resume(route: Route, sandbox: Control) -> Answers:
    """POST /api/plans/resume."""
    owner = new_owner()
    owner.cancel()
    yield "resumed", owner.resume(key="k1")
    yield "resumed before", owner.resume(key="k1")


def subscribe(route: Route, sandbox: Control) -> Answers:
    """POST /api/plans/subscribe."""
    owner = new_owner()
    yield "subscribed already", owner.subscribe()
    owner.cancel("now")
    yield "subscribed", owner.subscribe(key="k1")
    yield "subscribed before", owner.subscribe(key="k1")


def checkout(route: Route, sandbox: Control) -> Answers:
    """POST /api/plans/checkout."""
    owner = new_owner(checkout=True)
    yield "opened", owner.checkout(key="k1")
    yield "opened before", owner.checkout(key="k1")
    yield "subscribed already", new_owner().checkout()


def invoices(route: Route, sandbox: Control) -> Answers:
    """GET /api/invoices."""
    owner = new_owner()
    owner.upgrade()
    yield "all", owner.get("/api/invoices")
    yield "a page", owner.get("/api/invoices?limit=1")
    yield "a bad cursor", owner.get("/api/invoices?cursor=x")
    yield "a bad limit", owner.get("/api/invoices?limit=101")


def statements(route: Route, sandbox: Control) -> Answers:
    """GET /api/statements."""
    org = make_org()
    org.use(request_id="r1")
    key = f"{clock.now():%Y-%m}"
    yield "open", org.get(f"/api/statements?periodKey={key}")
    yield "as CSV", org.get(f"/api/statements?periodKey={key}", Accept="text/csv")
    yield "as a page", org.get(f"/api/statements?periodKey={key}", Accept="text/html")
    yield "unknown period", org.get("/api/statements?periodKey=1999-01")


def notifications(route: Route, sandbox: Control) -> Answers:
    """GET /api/notifications."""
    org = make_org()
    yield "nothing chosen", org.get("/api/notifications")
    _choose(org, url="https://hooks.acme.example/")
    yield "chosen", org.get("/api/notifications")


def choose_notifications(route: Route, sandbox: Control) -> Answers:
    """PUT /api/notifications."""
    org = make_org()
    yield "without a URL", _choose(org, emails=["ops@acme.example"], thresholds=[80])
    yield "the first URL", _choose(org, url="https://hooks.acme.example/")
    yield "another URL", _choose(org, url="https://hooks.acme.example/b")
    yield "a URL that leads inside", _choose(org, url="https://10.0.0.1/")
    yield "a threshold of 101", _choose(org, thresholds=[101])
    yield "no address", _choose(org, emails=["nobody"])


def rotate_secret(route: Route, sandbox: Control) -> Answers:
    """POST /api/notifications/secret."""
    org = make_org()
    yield "no webhook", org.post("/api/notifications/secret", {"orgId": org.id})
    _choose(org, url="https://hooks.acme.example/")
    yield "rotated", org.post("/api/notifications/secret", {"orgId": org.id})


def _choose(org: Org, **body: Any) -> Any:
    return org.client.put(
        "/api/notifications",
        {"orgId": org.id, **body},
        content_type="application/json",
        headers=org.headers(),
    )


def set_up_payment(route: Route, sandbox: Control) -> Answers:
    """POST /api/payments/setup."""
    owner = new_owner()
    yield "begun", owner.post(f"/{route.path}", {"orgId": owner.id})


def portal(route: Route, sandbox: Control) -> Answers:
    """POST /api/payments/portal."""
    owner = new_owner()
    yield "opened", owner.post(f"/{route.path}", {"orgId": owner.id})
    away = {"orgId": owner.id, "returnUrl": "https://evil.example/"}
    yield "leading away", owner.post(f"/{route.path}", away)


def portal_link(route: Route, sandbox: Control) -> Answers:
    """POST /api/portal-links."""
    org = make_org()
    yield "made", org.post(f"/{route.path}", {"orgId": org.id})


def contact(route: Route, sandbox: Control) -> Answers:
    """PATCH /api/me."""
    org = make_org()

    def patch(**fields: Any) -> Any:
        return route.send_json({"orgId": org.id, **fields}, org=org)

    yield "renamed", patch(orgName="Acme Ltd")
    yield "another address", patch(email="new@acme.example")
    yield "no address", patch(email="İlker@acme.example")


ANSWERS: Mapping[str, Scenario] = {
    "PATCH api/me": contact,
    "POST api/signup": sign_up,
    "GET api/plans": plans,
    "POST api/plans/preview": preview,
    "POST api/plans/upgrade": upgrade,
    "POST api/plans/downgrade": downgrade,
    "DELETE api/plans/downgrade": keep_plan,
    "POST api/plans/cancel": cancel,
    "POST api/plans/resume": resume,
    "POST api/plans/subscribe": subscribe,
    "POST api/plans/checkout": checkout,
    "GET api/invoices": invoices,
    "GET api/statements": statements,
    "GET api/notifications": notifications,
    "PUT api/notifications": choose_notifications,
    "POST api/notifications/secret": rotate_secret,
    "POST api/payments/setup": set_up_payment,
    "POST api/payments/portal": portal,
    "POST api/portal-links": portal_link,
}
