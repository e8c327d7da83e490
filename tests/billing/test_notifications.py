"""Owners are told: by e-mail and by a signed webhook, at least once, under one id."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from billing import tasks
from billing.notifications import announcing, deliveries, posting, signing
from billing.notifications.models import (
    Delivery,
    Notification,
    NotificationAddress,
    NotificationSettings,
)
from config.contract import clock
from config.contract.errors import NotFound
from quotas.crossings import ThresholdCrossed
from quotas.models import Entitlement
from tests.billing.receiver import Receiver, receiving
from tests.support.cast import Org, data, make_org
from tests.support.live import ROOT, database_url

pytestmark = pytest.mark.django_db(transaction=True)

Channel, State = Delivery.Channel, Delivery.State


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A customer's server on loopback."""
    with receiving() as listening:
        yield listening


def put(org: Org, **body: Any) -> Any:
    return org.client.put(
        "/api/notifications",
        {"orgId": org.id, **body},
        content_type="application/json",
        headers=org.headers(),
    )


def tell(org: Org, receiver: Receiver, **body: Any) -> str:
    """Have the organisation told at the receiver alone; return the secret."""
    return str(data(put(org, url=receiver.url, emails=[], **body))["secret"])


def told() -> None:
    """Do what beat has done every five seconds."""
    tasks.announce_crossings()
    tasks.deliver_notifications()


def webhook() -> Delivery:
    return Delivery.objects.select_related("notification").get(channel=Channel.WEBHOOK)


def later() -> None:
    """Let the next attempt be due."""
    Delivery.objects.filter(state=State.WAITING).update(due_at=clock.real_now())


def test_a_crossed_threshold_arrives_signed(org: Org, receiver: Receiver) -> None:
    secret = tell(org, receiver)
    org.use(5_000)

    told()

    [got] = receiver.got
    crossed = ThresholdCrossed.objects.get()
    assert got.is_signed_with(secret)
    assert got.path == "/hooks?of=acme"
    assert got.headers["content-type"] == "application/json"
    assert got.body == {
        "type": "threshold.crossed",
        "timestamp": crossed.crossed_at.isoformat().replace("+00:00", "Z"),
        "data": {
            "orgId": org.id,
            "metric": "api_call",
            "periodKey": f"{clock.now():%Y-%m}",
            "threshold": 50,
            "includedUnits": 10_000,
            "used": 5_000,
        },
    }
    assert (webhook().state, webhook().answer) == (State.DONE, 204)
    assert crossed.told_at is not None


def test_a_signature_is_the_one_that_the_standard_publishes() -> None:
    made = signing.headers(
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at=datetime.fromtimestamp(1614265330, UTC),
        body=b'{"test": 2432232314}',
        secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )

    assert made["webhook-timestamp"] == "1614265330"
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_another_secret_does_not_verify(org: Org, receiver: Receiver) -> None:
    tell(org, receiver)
    org.use(5_000)

    told()

    assert not receiver.got[0].is_signed_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def test_the_owner_is_told_by_mail_where_nothing_was_set_up(org: Org) -> None:
    org.use(5_000)

    told()

    [message] = mail.outbox
    assert message.to == ["owner@acme.example"]
    assert message.subject == "50% used: API calls"
    assert "Acme has reached 50% of its quota" in message.body
    assert "Used      5,000" in message.body
    assert "Included  10,000" in message.body


def test_of_what_is_crossed_at_one_stroke_the_highest_is_mailed_and_each_is_posted(
    org: Org, receiver: Receiver
) -> None:
    put(org, url=receiver.url)

    org.use(8_000)
    org.use(2_000)
    told()

    subjects = sorted(message.subject for message in mail.outbox)
    assert subjects == ["100% used: API calls", "80% used: API calls"]
    assert sorted(got.body["data"]["threshold"] for got in receiver.got) == [50, 80, 100]


def test_nothing_is_told_twice(org: Org, receiver: Receiver) -> None:
    tell(org, receiver)
    org.use(5_000)

    told()
    told()

    assert len(receiver.got) == Notification.objects.count() == 1


def test_each_address_is_told_by_a_mail_of_its_own(org: Org) -> None:
    put(org, emails=["a@acme.example", "b@acme.example"])
    NotificationAddress.objects.update(confirmed_at=clock.real_now())
    org.use(5_000)

    told()

    assert sorted(message.to[0] for message in mail.outbox) == ["a@acme.example", "b@acme.example"]


def test_a_receiver_that_fails_is_asked_again_at_growing_distances(
    org: Org, receiver: Receiver
) -> None:
    secret = tell(org, receiver)
    org.use(5_000)
    receiver.answer(500, 302, 200)
    waits = []

    told()
    for _ in range(2):
        waits.append(webhook().due_at - clock.real_now())
        later()
        told()

    assert timedelta(seconds=4) < waits[0] < timedelta(seconds=6)
    assert timedelta(minutes=4) < waits[1] < timedelta(minutes=6)
    assert (webhook().state, webhook().attempts) == (State.DONE, 3)
    assert len(set(receiver.ids)) == 1
    assert len({got.raw for got in receiver.got}) == 1
    assert all(got.is_signed_with(secret) for got in receiver.got)


def test_a_redirect_is_not_followed(org: Org, receiver: Receiver) -> None:
    tell(org, receiver)
    org.use(5_000)
    receiver.answer(307, Location=receiver.url)

    told()

    assert len(receiver.got) == 1
    assert (webhook().state, webhook().error) == (State.WAITING, "http_307")


def test_a_receiver_may_ask_for_time(org: Org, receiver: Receiver) -> None:
    tell(org, receiver)
    org.use(5_000)
    receiver.answer(503, Retry_After="3600")

    told()

    assert webhook().due_at - clock.real_now() > timedelta(minutes=59)


def test_after_the_last_attempt_it_is_given_up(
    org: Org, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    tell(org, receiver)
    org.use(5_000)
    receiver.answer(*[500] * 20)

    told()
    for _ in range(len(deliveries.WAITS) + 3):
        later()
        told()

    assert len(receiver.got) == len(deliveries.WAITS) + 1
    assert (webhook().state, webhook().error) == (State.FAILED, "http_500")
    assert "notification_given_up" in caplog.text


def test_a_receiver_that_is_gone_is_left_alone(org: Org, receiver: Receiver) -> None:
    tell(org, receiver)
    org.use(5_000)
    receiver.answer(410)

    told()

    assert webhook().state == State.FAILED


def test_a_url_that_was_taken_back_is_not_called(org: Org, receiver: Receiver) -> None:
    tell(org, receiver)
    org.use(5_000)
    tasks.announce_crossings()

    put(org, emails=[])
    told()

    assert receiver.got == []
    assert (webhook().state, webhook().error) == (State.FAILED, "no_url")


_SWEEP = "import django; django.setup(); from billing import tasks; tasks.deliver_notifications()"


def test_a_worker_that_was_killed_before_it_noted_is_followed_by_another(
    org: Org, receiver: Receiver
) -> None:
    secret = tell(org, receiver)
    org.use(5_000)
    tasks.announce_crossings()
    env = {**os.environ, "DATABASE_URL": database_url(), "PROCESS_ROLE": "worker"}
    sweep = [sys.executable, "-c", _SWEEP]
    with subprocess.Popen(sweep, cwd=ROOT, env=env) as worker:  # noqa: S603 - our own command
        receiver.next_time = worker.kill
        ended = worker.wait(60)

    tasks.deliver_notifications()
    while_leased = len(receiver.got)
    later()
    tasks.deliver_notifications()

    assert ended == -signal.SIGKILL
    assert while_leased == 1
    assert len(receiver.got) == 2
    assert len(set(receiver.ids)) == 1
    assert all(got.is_signed_with(secret) for got in receiver.got)
    assert (webhook().state, webhook().attempts) == (State.DONE, 2)


def test_what_a_worker_notes_too_late_changes_nothing(org: Org, receiver: Receiver) -> None:
    tell(org, receiver)
    org.use(5_000)
    tasks.announce_crossings()
    [slow] = deliveries._claim(now=clock.real_now())
    later()
    tasks.deliver_notifications()

    deliveries.note(slow, posting.Answered(status=500), now=clock.real_now())

    assert (webhook().state, webhook().answer) == (State.DONE, 204)


def test_nor_does_it_take_the_attempt_from_who_is_at_it_now(org: Org, receiver: Receiver) -> None:
    tell(org, receiver)
    org.use(5_000)
    tasks.announce_crossings()
    [slow] = deliveries._claim(now=clock.real_now())
    later()
    [_] = deliveries._claim(now=clock.real_now())
    before = webhook()

    deliveries.note(slow, posting.Answered(status=500), now=clock.real_now())

    after = webhook()
    assert (after.state, after.due_at, after.answer) == (State.WAITING, before.due_at, None)


def test_two_sweeps_at_once_send_each_once(receiver: Receiver) -> None:
    orgs = [make_org() for _ in range(12)]
    for org in orgs:
        tell(org, receiver)
        org.use(5_000)
    tasks.announce_crossings()
    start = threading.Barrier(2)

    def sweep() -> None:
        start.wait()
        tasks.deliver_notifications()
        connection.close()

    sweepers = [threading.Thread(target=sweep) for _ in range(2)]
    for one in sweepers:
        one.start()
    for one in sweepers:
        one.join()

    assert len(receiver.ids) == len(set(receiver.ids)) == 12
    assert set(Delivery.objects.values_list("state", "attempts")) == {(State.DONE, 1)}


def test_one_slow_organisation_does_not_take_all_places(receiver: Receiver) -> None:
    busy, quiet = make_org(), make_org()
    tell(busy, receiver, thresholds=list(range(10, 20)))
    tell(quiet, receiver)
    busy.use(2_000)
    quiet.use(5_000)
    tasks.announce_crossings()

    claimed = deliveries._claim(now=clock.real_now())

    assert sorted(one.notification.org_id for one in claimed) == sorted(
        [busy.id, busy.id, quiet.id]
    )


def test_the_secret_is_shown_once(org: Org, receiver: Receiver) -> None:
    first = put(org, url=receiver.url)
    again = put(org, url=receiver.url)

    assert data(first)["secret"].startswith("whsec_")
    assert first.headers["Cache-Control"] == "no-store"
    assert "secret" not in data(again)
    assert "secret" not in data(org.get("/api/notifications"))


def test_a_secret_that_was_replaced_signs_for_another_day(org: Org, receiver: Receiver) -> None:
    old = tell(org, receiver)
    new = data(org.post("/api/notifications/secret", {"orgId": org.id}))["secret"]

    org.use(5_000)
    told()
    NotificationSettings.objects.update(previous_until=clock.real_now())
    org.use(3_000)
    told()

    first, second = receiver.got
    assert old != new
    assert first.is_signed_with(old)
    assert first.is_signed_with(new)
    assert not second.is_signed_with(old)
    assert second.is_signed_with(new)


def test_no_secret_is_stored(org: Org, receiver: Receiver) -> None:
    secret = tell(org, receiver)

    stored = NotificationSettings.objects.values_list().get()

    assert secret not in str(stored)


def test_there_is_no_secret_to_rotate_before_there_is_a_url(org: Org) -> None:
    assert org.post("/api/notifications/secret", {"orgId": org.id}).status_code == 404


def test_what_is_left_out_goes_back_to_its_default(org: Org, receiver: Receiver) -> None:
    put(org, url=receiver.url, emails=["a@acme.example"], thresholds=[90, 10, 10])
    chosen = data(org.get("/api/notifications"))

    put(org)

    assert chosen == {
        "url": receiver.url,
        "emails": ["a@acme.example"],
        "thresholds": [10, 90],
    }
    assert data(org.get("/api/notifications")) == {
        "url": None,
        "emails": ["owner@acme.example"],
        "thresholds": [50, 80, 100],
    }


def test_what_is_not_valid_changes_nothing(org: Org, receiver: Receiver) -> None:
    put(org, url=receiver.url, thresholds=[70])

    refused = put(org, url="ftp://acme.example", emails=["nobody"], thresholds=[10])

    assert refused.status_code == 400
    assert set(refused.json()["error"]["details"]["fields"]) == {"url", "emails.0"}
    assert data(org.get("/api/notifications"))["thresholds"] == [70]


def test_a_trial_that_ends_soon_is_announced_once(transactional_db: None) -> None:
    now = clock.now()
    soon = make_org(status="trialing", trial_ends_at=now + timedelta(days=2))
    make_org(status="trialing", trial_ends_at=now + timedelta(days=5))
    make_org(status="active")

    tasks.announce_trial_ends()
    tasks.announce_trial_ends()
    told()

    [notification] = Notification.objects.all()
    [message] = mail.outbox
    assert notification.org_id == soon.id
    assert notification.kind == "trial.ending"
    assert message.subject == "Your trial is about to end"
    assert f"{now + timedelta(days=2):%Y, %H:%M} UTC" in message.body


def test_a_trial_that_was_prolonged_is_announced_again(transactional_db: None) -> None:
    org = make_org(status="trialing", trial_ends_at=clock.now() + timedelta(days=2))
    announcing.announce_trial_ends(now=clock.now())

    Entitlement.objects.filter(org_id=org.id).update(trial_ends_at=clock.now() + timedelta(days=9))
    announcing.announce_trial_ends(now=clock.now() + timedelta(days=7))

    assert Notification.objects.count() == 2


def test_what_was_sent_can_be_sent_again_under_its_id(org: Org, receiver: Receiver) -> None:
    tell(org, receiver)
    org.use(5_000)
    told()

    deliveries.resend(webhook().pk, now=clock.real_now())
    told()

    assert len(receiver.got) == 2
    assert len(set(receiver.ids)) == 1


def test_the_command_lists_and_resends(
    org: Org, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(org, receiver)
    org.use(5_000)
    receiver.answer(410)
    told()

    call_command("notifications", "list", "--org", org.id, "--state", "failed")
    listed = capsys.readouterr().out
    call_command("notifications", "resend", str(webhook().pk))
    told()

    assert webhook().notification.message_id in listed
    assert "threshold.crossed" in listed
    assert webhook().state == State.DONE
    with pytest.raises(CommandError):
        call_command("notifications", "resend", "999999999")


def test_what_does_not_exist_is_not_resent(transactional_db: None) -> None:
    with pytest.raises(NotFound):
        deliveries.resend(1, now=clock.real_now())


def test_no_line_of_the_log_says_where_it_went(
    org: Org, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = str(data(put(org, url=receiver.url, emails=["canary@acme.example"]))["secret"])
    org.use(8_000)
    receiver.answer(500, 410)

    told()

    logged = "\n".join(f"{record.msg} {record.args}" for record in caplog.records)
    assert "notification_given_up" in logged
    for canary in ("canary@", receiver.url, "/hooks", secret, "127.0.0.1"):
        assert canary not in logged
