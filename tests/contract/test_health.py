"""/healthz, /readyz, /metrics and the smoke test: what a machine asks."""

import pytest
from pytest_django import Settings

from config.celery import app
from tests.contract.outages import no_database, no_valkey
from tests.contract.routes import client
from tests.support.cast import Org

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_process_that_answers_is_healthy_whatever_is_away() -> None:
    with no_valkey(), no_database():
        response = client().get("/healthz")

    assert (response.status_code, response.json()) == (200, {"ok": True})


def test_with_everything_there_it_is_ready() -> None:
    response = client().get("/readyz")

    assert (response.status_code, response.json()) == (200, {"ok": True})


def test_without_valkey_it_is_ready_and_says_what_is_missing() -> None:
    with no_valkey():
        response = client().get("/readyz")

    assert (response.status_code, response.json()) == (200, {"ok": True, "degraded": ["valkey"]})


def test_without_the_broker_it_is_ready_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app.conf, "broker_url", "redis://127.0.0.1:9/1")
    monkeypatch.setattr(app.conf, "broker_write_url", "redis://127.0.0.1:9/1")

    response = client().get("/readyz")

    assert (response.status_code, response.json()) == (200, {"ok": True, "degraded": ["broker"]})


def test_without_the_database_it_is_not_ready() -> None:
    with no_database():
        response = client().get("/readyz")

    assert response.status_code == 503
    assert response.json()["ok"] is False


def test_what_is_for_machines_is_not_wrapped() -> None:
    for path in ("/healthz", "/readyz"):
        assert "data" not in client().get(path).json()
    assert client().get("/metrics").headers["Content-Type"].startswith("text/plain")


def test_the_smoke_test_raises_one_counter() -> None:
    before = smoke_calls()

    response = client().get("/api/diag/smoke")

    assert response.json() == {"ok": True, "data": {"ok": True}}
    assert smoke_calls() == before + 1


def test_the_metrics_name_no_organisation(org: Org, settings: Settings) -> None:
    org.use(1)
    org.check(1)
    client().get(f"/api/{org.id}")

    exposed = client().get("/metrics").content.decode()

    assert "metergate_quota_decisions_total" in exposed
    assert org.id not in exposed


def smoke_calls() -> float:
    """Return what the counter of the smoke test says."""
    lines = client().get("/metrics").content.decode().splitlines()
    found = [line for line in lines if line.startswith("metergate_smoke_total ")]
    return float(found[0].split()[1]) if found else 0.0
