"""Do Stripe, the mirror and the entitlement agree, and what is done where they do not?"""

import pytest
from django.core.management import CommandError, call_command

from billing.models import InvoiceRef, Organization, Subscription
from billing.stripe_gateway import StripeGateway
from config.contract.clients import clients
from quotas.models import Entitlement
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import Control
from tests.support.cast import make_org
from tests.webhooks.between import Between
from tests.webhooks.cast import an_event, deliver, work_off
from tests.webhooks.lives import Life, expected, invoices_at_stripe, invoices_known, known
from tests.webhooks.test_claims import put_on_unknown_price
from tests.webhooks.test_replay import command
from webhooks import tasks
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def life(sandbox: Control, gateway: StripeGateway) -> Life:
    """An organisation whose trial became a paid month; every event was processed."""
    made = Life(gateway)
    sandbox.travel(days=15)
    for event in sandbox.events():
        deliver(event)
    work_off()
    return made


def kinds(said: str) -> list[str]:
    """Return the classes of the findings printed, in order."""
    return [line.split()[1] for line in said.splitlines()[:-1]]


def test_where_all_agrees_nothing_is_found_and_the_exit_code_says_so(life: Life) -> None:
    assert command("reconcile_stripe") == (0, "1 compared, 0 repaired, 0 left to look at\n")


def test_a_missed_change_is_found_named_and_left_alone_until_asked_to_mend_it(
    life: Life, sandbox: Control
) -> None:
    life.subscriber.change(life.subscription, "pro")

    code, said = command("reconcile_stripe", "--org", life.org_id)
    as_it_was = known(life.id)["plan_code"]
    mended, says = command("reconcile_stripe", "--org", life.org_id, "--apply")

    assert (code, as_it_was) == (1, "starter")
    assert sorted(kinds(said)) == ["entitlement_differs", "mirror_differs", "missing_invoice"]
    assert "plan_code starter -> pro" in said
    assert mended == 0
    assert says.splitlines()[-1] == "1 compared, 3 repaired, 0 left to look at"
    assert known(life.id) == expected(sandbox, life.id)
    assert invoices_known({life.org_id}) == invoices_at_stripe(sandbox, {life.org_id})
    assert command("reconcile_stripe")[0] == 0


def test_a_subscription_never_heard_of_is_taken_over(
    sandbox: Control, gateway: StripeGateway
) -> None:
    life = Life(gateway)

    code, said = command("reconcile_stripe", "--apply")

    assert code == 0
    assert set(kinds(said)) == {"missing_mirror", "missing_invoice", "entitlement_differs"}
    assert known(life.id) == expected(sandbox, life.id)


def test_an_entitlement_that_says_something_else_than_the_subscriptions_is_mended(
    life: Life,
) -> None:
    Entitlement.objects.filter(org_id=life.org_id).update(plan_code="business")

    code, said = command("reconcile_stripe", "--apply")

    assert (code, kinds(said)) == (0, ["entitlement_differs"])
    assert Entitlement.objects.get(org_id=life.org_id).plan_code == "starter"


def test_a_subscription_that_ended_unheard_is_ended(
    life: Life, gateway: StripeGateway, sandbox: Control
) -> None:
    gateway.cancel_subscription(subscription_id=life.id)

    code, said = command("reconcile_stripe", "--apply")

    assert code == 0
    assert {"mirror_differs", "entitlement_differs"} <= set(kinds(said))
    assert known(life.id)["entitled"] == ("canceled", "starter")


def test_an_invoice_that_says_something_else_is_mended(life: Life) -> None:
    InvoiceRef.objects.filter(org_id=life.org_id, total=1900).update(status="open")

    assert command("reconcile_stripe", "--apply")[0] == 0

    assert InvoiceRef.objects.get(org_id=life.org_id, total=1900).status == "paid"


def test_what_is_not_safe_to_mend_is_listed_and_left(
    life: Life, sandbox: Control, gateway: StripeGateway
) -> None:
    twice, odd, gone = Life(gateway), Life(gateway), Life(gateway)
    command("reconcile_stripe", "--apply")
    twice.subscriber.subscribe_now("pro")
    put_on_unknown_price(gateway, odd)
    gone.subscriber.delete_customer()
    free = make_org()
    Organization.objects.filter(org_id=free.id).update(
        stripe_customer_id=gateway.ensure_customer(
            org_id=free.id, email="f@f.example", name="F", idempotency_key="free"
        )
    )
    Subscription.objects.filter(org_id=life.org_id).update(status="canceled")
    deliver(an_event("invoice.paid", about={"id": "in_1"}))
    WebhookEvent.objects.filter(object_id="in_1").update(state="parked", error="KeyError")

    code, said = command("reconcile_stripe", "--apply")

    found = {
        (line.split()[0], line.split()[1])
        for line in said.splitlines()
        if not line.endswith("repaired") and ":" in line
    }
    assert code == 1
    assert found >= {
        (twice.org_id, "several_subscriptions"),
        (odd.org_id, "unknown_price"),
        (gone.org_id, "customer_gone"),
        (free.id, "access_without_subscription"),
        (life.org_id, "revived"),
        ("-", "parked_event"),
    }
    # The subscription of the deleted customer was safe to end.
    assert known(gone.id)["entitled"] == ("canceled", "starter")


def test_a_customer_that_names_another_organisation_is_listed(
    life: Life, gateway: StripeGateway
) -> None:
    gateway.ensure_customer(
        org_id="org_other",
        email="x@x.example",
        name="X",
        customer_id=life.subscriber.customer_id,
        idempotency_key="k",
    )

    code, said = command("reconcile_stripe")

    assert (code, kinds(said)) == (1, ["customer_of_another"])


def test_a_subscription_of_nobodys_customer_is_listed(
    sandbox: Control, gateway: StripeGateway
) -> None:
    made = Subscriber(gateway).subscribe_now("pro")
    deliver(sandbox.events(made["id"])[0])
    work_off()

    code, said = command("reconcile_stripe")

    assert (code, kinds(said)) == (1, ["unlinked_subscription"])


def test_a_change_met_on_its_way_is_no_difference(
    life: Life, sandbox: Control, gateway: StripeGateway
) -> None:
    life.subscriber.change(life.subscription, "pro")

    def its_events_arrive() -> None:
        with clients.swapped("stripe", gateway):
            for event in sandbox.events():
                deliver(event)
            work_off()

    # While the second look is on its way to Stripe.
    slow = Between(gateway, "retrieve_customer", its_events_arrive, after=1)
    with clients.swapped("stripe", slow):
        code, said = command("reconcile_stripe")

    assert (code, kinds(said)) == (0, [])


def test_what_stripe_did_not_answer_is_said_and_the_rest_is_compared(
    life: Life, sandbox: Control, gateway: StripeGateway
) -> None:
    other = Life(gateway)
    sandbox.fault("error", path=f"/v1/customers/{life.subscriber.customer_id}")

    code, said = command("reconcile_stripe")

    assert code == 1
    assert f"{life.org_id} could not be compared: STRIPE_ERROR" in said
    assert f"{other.org_id} missing_mirror" in said


def test_the_daily_run_mends_what_is_safe(life: Life, sandbox: Control) -> None:
    life.subscriber.change(life.subscription, "pro")

    tasks.reconcile()

    assert known(life.id) == expected(sandbox, life.id)


def test_an_unknown_organisation_is_said_to_be_unknown() -> None:
    with pytest.raises(CommandError, match="no such organisation"):
        call_command("reconcile_stripe", "--org", "org_nobody")
