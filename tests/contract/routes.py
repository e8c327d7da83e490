"""Every route of the URL configuration, and how it is called.

The lists come from `config.urls`: a new route needs a row in calls.py, or
test_routes.py fails.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.test import Client
from django.urls import URLPattern, get_resolver

from tests.contract.calls import CALLS, Call
from tests.contract.credentials import operators_token, staff_token
from tests.support.cast import Org


@dataclass(frozen=True)
class Route:
    """One verb of one path. `by` is who may call it: nobody in particular where it is empty."""

    method: str
    path: str
    by: str
    throttled: bool

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
        owner: str | None = None,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        via: Client | None = None,
        **environ: Any,
    ) -> Any:
        """Send raw bytes; where an organisation is given, as one who may call for it.

        `owner` is the organisation whose things the path names, where it is not
        `org`; an empty one names nobody. `query` is added to the query string.
        """
        return (via or client()).generic(
            method or self.method,
            self._url(owner if owner is not None else org.id if org else "", query),
            raw,
            headers={**self._credentials(org), **(headers or {})},
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

    def _url(self, owner: str, more: str) -> str:
        path = self.call.path(owner) if self.call.path and owner else self.path
        path, _, query = path.partition("?")
        parts = [part for part in (query, self.call.query, more) if part]
        return f"/{path}?{'&'.join(parts)}" if parts else f"/{path}"

    def _credentials(self, org: Org | None) -> dict[str, str]:
        if org is None or not self.by:
            return {}
        if self.by == "organisation":
            return org.headers()
        token = operators_token() if self.by == "operator" else staff_token()
        return {"Authorization": f"Bearer {token}"}


def new_client() -> Client:
    """Return a client as strict as the world: CSRF checked, faults answered, not raised."""
    return Client(enforce_csrf_checks=True, raise_request_exception=False)


#: One for all calls that need no setting of their own: it loads the middleware once.
client = cache(new_client)


def all_routes() -> list[Route]:
    """Return every route under /api, as the URL configuration has it."""
    found = []
    for pattern in get_resolver().url_patterns:
        path = str(pattern.pattern)
        if not path.startswith("api/"):
            continue
        assert isinstance(pattern, URLPattern), f"{path}: this list does not descend"
        view: Any = pattern.callback
        actions: Mapping[str, str] | None = getattr(view, "actions", None)
        for method in actions or ("get", "post", "put", "patch", "delete"):
            if method != "head" and (actions or hasattr(view.cls, method)):
                name = f"{method.upper()} {path}"
                by = _caller(name, view.cls)
                found.append(Route(method.upper(), path, by, bool(view.cls.throttle_classes)))
    return found


def _caller(name: str, view: Any) -> str:
    if not view.authentication_classes:
        return ""
    return CALLS[name].by if name in CALLS else "organisation"


#: A route without a row fails one test, not all of them.
ROUTES = [route for route in all_routes() if str(route) in CALLS]
WITH_BODY = [route for route in ROUTES if route.call.body is not None]
#: Those that take organisations' tokens, and those that take any bearer token.
WITH_TOKEN = [route for route in ROUTES if route.by == "organisation"]
FOR_OPERATORS = [route for route in ROUTES if route.by in ("organisation", "operator")]
GUARDED = [route for route in ROUTES if route.by]
