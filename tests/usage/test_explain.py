"""Why something was allowed or denied: now, at an instant, and for a request by its id."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import OperationalError, transaction
from psycopg.errors import QueryCanceled

from billing import catalogue
from billing.models import Plan
from config.contract import clock
from config.contract.errors import NotFound
from quotas import corrections
from quotas.models import Entitlement, UsageCounter
from quotas.rules import Allowance
from quotas.services import ScheduledChange, grant
from tests.support.cast import Org, data, make_org
from tokens.suspension import restore, suspend
from usage.explaining import then, words
from usage.explaining.rule import Rule
from usage.explaining.service import explain
from usage.explaining.shape import Explanation
from usage.models import UsageEvent
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
#: Shorter than the life of a token, many times.
STEP = timedelta(minutes=2)
CORRELATED = {"x-request-id": "r-1", "x-correlation-id": "c-1"}


@pytest.fixture
def noon() -> Iterator[time_machine.Traveller]:
    """Noon of a day, standing still."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def why(org: Org, at: datetime | None = None) -> Explanation:
    return explain(now=clock.now(), org_id=org.id, metric="api_call", at=at)


def why_request(quoted: str, org: Org | None = None) -> Explanation:
    return explain(now=clock.now(), quoted=quoted, org_id=org.id if org else None)


def said(explanation: Explanation) -> str:
    return " ".join(words.sentences(explanation))


def denied(org: Org, value: int = 1) -> None:
    body = {"orgId": org.id, "metric": "api_call", "value": value}
    assert org.post("/api/quota/check", body, **CORRELATED).status_code in (402, 429)


def regrant(org: Org, status: str, because: str = "a test", **told: object) -> None:
    allowances = catalogue.allowances_of(Plan.objects.prefetch_related("metrics").get(code="pro"))
    with transaction.atomic():
        grant(
            org_id=org.id,
            plan_code="pro",
            status=status,
            allowances=allowances,
            because=because,
            now=clock.now(),
            anchor_at=NOW,
            **told,  # type: ignore[arg-type]
        )


def test_within_the_included_units_the_next_one_is_allowed(noon: object) -> None:
    org = make_org(included=10, now=NOW)
    org.use(9)

    found = why(org)

    assert (found.rule, found.rule.allows, found.rule.code) == (Rule.WITHIN_INCLUDED, True, None)
    assert found.figures is not None
    assert (found.figures.included, found.figures.used, found.figures.remaining) == (10, 9, 1)
    assert found.resets_at == datetime(2026, 12, 1, tzinfo=UTC)


def test_a_spent_quota_is_explained_with_what_staff_gave(noon: object) -> None:
    org = make_org(included=10, now=NOW)
    corrections.adjust(
        org_id=org.id, metric="api_call", units=5, reason="secret", who="staff:7", now=NOW
    )
    org.use(15)

    found = why(org)

    assert found.rule is Rule.SPENT
    assert found.figures is not None
    assert (found.figures.planned, found.figures.adjusted, found.figures.included) == (10, 5, 15)
    assert "15 units: 10 by the plan, 5 granted by staff" in said(found)
    assert "1 Dec 2026 00:00 UTC" in said(found)
    # Customers read the sentences; who of staff did it and why stands in the timeline.
    assert "staff:7" not in said(found)
    assert any("secret (staff:7)" in one.detail for one in found.timeline)


@pytest.mark.parametrize(
    ("status", "told", "rule"),
    [
        ("canceled", {}, Rule.STATUS_NOT_VALID),
        ("trialing", {"trial_ends_at": NOW - timedelta(days=2)}, Rule.TRIAL_OVER),
        ("past_due", {"past_due_since": NOW - timedelta(days=8)}, Rule.PAST_DUE_TOO_LONG),
        ("active", {"ends_at": NOW - STEP}, Rule.CANCELLATION_DUE),
    ],
)
def test_no_access_names_the_rule_that_takes_it(
    noon: object, status: str, told: dict[str, Any], rule: Rule
) -> None:
    org = make_org(status=status, now=NOW, **told)

    found = why(org)

    assert (found.rule, found.rule.code) == (rule, "PAYMENT_REQUIRED")
    assert "valid subscription" in said(found)


def test_past_the_included_units_of_a_plan_that_goes_on_it_is_allowed(noon: object) -> None:
    org = make_org(plan="business", included=1, now=NOW)
    org.use(2)

    assert why(org).rule is Rule.OVERAGE_ALLOWED


def test_where_nothing_was_granted_it_says_so(noon: object) -> None:
    org = make_org(now=NOW)

    before = why(org, NOW - STEP)

    assert before.rule is Rule.NOTHING_GRANTED
    assert (before.figures, before.standing, before.gaps) == (None, None, [])


def test_before_the_history_begins_it_is_honest(noon: object) -> None:
    org = make_org(now=NOW)
    # As of an entitlement that is older than its history.
    from tests.support.database import superuser

    with superuser(_database()) as admin:
        admin.execute("SET session_replication_role = replica")
        admin.execute("UPDATE quotas_entitlementevent SET pgh_label = 'update'")

    found = why(org, NOW - STEP)

    assert (found.rule, found.rule.allows) == (Rule.NOT_KNOWN, None)
    assert "not known" in said(found)
    assert found.gaps


def test_the_past_is_answered_with_what_was_then(noon: time_machine.Traveller) -> None:
    org = make_org(included=10, now=NOW)
    org.use(4, request_id="first")
    noon.shift(STEP)
    org.use(6)
    denied(org)
    noon.shift(STEP)
    corrections.forgive(
        org_id=org.id, metric="api_call", reason="outage", who="staff:1", now=clock.now()
    )
    noon.shift(STEP)
    regrant(org, "active", because="customer.subscription.updated evt_9")

    rules = [why(org, NOW + steps * STEP + STEP / 2).rule for steps in range(4)]
    figures = [why(org, NOW + steps * STEP + STEP / 2).figures for steps in range(4)]
    plans = [why(org, NOW + steps * STEP + STEP / 2).standing for steps in (2, 3)]

    assert rules == [Rule.WITHIN_INCLUDED, Rule.SPENT, Rule.WITHIN_INCLUDED, Rule.WITHIN_INCLUDED]
    assert [one.used for one in figures if one] == [4, 10, 0, 0]
    assert [one.forgiven for one in figures if one] == [0, 0, 10, 10]
    assert [one.included for one in figures if one] == [10, 10, 10, 100_000]
    assert [one.plan_code for one in plans if one] == ["starter", "pro"]


def test_a_void_and_a_late_event_count_from_when_they_came(noon: time_machine.Traveller) -> None:
    org = make_org(included=10, now=NOW)
    org.use(4, request_id="first")
    noon.shift(STEP)
    org.use(3, occurredAt=NOW.isoformat())
    noon.shift(STEP)
    void_event(org_id=org.id, request_id="first", reason="x", voided_by="staff:1", now=clock.now())
    noon.shift(STEP)
    org.use(1)

    used = [why(org, NOW + STEP * steps + STEP / 2).figures for steps in range(4)]

    assert [one.used for one in used if one] == [4, 7, 3, 4]


def test_an_adjustment_that_expired_counts_as_long_as_it_held(
    noon: time_machine.Traveller,
) -> None:
    org = make_org(included=10, now=NOW)
    corrections.adjust(
        org_id=org.id,
        metric="api_call",
        units=5,
        reason="x",
        who="staff:1",
        now=NOW,
        expires_at=NOW + STEP,
    )
    noon.shift(2 * STEP)

    held, after = why(org, NOW + STEP / 2).figures, why(org).figures

    assert held is not None
    assert after is not None
    assert (held.included, after.included) == (15, 10)


def test_a_sum_that_takes_too_long_is_left_out_and_said(
    noon: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    org = make_org(included=10, now=NOW)
    org.use(4)
    noon.shift(STEP)
    org.use(1)

    class Slow:
        def cursor(self) -> None:
            raise OperationalError from QueryCanceled("statement timeout")

    monkeypatch.setattr(then, "connection", Slow())
    found = why(org, NOW + STEP / 2)

    assert found.rule is Rule.NOT_KNOWN
    assert found.figures is not None
    assert (found.figures.included, found.figures.used) == (10, None)
    assert "too many events" in said(found)


def test_the_status_names_the_event_and_the_request_that_set_it(
    noon: time_machine.Traveller,
) -> None:
    org = make_org(now=NOW)
    noon.shift(STEP)
    regrant(org, "canceled", because="customer.subscription.deleted evt_7")

    found = why(org)

    assert found.standing is not None
    assert found.standing.because == "customer.subscription.deleted evt_7"
    assert found.standing.since == NOW + STEP
    texts = [one.text for one in found.timeline]
    assert "The plan changed from starter to pro." in texts
    assert "The subscription changed from active to canceled." in texts


def test_a_scheduled_change_is_told_until_it_is_due(noon: time_machine.Traveller) -> None:
    later = ScheduledChange("starter", {"api_call": Allowance(1, "block")}, NOW + STEP)
    org = make_org(plan="pro", now=NOW, scheduled=later)

    before = why(org)
    noon.shift(2 * STEP)
    after = why(org)

    assert "A change to starter is scheduled for 20 Nov 2026 12:02 UTC." in said(before)
    assert after.standing is not None
    assert (after.standing.plan_code, after.standing.scheduled_at) == ("starter", None)


def test_a_suspension_holds_from_its_beginning_to_its_end(noon: time_machine.Traveller) -> None:
    org = make_org(now=NOW)
    noon.shift(STEP)
    suspend(org_id=org.id, reason="fraud", who="staff:1", now=clock.real_now())
    during = why(org)
    noon.shift(STEP)
    restore(org_id=org.id, reason="sorry", who="staff:1", now=clock.real_now())

    rules = [why(org, NOW + STEP * steps + STEP / 2).rule for steps in range(3)]

    assert during.rule is Rule.SUSPENDED
    assert rules == [Rule.WITHIN_INCLUDED, Rule.SUSPENDED, Rule.WITHIN_INCLUDED]


def test_a_denied_request_is_explained_with_the_numbers_of_then(
    noon: time_machine.Traveller,
) -> None:
    org = make_org(included=10, now=NOW)
    org.use(8)
    denied(org, 3)
    noon.shift(STEP)
    org.use(2)

    found = why_request("c-1")

    assert (found.rule, found.value, found.at) == (Rule.MORE_THAN_REMAINING, 3, NOW)
    assert found.figures is not None
    assert (found.figures.used, found.figures.remaining) == (8, 2)
    assert found.request is not None
    assert found.request.request_id == "r-1"
    assert said(found).startswith("Denied: 3 units of api_call asked for, and 2 units left.")


def test_a_request_denied_for_its_subscription_says_which_rule(
    noon: time_machine.Traveller,
) -> None:
    org = make_org(status="trialing", now=NOW, trial_ends_at=NOW - timedelta(days=3))
    denied(org)

    found = why_request("r-1", org)

    assert (found.rule, found.rule.code) == (Rule.TRIAL_OVER, "PAYMENT_REQUIRED")


def test_a_counted_use_shows_its_row_its_void_and_what_looks_the_same(
    noon: time_machine.Traveller,
) -> None:
    org = make_org(included=10, now=NOW)
    for name in ("use-1", "use-2"):
        org.use(4, request_id=name, occurredAt=NOW.isoformat())
    noon.shift(STEP)
    void_event(org_id=org.id, request_id="use-1", reason="x", voided_by="staff:1", now=clock.now())

    found = why_request("use-1", org)

    assert (found.rule, found.value) == (Rule.WITHIN_INCLUDED, 4)
    assert found.figures is not None
    assert (found.figures.used, found.figures.included) == (4, 10)
    assert found.use is not None
    assert found.use.void is not None
    assert found.use.twins == ["use-2"]
    assert "taken back on 20 Nov 2026 12:02 UTC" in said(found)
    assert "reported twice: use-2" in said(found)


def test_an_id_that_was_denied_and_then_counted_tells_of_the_newest(
    noon: time_machine.Traveller,
) -> None:
    org = make_org(included=1, now=NOW)
    assert org.use(2, request_id="use-1").status_code == 429
    noon.shift(STEP)
    regrant(org, "active")
    assert org.use(2, request_id="use-1").status_code == 200

    found = why_request("use-1")

    assert found.use is not None
    assert [one.use_id for one in found.also_denied] == ["use-1"]


def test_the_same_id_of_two_organisations_is_kept_apart(noon: object) -> None:
    one, other = make_org(included=0, now=NOW), make_org(included=0, now=NOW)
    denied(one)
    denied(other)

    assert why_request("c-1", one).org_id == one.id
    assert why_request("c-1", other).org_id == other.id
    assert why_request("c-1", one).also_denied == []


def test_an_id_that_nobody_knows_says_what_is_kept(noon: object) -> None:
    with pytest.raises(NotFound, match="kept for 90 days"):
        why_request("unknown")


def test_the_organisation_asks_for_itself(noon: object) -> None:
    org = make_org(included=10, now=NOW)
    org.use(10)

    answer = data(org.get("/api/quota/explain?metric=api_call"))

    assert (answer["allow"], answer["code"], answer["rule"]) == (
        False,
        "RATE_LIMITED",
        "included_units_spent",
    )
    assert (answer["includedUnits"], answer["adjustments"], answer["used"]) == (10, 0, 10)
    assert (answer["remaining"], answer["periodKey"]) == (0, "2026-11")
    assert (answer["planCode"], answer["status"]) == ("starter", "active")
    assert (answer["statusSince"], answer["statusBecause"]) == ("2026-11-20T12:00:00Z", "test")
    assert (answer["resetsAt"], answer["decidedBy"]) == ("2026-12-01T00:00:00Z", "database")
    assert answer["sentences"][0] == "It would be denied: all included units of api_call are used."


def test_where_it_was_decided_is_told(noon: object) -> None:
    org = make_org(included=0, now=NOW)
    denied(org)
    first = data(org.get("/api/quota/explain?correlationId=c-1"))
    denied(org)
    second = data(org.get("/api/quota/explain?correlationId=c-1"))

    assert (first["decidedBy"], second["decidedBy"]) == ("database", "copy")


@pytest.mark.parametrize(
    "query", ["", "metric=nonsense", "metric=api_call&at=2026", "requestId=a&correlationId=b"]
)
def test_what_cannot_be_asked_is_refused(org: Org, query: str) -> None:
    assert org.get(f"/api/quota/explain?{query}").status_code == 400


def test_the_command_says_the_same_as_the_api(noon: object) -> None:
    org = make_org(included=10, now=NOW)
    org.use(8)
    denied(org, 3)
    answer = data(org.get("/api/quota/explain?correlationId=c-1"))
    spoken, written = StringIO(), StringIO()

    call_command("explain", "--request-id", "c-1", stdout=spoken)
    call_command("explain", "--request-id", "c-1", "--json", stdout=written)

    assert json.loads(written.getvalue()) == answer
    assert spoken.getvalue().startswith("\n".join(answer["sentences"]))
    assert "remaining             2" in spoken.getvalue()


def test_the_command_explains_an_instant(noon: time_machine.Traveller) -> None:
    org = make_org(included=10, now=NOW)
    org.use(10)
    noon.shift(STEP)
    out = StringIO()

    call_command(
        "explain",
        *("--org", org.id, "--metric", "api_call", "--at", "2026-11-20T12:01:00Z"),
        stdout=out,
    )

    assert out.getvalue().startswith("It would have been denied")


@pytest.mark.parametrize(
    "options", [("--request-id", "unknown"), ("--org", "org_X", "--metric", "api_call"), ()]
)
def test_the_command_says_what_is_not_there(db: None, options: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        call_command("explain", *options)


def test_nothing_of_an_explanation_writes(noon: object) -> None:
    org = make_org(included=10, now=NOW)
    org.use(1)
    before = (UsageCounter.objects.get(metric="api_call").version, UsageEvent.objects.count())

    why(org)
    why(org, NOW + timedelta(days=40))

    after = (UsageCounter.objects.get(metric="api_call").version, UsageEvent.objects.count())
    assert after == before
    assert Entitlement.objects.get().version == 1


def _database() -> str:
    from django.db import connection

    return str(connection.settings_dict["NAME"])
