"""Replaying: by whom, what, how often; and seeing first what it would change."""

import json
from collections.abc import Sequence
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client

from billing.models import InvoiceRef, Subscription
from billing.stripe_gateway import StripeGateway
from config.contract import clock
from quotas.models import Entitlement
from tests.races.interleave import by_hand, in_thread, wait_until_blocked
from tests.sandbox.server import Control
from tests.support.cast import Org, data, error
from tests.webhooks.cast import an_event, client, deliver, work_off
from tests.webhooks.lives import Life, expected, known
from tokens import jwt
from tokens.authentication import staff_family
from webhooks.models import WebhookEvent
from webhooks.replay import replay

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/admin/webhooks/replay"


@pytest.fixture
def life(sandbox: Control, gateway: StripeGateway) -> Life:
    """An organisation whose trial became a paid month; every event was processed."""
    made = Life(gateway)
    sandbox.travel(days=15)
    for event in sandbox.events():
        deliver(event)
    work_off()
    return made


def staff(*permissions: str, is_staff: bool = True) -> dict[str, str]:
    """Return the headers of a member of staff who may do these things."""
    user = User.objects.create_user("kim", password="a-long-password-1", is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    token = jwt.mint(
        subject=f"staff:{user.pk}",
        org="*",
        scopes=[],
        domain="",
        family_id=staff_family(user),
        audience="metergate-staff",
        now=clock.real_now(),
    )
    return {"Authorization": f"Bearer {token}"}


def ask(headers: dict[str, str], event_ids: Any) -> Any:
    return client().post(
        PATH,
        json.dumps({"eventIds": event_ids}),
        content_type="application/json",
        headers=headers,
    )


def row(event: Any) -> WebhookEvent:
    return WebhookEvent.objects.get(event_id=event["id"])


def state_of(*lives: Life) -> list[Any]:
    orgs = [life.org_id for life in lives]
    tables = (Subscription, InvoiceRef, Entitlement)
    return [
        sorted(
            (
                {k: v for k, v in one.items() if not k.startswith("fetch_") and k != "updated_at"}
                for one in table.objects.filter(org_id__in=orgs).values()
            ),
            key=lambda one: one["id"],
        )
        for table in tables
    ]


# Over HTTP


def test_staff_replay_handled_waiting_and_unknown_events(life: Life, sandbox: Control) -> None:
    [handled, *_] = sandbox.events(life.id)
    waiting = an_event("invoice.paid", about={"id": "in_1"})
    deliver(waiting)
    before = row(handled)

    answer = data(ask(staff("replay_webhookevent"), [handled["id"], waiting["id"], "evt_nobody"]))

    assert answer == {
        "enqueued": 1,
        "unknown": ["evt_nobody"],
        "alreadyQueued": [waiting["id"]],
    }
    again = row(handled)
    assert (before.state, again.state) == ("processed", "pending")
    assert again.correlation_id != before.correlation_id
    work_off()
    assert row(handled).state == "processed"


def test_each_replayed_event_gets_a_correlation_id_of_its_own(life: Life, sandbox: Control) -> None:
    ids = [event["id"] for event in sandbox.events(life.id)]

    assert data(ask(staff("replay_webhookevent"), ids))["enqueued"] == len(ids)

    found = WebhookEvent.objects.filter(event_id__in=ids)
    assert len(set(found.values_list("correlation_id", flat=True))) == len(ids)


def test_replaying_changes_nothing_where_nothing_was_wrong(life: Life, sandbox: Control) -> None:
    ids = [event["id"] for event in sandbox.events()]
    before = state_of(life)

    for _ in range(2):
        replay([*ids, *ids], by="test")
        work_off()

    assert state_of(life) == before
    assert len(sandbox.events()) == len(ids)


def test_nobody_replays_without_being_staff_with_the_permission(life: Life, org: Org) -> None:
    ids = ["evt_1"]
    anonymous = ask({}, ids)
    customer = ask(org.headers(), ids)
    unprivileged = ask(staff("view_webhookevent"), ids)

    assert (anonymous.status_code, error(anonymous)["code"]) == (401, "UNAUTHENTICATED")
    assert customer.status_code == 401
    assert (unprivileged.status_code, error(unprivileged)["code"]) == (403, "FORBIDDEN")


def test_a_session_of_staff_needs_its_csrf_token() -> None:
    staff("replay_webhookevent")
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.get(username="kim"))

    response = browser.post(
        PATH, json.dumps({"eventIds": ["evt_1"]}), content_type="application/json"
    )

    assert response.status_code == 403


@pytest.mark.parametrize(
    "event_ids",
    [None, "evt_1", [], [1], [""], ["e" * 256], [f"evt_{n}" for n in range(501)]],
    ids=["none", "text", "empty", "numbers", "empty id", "long id", "501"],
)
def test_what_is_no_list_of_ids_is_400(event_ids: Any) -> None:
    response = ask(staff("replay_webhookevent"), event_ids)

    assert response.status_code == 400
    assert any("eventIds" in path for path in error(response)["details"]["fields"])


def test_five_hundred_are_taken() -> None:
    ids = [f"evt_{n}" for n in range(500)]

    assert data(ask(staff("replay_webhookevent"), ids))["unknown"] == ids


def test_what_was_refused_at_the_door_stays_refused(sandbox: Control) -> None:
    event = an_event("customer.subscription.deleted", about={"id": "sub_1"}, livemode=True)
    deliver(event)

    replay([event["id"]], by="test")
    work_off()

    assert (row(event).state, row(event).refused) == ("ignored", "livemode")
    assert not Subscription.objects.exists()


def test_a_waiting_event_that_was_due_before_keeps_its_turn(life: Life) -> None:
    event = WebhookEvent.objects.filter(state="processed").first()
    assert event is not None
    long_ago = clock.real_now() - timedelta(hours=1)
    WebhookEvent.objects.filter(pk=event.pk).update(state="pending", due_at=long_ago)

    assert replay([event.event_id], by="test").already_queued == [event.event_id]

    event.refresh_from_db()
    assert event.due_at == long_ago


def test_a_replay_waits_for_the_worker_that_is_just_settling_the_event(life: Life) -> None:
    event = WebhookEvent.objects.filter(state="processed").first()
    assert event is not None
    WebhookEvent.objects.filter(pk=event.pk).update(state="pending")
    with by_hand() as worker:
        worker.execute(
            "UPDATE webhooks_webhookevent SET state = 'processed' WHERE id = %s", (event.pk,)
        )

        replaying = in_thread(lambda: replay([event.event_id], by="test"))
        wait_until_blocked()
        worker.commit()

    assert replaying.result(5).enqueued == 1


def test_a_waiting_event_that_is_replayed_is_due_now(sandbox: Control) -> None:
    event = an_event("invoice.paid", about={"id": "in_1"})
    deliver(event)
    WebhookEvent.objects.update(due_at="2100-01-01T00:00:00Z", attempts=3)

    replay([event["id"]], by="test")

    assert work_off() == 1


# From the command line


def command(name: str, *arguments: str) -> tuple[int, str]:
    """Run a command; return its exit code and what it printed."""
    out = StringIO()
    try:
        call_command(name, *arguments, stdout=out)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return 0, out.getvalue()


def test_the_command_chooses_by_id_state_type_organisation_and_time(
    life: Life, sandbox: Control
) -> None:
    total = WebhookEvent.objects.count()

    def fit(**conditions: str) -> int:
        return WebhookEvent.objects.filter(**conditions).count()

    def queued(*arguments: str) -> int:
        code, said = command("replay_webhooks", *arguments)
        assert code == 0, said
        work_off()
        return int(said.split(" queued")[0].split()[-1])

    assert queued("--all") == total
    assert queued("--type", "invoice.paid") == fit(type="invoice.paid") > 0
    assert queued("--org", life.org_id) == fit(org_id=life.org_id) > 0
    assert queued("--state", "ignored", "--state", "processed") == total
    assert queued("--since", "2020-01-01T00:00:00Z", "--until", "2020-02-01T00:00:00Z") == 0
    assert queued("--since", "2020-01-01T00:00:00Z") == total
    assert queued(sandbox.events(life.id)[0]["id"]) == 1


def test_the_command_names_what_it_does_not_know(life: Life) -> None:
    assert command("replay_webhooks", "evt_nobody") == (
        1,
        "unknown: evt_nobody\n0 queued, 0 were waiting, 1 unknown\n",
    )


@pytest.mark.parametrize("arguments", [(), ("--all", "--type", "x"), ("--since", "yesterday")])
def test_the_command_wants_to_be_told_which(arguments: Sequence[str]) -> None:
    with pytest.raises(CommandError):
        call_command("replay_webhooks", *arguments)


def test_a_dry_run_of_the_whole_history_shows_no_difference_and_writes_nothing(
    life: Life, sandbox: Control
) -> None:
    before = state_of(life), list(WebhookEvent.objects.order_by("pk").values())
    numbers = list(Subscription.objects.values_list("fetch_requested", flat=True))

    code, said = command("replay_webhooks", "--all", "--dry-run")

    assert (code, said.splitlines()[-1]) == (
        0,
        f"{WebhookEvent.objects.count()} events, 0 differences",
    )
    assert before == (state_of(life), list(WebhookEvent.objects.order_by("pk").values()))
    assert numbers == list(Subscription.objects.values_list("fetch_requested", flat=True))


def test_after_a_broken_handler_a_dry_run_shows_exactly_the_wrong_fields(
    life: Life, sandbox: Control, gateway: StripeGateway
) -> None:
    healthy = Life(gateway)
    deliver(sandbox.events(healthy.id)[0])
    work_off()
    invoice = InvoiceRef.objects.get(org_id=life.org_id, total=1900)
    InvoiceRef.objects.filter(pk=invoice.pk).update(status="open")
    Subscription.objects.filter(org_id=life.org_id).update(plan_code="pro")
    Entitlement.objects.filter(org_id=life.org_id).update(plan_code="pro")

    code, said = command("replay_webhooks", "--all", "--dry-run")

    assert code == 1
    assert said.splitlines() == [
        life.org_id,
        f"  entitlement {life.org_id} plan_code: pro -> starter",
        f"  invoice {invoice.stripe_invoice_id} status: open -> paid",
        f"  subscription {life.id} plan_code: pro -> starter",
        f"{WebhookEvent.objects.count()} events, 3 differences",
    ]
    assert Entitlement.objects.get(org_id=life.org_id).plan_code == "pro"
    command("replay_webhooks", "--all")
    work_off()
    assert known(life.id) == expected(sandbox, life.id)


def test_a_dry_run_shows_a_card_to_nobody(
    sandbox: Control, gateway: StripeGateway, life: Life
) -> None:
    intent = gateway.create_setup_intent(
        customer_id=life.subscriber.customer_id, idempotency_key="s"
    )
    gateway.confirm_setup_intent(
        setup_intent_id=intent["id"],
        payment_method_id="pm_card_mastercard",
        return_url="http://localhost/",
        idempotency_key="c",
    )
    deliver(sandbox.events(intent["id"])[-1])
    before = sandbox.show(life.subscriber.customer_id)

    command("replay_webhooks", "--state", "pending", "--dry-run")

    assert sandbox.show(life.subscriber.customer_id) == before
