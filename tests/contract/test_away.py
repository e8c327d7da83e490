"""PostgreSQL read-only, Valkey that takes nothing: named, refused with a time, and no fault."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.contrib.auth import get_user_model
from django.db import connection

from config.backoffice.dashboard.lights import State, lights
from config.celery import app
from config.contract import clock
from config.contract.clients import clients
from config.contract.copy import OrgCopy
from config.contract.hotpool import close_pool
from tests.contract.outages import no_database
from tests.contract.routes import client
from tests.races.valkeys import OwnValkey
from tests.support.cast import Org
from tests.support.database import superuser
from tests.webhooks.cast import PATH, encoded, signature
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)

EVENT = {
    "id": "evt_readonly",
    "object": "event",
    "type": "customer.subscription.updated",
    "created": 1795000000,
    "livemode": False,
    "data": {"object": {"id": "sub_1", "object": "subscription"}},
}


@contextmanager
def read_only() -> Iterator[None]:
    """Turn the database read-only for every new connection, as after a fail-over."""
    name = str(connection.settings_dict["NAME"])
    try:
        _set(name, "SET default_transaction_read_only = on")
        yield
    finally:
        _set(name, "RESET default_transaction_read_only")


def _set(name: str, words: str) -> None:
    with superuser("postgres") as admin:
        admin.execute(f'ALTER DATABASE "{name}" {words}')
    close_pool()
    connection.close()


@pytest.fixture
def valkey_of_its_own() -> Iterator[OwnValkey]:
    server = OwnValkey()
    server.start()
    yield server
    server.close()


def deliver() -> Any:
    body = encoded(EVENT)
    return client().post(
        PATH, body, content_type="application/json", HTTP_STRIPE_SIGNATURE=signature(body)
    )


def assert_unavailable(response: Any) -> None:
    assert response.status_code == 503, response.content
    assert response.json()["error"]["code"] == "UNAVAILABLE"
    assert int(response.headers["Retry-After"]) >= 1


def test_a_read_only_database_refuses_use_with_a_time_to_try_again(org: Org) -> None:
    org.check()
    with read_only():
        refused = org.use(1)
        code = org.post("/api/tokens/codes", {"orgId": org.id})
    counted = org.use(1)

    assert_unavailable(refused)
    assert_unavailable(code)
    assert counted.json()["data"]["used"] == 1


def test_a_read_only_database_is_not_ready_and_named() -> None:
    with read_only():
        response = client().get("/readyz")

    assert response.status_code == 503
    assert response.json() == {
        "ok": False,
        "failed": ["database"],
        "reasons": {"database": "is read-only"},
    }


@pytest.mark.parametrize("outage", [read_only, no_database])
def test_stripe_is_told_to_send_again_what_could_not_be_stored(outage: Any) -> None:
    with outage():
        refused = deliver()
    assert not WebhookEvent.objects.exists()

    assert_unavailable(refused)
    assert deliver().status_code == 202


def test_a_page_of_staff_says_that_it_passes() -> None:
    staff = client()
    staff.force_login(get_user_model().objects.create_superuser("root"))
    with no_database():
        response = staff.get("/admin/")

    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert b"Try again shortly" in response.content


@pytest.mark.parametrize(
    "setting", [("maxmemory", "1"), ("min-replicas-to-write", "1")], ids=["full", "no replicas"]
)
def test_a_valkey_that_refuses_writes_is_named_and_refuses_nobody(
    org: Org, valkey_of_its_own: OwnValkey, setting: tuple[str, str]
) -> None:
    copy = OrgCopy(valkey_of_its_own.url)
    with redis.Redis.from_url(valkey_of_its_own.url) as server, clients.swapped("copy", copy):
        assert "degraded" not in client().get("/readyz").json()
        server.config_set(*setting)

        ready = client().get("/readyz")
        counted = org.use(1)
        [light] = [one for one in lights(now=clock.now()) if one.name == "Valkey"]
    copy.close()

    assert (ready.status_code, ready.json()) == (200, {"ok": True, "degraded": ["valkey"]})
    assert counted.status_code == 200
    assert light.state == State.BAD
    assert light.sentence.startswith("Refuses writes")


def test_a_valkey_that_became_a_replica_is_named(valkey_of_its_own: OwnValkey) -> None:
    copy = OrgCopy(valkey_of_its_own.url)
    with redis.Redis.from_url(valkey_of_its_own.url) as server, clients.swapped("copy", copy):
        server.replicaof("127.0.0.1", "9")
        ready = client().get("/readyz")
    copy.close()

    assert (ready.status_code, ready.json()) == (200, {"ok": True, "degraded": ["valkey"]})


def test_a_broker_that_refuses_writes_is_named(
    valkey_of_its_own: OwnValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = valkey_of_its_own.url.removeprefix("unix://").partition("?")[0]
    url = f"redis+socket://{path}?virtual_host=1"
    monkeypatch.setattr(app.conf, "broker_url", url)
    monkeypatch.setattr(app.conf, "broker_write_url", url)
    with redis.Redis.from_url(valkey_of_its_own.url) as server:
        assert "degraded" not in client().get("/readyz").json()
        server.config_set("maxmemory", 1)

        ready = client().get("/readyz")

    assert (ready.status_code, ready.json()) == (200, {"ok": True, "degraded": ["broker"]})
