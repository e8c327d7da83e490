"""Statements: the numbers of a period, sealed once it is closed."""

import csv
from datetime import timedelta
from functools import partial
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from billing.models import Statement
from billing.statements.services import seal_closed, table_of
from config.contract import clock
from quotas import corrections
from quotas.models import UsageCounter
from quotas.rules import Allowance
from quotas.services import grant
from tests.races.interleave import by_hand, in_thread, wait_until_blocked
from tests.support.cast import Org, data
from tests.support.database import superuser
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def busy(org: Org) -> Org:
    now = clock.now()
    org.use(100, request_id="r1")
    org.use(7, request_id="r2")
    void_event(org_id=org.id, request_id="r2", reason="x", voided_by="test", now=now)
    corrections.forgive(org_id=org.id, metric="api_call", reason="x", who="test", now=now)
    corrections.adjust(org_id=org.id, metric="api_call", units=50, reason="x", who="test", now=now)
    org.use(3, request_id="r3")
    return org


def key() -> str:
    return f"{clock.now():%Y-%m}"


def verify() -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("verify_statements", "--seal", stdout=out)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_the_numbers_add_up(busy: Org) -> None:
    found = data(busy.get(f"/api/statements?periodKey={key()}"))

    calls = found["metrics"]["api_call"]
    assert found["status"] == "open"
    assert found["digest"] is None
    assert {name: calls[name] for name in ("counted", "voided", "forgiven", "used")} == {
        "counted": 103,
        "voided": 7,
        "forgiven": 100,
        "used": 3,
    }
    left = calls["included"] + calls["adjusted"] - (calls["counted"] - calls["forgiven"])
    assert calls["remaining"] == left == 10_047
    assert sum(day["used"] for day in calls["days"]) == 103


def test_a_change_of_plan_in_the_period_is_named(busy: Org) -> None:
    with transaction.atomic():
        grant(
            org_id=busy.id,
            plan_code="pro",
            status="active",
            allowances={"api_call": Allowance(100_000, "block")},
            because="test",
            now=clock.now(),
            anchor_at=clock.now(),
        )

    found = data(busy.get(f"/api/statements?periodKey={key()}"))

    assert [(one["from"], one["to"]) for one in found["planChanges"]] == [("starter", "pro")]


def test_a_closed_period_is_sealed_and_the_seals_form_a_chain(busy: Org) -> None:
    first = key()
    clock.set_offset(timedelta(days=32).total_seconds())
    busy.use(1)
    second = key()
    clock.set_offset(timedelta(days=64).total_seconds())

    later = data(busy.get(f"/api/statements?periodKey={second}"))
    former = data(busy.get(f"/api/statements?periodKey={first}"))

    assert (former["status"], later["status"]) == ("closed", "closed")
    assert later["previousDigest"] == former["digest"]
    assert former["previousDigest"] is None
    assert data(busy.get(f"/api/statements?periodKey={first}")) == former
    assert verify() == (0, "1 organisations, 0 broken\n")


def test_of_two_who_seal_at_once_one_waits_for_the_others_digest(busy: Org) -> None:
    first = key()
    clock.set_offset(timedelta(days=64).total_seconds())

    with by_hand() as other:
        other.execute("SELECT 1 FROM billing_organization WHERE org_id = %s FOR UPDATE", [busy.id])
        sealing = in_thread(partial(seal_closed, org_id=busy.id, now=clock.now()))
        wait_until_blocked()
        other.rollback()

    assert first in sealing.result(30)


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE usage_usageevent SET value = 99, used_after = 99 WHERE request_id = 'r1'", "rows"),
        ("DELETE FROM usage_usagevoid", "rows"),
        ("UPDATE quotas_usagecounter SET counted = 1, forgiven = 0", "rows"),
        ("UPDATE billing_statement SET digest = repeat('0', 64)", "seal"),
        ("UPDATE billing_statement SET rows = '{}'", "seal"),
    ],
)
def test_history_that_was_edited_after_the_seal_is_found(
    busy: Org, statement: str, what: str
) -> None:
    first = key()
    clock.set_offset(timedelta(days=64).total_seconds())
    assert verify()[0] == 0

    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.execute("SET session_replication_role = replica")
        admin.execute(statement)

    code, said = verify()
    assert code == 1
    assert f"{busy.id} {first}: {what} changed" in said


def test_a_statement_comes_as_csv_too_and_not_for_unknown_periods(busy: Org) -> None:
    table = busy.get(f"/api/statements?periodKey={key()}", Accept="text/csv")

    assert table.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert table.content.decode().splitlines()[0] == "periodKey,metric,date,used"
    assert busy.get("/api/statements?periodKey=1999-01").status_code == 404
    assert busy.get("/api/statements").status_code == 400
    out = StringIO()
    call_command("statement", busy.id, key(), "--csv", stdout=out)
    assert "api_call,used,3" in out.getvalue()


def test_the_running_period_has_a_statement_from_its_first_second(busy: Org) -> None:
    clock.set_offset(timedelta(days=32).total_seconds())
    running = data(busy.get("/api/me/entitlements"))["periodKey"]

    found = data(busy.get(f"/api/statements?periodKey={running}"))

    assert running != f"{clock.real_now():%Y-%m}"
    assert not UsageCounter.objects.filter(org_id=busy.id, period_key=running).exists()
    assert (found["status"], found["digest"]) == ("open", None)
    assert found["metrics"]["api_call"] == {
        **dict.fromkeys(("adjusted", "counted", "voided", "forgiven", "used", "overage"), 0),
        **{"included": 10_000, "remaining": 10_000, "days": []},
    }
    page = busy.get(f"/api/statements?periodKey={running}", Accept="text/html")
    assert page.status_code == 200


def test_a_metric_that_nobody_has_used_yet_stands_in_the_statement(busy: Org) -> None:
    clock.set_offset(timedelta(days=32).total_seconds())
    busy.use(1)

    found = data(busy.get(f"/api/statements?periodKey={key()}"))

    assert {name: one["used"] for name, one in found["metrics"].items()} == {
        "api_call": 1,
        "compute_ms": 0,
    }


def test_a_statement_as_csv_is_never_run_by_a_spreadsheet() -> None:
    numbers = {"days": [{"date": "2026-11-01", "used": 3}], "adjusted": -5}

    table = table_of({"periodKey": "=1+1", "metrics": {"@SUM(A1)": numbers}})

    rows = list(csv.reader(StringIO(table)))
    assert rows[1:] == [
        ["'=1+1", "'@SUM(A1)", "2026-11-01", "3"],
        ["'=1+1", "'@SUM(A1)", "adjusted", "-5"],
    ]


def test_a_seal_cannot_be_changed(busy: Org) -> None:
    clock.set_offset(timedelta(days=64).total_seconds())
    verify()

    with pytest.raises(Exception, match="permission denied"):
        Statement.objects.update(digest="x")
