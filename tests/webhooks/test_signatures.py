"""Who may put something into the inbox: whoever signed it with a secret of ours, just now."""

import time
from collections.abc import Callable

import pytest
from django.conf import settings

from tests.support.cast import data, error
from tests.webhooks.cast import an_event, encoded, send, signature
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)

BODY = encoded(an_event())
OLD, NEW = "whsec_old", "whsec_new"


def v1(body: bytes, *, secret: str | None = None, at: float | None = None) -> str:
    return signature(body, secret=secret, at=at).partition(",")[2]


@pytest.fixture
def two_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret is being rolled: for a day both are good."""
    monkeypatch.setattr(settings, "STRIPE_WEBHOOK_SECRETS", [NEW, OLD])


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_any_configured_secret_is_good(two_secrets: None, secret: str) -> None:
    response = send(BODY, signature(BODY, secret=secret))

    assert response.status_code == 202
    assert data(response)["received"] is True


def test_one_good_signature_among_several_is_enough() -> None:
    now = int(time.time())
    header = f"t={now},v1={'0' * 64},{v1(BODY, at=now)},v0={'1' * 64}"

    assert send(BODY, header).status_code == 202


@pytest.mark.parametrize("seconds", [-280, 280])
def test_a_clock_may_be_off_by_five_minutes_either_way(seconds: int) -> None:
    assert send(BODY, signature(BODY, at=time.time() + seconds)).status_code == 202


#: By name: a body and its header, made when the test runs: what is good now is old in a while.
REFUSED: dict[str, Callable[[int], tuple[bytes, str | None]]] = {
    "no header": lambda now: (BODY, None),
    "an empty header": lambda now: (BODY, ""),
    "garbage": lambda now: (BODY, "garbage"),
    "no values": lambda now: (BODY, "t,v1"),
    "no signature": lambda now: (BODY, f"t={now}"),
    "no timestamp": lambda now: (BODY, v1(BODY)),
    "a timestamp that is no number": lambda now: (BODY, f"t=x,{v1(BODY)}"),
    "a negative timestamp": lambda now: (BODY, f"t=-1,{v1(BODY, at=-1)}"),
    "a timestamp of 5,000 digits": lambda now: (BODY, f"t={'9' * 5000},{v1(BODY)}"),
    "two timestamps": lambda now: (BODY, f"t={now},t={now},{v1(BODY, at=now)}"),
    "the old scheme": lambda now: (BODY, f"t={now},{v1(BODY, at=now).replace('v1', 'v0')}"),
    "a wrong signature": lambda now: (BODY, f"t={now},v1={'0' * 64}"),
    "an empty signature": lambda now: (BODY, f"t={now},v1="),
    "a signature that is not ASCII": lambda now: (BODY, f"t={now},v1=\u00e9"),
    "another timestamp": lambda now: (BODY, f"t={now + 1},{v1(BODY, at=now)}"),
    "an unknown secret": lambda now: (BODY, signature(BODY, secret="whsec_other")),
    "an empty secret": lambda now: (BODY, signature(BODY, secret="")),
    "too old": lambda now: (BODY, signature(BODY, at=now - 320)),
    "too far ahead": lambda now: (BODY, signature(BODY, at=now + 320)),
    "a blank more": lambda now: (BODY + b" ", signature(BODY)),
    "an altered body": lambda now: (
        BODY.replace(b'"livemode":false', b'"livemode":true'),
        signature(BODY),
    ),
    "no body": lambda now: (b"", signature(BODY)),
    "bytes that are not UTF-8": lambda now: (b"\xff" + BODY, signature(b"\xff" + BODY)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_signed_is_refused_and_nothing_is_stored(name: str) -> None:
    body, header = REFUSED[name](int(time.time()))

    response = send(body, header)

    assert response.status_code == 400
    assert error(response)["code"] == "SIGNATURE_INVALID"
    assert not WebhookEvent.objects.exists()


def test_a_secret_that_was_rolled_out_is_no_longer_good(
    two_secrets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "STRIPE_WEBHOOK_SECRETS", [NEW])

    assert send(BODY, signature(BODY, secret=OLD)).status_code == 400
