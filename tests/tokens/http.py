"""The public doors of tokens, as a client without credentials uses them."""

import json
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.test import Client

from config.contract import clock
from tokens import secrets
from tokens.services import issue_code


def post(path: str, body: dict[str, Any], *, address: str = "127.0.0.1", **headers: str) -> Any:
    """POST JSON from an address."""
    return _client().post(
        path,
        json.dumps(body),
        content_type="application/json",
        headers=headers or None,
        REMOTE_ADDR=address,
    )


@cache
def _client() -> Client:
    # One for all: it loads the middleware once.
    return Client(raise_request_exception=False)


def activate(code: str, **more: Any) -> Any:
    """Trade a code for tokens."""
    return post("/api/tokens/activate", {"activationCode": code}, **more)


def refresh(token: str, **more: Any) -> Any:
    """Trade a refresh token for the next."""
    return post("/api/tokens/refresh", {"refreshToken": token}, **more)


def new_code(org_id: str, *, domain: str = "") -> str:
    """Return a fresh code that nobody has used."""
    code = secrets.new_code()
    issue_code(
        org_id=org_id,
        code=code,
        scopes=["usage:write", "entitlements:read"],
        issued_by="test",
        now=clock.real_now(),
        domain=domain,
    )
    return code


def later(**by: float) -> datetime:
    """Return the real instant after so much time."""
    return clock.real_now() + timedelta(**by)
