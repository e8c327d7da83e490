"""Idempotency-Key: one effect for one key, and its answer again for a day."""

from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from billing import idempotency, operations
from billing.models import IdempotencyKey, Operation
from billing.signup import key_scope
from billing.stripe_gateway import CardDeclined
from config.contract import clock
from config.contract.errors import ApiError, InternalError, Throttled, Unavailable
from config.contract.idempotency import IdempotencyInProgress
from config.contract.ids import new_id
from tests.billing.signups import (
    EMAIL,
    ONE,
    age_keys,
    at_stripe,
    let_the_lease_run_out,
    replayed,
    sign_up,
    visible,
)
from tests.sandbox.server import Control
from tests.support.cast import data, error
from tokens.models import ActivationCode
from tokens.services import activate

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _at_the_sandbox(sandbox: Control) -> None:
    """Every sign-up here goes to a sandbox of its own."""


def test_a_repeat_is_answered_with_the_same_bytes_and_does_nothing(sandbox: Control) -> None:
    first = sign_up("k1")

    second = sign_up("k1")

    assert second.content == first.content
    assert replayed(second)
    assert not replayed(first)
    assert second.headers["Cache-Control"] == "no-store"
    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 1))


def test_a_repeat_asks_nothing_of_stripe(sandbox: Control) -> None:
    first = sign_up("k1")
    sandbox.fault("error", count=-1)

    assert sign_up("k1").content == first.content


def test_the_code_is_in_a_repeat_while_it_is_unused_and_left_out_afterwards() -> None:
    first = data(sign_up("k1"))
    again = data(sign_up("k1"))

    activate(code=first["activationCode"], domain=None, now=clock.real_now())
    after = sign_up("k1")

    assert again["activationCode"] == first["activationCode"]
    assert data(after) == {k: v for k, v in first.items() if k != "activationCode"}
    assert replayed(after)


def test_the_code_is_left_out_of_a_repeat_once_it_has_expired() -> None:
    first = data(sign_up("k1"))
    ActivationCode.objects.update(expires_at=clock.real_now())

    assert data(sign_up("k1")) == {k: v for k, v in first.items() if k != "activationCode"}


def test_the_code_is_left_out_of_a_repeat_where_it_goes_by_mail_alone(settings: Settings) -> None:
    settings.SIGNUP_RETURNS_CODE = False
    first = sign_up("k1")

    assert sign_up("k1").content == first.content
    assert "activationCode" not in data(first)


def test_no_code_is_among_what_is_remembered() -> None:
    code = data(sign_up("k1"))["activationCode"]

    [row] = IdempotencyKey.objects.all()
    assert code.removeprefix("mgc_") not in str(row.response)
    assert row.response is not None
    assert set(row.response) == {"orgId", "planCode", "trialEndsAt"}
    assert b"k1" not in bytes(row.key_hash)
    assert EMAIL not in row.scope


@pytest.mark.parametrize("other", [{"orgName": "Other"}, {"checkout": True}])
def test_the_key_with_another_body_is_a_conflict(other: dict[str, Any], sandbox: Control) -> None:
    sign_up("k1")

    response = sign_up("k1", **other)

    assert (response.status_code, error(response)["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 1))


def test_a_conflict_is_told_while_the_first_request_is_still_running() -> None:
    _running()

    response = sign_up("k1", orgName="Other")

    assert error(response)["code"] == "IDEMPOTENCY_CONFLICT"


def test_fields_left_at_their_default_make_no_other_body() -> None:
    first = sign_up("k1")

    assert sign_up("k1", checkout=False).content == first.content
    assert sign_up("k1", email=f" {EMAIL.upper()} ").content == first.content


def test_the_key_is_scoped_by_the_address() -> None:
    first = data(sign_up("k1"))

    second = sign_up("k1", email="another@acme.example")

    assert not replayed(second)
    assert data(second)["orgId"] != first["orgId"]


def test_a_running_request_is_not_started_again(sandbox: Control) -> None:
    _running()

    response = sign_up("k1")

    assert (response.status_code, error(response)["code"]) == (409, "IDEMPOTENCY_IN_PROGRESS")
    assert response.headers["Retry-After"] == "1"
    assert at_stripe(sandbox) == (0, 0)


def test_a_crashed_request_is_taken_over_after_its_lease(sandbox: Control) -> None:
    crashed = _running()
    let_the_lease_run_out()

    response = sign_up("k1")

    assert not replayed(response)
    assert data(response)["orgId"] == crashed.org_id
    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 1))
    assert sign_up("k1").content == response.content


def test_a_lease_lasts_a_minute() -> None:
    crashed = _running()

    assert crashed.lease_until - crashed.created_at == timedelta(seconds=60)


def test_the_completers_lease_holds_the_client_off(sandbox: Control) -> None:
    crashed = _running()
    let_the_lease_run_out()
    operations.take_over(crashed, now=clock.real_now())

    response = sign_up("k1")

    assert error(response)["code"] == "IDEMPOTENCY_IN_PROGRESS"
    assert at_stripe(sandbox) == (0, 0)


def test_one_of_two_completers_takes_an_operation_over() -> None:
    crashed = _running()
    early = operations.take_over(crashed, now=clock.real_now())
    let_the_lease_run_out()

    one, other = (operations.take_over(crashed, now=clock.real_now()) for _ in range(2))

    assert (early, one, other) == (False, True, False)
    assert crashed.attempts == 2


def test_an_answer_is_remembered_for_a_day_and_no_longer() -> None:
    first = data(sign_up("k1"))

    age_keys(timedelta(hours=23, minutes=59))
    within = sign_up("k1")
    age_keys(timedelta(minutes=2))
    after = sign_up("k1")

    assert data(within)["orgId"] == first["orgId"]
    assert not replayed(after)
    assert data(after)["orgId"] != first["orgId"]


def test_what_is_undecided_is_not_forgotten_after_a_day(sandbox: Control) -> None:
    crashed = _running()
    let_the_lease_run_out()
    age_keys(timedelta(days=3))

    assert idempotency.forget(now=clock.real_now()) == 0
    assert data(sign_up("k1"))["orgId"] == crashed.org_id


def test_old_answers_are_swept_out() -> None:
    sign_up("k1")
    sign_up("k2")
    age_keys(timedelta(hours=25))
    sign_up("k3")

    assert idempotency.forget(now=clock.real_now()) == 2
    assert replayed(sign_up("k3"))


@pytest.mark.parametrize("key", ["", " ", "ü", "a\tb", " lead", "trail ", "x" * 256, "a\x7f"])
def test_a_malformed_key_is_refused_and_nothing_is_written(key: str, sandbox: Control) -> None:
    response = sign_up(key)

    assert response.status_code == 400
    assert error(response)["details"] == {
        "fields": {"Idempotency-Key": ["1 to 255 printable ASCII characters"]}
    }
    assert not Operation.objects.exists()


@pytest.mark.parametrize("key", ["x", "x" * 255, "a b", '"quoted"', "~!@#$%^&*()"])
def test_any_printable_key_is_taken(key: str) -> None:
    first = sign_up(key)

    assert sign_up(key).content == first.content


@pytest.mark.parametrize(
    ("refusal", "is_decided"),
    [
        (CardDeclined("card_declined"), True),
        (ApiError("PLAN_CHANGE_CONFLICT", "No", 409), True),
        (IdempotencyInProgress(), False),
        (Throttled(1), False),
        (Unavailable(), False),
        (InternalError(), False),
    ],
)
def test_decided_refusals_are_kept_and_passing_ones_are_not(
    refusal: ApiError, is_decided: bool
) -> None:
    assert idempotency.is_decided(refusal) is is_decided


def test_a_kept_refusal_is_raised_again_without_the_page_it_led_to() -> None:
    begun = _begin({"a": 1})
    refusal = CardDeclined("authentication_required", url="https://stripe.example/secret")
    idempotency.keep_refusal(begun.key, refusal)

    again = _begin({"a": 1})

    assert again.replay is not None
    with pytest.raises(ApiError) as raised:
        idempotency.stored_answer(again.replay)
    assert (raised.value.code, raised.value.status) == ("PAYMENT_REQUIRED", 402)
    assert raised.value.details == {"reason": "authentication_required"}
    assert raised.value.headers["Idempotent-Replayed"] == "true"


def _running() -> Operation:
    """Leave what a request leaves that was killed before it asked Stripe."""
    begun = _begin(["Acme", EMAIL, False])
    return begun.operation


def _begin(body: Any) -> idempotency.Begun:
    now = clock.real_now()
    return idempotency.begin(
        scope=key_scope(EMAIL),
        key="k1",
        body=body,
        start=lambda: operations.start(
            kind=Operation.Kind.SIGN_UP,
            org_id=new_id("org"),
            request={"name": "Acme", "email": EMAIL, "checkout": False},
            now=now,
        ),
        now=now,
    )
