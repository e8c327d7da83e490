"""An organisation to load, and the requests that are measured."""

import itertools
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime

import django
import environ
import psycopg
import redis

from benchmarks.load import Route

BATCH = 100
#: More than a benchmark can use up.
_PLENTY = 10**12


def prepare(included: int = _PLENTY) -> tuple[str, str]:
    """Make an organisation with `included` units and the bare views' data; returns id and token."""
    django.setup()
    from django.db import transaction

    from config.contract import clock
    from config.contract.ids import new_id
    from quotas.rules import Allowance
    from quotas.services import grant
    from tokens import access, scopes, secrets
    from tokens.services import activate, issue_code

    org_id, now, code = new_id("org"), clock.now(), secrets.new_code()
    with transaction.atomic():
        access.open_access(org_id, installation_limit=1)
        grant(
            org_id=org_id,
            plan_code="pro",
            status="active",
            allowances={"api_call": Allowance(included, "block")},
            because="benchmark",
            now=now,
            anchor_at=now,
        )
    issue_code(
        org_id=org_id,
        code=code,
        scopes=scopes.OWNER,
        issued_by="benchmark",
        now=clock.real_now(),
    )
    redis.Redis.from_url(os.environ["VALKEY_URL"]).hset(
        "bench:bare", mapping={"auth": "x" * 60, "m:api_call": "x" * 120}
    )
    parts = environ.Env.db_url_config(os.environ["MIGRATE_DATABASE_URL"])
    with psycopg.connect(
        host=parts["OPTIONS"].get("host") or parts["HOST"],
        port=parts["PORT"] or None,
        user=parts["USER"],
        password=parts["PASSWORD"] or None,
        dbname=parts["NAME"],
        autocommit=True,
    ) as owner:
        owner.execute(
            "CREATE TABLE IF NOT EXISTS bench_bare"
            " (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)"
        )
    return org_id, activate(code=code, domain=None, now=clock.real_now()).access_token


def product_routes(org_id: str, token: str, port: int) -> dict[str, Route]:
    """Return check, usage and batch."""
    numbers = itertools.count()
    headers = f"Authorization: Bearer {token}\r\n"

    def event() -> dict[str, object]:
        return {
            "metric": "api_call",
            "value": 1,
            "occurredAt": datetime.now(UTC).isoformat(),
            "request_id": f"bench-{next(numbers)}",
        }

    def route(
        name: str, path: str, body: Callable[[], object], right: Callable[..., bool]
    ) -> Route:
        return Route(name, port, path, lambda: json.dumps(body()).encode(), right, headers)

    return {
        "check": route(
            "check",
            "/api/quota/check",
            lambda: {"orgId": org_id, "metric": "api_call"},
            lambda answer: answer["data"]["allow"] is True,
        ),
        "usage": route(
            "usage",
            "/api/v1/usage",
            lambda: {"orgId": org_id, **event()},
            lambda answer: answer["data"]["used"] > 0,
        ),
        "batch": route(
            "batch",
            "/api/v1/usage/batch",
            lambda: {"orgId": org_id, "events": [event() for _ in range(BATCH)]},
            lambda answer: answer["data"]["accepted"] == BATCH,
        ),
    }


def denial(org_id: str, token: str, port: int) -> Route:
    """Return a check of an organisation that has nothing left."""
    body = json.dumps({"orgId": org_id, "metric": "api_call"}).encode()
    return Route(
        "denial",
        port,
        "/api/quota/check",
        lambda: body,
        lambda answer: answer["error"]["code"] == "RATE_LIMITED",
        f"Authorization: Bearer {token}\r\n",
        status=429,
    )


def bare_routes(port: int) -> dict[str, Route]:
    """Return the bare views."""
    body = json.dumps({"metric": "api_call", "value": 1, "request_id": "x" * 20}).encode()
    return {
        "bare valkey": Route(
            "bare valkey", port, "/valkey", lambda: body, lambda answer: answer["fields"] == 2
        ),
        "bare sql": Route(
            "bare sql", port, "/sql", lambda: body, lambda answer: answer["ok"] is True
        ),
    }
