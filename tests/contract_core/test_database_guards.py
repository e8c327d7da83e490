"""What the database refuses by itself, whoever writes and whatever our code forgot."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import connection
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.support.database import superuser

pytestmark = pytest.mark.django_db(transaction=True)

#: Rows that nobody changes or deletes. All history tables are too.
INSERT_ONLY = [
    "backoffice_staffact",
    "backoffice_staffactend",
    "billing_notification",
    "billing_statement",
    "quotas_adjustment",
    "quotas_counterrepair",
    "quotas_forgiveness",
    "tokens_auditentry",
    "tokens_stafflogin",
    "usage_usageevent",
    "usage_usagevoid",
]
#: What is forgotten in the end is kept as long as it is young.
_YOUNG: dict[str, dict[str, Any]] = {"tokens_stafflogin": {"at": "2999-01-01"}}
HISTORIES = sorted(
    model._meta.db_table for model in apps.get_models() if hasattr(model, "pgh_tracked_model")
)
#: What stands once: the constraint, its table, its columns, what else its rows must be.
ONCE: list[tuple[str, str, set[str], dict[str, Any]]] = [
    ("usage_event_counted_once", "usage_usageevent", {"org_id", "request_id"}, {}),
    ("usage_void_taken_back_once", "usage_usagevoid", {"org_id", "request_id"}, {}),
    (
        "usage_counter_one_per_period",
        "quotas_usagecounter",
        {"org_id", "metric", "period_start"},
        {"period_end": "2026-04-01", "overage": "block"},
    ),
    ("quotas_entitlement_org_id_key", "quotas_entitlement", {"org_id"}, {}),
    ("forgiveness_once_per_act", "quotas_forgiveness", {"act_id", "org_id", "metric"}, {}),
    (
        "threshold_crossed_once",
        "quotas_thresholdcrossed",
        {"org_id", "metric", "period_start", "units_limit", "percent"},
        {},
    ),
    (
        "denial_one_per_minute",
        "quotas_denial",
        {"org_id", "metric", "minute", "code", "counter_version", "period_start"},
        {},
    ),
    ("statement_per_period", "billing_statement", {"org_id", "period_key"}, {}),
    ("billing_operation_uuid_key", "billing_operation", {"uuid"}, {"state": "started"}),
    (
        "operation_one_change_at_a_time",
        "billing_operation",
        {"org_id"},
        {"state": "started", "kind": "upgrade"},
    ),
    ("idempotency_key_scoped", "billing_idempotencykey", {"scope", "key_hash"}, {}),
    ("keyed_request_scoped", "contract_keyedrequest", {"scope", "key_hash"}, {}),
    ("email_change_one_open", "billing_emailchange", {"org_id"}, {}),
    ("notification_once", "billing_notification", {"org_id", "key"}, {}),
    (
        "delivery_one_per_address",
        "billing_delivery",
        {"notification_id", "channel", "address"},
        {"state": "waiting"},
    ),
    (
        "billing_organization_stripe_customer_id_key",
        "billing_organization",
        {"stripe_customer_id"},
        {},
    ),
    (
        "billing_subscription_stripe_subscription_id_key",
        "billing_subscription",
        {"stripe_subscription_id"},
        {},
    ),
    ("billing_invoiceref_stripe_invoice_id_key", "billing_invoiceref", {"stripe_invoice_id"}, {}),
    ("webhooks_webhookevent_event_id_key", "webhooks_webhookevent", {"event_id"}, {}),
    ("tokens_refreshtoken_token_hash_key", "tokens_refreshtoken", {"token_hash"}, {}),
    ("tokens_refreshtoken_predecessor_id_key", "tokens_refreshtoken", {"predecessor_id"}, {}),
    (
        "tokens_activationcode_code_hash_key",
        "tokens_activationcode",
        {"code_hash"},
        {"expires_at": "2027-01-01", "family_id": None},
    ),
    (
        "tokens_portallink_token_hash_key",
        "tokens_portallink",
        {"token_hash"},
        {"expires_at": "2027-01-01"},
    ),
    (
        "import_run_one_per_source",
        "usage_importrun",
        {"org_id", "source"},
        {"floor_at": "2026-03-01"},
    ),
    ("daily_usage_once", "usage_dailyusage", {"org_id", "metric", "day"}, {}),
    ("daily_total_once", "usage_dailytotal", {"metric", "day"}, {}),
]
#: What no row may be, beside what makes one of its table.
COUNTER = {"period_end": "2026-04-01", "overage": "block"}
NEVER: list[tuple[str, str, dict[str, Any]]] = [
    ("usage_event_has_value", "usage_usageevent", {"value": 0}),
    ("usage_event_has_value", "usage_usageevent", {"value": 1_000_000_001}),
    ("usage_counter_used_not_negative", "quotas_usagecounter", {**COUNTER, "counted": -1}),
    ("usage_counter_used_not_negative", "quotas_usagecounter", {**COUNTER, "forgiven": -1}),
    ("usage_counter_used_not_negative", "quotas_usagecounter", {**COUNTER, "forgiven": 2}),
    (
        "usage_counter_period_not_empty",
        "quotas_usagecounter",
        {**COUNTER, "period_start": "2026-04-01"},
    ),
    ("usage_counter_included", "quotas_usagecounter", {**COUNTER, "included": -1}),
    ("usage_counter_overage_known", "quotas_usagecounter", {**COUNTER, "overage": "maybe"}),
    ("adjustment_not_zero", "quotas_adjustment", {"units": 0}),
    ("forgiveness_has_units", "quotas_forgiveness", {"units": 0}),
    ("threshold_choice_percents", "quotas_thresholdchoice", {"percents": [101]}),
    ("entitlement_status_known", "quotas_entitlement", {"status": "fine"}),
    ("entitlement_rule_known", "quotas_entitlement", {"period_rule": "weeks"}),
    ("entitlement_scheduled_rule_known", "quotas_entitlement", {"scheduled_period_rule": "weeks"}),
    ("entitlement_schedule_whole", "quotas_entitlement", {"scheduled_plan_code": "pro"}),
    ("entitlement_trial_ends", "quotas_entitlement", {"status": "trialing"}),
    ("entitlement_past_due_dated", "quotas_entitlement", {"status": "past_due"}),
    ("installation_is_one_row", "contract_installation", {"id": 2}),
    ("operation_finished_at", "billing_operation", {"state": "done", "finished_at": None}),
    ("delivery_finished_at", "billing_delivery", {"state": "done", "finished_at": None}),
    (
        "notification_settings_signed",
        "billing_notificationsettings",
        {"url": "https://example.com", "secret_id": None},
    ),
    ("activation_code_lives", "tokens_activationcode", {"family_id": None}),
    (
        "activation_code_used_by_a_family",
        "tokens_activationcode",
        {"expires_at": "2027-01-01", "family_id": None, "used_at": "2026-06-01"},
    ),
    ("portal_link_lives", "tokens_portallink", {"expires_at": "2026-03-01"}),
    (
        "portal_link_opened_whole",
        "tokens_portallink",
        {"expires_at": "2027-01-01", "used_at": "2026-06-01"},
    ),
    ("import_run_shift_has_floor", "usage_importrun", {"floor_at": None, "shift_seconds": 1}),
    (
        "webhook_event_processed_at",
        "webhooks_webhookevent",
        {"state": "processed", "processed_at": None},
    ),
]
_COLUMNS = """
SELECT column_name, data_type, udt_name, is_nullable = 'YES' OR is_identity = 'YES'
  FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s
"""
_VALUES: dict[str, Any] = {
    "boolean": True,
    "bytea": "\\x01",
    "date": "2026-03-01",
    "inet": "127.0.0.1",
    "jsonb": {},
    "timestamp with time zone": "2026-03-01",
    "ARRAY": [],
}


@contextmanager
def database() -> Iterator["psycopg.Connection[Any]"]:
    """Return a connection that may do everything; what it did is undone."""
    with (
        superuser(str(connection.settings_dict["NAME"])) as admin,
        admin.transaction(force_rollback=True),
    ):
        yield admin


def insert(admin: "psycopg.Connection[Any]", table: str, n: int = 1, **columns: Any) -> None:
    """Insert a row that makes no sense and breaks no rule of its own; rows of other `n` differ."""
    row = {
        name: _value(kind, n) for name, kind, _, optional in _columns(admin, table) if not optional
    }
    row |= columns
    # References lead nowhere, and triggers have nothing to do with it.
    admin.execute("SET LOCAL session_replication_role = replica")
    admin.execute(
        sql.SQL(
            "INSERT INTO {0} ({1}) SELECT {1} FROM jsonb_populate_record(null::{0}, %s)"
        ).format(sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, row))),
        (Jsonb(row),),
    )
    admin.execute("SET LOCAL session_replication_role = origin")


def _columns(admin: "psycopg.Connection[Any]", table: str) -> list[tuple[str, str, str, bool]]:
    return admin.execute(_COLUMNS, (table,)).fetchall()


def _value(kind: str, n: int) -> Any:
    if kind == "uuid":
        return f"00000000-0000-0000-0000-{n:012}"
    if kind == "bytea":
        return f"\\x{n:02x}"
    if kind in ("character varying", "text"):
        return str(n)
    return _VALUES.get(kind, n)


@pytest.mark.parametrize("table", [*INSERT_ONLY, *HISTORIES, "quotas_thresholdcrossed"])
@pytest.mark.parametrize("how", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}"])
def test_a_row_that_was_written_stays_as_it_is_whoever_tries(table: str, how: str) -> None:
    with database() as admin:
        insert(admin, table, **_YOUNG.get(table, {}))
        changed = next(name for name, *_ in reversed(_columns(admin, table)) if name != "told_at")
        if table == "quotas_thresholdcrossed" and how.startswith("UPDATE"):
            how = "UPDATE {0} SET used = used + 1"  # of this one `told_at` may change

        with pytest.raises(psycopg.errors.RaiseException, match=r"pgtrigger: Cannot (up|de|)"):
            admin.execute(sql.SQL(how).format(sql.Identifier(table), sql.Identifier(changed)))


@pytest.mark.parametrize(
    ("constraint", "table", "columns", "as_well"), ONCE, ids=[one[0] for one in ONCE]
)
def test_it_stands_there_once(
    constraint: str, table: str, columns: set[str], as_well: dict[str, Any]
) -> None:
    with database() as admin:
        kinds = {name: kind for name, kind, *_ in _columns(admin, table)}
        same = {name: _value(kinds[name], 1) for name in columns}
        insert(admin, table, 1, **{**_whole(table), **as_well, **same})

        with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
            insert(admin, table, 2, **{**_whole(table), **as_well, **same})

    assert refusal.value.diag.constraint_name == constraint


def test_two_periods_of_one_metric_never_overlap() -> None:
    with database() as admin:
        same = {"org_id": "o", "metric": "m", "overage": "block"}
        insert(admin, "quotas_usagecounter", 1, **same, period_end="2026-04-01")

        with pytest.raises(psycopg.errors.ExclusionViolation) as refusal:
            insert(
                admin, "quotas_usagecounter", 2, **same,
                period_start="2026-03-31", period_end="2026-05-01",
            )  # fmt: skip

    assert refusal.value.diag.constraint_name == "usage_counter_periods_tile"


@pytest.mark.parametrize(("constraint", "table", "columns"), NEVER)
def test_it_is_never_so(constraint: str, table: str, columns: dict[str, Any]) -> None:
    with database() as admin:
        admin.execute("DELETE FROM contract_installation")  # the row it is about is there

        with pytest.raises(psycopg.errors.CheckViolation) as refusal:
            insert(admin, table, 3, **{**_whole(table), **columns})

    assert refusal.value.diag.constraint_name == constraint


def _whole(table: str) -> dict[str, Any]:
    """Return what a row of the table needs, so that only what is tried is wrong with it."""
    if table == "quotas_entitlement":
        return {
            "status": "active",
            "period_rule": "calendar_month",
            "scheduled_period_rule": "",
            "scheduled_plan_code": "",
        }
    return {"counted": 1, "forgiven": 0} if table == "quotas_usagecounter" else {}
