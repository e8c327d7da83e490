"""A valid call of every route, and what each field of its body takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from config.contract import clock
from config.contract.ids import new_id
from tests.contract.refusals import ECHO
from tests.support.cast import Org

KIB = 1024

#: JSON values of the wrong type, by what a field takes. `1.0` is no integer, `1` no boolean.
#: A word is one of a few; an integer is at least 1, a count at least 0, an amount of any sign.
WRONG: Mapping[str, tuple[Any, ...]] = {
    "text": (1, 1.0, True, None, ["x"], {"x": "x"}),
    "word": (1, 1.0, True, None, ["x"], {"x": "x"}, ECHO, "ALWAYS_INVOICE", "now "),
    "integer": (1.0, "1", True, None, [1], {"x": 1}),
    "boolean": (1, 0, 1.0, "true", None, [True], {"x": True}),
    "list": (1, 1.0, "x", True, None, {"x": "x"}),
}
WRONG = {**WRONG, "count": WRONG["integer"], "amount": WRONG["integer"]}


@dataclass(frozen=True)
class Call:
    """How a route is called.

    `fields` names what each field of the body takes. `path` fills in what the
    path or the query names of an organisation. `answers` are the statuses that a
    valid call may meet: those that need Stripe meet an organisation which Stripe
    does not know, unless the test brings one that it does.
    """

    body: Callable[[Org], dict[str, Any]] | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    nullable: frozenset[str] = frozenset()
    cap: int = 64 * KIB
    path: Callable[[str], str] | None = None
    query: str = ""
    #: Who may call it, where it takes a token: an organisation, or only an operator or staff.
    by: str = "organisation"
    answers: frozenset[int] = frozenset({200})
    #: False for a page or a document whose form is not ours to choose.
    enveloped: bool = True


def _event() -> dict[str, Any]:
    return {
        "metric": "api_call",
        "value": 1,
        "occurredAt": clock.now().isoformat(),
        "request_id": new_id("req"),
    }


#: A family of each organisation of the cast that may be revoked (conftest.py).
SPARE_FAMILIES: dict[str, str] = {}
BY_STATE = frozenset({200, 402, 404, 409, 502})

CALLS: Mapping[str, Call] = {
    "POST api/quota/check": Call(
        body=lambda org: {"orgId": org.id, "metric": "api_call", "value": 1, "soft": False},
        fields={"orgId": "text", "metric": "text", "value": "integer", "soft": "boolean"},
        optional=frozenset({"value", "soft"}),
    ),
    "POST api/v1/usage": Call(
        body=lambda org: {"orgId": org.id, **_event()},
        fields={
            "orgId": "text",
            "metric": "text",
            "value": "integer",
            "occurredAt": "text",
            "request_id": "text",
        },
    ),
    "POST api/v1/usage/batch": Call(
        body=lambda org: {"orgId": org.id, "events": [_event()]},
        fields={"orgId": "text", "events": "list"},
        cap=1024 * KIB,
    ),
    "GET api/v1/usage": Call(query="metric=api_call&limit=10"),
    "GET api/v1/usage/series": Call(query="metric=api_call&by=hour"),
    "POST api/v1/usage/void": Call(
        body=lambda org: {"orgId": org.id, "request_id": "unknown", "reason": "a test"},
        fields={"orgId": "text", "request_id": "text", "reason": "text"},
        by="operator",
        answers=frozenset({200, 404}),
    ),
    "POST api/admin/quotas/reset": Call(
        body=lambda org: {
            "dryRun": True,
            "orgIds": [org.id],
            "metric": None,
            "force": False,
            "reason": "a test",
        },
        fields={
            "dryRun": "boolean",
            "orgIds": "list",
            "metric": "text",
            "force": "boolean",
            "reason": "text",
        },
        optional=frozenset({"dryRun", "orgIds", "metric", "force", "reason"}),
        nullable=frozenset({"metric"}),
        by="staff",
    ),
    "POST api/admin/webhooks/replay": Call(
        body=lambda org: {"eventIds": ["evt_unknown"]}, fields={"eventIds": "list"}, by="staff"
    ),
    # Signed by Stripe over its raw bytes: its body is no business of these suites.
    "POST api/webhooks/stripe": Call(),
    "GET api/quota/explain": Call(
        path=lambda org_id: f"api/quota/explain?metric=api_call&orgId={quote(org_id)}"
    ),
    "GET api/me/entitlements": Call(),
    "PATCH api/me": Call(
        body=lambda org: {"orgId": org.id, "orgName": "Acme", "email": "new@acme.example"},
        fields={"orgId": "text", "orgName": "text", "email": "text"},
        optional=frozenset({"orgName", "email"}),
        nullable=frozenset({"orgName", "email"}),
    ),
    "POST api/signup": Call(
        body=lambda org: {"orgName": "Acme", "email": "owner@acme.example", "checkout": False},
        fields={"orgName": "text", "email": "text", "checkout": "boolean"},
        optional=frozenset({"checkout"}),
    ),
    "GET api/plans": Call(),
    "POST api/plans/preview": Call(
        body=lambda org: {"orgId": org.id, "planCode": "pro", "proration": "none"},
        fields={"orgId": "text", "planCode": "text", "proration": "word"},
        optional=frozenset({"proration"}),
        answers=BY_STATE,
    ),
    "POST api/plans/upgrade": Call(
        body=lambda org: {
            "orgId": org.id,
            "newPlanCode": "pro",
            "prorationDate": None,
            "expectedAmount": None,
        },
        fields={
            "orgId": "text",
            "newPlanCode": "text",
            "prorationDate": "count",
            "expectedAmount": "amount",
        },
        optional=frozenset({"prorationDate", "expectedAmount"}),
        nullable=frozenset({"prorationDate", "expectedAmount"}),
        answers=BY_STATE,
    ),
    "POST api/plans/downgrade": Call(
        body=lambda org: {"orgId": org.id, "newPlanCode": "starter"},
        fields={"orgId": "text", "newPlanCode": "text"},
        answers=BY_STATE,
    ),
    "DELETE api/plans/downgrade": Call(
        path=lambda org_id: f"api/plans/downgrade?orgId={quote(org_id)}", answers=BY_STATE
    ),
    "POST api/plans/cancel": Call(
        body=lambda org: {"orgId": org.id, "at": "period_end"},
        fields={"orgId": "text", "at": "word"},
        answers=BY_STATE,
    ),
    "POST api/plans/resume": Call(
        body=lambda org: {"orgId": org.id}, fields={"orgId": "text"}, answers=BY_STATE
    ),
    "POST api/plans/subscribe": Call(
        body=lambda org: {"orgId": org.id, "planCode": "pro"},
        fields={"orgId": "text", "planCode": "text"},
        answers=BY_STATE,
    ),
    "POST api/plans/checkout": Call(
        body=lambda org: {"orgId": org.id}, fields={"orgId": "text"}, answers=BY_STATE
    ),
    "GET api/invoices": Call(answers=BY_STATE),
    "GET api/statements": Call(query="periodKey=2026-11", answers=frozenset({200, 404})),
    "GET api/notifications": Call(),
    "PUT api/notifications": Call(
        body=lambda org: {
            "orgId": org.id,
            "url": "https://hooks.acme.example/metergate",
            "emails": ["ops@acme.example"],
            "thresholds": [80],
        },
        fields={"orgId": "text", "url": "text", "emails": "list", "thresholds": "list"},
        optional=frozenset({"url", "emails", "thresholds"}),
        nullable=frozenset({"url", "emails", "thresholds"}),
    ),
    "POST api/notifications/secret": Call(
        body=lambda org: {"orgId": org.id},
        fields={"orgId": "text"},
        answers=frozenset({200, 404}),  # there may be no webhook to sign
    ),
    "POST api/payments/setup": Call(
        body=lambda org: {"orgId": org.id}, fields={"orgId": "text"}, answers=BY_STATE
    ),
    "POST api/payments/portal": Call(
        body=lambda org: {"orgId": org.id, "returnUrl": None},
        fields={"orgId": "text", "returnUrl": "text"},
        optional=frozenset({"returnUrl"}),
        nullable=frozenset({"returnUrl"}),
        answers=BY_STATE,
    ),
    "POST api/portal-links": Call(body=lambda org: {"orgId": org.id}, fields={"orgId": "text"}),
    "POST api/tokens/refresh": Call(
        body=lambda org: {"refreshToken": "mgr_unknown"}, fields={"refreshToken": "text"}
    ),
    "POST api/tokens/revoke": Call(
        body=lambda org: {"refreshToken": "mgr_unknown"}, fields={"refreshToken": "text"}
    ),
    "POST api/tokens/operator": Call(
        body=lambda org: {"keyId": "opk_unknown", "secret": "mgo_unknown"},
        fields={"keyId": "text", "secret": "text"},
    ),
    "POST api/tokens/codes": Call(
        body=lambda org: {
            "orgId": org.id,
            "domain": "shop.example",
            "scopes": ["entitlements:read"],
        },
        fields={"orgId": "text", "domain": "text", "scopes": "list"},
        optional=frozenset({"domain", "scopes"}),
        nullable=frozenset({"domain", "scopes"}),
        answers=frozenset({200, 409}),  # the plan has room for so many
    ),
    "GET api/tokens": Call(),
    "DELETE api/tokens/<str:family_id>": Call(
        path=lambda org_id: f"api/tokens/{SPARE_FAMILIES.get(org_id, 'fam_unknown')}",
    ),
    "POST api/tokens/activate": Call(
        body=lambda org: {"activationCode": "mgc_unknown"},
        fields={"activationCode": "text"},
    ),
    "POST api/admin/token": Call(
        body=lambda org: {"username": "somebody", "password": "not the password", "otp": "123456"},
        fields={"username": "text", "password": "text", "otp": "text"},
        optional=frozenset({"otp"}),
        nullable=frozenset({"otp"}),
    ),
    "GET api/diag/smoke": Call(),
    "GET api/schema": Call(enveloped=False),
    "GET api/docs": Call(enveloped=False),
}
