"""The owner's one-time code by e-mail: once, whoever sends it, and alive when it arrives."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from smtplib import SMTPRecipientsRefused

import pytest
from django.core import mail as django_mail
from django.core.mail import EmailMessage
from django.core.mail.backends.locmem import EmailBackend
from pytest_django import Settings

from billing import mail, tasks
from billing.models import Operation
from billing.signup import owners_code
from config.contract import clock
from tests.billing.signups import EMAIL, away_broker, sign_up
from tests.sandbox.server import Control
from tests.support.cast import data
from tokens.models import ActivationCode
from tokens.services import activate

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _at_the_sandbox(sandbox: Control) -> None:
    """Every sign-up here goes to a sandbox of its own."""


class RefusingBackend(EmailBackend):
    """A mail server that does not know the first recipient, as far as `refuses` says."""

    refuses = ""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        """Refuse, or keep like the usual backend."""
        for message in messages:
            if self.refuses in message.to:
                raise SMTPRecipientsRefused({self.refuses: (550, b"unknown")})
        return super().send_messages(messages)


@pytest.fixture
def refusing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> type[RefusingBackend]:
    """The mail server refuses the address of BODY."""
    settings.EMAIL_BACKEND = f"{__name__}.RefusingBackend"
    monkeypatch.setattr(RefusingBackend, "refuses", EMAIL)
    return RefusingBackend


def _later(by: timedelta) -> None:
    """Let everything about the sign-ups have happened earlier."""
    for operation in Operation.objects.all():
        assert operation.finished_at is not None
        Operation.objects.filter(pk=operation.pk).update(
            finished_at=operation.finished_at - by, lease_until=operation.lease_until - by
        )
    for code in ActivationCode.objects.all():
        ActivationCode.objects.filter(pk=code.pk).update(
            created_at=code.created_at - by, expires_at=code.expires_at - by
        )


def _sent() -> list[EmailMessage]:
    return list(django_mail.outbox)


def test_the_task_sends_the_code_to_the_owner_once() -> None:
    code = data(sign_up())["activationCode"]
    operation = Operation.objects.get()

    tasks.mail_owner(operation.pk)
    tasks.mail_owner(operation.pk)
    tasks.finish_sign_ups()

    [message] = _sent()
    assert message.to == [EMAIL]
    assert code in message.body
    assert "Acme" in message.body
    assert "within 15 minutes" in message.body
    assert code not in message.subject


def test_the_code_in_the_mail_activates() -> None:
    sign_up()
    operation = Operation.objects.get()

    tasks.mail_owner(operation.pk)

    [message] = _sent()
    code = owners_code(operation)
    assert code in message.body
    assert activate(code=code, domain=None, now=clock.real_now()).access_token


def test_the_sweeper_sends_it_where_the_broker_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    away_broker(monkeypatch)
    sign_up()
    sign_up(email="second@acme.example")

    tasks.finish_sign_ups()
    tasks.finish_sign_ups()

    assert sorted(message.to[0] for message in _sent()) == [EMAIL, "second@acme.example"]


def test_a_name_is_not_taken_for_markup() -> None:
    sign_up(orgName="Fish & <Chips> {{ code }}")

    tasks.mail_owner(Operation.objects.get().pk)

    [message] = _sent()
    assert "Fish & <Chips> {{ code }}" in message.body


def test_nothing_is_sent_before_the_sign_up_is_complete(sandbox: Control) -> None:
    sandbox.fault("error", path="/v1/subscriptions", count=-1)
    sign_up("k1")

    tasks.mail_owner(Operation.objects.get().pk)
    tasks.finish_sign_ups()

    assert not _sent()


def test_a_code_that_was_used_already_is_not_sent() -> None:
    code = data(sign_up())["activationCode"]
    activate(code=code, domain=None, now=clock.real_now())

    tasks.finish_sign_ups()

    assert not _sent()
    assert Operation.objects.get().notified_at is not None


def test_a_code_that_is_sent_late_lives_from_then() -> None:
    sign_up()
    _later(timedelta(hours=2))
    expired = ActivationCode.objects.get().expires_at < clock.real_now()

    tasks.finish_sign_ups()

    [message] = _sent()
    operation = Operation.objects.get()
    assert expired
    assert owners_code(operation) in message.body
    tokens = activate(code=owners_code(operation), domain=None, now=clock.real_now())
    assert tokens.family.org_id == operation.org_id


def test_an_address_that_is_refused_does_not_keep_the_others_waiting(
    refusing: type[RefusingBackend],
) -> None:
    sign_up()
    sign_up(email="second@acme.example")

    tasks.finish_sign_ups()

    [message] = _sent()
    assert message.to == ["second@acme.example"]


def test_a_refused_mail_is_tried_again_at_growing_distances(
    refusing: type[RefusingBackend],
) -> None:
    sign_up()
    tasks.finish_sign_ups()
    after_one = Operation.objects.get()
    _later(timedelta(minutes=10))
    tasks.finish_sign_ups()
    after_two = Operation.objects.get()
    refusing.refuses = ""
    tasks.finish_sign_ups()
    too_early = len(_sent())
    _later(timedelta(minutes=11))

    tasks.finish_sign_ups()

    assert timedelta(seconds=55) < after_one.lease_until - clock.real_now() < timedelta(minutes=1)
    assert after_two.lease_until - after_one.lease_until > timedelta(minutes=8)
    assert (too_early, len(_sent())) == (0, 1)


def test_after_a_day_it_is_not_tried_any_more(
    refusing: type[RefusingBackend], caplog: pytest.LogCaptureFixture
) -> None:
    sign_up()
    _later(timedelta(hours=13))
    tasks.finish_sign_ups()
    refusing.refuses = ""
    _later(timedelta(hours=13))

    tasks.finish_sign_ups()

    assert not _sent()
    assert not mail.untold(now=clock.real_now()).exists()
    assert "owner_never_told" in caplog.text


def test_a_failure_is_logged_without_the_address(
    refusing: type[RefusingBackend], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sign_up()

    tasks.finish_sign_ups()

    logged = "\n".join(f"{record.msg} {record.args}" for record in caplog.records)
    assert "owner_not_told" in logged
    assert EMAIL not in logged


def test_a_worker_that_died_sending_is_followed_by_another() -> None:
    sign_up()
    operation = Operation.objects.get()
    won = mail.untold(now=clock.real_now()).update(
        lease_until=clock.real_now() + timedelta(minutes=1)
    )
    tasks.finish_sign_ups()
    meanwhile = len(_sent())
    _later(timedelta(minutes=2))

    tasks.finish_sign_ups()

    assert won == 1
    assert (meanwhile, len(_sent())) == (0, 1)
    assert operation.pk == Operation.objects.get().pk
