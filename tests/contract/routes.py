"""Every route of the URL configuration, each with a valid call of it.

The lists come from `config.urls`: a new route needs a row in CALLS, or
test_routes.py fails.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.test import Client
from django.urls import URLPattern, get_resolver

from config.contract import clock
from config.contract.ids import new_id
from tests.support.cast import Org
from tokens.authentication import TokenAuthentication

KIB = 1024

#: JSON values of the wrong type, by what a field takes. `1.0` is no integer, `1` no boolean.
WRONG: Mapping[str, tuple[Any, ...]] = {
    "text": (1, 1.0, True, None, ["x"], {"x": "x"}),
    "integer": (1.0, "1", True, None, [1], {"x": 1}),
    "boolean": (1, 0, 1.0, "true", None, [True], {"x": True}),
    "list": (1, 1.0, "x", True, None, {"x": "x"}),
}


@dataclass(frozen=True)
class Call:
    """How a route is called. `fields` names what each field of its body takes."""

    body: Callable[[Org], dict[str, Any]] | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    nullable: frozenset[str] = frozenset()
    cap: int = 64 * KIB
    #: False for a page or a document whose form is not ours to choose.
    enveloped: bool = True


@dataclass(frozen=True)
class Route:
    """One verb of one path."""

    method: str
    path: str
    takes_token: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def call(self) -> Call:
        """How it is called."""
        return CALLS[str(self)]

    def send(
        self,
        raw: bytes | str,
        *,
        org: Org | None = None,
        content_type: str = "application/json",
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
        via: Client | None = None,
        **environ: Any,
    ) -> Any:
        """Send raw bytes, with the organisation's token where one is given."""
        credentials = org.headers() if org is not None and self.takes_token else {}
        return (via or client()).generic(
            method or self.method,
            f"/{self.path}",
            raw,
            headers={**credentials, **(headers or {})},
            # Django's client would leave the type of an empty body out.
            **{"CONTENT_TYPE": content_type, **environ},
        )

    def send_json(self, body: Any, *, org: Org | None = None, **more: Any) -> Any:
        """Send a document."""
        return self.send(json.dumps(body), org=org, **more)

    def send_valid(self, org: Org, **more: Any) -> Any:
        """Send what the route takes."""
        if self.call.body is None:
            return self.send(b"", org=org, **more)
        return self.send_json(self.valid_body(org), org=org, **more)

    def valid_body(self, org: Org) -> dict[str, Any]:
        """Return a body that the route takes."""
        assert self.call.body is not None
        return self.call.body(org)


def new_client() -> Client:
    """Return a client as strict as the world: CSRF checked, faults answered, not raised."""
    return Client(enforce_csrf_checks=True, raise_request_exception=False)


#: One for all calls that need no setting of their own: it loads the middleware once.
client = cache(new_client)


def _event() -> dict[str, Any]:
    return {
        "metric": "api_call",
        "value": 1,
        "occurredAt": clock.now().isoformat(),
        "request_id": new_id("req"),
    }


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
    "GET api/me/entitlements": Call(),
    "POST api/signup": Call(
        body=lambda org: {"orgName": "Acme", "email": "owner@acme.example", "checkout": False},
        fields={"orgName": "text", "email": "text", "checkout": "boolean"},
        optional=frozenset({"checkout"}),
    ),
    "GET api/plans": Call(),
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


def all_routes() -> list[Route]:
    """Return every route under /api, as the URL configuration has it."""
    found = []
    for pattern in get_resolver().url_patterns:
        path = str(pattern.pattern)
        if not path.startswith("api/"):
            continue
        assert isinstance(pattern, URLPattern), f"{path}: this list does not descend"
        view: Any = pattern.callback
        cls = view.cls
        actions: Mapping[str, str] | None = getattr(view, "actions", None)
        methods = actions or {m: m for m in ("get", "post", "put", "patch", "delete")}
        found += [
            Route(
                method=method.upper(),
                path=path,
                takes_token=TokenAuthentication in cls.authentication_classes,
            )
            for method in methods
            if method != "head" and (actions or hasattr(cls, method))
        ]
    return found


#: A route without a row fails one test, not all of them.
ROUTES = [route for route in all_routes() if str(route) in CALLS]
WITH_BODY = [route for route in ROUTES if route.method == "POST"]
WITH_TOKEN = [route for route in ROUTES if route.takes_token]
