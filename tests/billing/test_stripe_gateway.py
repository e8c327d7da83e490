"""The gateway's guards: transactions, connections, the places, the budget, what is logged."""

import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from django.conf import settings
from django.db import connection, transaction

from billing.stripe_gateway import (
    CardDeclined,
    StripeFailed,
    StripeGateway,
    StripeKeyRefused,
    StripeNotFound,
    StripeRefused,
    get_gateway,
    verify_signature,
)
from billing.stripe_gateway.errors import translated
from billing.stripe_gateway.transport import Transport
from config.contract.errors import InternalError, Unavailable
from tests.sandbox.server import Control
from tests.support.callers import room_for


@pytest.fixture
def web(sandbox: Control) -> StripeGateway:
    """The gateway of a web process: one place."""
    return StripeGateway(
        Transport(api_key=settings.STRIPE_API_KEY, base_url=sandbox.url, callers=room_for(1))
    )


@pytest.mark.django_db(transaction=True)
def test_a_call_inside_a_transaction_is_a_fault(web: StripeGateway) -> None:
    with pytest.raises(RuntimeError, match="inside a transaction"), transaction.atomic():
        web.list_products()


@pytest.mark.django_db(transaction=True)
def test_no_connection_is_held_while_waiting(web: StripeGateway) -> None:
    connection.ensure_connection()

    web.list_products()

    assert connection.connection is None


def test_a_caller_for_whom_there_is_no_place_is_sent_away_at_once(web: StripeGateway) -> None:
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with web.session():
            taken.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(10)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        web.list_products()
    waited = time.monotonic() - began
    done.set()
    holder.join()

    assert waited < 1
    assert web.list_products()


def test_a_session_may_make_several_calls(web: StripeGateway) -> None:
    with web.session(), web.session():
        web.list_products()
        assert web.list_meters()


def test_a_spent_budget_asks_nothing(web: StripeGateway) -> None:
    with web.session(seconds=0.05), pytest.raises(Unavailable):
        web.list_products()


def test_nobody_there_is_unavailable() -> None:
    nobody = StripeGateway(Transport(api_key="sk_test_x", base_url="http://127.0.0.1:9"))

    with pytest.raises(Unavailable) as refused:
        nobody.list_products()

    assert refused.value.headers["Retry-After"] == "2"


def test_a_wrong_key_says_nothing_to_the_caller(
    sandbox: Control,
    capfd: pytest.CaptureFixture[str],
) -> None:
    stranger = StripeGateway(Transport(api_key="sk_test_wrong_key", base_url=sandbox.url))

    with pytest.raises(InternalError) as refused:
        stranger.list_products()

    assert "sk_test" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    assert "sk_test_wrong_key" not in "".join(capfd.readouterr())


def test_secrets_are_in_no_log(
    web: StripeGateway, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    customer = web.ensure_customer(
        org_id="org_1", email="a@example.com", name="A", idempotency_key="k"
    )

    intent = web.create_setup_intent(customer_id=customer, idempotency_key="s")

    written = "".join(capfd.readouterr()) + caplog.text
    assert intent["client_secret"] not in written
    assert settings.STRIPE_API_KEY not in written
    assert "req_" in written


def _error(name: str, *arguments: Any, **more: Any) -> stripe.StripeError:
    # The package's constructors are not all annotated.
    made: stripe.StripeError = getattr(stripe, name)(*arguments, **more)
    return made


@pytest.mark.parametrize(
    ("error", "expected", "details"),
    [
        (
            _error("CardError", "no", None, "card_declined", http_status=402),
            CardDeclined,
            {"reason": "card_declined"},
        ),
        (
            _error("CardError", "no", None, "authentication_required", http_status=402),
            CardDeclined,
            {"reason": "authentication_required"},
        ),
        (
            _error(
                "CardError",
                "no",
                None,
                "subscription_payment_intent_requires_action",
                http_status=402,
            ),
            CardDeclined,
            {"reason": "authentication_required"},
        ),
        (
            _error("InvalidRequestError", "no", None, code="resource_missing", http_status=400),
            CardDeclined,
            {"reason": "payment_method_required"},
        ),
        (
            _error("InvalidRequestError", "no", "id", code="resource_missing", http_status=404),
            StripeNotFound,
            None,
        ),
        (
            _error("InvalidRequestError", "no", "x", code="parameter_unknown", http_status=400),
            StripeRefused,
            None,
        ),
        (_error("IdempotencyError", "no", http_status=400), StripeRefused, None),
        (_error("APIConnectionError", "no"), Unavailable, None),
        (_error("RateLimitError", "no", http_status=429), Unavailable, None),
        (_error("APIError", "no", http_status=409), Unavailable, None),
        (_error("APIError", "no", http_status=500), StripeFailed, None),
        (_error("AuthenticationError", "no", http_status=401), StripeKeyRefused, None),
        (_error("PermissionError", "no", http_status=403), StripeKeyRefused, None),
    ],
)
def test_each_error_has_one_meaning(
    error: stripe.StripeError, expected: type, details: dict[str, str] | None
) -> None:
    found = translated(error, "test")

    assert type(found) is expected
    assert found.details == details
    assert found.message != "no"


def test_the_url_of_an_open_invoice_is_told() -> None:
    assert CardDeclined("authentication_required", "https://x").details == {
        "reason": "authentication_required",
        "url": "https://x",
    }


@pytest.mark.parametrize("tampered", ["", "body", "old", "future", "secret", "latin", "none"])
def test_only_fresh_signatures_of_ours_pass(tampered: str) -> None:
    body = b'{"id": "evt_1"}'
    shift = {"old": -400, "future": 400}.get(tampered, 0)
    at = int(time.time()) + shift
    if tampered == "latin":
        body = b"\xff\xfe"
    secret = b"whsec_other" if tampered == "secret" else b"whsec_second"
    digest = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    header = "" if tampered == "none" else f"t={at},v1={digest}"
    sent = body + b" " if tampered == "body" else body

    assert verify_signature(sent, header, ["whsec_first", "whsec_second"]) is (not tampered)


@pytest.fixture
def fresh() -> Iterator[None]:
    """No gateway left over."""
    from billing.stripe_gateway import forget_gateway

    forget_gateway()
    yield
    forget_gateway()


@pytest.mark.usefixtures("fresh")
def test_the_process_has_one_gateway() -> None:
    assert get_gateway() is get_gateway()
