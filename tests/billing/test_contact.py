"""An organisation's name and e-mail change: by its owner, by what Stripe says, and how."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.db import transaction
from django.test import Client

from billing import tasks
from billing.contact import following, rules, services
from billing.contact.models import EmailChange
from billing.models import Operation, Organization
from billing.stripe_gateway import StripeGateway
from config.contract import clock
from config.contract.clients import clients
from tests.sandbox.money import Desk
from tests.sandbox.server import Control
from tests.support.cast import Org, data
from tests.webhooks.between import Between
from tests.webhooks.cast import deliver, news, sign_up, work_off
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "org_names.jsonl"
OLD, NEW = "owner@acme.example", "billing@acme.example"


@pytest.fixture
def owner(sandbox: Control) -> Org:
    """Somebody who signed up; every event of it was worked on, every mail is read."""
    owner = sign_up()
    hear(sandbox)
    mail.outbox.clear()
    return owner


def hear(sandbox: Control, since: int = 0) -> None:
    for event in news(sandbox, since=since):
        deliver(event)
    work_off()


def patch(owner: Org, /, *, key: str | None = None, **fields: Any) -> Any:
    headers = owner.headers(**({"Idempotency-Key": key} if key else {}))
    body = json.dumps({"orgId": owner.id, **fields})
    return owner.client.patch("/api/me", body, content_type="application/json", headers=headers)


def row(owner: Org) -> Organization:
    return Organization.objects.get(org_id=owner.id)


def at_stripe(owner: Org, sandbox: Control) -> tuple[str, str]:
    customer = sandbox.show(row(owner).stripe_customer_id)
    return customer["name"], customer["email"]


def mailed() -> list[tuple[str, str]]:
    """Send what is due, and return to whom what went."""
    tasks.mail_contacts()
    return sorted((one.to[0], str(one.subject)) for one in mail.outbox)


def link() -> str:
    """Return the path of the link that was mailed last."""
    tasks.mail_contacts()
    [path] = re.findall(r"/portal/email/\S+", f"{mail.outbox[-1].body}{mail.outbox[0].body}")[:1]
    return str(path)


def press(path: str, browser: Client | None = None) -> Any:
    """Open the link and press its button, as a browser does."""
    browser = browser or Client()
    page = browser.get(path)
    if page.status_code != 200:
        return page
    [token] = re.findall(r'name="form_token" value="([^"]+)"', page.content.decode())
    return browser.post(path, {"form_token": token})


# By its owner


def test_a_name_changes_at_once_and_stripes_customer_follows(owner: Org, sandbox: Control) -> None:
    answer = data(patch(owner, orgName="  Acme & Söhne  "))
    tasks.follow_contacts()

    assert answer == {"orgId": owner.id, "orgName": "Acme & Söhne", "email": OLD}
    assert at_stripe(owner, sandbox) == ("Acme & Söhne", OLD)


def test_a_new_address_takes_effect_when_its_link_is_opened_and_the_old_one_is_told(
    owner: Org, sandbox: Control
) -> None:
    answer = data(patch(owner, email=NEW))
    assert (answer["email"], answer["emailPending"]) == (OLD, NEW)
    assert [to for to, _ in mailed()] == [NEW, OLD]
    assert row(owner).email == OLD

    done = press(link())
    tasks.follow_contacts()

    assert done.status_code == 200
    assert row(owner).email == NEW
    assert at_stripe(owner, sandbox)[1] == NEW
    assert (OLD, "Your e-mail address was changed") in mailed()
    assert data(patch(owner)) == {"orgId": owner.id, "orgName": "Acme", "email": NEW}


def test_looking_at_the_link_uses_nothing_up_and_its_button_works_once(owner: Org) -> None:
    patch(owner, email=NEW)
    path = link()

    looks = [Client().get(path).status_code for _ in range(3)]
    forged = Client().post(path)
    first, again = press(path), press(path)

    assert looks == [200] * 3
    assert forged.status_code == 403
    assert (first.status_code, again.status_code) == (200, 410)


def test_a_link_that_was_replaced_or_is_over_changes_nothing(owner: Org) -> None:
    patch(owner, email="first@acme.example")
    first = link()
    mail.outbox.clear()
    patch(owner, email=NEW)
    second = link()
    EmailChange.objects.filter(withdrawn_at=None).update(
        expires_at=clock.real_now() - timedelta(seconds=1)
    )

    assert [press(path).status_code for path in (first, second)] == [410, 410]
    assert row(owner).email == OLD
    assert "emailPending" not in data(patch(owner))


def test_naming_the_address_in_force_takes_the_change_back(owner: Org) -> None:
    patch(owner, email=NEW)
    path = link()

    answer = data(patch(owner, email=OLD))

    assert "emailPending" not in answer
    assert press(path).status_code == 410


def test_the_token_of_a_link_is_stored_nowhere(owner: Org) -> None:
    patch(owner, email=NEW)
    token = link().rpartition("/")[2]

    [change] = EmailChange.objects.all()

    assert token.startswith("mgl_")
    assert token not in str([getattr(change, one.attname) for one in change._meta.fields])


def test_a_repeat_under_the_same_key_is_answered_the_same_and_mails_nothing_more(
    owner: Org,
) -> None:
    first = patch(owner, key="k", orgName="Acme 2", email=NEW)
    tasks.mail_contacts()
    sent = len(mail.outbox)
    again = patch(owner, key="k", orgName="Acme 2", email=NEW)
    other = patch(owner, key="k", orgName="Acme 3")
    tasks.mail_contacts()

    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert other.status_code == 409
    assert (len(mail.outbox), EmailChange.objects.count()) == (sent, 1)
    assert not Operation.objects.filter(state=Operation.State.STARTED).exists()


def test_links_are_throttled_per_organisation(owner: Org, settings: Any) -> None:
    settings.THROTTLE_EMAIL_LINKS = "2/hour"

    statuses = [patch(owner, email=f"a{number}@acme.example").status_code for number in range(3)]

    assert statuses == [200, 200, 429]


def test_a_mail_server_that_refuses_is_tried_again(owner: Org, settings: Any) -> None:
    backend = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    patch(owner, email=NEW)
    tasks.mail_contacts()
    settings.EMAIL_BACKEND = backend
    tasks.mail_contacts()
    assert mail.outbox == []

    EmailChange.objects.update(mail_due_at=clock.real_now())
    assert [to for to, _ in mailed()] == [NEW, OLD]
    assert len(mailed()) == 2


# What is taken


def refusal_of(owner: Org, **fields: Any) -> list[str]:
    answer = patch(owner, **fields)
    assert answer.status_code == 400, answer.content
    found: list[str] = answer.json()["error"]["details"]["fields"][next(iter(fields))]
    return found


READABLE = [
    "日本　株式会社",
    "👩‍💻 Studio",
    "👨‍👩‍👧‍👦",
    "🏴󠁧󠁢󠁷󠁬󠁳󠁿 Cymru",
    "نمی‌خواهم",
    "क्‍ष Traders",
    "Fee\u00a0GmbH",
    "שלום\u200f Ltd",
    "Αθήνα",
    "O’Reilly & Söhne — 1",
    "𑼀𑼁",
    "e\u0301clair",
    "❤️",
]
UNREADABLE = [
    "",
    "   ",
    "\u3000",
    "\u200d\u200c",
    "\u2800",
    "\u3164\u115f",
    "\ufe0f",
    "a\u202eb",
    "a\u2066b\u2069",
    "a\nb",
    "a\tb",
    "a\x7fb",
    "a\u2028b",
    "a\ufeffb",
    "a\ue000b",
    "a\ufffeb",
    "a\U000e0041b",
    "\U000e0041\U000e007f",
]
DELIVERABLE = {
    "a@example.com": "a@example.com",
    "O'Brien+tag@mail.Example.co.uk": "O'Brien+tag@mail.Example.co.uk",
    "a@bücher.example": "a@xn--bcher-kva.example",
    "a@xn--bcher-kva.example": "a@xn--bcher-kva.example",
}
UNDELIVERABLE = [
    "İlker@example.com",
    "ılker@example.com",
    "\u212aelvin@example.com",
    "ſ@example.com",
    "jürgen@example.com",
    '"a b"@example.com',
    '"a"@example.com',
    ".a@example.com",
    "a.@example.com",
    "a..b@example.com",
    "a b@example.com",
    "a@",
    "@example.com",
    "a@localhost",
    "a@[127.0.0.1]",
    "a@127.0.0.1",
    "a@-example.com",
    "a@exa_mple.com",
    "a@example..com",
    "a@example.com.",
    "a@😀😀\u200d.com",
    "a@" + "b" * 64 + ".com",
    "a" * 65 + "@example.com",
    "a@\u202eexample.com",
    "a\n@example.com",
    "a@exam ple.com",
    "a,b@example.com",
]


@pytest.mark.parametrize("name", READABLE)
def test_a_name_that_people_can_read_is_taken_as_it_is(name: str) -> None:
    assert rules.checked_name(name) == name


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_name_that_cannot_be_read_or_trusted_is_refused(name: str) -> None:
    with pytest.raises(rules.NotTaken):
        rules.checked_name(name)


@pytest.mark.parametrize("email", DELIVERABLE)
def test_an_address_that_mail_reaches_is_taken(email: str) -> None:
    assert rules.checked_email(email) == DELIVERABLE[email]


@pytest.mark.parametrize("email", UNDELIVERABLE)
def test_an_address_that_no_mail_reaches_as_written_is_refused(email: str) -> None:
    with pytest.raises(rules.NotTaken):
        rules.checked_email(email)


def test_every_door_has_the_same_rule_and_says_why(owner: Org) -> None:
    why = ["Letters outside ASCII before the @ are not delivered everywhere"]
    sign_up_refused = Client().post(
        "/api/signup",
        json.dumps({"orgName": "A", "email": "İlker@example.com"}),
        content_type="application/json",
    )
    notified = owner.client.put(
        "/api/notifications",
        json.dumps({"orgId": owner.id, "emails": ["İlker@example.com"]}),
        content_type="application/json",
        headers=owner.headers(),
    )

    assert refusal_of(owner, email="İlker@example.com") == why
    assert sign_up_refused.json()["error"]["details"]["fields"]["email"] == why
    assert notified.json()["error"]["details"]["fields"]["emails.0"] == why
    assert "bidi" in refusal_of(owner, orgName="a\u202eb")[0]
    assert (row(owner).name, EmailChange.objects.count()) == ("Acme", 0)


def test_names_in_every_script_sign_up_and_reach_stripe(sandbox: Control) -> None:
    for name in READABLE:
        signed_up = sign_up(name)
        assert row(signed_up).name == name
        assert at_stripe(signed_up, sandbox)[0] == name


@pytest.mark.skipif(not CASES.exists(), reason="the recorded cases are not here")
def test_the_names_that_were_refused_once_are_taken(sandbox: Control) -> None:
    for line in CASES.read_text(encoding="utf-8").splitlines():
        assert row(sign_up(json.loads(line)["orgName"])).name == json.loads(line)["orgName"]


# Stripe


@pytest.mark.parametrize("fault", ["error", "stored_error", "cut_after", "cut_before"])
def test_the_customer_follows_after_any_fault(owner: Org, sandbox: Control, fault: str) -> None:
    patch(owner, orgName="Acme 2")
    sandbox.fault(fault, path="/v1/customers*")
    tasks.follow_contacts()
    assert row(owner).contact_on_its_way

    Organization.objects.update(contact_due_at=clock.real_now())
    tasks.follow_contacts()

    assert at_stripe(owner, sandbox)[0] == "Acme 2"
    assert not row(owner).contact_on_its_way


def test_a_worker_that_died_is_taken_over_after_its_lease(owner: Org, sandbox: Control) -> None:
    patch(owner, orgName="Acme 2")
    now = clock.real_now()
    Organization.objects.update(contact_due_at=now + timedelta(seconds=60))

    assert following.follow(owner.id, now=now) is False
    assert following.follow(owner.id, now=now + timedelta(seconds=61)) is True
    assert at_stripe(owner, sandbox)[0] == "Acme 2"


def test_a_change_while_another_is_sent_is_sent_after_it(
    owner: Org, sandbox: Control, gateway: StripeGateway
) -> None:
    patch(owner, orgName="Acme 2")

    slow = Between(gateway, "update_customer", lambda: patch(owner, orgName="Acme 3"))
    with clients.swapped("stripe", slow):
        tasks.follow_contacts()
    tasks.follow_contacts()

    assert at_stripe(owner, sandbox)[0] == "Acme 3"
    assert row(owner).contact_synced == row(owner).contact_version == 2


def test_what_is_changed_at_stripe_is_taken_over_and_the_old_address_is_told(
    owner: Org, sandbox: Control
) -> None:
    since = len(news(sandbox))
    Desk(sandbox).rename(row(owner).stripe_customer_id, name="株式会社", email=NEW)

    hear(sandbox, since)
    tasks.follow_contacts()

    assert (row(owner).name, row(owner).email) == ("株式会社", NEW)
    assert mailed() == [(OLD, "Your e-mail address was changed")]
    assert EmailChange.objects.get().source == "stripe"


def test_what_was_taken_over_is_not_sent_back(owner: Org, sandbox: Control) -> None:
    since = len(news(sandbox))
    Desk(sandbox).rename(row(owner).stripe_customer_id, name="Acme at Stripe")

    for _ in range(3):
        hear(sandbox, since)
        tasks.follow_contacts()

    assert [one["type"] for one in news(sandbox, since=since)] == ["customer.updated"]


def test_ours_that_is_still_on_its_way_wins(owner: Org, sandbox: Control) -> None:
    since = len(news(sandbox))
    Desk(sandbox).rename(row(owner).stripe_customer_id, name="Theirs")
    patch(owner, orgName="Ours")

    hear(sandbox, since)
    waits = WebhookEvent.objects.get(state="pending").error
    tasks.follow_contacts()
    WebhookEvent.objects.update(due_at=clock.real_now())
    hear(sandbox, since)

    assert waits == "ChangeOnItsWay"
    assert row(owner).name == at_stripe(owner, sandbox)[0] == "Ours"


def test_a_fetch_from_before_our_change_does_not_undo_it(owner: Org, sandbox: Control) -> None:
    Desk(sandbox).rename(row(owner).stripe_customer_id, name="Theirs, earlier")
    stale, _ = following.fetch(row(owner).stripe_customer_id)
    patch(owner, orgName="Ours")
    tasks.follow_contacts()
    assert stale is not None

    with pytest.raises(following.ChangeOnItsWay), transaction.atomic():
        following.apply(stale)

    assert row(owner).name == at_stripe(owner, sandbox)[0] == "Ours"


@pytest.mark.parametrize(
    "fields", [{"name": "\u3000"}, {"name": "a\u202eb"}, {"email": "İlker@example.com"}]
)
def test_what_no_owner_could_be_called_is_not_taken_over(
    owner: Org, sandbox: Control, fields: dict[str, str]
) -> None:
    since = len(news(sandbox))
    Desk(sandbox).rename(row(owner).stripe_customer_id, **fields)

    hear(sandbox, since)

    assert (row(owner).name, row(owner).email) == ("Acme", OLD)


def test_staff_change_it_at_once_and_a_link_that_was_out_is_taken_back(
    owner: Org, sandbox: Control
) -> None:
    patch(owner, email=NEW)
    path = link()
    mail.outbox.clear()

    services.change_at_once(
        org_id=owner.id,
        change=services.read(name="Acme Ltd", email="desk@acme.example"),
        source=services.Source.STAFF,
        because="test",
        now=clock.real_now(),
    )
    tasks.follow_contacts()

    assert at_stripe(owner, sandbox) == ("Acme Ltd", "desk@acme.example")
    assert mailed() == [(OLD, "Your e-mail address was changed")]
    assert press(path).status_code == 410
