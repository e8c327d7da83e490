"""Ways to spoil the books, all at once: each is found and named, and repaired where rows tell."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from config.contract import clock
from config.contract.clients import clients
from quotas import corrections, snapshots
from quotas.models import CounterRepair, UsageCounter
from tests.support.cast import Org, make_org
from tests.support.database import superuser
from usage import ledger
from usage.ledger import NewUsageEvent
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)

_COUNTER = "UPDATE quotas_usagecounter SET {} WHERE org_id = %s AND metric = 'api_call'"
#: name: (what is done to the books, what is said of it, whether the rows prove what was right)
CORRUPTIONS: dict[str, tuple[str, str, bool]] = {
    "counted raised": (_COUNTER.format("counted = counted + 5"), "counted", True),
    "counted lowered": (_COUNTER.format("counted = counted - 1"), "counted", True),
    "forgiven changed": (_COUNTER.format("forgiven = forgiven - 1"), "forgiven", True),
    "settled ahead": (_COUNTER.format("forgiven_version = 999"), "forgiven_version", True),
    "adjusted wiped": (_COUNTER.format("adjusted = 0"), "adjusted", True),
    "included changed": (_COUNTER.format("included = included * 2"), "included", True),
    "overage allowed": (_COUNTER.format("overage = 'allow'"), "overage", True),
    "access taken": (_COUNTER.format("access = false"), "access", True),
    "version lost": (_COUNTER.format("version = 1"), "version", True),
    "never looked at again": (
        _COUNTER.format("valid_until = valid_until + interval '9 years'"),
        "valid_until",
        True,
    ),
    "threshold passed over": (
        _COUNTER.format("next_threshold_at = NULL"),
        "next_threshold_at",
        True,
    ),
    "period prolonged": (
        _COUNTER.format("period_end = period_end + interval '1 day'"),
        "period_end",
        True,
    ),
    "period renamed": (_COUNTER.format("period_key = '1999-01'"), "period_key", True),
    "closed too early": (_COUNTER.format("closed_at = period_start"), "closed in time", True),
    "counter lost": (
        "DELETE FROM quotas_usagecounter WHERE org_id = %s AND metric = 'api_call'",
        "missing",
        True,
    ),
    "event edited": (
        "UPDATE usage_usageevent SET value = 77 WHERE org_id = %s AND request_id LIKE '%%r0'",
        "counted",
        True,
    ),
    "event lost": (
        "DELETE FROM usage_usageevent WHERE org_id = %s AND request_id LIKE '%%r0'",
        "counted",
        True,
    ),
    "event invented": (
        "INSERT INTO usage_usageevent SELECT id + 1000000, org_id, 'made-up', metric, value,"
        " occurred_at, counted_at, recorded_at, period_start, period_key, used_after,"
        " remaining_after, counter_version FROM usage_usageevent"
        " WHERE org_id = %s AND request_id LIKE '%%r0'",
        "counted",
        True,
    ),
    "event moved in time": (
        "UPDATE usage_usageevent SET counted_at = counted_at - interval '90 days'"
        " WHERE org_id = %s AND request_id LIKE '%%r0'",
        "events inside the period",
        False,
    ),
    "event under another period": (
        "UPDATE usage_usageevent SET period_key = '1999-01'"
        " WHERE org_id = %s AND request_id LIKE '%%r0'",
        "period_key",
        False,
    ),
    "void lost": ("DELETE FROM usage_usagevoid WHERE org_id = %s", "counted", True),
    "void of more": (
        "UPDATE usage_usagevoid SET value = value + 1 WHERE org_id = %s",
        "voids of no such event",
        False,
    ),
    "adjustment edited": (
        "UPDATE quotas_adjustment SET units = 5000 WHERE org_id = %s",
        "adjusted",
        True,
    ),
    "adjustment lost": ("DELETE FROM quotas_adjustment WHERE org_id = %s", "adjusted", True),
    "forgiveness edited": (
        "UPDATE quotas_forgiveness SET units = 1 WHERE org_id = %s",
        "forgiven",
        True,
    ),
    "entitlement lost": (
        "DELETE FROM quotas_entitlement WHERE org_id = %s",
        "entitlement",
        False,
    ),
}


def run(*options: str) -> tuple[int, dict[str, Any]]:
    out = StringIO()
    try:
        call_command("reconcile_usage", "--json", *options, stdout=out)
    except SystemExit as ended:
        return int(ended.code or 0), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def found(report: dict[str, Any]) -> dict[str, set[str]]:
    """Return what was named of each organisation."""
    named: dict[str, set[str]] = {}
    for drift in report["drifts"]:
        named.setdefault(drift["org_id"], set()).add(drift["what"])
    return named


def busy() -> Org:
    """An organisation whose counter has been moved in every way there is."""
    org, now = make_org(), clock.now()
    events = [NewUsageEvent("api_call", n + 1, now, f"{org.id}-r{n}") for n in range(3)]
    ledger.record(org_id=org.id, events=events, now=now)
    void_event(org_id=org.id, request_id=f"{org.id}-r1", reason="x", voided_by="test", now=now)
    corrections.adjust(org_id=org.id, metric="api_call", units=50, reason="x", who="test", now=now)
    corrections.forgive(org_id=org.id, metric="api_call", reason="x", who="test", now=clock.now())
    later = NewUsageEvent("api_call", 7, now, f"{org.id}-later")
    ledger.record(org_id=org.id, events=[later], now=clock.now())
    return org


@pytest.fixture
def spoiled(transactional_db: None) -> dict[str, Org]:
    """An organisation for each corruption, spoiled by it behind the application's back."""
    orgs = {name: busy() for name in CORRUPTIONS}
    whole = run()[1]
    assert (whole["drifts"], whole["equal"]) == ([], 2 * len(orgs))
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.execute("SET session_replication_role = replica")
        for name, org in orgs.items():
            done = admin.execute(CORRUPTIONS[name][0], (org.id,))
            assert done.rowcount == 1, name
    return orgs


def test_each_of_them_is_found_and_named(spoiled: dict[str, Org]) -> None:
    code, report = run()

    named = found(report)
    assert code == 1
    assert {name: CORRUPTIONS[name][1] in named.get(org.id, ()) for name, org in spoiled.items()} \
        == dict.fromkeys(spoiled, True)  # fmt: skip
    assert report["drifted"] == len(report["drifts"]) >= len(spoiled)


def test_what_rows_prove_is_repaired_and_the_rest_is_still_named(spoiled: dict[str, Org]) -> None:
    run("--repair")
    code, report = run()

    unproven = {org.id for name, org in spoiled.items() if not CORRUPTIONS[name][2]}
    assert code == 1
    assert set(found(report)) == unproven
    assert {repair.made_by for repair in CounterRepair.objects.all()} == {"reconcile_usage"}


def test_what_is_repaired_is_as_it_was_and_answers_rightly(transactional_db: None) -> None:
    org = busy()
    of_org = UsageCounter.objects.filter(org_id=org.id, metric="api_call")
    before: dict[str, Any] = dict(of_org.values().get())
    of_org.update(
        counted=99, forgiven=0, adjusted=0, included=1, overage="allow", access=False,
        valid_until=before["valid_until"] + timedelta(days=1),
    )  # fmt: skip

    run("--repair", "--org", org.id)

    after: dict[str, Any] = dict(of_org.values().get())
    moved = {name for name in after if after[name] != before[name]}
    assert moved <= {"version", "updated_at"}
    row = CounterRepair.objects.get(org_id=org.id)
    assert (row.before["counted"], row.after["counted"]) == (99, before["counted"])
    assert org.check().status_code == 200


def test_a_lost_counter_is_written_anew_from_its_rows(transactional_db: None) -> None:
    org = busy()
    of_org = UsageCounter.objects.filter(org_id=org.id, metric="api_call")
    before = of_org.get()
    of_org.delete()

    run("--repair")

    after = of_org.get()
    assert (after.counted, after.forgiven, after.limit) == (
        before.counted,
        before.forgiven,
        before.limit,
    )
    assert after.version > before.version
    assert run()[0] == 0


def test_a_copy_that_differs_is_dropped(transactional_db: None) -> None:
    org = busy()
    counter = UsageCounter.objects.get(org_id=org.id, metric="api_call")
    counter.counted += 3
    clients.copy.forget(org.id)
    snapshots.publish(org.id, [snapshots.of_row(counter, snapshots.installation_epoch())])

    named = found(run("--repair")[1])

    assert named == {org.id: {"copy"}}
    assert run()[0] == 0


def test_rows_of_an_organisation_nothing_else_knows_are_found(transactional_db: None) -> None:
    org = busy()
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.execute("DELETE FROM quotas_usagecounter WHERE org_id = %s", (org.id,))
        admin.execute("DELETE FROM quotas_entitlement WHERE org_id = %s", (org.id,))

    code, report = run()

    assert (code, found(report)) == (1, {org.id: {"missing"}})


def test_a_report_says_by_how_much(transactional_db: None) -> None:
    org = busy()
    UsageCounter.objects.filter(org_id=org.id, metric="api_call").update(counted=14)
    out = StringIO()

    with pytest.raises(SystemExit):
        call_command("reconcile_usage", stdout=out)

    first, *_, total = out.getvalue().splitlines()
    assert first.endswith("counted is 14, its rows say 11 (+3)")
    assert total.startswith("2 counters of 1 organisations, 1 equal, 4 events: 2 differences")
