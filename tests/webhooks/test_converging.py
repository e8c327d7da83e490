"""From an event at the door to the state of the organisation."""

import pytest

from billing.models import InvoiceRef, Subscription
from quotas.models import Entitlement
from tests.sandbox.server import Control
from tests.support.cast import Org, data
from tests.webhooks.cast import deliver, mirror, news, sign_up, work_off
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner(sandbox: Control) -> Org:
    """The owner of an organisation that just signed up: trialing on starter, with a card."""
    return sign_up()


def test_a_trial_that_became_a_paid_month_is_known_from_its_events(
    owner: Org, sandbox: Control
) -> None:
    before = len(sandbox.events())
    sandbox.travel(days=15)

    for event in news(sandbox, since=before):
        deliver(event)
    work_off()

    [invoice] = [one for one in sandbox.objects("invoice") if one["amount_paid"]]
    assert data(owner.get("/api/me/entitlements"))["status"] == "active"
    assert mirror(owner).status == "active"
    ref = InvoiceRef.objects.get(stripe_invoice_id=invoice["id"])
    assert (ref.org_id, ref.status, ref.total) == (owner.id, "paid", 1900)
    states = set(WebhookEvent.objects.values_list("state", flat=True))
    assert states == {"processed", "ignored"}
    assert set(
        WebhookEvent.objects.filter(
            state="processed", object_id=mirror(owner).stripe_subscription_id
        ).values_list("org_id", flat=True)
    ) == {owner.id}
    assert Entitlement.objects.get(org_id=owner.id).status_because.startswith(
        "customer.subscription"
    )


def test_a_person_can_read_which_event_a_change_is_owed_to(owner: Org, sandbox: Control) -> None:
    before = len(sandbox.events())
    sandbox.travel(days=15)
    [paid] = [one for one in news(sandbox, since=before) if one["type"] == "invoice.paid"]

    deliver(paid, **{"x-correlation-id": "corr-7"})
    work_off()

    because = {"why": f"invoice.paid {paid['id']}", "correlation_id": "corr-7"}
    for table in (InvoiceRef, Subscription, Entitlement):
        changes = table.pgh_event_model.objects.filter(org_id=owner.id)  # type: ignore[union-attr]
        assert because.items() <= changes.latest("pgh_id").pgh_context.items()
