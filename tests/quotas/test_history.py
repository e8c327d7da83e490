"""A person can read why an entitlement is what it is, and nobody can change that."""

import pytest
import structlog
from django.db import DatabaseError, connection, transaction

from config.contract import clock
from quotas.models import Entitlement
from quotas.rules import Allowance
from quotas.services import grant
from tests.support.cast import Org
from tests.support.database import superuser

pytestmark = pytest.mark.django_db(transaction=True)


def change(org: Org, plan: str, because: str) -> None:
    with transaction.atomic():
        grant(
            org_id=org.id,
            plan_code=plan,
            status="active",
            allowances={"api_call": Allowance(7, "block")},
            because=because,
            now=clock.now(),
            anchor_at=clock.now(),
        )


def test_each_change_of_an_entitlement_says_why_and_under_which_request(org: Org) -> None:
    with structlog.contextvars.bound_contextvars(request_id="q1", correlation_id="c1"):
        change(org, "pro", "customer.subscription.updated evt_1")

    history = list(Entitlement.pgh_event_model.objects.order_by("pgh_id"))  # type: ignore[attr-defined]

    assert [(one.pgh_label, one.plan_code) for one in history] == [
        ("insert", "starter"),
        ("update", "pro"),
    ]
    assert history[1].pgh_context == {
        "why": "customer.subscription.updated evt_1",
        "request_id": "q1",
        "correlation_id": "c1",
    }


def test_a_bulk_update_leaves_a_trace_too(org: Org) -> None:
    Entitlement.objects.filter(org_id=org.id).update(plan_code="pro")

    assert Entitlement.pgh_event_model.objects.count() == 2  # type: ignore[attr-defined]


def test_the_history_cannot_be_changed_by_the_application_or_the_owner(org: Org) -> None:
    with connection.cursor() as cursor, pytest.raises(DatabaseError, match="permission denied"):
        cursor.execute("DELETE FROM quotas_entitlementevent")
    with (
        superuser(str(connection.settings_dict["NAME"])) as admin,
        pytest.raises(Exception, match="Cannot update or delete"),
    ):
        admin.execute("UPDATE quotas_entitlementevent SET plan_code = 'x'")
