"""A reset that is repeated after a lost answer forgives nothing more."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from config.contract import clock, idempotency
from config.contract.models import KeyedRequest
from quotas import corrections
from quotas.models import Forgiveness, UsageCounter
from tests.races.interleave import all_at_once
from tests.support.cast import Org, data, error

pytestmark = pytest.mark.django_db(transaction=True)


def staff(name: str = "ada") -> Client:
    user = get_user_model().objects.create_user(
        username=name, password="correct horse battery", is_staff=True
    )
    user.user_permissions.add(Permission.objects.get(codename="reset_usagecounter"))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def ada(transactional_db: None) -> Client:
    return staff()


def reset(client: Client, org: Org, *, key: str | None = "k1", **body: Any) -> Any:
    document = {"orgIds": [org.id], "force": True, "reason": "loop", **body}
    headers = {"Idempotency-Key": key} if key is not None else {}
    return client.post(
        "/api/admin/quotas/reset",
        json.dumps(document),
        content_type="application/json",
        headers=headers,
    )


def used(org: Org) -> int:
    return UsageCounter.objects.get(org_id=org.id, metric="api_call").used


def test_a_repeat_after_a_lost_answer_forgives_nothing_more(org: Org, ada: Client) -> None:
    org.use(9_000)
    first = reset(ada, org)
    org.use(70)

    again = reset(ada, org)

    assert again.content == first.content
    assert data(first)["updated"] == 1
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert used(org) == 70
    assert Forgiveness.objects.get().units == 9_000


def test_another_key_is_another_reset(org: Org, ada: Client) -> None:
    org.use(9_000)
    reset(ada, org)
    org.use(70)

    assert data(reset(ada, org, key="k2"))["updated"] == 1
    assert used(org) == 0


def test_the_same_key_with_another_body_is_refused_and_changes_nothing(
    org: Org, ada: Client
) -> None:
    reset(ada, org, dryRun=True)
    org.use(50)

    refused = reset(ada, org)

    assert (refused.status_code, error(refused)["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert used(org) == 50


def test_one_keys_answer_is_not_for_another_member_of_staff(org: Org, ada: Client) -> None:
    org.use(10)
    reset(ada, org)
    org.use(20)

    answer = reset(staff("bob"), org)

    assert "Idempotent-Replayed" not in answer.headers
    assert used(org) == 0


def test_a_key_that_nobody_can_print_is_refused(org: Org, ada: Client) -> None:
    org.use(10)

    assert reset(ada, org, key="x" * 256).status_code == 400
    assert used(org) == 10


def test_a_bad_request_keeps_no_answer(org: Org, ada: Client) -> None:
    org.use(10)
    assert reset(ada, org, reason="").status_code == 400

    assert data(reset(ada, org))["updated"] == 1


def test_while_the_first_runs_the_second_is_told_to_wait(org: Org, ada: Client) -> None:
    org.use(10)
    reset(ada, org)
    now = clock.real_now()
    KeyedRequest.objects.update(status=None, response=None, lease_until=now + idempotency.LEASE)

    waiting = reset(ada, org)

    assert error(waiting)["code"] == "IDEMPOTENCY_IN_PROGRESS"
    assert waiting.headers["Retry-After"] == "1"


def test_what_a_crash_left_half_done_is_gone_on_with_and_not_done_twice(
    org: Org, ada: Client, stranger: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.use(10)
    stranger.use(30)
    both: Any = {"orgIds": [org.id, stranger.id]}
    forgive = corrections.forgive

    def dies_at_the_second(**asked: Any) -> Any:
        if Forgiveness.objects.exists():
            raise RuntimeError("killed")
        return forgive(**asked)

    monkeypatch.setattr(corrections, "forgive", dies_at_the_second)
    assert reset(ada, org, **both).status_code == 500
    monkeypatch.undo()
    first = Forgiveness.objects.get()
    for one in (org, stranger):
        one.use(5)

    answer = reset(ada, org, **both)

    assert answer.status_code == 200
    settled = org if first.org_id == org.id else stranger
    other = stranger if settled is org else org
    assert (used(settled), used(other)) == (5, 0)
    assert Forgiveness.objects.filter(org_id=settled.id).count() == 1


def test_two_at_once_forgive_once(org: Org, ada: Client) -> None:
    org.use(9_000)

    def send() -> int:
        client = Client()
        client.cookies = ada.cookies
        return int(reset(client, org).status_code)

    codes = sorted(all_at_once([send] * 4))

    assert codes[0] == 200
    assert set(codes) <= {200, 409}
    assert Forgiveness.objects.get().units == 9_000


def test_answers_are_forgotten_after_a_day(org: Org, ada: Client) -> None:
    reset(ada, org)
    now = clock.real_now()
    assert idempotency.forget(now=now + timedelta(hours=23)) == 0

    assert idempotency.forget(now=now + timedelta(hours=25)) == 1


def test_without_a_key_each_request_is_one_of_its_own(org: Org, ada: Client) -> None:
    org.use(10)
    reset(ada, org, key=None)
    org.use(10)
    reset(ada, org, key=None)

    assert used(org) == 0
    assert not KeyedRequest.objects.exists()
