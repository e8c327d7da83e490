"""reconcile_usage: every kind of difference is found and named, and what rows prove is repaired."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F

from config.contract import clock
from quotas import corrections, snapshots
from quotas.models import CounterRepair, Entitlement, UsageCounter
from quotas.snapshots import installation_epoch
from tests.support.cast import Org, data
from tests.support.database import superuser
from usage.models import CounterCheck
from usage.tasks import sample_counters
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)


def run(*options: str) -> tuple[int, dict[str, Any]]:
    out = StringIO()
    try:
        call_command("reconcile_usage", "--json", *options, stdout=out)
    except SystemExit as ended:
        return int(ended.code or 0), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


@pytest.fixture
def busy(org: Org, stranger: Org) -> Org:
    """An organisation whose counter has been moved in every way there is."""
    now = clock.now()
    for n in range(5):
        org.use(n + 1, request_id=f"r{n}")
    void_event(org_id=org.id, request_id="r1", reason="x", voided_by="test", now=now)
    corrections.adjust(org_id=org.id, metric="api_call", units=50, reason="x", who="test", now=now)
    corrections.forgive(org_id=org.id, metric="api_call", reason="x", who="test", now=now)
    org.use(7)
    stranger.use(1)
    return org


def test_untouched_books_agree(busy: Org) -> None:
    code, report = run()

    assert (code, report["drifts"]) == (0, [])
    assert report["counters"] == 4
    assert report["events"] == 7


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("counted", {"counted": F("counted") + 1}),
        ("forgiven", {"forgiven": F("forgiven") - 1}),
        ("adjusted", {"adjusted": 0}),
        ("included", {"included": 5}),
        ("overage", {"overage": "allow"}),
        ("access", {"access": False}),
        ("version", {"version": 1}),
    ],
)
def test_a_changed_column_is_found_and_named(busy: Org, what: str, change: dict[str, Any]) -> None:
    UsageCounter.objects.filter(org_id=busy.id, metric="api_call").update(**change)

    code, report = run()

    assert code == 1
    assert what in {drift["what"] for drift in report["drifts"]}
    assert {drift["org_id"] for drift in report["drifts"]} == {busy.id}


def test_a_lost_event_a_lost_counter_and_a_lost_entitlement_are_found(
    busy: Org, stranger: Org
) -> None:
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.execute("SET session_replication_role = replica")
        admin.execute(
            "DELETE FROM usage_usageevent WHERE org_id = %s AND request_id = 'r4'", [busy.id]
        )
    UsageCounter.objects.filter(org_id=stranger.id, metric="api_call").delete()
    Entitlement.objects.filter(org_id=busy.id).delete()

    code, report = run()

    found = {(drift["org_id"], drift["what"]) for drift in report["drifts"]}
    assert code == 1
    assert found >= {(busy.id, "counted"), (stranger.id, "missing"), (busy.id, "entitlement")}


def test_a_threshold_that_was_forgotten_is_found_and_repaired(busy: Org) -> None:
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.execute("SET session_replication_role = replica")
        admin.execute("UPDATE quotas_usagecounter SET next_threshold_at = NULL")

    code, report = run("--repair")

    assert (code, {drift["what"] for drift in report["drifts"]}) == (1, {"next_threshold_at"})
    assert report["repaired"] == 4
    assert run()[0] == 0
    assert UsageCounter.objects.get(org_id=busy.id, metric="api_call").next_threshold_at == 5_025


def test_a_copy_that_says_something_else_at_the_same_version_is_found(busy: Org) -> None:
    counter = UsageCounter.objects.get(org_id=busy.id, metric="api_call")
    from config.contract.clients import clients

    clients.copy.forget(busy.id)
    counter.counted += 3
    snapshots.publish(busy.id, [snapshots.of_row(counter, installation_epoch())])

    code, report = run("--org", busy.id)

    assert (code, [drift["what"] for drift in report["drifts"]]) == (1, ["copy"])


def test_repair_sets_back_what_the_rows_prove_and_says_so(busy: Org) -> None:
    before = UsageCounter.objects.get(org_id=busy.id, metric="api_call")
    UsageCounter.objects.filter(pk=before.pk).update(counted=F("counted") + 100, adjusted=0)

    code, report = run("--repair")

    assert code == 1
    assert report["repaired"] == 1
    after = UsageCounter.objects.get(pk=before.pk)
    assert (after.counted, after.adjusted) == (before.counted, before.adjusted)
    assert CounterRepair.objects.get().after["counted"] == before.counted
    assert run()[0] == 0
    assert data(busy.check())["remaining"] == before.remaining


def test_what_time_alone_changes_is_no_drift(busy: Org) -> None:
    clock.set_offset(timedelta(days=45).total_seconds())

    assert run()[0] == 0


def test_the_sample_raises_the_metric(busy: Org) -> None:
    from config.contract import metrics

    UsageCounter.objects.filter(org_id=busy.id, metric="api_call").update(counted=F("counted") + 1)
    before = metrics.DRIFT.labels("counted")._value.get()

    sample_counters()

    assert metrics.DRIFT.labels("counted")._value.get() == before + 1


def test_a_difference_is_remembered_until_all_counters_are_found_right(busy: Org) -> None:
    UsageCounter.objects.filter(org_id=busy.id, metric="api_call").update(counted=F("counted") + 1)
    sample_counters()
    seen = CounterCheck.objects.get()
    assert seen.drifted_at is not None
    assert busy.id in seen.drift

    run("--repair")
    run("--org", busy.id)
    assert CounterCheck.objects.get().drifted_at is not None

    run()
    proven = CounterCheck.objects.get()
    assert (proven.drifted_at, proven.drift) == (None, "")
    assert proven.proven_at is not None
