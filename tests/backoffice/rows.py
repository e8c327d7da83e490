"""Rows of every table, many of each, without going through the services."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.contrib.auth.models import User
from django.db.models import Model

from billing.contact.models import EmailChange
from billing.models import (
    IdempotencyKey,
    InvoiceRef,
    Operation,
    Organization,
    Plan,
    PlanPrice,
    Statement,
    Subscription,
    UnpricedOverage,
)
from billing.notifications.models import (
    Delivery,
    Notification,
    NotificationAddress,
    NotificationSettings,
)
from config.backoffice.export_models import Export
from config.backoffice.models import StaffAct, StaffActEnd
from config.backoffice.recovery_models import RecoveryCode
from config.backoffice.roles import OUR_APPS
from config.contract import clock
from config.contract.ids import base32
from config.contract.models import Installation, KeyedRequest
from quotas.crossings import ThresholdChoice, ThresholdCrossed
from quotas.denial_models import Denial, DeniedRequest
from quotas.models import (
    Adjustment,
    CounterRepair,
    Entitlement,
    Forgiveness,
    Metric,
    UsageCounter,
)
from tokens.models import (
    ActivationCode,
    AuditEntry,
    OperatorKey,
    OrgAccess,
    PortalLink,
    RefreshToken,
    StaffLogIn,
    TokenFamily,
)
from usage.models import (
    CounterCheck,
    DailyTotal,
    DailyUsage,
    ImportRun,
    UsageEvent,
    UsageVoid,
)
from webhooks.models import EventCoverage, WebhookEvent

#: Stands in every field that no page may show.
SECRET = "hidden-canary"
#: Stands in the payloads of webhook events, which staff may read.
PAYLOAD = "payload-canary"

#: Shown on the page of the plan, the act or the import that they belong to.
ON_ANOTHER_PAGE = {"billing.PlanAllowance", "backoffice.StaffActEnd", "usage.ImportedLog"}


def our_models() -> list[type[Model]]:
    """Return every model of ours that has a page of its own."""
    return [
        model
        for app in OUR_APPS
        for model in apps.get_app_config(app).get_models()
        if model._meta.label not in ON_ANOTHER_PAGE
    ]


def org_id(number: int) -> str:
    """Return the id of the n-th organisation."""
    return f"org_{base32(number, 26)}"


def fill(count: int, *, now: datetime | None = None) -> None:
    """Make `count` rows of each table, the n-th of each for the n-th organisation."""
    now = now or clock.now()
    EventCoverage.objects.get_or_create(pk=EventCoverage.ONLY, defaults={"lease_until": now})
    CounterCheck.objects.get_or_create(
        pk=CounterCheck.ONLY, defaults={"checked_at": now, "counters": 1}
    )
    for number in range(count):
        if Organization.objects.filter(org_id=org_id(number)).exists():
            continue
        _customer(number, now)
        _notifications(number, now)
        _use(number, now)
        _access(number, now)
        WebhookEvent.objects.create(
            event_id=f"evt_{number}",
            type="customer.subscription.updated",
            object_id=f"sub_{number}",
            org_id=org_id(number),
            payload={"seen": PAYLOAD},
            correlation_id=f"corr-{number}",
            due_at=now,
            created_at=now,
            received_at=now,
            state=WebhookEvent.State.values[number % 4],
            processed_at=now,
        )


def _export(number: int, now: datetime) -> None:
    maker, _ = User.objects.get_or_create(username="maker", defaults={"is_staff": True})
    Export.objects.create(
        uuid=uuid.UUID(int=number + 1),
        listed="usage.UsageEvent",
        query="q=1",
        maker=maker,
        state=Export.State.DONE,
        created_at=now,
        lease_until=now,
        finished_at=now,
        expires_at=now,
    )


def a_row(model: type[Model]) -> Any:
    """Return a row of the table. Every model has one after `fill(1)`."""
    row = model._default_manager.order_by("pk").last()
    assert row is not None, f"tests/backoffice/rows.py makes no {model._meta.label} yet"
    return row


def _customer(number: int, now: datetime) -> None:
    org = org_id(number)
    Organization.objects.create(
        org_id=org,
        name=f"Customer {number}",
        email=f"owner{number}@customer.example",
        stripe_customer_id=f"cus_{number}",
        created_at=now - timedelta(days=number),
    )
    Entitlement.objects.create(
        org_id=org,
        plan_code="starter",
        status=("active", "trialing", "past_due", "canceled")[number % 4],
        status_since=now,
        allowances={"api_call": {"included": 10_000, "overage": "block"}},
        allowances_since=now,
        anchor_at=now,
        trial_ends_at=now + timedelta(days=14),
        past_due_since=now,
        started_at=now,
        updated_at=now,
    )
    Subscription.objects.create(
        stripe_subscription_id=f"sub_{number}",
        org_id=org,
        stripe_customer_id=f"cus_{number}",
        status="active",
        plan_code="starter",
        created_at=now,
    )
    InvoiceRef.objects.create(
        stripe_invoice_id=f"in_{number}",
        org_id=org,
        stripe_subscription_id=f"sub_{number}",
        status="paid",
        total=1900,
        amount_due=1900,
        currency="usd",
        hosted_invoice_url=f"https://invoice.example/{number}",
        created_at=now,
        updated_at=now,
    )
    UnpricedOverage.objects.create(
        counter_id=number + 1,
        org_id=org,
        metric="api_call",
        period_key="2026-10",
        units=5,
        noted_at=now,
    )
    PlanPrice.objects.create(
        stripe_price_id=f"price_{number}",
        plan_code="starter",
        unit_amount=1900,
        currency="usd",
        interval="month",
        sold_since=now,
    )
    EmailChange.objects.create(
        uuid=uuid.UUID(int=number + 1),
        org_id=org,
        email=f"new{number}@example.com",
        previous_email=f"old{number}@example.com",
        source=EmailChange.Source.STAFF,
        created_at=now,
        confirmed_at=now,
    )
    Statement.objects.create(
        org_id=org,
        period_key="2026-10",
        period_start=now - timedelta(days=60),
        rows={"api_call": {"counted": 7321}},
        digest="d" * 64,
        sealed_at=now,
    )
    operation = Operation.objects.create(
        uuid=uuid.UUID(int=number + 1),
        kind=Operation.Kind.SIGN_UP,
        org_id=org,
        state=Operation.State.DONE,
        request={"seen": SECRET},
        result={"seen": SECRET},
        lease_until=now,
        created_at=now,
        finished_at=now,
        notified_at=now,
    )
    KeyedRequest.objects.create(
        scope=f"admin/quotas/reset:{number}",
        key_hash=f"{SECRET}{number}".encode(),
        body_hash=SECRET.encode(),
        status=200,
        response={"seen": SECRET},
        act_id=uuid.UUID(int=number + 1),
        lease_until=now,
        created_at=now,
    )
    IdempotencyKey.objects.create(
        scope=f"upgrade:{org}",
        key_hash=f"{SECRET}{number}".encode(),
        body_hash=SECRET.encode(),
        operation=operation,
        status=200,
        response={"seen": SECRET},
        created_at=now,
    )


def _notifications(number: int, now: datetime) -> None:
    org = org_id(number)
    NotificationAddress.objects.create(
        uuid=uuid.UUID(int=number + 1),
        org_id=org_id(number),
        email=f"ops{number}@customer.example",
        created_at=now,
        confirmed_at=now,
    )
    NotificationSettings.objects.create(
        org_id=org,
        url="https://hooks.customer.example/metergate",
        emails=[f"ops{number}@customer.example"],
        secret_id=uuid.UUID(int=number + 1),
        updated_at=now,
    )
    notification = Notification.objects.create(
        message_id=f"msg_{number}",
        org_id=org,
        kind=Notification.Kind.PAYMENT_FAILED,
        key=f"payment:{number}",
        data={"orgId": org, "invoiceId": f"in_{number}"},
        happened_at=now,
        created_at=now,
    )
    Delivery.objects.create(
        notification=notification, channel=Delivery.Channel.WEBHOOK, due_at=now, answer=503
    )


def _use(number: int, now: datetime) -> None:
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    org, key = org_id(number), f"{start:%Y-%m}"
    of_counter: dict[str, Any] = {
        "org_id": org,
        "metric": "api_call",
        "period_start": start,
        "period_key": key,
    }
    UsageCounter.objects.create(
        **of_counter,
        period_end=start + timedelta(days=28),
        counted=10_000 if number % 3 == 0 else 7_321,
        included=10_000,
        overage="block",
        access=True,
        valid_until=now,
        created_at=now,
        updated_at=now,
    )
    of_correction = {
        "org_id": org,
        "metric": "api_call",
        "period_start": start,
        "made_by": "staff:1",
        "made_at": now,
    }
    Adjustment.objects.create(**of_correction, units=500, reason="goodwill")
    Forgiveness.objects.create(**of_correction, units=1, reason="outage")
    CounterRepair.objects.create(**of_correction, before={"counted": 1}, after={"counted": 2})
    ThresholdCrossed.objects.create(
        **of_counter, percent=50, units_limit=10_000, used=5_000, crossed_at=now
    )
    ThresholdChoice.objects.create(org_id=org, percents=[75, 90], updated_at=now)
    of_event = {**of_counter, "request_id": f"req-{number}", "value": 1234}
    after = {"used_after": 7321, "remaining_after": 2679, "counter_version": 2}
    UsageEvent.objects.create(**of_event, **after, occurred_at=now, counted_at=now, recorded_at=now)
    UsageVoid.objects.create(
        **of_event, **after, reason="counted by mistake", voided_by="staff:1", voided_at=now
    )
    day = (now - timedelta(days=number)).date()
    DailyUsage.objects.create(org_id=org, metric="api_call", day=day, used=1234, events=1)
    DailyTotal.objects.create(
        metric="api_call", day=day, used=1234, events=1, organisations=1, computed_at=now
    )
    denial = Denial.objects.create(
        org_id=org,
        metric="api_call",
        code="RATE_LIMITED",
        minute=now,
        counter_version=2,
        period_key=key,
        period_start=start,
        period_end=start + timedelta(days=28),
        used=9_999,
        included=10_000,
        count=2345,
        first_at=now,
        first_request_id=f"req-denied-{number}",
        first_correlation_id=f"corr-denied-{number}",
        last_at=now,
    )
    DeniedRequest.objects.create(
        denial=denial,
        at=now,
        value=2,
        door="check",
        decided_by="database",
        request_id=f"req-denied-{number}",
        correlation_id=f"corr-denied-{number}",
    )
    ImportRun.objects.create(
        org_id=org, source=f"access-{number}.log", metric="api_call", created_at=now, read=4321
    )


def _access(number: int, now: datetime) -> None:
    org = org_id(number)
    until = now + timedelta(days=30)
    OrgAccess.objects.create(
        org_id=org, created_at=now, suspended_at=now if number % 5 == 4 else None
    )
    family = TokenFamily.objects.create(
        id=f"fam_{number}",
        org_id=org,
        domain=f"app{number}.customer.example",
        scopes=["usage:write", "entitlements:read"],
        created_at=now,
        expires_at=until,
    )
    hashed = f"{SECRET}-{number}".encode()
    ActivationCode.objects.create(
        code_hash=hashed,
        org_id=org,
        scopes=["usage:write"],
        issued_by="sign-up",
        created_at=now,
        expires_at=until,
        used_at=now,
        family=family,
    )
    RefreshToken.objects.create(family=family, token_hash=hashed, issued_at=now, expires_at=until)
    _export(number, now)
    act = StaffAct.objects.create(
        uuid=uuid.UUID(int=number + 1),
        act="reset-quota",
        org_id=org,
        who="staff:1",
        username="ana",
        reason="outage",
        asked={"metric": SECRET},
        shown=[["api_call: used", "7,321", "0"]],
        at=now,
        request_id=f"req-{number}",
    )
    StaffActEnd.objects.create(act=act, state="done", said="1 counter reset.", at=now)
    PortalLink.objects.create(
        token_hash=hashed,
        org_id=org,
        family_id=family.id,
        made_by=f"installation:{family.id}",
        scopes=["billing:read"],
        created_at=now,
        expires_at=until,
        used_at=now,
        session_hash=hashed,
        session_expires_at=until,
    )
    RecoveryCode.objects.create(
        user=User.objects.get_or_create(username="maker", defaults={"is_staff": True})[0],
        code_hash=hashed,
        created_at=now,
    )
    StaffLogIn.objects.create(
        at=now,
        outcome=StaffLogIn.Outcome.FAILED,
        username=f"ana{number}",
        address="192.0.2.7",
        door=StaffLogIn.Door.PAGE,
    )
    OperatorKey.objects.create(
        key_id=f"opk_{number}",
        name=f"Gateway {number}",
        scopes=["usage:write"],
        secret_hash=hashed,
        previous_secret_hash=hashed,
        created_at=now,
    )
    AuditEntry.objects.create(
        at=now,
        org_id=org,
        what="code_used",
        who="installation",
        family_id=family.id,
        detail={"domain": "customer.example"},
        request_id=f"req-audit-{number}",
        correlation_id=f"corr-audit-{number}",
    )


#: Tables that hold what migrations and the catalogue put there, whatever `fill` does.
GIVEN = {Installation, Plan, Metric, EventCoverage, CounterCheck}
