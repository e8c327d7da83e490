"""What every log line carries."""

import logging

import pytest
import structlog
from pytest_django import Settings

from tests.contract.capture import logged
from tests.contract.routes import client
from tests.support.cast import Org

pytestmark = pytest.mark.django_db(transaction=True)

ALWAYS = {
    "service",
    "version",
    "request_id",
    "correlation_id",
    "tenant_id",
    "level",
    "ts",
    "event",
    "logger",
}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_every_line_of_a_request_carries_its_ids_and_tenant(org: Org, settings: Settings) -> None:
    with logged() as log:
        org.post("/api/v1/usage", {}, **{"x-request-id": "r-1", "x-correlation-id": "c-1"})

    assert log.lines
    for line in log.lines:
        assert set(line) >= ALWAYS
        assert (line["request_id"], line["correlation_id"]) == ("r-1", "c-1")
        assert line["service"] == settings.SERVICE_NAME
        assert line["version"] == settings.SERVICE_VERSION
        assert line["ts"].endswith("Z")
    assert log.lines[-1]["tenant_id"] == org.id


def test_a_request_leaves_its_ids_to_nobody_after_it(org: Org) -> None:
    org.get("/api/me/entitlements", **{"x-request-id": "r-1"})

    with logged() as log:
        client().get("/api/plans", headers={"x-request-id": "r-2"})

    assert {line["request_id"] for line in log.lines} == {"r-2"}
    assert {line["tenant_id"] for line in log.lines} == {None}


def test_other_peoples_loggers_speak_the_same_way(transactional_db: None) -> None:
    with logged() as log:
        logging.getLogger("somebody.else").warning("a %s\nof two lines", "message")
        structlog.get_logger("metergate.test").info("event", number=1)

    assert [set(line) >= ALWAYS for line in log.lines] == [True, True]
    assert log.lines[0]["event"] == "a message\nof two lines"
    assert log.lines[1]["number"] == 1


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-01-later", TRACE),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-00f067aa0ba902b7", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_a_sound_traceparent_puts_its_trace_id_on_every_line(
    traceparent: str, trace_id: str | None
) -> None:
    with logged() as log:
        client().get("/api/diag/smoke", headers={"traceparent": traceparent})

    assert {line.get("trace_id") for line in log.lines} == {trace_id}


def test_the_smoke_test_writes_one_line_of_its_own(transactional_db: None) -> None:
    with logged() as log:
        client().get("/api/diag/smoke")

    assert [line["event"] for line in log.lines].count("smoke") == 1


def test_a_refused_request_says_who_was_refused_and_by_which_code(org: Org) -> None:
    refused = {"/api/v1/usage": "VALIDATION_ERROR", "/api/v1/usage/void": "SCOPE_MISSING"}
    with logged() as log:
        for path in refused:
            org.post(path, {})
        client().get("/api/tokens")
        org.get("/api/me/entitlements")

    *told, unknown, allowed = [line for line in log.lines if line["event"] == "request"]
    assert [line["code"] for line in told] == list(refused.values())
    assert all(line["who"] and line["tenant_id"] == org.id for line in told)
    assert (unknown["who"], unknown["code"]) == (None, "UNAUTHENTICATED")
    assert "who" not in allowed
